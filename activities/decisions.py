"""Checks signatures: of decisions, and of links in letters that were used. Keys stay out of workflows."""

from __future__ import annotations

from pydantic import BaseModel, Field
from temporalio import activity

from common.approval.link import AnswerLink, BadLinkError
from common.approval.signing import Authority
from common.approval.types import Decision


class EnvelopeCheck(BaseModel, frozen=True):
    """A decision, and the agent that received it."""

    agent: str
    decision: Decision


class EnvelopeChecked(BaseModel, frozen=True):
    """What is wrong with the envelope (None where it is valid), and the approver's current groups."""

    # Defaults are left out: the answer stands in history with every decision.
    flaw: str | None = Field(None, exclude_if=lambda flaw: flaw is None)
    groups: list[str] = Field(default_factory=list, exclude_if=lambda groups: not groups)


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
        """Say what is wrong with a decision's envelope, and which groups its approver is in."""
        return EnvelopeChecked(
            flaw=self._authority.flaw(check.decision, check.agent),
            groups=self._authority.groups_of(check.decision.by),
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
