"""`starter.py inbox`: what waits for an approval. People run it all day, so it imports little."""

from __future__ import annotations

from datetime import timedelta

from cli.clients import open_agents
from cli.output import print_document, say
from cli.table import print_table
from common.client.view import InboxRow
from common.settings import Settings
from common.temporal.search_attributes import MORE

QUESTIONS_SHOWN = 20
QUESTION_PATIENCE = timedelta(seconds=0.5)  # the list itself is complete without them


async def inbox(settings: Settings, who: str | None, *, as_json: bool) -> None:
    """Print the open requests, all or those that `who` may decide."""
    agents = await open_agents(settings)
    rows = await agents.inbox(who)
    if as_json:
        print_document(rows)
        return
    if not rows:
        say("no agent waits for an approval." if who is None else f"no agent waits for an approval of {who}.")
        return
    ids = list(dict.fromkeys(row.id for row in rows))[:QUESTIONS_SHOWN]
    questions = await agents.questions(ids, QUESTION_PATIENCE)
    print_table(
        ["ID", "KIND", "OWNER", "REQUEST", "QUESTION"],
        [
            [
                _id(row),
                row.kind,
                row.owner,
                row.request_id,
                _how_many(row) + questions.get((row.id, row.request_id), _else(row)),
            ]
            for row in rows
        ],
    )
    say("look with `starter.py show ID`; answer with `starter.py approve ID` or `starter.py reject ID`.")
    batch = next((row.batch_id for row in rows if row.count > 1), None)
    if batch:
        say(f"a batch: `starter.py inbox --batch {batch}`; answer with `starter.py approve --batch {batch}`.")


def _id(row: InboxRow) -> str:
    return f"--batch {row.batch_id}" if row.count > 1 else row.id


def _how_many(row: InboxRow) -> str:
    return f"{row.count} alike, such as: " if row.count > 1 else ""


def _else(row: InboxRow) -> str:
    return "and more: no worker answers just now" if row.request_id == MORE else ""
