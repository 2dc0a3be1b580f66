"""An open request as a page shows it: its plan, the form that decides it, its premises as they are now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Self

from starlette.responses import Response
from temporalio.exceptions import ApplicationError

from common.approval.plan_view import ShownPlan, ref_of, show_plan
from common.approval.types import PREMISES_FRESH_FOR, ApprovalRequest
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from gateway.decision_form import EditField, edit_fields
from gateway.problems import Problem

# A page does not wait longer for fresh premises; the next visit finds what took longer.
PATIENCE = timedelta(seconds=4)
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class RequestView:
    """A request with everything its page needs.

    Attributes:
        diff_address: where the whole diff can be fetched.
        problem: what was wrong with the form that was just sent, and `given` its fields, to be shown again.
        why_not: why the visitor may not decide; empty if they may.
    """

    request: ApprovalRequest
    plan: ShownPlan
    fields: list[EditField]
    diff_address: str
    problem: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    why_not: str = ""

    @classmethod
    async def of(
        cls,
        request: ApprovalRequest,
        artifacts: ArtifactStore,
        diff_address: str,
        problem: str = "",
        given: Mapping[str, str] | None = None,
        why_not: str = "",
    ) -> Self:
        """The view of ``request``, its diff fetched from the artifacts."""
        plan = await asyncio.to_thread(show_plan, request.plan, artifacts)
        return cls(request, plan, edit_fields(request), diff_address, problem, given or {}, why_not)


async def diff_file(request: ApprovalRequest | None, artifacts: ArtifactStore) -> Response:
    """The diff of a request's plan as it is, as a file to save.

    Raises:
        Problem: 404, the request is not open, or its diff is not there.
    """
    ref = ref_of(request.plan.get("diff")) if request else None
    try:
        if ref:
            headers = {"Content-Disposition": 'attachment; filename="changes.diff"'}
            return Response(await asyncio.to_thread(artifacts.get, ref), media_type=TEXT, headers=headers)
    except (ApplicationError, OSError):
        pass
    raise Problem(HTTPStatus.NOT_FOUND, "There is no such diff; the request may have been decided.")


async def refresh_premises(
    agents: AgentClient, id: str, requests: Sequence[ApprovalRequest]
) -> list[ApprovalRequest]:
    """One agent's open requests, their premises fetched again where they are not fresh."""
    return list(await asyncio.gather(*(_refreshed(agents, id, each) for each in requests)))


async def _refreshed(agents: AgentClient, id: str, request: ApprovalRequest) -> ApprovalRequest:
    is_fresh = request.checked_at and datetime.now(UTC) < request.checked_at + PREMISES_FRESH_FOR
    if is_fresh or not request.premises:
        return request
    return await agents.refresh_premises(id, request.id, PATIENCE) or request
