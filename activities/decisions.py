"""Checks decisions (signature, groups, the operator's policy) and the answer links that people clicked.

These are activities, so that keys stay out of workflows.
"""

from __future__ import annotations

from pydantic import BaseModel, Field
from temporalio import activity

from common.approval.link import AnswerLink, BadLinkError
from common.approval.signing import Authority
from common.approval.stakes import Stakes
from common.approval.types import ApprovalPolicy, Decision, Verdict


class EnvelopeCheck(BaseModel, frozen=True):
    """A decision, the agent that received it, and the request it answers.

    `requester` is whom the agent works for, `policy` the agent's own policy for this request, and `stakes`
    what is at stake in the plan with the decision's edits.
    """

    agent: str
    decision: Decision
    requester: str = ""
    policy: ApprovalPolicy = ApprovalPolicy()
    stakes: Stakes = Stakes()


class EnvelopeChecked(BaseModel, frozen=True):
    """What is wrong with the decision (None if it is valid), and the approver's current groups.

    `policy` is set if the operator's policy is stricter than the agent's, and is then the one that counts.
    """

    # Defaults are left out, because history holds this result for every decision.
    flaw: str | None = Field(None, exclude_if=lambda flaw: flaw is None)
    groups: list[str] = Field(default_factory=list, exclude_if=lambda groups: not groups)
    policy: ApprovalPolicy | None = Field(None, exclude_if=lambda policy: policy is None)


class AnswerCheck(BaseModel, frozen=True):
    """A clicked answer link, the agent it was passed to, and the recipient who is said to have clicked it."""

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
        """Say what is wrong with a decision, its approver's groups, and which policy to judge it by.

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
        """Say which letter and choice an answer link stands for, or what is wrong with it.

        The gateway has already checked that it had not expired; this may run much later.
        """
        try:
            link = AnswerLink.read_even_expired(check.link, self._authority.signer)
        except BadLinkError:
            return AnswerChecked(flaw="it is not signed by us")
        if (link.agent, link.recipient) != (check.agent, check.recipient):
            return AnswerChecked(flaw="it is for somebody else")
        return AnswerChecked(letter=link.letter, choice=link.choice)
