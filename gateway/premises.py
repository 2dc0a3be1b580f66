"""What an open request rests on, fetched again for whoever is about to decide."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from common.approval.types import LOOK_GOOD_FOR, ApprovalRequest
from common.client.client import AgentClient

# What takes longer is shown by the next look at the page.
PATIENCE = timedelta(seconds=4)


async def looked_at(
    agents: AgentClient, id: str, requests: Iterable[ApprovalRequest]
) -> list[ApprovalRequest]:
    """The requests of one agent, what they rest on as it is now where that is not known yet."""
    return list(await asyncio.gather(*(_looked_at(agents, id, each) for each in requests)))


async def _looked_at(agents: AgentClient, id: str, request: ApprovalRequest) -> ApprovalRequest:
    known = request.checked_at and datetime.now(UTC) < request.checked_at + LOOK_GOOD_FOR
    if known or not request.premises:
        return request
    return await agents.refresh_premises(id, request.id, PATIENCE) or request
