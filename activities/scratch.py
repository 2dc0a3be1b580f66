"""Temporary folders for activities. If a killed process leaves one behind, the next process deletes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "hibernaut-scratch-"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder, deleted at the end of the block."""
    _delete_stale()
    # Locked before it gets a name that `_delete_stale` looks for.
    made = Path(tempfile.mkdtemp(prefix=".hibernaut-"))
    handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        folder = made.rename(made.with_name(f"{_PREFIX}{made.name.removeprefix('.hibernaut-')}"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _delete_stale() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Skip it if it is gone by now, belongs to someone else, or is still in use.
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)
