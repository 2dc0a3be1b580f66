"""The dashboard: my inbox, my agents, one agent, live. For people who have signed in with a browser."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import RedirectResponse, Response

from common.approval.plan_view import show_plan
from common.approval.types import ApprovalRequest, DecisionRecord, DecisionStatus
from common.client.client import AgentClient
from common.client.errors import AgentClientError, NoSuchAgentError
from common.client.tokens import Scope, digest_of
from common.client.view import AgentView, RunStatus
from gateway.auth.authentication import Subject, address_of
from gateway.auth.authorization import require_steerable, require_visible
from gateway.auth.sessions import Visiting, Visitor, cookie_name, require_own_form, sign_in, sign_out
from gateway.decisions import decide
from gateway.events import Cursor, new_events
from gateway.forms import FormError, form_of, read_wish
from gateway.pages import SIGN_IN, page
from gateway.plans import edit_fields
from gateway.premises import looked_at
from gateway.problems import Problem
from gateway.routes.agents import event_stream
from gateway.services import Gateway, Parts
from gateway.timeline import stages_of
from gateway.views import ArchivedView

router = APIRouter()

ROWS = 200
QUESTIONS = 50
QUESTION_PATIENCE = timedelta(seconds=1)  # the list itself is complete without them
HOME = "/ui"
TOLD = {
    "decided": "Your decision was taken; below is what became of it.",
    "tell": "Told.",
    "pause": "It pauses before its next step.",
    "resume": "It goes on.",
    "wake": "Woken.",
    "cancel": "Asked it to end; it tidies up first.",
}


@router.get("/")
async def root() -> Response:
    """The dashboard is what people look for here."""
    return RedirectResponse(HOME, HTTPStatus.SEE_OTHER)


@router.get(SIGN_IN)
async def sign_in_page(request: Request) -> Response:
    """The form that takes a token."""
    return page(request, "sign_in.html", problem="")


@router.post(SIGN_IN)
async def sign_in_with_token(request: Request, parts: Parts) -> Response:
    """Take a token once, and give a session for it."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Problem(HTTPStatus.FORBIDDEN, "This form did not come from a page of ours.")
    token = (await form_of(request)).get("token", "").strip()
    try:
        subject = await parts.authenticator.subject_of(token, address_of(request))
    except Problem as problem:
        if problem.status_code != HTTPStatus.UNAUTHORIZED:
            raise
        words = "This token is not good here. Is it whole, and not expired?"
        return page(request, "sign_in.html", status=HTTPStatus.UNAUTHORIZED, problem=words)
    response = RedirectResponse(HOME, HTTPStatus.SEE_OTHER)
    local = parts.authenticator.still_holds(digest_of(token))
    sign_in(response, parts, subject, token, local=local)
    return response


@router.post("/ui/sign-out")
async def sign_out_again(request: Request, parts: Parts, visitor: Visiting) -> Response:
    """End the session."""
    await _own_form(request, parts)
    response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
    sign_out(response, parts)
    return response


@router.get(HOME)
async def inbox(request: Request, parts: Parts, visitor: Visiting) -> Response:
    """What waits for a decision of mine."""
    _need(visitor, Scope.READ)
    rows = await parts.agents.inbox(visitor.subject.id, ROWS)
    ids = list(dict.fromkeys(row.id for row in rows))[:QUESTIONS]
    questions = await parts.agents.questions(ids, QUESTION_PATIENCE)
    return page(request, "inbox.html", visitor=visitor, rows=rows, questions=questions)


@router.get("/ui/agents")
async def agents(
    request: Request, parts: Parts, visitor: Visiting, status: RunStatus | None = None, mine: bool = False
) -> Response:
    """My agents; for an operator everybody's."""
    _need(visitor, Scope.READ)
    owner = None if visitor.subject.operator and not mine else visitor.subject.id
    rows = await parts.agents.list_agents(owner=owner, status=status, limit=ROWS)
    return page(
        request, "agents.html", visitor=visitor, rows=rows, chosen=status or "", mine=mine, limit=ROWS
    )


@router.get("/ui/agents/{id}")
async def agent(
    request: Request, parts: Parts, visitor: Visiting, id: str, told: Annotated[str, Query()] = ""
) -> Response:
    """One agent: what it asks, its timeline and notebook, and ways to steer it."""
    _need(visitor, Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    view = await parts.views.view(id)
    view = view.model_copy(update={"requests": await looked_at(parts.agents, id, view.requests)})
    return _agent_page(request, parts, visitor, view, told=TOLD.get(told, ""))


@router.get("/ui/agents/{id}/events")
async def agent_events(
    parts: Parts,
    visitor: Visiting,
    id: str,
    after: str = "",
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """The events behind an agent's page."""
    _need(visitor, Scope.READ)
    return await event_stream(parts, visitor.subject, id, last_event_id or after)


@router.post("/ui/agents/{id}/decisions")
async def decide_on_page(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Decide what an agent asks."""
    form = await _own_form(request, parts)
    _need(visitor, Scope.DECIDE)
    await require_visible(parts.patient_views, visitor.subject, id)
    view = await parts.patient_views.view(id)
    asked = next((each for each in view.requests if each.digest == form.get("digest")), None)
    try:
        wish = read_wish(form, asked)
        _, record = await decide(
            parts.patient,
            id,
            wish.verdict,
            by=visitor.subject.id,
            note=wish.note,
            edits=wish.edits,
            through="web",
            digest=form.get("digest", "none"),
        )
        problem = f"The agent did not take it: {record.reason}." if _refused(record) and record else ""
    except (FormError, AgentClientError) as error:
        problem = str(error)
    parts.forget(id)
    if problem:
        return _agent_page(request, parts, visitor, view, problem=problem, given=form)
    return _back(id, "decided")


@router.post("/ui/agents/{id}/tell")
async def tell(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Steer it in words."""
    form = await _own_form(request, parts)
    agents = await _steering(parts, visitor, id)
    text = form.get("text", "").strip()[:4000]
    if text:
        await _still_runs(agents.tell(id, text))
    return _back(id, "tell")


@router.post("/ui/agents/{id}/steer")
async def steer(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Pause it, let it go on, wake it, end it."""
    form = await _own_form(request, parts)
    agents = await _steering(parts, visitor, id)
    ways = {"pause": agents.pause, "resume": agents.resume, "wake": agents.wake, "cancel": agents.cancel}
    what = form.get("what", "")
    if what not in ways:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Press one of the buttons.")
    await _still_runs(ways[what](id))
    parts.forget(id)
    return _back(id, what)


async def _own_form(request: Request, parts: Gateway) -> dict[str, str]:
    """The form, if one of our pages gave it to this very session."""
    form = await form_of(request)
    cookie = request.cookies.get(cookie_name(parts), "")
    require_own_form(request, form.get("form"), cookie, parts.signer)
    return form


def _need(visitor: Visitor, scope: Scope) -> None:
    if not visitor.subject.may(scope):
        raise Problem(HTTPStatus.FORBIDDEN, f"The token you signed in with does not allow {scope}.")


async def _steering(parts: Gateway, visitor: Visitor, id: str) -> AgentClient:
    _need(visitor, Scope.WRITE)
    await require_steerable(parts.patient_views, visitor.subject, id)
    return parts.patient


async def _still_runs(sent: Awaitable[None]) -> None:
    try:
        await sent
    except NoSuchAgentError:
        raise Problem(HTTPStatus.CONFLICT, "The agent has ended; nothing was asked of it.") from None


def _back(id: str, told: str) -> Response:
    return RedirectResponse(f"/ui/agents/{quote(id, safe='')}?told={told}", HTTPStatus.SEE_OTHER)


def _refused(record: DecisionRecord | None) -> bool:
    return record is not None and record.status is DecisionStatus.REFUSED


def _agent_page(
    request: Request,
    parts: Gateway,
    visitor: Visitor,
    view: AgentView,
    *,
    told: str = "",
    problem: str = "",
    given: dict[str, str] | None = None,
) -> Response:
    subject = visitor.subject
    asked = []
    for each in view.requests:
        meant = given is not None and given.get("digest") == each.digest
        asked.append(
            {
                "request": each,
                "shown": show_plan(each.plan, parts.artifacts),
                "fields": edit_fields(each),
                "may_decide": (why_not := _bars(each, subject)) is None,
                "why_not": why_not,
                "problem": problem if meant else "",
                "given": given if meant else {},
            }
        )
    here = f"/ui/agents/{quote(view.id, safe='')}"
    return page(
        request,
        "agent.html",
        status=HTTPStatus.CONFLICT if problem else HTTPStatus.OK,
        visitor=visitor,
        view=view,
        archived=isinstance(view, ArchivedView),
        here=here,
        cursor=str(new_events(view, Cursor())[1]),
        asked=asked,
        stages=stages_of(view.notebook),
        steers=view.running and (subject.operator or view.owner == subject.id) and subject.may(Scope.WRITE),
        told=told,
        problem=problem if not any(each["problem"] for each in asked) else "",
    )


def _bars(request: ApprovalRequest, subject: Subject) -> str | None:
    """Why the one who looks may not decide it; None where they may."""
    if not subject.may(Scope.DECIDE):
        return "The token you signed in with does not allow decisions"
    return request.policy.bars(
        subject.id, subject.groups, requester=request.requester, escalated=request.escalated
    )
