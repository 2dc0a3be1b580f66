"""What both agents of the bench do: the same steps, the same fact, the same deed; and the types of both."""

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
    """What the agent on the kit takes. `patience` is how long one attempt at a call may take."""

    steps: int
    local: bool
    patience: timedelta = timedelta(minutes=1)


class BareInput(BaseModel):
    """What the bare agent takes. `patience` is how long one attempt at a call may take."""

    steps: int
    local: bool
    patience: timedelta = timedelta(minutes=1)


class Step(BaseModel):
    """A step to take."""

    number: int


class Stepped(BaseModel):
    """A step that was taken: 2 KB."""

    number: int
    text: str


class Look(BaseModel):
    """A fact to fetch: there is one."""


class Fact(BaseModel):
    """The fact."""

    value: int


class Plan(BaseModel):
    """What is approved, and the fact it rests on."""

    what: str = "buy"
    value: int = VALUE


class Approval(BaseModel):
    """The word that the bare agent waits for."""

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
    """The result of the destructive activity, and of the agent: the number of the order, of equal length."""

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
    """The destructive activity as the kit asks for it: it checks the authorization again."""

    def __init__(self, authority: Authority, effects: Effects) -> None:
        self._authority, self._effects = authority, effects

    @activity.defn(name="do")
    async def do(self, deed: KitDeed) -> Done:
        """Do it, where the authorization holds."""
        key = self._authority.authorize(deed.authorization, deed.plan, activity.info()).key
        return Done(order=await self._effects.act(key))


class BareDeeds:
    """The destructive activity of the bare agent: it trusts whoever calls."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    @activity.defn(name="do")
    async def do(self, deed: BareDeed) -> Done:
        """Do it."""
        return Done(order=await self._effects.act(deed.key))
