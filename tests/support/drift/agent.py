"""An agent that plans based on a fact, waits to be woken, asks, and acts if the fact still holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from common.approval.types import ApprovalPolicy
    from common.digest import digest
    from tests.support.drift.world import (
        TOLERANCES,
        DriftInput,
        DriftResult,
        DriftWorld,
        Order,
        OrderPlan,
        Place,
    )
from workflows.core.agent import LONG_ACTION, READ, Action, Agent, Premise

# A worker's death shows after four seconds instead of thirty.
SOON = replace(LONG_ACTION, heartbeat=timedelta(seconds=4))


@workflow.defn(name="drift")
class DriftAgent(Agent[DriftInput, None]):
    """Stops at the first drift."""

    @workflow.init
    def __init__(self, input: DriftInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: DriftInput) -> DriftResult:
        place = Place(tolerance=input.tolerance)
        with self.node("plan"):
            found = await self.call(DriftWorld.fetch_value, place, READ)
            plan = OrderPlan(value=found.value)
        with self.node("think"):
            await self.hibernate(None)
        with self.node("approval"):
            outcome = await self.ask("Order?", plan, ApprovalPolicy(approvers=("ann",)))
        seen = digest(plan.value) if input.tolerance == "digest" else plan.value
        premise = Premise(
            "value", DriftWorld.fetch_value, place, seen, TOLERANCES[input.tolerance], lambda got: got.value
        )
        with self.node("act"):
            acted = await self.act(
                Action(
                    DriftWorld.place_order,
                    Order(plan=plan),
                    outcome,
                    [premise],
                    fence=lambda order, facts: order.model_copy(update={"fence": facts["value"]}),
                    lookup=DriftWorld.find_order,
                    freshness=timedelta(seconds=1),
                    settles=timedelta(seconds=3),
                    policy=SOON,
                )
            )
        return DriftResult(ordered=acted.result, drifts=[each.reason for each in acted.drifts])
