"""The dashboard: my inbox, my agents, one agent live. For people who have signed in with a browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import RedirectResponse, Response

from common.approval.types import ApprovalRequest, DecisionStatus
from common.client.client import AgentClient
from common.client.errors import AgentClientError
from common.client.filters import AgentFilter
from common.client.tokens import Scope
from common.client.view import AgentRow, AgentView, RunStatus
from gateway.auth.authentication import Subject
from gateway.auth.authorization import may_steer, require_visible
from gateway.auth.sessions import Visiting, Visitor, session_form
from gateway.batch_view import Bar
from gateway.decision_form import FormError, read_decision
from gateway.decisions import decide
from gateway.events import Cursor, new_events
from gateway.pages import HOME, page
from gateway.problems import Problem
from gateway.request_view import RequestView, diff_file, refresh_premises
from gateway.routes.agents import event_stream
from gateway.routes.steering import steer
from gateway.services import Gateway, Parts
from gateway.timeline import node_visits
from gateway.views import ArchivedView

router = APIRouter()

ROWS = 200
QUESTIONS = 50
QUESTION_PATIENCE = BATCH_PATIENCE = timedelta(seconds=1)  # the list is complete without them
TOLD = {
    "decided": "Your decision was received; below is what became of it.",
    "tell": "Told.",
    "pause": "It pauses before its next step.",
    "resume": "It goes on.",
    "wake": "Woken.",
    "batch": "The batch goes on so.",
    "sent": "It was sent, and no worker has taken it yet: what comes of it shows in the notebook.",
    "cancel": "It was asked to end; it cleans up first.",
}


@router.get("/")
async def root() -> Response:
    """The dashboard is what people look for here."""
    return RedirectResponse(HOME, HTTPStatus.SEE_OTHER)


@router.get(HOME)
async def inbox(request: Request, parts: Parts, visitor: Visiting) -> Response:
    """What waits for a decision of mine."""
    visitor.require(Scope.READ)
    rows = (await parts.agents.inbox(visitor.subject.id))[:ROWS]
    ids = list(dict.fromkeys(row.id for row in rows))[:QUESTIONS]
    questions = await parts.agents.questions(ids, QUESTION_PATIENCE)
    return page(request, "inbox.html", visitor=visitor, rows=rows, questions=questions)


@router.get("/ui/agents")
async def agents(
    request: Request,
    parts: Parts,
    visitor: Visiting,
    status: RunStatus | None = None,
    mine: bool = False,
    troubled: bool = False,
) -> Response:
    """My agents; for an operator everybody's. Those that do items of a batch are on its page.

    All that are in trouble are shown by `troubled`, whatever else they do.
    """
    visitor.require(Scope.READ)
    owner = None if visitor.subject.operator and not mine else visitor.subject.id
    now, gaps = datetime.now(UTC), []
    if troubled:
        found = await parts.search.find(AgentFilter(owner=owner, troubled=True), now, ROWS)
        rows, gaps = list[AgentRow](found.agents), found.gaps
    else:
        rows = await parts.agents.list_agents(AgentFilter(owner=owner, status=status, top=True), ROWS)
        await parts.agents.diagnosis.look(rows, now)
    batches = await parts.agents.batches(rows, BATCH_PATIENCE)
    return page(
        request,
        "agents.html",
        visitor=visitor,
        rows=rows,
        bars={id: Bar.of(batch) for id, batch in batches.items()},
        chosen="troubled" if troubled else status or "",
        gaps=gaps,
        mine=mine,
        limit=ROWS,
    )


@router.get("/ui/agents/{id}")
async def agent(
    request: Request, parts: Parts, visitor: Visiting, id: str, told: Annotated[str, Query()] = ""
) -> Response:
    """One agent: what it asks, its timeline and notebook, and ways to steer it."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    view = await parts.views.view(id)
    view = view.model_copy(update={"requests": await refresh_premises(parts.agents, id, view.requests)})
    return await _agent_page(request, parts, visitor, view, told=TOLD.get(told, ""))


@router.get("/ui/agents/{id}/events")
async def agent_events(
    parts: Parts,
    visitor: Visiting,
    id: str,
    after: str = "",
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """The events behind an agent's page."""
    visitor.require(Scope.READ)
    return await event_stream(parts, visitor.subject, id, last_event_id or after)


@router.get("/ui/agents/{id}/diff")
async def agent_diff(
    parts: Parts, visitor: Visiting, id: str, wanted: Annotated[str, Query(alias="request")]
) -> Response:
    """The whole diff of something that an agent asks, as a file."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    requests = (await parts.views.view(id)).requests
    return await diff_file(next((each for each in requests if each.id == wanted), None), parts.artifacts)


@router.post("/ui/agents/{id}/decisions")
async def decide_on_page(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Decide what an agent asks."""
    form = await session_form(request, parts)
    visitor.require(Scope.DECIDE)
    await require_visible(parts.patient_views, visitor.subject, id)
    view = await parts.patient_views.view(id)
    asked = next((each for each in view.requests if _is_for(form, each)), None)
    problem = ""
    try:
        if view.live and not asked:
            raise FormError("This is not asked any more; see below what became of it.")
        wanted = read_decision(form, asked)
        _, record = await decide(
            parts.patient,
            id,
            wanted.verdict,
            by=visitor.subject.id,
            note=wanted.note,
            edits=wanted.edits,
            through="web",
            digest=form.get("digest", "none"),
            request_id=form.get("request", "none"),
            known=asked is not None,
        )
        if record and record.status is DecisionStatus.REFUSED:
            problem = f"The agent did not take it: {record.reason}."
    except (FormError, AgentClientError) as error:
        problem = str(error)
    parts.forget(id)
    if problem:
        return await _agent_page(request, parts, visitor, view, problem=problem, given=form)
    return _back_to(id, "decided")


@router.post("/ui/agents/{id}/tell")
async def tell(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Steer it in words."""
    form = await session_form(request, parts)
    visitor.require(Scope.WRITE)
    text = form.get("text", "").strip()
    return await steer_on_page(request, parts, visitor, id, "tell", lambda agents: agents.tell(id, text))


@router.post("/ui/agents/{id}/steer")
async def press(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Pause it, let it go on, wake it, end it."""
    form = await session_form(request, parts)
    visitor.require(Scope.WRITE)
    what = form.get("what", "")
    if what not in ("pause", "resume", "wake", "cancel"):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Press one of the buttons.")
    return await steer_on_page(request, parts, visitor, id, what, lambda agents: getattr(agents, what)(id))


async def steer_on_page(
    request: Request,
    parts: Gateway,
    visitor: Visitor,
    id: str,
    what: str,
    send: Callable[[AgentClient], Awaitable[str | None]],
) -> Response:
    """The agent's page, saying what came of it; what the agent refuses is not reported as done."""
    try:
        accepted = await steer(parts, visitor.subject, id, send)
    except Problem as problem:
        if problem.status_code != HTTPStatus.CONFLICT:
            raise
        view = await parts.views.view(id)
        return await _agent_page(request, parts, visitor, view, problem=problem.detail)
    return _back_to(id, what if accepted.status == "taken" or what == "cancel" else "sent")


async def _agent_page(
    request: Request,
    parts: Gateway,
    visitor: Visitor,
    view: AgentView,
    *,
    told: str = "",
    problem: str = "",
    given: dict[str, str] | None = None,
) -> Response:
    """The page of an agent; a problem with a form that was sent is shown at the request it was for."""
    subject = visitor.subject
    asked = []
    for each in view.requests:
        sent = given if given and _is_for(given, each) else None
        flaw = problem if sent else ""
        diff = f"{_address(view.id)}/diff?request={quote(each.id, safe='')}"
        asked.append(await RequestView.of(each, parts.artifacts, diff, flaw, sent, _bars(each, subject)))
    return page(
        request,
        "agent.html",
        status=HTTPStatus.CONFLICT if problem else HTTPStatus.OK,
        visitor=visitor,
        view=view,
        bar=Bar.of(view.batch) if view.batch else None,
        archived=isinstance(view, ArchivedView),
        here=_address(view.id),
        cursor=str(new_events(view, Cursor())[1]),
        asked=asked,
        visits=node_visits(view.notebook),
        steers=view.running and may_steer(view, subject) and subject.may(Scope.WRITE),
        told=told,
        problem=problem if not any(each.problem for each in asked) else "",
    )


def _is_for(form: dict[str, str], request: ApprovalRequest) -> bool:
    return (form.get("request"), form.get("digest")) == (request.id, request.digest)


def _bars(request: ApprovalRequest, subject: Subject) -> str:
    """Why the visitor may not decide it; empty where they may."""
    if not subject.may(Scope.DECIDE):
        return "The token you signed in with does not allow decisions"
    bars = request.policy.bars(
        subject.id, subject.groups, requester=request.requester, escalated=request.escalated
    )
    return bars or ""


def _back_to(id: str, told: str) -> Response:
    return RedirectResponse(f"{_address(id)}?told={told}", HTTPStatus.SEE_OTHER)


def _address(id: str) -> str:
    return f"/ui/agents/{quote(id, safe='')}"
