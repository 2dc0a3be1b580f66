"""What a listing has read so far, on disk, so that after a kill it does not read everything again.

One line per file: its status (inode, size, times) and its entry. A file with the same status as in the
journal is not read again. The listing process may outlive its worker and keep writing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_FLUSH_EVERY = 200

# Device, inode, size, and the times of the last change of content and of metadata.
FileStat = tuple[int, ...]


class ListingJournal:
    """The journal in `file`; if that is empty, nothing is known and nothing is kept."""

    def __init__(self, file: str) -> None:
        self._file = Path(file) if file else None
        self._known: dict[str, tuple[FileStat, list[Any]]] = {}
        self._lines: list[str] = []
        if self._file and self._file.exists():
            # Lines torn by a kill or by another attempt are skipped: their files are read again.
            for line in self._file.read_text(errors="replace").splitlines():
                try:
                    status, entry = json.loads(line)
                    self._known[entry[0]] = tuple(status), entry
                except (ValueError, LookupError, TypeError):
                    continue

    def find(self, root: Path, path: str) -> tuple[FileStat | None, list[Any] | None]:
        """A file's status, and its entry if the journal has one for the same status."""
        if self._file is None:
            return None, None
        try:
            found = os.lstat(f"{root}/{path}")
        except (OSError, ValueError):
            return None, None
        status = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        before, entry = self._known.get(path, (None, None))
        return status, entry if before == status else None

    def add(self, status: FileStat | None, entry: tuple[Any, ...]) -> None:
        """Keep a file's entry, with the status that the file had before it was read."""
        if self._file is None or status is None:
            return
        self._lines.append(json.dumps([status, entry]))
        if len(self._lines) == _FLUSH_EVERY:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, "".join(f"{line}\n" for line in self._lines).encode())
            finally:
                os.close(descriptor)
            self._lines.clear()
