"""`starter.py inbox`: what waits for an approval. People run it all day, so it imports little."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cli.clients import open_agents
from cli.output import print_document, say
from cli.table import print_table
from common.client.inbox import QUESTION_PATIENCE, QUESTIONS_TOLD, OpenQuestion, with_questions
from common.client.rows import InboxRow
from common.hints import command
from common.settings import Settings
from common.temporal.search_attributes import MORE

QUESTIONS_SHOWN = 20
QUESTION_TIMEOUT = timedelta(seconds=0.5)  # questions are optional: the list is complete without them


async def inbox(settings: Settings, who: str | None, *, as_json: bool) -> None:
    """Print the open requests: all of them, or those that `who` may decide."""
    agents = await open_agents(settings)
    rows = await agents.inbox(who)
    if as_json:
        questions = await agents.questions(rows[:QUESTIONS_TOLD], QUESTION_PATIENCE)
        print_document(with_questions(rows, questions, datetime.now(UTC)))
        return
    if not rows:
        say("no agent waits for an approval." if who is None else f"no agent waits for an approval of {who}.")
        return
    questions = await agents.questions(rows[:QUESTIONS_SHOWN], QUESTION_TIMEOUT)
    print_table(
        ["ID", "KIND", "OWNER", "REQUEST", "QUESTION"],
        [
            [
                _id(row),
                row.kind,
                row.owner,
                row.request_id,
                _how_many(row) + _question(row, questions),
            ]
            for row in rows
        ],
    )
    by = f" --as {shlex.quote(who)}" if who not in (None, settings.user) else ""
    say(f"look with `starter.py show ID`; answer with `starter.py approve ID{by}` (or reject).")
    batch = next((row.batch_id for row in rows if row.count > 1), None)
    if batch:
        of = ("--batch", batch)
        say(f"a batch: {command('inbox', *of)}; answer with {command('approve', *of)}.")


def _id(row: InboxRow) -> str:
    return f"--batch {row.batch_id}" if row.count > 1 else row.id


def _how_many(row: InboxRow) -> str:
    return f"{row.count} alike, such as: " if row.count > 1 else ""


def _question(row: InboxRow, questions: Mapping[tuple[str, str], OpenQuestion]) -> str:
    if found := questions.get((row.id, row.request_id)):
        return found.request.asked
    return "and more: no worker answers just now" if row.request_id == MORE else ""
