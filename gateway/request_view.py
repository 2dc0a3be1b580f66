"""An open request as a page shows it: its plan, the form that decides it, its refreshed premises."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from common.agents.kinds import shown_as
from common.approval.plan_parts import ShownPlan
from common.approval.plan_view import RenderContext, show_plan
from common.approval.types import PREMISES_FRESH_FOR, ApprovalRequest
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from gateway.decision_form import EditField, edit_fields

# A page waits no longer for fresh premises; the next visit shows them.
PATIENCE = timedelta(seconds=4)


@dataclass(frozen=True)
class RequestView:
    """A request with everything its page needs.

    Attributes:
        base: the address under which its artifacts, and `files` of its agent that it names, are found.
        problem: what was wrong with the form just sent; `given` are its fields, to be shown again.
        why_not: why the visitor may not decide; empty if they may.
    """

    request: ApprovalRequest
    plan: ShownPlan
    fields: list[EditField]
    base: str
    files: Sequence[str] = ()
    problem: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    why_not: str = ""

    @classmethod
    async def of(
        cls,
        request: ApprovalRequest,
        kind: str,
        artifacts: ArtifactStore,
        base: str,
        files: Sequence[str] = (),
        problem: str = "",
        given: Mapping[str, str] | None = None,
        why_not: str = "",
    ) -> Self:
        """The view of a request of an agent of that kind, with its diff fetched from the artifacts."""
        plan = await asyncio.to_thread(
            show_plan, request.plan, shown_as(kind, request.plan), RenderContext(artifacts, files)
        )
        fields = edit_fields(request, plan.labels)
        return cls(request, plan, fields, base, files, problem, given or {}, why_not)


async def refresh_premises(
    agents: AgentClient, id: str, requests: Sequence[ApprovalRequest]
) -> list[ApprovalRequest]:
    """One agent's open requests, with premises fetched again if they are stale."""
    return list(await asyncio.gather(*(_refreshed(agents, id, each) for each in requests)))


async def _refreshed(agents: AgentClient, id: str, request: ApprovalRequest) -> ApprovalRequest:
    is_fresh = request.checked_at and datetime.now(UTC) < request.checked_at + PREMISES_FRESH_FOR
    if is_fresh or not request.premises:
        return request
    found = await agents.refresh_premises(id, request.id, PATIENCE)
    if found is None:
        return request
    seen = {"premises": found.premises, "checked_at": found.checked_at, "votes": found.votes}
    return request.model_copy(update=seen)
