"""Groups of people, from a file that may change at any time; members are looked up when they decide."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from common.approval.types import GROUP
from common.settings import Settings
from common.watched_file import WatchedFile, file_of

_GROUPS = TypeAdapter(dict[str, frozenset[str]])


class Directory:
    """Groups of people by opaque ids: a JSON file `{"treasury": ["ann", "bob"]}`; no file, no groups."""

    def __init__(self, file: Path) -> None:
        example = 'a JSON object of lists, as in {"treasury": ["ann"]}'
        self._groups = WatchedFile[dict[str, frozenset[str]]](
            "HIBERNAUT_GROUPS", file, _GROUPS.validate_json, {}, example
        )

    @classmethod
    def load(cls, settings: Settings) -> Directory:
        """The directory of the setting ``HIBERNAUT_GROUPS``, else ``groups.json`` in the data folder.

        Raises:
            SettingsError: the named file is missing, or it is not a file of groups.
        """
        directory = cls(file_of("HIBERNAUT_GROUPS", settings.groups, settings.data_dir / "groups.json"))
        directory.groups_of("")  # raises
        return directory

    def groups_of(self, who: str) -> list[str]:
        """The groups that ``who`` is in now, sorted.

        Raises:
            SettingsError: the file has become unreadable; try again later.
        """
        return sorted(name for name, members in self._groups.content().items() if who in members)

    def people(self, named: Iterable[str]) -> list[str]:
        """The people ``named``, with each group `@name` replaced by its members; each person once.

        Raises:
            SettingsError: as ``groups_of``.
        """
        groups = self._groups.content()
        found = (
            sorted(groups.get(each.removeprefix(GROUP), ())) if each.startswith(GROUP) else [each]
            for each in named
        )
        return list(dict.fromkeys(who for people in found for who in people))
