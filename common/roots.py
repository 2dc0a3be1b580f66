"""Which folders agents may read and write below: roots that the operator names, for a person or a group."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter

from common.approval.groups import Directory
from common.approval.types import GROUP
from common.names import UnusableValueError
from common.settings import Settings
from common.temporal.connect import StackAddress
from common.watched_file import WatchedFile, file_of

EVERYBODY = "*"
# They show processes, devices and other places by a second name.
_SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))
_ROOTS = TypeAdapter(dict[str, list[str]])


class PathRefusedError(UnusableValueError):
    """A path that agents of this owner may not use; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Territory:
    """Where the agents of one owner may read and write. All paths are real ones, free of links.

    Attributes:
        owner: whose agents.
        roots: the folders below which they may.
        data: the data folder, which none may.
        home: the home folder, of which what begins with a dot counts only if a root lies in it.
    """

    owner: str
    roots: tuple[Path, ...]
    data: Path | None = None
    home: Path | None = None

    @lru_cache(maxsize=10_000)  # noqa: B019 -- they are small, and one is made for each activity
    def holds(self, place: Path) -> bool:
        """Whether `place`, a real path, may be read and written."""
        if any(place.is_relative_to(each) for each in _SYSTEM) or self._is_data(place):
            return False
        roots = [root for root in self.roots if place.is_relative_to(root)]
        if self.home and self.home in place.parents:
            # Where keys, tokens and other programs' settings lie.
            first = self.home / place.relative_to(self.home).parts[0]
            if first.name.startswith("."):
                return any(root.is_relative_to(first) for root in roots)
        return bool(roots)

    def _is_data(self, place: Path) -> bool:
        """Whether `place` is the data folder or lies in it, under whatever name it is mounted."""
        if self.data is None:
            return False
        data = _identity(self.data)
        return place.is_relative_to(self.data) or (
            data is not None and any(_identity(each) == data for each in (place, *place.parents))
        )

    def as_json(self) -> list[JsonValue]:
        """What `from_json` makes the same territory of, in another process."""
        names = [None if each is None else str(each) for each in (self.data, self.home)]
        return [self.owner, [str(root) for root in self.roots], *names]

    @classmethod
    def from_json(cls, value: list[Any]) -> Territory:
        """The territory that was written as `value`."""
        owner, roots, data, home = value
        return cls(owner, tuple(map(Path, roots)), data and Path(data), home and Path(home))

    def check(self, field: str, path: str) -> None:
        """Check the path in the field of that name, with the links on it followed.

        Raises:
            PathRefusedError: it may not be used.
        """
        if not self.holds(_real(path)):
            raise PathRefusedError(
                f"{field}: {path[:200]!r} is not in a folder that agents of {self.owner or 'nobody'} may "
                "use; HIBERNAUT_ROOTS names those, and the data folder is never one."
            )


# For what names no path: nothing.
NOWHERE = Territory("", ())


class Roots:
    """The roots of every owner: `{"ann": ["/srv/ann"], "@auditors": ["/srv/code"], "*": ["/srv/public"]}`.

    Args:
        file: the JSON file; it may change at any time.
        directory: who is in which group.
        data: the data folder.
        usual: the roots of everybody while there is no file.
    """

    def __init__(self, file: Path, directory: Directory, data: Path, usual: Iterable[str] = ()) -> None:
        example = 'a JSON object of lists of absolute paths, as in {"ann": ["/srv/ann"], "*": ["/srv/code"]}'
        self._roots = WatchedFile[dict[str, list[str]]](
            "HIBERNAUT_ROOTS", file, _read, {EVERYBODY: list(usual)}, example
        )
        self._directory, self._data = directory, data

    @classmethod
    def load(cls, settings: Settings) -> Roots:
        """The roots of the setting ``HIBERNAUT_ROOTS``, else of ``roots.json`` in the data folder.

        Without either they are those of the embedded stack that runs on this data folder, else none.

        Raises:
            SettingsError: the named file is missing, or it is not a file of roots.
        """
        file = file_of("HIBERNAUT_ROOTS", settings.roots, settings.data_dir / "roots.json")
        stack = StackAddress.find(settings)
        usual = stack.roots if stack else ()
        roots = cls(file, Directory.load(settings), settings.data_dir, usual)
        roots.of("")  # raises
        return roots

    def of(self, owner: str) -> Territory:
        """Where the agents of `owner` may read and write now.

        Raises:
            SettingsError: the file has become unreadable; try again later.
        """
        named = self._roots.content()
        groups = [GROUP + group for group in self._directory.groups_of(owner)]
        mine = [path for name in (owner, *groups, EVERYBODY) for path in named.get(name, ())]
        roots = tuple(_real(os.path.expanduser(path)) for path in mine)
        return Territory(owner, roots, _real(str(self._data)), _real(os.path.expanduser("~")))


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(place)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _read(data: bytes) -> dict[str, list[str]]:
    found = _ROOTS.validate_json(data)
    if not all(os.path.isabs(os.path.expanduser(path)) for paths in found.values() for path in paths):
        raise ValueError("not an absolute path")
    return found


def _real(path: str) -> Path:
    """`path` with its links followed; a place in no territory, where it is relative or unusable."""
    try:
        return Path(os.path.realpath(path) if os.path.isabs(path) else os.devnull)
    except (OSError, ValueError):
        return Path(os.devnull)
