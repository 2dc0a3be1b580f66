"""The test agents' world: types, and activities that record what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from pydantic import BaseModel, Field
from temporalio import activity
from temporalio.exceptions import ApplicationError

from common.agents.agent import AgentInput, Woken
from common.agents.needs import Needs
from common.approval.signing import Authority
from common.approval.types import ApprovalPolicy, Authorization
from common.errors import permanent
from common.notices.types import Notice, NoticeEvent, Told


class ErrandInput(AgentInput):
    """The errand agent's input."""

    steps: int = 1
    local_steps: bool = False
    carry_every_step: bool = False
    sleep: timedelta | None = None
    freshness: timedelta | None = None
    settles: timedelta = timedelta(seconds=60)
    policy: ApprovalPolicy = ApprovalPolicy(approvers=("ann",), editable=("what",))
    needs: Needs | None = None


class ErrandPlan(BaseModel):
    """What a human approves."""

    what: str
    value: int


class ErrandMemory(BaseModel):
    """The errand agent's carried-over state."""

    steps: int = 0
    woken: list[Woken] = Field(default_factory=list)
    plan: ErrandPlan | None = None


class Errand(BaseModel):
    """The argument of the destructive activity."""

    plan: ErrandPlan
    fence: int | None = None
    authorization: Authorization | None = None


class Confirmation(BaseModel):
    """The result of the destructive activity; `fence` is the value seen by the final validation."""

    key: str
    what: str
    fence: int | None = None


class ErrandResult(BaseModel):
    """The errand's outcome."""

    memory: ErrandMemory
    words: str
    confirmation: Confirmation | None = None


class PanelInput(AgentInput):
    """The panel agent's input: questions with their policies, its node, whether it sleeps meanwhile.

    `goes_on_to`: the node it sleeps at while its questions are open. `apart`: each question in its own node.
    """

    questions: dict[str, ApprovalPolicy]
    node: str = "panel"
    sleeps_beside: bool = False
    goes_on_to: str = ""
    apart: bool = False


class PanelMemory(BaseModel):
    """The panel agent's carried-over state: none, as its input holds all questions."""


class PanelResult(BaseModel):
    """How each question ended, in the order asked."""

    words: list[str]


class Step(BaseModel):
    """A step to take."""

    number: int


class Stepped(BaseModel):
    """A step that was taken."""

    number: int
    text: str


class Fact(BaseModel):
    """A request for the only fact there is."""


class FactValue(BaseModel):
    """The fact."""

    value: int


class World:
    """Activities of the errand agent. `acted` maps idempotency keys to what was done, like a real target."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.value = 10
        self.steps: list[int] = []
        self.fact_fetches = 0
        self.act_attempts = 0
        self.acted: dict[str, Confirmation] = {}
        self.fact_fails = False
        self.hold: asyncio.Event | None = None
        self.step_fails = 0
        self.step_error: Exception | None = None
        self.lose_acknowledgements = 0
        self.keeps_on_the_wire = False
        self.on_the_wire: list[Confirmation] = []
        self.refuses = False
        self.step_text = "x" * 2000
        self.before_step: Callable[[int], Awaitable[object]] | None = None

    @activity.defn(name="step")
    async def step(self, step: Step) -> Stepped:
        """Take a step; fails as often as `step_fails` says."""
        if self.before_step:
            await self.before_step(step.number)
        if self.step_error:
            raise self.step_error
        if self.step_fails:
            self.step_fails -= 1
            raise RuntimeError("the login page is down")
        self.steps.append(step.number)
        return Stepped(number=step.number, text=self.step_text)

    @activity.defn(name="fact")
    async def fact(self, fact: Fact) -> FactValue:
        """Fetch the fact."""
        self.fact_fetches += 1
        value = self.value
        if self.hold:
            await self.hold.wait()
        if self.fact_fails:
            raise permanent("Gone", "the fact cannot be had")
        return FactValue(value=value)

    @activity.defn(name="act")
    async def act(self, errand: Errand) -> Confirmation:
        """Act once per key; an acknowledgement may get lost afterwards."""
        key = self.authority.authorize(errand.authorization, errand.plan, activity.info()).key
        self.act_attempts += 1
        if key in self.acted:
            raise permanent("ActedTwice", key)
        if self.refuses:
            raise permanent("Refused", "no longer allowed")
        confirmation = Confirmation(key=key, what=errand.plan.what, fence=errand.fence)
        if self.keeps_on_the_wire:
            self.on_the_wire.append(confirmation)
            raise ApplicationError("connection reset", type="Lost")
        self.acted[key] = confirmation
        if self.lose_acknowledgements:
            self.lose_acknowledgements -= 1
            raise ApplicationError("connection reset", type="Lost")
        return self.acted[key]

    def arrive(self) -> None:
        """Let what was held on the wire take effect after all."""
        for confirmation in self.on_the_wire:
            self.acted[confirmation.key] = confirmation

    @activity.defn(name="look_up")
    async def look_up(self, errand: Errand) -> Confirmation | None:
        """What was done under the errand's key."""
        return self.acted.get(errand.authorization.key) if errand.authorization else None


class NoticeBoard:
    """Stands in for notice delivery: keeps what people would have been told."""

    def __init__(self) -> None:
        self._calls: set[tuple[str | None, str]] = set()
        self.told: list[Notice] = []
        # What it returns; None means that notices go nowhere but to the terminal.
        self.answer: Told | None = Told()

    @activity.defn(name="notify")
    async def notify(self, notice: Notice) -> Told | None:
        """Keep the notice once: a retried workflow task repeats its local activities."""
        info = activity.info()
        call = info.workflow_run_id, info.activity_id
        if call not in self._calls:
            self._calls.add(call)
            self.told.append(notice)
        if notice.event is NoticeEvent.ASKED:
            return (self.answer or Told(elsewhere=False)).model_copy(update={"asked": notice.request})
        return self.answer

    def events(self, agent: str) -> list[str]:
        """The events an agent told people of, in order."""
        return [each.event for each in self.told if each.agent == agent]
