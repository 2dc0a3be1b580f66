"""An open request as a page shows it: its plan, the form that decides it, its premises as they are now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from common.approval.plan_view import ShownPlan, show_plan
from common.approval.types import PREMISES_FRESH_FOR, ApprovalRequest
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from gateway.decision_form import EditField, edit_fields

# A page does not wait longer for fresh premises; the next visit finds what took longer.
PATIENCE = timedelta(seconds=4)


@dataclass(frozen=True)
class RequestView:
    """A request with everything its page needs.

    Attributes:
        problem: what was wrong with the form that was just sent, and `given` its fields, to be shown again.
        why_not: why the visitor may not decide; empty where they may.
    """

    request: ApprovalRequest
    plan: ShownPlan
    fields: list[EditField]
    problem: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    why_not: str = ""

    @classmethod
    def of(
        cls,
        request: ApprovalRequest,
        artifacts: ArtifactStore,
        problem: str = "",
        given: Mapping[str, str] | None = None,
        why_not: str = "",
    ) -> Self:
        """The view of ``request``, its diff fetched from the artifacts."""
        plan = show_plan(request.plan, artifacts)
        return cls(request, plan, edit_fields(request), problem, given or {}, why_not)


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
