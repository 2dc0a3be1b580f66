"""Asks people for approval: concurrent requests with reminders, escalation, revisions and a quorum."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import BaseModel
from temporalio import workflow

from activities.decisions import DecisionChecks, EnvelopeCheck
from common.agents.agent import AgentState, Carried
from common.agents.fork import caveats
from common.approval.stakes import Stakes, stakes_of
from common.approval.types import (
    PREMISES_FRESH_FOR,
    ApprovalPolicy,
    ApprovalRequest,
    ApprovalsView,
    Decision,
    DecisionRecord,
    DecisionStatus,
    OutcomeVerdict,
    Verdict,
    in_words,
)
from common.digest import digest
from common.errors import permanent
from common.notices.types import NoticeEvent, Told
from common.temporal import search_attributes
from workflows.core import gate
from workflows.core.answers import Answers
from workflows.core.calls import QUICK, Calls
from workflows.core.deadlines import timed
from workflows.core.display import Display, Wait, owner
from workflows.core.gate import DueStep, Gate, Outcome, Plan
from workflows.core.history import History, wait_until
from workflows.core.notify import Notifier
from workflows.core.preconditions import Preconditions
from workflows.core.premises import Premise, fetched_all, unfetched_state

Premises = Callable[[Plan], Sequence[Premise]]

# How often a request's premises may be fetched for display in one history. Otherwise somebody who keeps
# reloading a page could make history grow without bound.
MAX_REFRESHES = 50


@dataclass(eq=False)
class Approvals:
    """Asks people on behalf of one agent, and remembers what they answered."""

    _carried: Carried
    _display: Display
    _calls: Calls
    _gate: Gate
    _answers: Answers
    _history: History
    _notifier: Notifier
    _preconditions: Preconditions
    # The premises of each open request, and when they were fetched for display.
    _rests_on: dict[str, Sequence[Premise]] = field(default_factory=dict)
    _refreshed: dict[str, list[datetime]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Requests that were open when history started afresh; the agent comes back to each.
        self._unresumed = list(self._gate.memory.open)

    async def ask(
        self,
        question: str,
        plan: Plan,
        policy: ApprovalPolicy,
        evidence: Sequence[str] = (),
        premises: Premises[Plan] = lambda plan: (),
        *,
        resumable: bool = True,
    ) -> Outcome[Plan]:
        """See `Agent.ask`. A question that is not `resumable` keeps history from starting afresh."""
        self._answers.commit()
        request = self._resumed(question, plan)
        if request is None and (answer := self._answers.take(question, plan)) is not None:
            outcome = Outcome.of(answer, type(plan))
        else:
            if request is None:
                if not self._history.remembers:
                    await self._close_unresumed()
                await self._preconditions.met(resumable=resumable)
            draft = gate.first_request(question, plan, policy, (*caveats(), *evidence), owner())
            self._answers.forget(question, draft.origin)
            id = request.id if request else await self._open(draft, type(plan))
            # The agent may sleep here for days: keep only one copy of the question in memory.
            del draft, request
            outcome = await self._ended(id, type(plan), premises, resumable)
            while following := gate.follow_up(outcome):
                await self._preconditions.met(resumable=False)
                id = await self._open(following, type(plan))
                outcome = await self._ended(id, type(plan), premises, resumable)
        self._answers.give(outcome.answer)
        await self._display.while_paused(self._history.wait if resumable else workflow.wait_condition)
        self._calls.has_begun = True
        return outcome

    def drop_remembered_answers(self) -> None:
        """Note that the agent has slept: its memory reflects the answers it got."""
        self._answers.drop_remembered()

    async def carry_over(self, now: bool) -> None:
        """See `Agent.carry_over`."""
        self.drop_remembered_answers()
        while now or self._history.should_start_afresh:
            if self._history.at_rest():
                # Nothing may run between this check and the end: a call begun in between would be lost.
                self._history.start_afresh()
            await workflow.wait_condition(self._history.at_rest)

    async def withdraw(self, plan: BaseModel, why: str) -> None:
        """See `Agent.withdraw`."""
        for request in list(self._gate.memory.open.values()):
            if request.origin == digest(plan):
                await self._close_unanswered(request, f"withdrawn: {why}")

    async def tell_unanswered(self, why: str) -> None:
        """Tell the people who were asked that the agent has ended without their answer."""
        for request in list(self._gate.memory.open.values()):
            await self._tell_settled(request, f"{request.id}: not answered, {why}")

    def decide(self, decision: Decision) -> None:
        """Handle a decision that arrived as a signal."""
        record = self._gate.offer(decision, workflow.now())
        if record is not None:
            self._note_refusal(record)

    def allows(self, outcome: Outcome[Plan]) -> bool:
        """Whether `outcome` is an approval that still stands; one given elsewhere is left to `is_own`."""
        words = outcome.words
        return outcome.approved and self._gate.memory.closed.get(outcome.request.id, words) == words

    def is_own(self, outcome: Outcome[Plan]) -> bool:
        """Whether `outcome` was given to this agent, and not to the one it was forked from."""
        return outcome.request.id in self._gate.memory.closed

    def void(self, outcome: Outcome[Plan], why: str) -> None:
        """Make an approval void."""
        self._gate.close(outcome.request.id, f"void: {why}", workflow.now())

    def forget(self, outcome: Outcome[Plan]) -> None:
        """Note that `outcome` has been acted on: asking the same question again is a new request."""
        self._answers.forget(outcome.request.question, outcome.request.origin)

    def view(self) -> ApprovalsView:
        """The answer to the query `approvals`."""
        memory = self._gate.memory
        waiting = [
            DecisionRecord.of(each, DecisionStatus.WAITING, each.at or workflow.now())
            for each in self._gate.waiting
        ]
        return ApprovalsView(
            open=list(memory.open.values()), decisions=memory.records + waiting, closed=memory.closed
        )

    async def refresh(self, request_id: str) -> ApprovalRequest | None:
        """Fetch the premises of an open request, for display; None if it was decided meanwhile."""
        self._refreshed.setdefault(request_id, []).append(workflow.now())
        found = await fetched_all(self._rests_on[request_id], self._calls)
        if request_id not in self._gate.memory.open:
            return None
        states = tuple(each.state for each in found)
        return self._gate.update(request_id, premises=states, checked_at=workflow.now())

    def check_refresh(self, request_id: str) -> None:
        """Raise if the premises of a request may not be fetched now.

        Raises:
            ApplicationError: type `NotLooked`, with the reason.
        """
        times = self._refreshed.get(request_id, [])
        if request_id not in self._gate.memory.open or not self._rests_on.get(request_id):
            raise permanent("NotLooked", f"{request_id} is not open, or rests on nothing")
        if len(times) >= MAX_REFRESHES:
            raise permanent("NotLooked", f"{request_id} was looked at {MAX_REFRESHES} times")
        if times and workflow.now() < times[-1] + PREMISES_FRESH_FOR:
            raise permanent("NotLooked", f"{request_id} was looked at just now")

    def _resumed(self, question: str, plan: BaseModel) -> ApprovalRequest | None:
        """The request for this question that was open when history started afresh; None if there is none."""
        for id in self._unresumed:
            request = self._gate.memory.open[id]
            if (request.question, request.origin) == (question, digest(plan)):
                self._unresumed.remove(id)
                return request
        return None

    async def _close_unresumed(self) -> None:
        """Close requests left open by the previous history: `run` asks something else instead."""
        for id in self._unresumed:
            await self._close_unanswered(self._gate.memory.open[id], "asked anew")
        self._unresumed = []

    async def _close_unanswered(self, request: ApprovalRequest, words: str) -> None:
        self._gate.close(request.id, words, workflow.now())
        self._display.note(f"{request.question} {words}", request=request.id)
        await self._tell_settled(request, words)

    async def _open(self, draft: ApprovalRequest, kind: type[BaseModel]) -> str:
        """Open `draft` under a new id, its durations counted from now; return the id."""
        self._gate.memory.asked += 1
        # People type the id, and these characters are separators in `AgentWaitingFor`.
        node = re.sub(r"[\s;]+", "-", self._display.node_name)
        id = f"{node}-{self._gate.memory.asked}"
        request = await timed(draft.under(None).model_copy(update={"id": id, "reminded": 0}), self._calls)
        stakes = stakes_of(kind.model_validate(request.plan))
        told = await self._tell_asked(NoticeEvent.ASKED, request, "asked", stakes)
        if told is not None:
            request = request.under(told.policy).warned(told.gap)
        self._gate.open(request)
        self._display.note(f"asks: {request.question}", request=id, digest=request.digest)
        await self._notifier.report_open_questions(list(self._gate.memory.open.values()))
        return id

    async def _ended(
        self, id: str, kind: type[Plan], premises: Premises[Plan], resumable: bool
    ) -> Outcome[Plan]:
        """Wait for an open request to end, close it, and tell those who were notified of it."""
        self._rests_on[id] = premises(kind.model_validate(self._gate.memory.open[id].plan))
        self._gate.update(id, premises=tuple(map(unfetched_state, self._rests_on[id])))
        outcome = await self._outcome(id, kind, resumable)
        late = self._gate.close(id, outcome.words, workflow.now())
        self._display.note(outcome.words, digest=outcome.request.digest, request=id)
        for record in late:
            self._note_refusal(record)
        await self._tell_settled(outcome.request, outcome.words)
        return outcome

    async def _tell_asked(
        self, event: NoticeEvent, request: ApprovalRequest, words: str, stakes: Stakes | None = None
    ) -> Told | None:
        """Notify those who may decide, and remember which messages have to be told the outcome."""
        told = await self._notifier.tell(event, request.told(words), request, stakes=stakes)
        if told and told.courier is not None:
            self._carried.couriers.setdefault(request.id, []).append(told.courier)
        return told

    async def _tell_settled(self, request: ApprovalRequest, words: str) -> None:
        """Tell how a request ended to those who were notified of it."""
        couriers = self._carried.couriers.pop(request.id, None)
        if couriers is not None:
            await self._notifier.tell(NoticeEvent.DECIDED, words, request, couriers)
        await self._notifier.report_open_questions(list(self._gate.memory.open.values()))

    async def _outcome(self, id: str, kind: type[Plan], resumable: bool) -> Outcome[Plan]:
        """Sleep until the open request is decided, reminding and escalating on the way."""
        request = self._gate.memory.open[id]
        wait = Wait(
            AgentState.AWAITING_APPROVAL,
            search_attributes.waiting_for_approval(id, request.digest),
            request.expires_at,
            request.deciders,
        )
        with self._display.waiting(wait):
            while True:
                step, due = gate.next_step(request)
                await wait_until(
                    due,
                    lambda: bool(self._gate.next_decision(id)) or (resumable and self._history.is_due()),
                )
                # Before judging: under a steady stream of decisions, a later moment would never come.
                if resumable and self._history.is_due():
                    self._history.start_afresh()
                decision, now = self._gate.next_decision(id), workflow.now()
                if decision and not gate.precedes(step, due, decision, now):
                    outcome = await self._judged(decision, request, kind)
                    if outcome is not None:
                        return outcome
                    request = self._gate.memory.open[id]
                    wait.approvers = request.deciders
                elif due is not None and due <= now:
                    if step is DueStep.EXPIRE:
                        plan = kind.model_validate(request.plan)
                        return Outcome(OutcomeVerdict.EXPIRED, request, plan)
                    request = await self._remind_or_escalate(request, step)
                    wait.approvers = request.deciders
                self._display.show()

    async def _remind_or_escalate(self, request: ApprovalRequest, step: DueStep) -> ApprovalRequest:
        """Remind people or escalate to others; return the updated request."""
        if step is DueStep.ESCALATE:
            request = self._gate.update(request.id, escalated=True)
            event, words = NoticeEvent.ESCALATION, f"escalated to {', '.join(request.policy.escalate_to)}"
        else:
            # Reminders that fell due while no worker ran are sent as one, not as a volley.
            reminded = sum(at <= workflow.now() for at in request.remind_at)
            request = self._gate.update(request.id, reminded=reminded)
            event, words = NoticeEvent.REMINDER, f"reminder {reminded} of {len(request.remind_at)}"
        self._display.note(f"{words}: {request.question}", request=request.id)
        told = await self._tell_asked(event, request, words)
        return self._under(request, told.policy) if told and told.policy else request

    async def _judged(
        self, decision: Decision, request: ApprovalRequest, kind: type[Plan]
    ) -> Outcome[Plan] | None:
        """Judge a decision, which ends its request, adds a vote, or is only recorded; None if still open."""
        asked = kind.model_validate(request.plan)
        plan, misfit = gate.edited(asked, request, decision) if decision.edits else (asked, None)
        check = EnvelopeCheck(
            agent=workflow.info().workflow_id,
            decision=decision,
            requester=request.requester,
            policy=request.own_policy or request.policy,
            stakes=stakes_of(plan),
        )
        # Not through `call`, which would wait for a resume: a paused agent judges decisions too.
        checked = await self._calls.execute(DecisionChecks.check_envelope, check, QUICK)
        # Not before the check: a fresh history must find the decision in the queue until it is recorded.
        self._gate.take(request.id)
        deciders = request.deciders
        request = self._under(request, checked.policy)
        reason = gate.refusal(decision, request, workflow.now(), checked.flaw, checked.groups) or misfit
        if reason is not None:
            plan = asked
        record = self._gate.record(decision, workflow.now(), reason or "")
        if set(request.deciders) - set(deciders):
            # People who now have to decide were never asked. Not before the record, as this awaits.
            await self._tell_asked(NoticeEvent.REMINDER, request, "the operator's policy has changed")
        if record.status is not DecisionStatus.COUNTED:
            self._note_refusal(record)
            return None
        if decision.verdict is Verdict.REJECT:
            return Outcome(OutcomeVerdict.REJECTED, request, plan, decision)
        if decision.verdict is Verdict.REVISE and request.policy.quorum > 1:
            return Outcome(OutcomeVerdict.REVISED, request, plan, decision)
        votes = (*(() if decision.edits else request.votes), gate.vote_of(decision, request))
        request = self._gate.update(request.id, votes=votes)
        if len(votes) >= request.policy.quorum:
            return Outcome(OutcomeVerdict.APPROVED, request, plan, decision)
        self._display.note(f"{request.standing}: yes {in_words(decision)}", request=request.id)
        return None

    def _under(self, request: ApprovalRequest, policy: ApprovalPolicy | None) -> ApprovalRequest:
        """The open request, updated to what the operator's policy requires by now."""
        found = request.under(policy)
        if found.policy == request.policy:
            return request
        self._display.note(found.floor or "the operator's policy asks for nothing more", request=request.id)
        return self._gate.update(request.id, policy=found.policy, own_policy=found.own_policy)

    def _note_refusal(self, record: DecisionRecord) -> None:
        which = "a" if record.signed else "an unsigned"
        told = f"refused {which} decision by {record.decision.by}: {record.reason}"
        self._display.note(told, id=record.decision.id)
