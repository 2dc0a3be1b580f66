"""The inbox: what waits for my decision, most urgent first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from common.client.batch_questions import asked_item
from common.client.inbox import OpenQuestion, node_of
from common.client.rows import InboxRow
from common.client.tokens import Scope
from gateway.auth.sessions import Visiting
from gateway.overview import wakes_at
from gateway.pages import HOME, page
from gateway.services import Parts

router = APIRouter()

# How many are on a page, with their questions read.
ROWS = 50
QUESTION_PATIENCE = timedelta(seconds=1)
Chosen = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True)
class Card:
    """An entry of the inbox; `question` is None if it cannot be read now."""

    row: InboxRow
    question: OpenQuestion | None
    overdue: bool


@dataclass(frozen=True)
class Alike:
    """Several questions that differ only in their plans, to be decided together at `address`."""

    count: int
    kind: str
    words: str
    address: str


@router.get(HOME)
async def inbox(
    request: Request,
    parts: Parts,
    visitor: Visiting,
    kind: Chosen = "",
    owner: Chosen = "",
    overdue: bool = False,
    number: Annotated[int, Query(alias="page", ge=1, le=1000)] = 1,
) -> Response:
    """What waits for my decision, in the words of the agents or their histories."""
    visitor.require(Scope.READ)
    now = datetime.now(UTC)
    rows = await parts.agents.inbox(visitor.subject.id)
    wanted = sorted(
        (row for row in rows if kind in ("", row.kind) and owner in ("", row.owner)), key=_most_urgent_first
    )
    shown = wanted[(number - 1) * ROWS : number * ROWS]
    questions = await parts.agents.questions(shown, QUESTION_PATIENCE)
    cards = [_card(row, questions.get((row.id, row.request_id)), now) for row in shown]
    return page(
        request,
        "inbox.html",
        visitor=visitor,
        now=now,
        total=sum(row.count for row in wanted),
        cards=[card for card in cards if card.overdue or not overdue],
        alike=_alike(cards),
        unread=sum(card.question is None for card in cards),
        recorded=sum(card.question is not None and not card.question.live for card in cards),
        kinds=sorted({row.kind for row in rows}),
        owners=sorted({row.owner for row in rows}),
        kind=kind,
        owner=owner,
        overdue=overdue,
        more=urlencode({"kind": kind, "owner": owner, "page": number + 1})
        if len(wanted) > number * ROWS
        else "",
    )


def _most_urgent_first(row: InboxRow) -> tuple[datetime, datetime]:
    return wakes_at(row), row.started_at


def _card(row: InboxRow, question: OpenQuestion | None, now: datetime) -> Card:
    past = row.wake_at is not None and row.wake_at <= now
    return Card(row, question, question.overdue(now) if question else past)


def _alike(cards: Iterable[Card]) -> list[Alike]:
    """Groups of questions outside batches that can be decided together, the largest first."""
    groups = Counter[str]()
    first = dict[str, Card]()
    for card in cards:
        if card.question is not None and not card.row.item_of:
            group = asked_item(card.row, card.question.request).group
            groups[group] += 1
            first.setdefault(group, card)
    found = []
    for group, count in groups.most_common():
        row, question = first[group].row, first[group].question
        if count > 1 and question is not None:
            address = urlencode({"kind": row.kind, "node": node_of(row.request_id)})
            found.append(Alike(count, row.kind, question.request.question, f"/ui/questions?{address}"))
    return found
