"""Deciding what agents ask, and steering them."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header

from common.approval.types import Decision, DecisionStatus, Verdict, judged
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from gateway.auth.authentication import Decider, Subject, Writer
from gateway.auth.authorization import require_steerable, require_visible
from gateway.decisions import decide
from gateway.problems import Problem
from gateway.schemas import Asked, DecisionBody, DecisionTaken, Tell, Wake
from gateway.services import Gateway, Parts

router = APIRouter(tags=["deciding and steering"])

REFUSED = "The request for a decision is not open, or the agent refused the decision; `detail` says why."
ENDED: dict[int | str, dict[str, Any]] = {409: {"description": "The agent has ended."}}
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
    """Decide what an agent asks, as the one whose token it is.

    202 is given once the signed decision is safely with Temporal, whether or not a worker runs; 503 where
    that is not known after 25 seconds, and the same decision may be sent again, best under the same key.
    """
    decision_id = f"http-{hashlib.sha256(f'{len(subject.id)} {subject.id}{key}'.encode()).hexdigest()[:32]}"
    # Before anything else: whoever has decided may no longer be asked, and must still hear what became of it.
    if key and (known := judged((await parts.patient_views.view(id)).decisions, decision_id)):
        _require_same(body, known.decision)
        return _told(DecisionTaken.of(id, known.decision, known))
    await require_visible(parts.patient_views, subject, id)
    decision, record = await decide(
        parts.patient,
        id,
        body.verdict,
        by=subject.id,
        note=body.note,
        edits=body.edits,
        through="http",
        digest=body.digest,
        decision_id=decision_id if key else "",
    )
    parts.forget(id)
    return _told(DecisionTaken.of(id, decision, record))


@router.post("/agents/{id}/tell", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def tell(parts: Parts, subject: Writer, id: str, body: Tell) -> Asked:
    """Steer an agent in words."""
    agents = await _steerable(parts, subject, id)
    return await _asked(parts, id, agents.tell(id, body.text))


@router.post("/agents/{id}/pause", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def pause(parts: Parts, subject: Writer, id: str) -> Asked:
    """Have an agent start nothing new until `resume`."""
    agents = await _steerable(parts, subject, id)
    return await _asked(parts, id, agents.pause(id))


@router.post("/agents/{id}/resume", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def resume(parts: Parts, subject: Writer, id: str) -> Asked:
    """End a pause."""
    agents = await _steerable(parts, subject, id)
    return await _asked(parts, id, agents.resume(id))


@router.post("/agents/{id}/wake", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def wake(parts: Parts, subject: Writer, id: str, body: Wake | None = None) -> Asked:
    """End an agent's sleep now, or have it sleep until another time."""
    agents = await _steerable(parts, subject, id)
    return await _asked(parts, id, agents.wake(id, body.until if body else None))


@router.post("/agents/{id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=ENDED)
async def cancel(parts: Parts, subject: Writer, id: str) -> Asked:
    """Ask an agent to end; it tidies up first."""
    agents = await _steerable(parts, subject, id)
    return await _asked(parts, id, agents.cancel(id))


async def _steerable(parts: Gateway, subject: Subject, id: str) -> AgentClient:
    await require_steerable(parts.patient_views, subject, id)
    return parts.patient


async def _asked(parts: Gateway, id: str, sent: Awaitable[None]) -> Asked:
    try:
        await sent
    except NoSuchAgentError:
        # It was there a moment ago, and shown to who asks: it has ended.
        raise Problem(HTTPStatus.CONFLICT, "The agent has ended; nothing was asked of it.") from None
    parts.forget(id)
    return Asked(id=id)


def _require_same(body: DecisionBody, known: Decision) -> None:
    verdict = Verdict.REVISE if body.edits and body.verdict is Verdict.APPROVE else body.verdict
    same = (verdict, body.note, body.edits) == (known.verdict, known.note, known.edits)
    if not (same and known.digest.startswith(body.digest)):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "This Idempotency-Key was used with another decision.")


def _told(taken: DecisionTaken) -> DecisionTaken:
    if taken.status is DecisionStatus.REFUSED:
        raise Problem(HTTPStatus.CONFLICT, f"The agent refused it: {taken.reason}.", decision=taken)
    return taken
