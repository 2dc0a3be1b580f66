"""Deciding what agents ask, and steering them."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header

from common.approval.types import Decision, DecisionStatus, Verdict, judged
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from gateway.auth.authentication import Decider, Subject, Writer
from gateway.auth.authorization import require_steerable, require_visible
from gateway.decisions import decide, receipt_of
from gateway.problems import Problem
from gateway.schemas import Accepted, BatchChange, DecisionBody, DecisionTaken, Tell, Wake
from gateway.services import Gateway, Parts

router = APIRouter(tags=["deciding and steering"])

REFUSED = "No such request is open, or the agent refused the decision; `detail` says why."
ENDED: dict[int | str, dict[str, Any]] = {
    409: {"description": "It has ended, or refused it; `detail` says why."}
}
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        description="The same key by the same person makes one decision, however often it is sent.",
    ),
]


@router.post(
    "/agents/{id}/decisions",
    status_code=HTTPStatus.ACCEPTED,
    responses={409: {"description": REFUSED}},
)
async def decide_request(
    parts: Parts, subject: Decider, id: str, body: DecisionBody, key: Key = ""
) -> DecisionTaken:
    """Decide what an agent asks, as the token's subject.

    202 means that the signed decision is safe with Temporal, whether or not a worker runs. 503 means that
    this is not known after 25 seconds: send the same decision again, best under the same key.
    """
    decision_id = f"http-{hashlib.sha256(f'{len(subject.id)} {subject.id}{key}'.encode()).hexdigest()[:32]}"
    # Before any check: somebody who has decided may no longer be asked, but still gets the outcome.
    if key and (known := judged((await parts.writing_views.view(id)).decisions, decision_id)):
        _require_same(body, known.decision)
        return _accepted(DecisionTaken.of(id, known.decision, known))
    await require_visible(parts.writing_views, subject, id)
    decision, record = await decide(
        parts.writing_agents,
        id,
        body.verdict,
        by=subject.id,
        note=body.note,
        edits=body.edits,
        through="http",
        digest=body.digest,
        request_id=body.request_id,
        decision_id=decision_id if key else "",
    )
    parts.forget(id)
    return _accepted(DecisionTaken.of(id, decision, record))


@router.post("/agents/{id}/tell", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def tell(parts: Parts, subject: Writer, id: str, body: Tell) -> Accepted:
    """Steer an agent in words."""
    return await steer(parts, subject, id, lambda agents: agents.tell(id, body.text))


@router.post("/agents/{id}/pause", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def pause(parts: Parts, subject: Writer, id: str) -> Accepted:
    """Have an agent start nothing new until `resume`."""
    return await steer(parts, subject, id, lambda agents: agents.pause(id))


@router.post("/agents/{id}/resume", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def resume(parts: Parts, subject: Writer, id: str) -> Accepted:
    """End a pause."""
    return await steer(parts, subject, id, lambda agents: agents.resume(id))


@router.post("/agents/{id}/wake", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def wake(parts: Parts, subject: Writer, id: str, body: Wake | None = None) -> Accepted:
    """End an agent's sleep now, or move its end to another time."""
    return await steer(parts, subject, id, lambda agents: agents.wake(id, body.until if body else None))


@router.post("/agents/{id}/batch", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def batch(parts: Parts, subject: Writer, id: str, body: BatchChange) -> Accepted:
    """Change a batch that an agent has under way."""
    return await steer(parts, subject, id, lambda agents: agents.batch(id, body))


@router.post("/agents/{id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def cancel(parts: Parts, subject: Writer, id: str) -> Accepted:
    """Ask an agent to end; it cleans up first."""
    return await steer(parts, subject, id, lambda agents: agents.cancel(id))


async def steer(
    parts: Gateway, subject: Subject, id: str, send: Callable[[AgentClient], Awaitable[str | None]]
) -> Accepted:
    """Send a command to an agent that the subject may steer.

    Raises:
        NoSuchAgentError: the agent does not exist, or the subject may not see it.
        Problem: 403, the subject may not steer it; 409, it has ended, or refuses the command.
    """
    await require_steerable(parts.writing_views, subject, id)
    try:
        asked = await send(parts.writing_agents)
    except NoSuchAgentError:
        # It existed a moment ago.
        raise Problem(HTTPStatus.CONFLICT, "The agent has ended; nothing was asked of it.") from None
    parts.forget(id)
    receipt = await receipt_of(parts.agents, id, asked) if asked else None
    if receipt is None:
        return Accepted(id=id)
    if not receipt.taken:
        raise Problem(HTTPStatus.CONFLICT, f"The agent refused it: {receipt.words}.")
    return Accepted(id=id, status="taken", detail=receipt.words)


def _require_same(body: DecisionBody, known: Decision) -> None:
    verdict = Verdict.REVISE if body.edits and body.verdict is Verdict.APPROVE else body.verdict
    same = (verdict, body.note, body.edits) == (known.verdict, known.note, known.edits)
    same = same and known.digest.startswith(body.digest) and body.request_id in ("", known.request_id)
    if not same:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "This Idempotency-Key was used with another decision.")


def _accepted(taken: DecisionTaken) -> DecisionTaken:
    if taken.status is DecisionStatus.REFUSED:
        raise Problem(HTTPStatus.CONFLICT, f"The agent refused it: {taken.reason}.", decision=taken)
    return taken
