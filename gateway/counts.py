"""Counts agents in visibility, which is cheap however many there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio.client import Client

from common.agents.states import RunStatus
from common.client.filters import AgentFilter
from common.client.visibility import exactly
from common.temporal import search_attributes

# An age is found to within 5 %, between these bounds.
PRECISION, YOUNGEST, OLDEST = 1.05, timedelta(seconds=1), timedelta(days=3650)
RUNNING = exactly(AgentFilter(status=RunStatus.RUNNING))


async def count_of(client: Client, conditions: Sequence[str]) -> int:
    """How many agents meet all conditions."""
    return (await client.count_workflows(" AND ".join(conditions))).count


async def age_of_oldest(client: Client, conditions: Sequence[str], now: datetime) -> float:
    """Seconds the first agent has been in its node, by bisection: visibility counts, but does not sort."""

    async def any_older(age: float) -> bool:
        since = (now - timedelta(seconds=age)).isoformat()
        return await count_of(client, [*conditions, f"{search_attributes.NODE_SINCE.name} <= '{since}'"]) > 0

    young, old = YOUNGEST.total_seconds(), OLDEST.total_seconds()
    if not await any_older(young):
        return 0.0
    while old / young > PRECISION:
        middle = math.sqrt(young * old)
        if await any_older(middle):
            young = middle
        else:
            old = middle
    return young
