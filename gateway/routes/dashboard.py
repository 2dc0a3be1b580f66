"""The dashboard: my agents, one agent live. For people who have signed in with a browser."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header, Query, Request
from pydantic import AfterValidator
from starlette.responses import RedirectResponse, Response

from common.agents.kinds import KINDS, shown_as
from common.agents.states import AgentState, RunStatus
from common.approval.plan_view import RenderContext, show_plan
from common.approval.types import ApprovalRequest, DecisionStatus
from common.client.client import AgentClient
from common.client.errors import AgentClientError
from common.client.filters import AgentFilter
from common.client.rows import AgentRow
from common.client.subjects import name_subjects
from common.client.tokens import Scope
from common.client.view import AgentView
from common.client.visibility import exactly, rows_of, waking
from common.grammar import zone_named
from common.names import UnusableValueError
from gateway.auth.authentication import Subject
from gateway.auth.authorization import may_steer, require_visible
from gateway.auth.sessions import Visiting, Visitor, session_form
from gateway.batch_view import Bar
from gateway.counts import RUNNING
from gateway.decision_form import FormError, read_decision
from gateway.decisions import decide
from gateway.events import Cursor, new_events
from gateway.overview import span_of, wakes_at
from gateway.pages import page, zone_of
from gateway.problems import Problem
from gateway.request_view import RequestView, refresh_premises
from gateway.routes.agents import event_stream
from gateway.routes.steering import steer
from gateway.services import Gateway, Parts
from gateway.timeline import drawing_of, node_visits
from gateway.views import PAGE_PATIENCE, ArchivedView

router = APIRouter()

ROWS = 200
BATCH_PATIENCE = timedelta(seconds=1)  # the list is complete without batch progress
TOLD = {
    "decided": "Your decision was received; below is what became of it.",
    "started": "Started. It works on by itself; this page follows it.",
    "tell": "Told.",
    "pause": "It pauses before its next step.",
    "resume": "It goes on.",
    "wake": "Woken.",
    "batch": "The batch goes on so.",
    "sent": "It was sent, and no worker has taken it yet: what comes of it shows in the notebook.",
    "cancel": "It was asked to end; it cleans up first.",
}


def _known(zone: str) -> str:
    return zone_named(zone).key


@router.get("/ui/agents")
async def agents(
    request: Request,
    parts: Parts,
    visitor: Visiting,
    status: RunStatus | None = None,
    mine: bool = False,
    troubled: bool = False,
    state: AgentState | None = None,
    wakes: date | None = None,
    zone: Annotated[str, AfterValidator(_known)] = "UTC",
) -> Response:
    """My agents; for an operator, everybody's. Agents that process items of a batch are on its page.

    `troubled` shows all that are in trouble, in whatever state; `wakes` shows those that wake on that day in
    `zone`, soonest first.
    """
    visitor.require(Scope.READ)
    owner = None if visitor.subject.operator and not mine else visitor.subject.id
    now, gaps = datetime.now(UTC), []
    if troubled:
        found = await parts.search.find(AgentFilter(owner=owner, troubled=True), now, ROWS)
        rows, gaps = list[AgentRow](found.agents), found.gaps
    elif wakes:
        conditions = [*exactly(AgentFilter(owner=owner)), *RUNNING, waking(*span_of(wakes, ZoneInfo(zone)))]
        rows = sorted(await rows_of(parts.client, conditions, ROWS), key=wakes_at)
    else:
        wanted = AgentFilter(owner=owner, status=status, state=state, top=state is None)
        rows = await parts.agents.list_agents(wanted, ROWS)
        await parts.agents.diagnosis.look(rows, now)
    await name_subjects(parts.client, rows)
    batches = await parts.agents.batches(rows, BATCH_PATIENCE)
    chosen, words = _chosen(status, state, wakes, zone, troubled=troubled)
    return page(
        request,
        "agents.html",
        visitor=visitor,
        rows=rows,
        bars={id: Bar.of(batch) for id, batch in batches.items()},
        chosen=chosen,
        chosen_words=words,
        gaps=gaps,
        mine=mine,
        limit=ROWS,
    )


def _chosen(
    status: RunStatus | None, state: AgentState | None, wakes: date | None, zone: str, *, troubled: bool
) -> tuple[str, str]:
    """The current filter, as a query string and in words."""
    if troubled:
        return "troubled=true", "in trouble"
    if wakes:
        return urlencode({"wakes": wakes, "zone": zone}), f"waking on {wakes}, a day of {zone}"
    if state:
        return f"state={state}", state.replace("_", " ")
    return (f"status={status}", status.replace("_", " ")) if status else ("", "")


@router.get("/ui/agents/{id}")
async def agent(
    request: Request, parts: Parts, visitor: Visiting, id: str, told: Annotated[str, Query()] = ""
) -> Response:
    """One agent: what it asks, its timeline and notebook, and ways to steer it."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    view = await parts.views.view(id, PAGE_PATIENCE)
    if view.live:
        requests = await refresh_premises(parts.agents, id, view.requests)
        view = view.model_copy(update={"requests": requests})
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


@router.get("/ui/agents/{id}/timeline")
async def agent_timeline(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """The current timeline of an agent's page; an open page fetches it to redraw it."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    return page(request, "timeline.html", **_timeline(request, await parts.views.view(id, PAGE_PATIENCE)))


@router.post("/ui/agents/{id}/decisions")
async def decide_on_page(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Decide what an agent asks."""
    form = await session_form(request, parts)
    visitor.require(Scope.DECIDE)
    await require_visible(parts.writing_views, visitor.subject, id)
    view = await parts.writing_views.view(id, PAGE_PATIENCE)
    asked = next((each for each in view.requests if _is_for(form, each)), None)
    problem = ""
    try:
        if view.live and not asked:
            raise FormError("This is not asked any more; see below what became of it.")
        wanted = read_decision(form, asked)
        _, record = await decide(
            parts.writing_agents,
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
    """Give an agent instructions in words."""
    form = await session_form(request, parts)
    visitor.require(Scope.WRITE)
    text = form.get("text", "").strip()
    return await steer_on_page(request, parts, visitor, id, "tell", lambda agents: agents.tell(id, text))


@router.post("/ui/agents/{id}/steer")
async def press(request: Request, parts: Parts, visitor: Visiting, id: str) -> Response:
    """Pause, resume, wake or cancel an agent."""
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
    """Steer an agent, and show its page with the outcome; a refusal is not reported as done."""
    try:
        accepted = await steer(parts, visitor.subject, id, send)
    except UnusableValueError as error:
        return await _agent_page(
            request, parts, visitor, await parts.views.view(id, PAGE_PATIENCE), problem=str(error)
        )
    except Problem as problem:
        if problem.status_code != HTTPStatus.CONFLICT:
            raise
        view = await parts.views.view(id, PAGE_PATIENCE)
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
    """An agent's page; a problem with a submitted form is shown at its request."""
    subject, here = visitor.subject, _address(view.id)
    files, result = await parts.files.listed(view.id), None
    if isinstance(view.result, dict):
        result = show_plan(view.result, shown_as(view.kind, view.result), RenderContext(files=files))
    asked = []
    for each in view.requests:
        sent = given if given and _is_for(given, each) else None
        flaw = problem if sent else ""
        bars = _bars(each, subject)
        asked.append(await RequestView.of(each, view.kind, parts.artifacts, here, files, flaw, sent, bars))
    return page(
        request,
        "agent.html",
        status=HTTPStatus.CONFLICT if problem else HTTPStatus.OK,
        visitor=visitor,
        view=view,
        bar=Bar.of(view.batch) if view.batch else None,
        archived=isinstance(view, ArchivedView),
        here=here,
        cursor=str(new_events(view, Cursor())[1]),
        asked=asked,
        result=result,
        files=files,
        # Do not list files twice that the result already links to.
        more_files=[each for each in files if result is None or json.dumps(each) not in result.whole],
        **_timeline(request, view),
        web_ui=_web_ui(parts, view),
        reruns=view.kind in KINDS and may_steer(view, subject) and subject.may(Scope.WRITE),
        steers=view.running and may_steer(view, subject) and subject.may(Scope.WRITE),
        told=told,
        problem=problem if not any(each.problem for each in asked) else "",
    )


def _timeline(request: Request, view: AgentView) -> dict[str, Any]:
    drawing = drawing_of(view, datetime.now(UTC), zone_of(request))
    return {"visits": node_visits(view.notebook), "drawing": drawing}


def _web_ui(parts: Gateway, view: AgentView) -> str:
    """The run's address in Temporal's Web UI; empty if there is no Web UI, or no run left."""
    origin = parts.settings.http.codec_origin
    if not origin or isinstance(view, ArchivedView):
        return ""
    run = f"{quote(view.id, safe='')}/{quote(view.run_id, safe='')}"
    return f"{origin}/namespaces/{quote(parts.client.namespace, safe='')}/workflows/{run}/history"


def _is_for(form: dict[str, str], request: ApprovalRequest) -> bool:
    return (form.get("request"), form.get("digest")) == (request.id, request.digest)


def _bars(request: ApprovalRequest, subject: Subject) -> str:
    """Why the visitor may not decide it; empty if they may."""
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
