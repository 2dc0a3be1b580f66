"""Questions of a batch, decided together with a signed decision for each."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from common.client.batch_decisions import MAX_DECIDED, BatchAnswer, Sees, new_token
from common.client.batch_questions import AllAnswered, AskedPage, ShownQuestion, is_of
from common.client.errors import NoSuchAgentError
from gateway.auth.authentication import Decider, Reader, Subject
from gateway.auth.authorization import require_visible
from gateway.routes.steering import Key
from gateway.schemas import GatheredBody
from gateway.services import Gateway, Parts

router = APIRouter(tags=["deciding and steering"])


@router.get("/batches/{id}/questions")
async def questions(
    parts: Parts,
    subject: Reader,
    id: str,
    after: Annotated[str, Query(max_length=200, description="As the page before said.")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_DECIDED, description="Of so many agents.")] = 100,
) -> AskedPage:
    """What the agents of a batch ask, of those one may see. `id` is the batch's id, or that of its agent.

    Questions with the same `group` are alike. If more follow, ask again with `after`.
    """
    return await parts.gathered.page(id, visible_to(subject), after, limit)


@router.post("/batches/{id}/decisions", status_code=HTTPStatus.ACCEPTED)
async def decide_questions(
    parts: Parts, subject: Decider, id: str, body: GatheredBody, key: Key = ""
) -> AllAnswered:
    """Decide questions of a batch, as the token's subject: one signed decision for each, on the digest given.

    202 says what became of each: counted, refused and why, or waiting for a worker. What has changed since it
    was shown is refused. 503 means that not all are known to be safe with Temporal: send it again, best under
    the same key, and each counts once.
    """
    token = f"http {subject.id} {hashlib.sha256(key.encode()).hexdigest()}" if key else new_token()
    said = BatchAnswer(
        batch=id,
        verdict=body.verdict,
        note=body.note,
        by=subject.id,
        through="http",
        token=token,
        sees=visibility_check(parts, subject, id),
    )
    return await answer(parts, said, body.questions)


async def answer(parts: Gateway, said: BatchAnswer, shown: Sequence[ShownQuestion]) -> AllAnswered:
    """Decide questions of a batch, and return the outcome of each."""
    results = await parts.writing_gathered.answer(said, shown)
    for each in results:
        parts.forget(each.id)
    return AllAnswered.of(said.batch, said.verdict, results)


def visibility_check(parts: Gateway, subject: Subject, batch: str) -> Callable[[str], Awaitable[bool]]:
    """A check that the subject may see an agent, and that it is of that batch."""

    async def sees(id: str) -> bool:
        try:
            return is_of(await require_visible(parts.writing_views, subject, id), batch)
        except NoSuchAgentError:
            return False

    return sees


def visible_to(subject: Subject) -> Sees:
    """A check like `may_see`, given who may decide what the agent asks."""
    return lambda row, deciders: (
        bool(row.owner) and (subject.operator or row.owner == subject.id or bool(subject.names & deciders))
    )
