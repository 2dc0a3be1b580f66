"""The journal of one approved action: which files it was about to write, and which it wrote.

It lets a second attempt tell this action's own half-finished writes from other people's changes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from activities.auditor.records import PlannedFix
from common.artifacts import sync_folder
from common.errors import retry_after


class JournalLine(BaseModel, frozen=True):
    """An attempt was about to give (`intent`) or gave (`done`) `path` the content of SHA-256 `after`."""

    event: Literal["intent", "done"]
    path: str
    after: str
    pid: int
    attempt: int


class FixJournal:
    """The open journal of one idempotency key; made by ``open_journal``."""

    def __init__(self, file: FileIO, attempt: int) -> None:
        self._file = file
        self._attempt = attempt
        self._seen: dict[str, set[tuple[str, str]]] = {"intent": set(), "done": set()}
        whole = 0
        for text in file.read().splitlines(keepends=True):
            if not text.endswith(b"\n"):
                break  # torn by a killed attempt, which had not yet acted on it
            line = JournalLine.model_validate_json(text)
            self._seen[line.event].add((line.path, line.after))
            whole += len(text)
        self._cut(whole)

    def intends(self, fix: PlannedFix) -> bool:
        """Whether an attempt under this key was about to write ``fix``."""
        return (fix.path, fix.after.sha256) in self._seen["intent"]

    def has_done(self, fix: PlannedFix) -> bool:
        """Whether an attempt under this key wrote ``fix``."""
        return (fix.path, fix.after.sha256) in self._seen["done"]

    def intend(self, fix: PlannedFix) -> None:
        """Record durably that ``fix`` is about to be written.

        Raises:
            OSError: it could not be recorded; then it must not be written.
        """
        self._append("intent", fix)
        os.fsync(self._file.fileno())

    def finish(self, fix: PlannedFix) -> None:
        """Record that ``fix`` was written. Not synced: after a power cut, intent and content say the same."""
        self._append("done", fix)

    def _append(self, event: Literal["intent", "done"], fix: PlannedFix) -> None:
        line = JournalLine(
            event=event, path=fix.path, after=fix.after.sha256, pid=os.getpid(), attempt=self._attempt
        )
        end = self._file.tell()
        try:
            text = line.model_dump_json().encode() + b"\n"
            if self._file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._cut(end)  # a disk that filled up mid-line
            raise
        self._seen[event].add((fix.path, fix.after.sha256))

    def _cut(self, size: int) -> None:
        self._file.seek(size)
        self._file.truncate()


@contextmanager
def open_journal(folder: Path, key: str, attempt: int) -> Iterator[FixJournal]:
    """The journal of the idempotency key ``key``, held by this attempt alone until the block ends.

    Raises:
        ApplicationError: type ``ApplyUnderWay``, to be retried: an earlier attempt has not ended yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.jsonl"
    # A server that lost contact with an attempt starts the next while the first may still be writing.
    with FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise retry_after(
                "ApplyUnderWay", "an earlier attempt is still at work", timedelta(seconds=5)
            ) from None
        sync_folder(folder)
        yield FixJournal(file, attempt)
