"""What a recruiter asks people while it waits: whom to invite, what to answer; and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.recruiting.activities import RecruitingActivities
    from activities.recruiting.candidacy import Candidacy, Stage
    from activities.recruiting.letters import reply_text
    from activities.recruiting.memory import Answered, CandidatesView, RecruiterMemory
    from activities.recruiting.records import (
        BusySlots,
        CalendarRequest,
        DraftInvitations,
        InvitationDraft,
        SendInvitations,
        SendReply,
        SentLetters,
    )
    from activities.recruiting.sending import INVITATIONS_EDITABLE, REPLY_EDITABLE, LetterActivities
    from activities.recruiting.understanding import ShortWords, draft_of
    from common.agents.recruiter import Invitation, InvitationPlan, RecruiterInput, ReplyPlan
    from common.digest import digest
    from common.mail import Sent, SentStatus
    from common.notices.types import NoticeEvent
    from workflows.core.agent import Agent
    from workflows.core.approval import Premises
    from workflows.core.calls import QUICK, CallPolicy
    from workflows.core.final_check import Acted, Action
    from workflows.core.gate import Outcome
    from workflows.core.premises import Premise, StillTrue

REMINDERS = (timedelta(hours=4), timedelta(hours=24), timedelta(hours=48))
# A letter's exchange with a mail server heartbeats every second: a dead worker is noticed soon.
POST = CallPolicy(
    start_to_close=timedelta(hours=1),
    retry=RetryPolicy(maximum_attempts=1),
    heartbeat=timedelta(seconds=10),
    lasting=True,
)
# Invitations of one question, and questions about single candidates that are open at a time.
INVITED_AT_ONCE, ASKED_AT_ONCE = 25, 10
INVITATIONS = "invitations"

Plan = TypeVar("Plan", bound=BaseModel)


class Questioner(Agent):
    """The part of the recruiter that asks people while letters come and go, and acts on what they decide.

    A question is a task of its own, that does nothing but wait; whatever is to be done is done in the rounds.
    """

    def __init__(self, input: RecruiterInput) -> None:
        super().__init__(input)
        self._wanted = input
        self._people = {each.id: each for each in input.candidates}
        self._memory = self.remembered(RecruiterMemory) or RecruiterMemory()
        self._asks: dict[str, asyncio.Task[None]] = {}

    @workflow.query
    def candidates(self) -> CandidatesView:
        """The course of each candidate so far."""
        return CandidatesView(courses=self._memory.courses)

    async def _ask_people(self, memory: RecruiterMemory) -> None:
        """Have a question open about all who can be invited, and one about each who needs an answer."""
        ready = list(memory.at(Stage.CHOSEN))[:INVITED_AT_ONCE]
        if memory.invitations is None and ready:
            request = DraftInvitations(
                role=self._wanted.role.title,
                sender=self._wanted.sender,
                now=workflow.now(),
                drafts=tuple(self._draft_of(id, course) for id, course in ready),
            )
            memory.invitations = await self.call(RecruitingActivities.draft_invitations, request, QUICK)
        for id, course in memory.at(Stage.WITH_HUMAN):
            if id not in memory.replies and len(memory.replies) < ASKED_AT_ONCE:
                memory.replies[id] = await self._reply_to(id, course)
        if memory.invitations is not None:
            count = len(memory.invitations.invitations)
            question = f"Invite {count} candidate{'s' if count > 1 else ''} for {memory.invitations.role}?"
            editable = INVITATIONS_EDITABLE
            self._open_question(INVITATIONS, question, memory.invitations, editable, self._still_free)
        for id, plan in memory.replies.items():
            self._open_question(reply_key(id), f"Answer {id} with this?", plan, REPLY_EDITABLE)

    def _draft_of(self, id: str, course: Candidacy) -> InvitationDraft:
        assert course.slot is not None
        return InvitationDraft(
            candidate=self._people[id],
            place=course.slot,
            slot=self._wanted.slots[course.slot],
            number=course.invitations,
            in_reply_to=course.last,
        )

    async def _reply_to(self, id: str, course: Candidacy) -> ReplyPlan:
        """The draft of a reply; what the candidate wrote decides nothing, a person reads both."""
        person = self._people[id]
        draft = await self.think(draft_of(self._wanted.role, course.wrote))
        body = ShortWords.model_validate(draft.value).text
        return ReplyPlan(
            candidate=id,
            to=person.email,
            wrote=course.wrote,
            subject=f"Re: {self._wanted.role.title}",
            text=reply_text(person.name, self._wanted.sender, body),
            in_reply_to=course.last,
            number=course.replies + 1,
            model=draft.model,
        )

    def _open_question(
        self,
        key: str,
        question: str,
        plan: Plan,
        editable: Sequence[str],
        premises: Premises[Plan] = lambda plan: (),
    ) -> None:
        if key in self._asks or key in self._memory.answers:
            return
        policy = self._wanted.policy(self.owner, editable=editable, reminders=REMINDERS)
        evidence, self._memory.evidence = self._memory.evidence, []

        async def ask() -> None:
            self._memory.answers[key] = answered(await self.ask(question, plan, policy, evidence, premises))

        self._asks[key] = asyncio.create_task(ask())

    async def _withdraw(self, key: str, why: str) -> None:
        """Stop asking; a decision that comes yet is refused with the reason."""
        self._memory.answers.pop(key, None)
        task = self._asks.pop(key, None)
        if task is not None and not task.done():
            task.cancel()
        plan = (
            self._memory.invitations
            if key == INVITATIONS
            else self._memory.replies.get(key.partition(":")[2])
        )
        for request in list(self._gate.memory.open.values()):
            if plan is not None and request.origin == digest(plan):
                words = f"withdrawn: {why}"
                self._gate.close(request.id, words, workflow.now())
                self.note(f"{request.question} {words}", request=request.id)
                await self._settle(request, words)

    async def _use_answers(self, memory: RecruiterMemory) -> None:
        """Act on what people decided."""
        for key, task in list(self._asks.items()):
            if task.done():
                del self._asks[key]
                task.result()
        for key, answer in list(memory.answers.items()):
            if key == INVITATIONS:
                await self._invite(outcome_of(answer, InvitationPlan), memory)
            else:
                await self._reply(outcome_of(answer, ReplyPlan), memory)
            del memory.answers[key]

    async def _invite(self, outcome: Outcome[InvitationPlan], memory: RecruiterMemory) -> None:
        """Send what was approved and still holds, each once; the rest look for another slot."""
        memory.invitations = None
        for each in outcome.plan.invitations:
            course = memory.courses[each.candidate]
            left_out = not outcome.approved or each.candidate in outcome.plan.leave_out
            if left_out and course.waits_for(each.slot):
                course.end(Stage.LEFT)
        if not outcome.approved:
            return
        with self.node("invite"):
            while holding := self._holding(outcome.plan, ()):
                busy: set[int] = set()
                acted = await self._acted(outcome, holding, busy)
                for id, sent in (acted.result.sent if acted.result else {}).items():
                    memory.courses[id].invited(self._wanted.slots)
                    self._record(id, "invited", sent, memory)
                for each in holding:
                    course = memory.courses[each.candidate]
                    if course.waits_for(each.slot) and each.slot in busy:
                        course.note(workflow.now(), "slot_taken", each.when)
                        course.queue()
                        await self._tell(f"{each.candidate}: {each.when} is taken; another time is proposed")
                if acted.result is None:
                    memory.evidence = acted.evidence
                    return

    async def _acted(
        self, outcome: Outcome[InvitationPlan], holding: Sequence[Invitation], busy: set[int]
    ) -> Acted[SentLetters]:
        """Final validation and action for all of them: what no longer holds is left out, not the others."""
        still: list[str] = []

        def holds(now: BusySlots) -> bool:
            # Looked at when the calendar has been: a mail that came meanwhile keeps its candidate out.
            busy.update(now.busy)
            names = {each.candidate for each in holding}
            still[:] = [e.candidate for e in self._holding(outcome.plan, busy) if e.candidate in names]
            return bool(still)

        return await self.act(
            Action[SentLetters](
                LetterActivities.send_invitations,
                SendInvitations(plan=outcome.plan, only=tuple(each.candidate for each in holding)),
                outcome,
                [
                    Premise(
                        "a slot that is still free, for a candidate who has not withdrawn",
                        RecruitingActivities.busy_slots,
                        self._calendar(each.slot for each in holding),
                        True,
                        StillTrue(),
                        read=holds,
                    )
                ],
                fence=lambda argument, facts: argument.model_copy(update={"only": tuple(still)}),
                lookup=LetterActivities.find_invitations,
                policy=POST,
            )
        )

    def _holding(self, plan: InvitationPlan, busy: Collection[int]) -> list[Invitation]:
        """The invitations that hold: the slot is chosen, free and ahead, and no unread mail may say no."""
        wrote = {mail.thread for mail in self._kept.mail}
        return [
            each
            for each in plan.invitations
            if self._memory.courses[each.candidate].waits_for(each.slot)
            and each.slot not in busy
            and each.candidate not in wrote
            and self._wanted.slots[each.slot].start > workflow.now()
        ]

    async def _reply(self, outcome: Outcome[ReplyPlan], memory: RecruiterMemory) -> None:
        """Send the reply that was approved, and let the candidate's course go on."""
        id, now = outcome.plan.candidate, workflow.now()
        course = memory.courses[id]
        memory.replies.pop(id, None)
        if course.stage is not Stage.WITH_HUMAN:
            return
        if not outcome.approved:
            course.note(now, "left_to_a_human")
            course.left(self._wanted.slots)
            return
        with self.node("reply"):
            action = Action[SentLetters](
                LetterActivities.send_reply,
                SendReply(plan=outcome.plan),
                outcome,
                lookup=LetterActivities.find_reply,
                policy=POST,
            )
            acted = await self.act(action)
        if acted.result is None:
            memory.evidence = acted.evidence
            return
        course.answered(workflow.now(), self._wanted.answer_within, self._wanted.slots)
        self._record(id, "replied", acted.result.sent[id], memory)

    def _record(self, id: str, what: str, sent: Sent, memory: RecruiterMemory) -> None:
        """Put on record what became of a letter. One unheard of may have arrived; it is awaited."""
        course = memory.courses[id]
        told = "" if sent.status is SentStatus.SENT else f"{sent.status}: {sent.reason}"
        course.note(workflow.now(), what, told)
        memory.count(sent.status)
        if sent.status is SentStatus.REFUSED:
            course.end(Stage.UNREACHABLE)
        if told:
            self.note(f"{id}: {what} {told}")

    def _still_free(self, plan: InvitationPlan) -> list[Premise]:
        """For those who decide to see; what counts is looked at for each invitation before it goes out."""
        return [
            Premise(
                "slots that are taken",
                RecruitingActivities.busy_slots,
                self._calendar(each.slot for each in plan.invitations),
                seen=[],
                read=lambda now: [each.when for each in plan.invitations if each.slot in now.busy],
            )
        ]

    def _calendar(self, places: Iterable[int]) -> CalendarRequest:
        slots = {place: self._wanted.slots[place] for place in places}
        return CalendarRequest(calendar=self._wanted.calendar or "", slots=slots)

    async def _tell(self, text: str) -> None:
        """Tell people of what they may have to act on."""
        self.note(text)
        await self._tell_people(NoticeEvent.DRIFT, text)


def reply_key(id: str) -> str:
    """The name of the question what to answer a candidate."""
    return f"reply:{id}"


def answered(outcome: Outcome[Plan]) -> Answered:
    """An outcome as it is kept."""
    return Answered(
        verdict=outcome.verdict,
        request=outcome.request,
        plan=outcome.plan.model_dump(mode="json"),
        decision=outcome.decision,
    )


def outcome_of(answer: Answered, kind: type[Plan]) -> Outcome[Plan]:
    """The outcome that was kept, its plan of the type `kind`."""
    return Outcome(answer.verdict, answer.request, kind.model_validate(answer.plan), answer.decision)
