"""What both agents of the bench do: the same steps, the same fact, the same deed; and the types of both."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel
from temporalio import activity

from common.agents.agent import AgentInput
from common.approval.signing import Authority
from common.approval.types import Authorization

APPROVER = "approver-1"
TEXT = "x" * 2000
VALUE = 10


class KitInput(AgentInput):
    """What the agent on the kit takes."""

    steps: int
    local: bool


class BareInput(BaseModel):
    """What the bare agent takes."""

    steps: int
    local: bool


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

    @activity.defn(name="step")
    async def step(self, step: Step) -> Stepped:
        """Take a step."""
        return Stepped(number=step.number, text=TEXT)

    @activity.defn(name="look")
    async def look(self, look: Look) -> Fact:
        """Fetch the fact."""
        return Fact(value=VALUE)


class KitDeeds:
    """The destructive activity as the kit asks for it: it checks the authorization again."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    @activity.defn(name="do")
    async def do(self, deed: KitDeed) -> Done:
        """Do it, where the authorization holds."""
        key = self._authority.authorize(deed.authorization, deed.plan, activity.info()).key
        return Done(order=_number(key))


class BareDeeds:
    """The destructive activity of the bare agent: it trusts whoever calls."""

    @activity.defn(name="do")
    async def do(self, deed: BareDeed) -> Done:
        """Do it."""
        return Done(order=_number(deed.key))


def _number(key: str) -> str:
    """The number that a broker gives the order of an idempotency key."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]
