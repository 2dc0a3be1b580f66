"""Where the agents of one owner may read and write. It imports little, because small processes use it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import JsonValue

# They expose processes, devices and other places under a second name.
_SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))


@dataclass(frozen=True, eq=False)
class Territory:
    """Where the agents of one owner may read and write. All paths are real ones, free of links.

    Attributes:
        owner: the owner of the agents.
        roots: the folders below which they may read and write.
        closed: the data folder and the folder of objects, which no agent may use.
        home: the home folder; an entry of it that begins with a dot is allowed only if a root lies in it.
    """

    owner: str
    roots: tuple[Path, ...]
    closed: tuple[Path, ...] = ()
    home: Path | None = None

    @lru_cache(maxsize=10_000)  # noqa: B019 -- they are small, and one is made for each activity
    def holds(self, place: Path) -> bool:
        """Whether `place`, a real path, may be read and written."""
        if any(place.is_relative_to(each) for each in _SYSTEM) or self._is_closed(place):
            return False
        roots = [root for root in self.roots if place.is_relative_to(root)]
        if self.home and self.home in place.parents:
            # Keys, tokens and settings of other programs are here.
            first = self.home / place.relative_to(self.home).parts[0]
            if first.name.startswith("."):
                return any(root.is_relative_to(first) for root in roots)
        return bool(roots)

    def _is_closed(self, place: Path) -> bool:
        """Whether `place` is a closed folder or lies in one, under whatever name it is mounted."""
        if any(place.is_relative_to(each) for each in self.closed):
            return True
        closed = {found for each in self.closed if (found := _identity(each))}
        return bool(closed) and any(_identity(each) in closed for each in (place, *place.parents))

    def as_json(self) -> list[JsonValue]:
        """The territory as JSON, for `from_json` in another process."""
        home = None if self.home is None else str(self.home)
        return [self.owner, [str(root) for root in self.roots], [str(each) for each in self.closed], home]

    @classmethod
    def from_json(cls, value: list[Any]) -> Territory:
        """The territory that was written as `value`."""
        owner, roots, closed, home = value
        return cls(owner, tuple(map(Path, roots)), tuple(map(Path, closed)), home and Path(home))


# For what has no paths.
NOWHERE = Territory("", ())


def real_path(path: str) -> Path:
    """`path` with its links followed; if it is relative or unusable, a place in no territory."""
    try:
        return Path(os.path.realpath(path) if os.path.isabs(path) else os.devnull)
    except (OSError, ValueError):
        return Path(os.devnull)


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(place)
    except OSError:
        return None
    return status.st_dev, status.st_ino
