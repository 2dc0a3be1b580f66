"""The quick way to secrets finds what the library finds, line by line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from detect_secrets.core import scan
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.settings import default_settings, get_plugins

from activities.auditor.scan import secrets_program

SHOP = Path(__file__).parents[1] / "samples" / "shop"
# Put together here so that no scanner takes this file's own text for secrets.
TEXTS = {
    "keys.py": "A = 'AK"
    + "IAIOSFODNN7EXAMPLQ'\nB = \"gl"
    + 'pat-abcdefghij0123456789"\nPASS'
    + "WORD = 'hunter2x9'\n",
    "conf.yaml": "db_pass" + "word: tr0ub4dor&3\nlist:\n  - api_key: 'a8Fk29dLs02KdmX7'\n",
    "app.ini": "[db]\npass"
    + "wd = s3cr3t-enough\n# pragma: allowlist nextline secret\nsec"
    + "ret = other-secret\n",
    "allow.js": "const pass"
    + "word = 'let-me-in-42'; // pragma: allowlist secret\nconst pwd = 'let-me-in-43'\n",
    "url.txt": "https://user:p4ss" + "w0rd@example.com/\r\n\r\n-----BEGIN RSA PRI" + "VATE KEY-----\n",
    "hex.json": '{"x": "'
    + "0123456789abcdef" * 3
    + '",\n"y": "'
    + "kJ8s/Qz1+mN4vB7xC2lP9wE6rT3yU0iO"
    + '"}\n',
    "odd.py": "secret = \x0b'abc'\n\n\ttoken='x'\nif pass" + "word == 'swordfish-9':\n    pass\n",
    "empty.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text, newline="")
    for file in SHOP.rglob("*"):
        if file.is_file() and file.suffix in {".py", ".sh", ".js", ".yml", ".env", ".cfg", ".toml", ".md"}:
            (tmp_path / f"shop-{file.name}").write_bytes(file.read_bytes())
    return tmp_path


def test_it_finds_what_the_library_finds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines that are passed over are those in which no plugin finds anything."""
    paths = sorted(f"./{file.name}" for file in folder.iterdir())
    monkeypatch.chdir(folder)
    with default_settings() as settings:
        settings.disable_plugins("IPPublicDetector")
        expected = {
            (path, secret.type, secret.line_number) for path in paths for secret in scan.scan_file(path)
        }
    assert len({kind for _, kind, _ in expected}) > 5
    monkeypatch.setattr(scan, "_process_line_based_plugins", scan._process_line_based_plugins)
    secrets_program.main(str(folder), *paths)
    assert {tuple(each) for each in json.loads(capsys.readouterr().out)} == expected


def test_no_pattern_of_the_library_asks_that_no_new_line_follows() -> None:
    """Patterns are tried on a whole text first, where a line ends with one."""
    with default_settings() as settings:
        settings.disable_plugins("IPPublicDetector")
        patterns = [
            pattern.pattern
            for plugin in get_plugins()
            if isinstance(plugin, RegexBasedDetector)
            for pattern in plugin.denylist
        ]
    assert len(patterns) > 30
    for pattern in patterns:
        excluded = re.findall(r"\(\?<?!(\[[^\]]+\]|\\w)\)", pattern)
        assert len(excluded) == len(re.findall(r"\(\?<?!", pattern))
        assert not any(re.match(each, "\n") for each in excluded)
