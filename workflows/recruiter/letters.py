"""The recruiter's correspondence: one agent, one timer, and every candidate's course, seen to in rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.recruiting.activities import RecruitingActivities
    from activities.recruiting.candidacy import MailReading, Says, Stage
    from activities.recruiting.memory import RecruiterMemory
    from activities.recruiting.records import LetterKind, Outgoing, SendOutreach, SentLetters
    from activities.recruiting.sending import LetterActivities
    from activities.recruiting.slots import share_out
    from activities.recruiting.understanding import reading_of
    from common.agents.recruiter import OutreachPlan
    from common.mail import IncomingMail
    from workflows.core.calls import QUICK, READ
    from workflows.core.final_check import Action
    from workflows.core.visible import cause_of
    from workflows.recruiter.questions import POST, Questioner, outcome_of, reply_key

# Letters of one action, what became of them is on record after each; mails that are read side by side.
SENT_AT_ONCE, READ_AT_ONCE = 50, 20
# A calendar that cannot be read now is looked at again.
LOOK_AGAIN = timedelta(hours=1)


class Correspondent(Questioner):
    """The part of the recruiter that writes, waits and understands."""

    reads_mail = True

    async def _approve(self, memory: RecruiterMemory) -> bool:
        raise NotImplementedError

    async def _correspond(self, memory: RecruiterMemory) -> None:
        """Rounds: what came in, what people decided, what fell due, what is to be asked; then sleep."""
        with self.node("wait"):
            while True:
                await self._read_mail(memory)
                await self._use_answers(memory)
                self._fall_due(memory)
                await self._write(memory)
                await self._ask_people(memory)
                self.progress(sum(course.over for course in memory.courses.values()), len(memory.courses))
                if memory.over:
                    break
                await self._rest(memory)
        for key in list(self._asks):
            await self._withdraw(key, "nobody is left to be asked about")

    async def _rest(self, memory: RecruiterMemory) -> None:
        """Sleep until the nearest moment that anything is due, or until something comes."""
        # Before and not after: what wakes it is news, which is seen to first.
        asking = sum(not task.done() for task in self._asks.values())
        # A decided question's answer is in no memory until its task has put it there.
        settled = asking == len(self._gate.memory.open) and self._is_at_rest()
        if settled and not self._has_news():
            await self.carry_over(memory)
        if not self._has_news():
            waiting = sum(not course.over for course in memory.courses.values())
            await self.hibernate(
                memory.next_due(workflow.now()),
                wake_on=self._has_news,
                waiting_for=f"{waiting} candidate{'s' if waiting > 1 else ''}",
            )

    def _has_news(self) -> bool:
        return bool(self._kept.mail or self._memory.answers) or any(t.done() for t in self._asks.values())

    async def _read_mail(self, memory: RecruiterMemory) -> None:
        """Take every mail for what it says; whatever it says, it can only move its own candidate's course."""
        while batch := self._kept.mail[:READ_AT_ONCE]:
            readings = await asyncio.gather(*(self._reading(mail, memory) for mail in batch))
            # Only now: a mail that is read half-way must not be missing from what is carried over.
            del self._kept.mail[: len(batch)]
            for mail, reading in zip(batch, readings, strict=True):
                if reading is not None and memory.is_new(mail.message_id):
                    await self._take(mail, reading, memory)

    async def _reading(self, mail: IncomingMail, memory: RecruiterMemory) -> MailReading | None:
        course = memory.courses.get(mail.thread)
        if course is None:
            self.note(f"mail from {mail.sender[:100]} for no candidate here; nothing comes of it")
            return None
        offered = [self._wanted.slots[place] for place in course.offered]
        asked = reading_of(mail, offered, self._people[mail.thread].email)
        if isinstance(asked, MailReading):
            return asked
        try:
            return MailReading.model_validate((await self.think(asked)).value)
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise
            self.note(f"{mail.thread}: the mail was not understood: {cause_of(error)}")
            return MailReading(says=Says.UNCLEAR)

    async def _take(self, mail: IncomingMail, reading: MailReading, memory: RecruiterMemory) -> None:
        course = memory.courses[mail.thread]
        wrote = course.wrote
        text = mail.text or mail.subject
        told = course.take(
            reading, text, workflow.now(), self._wanted.answer_within, slots=self._wanted.slots
        )
        course.last = mail.message_id[:250]
        self.note(f"{mail.thread}: {reading.says}; now {course.stage}", attachments=len(mail.attachments))
        if mail.thread in memory.replies and course.wrote != wrote:
            # The question that people have before them is no longer the one.
            await self._withdraw(reply_key(mail.thread), "the candidate wrote again")
            memory.replies.pop(mail.thread, None)
        if told:
            await self._tell(f"{mail.thread} {told}")

    def _fall_due(self, memory: RecruiterMemory) -> None:
        """Move those on whose moment has come and who get no letter."""
        now = workflow.now()
        for id, course in memory.courses.items():
            if course.due is None or course.due > now or course.over:
                continue
            if course.stage is Stage.INVITED:
                course.end(Stage.INTERVIEW)
            elif course.stage is Stage.CHOSEN:
                course.note(now, "slot_passed")
                course.queue()
            elif course.followed_up or memory.approval is None:
                course.note(now, Stage.SILENT)
                course.end(Stage.SILENT)
            else:
                continue
            self.note(f"{id}: now {course.stage}")

    async def _write(self, memory: RecruiterMemory) -> None:
        """Send what is due of the approved letters: first ones, follow-ups, proposals of slots."""
        while letters := [*self._due(memory), *await self._proposals(memory)]:
            for start in range(0, len(letters), SENT_AT_ONCE):
                if not await self._approve(memory):
                    self._stop(memory)
                    return
                await self._send(letters[start : start + SENT_AT_ONCE], memory)

    def _due(self, memory: RecruiterMemory) -> list[Outgoing]:
        now = workflow.now()
        first = [Outgoing(candidate=id, kind=LetterKind.FIRST) for id, _ in memory.at(Stage.LISTED)]
        return first + [
            Outgoing(candidate=id, kind=LetterKind.FOLLOW_UP, in_reply_to=course.last)
            for id, course in memory.at(Stage.ASKED, Stage.PROPOSED)
            if course.due and course.due <= now and not course.followed_up
        ]

    async def _proposals(self, memory: RecruiterMemory) -> list[Outgoing]:
        """Letters to those who wait for slots; each slot is proposed to one at a time."""
        memory.look_again = None
        slots, now = self._wanted.slots, workflow.now()
        shares = share_out(memory.courses, slots, (), now)
        if shares.proposals:
            busy = await self._busy(memory)
            if busy is None:
                return []
            shares = share_out(memory.courses, slots, busy, now)
        for id in shares.stranded:
            memory.courses[id].ask_human("(No slot is left to propose.)", back=Stage.NO_SLOT)
        return [
            Outgoing(
                candidate=id,
                kind=LetterKind.PROPOSAL,
                slots=places,
                number=memory.courses[id].proposals + 1,
                in_reply_to=memory.courses[id].last,
            )
            for id, places in shares.proposals.items()
        ]

    async def _busy(self, memory: RecruiterMemory) -> Sequence[int] | None:
        """The places of the slots that the calendar says are taken; None while it cannot be read."""
        now = workflow.now()
        ahead = (place for place, slot in enumerate(self._wanted.slots) if slot.start > now)
        try:
            policy = READ if self._wanted.calendar else QUICK
            return (await self.call(RecruitingActivities.busy_slots, self._calendar(ahead), policy)).busy
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            memory.look_again = now + LOOK_AGAIN
            await self._tell(f"no slots can be proposed: {cause_of(error)}")
            return None

    async def _send(self, letters: Sequence[Outgoing], memory: RecruiterMemory) -> None:
        assert memory.approval is not None
        with self.node("send"):
            outcome = outcome_of(memory.approval, OutreachPlan)
            action = Action[SentLetters](
                LetterActivities.send_outreach,
                SendOutreach(plan=outcome.plan, letters=tuple(letters)),
                outcome,
                lookup=LetterActivities.find_outreach,
                policy=POST,
            )
            acted = await self.act(action)
        if acted.result is None:
            # Nothing else can drift here: the word has grown too old.
            memory.approval, memory.decision, memory.evidence = None, "", acted.evidence
            return
        now, within = workflow.now(), self._wanted.answer_within
        for letter in letters:
            course, sent = memory.courses[letter.candidate], acted.result.sent.get(letter.candidate)
            if sent is None:
                continue
            if letter.kind is LetterKind.FIRST:
                course.asked(now, within)
            elif letter.kind is LetterKind.FOLLOW_UP:
                course.reminded(now, within)
            else:
                course.proposed(letter.slots, now, within)
            self._record(letter.candidate, str(letter.kind), sent, memory)

    def _stop(self, memory: RecruiterMemory) -> None:
        """No letter may go out any more: those who wait for one are not left waiting."""
        for _, course in memory.at(Stage.LISTED):
            course.end(Stage.NOT_WRITTEN)
        for _, course in memory.at(Stage.WAITING):
            course.end(Stage.LEFT)
        self._fall_due(memory)
