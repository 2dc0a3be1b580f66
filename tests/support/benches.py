"""Running a bench as people do, in small."""

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
    """The report of `bench/NAME.py`, its last line; it has ended well, and left nothing behind in `folder`.

    Args:
        name: of the bench.
        options: its command line.
        folder: for its temporary files.
        patience: seconds that it may take.
        ends_well: false where the figures may miss what is wanted of them; it has to report all the same.
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
