"""The recruiter's mail: every letter is taken for one of a few things, and moves its own candidate on."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.recruiting.candidacy import MailReading, Says
from activities.recruiting.memory import RecruiterMemory
from activities.recruiting.understanding import reading_of
from common.agents.recruiter import RecruiterInput
from common.mail import IncomingMail
from workflows.core.agent import Agent, cause_of
from workflows.recruiter.questions import Questions

# Mails that are read side by side.
READ_AT_ONCE = 20


class Mail:
    """Reads what came in. Whatever a mail says, it can only move its own candidacy."""

    def __init__(self, agent: Agent[RecruiterInput, RecruiterMemory], questions: Questions) -> None:
        self._agent = agent
        self._questions = questions

    async def read(self) -> None:
        """Take every mail for what it says."""
        agent = self._agent
        while batch := agent.mail[:READ_AT_ONCE]:
            readings = await asyncio.gather(*map(self._reading, batch))
            # Only now: a mail that is read half-way must not be missing from what is carried over.
            del agent.mail[: len(batch)]
            for mail, reading in zip(batch, readings, strict=True):
                if reading is not None and agent.memory.is_new(mail.message_id):
                    await self._take(mail, reading)

    async def _reading(self, mail: IncomingMail) -> MailReading | None:
        agent = self._agent
        candidacy = agent.memory.courses.get(mail.thread)
        if candidacy is None:
            agent.note(f"mail from {mail.sender[:100]} for no candidate here; nothing comes of it")
            return None
        offered = [agent.input.slots[place] for place in candidacy.offered]
        asked = reading_of(mail, offered, agent.input.people[mail.thread].email)
        if isinstance(asked, MailReading):
            return asked
        try:
            return MailReading.model_validate((await agent.think(asked)).value)
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise
            agent.note(f"{mail.thread}: the mail was not understood: {cause_of(error)}")
            return MailReading(says=Says.UNCLEAR)

    async def _take(self, mail: IncomingMail, reading: MailReading) -> None:
        agent = self._agent
        candidacy = agent.memory.courses[mail.thread]
        wrote = candidacy.wrote
        text = mail.text or mail.subject
        told = candidacy.take(
            reading, text, workflow.now(), agent.input.answer_within, slots=agent.input.slots
        )
        candidacy.last = mail.message_id[:250]
        agent.note(f"{mail.thread}: {reading.says}; now {candidacy.stage}", attachments=len(mail.attachments))
        if candidacy.wrote != wrote:
            await self._questions.withdraw_reply(mail.thread, "the candidate wrote again")
        if told:
            await agent.tell_people(f"{mail.thread} {told}")
