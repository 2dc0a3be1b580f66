"""Plays scripts with a real agent on the real server, and compares it with the model after every step."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import AgentStatus
from common.approval.signing import ENVELOPE_LIFETIME, Signer
from common.approval.types import (
    ApprovalPolicy,
    ApprovalRequest,
    ApprovalsView,
    Decision,
    DecisionRecord,
    OnExpiry,
    Verdict,
)
from common.key_ring import KeyRing
from common.settings import Settings
from testing.stage import is_passing
from testing.waiting import eventually
from tests.support.chain.agent import ChainAgent
from tests.support.chain.model import Ask, Model, Rules, UncertainOrderError, Word
from tests.support.chain.scripts import GROUPS, Action, Advance, AtOnce, Decide, Move, Script, Simple
from tests.support.chain.world import START_VALUE, ChainInput, Market
from tests.support.stage import OWNER, Stage

# Words in a refusal, and the model's reason they stand for.
REASONS = {
    "unsigned": "unsigned",
    "does not fit the decision": "forged",
    "another agent": "foreign",
    "its envelope expired": "outdated",
    "unknown key": "unknown key",
    "is what is asked": "stale",
    "the request expired": "expired",
    "not among those": "stranger",
    "may not approve": "requester",
    "takes edits": "edits",
    "needs edits": "edits",
    "may not be edited": "edits",
    "do not fit the plan": "edits",
    "already said yes": "again",
    "already received": "duplicate",
    "is closed": "closed",
}


class DisagreementError(AssertionError):
    """The agent differs from the model."""


@dataclass
class Tally:
    """Counts what happened in all sequences together: a run that met too little proves too little."""

    met: Counter[str] = field(default_factory=Counter)

    def missing(self, *wanted: str) -> list[str]:
        """Which of these never happened."""
        return [each for each in wanted if not self.met[each]]


class Desk:
    """A place to play one script after another: a stage with its own worker and task queue."""

    def __init__(
        self, client: Client, settings: Settings, number: int, tally: Tally, patience: float
    ) -> None:
        self.stage = Stage(client, settings.but(task_queue=f"desk-{number}"))
        self.stage.agents = [ChainAgent]
        self.market = self.stage.world = Market(self.stage.authority)
        self.tally = tally
        self.patience = patience

    async def play(self, script: Script) -> WorkflowHandle[Any, Any]:
        """Play one script to its end.

        Raises:
            DisagreementError: the agent differs from the model; says after which action.
        """
        rules = dict(zip(("buy", "sell"), script.rules, strict=False))
        input = ChainInput(questions={what: policy_of(each) for what, each in rules.items()})
        agent = await self.stage.start(input, "chain")
        model = Model(rules, OWNER, GROUPS, START_VALUE)
        scene = Scene(self, agent, model)
        try:
            await scene.play(script)
            self.tally.met["sequences"] += 1
        except UncertainOrderError:
            self.tally.met["cut short"] += 1
        except DisagreementError as error:
            raise DisagreementError(f"{error}\nin {script}") from None
        finally:
            await scene.clear()
        return agent


class Scene:
    """One agent and its model, in step."""

    def __init__(self, desk: Desk, agent: WorkflowHandle[Any, Any], model: Model) -> None:
        self.desk, self.stage, self.agent, self.model = desk, desk.stage, agent, model
        self.met = desk.tally.met
        self.sent: list[tuple[Decision, Word]] = []
        # The agent's time at the model's zero.
        self.began = datetime.max
        # Time still to pass when the agent's next task found no worker.
        self.forward: asyncio.Task[None] | None = None
        self.to_pass = timedelta()
        # Whether the agent did something that no waiting can undo.
        self.beyond = False

    async def play(self, script: Script) -> None:
        self.model.begin()
        await self.agrees("the start")
        view = await self.stage.query(self.agent, "approvals", ApprovalsView)
        self.began = min(each.asked_at for each in view.open)
        for number, action in enumerate([*script.actions, Simple("back")]):
            if self.model.done:
                break
            self.model.opened_now.clear()
            self.met[action.what if isinstance(action, Simple) else type(action).__name__] += 1
            await self.keep_up()
            await self.do(action)
            if not self.model.absent:
                await self.agrees(f"action {number}, {action}")
        if self.model.done:
            words = await asyncio.wait_for(self.agent.result(), self.desk.patience)
            ended = {what: _in_short(each) for what, each in words.items()}
            if ended != self.model.ended:
                raise DisagreementError(f"it ended as {ended}, and should have as {self.model.ended}")
            await self.agrees("the end")
            self.met["ended"] += 1

    async def clear(self) -> None:
        """Reset the desk for the next script."""
        if self.model.absent:
            await self.stage.work()
        if self.forward:
            self.forward.cancel()
        described = await self.agent.describe()
        first = described.raw_description.workflow_execution_info.first_run_id
        self.met["fresh histories"] += described.run_id != first
        if described.status == WorkflowExecutionStatus.RUNNING:
            try:
                await self.agent.terminate("the script is over")
            except RPCError as error:
                # It has just ended on its own.
                if error.status != RPCStatusCode.NOT_FOUND:
                    raise

    async def do(self, action: Action) -> None:
        """Apply the action to the agent and to the model."""
        match action:
            case Decide():
                await self.decide(action)
            case AtOnce():
                await self.decide(action.first, action.second)
            case Advance():
                await self.advance(action.duration)
            case Move():
                self.desk.market.values[self.agent.id] = self.model.value = action.value
            case Simple(what="pause" | "resume"):
                await self.signal(action.what)
                getattr(self.model, action.what)()
            case Simple(what="tell"):
                for number in range(6):
                    await self.signal("tell", f"word {number}")
            case Simple(what="lose"):
                self.desk.market.unreachable.add(self.agent.id)
                self.model.reachable = False
            case Simple(what="find"):
                self.desk.market.unreachable.discard(self.agent.id)
                self.model.reachable = True
            case Simple(what="look") if not self.model.absent:
                await self.look()
            case Simple(what="leave") if not self.model.absent:
                await self.stage.rest()
                self.model.leave()
            case Simple(what="back") if self.model.absent:
                await self.come_back()
            case Simple(what="restart") if not self.model.absent:
                await self.stage.rest()
                await self.stage.work()

    async def keep_up(self) -> None:
        """Let the model catch up with the agent's own time, maybe by minutes."""
        passed = await self.stage.skipper.get_current_time(self.agent) - self.began - self.model.clock
        if passed > timedelta():
            self.model.pass_time(passed)

    async def look(self) -> None:
        """Refresh the premises of each open request; shows the fact's status, and changes nothing."""
        for ask in list(self.model.open.values()):
            try:
                found = await self.agent.execute_update("look", ask.id, result_type=ApprovalRequest)
            except (WorkflowUpdateFailedError, RPCError):
                continue  # too soon after the last look, or the agent is ending
            now, seen = str(self.model.value), str(ask.plan["value"])
            shown = [(each.seen, each.now, not each.drift) for each in found.premises] if found else []
            expected = [(seen, now, seen == now) if self.model.reachable else (seen, "", False)]
            if shown != expected:
                raise DisagreementError(f"a look at {ask.id} showed {shown}, and should have {expected}")
            self.met["looked"] += 1

    async def signal(self, name: str, *argument: Any) -> None:
        await self.agent.signal(name, *argument)

    async def decide(self, *actions: Decide) -> None:
        """Send decisions in immediate succession."""
        now = await self.stage.skipper.get_current_time(self.agent)
        made = [self.made(action, now) for action in actions]
        heard = []
        for decision, word in made:
            try:
                await self.signal("decide", decision)
            except RPCError as error:
                # The first of two may have ended the agent; what the server accepted before that is recorded.
                if error.status != RPCStatusCode.NOT_FOUND or not heard:
                    raise
                break
            heard.append(word)
        for word in heard:
            self.model.hear(word)

    def made(self, action: Decide, now: datetime) -> tuple[Decision, Word]:
        """The decision, signed as the script says, and the model's version of it."""
        if action.again and self.sent:
            return self.sent[-1]
        ask = self.target(action)
        number = len(self.sent)
        edits = {
            "right": {"what": f"{ask.what} {number}"},
            "ill-typed": {"what": [1]},
            "forbidden": {"value": 1},
        }.get(action.edits, {})
        word = Word(
            id=f"d{number}",
            request=ask.id,
            digest="0" * 64 if action.stale else ask.digest,
            verdict=action.verdict,
            edits=edits,
            by=action.by,
            at=self.model.clock,
            flaw=action.flaw,
        )
        decision = Decision(
            id=word.id,
            request_id=word.request,
            digest=word.digest,
            verdict=Verdict(word.verdict),
            edits=edits,
            by=word.by,
            through="cli",
            at=now,
        )
        self.sent.append((self.sealed(decision, action.flaw, now), word))
        return self.sent[-1]

    def target(self, action: Decide) -> Ask:
        """The request that a decision is for."""
        model = self.model
        asks = list(model.open.values()) or [Ask("desk-1", "buy", {"what": "buy", "value": 10}, model.clock)]
        ask = asks[action.which % len(asks)]
        closed = list(model.closed)
        if action.request == "future":
            # The next request, assuming it is about the same plan.
            return Ask(f"desk-{model.asked + 1}", ask.what, ask.plan, model.clock)
        if closed and (action.request == "closed" or not model.open):
            return Ask(closed[action.which % len(closed)], ask.what, ask.plan, model.clock)
        return ask

    def sealed(self, decision: Decision, flaw: str, now: datetime) -> Decision:
        """The decision in its envelope, valid or not."""
        signer, agent = self.stage.signer, self.agent.id
        match flaw:
            case "unsigned":
                return decision
            case "forged":
                signed = signer.sign(decision.model_copy(update={"by": "eve"}), agent, now)
                return signed.model_copy(update={"by": decision.by, "note": "it was eve"})
            case "foreign":
                return signer.sign(decision, "another-agent", now)
            case "outdated":
                return signer.sign(decision, agent, now - ENVELOPE_LIFETIME - timedelta(minutes=1))
            case "unknown key":
                return Signer(KeyRing.of({"other": b"x" * 32})).sign(decision, agent, now)
        return signer.sign(decision, agent, now)

    async def advance(self, duration: timedelta) -> None:
        """Let time pass, event by event."""
        rounds = [each.expires_after for each in self.model.rules.values() if each.expires_after]
        while rounds and duration / min(rounds) > 5:
            duration /= 4
        if self.model.absent:
            await self.advance_alone(duration)
            return
        now = await self.stage.skipper.get_current_time(self.agent)
        began, end = self.model.clock, self.model.clock + self.model.reach(duration)
        while due := self.model.next_due(end):
            # Not in one step: the server also skips what a freshly continued history has yet to do.
            self.model.pass_time(due + timedelta(minutes=1) - self.model.clock)
            await self.forward_to(now + self.model.clock - began)
            await self.agrees("time passed")
            if self.model.done:
                return
        self.model.pass_time(end - self.model.clock)
        await self.forward_to(now + end - began)

    async def advance_alone(self, duration: timedelta) -> None:
        """Let time pass without a worker; it stops where the agent has something to do."""
        if self.forward or await self.has_a_task():
            return
        model = self.model
        if due := model.next_due(model.clock + duration):
            # Only a little further: later events are for the worker that comes back.
            duration = due - model.clock + timedelta(minutes=3)
        duration = model.reach(duration)
        end = model.clock + duration
        target = await self.stage.skipper.get_current_time(self.agent) + duration
        model.pass_time(duration)
        self.to_pass = end - model.clock
        self.forward = asyncio.create_task(self.forward_to(target))

        async def stopped() -> bool:
            return bool(self.forward and self.forward.done()) or await self.has_a_task()

        await eventually(stopped)
        # The agent is ahead of the model's clock by the real seconds since the question.
        due_at = target - self.to_pass - timedelta(minutes=1)
        if await self.stage.skipper.get_current_time(self.agent) < due_at:
            raise UncertainOrderError
        if not self.to_pass:
            await self.forward
            self.forward = None
        self.met["overdue without a worker" if self.to_pass else "time without a worker"] += 1

    async def has_a_task(self) -> bool:
        """Whether the agent has a task waiting for a worker."""
        described = await self.agent.describe()
        return described.raw_description.HasField("pending_workflow_task")

    async def forward_to(self, moment: datetime) -> None:
        """Skip the agent's time to a moment; a continue-as-new on the way cuts a skip short."""
        while (left := moment - await self.stage.skipper.get_current_time(self.agent)) > timedelta(seconds=1):
            moved = await self.stage.skipper.fast_forward(self.agent, left)
            if not moved and (await self.agent.describe()).status != WorkflowExecutionStatus.RUNNING:
                return

    async def come_back(self) -> None:
        """Start a worker again, and let the remaining time pass."""
        before = (await self.agent.describe()).run_id
        await self.stage.work()
        self.model.come_back()
        if self.forward:
            to_pass, self.to_pass = self.to_pass, timedelta()
            if self.model.reach(to_pass) != to_pass:
                raise UncertainOrderError
            if self.model.next_due(self.model.clock + to_pass):
                # The server may skip ahead before the new history has set its timers.
                raise UncertainOrderError
            await self.forward
            self.forward = None
            self.model.pass_time(to_pass)
            if self.model.opened_now and (await self.agent.describe()).run_id != before:
                # The server skips ahead of the first task of a new history, which may be what asks.
                raise UncertainOrderError

    async def agrees(self, when: str) -> None:
        """Wait until the agent agrees with the model.

        Raises:
            DisagreementError: it does not, or did something irreversible; the message says what.
        """
        deadline = asyncio.get_running_loop().time() + self.desk.patience
        pause = 0.01
        while differences := await self.looked():
            if self.beyond or asyncio.get_running_loop().time() > deadline:
                raise DisagreementError(f"after {when}:\n" + "\n".join(differences))
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.3)

    async def looked(self) -> list[str]:
        try:
            return await self.differences()
        except (RPCError, WorkflowQueryFailedError) as error:
            if not is_passing(error):
                raise
            return [f"the agent did not answer: {error}"]

    async def differences(self) -> list[str]:
        """How the agent differs from the model now, a line each."""
        model = self.model
        view = await self.agent.query("approvals", result_type=ApprovalsView)
        model.adopt({each.question.removesuffix("?"): each.id for each in view.open})
        found = []

        def compare(what: str, is_so: Any, should_be: Any) -> None:
            if is_so != should_be:
                found.append(f"{what}: is {is_so}, should be {should_be}")

        compare(
            "open",
            {
                each.id: (
                    each.question,
                    each.digest,
                    [vote.decision.by for vote in each.votes],
                    each.escalated,
                    each.reminded,
                )
                for each in view.open
            },
            {
                each.id: (
                    f"{each.what}?",
                    each.digest,
                    [vote.by for vote in each.votes],
                    each.escalated,
                    each.reminded,
                )
                for each in model.open.values()
            },
        )
        orders = [(each.key.rsplit(":", 1)[1], each.fence) for each in self.desk.market.orders(self.agent.id)]
        compare("orders", sorted(orders), sorted(model.orders))
        self.beyond |= bool(Counter(orders) - Counter(model.orders))
        fates = sorted((each.decision.id, _fate(each)) for each in view.decisions)
        allowed = [(id, reasons or {"counted"}) for id, reasons in model.judged]
        allowed += [(each.id, {"waiting"}) for each in model.waiting]
        compare("decisions", len(fates), len(allowed))
        for id, fate in fates:
            fitting = next((each for each in allowed if each[0] == id and fate in each[1]), None)
            if fitting:
                allowed.remove(fitting)
            else:
                compare(f"decision {id}", fate, [sorted(each) for other, each in allowed if other == id])
                self.beyond |= fate != "waiting"
        if not found and not model.done:
            state = "paused" if model.paused else "awaiting_approval"
            compare("state", (await self.agent.query("status", result_type=AgentStatus)).state, state)
            compare("attribute", (await self.stage.attributes(self.agent))["AgentState"], state)
        if not found:
            self.met.update(fate for _, fate in fates)
            self.met["order"] += len(orders)
        return found


def policy_of(rules: Rules) -> ApprovalPolicy:
    """The policy equivalent to the model's rules."""
    return ApprovalPolicy(
        approvers=rules.approvers,
        quorum=rules.quorum,
        requester_may_approve=rules.requester_may,
        editable=rules.editable,
        reminders=rules.reminders,
        escalate_to=rules.others,
        escalate_after=rules.escalate_after,
        expires_after=rules.expires_after,
        on_expiry=OnExpiry(rules.on_expiry),
    )


def _fate(record: DecisionRecord) -> str:
    if not record.reason:
        return str(record.status)
    return next((reason for words, reason in REASONS.items() if words in record.reason), record.reason)


def _in_short(words: str) -> str:
    names = ", ".join(re.findall(r"by (\S+) \(", words))
    return words.split()[1] + (f" by {names}" if names else "")
