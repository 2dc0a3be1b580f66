"""Pages of several questions, of a batch or just alike, decided together with a signed decision for each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, NamedTuple
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.responses import Response

from common.approval.signed import sign, verify
from common.approval.types import DecisionStatus, Verdict
from common.client.batch_decisions import BatchAnswer, new_token
from common.client.batch_questions import AskedItem, AskedPage, ShownQuestion
from common.client.inbox import node_of
from common.client.tokens import Scope
from gateway.auth.sessions import Visiting, Visitor, session_form
from gateway.batch_view import Group, groups_of
from gateway.decision_form import MAX_NOTE
from gateway.pages import page
from gateway.problems import Problem
from gateway.routes.batches import answer, visible_to
from gateway.services import Gateway, Parts

router = APIRouter()

# How many agents' questions are on a page; the form has a box for each, and a few other fields.
ASKING = 100
FIELDS = 5 * ASKING
FORM = "questions"
# The batch id for questions that belong to none.
NO_BATCH = ""
_SHOWN = TypeAdapter(tuple[str, str, list[tuple[str, str, str]]])
After = Annotated[str, Query(max_length=200)]
Word = Annotated[str, Query(max_length=200)]


class SubmittedForm(NamedTuple):
    """A submitted form: the questions shown, those ticked, and what is wrong with it, if anything."""

    token: str
    shown: list[ShownQuestion]
    chosen: list[ShownQuestion]
    note: str
    verdict: str
    problem: str


@router.get("/ui/batches/{id}")
async def of_batch(request: Request, parts: Parts, visitor: Visiting, id: str, after: After = "") -> Response:
    """A batch's questions, with a form for each group of like ones."""
    visitor.require(Scope.READ)
    return await _of_batch(request, parts, visitor, id, after)


@router.post("/ui/batches/{id}/decisions")
async def decide_of_batch(
    request: Request, parts: Parts, visitor: Visiting, id: str, after: After = ""
) -> Response:
    """Decide the ticked questions of a batch, and show the outcome of each."""
    sent = await _read(request, parts, visitor, id)
    if sent.problem:
        return await _of_batch(request, parts, visitor, id, after, sent)
    return await _decide(request, parts, visitor, id, sent)


@router.get("/ui/questions")
async def alike(
    request: Request, parts: Parts, visitor: Visiting, kind: Word, node: Word, after: After = ""
) -> Response:
    """Like questions that agents of one kind ask me at one node; those of batches are on their own pages."""
    visitor.require(Scope.READ)
    return await _alike(request, parts, visitor, kind, node, after)


@router.post("/ui/questions/decisions")
async def decide_alike(
    request: Request, parts: Parts, visitor: Visiting, kind: Word, node: Word, after: After = ""
) -> Response:
    """Decide the ticked ones of questions outside batches, likewise."""
    sent = await _read(request, parts, visitor, NO_BATCH)
    if sent.problem:
        return await _alike(request, parts, visitor, kind, node, after, sent)
    return await _decide(request, parts, visitor, NO_BATCH, sent)


async def _of_batch(
    request: Request, parts: Gateway, visitor: Visitor, id: str, after: str, sent: SubmittedForm | None = None
) -> Response:
    asked = await parts.gathered.page(id, visible_to(visitor.subject), after, ASKING)
    return _page(request, parts, visitor, asked, f"/ui/batches/{quote(id, safe='')}", {}, after, sent)


async def _alike(
    request: Request,
    parts: Gateway,
    visitor: Visitor,
    kind: str,
    node: str,
    after: str,
    sent: SubmittedForm | None = None,
) -> Response:
    rows = [
        row
        for row in await parts.agents.inbox(visitor.subject.id)
        if (row.kind, node_of(row.request_id)) == (kind, node) and not row.item_of
    ]
    rows = sorted({row.id: row for row in rows}.values(), key=lambda row: row.id)
    asked = await parts.gathered.page_of(NO_BATCH, rows, visible_to(visitor.subject), after, ASKING)
    asked = asked.model_copy(update={"items": tuple(each for each in asked.items if each.node == node)})
    where = {"kind": kind, "node": node}
    return _page(request, parts, visitor, asked, "/ui/questions", where, after, sent)


def _page(
    request: Request,
    parts: Gateway,
    visitor: Visitor,
    asked: AskedPage,
    path: str,
    where: dict[str, str],
    after: str,
    sent: SubmittedForm | None,
) -> Response:
    """A form for each group, the ``sent`` one filled in again; ``where`` says which questions these are."""
    return page(
        request,
        "questions.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if sent else HTTPStatus.OK,
        visitor=visitor,
        asked=asked,
        words=" · ".join(where.values()),
        action=f"{path}/decisions?{urlencode({**where, 'after': after})}",
        more=f"{path}?{urlencode({**where, 'after': asked.after or ''})}",
        groups=[
            _group(parts, visitor, asked.batch, group, alike, sent)
            for group, alike in groups_of(asked.items).items()
        ],
    )


async def _read(request: Request, parts: Gateway, visitor: Visitor, batch: str) -> SubmittedForm:
    form = await session_form(request, parts, FIELDS)
    visitor.require(Scope.DECIDE)
    token, shown = _read_shown(parts, visitor, batch, form.get("shown", ""))
    chosen = [each for number, each in enumerate(shown) if f"q.{number}" in form]
    note, verdict = form.get("note", "").replace("\r\n", "\n").strip(), form.get("verdict", "")
    return SubmittedForm(token, shown, chosen, note, verdict, _flaw(verdict, note, chosen))


async def _decide(
    request: Request, parts: Gateway, visitor: Visitor, batch: str, sent: SubmittedForm
) -> Response:
    said = BatchAnswer(
        batch=batch,
        verdict=Verdict(sent.verdict),
        note=sent.note,
        by=visitor.subject.id,
        through="web",
        token=sent.token,
        sees=_was_shown,
    )
    told = await answer(parts, said, sent.chosen)
    return page(
        request,
        "answered.html",
        visitor=visitor,
        told=told,
        open=[each for each in told.results if each.status is not DecisionStatus.COUNTED],
        left_out=len(sent.shown) - len(sent.chosen),
        address=f"/ui/batches/{quote(batch, safe='')}" if batch else "",
    )


async def _was_shown(id: str) -> bool:
    """Whoever has the signed form was shown these questions, and may see the outcomes."""
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


def _group(
    parts: Gateway,
    visitor: Visitor,
    batch: str,
    group: str,
    alike: list[AskedItem],
    sent: SubmittedForm | None,
) -> Group:
    """A group whose signed form records what was shown and to whom; filled in again if it was sent."""
    shown: list[JsonValue] = [[each.id, each.request_id, each.digest] for each in alike]
    # One token per form handed out: if it is sent twice, its decisions count once.
    value: JsonValue = [f"{batch} {visitor.session}", new_token(), shown]
    named = any(visitor.subject.names & set(each.deciders) for each in alike)
    why_not = "" if named else "You are not among those who may decide this"
    if not visitor.subject.may(Scope.DECIDE):
        why_not = "The token you signed in with does not allow decisions"
    signed = sign(value, FORM, parts.signer)
    names = {(each.id, each.request_id) for each in alike}
    if not sent or names.isdisjoint((each.id, each.request_id) for each in sent.shown):
        return Group(group, alike, signed, why_not, names)
    ticked = {(each.id, each.request_id) for each in sent.chosen}
    return Group(group, alike, signed, why_not, ticked, sent.note, sent.problem)


def _read_shown(parts: Gateway, visitor: Visitor, batch: str, text: str) -> tuple[str, list[ShownQuestion]]:
    """A form's token, and the questions that it showed.

    Raises:
        Problem: 422, the form is not the one handed out to this session.
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
