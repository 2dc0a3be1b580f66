"""Which folders agents may read and write below: roots that the operator names, for a person or a group."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from common.approval.groups import Directory
from common.approval.types import GROUP
from common.names import UnusableValueError
from common.object_store import objects_folder
from common.settings import Settings
from common.temporal.connect import StackAddress
from common.territory import Territory, real_path
from common.watched_file import WatchedFile, file_of

EVERYBODY = "*"
_ROOTS = TypeAdapter(dict[str, list[str]])


class PathRefusedError(UnusableValueError):
    """A path that agents of this owner may not use; the message says what to do."""


class Roots:
    """The roots of every owner: `{"ann": ["/srv/ann"], "@auditors": ["/srv/code"], "*": ["/srv/public"]}`.

    Args:
        file: the JSON file; it may change at any time.
        directory: who is in which group.
        closed: the data folder and the folder of objects.
        usual: the roots of everybody while there is no file.
    """

    def __init__(
        self, file: Path, directory: Directory, closed: Iterable[Path], usual: Iterable[str] = ()
    ) -> None:
        example = 'a JSON object of lists of absolute paths, as in {"ann": ["/srv/ann"], "*": ["/srv/code"]}'
        self._roots = WatchedFile[dict[str, list[str]]](
            "HIBERNAUT_ROOTS", file, _read, {EVERYBODY: list(usual)}, example
        )
        self._directory, self._closed = directory, tuple(closed)

    @classmethod
    def load(cls, settings: Settings) -> Roots:
        """The roots of the setting ``HIBERNAUT_ROOTS``, else of ``roots.json`` in the data folder.

        Without either, they are those of the embedded stack that runs on this data folder, else none.

        Raises:
            SettingsError: the named file is missing, or it is not a file of roots.
        """
        file = file_of("HIBERNAUT_ROOTS", settings.roots, settings.data_dir / "roots.json")
        stack = StackAddress.find(settings)
        usual = stack.roots if stack else ()
        closed = (settings.data_dir, objects_folder(settings))
        roots = cls(file, Directory.load(settings), closed, usual)
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
        roots = tuple(real_path(os.path.expanduser(path)) for path in mine)
        closed = tuple(real_path(str(each)) for each in self._closed)
        return Territory(owner, roots, closed, real_path(os.path.expanduser("~")))


def check_path(territory: Territory, field: str, path: str) -> None:
    """Check the path in the field of that name, with its links followed.

    Raises:
        PathRefusedError: agents of the territory's owner may not use it.
    """
    if not territory.holds(real_path(path)):
        raise PathRefusedError(
            f"{field}: {path[:200]!r} is not in a folder that agents of {territory.owner or 'nobody'} may "
            "use; HIBERNAUT_ROOTS names those, and the data folder is never one."
        )


def _read(data: bytes) -> dict[str, list[str]]:
    found = _ROOTS.validate_json(data)
    if not all(os.path.isabs(os.path.expanduser(path)) for paths in found.values() for path in paths):
        raise ValueError("not an absolute path")
    return found
