"""The object store: objects by key, in a folder on disk or in a bucket (`s3_store.py`)."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.files import write_atomically
from common.settings import Settings

# For a write whose folder is removed meanwhile because it was empty.
MAX_TRIES = 100


class ObjectMissingError(Exception):
    """There is no object with that key; the message names it."""


class ObjectUnreadableError(ObjectMissingError):
    """The object is there, but not as it was written. Callers who can do without it treat it as missing."""


class StoreUnavailableError(Exception):
    """The store cannot do it now.

    Args:
        message: what it could not do, and why.
        mend: what a person can do about it, if known.
        refuses: no retry helps before that is done; otherwise the store is just out of reach.
    """

    quotes_nothing = True

    def __init__(self, message: str, mend: str = "", *, refuses: bool = False) -> None:
        super().__init__(message)
        self.mend = mend
        self.refuses = refuses


@dataclass(frozen=True)
class StoredObject:
    """An object as listed: its key, its size in bytes, when it was written."""

    key: str
    size: int
    written_at: datetime


class ObjectStore(ABC):
    """Whole objects by key. A key is segments joined by `/`, none of which is empty or begins with a dot.

    The methods block and are thread-safe. Each raises `StoreUnavailableError` if the store refuses or cannot
    be reached, and none retries: Temporal does.
    """

    @abstractmethod
    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object atomically, and return whether it was written.

        Args:
            key: its key.
            data: its bytes.
            if_absent: keep an existing object. A service without conditional writes overwrites it anyway.
        """

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The bytes of an object.

        Raises:
            ObjectMissingError: there is none.
        """

    @abstractmethod
    def head(self, key: str) -> StoredObject | None:
        """An object as it would be listed; None if there is none."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins with ``prefix``, in the byte order of their keys."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; a missing one counts as deleted."""

    @abstractmethod
    def look(self) -> None:
        """Check, at little cost, that the place where objects are kept can be used."""


def open_store(settings: Settings) -> ObjectStore:
    """The bucket of the settings, or the embedded stack's folder. Connects to nothing yet."""
    if settings.state.s3_bucket:
        from common.s3_store import S3Store

        return S3Store(settings)
    return FolderStore(objects_folder(settings))


def objects_folder(settings: Settings) -> Path:
    """The folder for objects if there is no bucket."""
    return settings.state.objects or settings.data_dir / "objects"


class FolderStore(ObjectStore):
    """A folder on disk with one file for each object."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """See the interface; durable (fsync) when it returns."""
        path = self._path(key)
        for _ in range(MAX_TRIES):
            if if_absent and path.exists():
                return False
            try:
                write_atomically(path, data, replace=not if_absent)
            except FileExistsError:
                return False
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreUnavailableError(f"{path}: {error.strerror}") from error
            return True
        raise StoreUnavailableError(f"{path.parent} is removed again and again")

    def get(self, key: str) -> bytes:
        """See the interface."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissingError(f"there is no object {key} in {self._folder}") from None
        except OSError as error:
            raise StoreUnavailableError(f"{key}: {error.strerror}") from error

    def head(self, key: str) -> StoredObject | None:
        """See the interface."""
        return self._described(key, self._path(key))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See the interface."""
        # Only folders that can hold such keys are walked.
        top = self._folder / prefix.rpartition("/")[0]
        found = []
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder) / name
                key = path.relative_to(self._folder).as_posix()
                # The names of temporary files begin with a dot.
                if key.startswith(prefix) and not name.startswith("."):
                    found.append((key, path))
        for key, path in sorted(found, key=lambda each: each[0].encode()):
            described = self._described(key, path)
            if described:
                yield described

    def delete(self, keys: Iterable[str]) -> None:
        """See the interface. Folders left empty are removed too."""
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._folder:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break  # not empty

    def look(self) -> None:
        """See the interface."""
        if self._folder.exists() and not os.access(self._folder, os.W_OK | os.X_OK):
            raise StoreUnavailableError(
                f"{self._folder} cannot be written to", "let the worker write there", refuses=True
            )

    def _described(self, key: str, path: Path) -> StoredObject | None:
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return StoredObject(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def _path(self, key: str) -> Path:
        segments = key.split("/")
        if any(not each or each.startswith(".") or "\0" in each for each in segments):
            raise ValueError(f"{key!r} is not a key: its segments must not be empty or begin with a dot")
        return self._folder.joinpath(*segments)
