"""Every setting is written once, and what it says is held: names, defaults, secrets, errors."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

import starter
import worker
from cli.demo import main as demo_main
from common.settings import Settings, SettingsError, table
from gateway.__main__ import main as gateway_main

ROOT = Path(__file__).parents[2]
SECRETS = [variable for variable, row in table().items() if not row.repr]


def test_every_variable_that_is_named_anywhere_is_a_setting() -> None:
    """A misspelt name in a message or a page would send its reader looking for what is not there."""
    rooms = ("common", "activities", "workflows", "cli", "gateway", "docs", "deploy")
    files = [ROOT / "README.md", ROOT / "worker.py", ROOT / "starter.py"]
    for room in rooms:
        files += [file for file in (ROOT / room).rglob("*") if file.suffix in (".py", ".md", ".yaml")]
    named = {
        name for file in files for name in re.findall(r"HIBERNAUT_[A-Z0-9_]*[A-Z0-9]\b", file.read_text())
    }
    assert named - set(table()) == {"HIBERNAUT_CODE"}  # compose alone reads it


@pytest.mark.parametrize("variable", SECRETS)
def test_a_secret_is_neither_printed_nor_quoted(variable: str) -> None:
    """Whatever it is, also where it cannot be used."""
    try:
        shown = repr(Settings.read({variable: "S3CR3T\x00", "HIBERNAUT_SLACK_BOT_TOKEN": "xoxb-S3CR3T"}))
    except SettingsError as error:
        shown = str(error)
    assert "S3CR3T" not in shown


def test_keys_passwords_and_tokens_are_secret() -> None:
    """By their names, so that a new one is not forgotten; an Alpaca key id is sent like a user's name."""
    named = {name for name in table() if re.search(r"PASSWORD|SECRET|TOKEN$|_KEYS?$", name)}
    assert named - set(SECRETS) == {"HIBERNAUT_ALPACA_KEY"}


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HIBERNAUT_CACHED_AGENTS", "1_000", "plain digits"),
        ("HIBERNAUT_CACHED_AGENTS", "١٠", "plain digits"),
        ("HIBERNAUT_FETCH_RATE", "nan", "it should be"),
        ("HIBERNAUT_FETCH_RATE", "inf", "less than 1000"),
        ("HIBERNAUT_AGENT_USD", "Infinity", "finite"),
        ("HIBERNAUT_ARCHIVE_COLD", "P3000000D", "at most ten years"),
        ("HIBERNAUT_MARKET", "nyse", "say always or NYSE"),
        ("HIBERNAUT_OIDC_ALGORITHMS", "HS256", "say RS256"),
        ("HIBERNAUT_HTTP", "[::1]", "say address:port"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(variable: str, value: str, says: str) -> None:
    """And names the variable."""
    with pytest.raises(SettingsError, match=f"^{variable}=.*{says}.*\\.$") as error:
        Settings.read({variable: value})
    assert "\n" not in str(error.value)


def test_settings_are_frozen_and_changed_by_known_names_only() -> None:
    """A change that hits nothing would be believed to be in force."""
    found = Settings.read({"HIBERNAUT_NO_SUCH": "1", "user": "mallory", "HIBERNAUT_USER": " ann "})
    assert found.user == "ann"
    with pytest.raises(ValueError, match="frozen"):
        found.user = "bob"  # type: ignore[misc]
    with pytest.raises(TypeError, match="accept_unsigned"):
        found.but(accept_unsigned=True)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("main", [starter.main, worker.main, gateway_main, demo_main])
def test_what_an_entry_point_writes_is_for_its_user_alone(
    main: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_umask: None
) -> None:
    """Keys, letters, reports and the database were world-readable, in a folder that anybody could enter."""
    monkeypatch.setattr(sys, "argv", ["starter.py", "list"] if main is starter.main else ["worker.py"])
    monkeypatch.setenv("HIBERNAUT_DATA_DIR", str(tmp_path))
    for runner in (asyncio, uvloop):
        monkeypatch.setattr(runner, "run", lambda coroutine: coroutine.close())
    tmp_path.chmod(0o755)
    main()
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path, tmp_path / "file", tmp_path / "folder")]
    assert modes == [0o700, 0o600, 0o700]
