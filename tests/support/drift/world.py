"""The drift agent's world: values and orders as files, so that processes can share it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue
from temporalio import activity

from common.agents.agent import AgentInput
from common.approval.signing import Authority
from common.approval.types import Authorization
from common.digest import digest
from common.errors import permanent
from workflows.core.premises import Exact, SameDigest, StillTrue, Tolerance, Within

TOLERANCES: Mapping[str, Tolerance] = {
    "exact": Exact(),
    "absolute": Within(absolute=Decimal("0.50")),
    "relative": Within(relative=Decimal("0.01")),
    "narrower is relative": Within(Decimal(2), Decimal("0.01")),
    "narrower is absolute": Within(Decimal("0.50"), Decimal("0.01")),
    "digest": SameDigest(),
    "still true": StillTrue(),
    "out of reach": Exact(),
}


class DriftInput(AgentInput):
    """The tolerance, from `TOLERANCES`, that the agent allows."""

    tolerance: str


class Place(BaseModel):
    """Whose value to fetch."""

    tolerance: str


class Found(BaseModel):
    """The value, of any type."""

    value: JsonValue


class OrderPlan(BaseModel):
    """What a human approves: to act on this value."""

    value: JsonValue


class Order(BaseModel):
    """The argument of the destructive activity; `fence` is the value seen by the final validation."""

    plan: OrderPlan
    fence: JsonValue = None
    authorization: Authorization | None = None


class Ordered(BaseModel):
    """An order as it was placed."""

    fence: JsonValue


class DriftResult(BaseModel):
    """The outcome: the order, or why there is none."""

    ordered: Ordered | None
    drifts: list[str]


class DriftWorld:
    """Values and orders of agents, as files below `folder`."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder = folder
        self._authority = authority
        self.hold: asyncio.Event | None = None
        self.fetched = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def stops_before_acting(self) -> Path:
        """While this file exists, an action that has arrived does not begin."""
        return self.folder / "stops-before-acting"

    def stopped(self) -> set[str]:
        """Agents whose action has arrived but not begun."""
        return {file.stem for file in self.folder.glob("*.stopped")}

    def set(self, agent: str, value: JsonValue, *, failures: int = 0) -> None:
        """Set the agent's fact to `value`; the first `failures` fetches fail, all of them if negative."""
        text = json.dumps({"value": value, "failures": failures})
        file = self.folder / f"{agent}.value"
        file.with_suffix(".new").write_text(text)
        file.with_suffix(".new").rename(file)

    def orders(self, agent: str) -> list[Any]:
        """The values at which orders were placed."""
        return [json.loads(file.read_text()) for file in self.folder.glob(f"{agent}.*.order")]

    @activity.defn(name="fetch_value")
    async def fetch_value(self, place: Place) -> Found:
        """Fetch the agent's fact."""
        agent = activity.info().workflow_id or ""
        known = json.loads((self.folder / f"{agent}.value").read_text())
        if known["failures"] < 0:
            raise permanent("Gone", "it is out of reach")
        if known["failures"] > 0:
            self.set(agent, known["value"], failures=known["failures"] - 1)
            raise OSError("it hiccuped")
        self.fetched += 1
        if self.hold:
            await self.hold.wait()
        return Found(value=known["value"])

    @activity.defn(name="place_order")
    async def place_order(self, order: Order) -> Ordered:
        """Place an order, once per key."""
        agent = activity.info().workflow_id or ""
        if self.stops_before_acting.exists():
            (self.folder / f"{agent}.stopped").touch()
            while True:
                # Keep heartbeating: an abandoned call would still occupy the slot that another agent's action
                # needs.
                activity.heartbeat()
                await asyncio.sleep(0.2)
        key = self._authority.authorize(order.authorization, order.plan, activity.info()).key
        # A second order with the same key raises here.
        with (self.folder / f"{agent}.{digest(key)[:12]}.order").open("x") as file:
            json.dump(order.fence, file)
        return Ordered(fence=order.fence)

    @activity.defn(name="find_order")
    async def find_order(self, order: Order) -> Ordered | None:
        """The order that was placed under this key."""
        agent = activity.info().workflow_id or ""
        key = order.authorization.key if order.authorization else ""
        file = self.folder / f"{agent}.{digest(key)[:12]}.order"
        return Ordered(fence=json.loads(file.read_text())) if file.exists() else None
