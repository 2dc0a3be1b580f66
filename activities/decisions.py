"""Checks decisions for the gate (signature, groups, the operator's policy), and used links of letters.

Keys stay out of workflows.
"""

from __future__ import annotations

from pydantic import BaseModel, Field
from temporalio import activity

from common.approval.link import AnswerLink, BadLinkError
from common.approval.signing import Authority
from common.approval.stakes import Stakes
from common.approval.types import ApprovalPolicy, Decision, Verdict


class EnvelopeCheck(BaseModel, frozen=True):
    """A decision, the agent that received it, and what is asked.

    `requester` is whom the agent works for, `policy` the agent's own for this request, `stakes` what is at
    stake in the plan as the decision would have it.
    """

    agent: str
    decision: Decision
    requester: str = ""
    policy: ApprovalPolicy = ApprovalPolicy()
    stakes: Stakes = Stakes()


class EnvelopeChecked(BaseModel, frozen=True):
    """What is wrong with the decision (None if it is valid), and the approver's current groups.

    `policy` is the one to judge it by, if the operator asks for more than the agent did.
    """

    # Defaults are left out: the answer stands in history with every decision.
    flaw: str | None = Field(None, exclude_if=lambda flaw: flaw is None)
    groups: list[str] = Field(default_factory=list, exclude_if=lambda groups: not groups)
    policy: ApprovalPolicy | None = Field(None, exclude_if=lambda policy: policy is None)


class AnswerCheck(BaseModel, frozen=True):
    """A link of a letter that was used, the agent that heard of it, and whom it claims to be from."""

    agent: str
    recipient: str
    link: str


class AnswerChecked(BaseModel, frozen=True):
    """The letter that was answered and the choice; or what is wrong with the link."""

    letter: str = ""
    choice: str = ""
    flaw: str = ""


class DecisionChecks:
    """The activities that check signatures with this process's keys."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    @activity.defn(name="check_envelope")
    async def check_envelope(self, check: EnvelopeCheck) -> EnvelopeChecked:
        """Say what is wrong with a decision, which groups its approver is in, and what to judge it by.

        Raises:
            SettingsError: groups or policy cannot be read just now; the decision waits.
        """
        kind, floors = activity.info().workflow_type or "", self._authority.floors
        flaw = self._authority.flaw(check.decision, check.agent)
        if flaw is None and check.decision.verdict is not Verdict.REJECT:
            flaw = floors.flaw(check.stakes, kind, check.requester)
        raised = floors.raised(check.policy, kind, check.requester)
        return EnvelopeChecked(
            flaw=flaw,
            groups=self._authority.groups_of(check.decision.by),
            policy=raised if raised != check.policy else None,
        )

    @activity.defn(name="check_answer")
    async def check_answer(self, check: AnswerCheck) -> AnswerChecked:
        """Say what a link of a letter stands for, or what is wrong with it.

        The gateway has looked whether it had expired; a worker may be late.
        """
        try:
            link = AnswerLink.read_even_expired(check.link, self._authority.signer)
        except BadLinkError:
            return AnswerChecked(flaw="it is not signed by us")
        if (link.agent, link.recipient) != (check.agent, check.recipient):
            return AnswerChecked(flaw="it is for somebody else")
        return AnswerChecked(letter=link.letter, choice=link.choice)
