"""Settings of the archive: when closed agents are moved, what is left alone, when storage gets colder."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

from common.grammar import Duration
from common.settings.base import OR_NONE, File, Group, setting


def _times_of(text: object) -> object:
    if not isinstance(text, str):
        return text
    first, *others = (part.strip() for part in text.split(","))
    pairs = (part.partition("=") for part in others)
    return {"": first, **{name.strip(): time for name, _, time in pairs}}


class ArchiveSettings(Group):
    """When agents are archived, and what is left alone."""

    after: Annotated[dict[str, Duration], BeforeValidator(_times_of)] = setting(
        "HIBERNAUT_ARCHIVE_AFTER",
        "How long closed agents stay in Temporal before they are archived, followed by exceptions for "
        "kinds or outcomes, as in `30d, code-auditor=7d, failed=90d`. If several apply, the longest "
        "counts.",
        default="30d",
    )
    schedule: str = setting(
        "HIBERNAUT_ARCHIVE_AT", "When the archivist runs: a cron expression, in UTC.", default="17 3 * * *"
    )
    holds: File = setting(
        "HIBERNAUT_ARCHIVE_HOLDS",
        'Path of a JSON file of legal holds, `{"ids": [], "owners": [], "batches": []}`: what it names is '
        "left alone. Empty: `holds.json` in the data folder, if there is one.",
    )
    cold_after: Annotated[Duration | None, OR_NONE] = setting(
        "HIBERNAUT_ARCHIVE_COLD",
        "When `archive setup` has S3 move archived agents to GLACIER_IR, cheaper and still read at once. "
        "`never`: no such rule.",
        default="90d",
    )

    def ttl(self, kind: str, status: str) -> timedelta:
        """How long an agent of this kind that closed with this status stays in Temporal."""
        return max(
            (self.after[name] for name in (kind, status) if name in self.after), default=self.after[""]
        )

    @property
    def shortest(self) -> timedelta:
        """The time after which the first agents may be due."""
        return min(self.after.values())
