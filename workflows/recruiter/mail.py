"""The recruiter's mail: every mail is read as one of a few answers, and advances its own candidacy."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.recruiting.candidacy import JudgedReading, MailReading, Says
from activities.recruiting.memory import RecruiterMemory
from activities.recruiting.understanding import asked_last, reading_of
from common.agents.recruiter import RecruiterInput
from common.mail import IncomingMail, MailKind
from workflows.core.agent import Agent, cause_of
from workflows.recruiter.links import Links
from workflows.recruiter.questions import Questions

# How many mails are read in parallel.
READ_AT_ONCE = 20


@dataclass(frozen=True)
class _Heard:
    """What one mail, or one answer by a link, says. `name` identifies it if it arrives again."""

    candidate: str
    reading: MailReading
    text: str
    name: str


class Mail:
    """Reads incoming mail. Whatever a mail says, it can only advance its own candidacy."""

    def __init__(
        self, agent: Agent[RecruiterInput, RecruiterMemory], questions: Questions, links: Links
    ) -> None:
        self._agent = agent
        self._questions = questions
        self._links = links

    async def read(self) -> None:
        """Read every mail, and act on what it says."""
        agent = self._agent
        while batch := agent.mail[:READ_AT_ONCE]:
            heard = await asyncio.gather(*map(self._hear, batch))
            # Not earlier: a fresh history must still find mails that are being read.
            del agent.mail[: len(batch)]
            for mail, each in zip(batch, heard, strict=True):
                if each is not None and agent.memory.is_new(each.name):
                    await self._take(mail, each)

    async def _hear(self, mail: IncomingMail) -> _Heard | None:
        agent, candidate = self._agent, self._links.candidate(mail)
        if mail.kind is MailKind.CHOICE:
            chosen = await self._links.reading(mail)
            return None if chosen is None else _Heard(candidate, *chosen)
        if candidate not in agent.memory.courses:
            agent.note(f"mail from {mail.sender[:100]} for no candidate here; nothing comes of it")
            return None
        return _Heard(candidate, await self._reading(mail), mail.text or mail.subject, mail.message_id)

    async def _reading(self, mail: IncomingMail) -> MailReading:
        agent = self._agent
        candidacy = agent.memory.courses[mail.thread]
        offered = [agent.input.slots[place] for place in candidacy.offered]
        answers = asked_last(candidacy, agent.input.questions)
        asked = reading_of(mail, offered, agent.input.people[mail.thread].email, answers)
        if isinstance(asked, MailReading):
            return asked
        try:
            reply = await agent.think(asked)
            reading = JudgedReading.model_validate(reply.value)
            read_as = f"{reading.read_as} (by {reply.model})" if reading.read_as else ""
            return reading.model_copy(update={"read_as": read_as})
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise
            agent.note(f"{mail.thread}: the mail was not understood: {cause_of(error)}")
            return MailReading(says=Says.UNCLEAR)

    async def _take(self, mail: IncomingMail, heard: _Heard) -> None:
        agent, id, reading = self._agent, heard.candidate, heard.reading
        candidacy = agent.memory.courses[id]
        wrote = candidacy.wrote
        told = candidacy.apply(
            reading, heard.text, workflow.now(), agent.input.answer_within, slots=agent.input.slots
        )
        if mail.kind is not MailKind.CHOICE:
            candidacy.last = mail.message_id[:250]
        agent.note(
            f"{id}: {reading.says}; now {candidacy.stage.replace('_', ' ')}",
            attachments=len(mail.attachments),
        )
        if candidacy.wrote != wrote:
            await self._questions.withdraw_reply(id, "the candidate wrote again")
        if told:
            await agent.tell_people(f"{id} {told}")
