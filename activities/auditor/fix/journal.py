"""The journal of one approved action: which files it was about to write, and which it wrote.

It lets a second attempt, on any worker, tell this action's own half-finished writes from other people's
changes. Each step is an object: an `intent` before the file is written, a `done` after it. An object appears
whole and is durable when its put returns, so an intent is known before its file changes. A kill loses at most
a `done`, which can be inferred from the intent and the file's content.

An attempt that the server has given up on may still be running, even on another machine:

- Only whoever holds the lock on the audited folder applies fixes to it. The kernel releases it when a process
  dies.
- If the folder's disk has no such locks between machines, an intent is put only if there is none: the later
  attempt takes each step that is left, and the earlier one finds its next step taken and ends. It may
  already have begun one file, so the later one waits until an intent from another machine is older than a
  write takes.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from activities.auditor.records import PlannedFix
from common.agent_objects import work_prefix
from common.digest import digest_bytes
from common.errors import retry_after
from common.object_store import ObjectMissingError, ObjectStore, StoredObject

# The longest time from an intent to the rename of its file, generous for busy machines.
SETTLES = timedelta(minutes=1)

Event = Literal["intent", "done"]


class JournalLine(BaseModel, frozen=True):
    """An attempt was about to give (`intent`) or gave (`done`) `path` the content of SHA-256 `after`."""

    event: Event
    path: str
    after: str
    pid: int
    attempt: int
    host: str = ""


class FixJournal:
    """The open journal of one idempotency key; made by ``open_journal``."""

    def __init__(
        self, objects: ObjectStore, prefix: str, attempt: int, old: Path | None, alone: bool
    ) -> None:
        self._objects, self._prefix, self._attempt = objects, prefix, attempt
        self._seen: dict[Event, set[str]] = {"intent": set(), "done": set()}
        if old and old.exists():
            self._read_old(old)
        intents = list[tuple[str, StoredObject]]()
        for each in objects.list(prefix):
            name, _, step = each.key.removeprefix(prefix).partition(".")
            event: Event = "intent" if step == "intent" else "done"
            self._seen[event].add(name)
            if event == "intent":
                intents.append((name, each))
        for name, intent in intents:
            if name not in self._seen["done"]:
                self._let_settle(intent, alone)

    def intends(self, fix: PlannedFix) -> bool:
        """Whether an attempt under this key was about to write ``fix``."""
        return _name(fix.path, fix.after.sha256) in self._seen["intent"]

    def has_done(self, fix: PlannedFix) -> bool:
        """Whether an attempt under this key wrote ``fix``."""
        return _name(fix.path, fix.after.sha256) in self._seen["done"]

    def intend(self, fix: PlannedFix) -> None:
        """Record durably that ``fix`` is about to be written.

        Raises:
            StoreUnavailableError: it could not be recorded; then it must not be written.
            ApplicationError: type ``ApplyUnderWay``: another attempt has taken over.
        """
        # This attempt has taken over the intents that it found.
        if not self._put("intent", fix, if_absent=not self.intends(fix)):
            raise _under_way(timedelta(seconds=5))

    def finish(self, fix: PlannedFix) -> None:
        """Record that ``fix`` was written."""
        self._put("done", fix)

    def _put(self, event: Event, fix: PlannedFix, *, if_absent: bool = False) -> bool:
        line = JournalLine(
            event=event,
            path=fix.path,
            after=fix.after.sha256,
            pid=os.getpid(),
            attempt=self._attempt,
            host=platform.node(),
        )
        name = _name(fix.path, fix.after.sha256)
        # Each attempt has its own `done` object, so that a file written twice would show.
        step = "intent" if event == "intent" else f"done-{self._attempt}"
        key = f"{self._prefix}{name}.{step}"
        written = self._objects.put(key, line.model_dump_json().encode(), if_absent=if_absent)
        if written:
            self._seen[event].add(name)
        return written

    def _let_settle(self, intent: StoredObject, alone: bool) -> None:
        """Raise, to come back later, if another machine may be writing that file just now."""
        left = intent.written_at + SETTLES - datetime.now(UTC)
        if left <= timedelta():
            return
        try:
            host = JournalLine.model_validate_json(self._objects.get(intent.key)).host
        except (ObjectMissingError, ValueError):
            host = ""
        if not alone or host != platform.node():
            # Capped, because with a wrong clock it could be days.
            raise _under_way(min(left, SETTLES))

    def _read_old(self, file: Path) -> None:
        """Read a journal from the time when journals were files in the data folder."""
        for text in file.read_bytes().splitlines(keepends=True):
            if not text.endswith(b"\n"):
                break  # torn by a kill
            line = JournalLine.model_validate_json(text)
            self._seen[line.event].add(_name(line.path, line.after))


@contextmanager
def open_journal(
    objects: ObjectStore, agent: str, key: str, attempt: int, root: str, old: Path | None = None
) -> Iterator[FixJournal]:
    """The journal of an agent's idempotency key ``key``, held by this attempt alone until the block ends.

    Args:
        objects: the store that holds it.
        agent: the agent's id.
        key: the action's idempotency key.
        attempt: the number of this attempt.
        root: the folder that fixes are applied to.
        old: the folder of journals from before they were in the object store.

    Raises:
        ApplicationError: type ``ApplyUnderWay``, to be retried: another attempt has not ended yet.
    """
    name = digest_bytes(key.encode())
    with _locked(root) as alone:
        prefix = f"{work_prefix(agent, 'apply/')}{name}/"
        yield FixJournal(objects, prefix, attempt, old and old / f"{name}.jsonl", alone)


@contextmanager
def _locked(root: str) -> Iterator[bool]:
    """Hold the lock on a folder; yield whether the folder can be locked."""
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield False  # each file will be found missing
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _under_way(timedelta(seconds=5)) from None
        except OSError:
            alone = False  # a network file system without locks on folders
        else:
            alone = True
        yield alone
    finally:
        os.close(descriptor)


def _under_way(wait: timedelta) -> ApplicationError:
    return retry_after("ApplyUnderWay", "another attempt at fixes of this folder is at work", wait)


def _name(path: str, after: str) -> str:
    return digest_bytes(f"{after} {path}".encode())[:32]
