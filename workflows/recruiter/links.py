"""Answers that candidates give by a link in a letter: verified, one per letter."""

from __future__ import annotations

from functools import cached_property

from temporalio import workflow

from activities.decisions import AnswerCheck, DecisionChecks
from activities.recruiting.candidacy import MailReading, Says, Stage
from activities.recruiting.choices import on_offer, reading_of_choice
from activities.recruiting.memory import RecruiterMemory
from common.agents.recruiter import RecruiterInput
from common.approval.link import recipient_of
from common.mail import ChoiceAsked, ChoiceStanding, ChoiceView, IncomingMail, MailKind
from workflows.core.agent import QUICK, Agent


class Links:
    """Handles the links that candidates use, and tells the links' pages what to show."""

    def __init__(self, agent: Agent[RecruiterInput, RecruiterMemory]) -> None:
        self._agent = agent

    def candidate(self, mail: IncomingMail) -> str:
        """The id of the candidate who sent a mail; an unknown thread is returned as it is."""
        if mail.kind is not MailKind.CHOICE:
            return mail.thread
        return self._candidates.get(mail.thread, mail.thread)

    @property
    def unread(self) -> set[str]:
        """The candidates with mail that was not read yet."""
        return {self.candidate(mail) for mail in self._agent.mail}

    async def reading(self, mail: IncomingMail) -> tuple[MailReading, str, str] | None:
        """What a used link says, its words, and the name of its letter; None if it is not valid."""
        agent = self._agent
        id = self._candidates.get(mail.thread)
        check = AnswerCheck(agent=workflow.info().workflow_id, recipient=mail.thread, link=mail.link)
        checked = await agent.call(DecisionChecks.check_answer, check, QUICK)
        if id is None or checked.flaw:
            agent.note(f"refused an answer by a link: {checked.flaw or 'it is for no candidate here'}")
            return None
        candidacy = agent.memory.courses[id]
        label = next(
            (each.label for each in on_offer(candidacy, agent.input.slots) if each.name == checked.choice), ""
        )
        letter = _letter(checked.letter)
        if label:
            return reading_of_choice(checked.choice, candidacy), f"(by a link) {label}", letter
        said = f"(by a link that was not on offer any more: {checked.choice})"
        # After the candidacy ended it counts like a mail; before, a person has to find out what was meant.
        ends = {"yes": Says.YES, "no": Says.NO}.get(checked.choice, Says.UNCLEAR)
        return MailReading(says=ends if candidacy.over else Says.UNCLEAR), said, letter

    def standing(self, asked: ChoiceAsked) -> ChoiceView:
        """What the page behind a link should show."""
        input, memory = self._agent.input, self._agent.memory
        view = ChoiceView(standing=ChoiceStanding.PASSED, subject=input.role.title, sender=input.sender)
        candidacy = memory.courses.get(self._candidates.get(asked.recipient, ""))
        if candidacy is None:
            return view
        waiting = {mail.message_id for mail in self._agent.mail if mail.kind is MailKind.CHOICE}
        label = next((e.label for e in on_offer(candidacy, input.slots) if e.name == asked.choice), "")
        if memory.has_seen(_letter(asked.letter)) or asked.message_id in waiting:
            return view.model_copy(update={"standing": ChoiceStanding.USED})
        if candidacy.over and candidacy.stage is not Stage.SILENT:
            return view.model_copy(update={"standing": ChoiceStanding.OVER})
        return view.model_copy(update={"standing": ChoiceStanding.OPEN, "label": label}) if label else view

    @cached_property
    def _candidates(self) -> dict[str, str]:
        """The candidates' ids, by the names that links use for them."""
        info = workflow.info()
        return {
            recipient_of(info.workflow_id, info.first_execution_run_id, id): id
            for id in self._agent.input.people
        }


def _letter(id: str) -> str:
    """The name under which an answered letter is remembered."""
    return f"link:{id}"
