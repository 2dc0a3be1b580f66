"""Temporary folders go with their block, and where their process was killed, with the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from activities.scratch import scratch_folder

HOLDS = """
import time
from activities.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "copy").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what another process works in stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(tmp_path)}
    ) as holder:
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())
        with scratch_folder() as mine:
            assert {*tmp_path.iterdir()} == {held, mine}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (held / "copy").exists()
    with scratch_folder() as mine:
        assert [*tmp_path.iterdir()] == [mine]
    assert [*tmp_path.iterdir()] == []
