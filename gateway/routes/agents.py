"""Reading agents: one, its events, many, and the inbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from pydantic import Field

from common.agents.agent import AgentState
from common.archive.search import FoundAgent
from common.client.filters import AgentFilter, FilterText
from common.client.inbox import QUESTION_PATIENCE, QUESTIONS_TOLD, with_questions
from common.client.rows import InboxRow
from common.client.subjects import name_subjects
from common.client.view import AgentView
from common.object_store import StoreUnavailableError
from gateway.auth.authentication import Reader, Subject
from gateway.auth.authorization import may_see, require_visible
from gateway.events import Cursor, is_over, new_events, stream
from gateway.problems import Problem, unavailable
from gateway.services import Gateway, Parts

router = APIRouter(tags=["looking at agents"])

# Seconds after which polling may find something new.
RETRY_AFTER = {AgentState.WORKING: 2, AgentState.SLEEPING: 30}
DEFAULT_RETRY_AFTER = 5
BATCH_PATIENCE = timedelta(seconds=1)  # the list is complete without batch progress

# What Temporal can search for; an id consists of letters, digits and these characters.
FINDABLE = r"^[\p{L}\p{M}\p{N}_ .:@/+=,#-]{1,200}$"


class Listing(AgentFilter, frozen=True):
    """The query of `/agents`."""

    zone: FilterText | None = Field("UTC", description="Time zone of since and until.")
    limit: int = Field(100, ge=1, le=1000, description="The newest so many.")


@router.get("/agents")
async def list_agents(
    parts: Parts, subject: Reader, response: Response, wanted: Annotated[Listing, Query()]
) -> list[FoundAgent]:
    """The newest agents that fit, running, closed or archived: one's own, or for an operator all.

    With `state`, only what they do now counts. The header `Hibernaut-Gaps` says what could not be looked at.
    `top=true` leaves out agents that do items of batches; `batch` says how one stands that is under way.
    """
    if not subject.operator:
        if wanted.owner not in (None, subject.id):
            return []
        wanted = wanted.model_copy(update={"owner": subject.id})
    if wanted.state is not None:
        rows = await parts.agents.list_agents(wanted, wanted.limit)
        await parts.agents.diagnosis.look(rows, datetime.now(UTC))
        await name_subjects(parts.client, rows)
        return await _with_batches(parts, [FoundAgent(**dict(row)) for row in rows])
    try:
        found = await parts.search.find(wanted, datetime.now(UTC), wanted.limit)
    except StoreUnavailableError:
        raise unavailable("The archive cannot be reached just now; `where=live` leaves it out.") from None
    if found.gaps:
        response.headers["Hibernaut-Gaps"] = "; ".join(found.gaps).encode("ascii", "replace").decode()
    return await _with_batches(parts, found.agents)


async def _with_batches(parts: Gateway, rows: list[FoundAgent]) -> list[FoundAgent]:
    batches = await parts.agents.batches(rows, BATCH_PATIENCE)
    for row in rows:
        if row.running and (batch := batches.get(row.id)):
            # Leave out hundreds of references; the agent itself has them.
            row.batch = batch.model_copy(update={"results": [], "pages": []})
    return rows


@router.get("/inbox")
async def inbox(
    parts: Parts,
    subject: Reader,
    who: Annotated[
        str | None, Query(alias="for", pattern=FINDABLE, description="Somebody else; for operators.")
    ] = None,
    everyone: Annotated[bool, Query(description="All open requests; for operators.")] = False,
) -> list[InboxRow]:
    """The open requests that one may decide, newest agents first.

    What agents of one batch ask alike is one row, with its `count`; `/batches/{id}/questions` has each. The
    newest hundred rows have the `question` in words, as far as an agent or its history tells within a second.
    """
    if not subject.operator and who not in (None, subject.id):
        return []
    rows = await parts.agents.inbox(None if everyone and subject.operator else who or subject.id)
    questions = await parts.agents.questions(rows[:QUESTIONS_TOLD], QUESTION_PATIENCE)
    return with_questions(rows, questions, datetime.now(UTC))


@router.get(
    "/agents/{id}",
    response_model=AgentView,
    responses={304: {"description": "Nothing has changed since that ETag."}},
)
async def show_agent(
    parts: Parts,
    subject: Reader,
    id: str,
    if_none_match: Annotated[str, Header(max_length=1000)] = "",
) -> Response:
    """Everything about an agent, as `show --json` prints it. Carries `Retry-After` while it runs."""
    await require_visible(parts.views, subject, id)
    view = await parts.views.view(id)
    document = parts.views.document(view)
    headers = {"ETag": f'"{document.tag}"', "Cache-Control": "private, no-cache"}
    if view.running:
        headers["Retry-After"] = str(RETRY_AFTER.get(AgentState(view.state), DEFAULT_RETRY_AFTER))
    if headers["ETag"] in if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(document.body, media_type="application/json", headers=headers)


@router.get(
    "/agents/{id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`note` is a line of the notebook, `state` a change of state, `gap` a number of "
            "lines that were dropped before they could be sent. An event's id resumes after it.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The agent has closed, and there is nothing after that Last-Event-ID."},
    },
)
async def agent_events(
    parts: Parts,
    subject: Reader,
    id: str,
    last_event_id: Annotated[str, Header(max_length=100, description="The id to resume after.")] = "",
) -> Response:
    """An agent's notebook and state as server-sent events, from the beginning or after `Last-Event-ID`."""
    return await event_stream(parts, subject, id, last_event_id)


async def event_stream(parts: Gateway, subject: Subject, id: str, last_event_id: str) -> Response:
    """An agent's event stream for a subject; 204 if nothing more can come."""
    await require_visible(parts.views, subject, id)
    cursor = Cursor.parse(last_event_id) if last_event_id else Cursor()
    if cursor is None:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "Last-Event-ID is not the id of an event sent from here."
        )
    if last_event_id:
        view = await parts.views.view(id)
        if is_over(view) and not new_events(view, cursor)[0]:
            return Response(status_code=HTTPStatus.NO_CONTENT)
    parts.streams.require(subject.id)

    async def counted() -> AsyncIterator[bytes]:
        with parts.streams.one(subject.id):
            async for event in stream(parts.views, id, cursor, lambda view: may_see(view, subject)):
                yield event

    return EventSourceResponse(counted(), headers={"X-Accel-Buffering": "no"})
