"""Runs a bench like people do, at a small scale."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHES = Path(__file__).parents[2] / "bench"


def run_bench(
    name: str, *options: str, folder: Path, patience: float, ends_well: bool = True
) -> dict[str, Any]:
    """Run `bench/NAME.py` and return the report on its last line; checks that it leaves nothing in `folder`.

    Args:
        name: the bench.
        options: its command line.
        folder: for its temporary files.
        patience: seconds it may take.
        ends_well: false if figures may miss their targets; it must report all the same.
    """
    ended = subprocess.run(
        [sys.executable, str(BENCHES / f"{name}.py"), *options],
        env={"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    assert ended.stdout, ended.stderr
    assert ended.returncode == 0 or not ends_well, ended.stdout + ended.stderr
    assert list(folder.iterdir()) == []
    report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return report
