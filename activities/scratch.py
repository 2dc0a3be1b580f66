"""Temporary folders of activities. A process that is killed leaves its own, and the next one deletes it."""

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
    _delete_left()
    # Locked before it has the name by which it would be found.
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


def _delete_left() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Gone meanwhile, or somebody else's, or at work: then it stays.
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)
