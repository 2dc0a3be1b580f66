"""The base of every agent: everything an agent can do, each a method of one class.

    @workflow.defn(name="greeter")
    class Greeter(Agent[GreeterInput, GreeterMemory]):
        @workflow.init
        def __init__(self, input: GreeterInput) -> None:
            super().__init__(input, GreeterMemory)

        @workflow.run
        async def run(self, input: GreeterInput) -> str:
            with self.node("sleep"):
                await self.hibernate(workflow.now() + timedelta(days=2))
            with self.node("approval"):
                plan = Greeting(to=input.to)
                outcome = await self.ask("Send it?", plan, ApprovalPolicy(approvers=("ann",)))
            if outcome.approved:
                with self.node("send"):
                    await self.act(Action[Sent](Letters.send, SendGreeting(plan=outcome.plan), outcome))
            return outcome.words

`docs/kit.md` says what each method guarantees. The other files of this folder are the parts that do the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any, Generic, TypeVar, cast, overload

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RawValue

from activities.batch.records import Gathered
from activities.llm.records import Reply, Think
from common.agents.agent import AgentInput, AgentStatus, Carried, Cost, Notebook, Receipt, Receipts, Woken
from common.agents.batch import BatchCounts, Listing, Work
from common.agents.states import PAST_LIMIT
from common.approval.types import ApprovalPolicy, ApprovalRequest, ApprovalsView
from common.artifacts import ArtifactRef
from common.mail import IncomingMail
from common.notices.types import NoticeEvent
from common.temporal.handlers import HandlerDirMeta
from workflows.core.answers import Answers
from workflows.core.approval import Approvals, Premises
from workflows.core.batch import Batches, agents_of, calling
from workflows.core.calls import (
    ACTION,
    FETCH,
    LONG,
    LONG_ACTION,
    ONCE,
    QUICK,
    READ,
    Argument,
    CallPolicy,
    Calls,
    Result,
)
from workflows.core.display import Display, cause_of, owner
from workflows.core.final_check import Action, ActionResult, Actions
from workflows.core.gate import Gate, Outcome, Plan
from workflows.core.history import History
from workflows.core.notify import Notifier
from workflows.core.preconditions import Look, Preconditions
from workflows.core.premises import Exact, Premise, SameDigest, StillTrue, Within
from workflows.core.signals import UnreadableSignalError, read_signal, receipt_asked
from workflows.core.sleep import Sleep
from workflows.core.thinking import THINK, Thinking, model_in_instruction
from workflows.core.watchdog import OpenCall

__all__ = [
    "ACTION",
    "FETCH",
    "LONG",
    "LONG_ACTION",
    "ONCE",
    "QUICK",
    "READ",
    "THINK",
    "Action",
    "ActionResult",
    "Agent",
    "CallPolicy",
    "Exact",
    "Outcome",
    "Plan",
    "Premise",
    "Premises",
    "SameDigest",
    "StillTrue",
    "Within",
    "agents_of",
    "calling",
    "cause_of",
]

Input = TypeVar("Input", bound=AgentInput)
Memory = TypeVar("Memory", bound=BaseModel | None)

MAX_TOLD = 50
MAX_RECEIPTS = 50


class Agent(Generic[Input, Memory], metaclass=HandlerDirMeta):
    """A durable agent.

    A subclass defines `__init__` under `@workflow.init` and `run` under `@workflow.run`, both taking its own
    input type. `run` reads as the list of the agent's nodes.

    A long-lived agent has a memory, and stores the result of each step there before it waits again. When its
    history has grown long, a fresh one can start: `run` begins again with that memory and goes on from there.

    Attributes:
        input: what the agent was started with.
        memory: the agent's own state: a pydantic model that can be built without arguments, or None.
        long_lived: whether the agent lives for weeks. It then moves to the workers' current build by itself,
            the next time it rests. Any other agent ends on the build it began on, unless its history grows
            long.
        reads_mail: whether mail sent to the agent is kept in `mail`; if not, it is refused.
        budget_approvers: who may raise the budget for language models. If empty: the agent's owner, whose
            money it is, and the approvers of its plans.
    """

    _handlers = ("on_signal", "on_update", "status", "notebook", "receipts", "approvals", "refresh_premises")
    reads_mail = False
    long_lived = False
    budget_approvers: Sequence[str] = ()

    def __init__(self, input: Input, memory: type[Memory] | None = None) -> None:
        carried = input.carried or Carried(started_at=workflow.now())
        self.input = input
        self.memory = cast(Memory, _remembered(memory, carried))
        self._carried = carried
        # Not carried over: a sender asks for its receipt within seconds.
        self._receipts: dict[str, Receipt] = {}
        self._display = Display(carried, self._tell_stuck)
        self._calls = Calls(self._display)
        self._notifier = Notifier(self._calls)
        gate, answers = Gate(carried.approvals), Answers(carried)
        history = History(input, carried, self.memory, self._calls, gate, answers, self.long_lived)
        self._upgrade = history.upgrade
        self._sleep = Sleep(carried, self._display, self._calls, history)
        self._preconditions = Preconditions(carried, self._display, self._calls, self._sleep, self._notifier)
        self._approvals = Approvals(
            carried, self._display, self._calls, gate, answers, history, self._notifier, self._preconditions
        )
        self._actions = Actions(self._display, self._calls, self._notifier, self._approvals)
        self._batches = Batches(carried, self._display, self._calls, history, self._notifier)
        self._thinking = Thinking(
            input, carried, self._display, self._calls, self._notifier, self._approvals, self._actions
        )

    def node(self, name: str) -> AbstractContextManager[None]:
        """A stage of the agent: groups its commands under `name`, and notes its outcome and duration."""
        return self._display.node(name)

    def note(self, text: str, **facts: Any) -> None:
        """Write a line in the notebook; `facts` are JSON values."""
        self._display.note(text, **facts)

    def progress(self, done: int, total: int) -> None:
        """Report how much of the work is done, in units of the agent's choice."""
        self._carried.progress.done, self._carried.progress.total = done, total

    @property
    def owner(self) -> str:
        """Who the agent works for, as an opaque id; empty if no owner was given."""
        return owner()

    @property
    def instructions(self) -> Sequence[str]:
        """The instructions people gave the agent in words, oldest first. Untrusted text."""
        return self._carried.told

    @property
    def mail(self) -> list[IncomingMail]:
        """Mail for the agent, oldest first; the agent removes what it has handled. Untrusted text."""
        return self._carried.mail

    @overload
    async def call(
        self, activity: Callable[[Any, Argument], Awaitable[Result]], argument: Argument, policy: CallPolicy
    ) -> Result: ...

    @overload
    async def call(
        self, activity: Callable[[Any, Argument], Result], argument: Argument, policy: CallPolicy
    ) -> Result: ...

    async def call(self, activity: Any, argument: Any, policy: CallPolicy) -> Any:
        """Run an activity, a method of a class in `activities/`, and return its result.

        The activity's id holds a digest of the argument, so a replay that would pass another one is detected.
        The id of a local activity has no digest: its argument is not in history, and a time in it may differ
        in a replay.

        Raises:
            ActivityError: it failed for good; its cause says why.
            ApplicationError: type `ArgumentTooLarge`, if the argument is over 1.5 MB.
        """
        return await self._calls.call(activity, argument, policy)

    async def require(self, activity: Look[Argument], argument: Argument, policy: CallPolicy = QUICK) -> None:
        """Check that what the agent will need is available: now, and again right before each question.

        While something is missing, the agent shows as stuck with the reason, and people are told once. It
        checks again after a while, or when it is woken. An item of a batch fails instead, and is set aside.

        Args:
            activity: returns what is missing; `Preconditions.check` knows mail, folders and the like.
            argument: passed to the activity; `Needs` for `Preconditions.check`.
            policy: how it is called.
        """
        await self._preconditions.require(activity, argument, policy)

    async def hibernate(
        self,
        until: datetime | None,
        wake_on: Callable[[], bool] | None = None,
        waiting_for: str = "time",
        *,
        quietly: bool = False,
    ) -> Woken:
        """Sleep, for days if need be, at no cost. The signal `wake` ends the sleep or moves its end.

        Args:
            until: when to wake; None sleeps until something else wakes the agent.
            wake_on: checked after every signal; the agent wakes if it returns true.
            waiting_for: what people see the agent wait for.
            quietly: write nothing in the notebook on waking by time, for agents that wake thousands of times.

        Returns:
            Why it woke.
        """
        woken = await self._sleep.until(until, wake_on, waiting_for, quietly)
        self._approvals.drop_remembered_answers()
        return woken

    async def ask(
        self,
        question: str,
        plan: Plan,
        policy: ApprovalPolicy,
        evidence: Sequence[str] = (),
        premises: Premises[Plan] = lambda plan: (),
    ) -> Outcome[Plan]:
        """Ask people about exactly this plan, and sleep until they answer, however long that takes.

        Several questions may be open at once: each `ask` waits for its own. The history of an agent with a
        memory may start afresh meanwhile; `run` must then come back to every question that was open or just
        answered, in the same words and about the same plan. There it goes on waiting, or gets its answer.

        Args:
            question: the question, in words.
            plan: what would be done; people approve its digest.
            policy: who may decide, how many must, by when.
            evidence: lines that help people decide.
            premises: returns what a plan rests on, so that those who decide see whether it still holds.

        Returns:
            The outcome; if approved, with the plan to act on. Expired only if the policy gives up on expiry.
        """
        return await self._approvals.ask(question, plan, policy, evidence, premises)

    async def withdraw(self, plan: BaseModel, why: str) -> None:
        """Close the question about `plan`; a decision that still arrives is refused with the reason `why`.

        First cancel the task that asks: an `ask` whose question is withdrawn never returns.
        """
        await self._approvals.withdraw(plan, why)

    async def act(self, action: Action[Result]) -> ActionResult[Result]:
        """Do something destructive: check the approval, fetch the facts again, then act at once.

        Each attempt begins with a new validation, even if the one before never started. An unknown outcome is
        looked up before the next attempt. Nothing is done while the agent is paused.

        Returns:
            The result, or the drifts that stopped it and made the approval void.

        Raises:
            ActivityError: it failed for good.
            ApplicationError: type `NotApproved`, if the approval does not allow it.
        """
        return await self._actions.act(action)

    def action_key(self, plan: BaseModel) -> str:
        """The idempotency key of an action on `plan` in this node: `workflow id:node:plan digest`."""
        return self._actions.key(plan)

    async def think(self, think: Think, policy: CallPolicy = THINK) -> Reply:
        """Ask a language model; one that people told the agent to use comes before any other.

        If the budget is spent, the agent asks for more, sleeps until it has an answer, and goes on.

        Raises:
            ActivityError: it failed for good; its cause says why, for example `BadModelOutput`.
            ApplicationError: type `BudgetRefused`, if people refuse to raise the budget.
        """
        return await self._thinking.think(think, policy, self.budget_approvers)

    def spent(self, cost: Cost) -> None:
        """Count what one of the agent's own activities has spent on language models."""
        self._carried.cost.add(cost)

    async def batch(
        self, items: ArtifactRef | Listing, work: Work, at_once: int = 20, batch_id: str = ""
    ) -> BatchCounts:
        """Process thousands of items, at most `at_once` at a time, over days if need be.

        Every item gets exactly one verdict: done, or quarantined with a reason if its activity or agent
        failed for good; the batch goes on. While it runs, the signal `batch` changes the width, retries
        quarantined items and adds new ones; `status` shows how it stands. While the agent is paused, no item
        is begun. The history of an agent with a memory may start afresh meanwhile: `run` must come back to
        this call with the same arguments, and it goes on. One batch runs at a time.

        Args:
            items: an artifact of JSON lines that an activity stored, one `BatchItem` each (`as_lines`); or
                items that an activity has already listed.
            work: `calling(activity, policy)` or `agents_of(kind)`, from `workflows/core/batch.py`.
            at_once: the maximum number of items in flight.
            batch_id: the value of `AgentBatchId` for everything in the batch; if empty, the agent's id.

        Returns:
            The counts, and the artifacts that hold each item's verdict and result.
        """
        return await self._batches.run(items, work, at_once, batch_id)

    async def batch_results(self) -> Gathered | None:
        """Every verdict of the batch so far, including those of open pages; None if there was no batch."""
        return await self._batches.gathered()

    async def tell_people(self, text: str, event: NoticeEvent = NoticeEvent.DRIFT) -> None:
        """Note `text`, and notify the people who want to know of such events."""
        self._calls.has_begun = True
        self.note(text)
        await self._notifier.tell(event, text)

    async def carry_over(self, *, now: bool = False) -> None:
        """Start history afresh if the server suggests it (or `now`), and carry everything over.

        That is memory, notebook, decisions, seen ids, mail and instructions. If a signal arrives meanwhile,
        the server hands out the workflow task again, and the signal is carried over too.
        """
        await self._approvals.carry_over(now)

    async def tell_end(self, event: NoticeEvent, text: str) -> None:
        """Notify people that the agent has ended; the worker calls this for every agent."""
        # A cancellation that arrives now is too late: finished work must not look cancelled.
        with suppress(asyncio.CancelledError):
            await self._approvals.tell_unanswered(text)
            await self._notifier.tell_end(event, text)

    def details(self) -> str:
        """What the Web UI shows of the agent, in Markdown; the worker calls this when somebody looks."""
        return self._display.details()

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, arguments: Sequence[RawValue]) -> None:
        """Handle every signal, so that none can fail the agent or be dropped silently."""
        asked, arguments = receipt_asked(arguments)
        try:
            receipt = self._take(name, read_signal(name, arguments))
        except UnreadableSignalError as error:
            self.note(f"refused the signal {name[:40]!r}: {error}")
            receipt = Receipt(taken=False, words=str(error))
        if asked:
            self._receipts = dict([*self._receipts.items(), (asked, receipt)][-MAX_RECEIPTS:])

    @workflow.update(name=PAST_LIMIT)
    def on_update(self, name: str, arguments: list[Any]) -> None:
        """Handle a signal sent as an update, for a history that has reached the server's 10,000 signals."""
        self.on_signal(name, list(map(RawValue, workflow.payload_converter().to_payloads(arguments))))

    def _take(self, name: str, value: Any) -> Receipt:
        match name:
            case "decide":
                self._approvals.decide(value)
            case "tell":
                self._carried.told = [*self._carried.told, value][-MAX_TOLD:]
                self._carried.model = model_in_instruction(value) or self._carried.model
                self.note(f"was told: {value}")
                return self.hear(value)
            case "undelivered":
                self.note(f"not told: {value}")
            case "wake":
                return self._sleep.wake(value)
            case "mail" if self.reads_mail:
                self._carried.mail.append(value)
            case "mail":
                self.note(f"refused mail from {value.sender}: this agent reads none")
            case "batch":
                return self._batches.command(value)
            case "batch-page":
                self._batches.reported(value)
            case "upgrade":
                return self._upgrade()
            case "pause" | "resume":
                return self._pause(name == "pause")
        return Receipt(taken=True, words="it was told")

    def hear(self, words: str) -> Receipt:
        """React to an instruction in words, and say what comes of it; for agents to override.

        Called in the signal handler: it may change the memory, but cannot wait.
        """
        return Receipt(taken=True, words="it was told")

    def _pause(self, pause: bool) -> Receipt:
        before, self._carried.paused = self._carried.paused, pause
        self.note("paused" if pause else "resumed")
        self._display.show_soon()
        if before == pause:
            return Receipt(taken=True, words="it was paused already" if pause else "it was not paused")
        return Receipt(taken=True, words="it begins nothing until it is resumed" if pause else "it goes on")

    @workflow.query
    def status(self) -> AgentStatus:
        """What the agent is doing now."""
        return self._display.status().model_copy(update={"batch": self._batches.status()})

    @workflow.query
    def notebook(self) -> Notebook:
        """The newest lines of the notebook."""
        return self._carried.notebook

    @workflow.query
    def receipts(self) -> Receipts:
        """What came of the newest signals whose senders asked for a receipt."""
        return Receipts(receipts=self._receipts)

    @workflow.query
    def approvals(self) -> ApprovalsView:
        """Open requests, and the decisions with what became of each."""
        return self._approvals.view()

    @workflow.update(name="look", unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def refresh_premises(self, request_id: str) -> ApprovalRequest | None:
        """Fetch the premises of an open request again, for display; None if it was decided meanwhile."""
        return await self._approvals.refresh(request_id)

    @refresh_premises.validator
    def _may_refresh(self, request_id: str) -> None:
        # A refusal by the validator adds nothing to history.
        self._approvals.check_refresh(request_id)

    async def _tell_stuck(self, call: OpenCall) -> None:
        await self._notifier.tell(NoticeEvent.STUCK, f"stuck at {call.node}: {call.name}")


def _remembered(memory: type[Memory] | None, carried: Carried) -> BaseModel | None:
    if memory is None or not issubclass(memory, BaseModel):
        return None
    return memory() if carried.memory is None else memory.model_validate(carried.memory)
