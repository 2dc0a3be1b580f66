"""`common/lifecycle.py`: the end of every program."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENDING = "import sys; from common.lifecycle import exit_now; {}; exit_now(7)"


@pytest.mark.parametrize(
    "before",
    [
        "print('written')",
        "print('written', flush=True); sys.stdout = None",
        "import atexit; atexit.register(print, 'late')",
    ],
)
def test_a_program_ends_with_its_code_and_its_output_written(before: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING.format(before)], capture_output=True, text=True, check=False
    )
    written = "" if "atexit" in before else "written\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, written, "")


def test_a_program_whose_reader_is_gone_ends_with_its_code() -> None:
    program = [sys.executable, "-c", ENDING.format("print('nobody reads it')")]
    reads, writes = os.pipe()
    os.close(reads)
    # Unbuffered, print itself would fail.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(program, stdout=writes, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writes)
    assert (ended.returncode, ended.stderr) == (7, b"")
