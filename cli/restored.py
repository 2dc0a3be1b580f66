"""`starter.py restored`: what to note when Temporal's database was put back to an older state."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.output import CommandError, say
from common.approval.acts import ActLog
from common.object_store import StoreUnavailableError
from common.settings import Settings


def note_restore(settings: Settings, to: datetime | None) -> None:
    """Note it where all workers look.

    Raises:
        CommandError: the time has not come yet, or the object store is out of reach.
    """
    now = datetime.now(UTC)
    if to is None or to >= now:
        raise CommandError("--to: give the time at which the copy was made, which is past.")
    try:
        ActLog.of(settings).note_restore(to)
    except StoreUnavailableError as error:
        raise CommandError(f"{error}.") from error
    say(
        f"noted: what agents did between {to:%Y-%m-%d %H:%M} and {now:%Y-%m-%d %H:%M} UTC is told to those "
        "who decide, before its like is done again. Now start the workers, and have decided again what was "
        "decided since (starter.py inbox)."
    )
