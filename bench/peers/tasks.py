"""What both of the bench's agents do: the same steps, fact and action; and the types of both."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel
from temporalio import activity

from bench.peers.effects import VALUE, Effects
from common.agents.agent import AgentInput
from common.approval.signing import Authority
from common.approval.types import Authorization

APPROVER = "approver-1"


class KitInput(AgentInput):
    """Input of the agent on the kit. `patience` is the time limit of one attempt at a call."""

    steps: int
    local: bool
    patience: timedelta = timedelta(minutes=1)


class BareInput(BaseModel):
    """Input of the bare agent. `patience` is the time limit of one attempt at a call."""

    steps: int
    local: bool
    patience: timedelta = timedelta(minutes=1)


class Step(BaseModel):
    """A step to take."""

    number: int


class Stepped(BaseModel):
    """The result of a step: 2 KB."""

    number: int
    text: str


class Look(BaseModel):
    """A request for the only fact there is."""


class Fact(BaseModel):
    """The fact."""

    value: int


class Plan(BaseModel):
    """What is approved, and the fact it rests on."""

    what: str = "buy"
    value: int = VALUE


class Approval(BaseModel):
    """The approval signal of the bare agent."""

    by: str
    note: str = ""


class KitDeed(BaseModel):
    """The argument of the destructive activity; the kit fills in `authorization`."""

    plan: Plan
    authorization: Authorization | None = None


class BareDeed(BaseModel):
    """The argument of the destructive activity without the kit."""

    plan: Plan
    approval: Approval
    key: str


class Done(BaseModel):
    """The result of the destructive activity and of the agent: the order's number, always of equal length."""

    order: str


class Steps:
    """The activities that both sides run."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    @activity.defn(name="step")
    async def step(self, step: Step) -> Stepped:
        """Take a step."""
        text = await self._effects.step(activity.info().workflow_id or "", step.number)
        return Stepped(number=step.number, text=text)

    @activity.defn(name="look")
    async def look(self, look: Look) -> Fact:
        """Fetch the fact."""
        return Fact(value=VALUE)


class KitDeeds:
    """The destructive activity as the kit requires it: it checks the authorization again."""

    def __init__(self, authority: Authority, effects: Effects) -> None:
        self._authority, self._effects = authority, effects

    @activity.defn(name="do")
    async def do(self, deed: KitDeed) -> Done:
        """Do it if the authorization holds."""
        key = self._authority.authorize(deed.authorization, deed.plan, activity.info()).key
        return Done(order=await self._effects.act(key))


class BareDeeds:
    """The destructive activity of the bare agent: it trusts its caller."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    @activity.defn(name="do")
    async def do(self, deed: BareDeed) -> Done:
        """Do it."""
        return Done(order=await self._effects.act(deed.key))
