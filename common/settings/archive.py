"""Settings of the archive: when closed agents are moved, what is left alone, when storage gets colder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from common.settings.base import Setting, Values, duration

ARCHIVE_AFTER = Setting(
    "HIBERNAUT_ARCHIVE_AFTER",
    "30d",
    "How long closed agents stay in Temporal before they are archived; other times by kind or outcome behind "
    "it, as in `30d, code-auditor=7d, failed=90d`. Where several fit, the longest.",
)
ARCHIVE_AT = Setting("HIBERNAUT_ARCHIVE_AT", "17 3 * * *", "When the archivist runs: a cron line, in UTC.")
ARCHIVE_HOLDS = Setting(
    "HIBERNAUT_ARCHIVE_HOLDS",
    "",
    'Path of a JSON file of legal holds, `{"ids": [], "owners": [], "batches": []}`: what it names is left '
    "alone. Empty: `holds.json` in the data folder, if there is one.",
)
ARCHIVE_COLD = Setting(
    "HIBERNAUT_ARCHIVE_COLD",
    "90d",
    "When `archive setup` has S3 move archived agents to GLACIER_IR, cheaper and still read at once. "
    "`never`: no such rule.",
)

TABLE = (ARCHIVE_AFTER, ARCHIVE_AT, ARCHIVE_HOLDS, ARCHIVE_COLD)


@dataclass(frozen=True)
class ArchiveSettings:
    """When agents are archived, and what is left alone.

    Attributes:
        after: how long closed agents stay in Temporal.
        exceptions: other times, by kind or outcome (`failed`).
        schedule: a cron line, in UTC.
        holds: the file of legal holds; None for the one in the data folder.
        cold_after: when archived agents go to colder storage; None for never.
    """

    after: timedelta
    exceptions: tuple[tuple[str, timedelta], ...]
    schedule: str
    holds: Path | None
    cold_after: timedelta | None

    @classmethod
    def read(cls, value: Values) -> ArchiveSettings:
        """Read the group by ``value``, which gives the text of a setting.

        Raises:
            SettingsError: a value cannot be used.
        """
        after, *exceptions = (part.strip() for part in value(ARCHIVE_AFTER).split(","))
        pairs = [part.partition("=") for part in exceptions]
        cold = value(ARCHIVE_COLD)
        return cls(
            after=duration(ARCHIVE_AFTER, after),
            exceptions=tuple(
                (name.strip(), duration(ARCHIVE_AFTER, time.strip())) for name, _, time in pairs
            ),
            schedule=value(ARCHIVE_AT),
            holds=Path(value(ARCHIVE_HOLDS)).expanduser().absolute() if value(ARCHIVE_HOLDS) else None,
            cold_after=None if cold == "never" else duration(ARCHIVE_COLD, cold),
        )

    def ttl(self, kind: str, status: str) -> timedelta:
        """How long an agent of this kind stays that closed so."""
        fitting = [time for name, time in self.exceptions if name in (kind, status)]
        return max(fitting, default=self.after)

    @property
    def shortest(self) -> timedelta:
        """After which time the first agents may be due."""
        return min([self.after, *(time for _, time in self.exceptions)])
