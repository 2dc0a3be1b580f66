"""The bench of the inbox, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "inbox.py"


@pytest.mark.soak
def test_the_inbox_lists_every_agent_that_asks_in_each_of_its_forms(tmp_path: Path) -> None:
    """More than have their question shown: the table, the JSON, and the list for one person are complete."""
    ended = subprocess.run(
        [sys.executable, str(BENCH), "--agents", "25", "--runs", "2", "--limit", "200"],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert (report["agents"], report["listed"], report["runs"]) == (25, 25, 2)
    for name in ("table_seconds", "json_seconds", "for_seconds"):
        assert 0 < report[name]["median"] <= report[name]["max"]
    assert list(tmp_path.iterdir()) == []
