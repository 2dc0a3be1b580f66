"""`starter.py restored`: records that Temporal's database was put back to an older state."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.output import CommandError, print_document, say
from cli.table import print_table
from common.approval.action_log import ActionLog
from common.grammar import in_utc
from common.object_store import StoreUnavailableError
from common.settings import Settings


def note_restore(settings: Settings, to: datetime | None, *, as_json: bool) -> None:
    """Record it where all workers look, and print what agents did since then.

    Raises:
        CommandError: the time is not in the past, or the object store is out of reach.
    """
    if to is None or to >= datetime.now(UTC):
        raise CommandError("--to: give the time at which the copy was made, which is past.")
    acts = ActionLog.of(settings)
    try:
        acts.note_restore(to)
        forgotten = acts.since(to)
    except StoreUnavailableError as error:
        raise CommandError(f"{error}.") from error
    if as_json:
        print_document(forgotten)
    elif forgotten:
        print_table(
            ["AT", "AGENT", "NODE", "DECIDED BY"],
            [
                [f"{in_utc(each.at):%Y-%m-%d %H:%M:%S}", each.agent, each.node, ", ".join(each.by)]
                for each in forgotten
            ],
        )
    say(
        f"noted: since {in_utc(to):%Y-%m-%d %H:%M:%S} UTC agents acted {len(forgotten)} times, which the "
        "server has forgotten. Start the workers, and have decided again what was decided since "
        "(starter.py inbox)."
    )
