"""A process goes on with the code that it began with, whatever stands in the files by now."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from common.temporal.code_snapshot import snapshot_code


def test_a_module_that_is_imported_anew_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the sandbox does for each agent: also after its file has changed, broken or gone, and one first
    imported later from then on; what belongs to another package is read from disk."""
    for package in ("kept_agents", "other_agents"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    one, two = tmp_path / "kept_agents" / "one.py", tmp_path / "kept_agents" / "two.py"
    other = tmp_path / "other_agents" / "one.py"
    for file in (one, two, other):
        file.write_text("WORDS = 'old'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})

    def words(module: str) -> str:
        for each in [name for name in sys.modules if name.partition(".")[0].endswith("_agents")]:
            del sys.modules[each]
        found: str = importlib.import_module(module).WORDS
        return found

    assert words("kept_agents.one") == "old"
    snapshot_code("kept_agents")
    snapshot_code("kept_agents")
    one.write_text("WORDS = 'new' and more\ndef broken(:\n")
    assert words("kept_agents.one") == "old"
    assert words("kept_agents.two") == "old"
    one.unlink()
    two.write_text("WORDS = 'quite new'\n")
    other.write_text("WORDS = 'quite new'\n")
    importlib.invalidate_caches()
    assert (words("kept_agents.one"), words("kept_agents.two")) == ("old", "old")
    assert words("other_agents.one") == "quite new"
    with pytest.raises(ModuleNotFoundError):
        words("kept_agents.three")
