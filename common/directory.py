"""Who is in which group, from a file that may change at any time: members are looked up when they decide."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from common.settings import GROUPS, Settings, SettingsError

_GROUPS = TypeAdapter(dict[str, frozenset[str]])


class Directory:
    """Groups of people, by opaque ids: a JSON file `{"treasury": ["ann", "bob"]}`. No file, no groups."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at = 0
        self._groups: dict[str, frozenset[str]] = {}

    @classmethod
    def load(cls, settings: Settings) -> Directory:
        """The directory of the setting ``HIBERNAUT_GROUPS``, else ``groups.json`` in the data folder.

        Raises:
            SettingsError: the file that was named is missing, or cannot be read as groups.
        """
        file = settings.groups or settings.data_dir / "groups.json"
        if settings.groups and not file.exists():
            raise SettingsError(f"{GROUPS.variable}={file}: there is no such file.")
        directory = cls(file)
        directory.groups_of("")  # raises
        return directory

    def groups_of(self, who: str) -> list[str]:
        """The groups that ``who`` is in now, sorted.

        Raises:
            SettingsError: the file has become unreadable; whoever is asked then should ask again later.
        """
        self._refresh()
        return sorted(name for name, members in self._groups.items() if who in members)

    def _refresh(self) -> None:
        try:
            changed_at = self._file.stat().st_mtime_ns
            if changed_at != self._read_at:
                self._groups = _GROUPS.validate_json(self._file.read_bytes())
                self._read_at = changed_at
        except FileNotFoundError:
            self._groups, self._read_at = {}, 0
        except (OSError, ValidationError):
            raise SettingsError(
                f'{GROUPS.variable}: {self._file} is no JSON object of lists, as in {{"treasury": ["ann"]}}.'
            ) from None
