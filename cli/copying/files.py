"""Copies and restores the files of a data folder, other than its databases."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from cli.copying.place import FILES, RETENTION, NotACopyError
from common.files import write_atomically
from common.object_store import ObjectMissingError, ObjectStore, StoredObject

# Records when each file was deleted. The copy keeps it for a day, for restores to an earlier hour.
DELETED = "deleted.json"
# State of running processes, their logs, and what can be fetched again.
LEFT_OUT = frozenset({"copy.json", "dev.lock", "stack.json", "logs", "fetching"})
THREADS = 8
_TIMES = TypeAdapter(dict[str, datetime])


class _State(NamedTuple):
    """The metadata that reveals a changed file."""

    size: int
    changed: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> _State:
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


class FileCopies:
    """Keeps a copy of the files of `folder` in `store`. Its methods block."""

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self._folder = folder
        self._store = store
        self._copied: dict[str, _State | None] | None = None
        self._deleted: dict[str, datetime] = {}
        self.looked_for = 0.0  # seconds that the last scan took

    def update(self, databases: Collection[Path], now: datetime) -> bool:
        """Copy new and changed files, drop those deleted over a day ago; return whether anything changed.

        Raises:
            StoreUnavailableError: the place cannot be reached, or refuses the request.
        """
        began = time.monotonic()
        found = dict(_files(self._folder, databases))
        self.looked_for = time.monotonic() - began
        if self._copied is None:
            listed = {each.key.removeprefix(FILES): each for each in self._store.list(FILES)}
            self._copied = {path: _unchanged(found.get(path), each) for path, each in listed.items()}
            self._deleted = self._times()
        wanted = [path for path, state in found.items() if self._copied.get(path) != state]
        with ThreadPoolExecutor(THREADS) as threads:
            for path in threads.map(self._copy, wanted):
                if path:
                    self._copied[path] = found[path]
        return self._forget(self._copied, found, now) or bool(wanted)

    def _copy(self, path: str) -> str:
        try:
            data = (self._folder / path).read_bytes()
        except FileNotFoundError:
            return ""
        self._store.put(FILES + path, data)
        return path

    def _forget(self, copied: dict[str, _State | None], found: Collection[str], now: datetime) -> bool:
        gone = {path: self._deleted.get(path, now) for path in copied if path not in found}
        old = [path for path, since in gone.items() if now - since > RETENTION]
        self._store.delete(FILES + path for path in old)
        for path in old:
            del copied[path], gone[path]
        changed = gone != self._deleted
        if changed:
            self._store.put(DELETED, _TIMES.dump_json(gone))
            self._deleted = gone
        return changed

    def _times(self) -> dict[str, datetime]:
        try:
            return _TIMES.validate_json(self._store.get(DELETED))
        except ObjectMissingError:
            return {}


def _unchanged(state: _State | None, copy: StoredObject) -> _State | None:
    """The file's state if the listed copy has its size and is newer; else None."""
    if state is None or copy.size != state.size or copy.written_at.timestamp() * 1e9 < state.changed:
        return None
    return state


def conflicts(folder: Path, store: ObjectStore) -> list[str]:
    """Files of `folder` that differ from their copy, so that a restore would overwrite them.

    Raises:
        NotACopyError: a name in the copy leads out of the folder.
    """
    return [
        path
        for path in _copies(store)
        if (folder / path).exists() and not _is_same(folder / path, store, path)
    ]


def put_back(folder: Path, store: ObjectStore) -> int:
    """Write every file of the copy that is missing in `folder`; return how many the copy has."""

    def write(path: str) -> None:
        if not (folder / path).exists():
            write_atomically(folder / path, store.get(FILES + path))

    paths = list(_copies(store))
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(write, paths))
    return len(paths)


def _copies(store: ObjectStore) -> Iterator[str]:
    for each in store.list(FILES):
        path = each.key.removeprefix(FILES)
        # Do not trust the names: others may have written to the bucket.
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise NotACopyError(f"{path[:200]!r} in it is the name of no file in a data folder")
        yield path


def _is_same(file: Path, store: ObjectStore, path: str) -> bool:
    return file.is_file() and file.read_bytes() == store.get(FILES + path)


def _files(folder: Path, databases: Collection[Path]) -> Iterator[tuple[str, _State]]:
    """Yield each file to copy: its path relative to `folder`, and its state."""
    beside = {f"{each.name}{more}" for each in databases for more in ("", "-wal", "-shm", "-journal")}
    for at, folders, names in os.walk(folder):
        top = Path(at) == folder
        if not top and "dev.lock" in names:  # the data folder of another stack
            folders.clear()
            continue
        left_out = LEFT_OUT | beside if top else frozenset()
        # Dotfiles are temporary files and locks.
        folders[:] = [name for name in folders if name not in left_out and not name.startswith(".")]
        for name in names:
            if name in left_out or name.startswith(".") or name.endswith(".lock"):
                continue
            path = Path(at, name)
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield path.relative_to(folder).as_posix(), _State.of(found)
