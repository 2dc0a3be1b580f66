"""Who is in which group, from a file that may change at any time: members are looked up when they decide."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from common.approval.types import GROUP
from common.settings import Settings
from common.watched_file import WatchedFile, file_of

_GROUPS = TypeAdapter(dict[str, frozenset[str]])


class Directory:
    """Groups of people, by opaque ids: a JSON file `{"treasury": ["ann", "bob"]}`. No file, no groups."""

    def __init__(self, file: Path) -> None:
        example = 'a JSON object of lists, as in {"treasury": ["ann"]}'
        self._groups = WatchedFile[dict[str, frozenset[str]]](
            "HIBERNAUT_GROUPS", file, _GROUPS.validate_json, {}, example
        )

    @classmethod
    def load(cls, settings: Settings) -> Directory:
        """The directory of the setting ``HIBERNAUT_GROUPS``, else ``groups.json`` in the data folder.

        Raises:
            SettingsError: the file that was named is missing, or cannot be read as groups.
        """
        directory = cls(file_of("HIBERNAUT_GROUPS", settings.groups, settings.data_dir / "groups.json"))
        directory.groups_of("")  # raises
        return directory

    def groups_of(self, who: str) -> list[str]:
        """The groups that ``who`` is in now, sorted.

        Raises:
            SettingsError: the file has become unreadable; whoever is asked then should ask again later.
        """
        return sorted(name for name, members in self._groups.content().items() if who in members)

    def people(self, named: Iterable[str]) -> list[str]:
        """Those who are ``named``, with the members of groups, written `@name`, in place of these; each once.

        Raises:
            SettingsError: as above.
        """
        groups = self._groups.content()
        found = (
            sorted(groups.get(each.removeprefix(GROUP), ())) if each.startswith(GROUP) else [each]
            for each in named
        )
        return list(dict.fromkeys(who for people in found for who in people))
