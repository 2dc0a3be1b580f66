"""What a scan has done so far, on disk, so that a killed scan resumes where it was.

A journal is the unfinished result: one ``FileFindings`` line per file, in listing order, appended and
synced batch by batch. Beside it are `.attempts` (one JSON line per attempt: its number and at which file it
resumed) and, while a batch runs, the folder `.files` with that batch's files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from activities.auditor.records import FileFindings
from common.artifacts import sync_folder
from common.digest import digest_bytes

_LOCK_POLL_SECONDS = 0.2


class ScanJournal:
    """One scan's journal, locked: another attempt waits while one holds it."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @property
    def files(self) -> Path:
        """The folder for the files of the batch at work, below the journal's own."""
        return self._path.with_suffix(".files")

    def resume(self, paths: Sequence[str], attempt: int) -> int:
        """How many of `paths` are done; whatever follows the last complete line about them is cut off."""
        done, size = 0, 0
        for line in self.read().splitlines(keepends=True):
            if done == len(paths) or not _tells_of(line, paths[done]):
                break
            done, size = done + 1, size + len(line)
        os.ftruncate(self._descriptor, size)
        with open(self._path.with_suffix(".attempts"), "a") as attempts:
            attempts.write(json.dumps({"attempt": attempt, "resumed_at": done}) + "\n")
        return done

    def append(self, records: Iterable[FileFindings]) -> None:
        """Add a finished batch; it is on disk when this returns."""
        data = b"".join(record.model_dump_json().encode() + b"\n" for record in records)
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)

    def read(self) -> bytes:
        """All of it."""
        return self._path.read_bytes()


@contextlib.contextmanager
def open_journal(
    folder: Path, workflow_id: str, scan_id: str, wait: Callable[[float], None]
) -> Iterator[ScanJournal]:
    """The journal of one scan of one agent, below `folder`; ids may be any text.

    While an earlier attempt that Temporal has given up on still holds it, `wait` is called with the seconds
    to wait; whatever it raises propagates.
    """
    path = journal_path(folder, workflow_id, scan_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        while not _locked(descriptor):
            wait(_LOCK_POLL_SECONDS)
        sync_folder(path.parent)
        yield ScanJournal(descriptor, path)
    finally:
        os.close(descriptor)


def clear_journals(folder: Path, workflow_id: str) -> None:
    """Remove all journals of an agent; none is no error."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(_agent_folder(folder, workflow_id))


def journal_path(folder: Path, workflow_id: str, scan_id: str) -> Path:
    """The file of one scan of one agent, in the agent's own folder."""
    return _agent_folder(folder, workflow_id) / f"{digest_bytes(scan_id.encode())[:32]}.journal"


def _agent_folder(folder: Path, workflow_id: str) -> Path:
    return folder / digest_bytes(workflow_id.encode())[:32]


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tells_of(line: bytes, path: str) -> bool:
    try:
        return line.endswith(b"\n") and FileFindings.model_validate_json(line).path == path
    except ValidationError:
        return False
