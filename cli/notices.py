"""`starter.py notices`: what became of each notice."""

from __future__ import annotations

from cli.clients import open_client
from cli.notice_log import CourierRow, recent_couriers
from cli.output import print_document, say
from cli.table import print_table
from common.grammar import in_utc
from common.settings import Settings


async def list_notices(
    settings: Settings, agent: str | None, limit: int, *, failed: bool, as_json: bool
) -> None:
    """Print the newest notices that were sent, except to the terminal, and the outcome of each delivery."""
    client = await open_client(settings)
    rows = await recent_couriers(client, agent, failed=failed, limit=limit)
    if as_json:
        print_document(rows)
        return
    if rows:
        print_table(
            ["AT", "AGENT", "EVENT", "WAY", "TO", "STATUS"],
            [cells for row in rows for cells in _cells(row)],
        )
    else:
        say("no notices" + (" that failed" if failed else "") + "; see docs/notices.md for where they go.")


def _cells(row: CourierRow) -> list[list[str]]:
    head = [f"{in_utc(row.at):%Y-%m-%d %H:%M}", row.agent, row.event or "?"]
    lines = [
        [*head, each.way, each.person or each.address, "delivered" if each.delivered else each.reason]
        for each in row.receipts
    ]
    tried = [[*head, name, "", f"attempt {number}"] for name, number in row.attempts.items()]
    return lines + tried or [[*head, "", "", "ended" if row.ended else "under way"]]
