"""Asking a human: one request at a time per `ask`, and a sleep until it is decided."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from temporalio import workflow

from activities.decisions import DecisionChecks, EnvelopeCheck
from common import search_attributes
from common.agent import AgentInput, AgentState
from common.approval import (
    ApprovalPolicy,
    ApprovalRequest,
    ApprovalsView,
    Decision,
    DecisionRecord,
    DecisionStatus,
    OnExpiry,
    OutcomeVerdict,
    Verdict,
)
from common.digest import digest
from workflows.core.calls import QUICK
from workflows.core.gate import Gate, Outcome, Plan, refusal
from workflows.core.hibernate import Sleeper
from workflows.core.visible import Wait


class Asker(Sleeper):
    """The part of an agent that asks for approval."""

    def __init__(self, input: AgentInput) -> None:
        super().__init__(input)
        self._gate = Gate(self._kept.approvals)

    async def ask(
        self, question: str, plan: Plan, policy: ApprovalPolicy, evidence: Sequence[str] = ()
    ) -> Outcome[Plan]:
        """Ask a human about exactly this plan, and sleep until the answer, however long that takes.

        Returns:
            The outcome; where approved, with the plan to act on. Expired only where the policy gives up.
        """
        while True:
            request = self._new_request(question, plan, policy, evidence)
            outcome = await self._decided(request, plan)
            self._gate.close(request.id, outcome.words)
            self.note(outcome.words, digest=request.digest, request=request.id)
            if outcome.verdict is OutcomeVerdict.EXPIRED and policy.on_expiry is OnExpiry.ASK_AGAIN:
                continue
            await self._while_paused()
            return outcome

    def _new_request(
        self, question: str, plan: BaseModel, policy: ApprovalPolicy, evidence: Sequence[str]
    ) -> ApprovalRequest:
        shown = plan.model_dump(mode="json")
        now = workflow.now()
        self._gate.memory.asked += 1
        request = ApprovalRequest(
            id=f"{self._node}-{self._gate.memory.asked}",
            question=question,
            plan=shown,
            digest=digest(shown),
            evidence=tuple(evidence),
            policy=policy,
            requester=self.owner,
            asked_at=now,
            expires_at=now + policy.expires_after if policy.expires_after else None,
        )
        self._gate.open(request)
        self.note(f"asks: {question}", request=request.id, digest=request.digest)
        return request

    async def _decided(self, request: ApprovalRequest, plan: Plan) -> Outcome[Plan]:
        wait = Wait(
            AgentState.AWAITING_APPROVAL,
            search_attributes.waiting_for_approval(request.id, request.digest),
            request.expires_at,
            request.policy.approvers,
        )
        with self._waiting(wait):
            while await self._until(request.expires_at, lambda: self._gate.has_decision(request.id)):
                decision = self._gate.take(request.id)
                edited, reason = await self._judge(decision, request, plan)
                record = self._gate.record(decision, workflow.now(), reason or "")
                if record.status is DecisionStatus.COUNTED:
                    rejected = decision.verdict is Verdict.REJECT
                    verdict = OutcomeVerdict.REJECTED if rejected else OutcomeVerdict.APPROVED
                    return Outcome(verdict, request, edited, decision)
                self._note_refusal(record)
        return Outcome(OutcomeVerdict.EXPIRED, request, plan)

    async def _judge(
        self, decision: Decision, request: ApprovalRequest, plan: Plan
    ) -> tuple[Plan, str | None]:
        check = EnvelopeCheck(agent=workflow.info().workflow_id, decision=decision)
        # Not through `call`: a paused agent judges decisions too, and goes on only when resumed.
        envelope = await self._execute(DecisionChecks.check_envelope, check, QUICK)
        reason = refusal(decision, request, workflow.now(), envelope.flaw)
        if reason is None and decision.edits:
            try:
                return type(plan).model_validate({**request.plan, **decision.edits}), None
            except ValidationError as error:
                reason = f"the edits do not fit the plan: {error.errors(include_url=False)[0]['msg']}"
        return plan, reason

    def _note_refusal(self, record: DecisionRecord) -> None:
        signed = "" if record.signed else "unsigned "
        self.note(
            f"refused a {signed}decision by {record.decision.by}: {record.reason}", id=record.decision.id
        )

    @workflow.query
    def approvals(self) -> ApprovalsView:
        """Open requests, and every decision with what became of it."""
        memory = self._gate.memory
        waiting = [
            DecisionRecord(
                decision=each,
                status=DecisionStatus.WAITING,
                signed=each.signature is not None,
                at=each.at or workflow.now(),
            )
            for each in memory.waiting
        ]
        return ApprovalsView(open=list(memory.open.values()), decisions=memory.records + waiting)
