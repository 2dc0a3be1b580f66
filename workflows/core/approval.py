"""Asking people: requests that wait side by side, reminded, escalated, revised, each ended by its quorum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ValidationError
from temporalio import workflow

from activities.calendars import Calendars, MomentsRequest
from activities.decisions import DecisionChecks, EnvelopeCheck
from common.agents.agent import AgentInput, AgentState
from common.approval.types import (
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
from common.notices.types import NoticeEvent
from common.temporal import search_attributes
from workflows.core import gate
from workflows.core.calls import QUICK
from workflows.core.gate import Gate, Outcome, Plan, Step
from workflows.core.hibernate import Sleeper
from workflows.core.premises import Premise, state
from workflows.core.visible import Wait

Premises = Callable[[Plan], Sequence[Premise]]


class Asker(Sleeper):
    """The part of an agent that asks for approval."""

    def __init__(self, input: AgentInput) -> None:
        super().__init__(input)
        self._gate = Gate(self._kept.approvals)
        # Requests that were open when history started afresh; the agent comes back to each.
        self._left_open = list(self._gate.memory.open)
        # What each open request rests on.
        self._rests_on: dict[str, Sequence[Premise]] = {}
        # An answer that the agent holds while it asks something else is in no memory to carry over.
        self._asking, self._answered_beside = 0, False

    async def ask(
        self,
        question: str,
        plan: Plan,
        policy: ApprovalPolicy,
        evidence: Sequence[str] = (),
        premises: Premises[Plan] = lambda plan: (),
        *,
        memory: BaseModel | None = None,
    ) -> Outcome[Plan]:
        """Ask people about exactly this plan, and sleep until the answer, however long that takes.

        Several may be open at once: each `ask` waits for its own.

        Args:
            question: what is asked, in words.
            plan: what would be done; its digest is what people approve.
            policy: who may decide, how many must, by when.
            evidence: lines that help to decide.
            premises: what a plan rests on, for those who decide to see how it stands now.
            memory: what to carry over where history grows long meanwhile. The agent must come back to this
                very question and plan then, and takes up where it was. Without it the wait stays one history,
                and so it does once one of several that were open at once is answered.

        Returns:
            The outcome; where approved, with the plan to act on. Expired only where the policy gives up.
        """
        self._asking += 1
        try:
            draft = gate.first_request(question, plan, policy, evidence, self.owner)
            request = self._taken_up(question, plan) or await self._open(draft)
            outcome = await self._ended(request, type(plan), premises, memory)
            while following := gate.follow_up(outcome):
                outcome = await self._ended(await self._open(following), type(plan), premises, memory)
        finally:
            self._asking -= 1
        self._answered_beside |= self._asking > 0
        await self._while_paused()
        return outcome

    async def _ended(
        self, request: ApprovalRequest, kind: type[Plan], premises: Premises[Plan], memory: BaseModel | None
    ) -> Outcome[Plan]:
        """How an open request ends; it is closed then, and those hear of it who were told of it."""
        self._rests_on[request.id] = premises(kind.model_validate(request.plan))
        self._gate.update(request.id, premises=tuple(map(state, self._rests_on[request.id])))
        outcome = await self._outcome(request.id, kind, memory)
        late = self._gate.close(request.id, outcome.words, workflow.now())
        self.note(outcome.words, digest=request.digest, request=request.id)
        for record in late:
            self._note_refusal(record)
        await self._settle(outcome.request, outcome.words)
        return outcome

    def _taken_up(self, question: str, plan: BaseModel) -> ApprovalRequest | None:
        """The request for this question that stayed open when history started afresh."""
        for id in self._left_open:
            request = self._gate.memory.open[id]
            if (request.question, request.origin) == (question, digest(plan)):
                self._left_open.remove(id)
                return request
        return None

    async def _open(self, draft: ApprovalRequest) -> ApprovalRequest:
        """Open `draft` under an id of its own, its durations counted from now."""
        self._gate.memory.asked += 1
        id = f"{self._node}-{self._gate.memory.asked}"
        request = await self._timed(draft.model_copy(update={"id": id, "reminded": 0}))
        told = await self._tell_people(NoticeEvent.ASKED, _in_question(request, "asked"), request)
        if told and told.courier is not None:
            self._kept.couriers[id] = told.courier
        self._gate.open(request)
        self.note(f"asks: {request.question}", request=id, digest=request.digest)
        return request

    async def _timed(self, request: ApprovalRequest) -> ApprovalRequest:
        policy, now = request.policy, workflow.now()
        durations = [policy.expires_after, policy.escalate_after, *policy.reminders]
        expires_at, escalate_at, *reminders = await self._moments(policy, now, durations)
        moments = {"expires_at": expires_at, "escalate_at": escalate_at, "asked_at": now}
        remind_at = tuple(sorted(at for at in reminders if at))
        return request.model_copy(update={**moments, "remind_at": remind_at})

    async def _settle(self, request: ApprovalRequest, words: str) -> None:
        """Have those told how a request ended who want to know."""
        courier = self._kept.couriers.pop(request.id, None)
        if courier is not None:
            await self._tell_people(NoticeEvent.DECIDED, words, request, courier)

    async def _moments(
        self, policy: ApprovalPolicy, start: datetime, durations: Sequence[timedelta | None]
    ) -> list[datetime | None]:
        """Each duration as a moment after `start`; in business hours an activity tells them."""
        given = [each for each in durations if each is not None]
        if policy.business_hours is None or not given:
            return [None if each is None else start + each for each in durations]
        request = MomentsRequest(hours=policy.business_hours, start=start, after=given)
        moments = iter((await self._execute(Calendars.moments, request, QUICK)).at)
        return [None if each is None else next(moments) for each in durations]

    async def _outcome(self, id: str, kind: type[Plan], memory: BaseModel | None) -> Outcome[Plan]:
        """Sleep until the open request is decided, reminding and escalating on the way."""
        request = self._gate.memory.open[id]
        wait = Wait(
            AgentState.AWAITING_APPROVAL,
            search_attributes.waiting_for_approval(id, request.digest),
            request.expires_at,
            request.deciders,
        )
        with self._waiting(wait):
            while True:
                step, due = gate.next_step(request)
                await self._until(due, lambda: bool(self._gate.next_decision(id)) or self._may_carry(memory))
                # First of all: of decisions that come one upon the other there would be no end to wait for.
                if memory is not None and self._may_carry(memory):
                    await self.carry_over(memory)
                decision, now = self._gate.next_decision(id), workflow.now()
                if decision and not gate.precedes(step, due, decision, now):
                    outcome = await self._judged(decision, request, kind)
                    if outcome is not None:
                        return outcome
                    request = self._gate.memory.open[id]
                elif due is not None and due <= now:
                    if step is Step.EXPIRE:
                        plan = kind.model_validate(request.plan)
                        return Outcome(OutcomeVerdict.EXPIRED, request, plan)
                    request = await self._climb(request, step)
                    wait.approvers = request.deciders
                self._show_all()

    def _may_carry(self, memory: BaseModel | None) -> bool:
        # Not with a flood that has come already: what is carried over has its limit in bytes.
        few = len(self._gate.memory.waiting) <= gate.MAX_WAITING
        return few and self._has_grown(memory) and self._is_at_rest() and not self._answered_beside

    async def _climb(self, request: ApprovalRequest, step: Step) -> ApprovalRequest:
        """Remind people or escalate to others; the request as it stands then."""
        if step is Step.ESCALATE:
            request = self._gate.update(request.id, escalated=True)
            event, words = NoticeEvent.ESCALATION, f"escalated to {', '.join(request.policy.escalate_to)}"
        else:
            # Those that fell due while no worker ran are one reminder, not a volley.
            reminded = sum(at <= workflow.now() for at in request.remind_at)
            request = self._gate.update(request.id, reminded=reminded)
            event, words = NoticeEvent.REMINDER, f"reminder {reminded} of {len(request.remind_at)}"
        self.note(f"{words}: {request.question}", request=request.id)
        await self._tell_people(event, _in_question(request, words), request)
        return request

    async def _judged(
        self, decision: Decision, request: ApprovalRequest, kind: type[Plan]
    ) -> Outcome[Plan] | None:
        """What a decision makes of its request: an end, one vote more, or nothing but a record."""
        check = EnvelopeCheck(agent=workflow.info().workflow_id, decision=decision)
        # Not through `call`: a paused agent judges decisions too, and goes on only when resumed.
        checked = await self._execute(DecisionChecks.check_envelope, check, QUICK)
        # Only now: until its record stands, it must not be missing from what is carried over.
        self._gate.take(request.id)
        plan = kind.model_validate(request.plan)
        reason = gate.refusal(decision, request, workflow.now(), checked.flaw, checked.groups)
        if reason is None and decision.edits:
            plan, reason = _edited(plan, request, decision)
        record = self._gate.record(decision, workflow.now(), reason or "")
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
        self.note(f"{request.standing}: yes {in_words(decision)}", request=request.id)
        return None

    def _note_refusal(self, record: DecisionRecord) -> None:
        which = "a" if record.signed else "an unsigned"
        self.note(f"refused {which} decision by {record.decision.by}: {record.reason}", id=record.decision.id)

    @workflow.query
    def approvals(self) -> ApprovalsView:
        """Open requests, and every decision with what became of it."""
        memory = self._gate.memory
        waiting = [
            DecisionRecord.of(each, DecisionStatus.WAITING, each.at or workflow.now())
            for each in memory.waiting
        ]
        return ApprovalsView(open=list(memory.open.values()), decisions=memory.records + waiting)


def _in_question(request: ApprovalRequest, words: str) -> str:
    deciders = ", ".join(request.deciders)
    return f"{request.question} ({words}; {request.standing}; may decide: {deciders})"


def _edited(plan: Plan, request: ApprovalRequest, decision: Decision) -> tuple[Plan, str | None]:
    """The plan with the edits, or as it was and why they do not fit it."""
    try:
        return type(plan).model_validate({**request.plan, **decision.edits}), None
    except ValidationError as error:
        return plan, f"the edits do not fit the plan: {error.errors(include_url=False)[0]['msg']}"
    except Exception as error:
        # Whatever else a plan's own rules raise on hostile edits; a raise here would wedge the agent.
        return plan, f"the edits do not fit the plan: {type(error).__name__}"
