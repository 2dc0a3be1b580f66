"""Legal holds: agents that must not be erased. The file may change at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from common.settings import Settings, SettingsError


class Holds(BaseModel, frozen=True, extra="forbid"):
    """What is on hold: single agents, all agents of an owner, or all agents of a batch."""

    ids: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    batches: frozenset[str] = frozenset()

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """The holds from the file in ``HIBERNAUT_ARCHIVE_HOLDS``, or else ``holds.json`` in the data folder.

        Raises:
            SettingsError: the named file is missing or invalid; nothing may be erased then.
        """
        file = settings.archive.holds or Path(settings.data_dir / "holds.json")
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            if settings.archive.holds is None:
                return cls()
            raise SettingsError(f"HIBERNAUT_ARCHIVE_HOLDS={file}: there is no such file.") from None
        except (OSError, ValidationError):
            raise SettingsError(
                f'HIBERNAUT_ARCHIVE_HOLDS: {file} is not a JSON object of lists like {{"owners": ["u-17"]}}.'
            ) from None

    def cover(self, id: str, owner: str, batch: str) -> bool:
        """Whether this agent is on hold."""
        return id in self.ids or owner in self.owners or batch in self.batches
