"""The bench of the auditor, in small."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "audit.py"
SHOP = Path(__file__).parents[1] / "samples" / "shop"


@pytest.mark.soak
@pytest.mark.parametrize("kills", [[], ["--kill-every", "20"]])
def test_an_audit_is_measured_beside_the_bare_analysers_or_killed(tmp_path: Path, kills: list[str]) -> None:
    """The bench ends well only if every audit found the same; the folder is left as it was."""
    shop = shutil.copytree(SHOP, tmp_path / "shop")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ended = subprocess.run(
        [sys.executable, str(BENCH), "--path", str(shop), "--json", *kills],
        env={"TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert figures["files"] == len([each for each in SHOP.rglob("*") if each.is_file()])
    assert figures["findings"] > 30
    assert ("killed_seconds" in figures) == bool(kills)
    assert ("bare_files_per_second" in figures) != bool(kills)
    assert {each.name: each.read_bytes() for each in shop.rglob("*.py")} == {
        each.name: each.read_bytes() for each in SHOP.rglob("*.py")
    }
    assert list(scratch.iterdir()) == []
