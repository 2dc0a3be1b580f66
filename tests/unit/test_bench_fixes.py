"""The bench of fixes sees what it is there to see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from activities.auditor.fix import copies
from activities.auditor.fix.proof import Prover
from bench import fixes
from bench.fixes import Package, fixed, importable

SOURCES = {
    "odd/__init__.py": "",
    "odd/a.py": "import os\nimport sys\nprint(sys.path)\n",
    "odd/b.py": "from odd import a\nprint(a.sys)\n",
    "odd/crashes.py": "import os\nos._exit(0)\n",
    "odd/hangs.py": "import time\ntime.sleep(3600)\n",
    "odd/raises.py": "raise SystemExit(0)\n",
    "this.py": "",
}


@pytest.fixture
def package(tmp_path: Path) -> Package:
    site = tmp_path / "site"
    for name, text in SOURCES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    return Package("odd", site, list(SOURCES))


def test_a_module_that_misbehaves_costs_itself_alone(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are imported, and of each that cannot be it is said why."""
    monkeypatch.setattr(fixes, "MODULE_SECONDS", 5)
    found = importable(package.site, [*package.modules, "json"])
    assert [name for name, why in found.items() if not why] == ["odd", "odd.a", "odd.b", "this"]
    assert found["odd.crashes"] == found["odd.hangs"] == "hung or crashed"
    assert found["odd.raises"] == "SystemExit: 0"
    assert found["json"].startswith("is not the copy's: ")


def test_a_module_that_a_fix_costs_is_lost(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Had the auditor no proof of its own, and ruff's fix of `odd/a.py` broken it."""
    package.files.remove("odd/hangs.py")
    ruff = copies.Copies._ruff

    def spoiling(self: copies.Copies, *options: str, paths: dict[str, bytes]) -> bytes:
        output = ruff(self, *options, paths=paths)
        if "--fix-only" in options:
            (self._folder / "odd/a.py").write_bytes(b"import sys\nsys.nothing\n")
        return output

    before = fixed(package, tmp_path / "before")
    assert (before["modules"], before["fixes"], before["files"]) == (4, 1, 1)
    assert before["lost"] == before["unclear"] == {}
    monkeypatch.setattr(copies.Copies, "_ruff", spoiling)
    monkeypatch.setattr(Prover, "prove", lambda self, fixes, verify: fixes)
    after = fixed(package, tmp_path / "after")
    assert sorted(after["lost"]) == ["odd.a", "odd.b"]
    assert after["unclear"] == {}


def test_it_goes_on_where_it_was_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run has found is taken from its file; what was out of time is named, and tried next."""
    tried = []
    found = {"modules": 2, "untried": 0, "fixes": 1, "files": 1, "left_out": [], "unclear": {}}

    def try_one(package: Package, folder: Path) -> dict[str, Any]:
        tried.append(package.name)
        return found | {"lost": {"b": "gone"} if package.name == "b" else {}}

    packages = [Package(name, tmp_path, []) for name in "abc"]
    monkeypatch.setattr(fixes, "installed", lambda only: [each for each in packages if each.name in only])
    monkeypatch.setattr(fixes, "fixed", try_one)
    into = tmp_path / "found.jsonl"
    fixes.bench(["b"], 60, True, into)
    ended = fixes.bench(["a", "b", "c"], -1, True, into)
    assert (ended["packages"], ended["packages_left_out"]) == (1, ["a", "c"])
    report = fixes.bench(["a", "b", "c"], 60, True, into)
    assert tried == ["b", "a", "c"]
    assert (report["packages"], report["packages_left_out"], report["modules"]) == (3, [], 6)
    assert (report["lost"], report["named"]) == (1, {"b": {"lost": {"b": "gone"}}})
