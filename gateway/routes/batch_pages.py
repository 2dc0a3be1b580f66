"""The pages of a batch: the agents that process its items, and the verdicts."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response
from temporalio.exceptions import ApplicationError

from common.agents.batch import MAX_AT_ONCE, BatchCommand, item_agent_id
from common.agents.states import AgentState, RunStatus
from common.client.batches import verdicts_of
from common.client.client import AgentClient
from common.client.subjects import name_subjects
from common.client.tokens import Scope
from common.client.visibility import AGENTS, IN_VISIBILITY, items_of, page_of
from common.temporal import search_attributes
from gateway.auth.authorization import require_visible
from gateway.auth.sessions import Visiting, session_form
from gateway.pages import page
from gateway.problems import Problem
from gateway.routes.dashboard import steer_on_page
from gateway.services import Parts

router = APIRouter()

ROWS = 100


@router.get("/ui/agents/{id}/items")
async def items(
    request: Request,
    parts: Parts,
    visitor: Visiting,
    id: str,
    only: AgentState | RunStatus | None = None,
    after: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """The agents that process a batch's items, newest first, page by page; all, or `only` in that state."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    conditions = [AGENTS, items_of(id)]
    if isinstance(only, RunStatus):
        conditions.append(f"ExecutionStatus = '{IN_VISIBILITY[only]}'")
    elif only is not None:
        conditions += ["ExecutionStatus = 'Running'", f"{search_attributes.STATE.name} = '{only}'"]
    rows, following = await page_of(parts.client, conditions, ROWS, _token(after))
    await name_subjects(parts.client, rows)
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
    """The verdicts on a batch's items, one page of its work at a time."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    batch = (await parts.views.view(id)).batch
    count = len(batch.pages) + len(batch.results) if batch else 0
    if batch is None or number > max(count, 1):
        raise Problem(HTTPStatus.NOT_FOUND, "The batch has no such page of verdicts.")
    problem = ""
    try:
        found = await verdicts_of(parts.client, parts.artifacts, batch, number - 1) if count else []
    except ApplicationError:
        found, problem = [], "The verdicts are not in the object store, or were changed there."
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
    """Change a batch's concurrency, or retry its quarantined items."""
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


def _token(text: str) -> bytes:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such page.") from None
