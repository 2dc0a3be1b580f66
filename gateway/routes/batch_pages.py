"""The pages of a batch: each of its items, and what its agents ask, decided together."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.responses import Response
from temporalio.exceptions import ApplicationError

from common.agents.batch import MAX_AT_ONCE, BatchCommand, item_agent_id
from common.agents.states import AgentState
from common.approval.signed import sign, verify
from common.approval.types import DecisionStatus, Verdict
from common.client.asked import AskedItem, ShownQuestion
from common.client.batches import verdicts_of
from common.client.client import AgentClient
from common.client.gathered import Answer, new_token
from common.client.tokens import Scope
from common.client.view import RunStatus
from common.client.visibility import AGENTS, IN_VISIBILITY, items_of, page_of
from common.temporal import search_attributes
from gateway.auth.authorization import require_visible
from gateway.auth.sessions import Visiting, Visitor, session_form
from gateway.batch_view import Group, groups_of
from gateway.decision_form import MAX_NOTE
from gateway.pages import page
from gateway.problems import Problem
from gateway.routes.batches import answer, seen_by
from gateway.routes.dashboard import steer_on_page
from gateway.services import Gateway, Parts

router = APIRouter()

ROWS = 100
# Of so many agents one page shows what they ask; the form has a box for each, and a few fields besides.
ASKING = 100
FIELDS = 5 * ASKING
FORM = "questions"
_SHOWN = TypeAdapter(tuple[str, str, list[tuple[str, str, str]]])


@router.get("/ui/agents/{id}/items")
async def items(
    request: Request,
    parts: Parts,
    visitor: Visiting,
    id: str,
    only: AgentState | RunStatus | None = None,
    after: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """The agents that do the items of a batch, newest first, page by page; all, or `only` in such a state."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    conditions = [AGENTS, items_of(id)]
    if isinstance(only, RunStatus):
        conditions.append(f"ExecutionStatus = '{IN_VISIBILITY[only]}'")
    elif only is not None:
        conditions += ["ExecutionStatus = 'Running'", f"{search_attributes.STATE.name} = '{only}'"]
    rows, following = await page_of(parts.client, conditions, ROWS, _token(after))
    return page(
        request,
        "batch_items.html",
        visitor=visitor,
        id=id,
        rows=rows,
        chosen=only or "",
        after=base64.urlsafe_b64encode(following).decode(),
        is_first=not after,
    )


@router.get("/ui/agents/{id}/verdicts")
async def verdicts(
    request: Request,
    parts: Parts,
    visitor: Visiting,
    id: str,
    number: Annotated[int, Query(alias="page", ge=1)] = 1,
) -> Response:
    """The verdict on each item of a batch that has one, a page of its work at a time."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    batch = (await parts.views.view(id)).batch
    count = len(batch.pages) + len(batch.results) if batch else 0
    if batch is None or number > max(count, 1):
        raise Problem(HTTPStatus.NOT_FOUND, "The batch has no such page of verdicts.")
    problem = ""
    try:
        found = await verdicts_of(parts.client, parts.artifacts, batch, number - 1) if count else []
    except (ApplicationError, OSError):
        found, problem = [], "The verdicts are not where the gateway looks for them, or were changed on disk."
    if found is None:
        problem = "No worker answers for this page of work just now; look again in a while."
    return page(
        request,
        "batch_verdicts.html",
        visitor=visitor,
        id=id,
        batch=batch,
        rows=[(each, item_agent_id(id, each.key) if batch.kind else "") for each in found or ()],
        number=number,
        count=count,
        problem=problem,
    )


@router.post("/ui/agents/{id}/batch")
async def change(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Change the width of a batch, or give its quarantined another go."""
    form = await session_form(request, parts)
    visitor.require(Scope.WRITE)
    if form.get("what") == "retry":
        command = BatchCommand(retry=True)
    else:
        width = form.get("at_once", "")
        if not (width.isascii() and width.isdigit() and 1 <= int(width) <= MAX_AT_ONCE):
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"Give a number from 1 to {MAX_AT_ONCE}.")
        command = BatchCommand(at_once=int(width))

    async def send(agents: AgentClient) -> str:
        return await agents.batch(id, command)

    return await steer_on_page(request, parts, visitor, id, "batch", send)


@router.get("/ui/batches/{id}")
async def questions(
    request: Request,
    parts: Parts,
    visitor: Visiting,
    id: str,
    after: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """What the agents of a batch ask, with a form for each group of questions that are alike."""
    visitor.require(Scope.READ)
    asked = await parts.gathered.page(id, seen_by(visitor.subject), after, ASKING)
    return page(
        request,
        "questions.html",
        visitor=visitor,
        asked=asked,
        address=_address(id),
        groups=[_group(parts, visitor, id, group, alike) for group, alike in groups_of(asked.items).items()],
    )


@router.post("/ui/batches/{id}/decisions")
async def decide(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Decide those questions of a form whose boxes are ticked, and say what became of each."""
    form = await session_form(request, parts, FIELDS)
    visitor.require(Scope.DECIDE)
    token, shown = _read_shown(parts, visitor, id, form.get("shown", ""))
    chosen = [each for number, each in enumerate(shown) if f"q.{number}" in form]
    note, verdict = form.get("note", "").replace("\r\n", "\n").strip(), form.get("verdict", "")
    problem = _flaw(verdict, note, chosen)
    if problem:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, problem)
    said = Answer(
        batch=id,
        verdict=Verdict(verdict),
        note=note,
        by=visitor.subject.id,
        through="web",
        token=token,
        sees=_was_shown,
    )
    told = await answer(parts, said, chosen)
    return page(
        request,
        "answered.html",
        visitor=visitor,
        told=told,
        open=[each for each in told.results if each.status is not DecisionStatus.COUNTED],
        left_out=len(shown) - len(chosen),
        address=_address(id),
    )


async def _was_shown(id: str) -> bool:
    """Whoever has a signed form was shown what is in it, and may hear what became of that."""
    return True


def _flaw(verdict: str, note: str, chosen: list[ShownQuestion]) -> str:
    """What is wrong with a form, in words; empty if nothing."""
    if verdict not in (Verdict.APPROVE, Verdict.REJECT):
        return "Press one of the buttons: approve, or reject."
    if len(note) > MAX_NOTE:
        return f"The note is too long: {len(note)} characters; {MAX_NOTE} fit."
    if verdict == Verdict.REJECT and not note:
        return "Say in the note why not; the agents and others will read it."
    return "" if chosen else "Every question was left out; tick those that you decide."


def _group(parts: Gateway, visitor: Visitor, batch: str, group: str, alike: list[AskedItem]) -> Group:
    """A group with what its form says was shown, and to whom."""
    shown: list[JsonValue] = [[each.id, each.request_id, each.digest] for each in alike]
    # One token for each form that is handed out: sent twice, its decisions count once.
    value: JsonValue = [f"{batch} {visitor.session}", new_token(), shown]
    named = any(visitor.subject.names & set(each.deciders) for each in alike)
    why_not = "" if named else "You are not among those who may decide this"
    if not visitor.subject.may(Scope.DECIDE):
        why_not = "The token you signed in with does not allow decisions"
    return Group(group, alike, sign(value, FORM, parts.signer), why_not)


def _read_shown(parts: Gateway, visitor: Visitor, batch: str, text: str) -> tuple[str, list[ShownQuestion]]:
    """The token of a form, and the questions that it showed.

    Raises:
        Problem: 422, the form is not as it was handed out to this very session.
    """
    try:
        whose, token, shown = _SHOWN.validate_python(verify(text, FORM, parts.signer))
        if whose != f"{batch} {visitor.session}":
            raise ValueError("another's")
        return token, [ShownQuestion(id=id, request_id=name, digest=digest) for id, name, digest in shown]
    except (ValueError, ValidationError):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "The form is not whole; load the page again."
        ) from None


def _token(text: str) -> bytes:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such page.") from None


def _address(batch: str) -> str:
    return f"/ui/batches/{quote(batch, safe='')}"
