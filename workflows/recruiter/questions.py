"""What a recruiter asks people while it waits (whom to invite, what to answer), and acting on the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from pydantic import BaseModel
from temporalio import workflow

from activities.recruiting.activities import RecruitingActivities
from activities.recruiting.candidacy import Candidacy, Stage
from activities.recruiting.choices import on_offer
from activities.recruiting.letters import HOLDING, reply_text
from activities.recruiting.memory import RecruiterMemory
from activities.recruiting.records import (
    BusySlots,
    DraftInvitations,
    InvitationDraft,
    SendInvitations,
    SendReply,
    SentLetters,
)
from activities.recruiting.sending import INVITATIONS_EDITABLE, REPLY_EDITABLE, LetterActivities
from activities.recruiting.understanding import draft_of
from common.agents.recruiter import Invitation, InvitationPlan, RecruiterInput, ReplyPlan
from common.grammar import counted
from workflows.core.agent import (
    QUICK,
    Action,
    ActionResult,
    Agent,
    Outcome,
    Plan,
    Premise,
    Premises,
    StillTrue,
)
from workflows.recruiter.calendar import Calendar
from workflows.recruiter.letters import SEND, Letters, chain
from workflows.recruiter.links import Links
from workflows.recruiter.words import words_for

# Invitations per question, and how many questions about single candidates may be open at once.
INVITED_AT_ONCE, ASKED_AT_ONCE = 25, 10
INVITATIONS = "invitations"


class Questions:
    """Asks people while letters come and go, and acts on what they decide.

    Each question is a task that only waits for its answer; `act_on_answers` acts on it.
    """

    def __init__(
        self,
        agent: Agent[RecruiterInput, RecruiterMemory],
        calendar: Calendar,
        letters: Letters,
        links: Links,
    ) -> None:
        self._agent = agent
        self._calendar = calendar
        self._letters = letters
        self._links = links
        self._asking: dict[str, asyncio.Task[None]] = {}
        # Candidates whose reply was not sent in this round, because another mail must be read first.
        self._withheld: set[str] = set()

    @property
    def has_answers(self) -> bool:
        """Whether people have decided something that is not yet acted on."""
        return bool(self._agent.memory.answers) or any(task.done() for task in self._asking.values())

    async def ask(self) -> None:
        """Keep one question open about all who can be invited, and one about each who needs an answer."""
        agent, memory = self._agent, self._agent.memory
        ready = list(memory.at(Stage.CHOSEN))[:INVITED_AT_ONCE]
        if memory.invitations is None and ready:
            request = DraftInvitations(
                role=agent.input.role.title,
                sender=agent.input.sender,
                now=workflow.now(),
                drafts=tuple(self._draft_of(id, candidacy) for id, candidacy in ready),
            )
            memory.invitations = await agent.call(RecruitingActivities.draft_invitations, request, QUICK)
        for id, candidacy in memory.at(Stage.WITH_HUMAN):
            if id not in {*memory.replies, *self._withheld} and len(memory.replies) < ASKED_AT_ONCE:
                memory.replies[id] = await self._reply_to(id, candidacy)
        if memory.invitations is not None:
            count = len(memory.invitations.invitations)
            question = f"Invite {counted(count, 'candidate')} for {memory.invitations.role}?"
            editable = INVITATIONS_EDITABLE
            self._open(INVITATIONS, question, memory.invitations, editable, self._still_free)
        for id, plan in memory.replies.items():
            self._open(_reply_key(id), f"Answer {id} with this?", plan, REPLY_EDITABLE)

    async def act_on_answers(self) -> None:
        """Invite and reply as people decided."""
        memory, self._withheld = self._agent.memory, set()
        for key, task in list(self._asking.items()):
            if task.done():
                del self._asking[key]
                task.result()
        for key, answer in list(memory.answers.items()):
            if key == INVITATIONS:
                await self._invite(Outcome.of(answer, InvitationPlan))
            else:
                await self._reply(Outcome.of(answer, ReplyPlan))
            del memory.answers[key]

    async def withdraw_reply(self, id: str, why: str) -> None:
        """Stop asking what to answer a candidate, if people are being asked."""
        plan = self._agent.memory.replies.pop(id, None)
        if plan is not None:
            await self._withdraw(_reply_key(id), plan, why)

    async def withdraw_all(self, why: str) -> None:
        """Withdraw all questions."""
        memory = self._agent.memory
        if memory.invitations is not None:
            await self._withdraw(INVITATIONS, memory.invitations, why)
        for id in list(memory.replies):
            await self.withdraw_reply(id, why)

    async def _withdraw(self, key: str, plan: BaseModel, why: str) -> None:
        self._agent.memory.answers.pop(key, None)
        task = self._asking.pop(key, None)
        if task is not None and not task.done():
            task.cancel()
        await self._agent.withdraw(plan, why)

    def _open(
        self,
        key: str,
        question: str,
        plan: Plan,
        editable: Sequence[str],
        premises: Premises[Plan] = lambda plan: (),
    ) -> None:
        agent, memory = self._agent, self._agent.memory
        if key in self._asking or key in memory.answers:
            return
        policy = agent.input.policy(agent.owner, editable=editable)
        evidence, memory.evidence = memory.evidence, []

        async def ask() -> None:
            memory.answers[key] = (await agent.ask(question, plan, policy, evidence, premises)).answer

        self._asking[key] = asyncio.create_task(ask())

    def _draft_of(self, id: str, candidacy: Candidacy) -> InvitationDraft:
        assert candidacy.slot is not None
        return InvitationDraft(
            candidate=self._agent.input.people[id],
            place=candidacy.slot,
            slot=self._agent.input.slots[candidacy.slot],
            number=candidacy.invitations,
            in_reply_to=candidacy.last,
        )

    async def _reply_to(self, id: str, candidacy: Candidacy) -> ReplyPlan:
        """The draft of a reply. A person reads it together with what the candidate wrote."""
        input = self._agent.input
        person = input.people[id]
        body, model = await words_for(self._agent, draft_of(input.role, candidacy.wrote), HOLDING)
        return ReplyPlan(
            candidate=id,
            to=person.email,
            wrote=candidacy.wrote,
            read_as=candidacy.read_as,
            subject=f"Re: {input.role.title}",
            text=reply_text(person.name, input.sender, body),
            in_reply_to=candidacy.last,
            number=candidacy.replies + 1,
            model=model,
        )

    async def _invite(self, outcome: Outcome[InvitationPlan]) -> None:
        """Send each approved invitation that still holds, once; the other candidates get another slot."""
        agent, memory = self._agent, self._agent.memory
        memory.invitations = None
        for each in outcome.plan.invitations:
            candidacy = memory.courses[each.candidate]
            left_out = not outcome.approved or each.candidate in outcome.plan.leave_out
            if left_out and candidacy.waits_for(each.slot):
                candidacy.end(Stage.LEFT_TO_HUMAN)
        if not outcome.approved:
            return
        with agent.node("invite"):
            while holding := self._holding(outcome.plan, ()):
                busy: set[int] = set()
                acted = await self._acted(outcome, holding, busy)
                for id, sent in (acted.result.sent if acted.result else {}).items():
                    memory.courses[id].invited(agent.input.slots)
                    self._letters.record(id, "invited", sent)
                for each in holding:
                    candidacy = memory.courses[each.candidate]
                    if candidacy.waits_for(each.slot) and each.slot in busy:
                        candidacy.note(workflow.now(), "slot_taken", each.when)
                        candidacy.queue()
                        told = f"{each.candidate}: {each.when} is taken; another time is proposed"
                        await agent.tell_people(told)
                if acted.result is None:
                    memory.evidence = acted.evidence
                    return

    async def _acted(
        self, outcome: Outcome[InvitationPlan], holding: Sequence[Invitation], busy: set[int]
    ) -> ActionResult[SentLetters]:
        """Validate and send all of them in one action; invitations that no longer hold are left out."""
        still: list[str] = []

        def holds(now: BusySlots) -> bool:
            # Runs after the calendar was read, so a mail that arrived meanwhile excludes its candidate.
            busy.update(now.busy)
            names = {each.candidate for each in holding}
            still[:] = [e.candidate for e in self._holding(outcome.plan, busy) if e.candidate in names]
            return bool(still)

        return await self._agent.act(
            Action[SentLetters](
                LetterActivities.send_invitations,
                SendInvitations(
                    plan=outcome.plan, only=tuple(each.candidate for each in holding), chain=chain()
                ),
                outcome,
                [
                    Premise(
                        "a slot that is still free, for a candidate who has not withdrawn",
                        RecruitingActivities.busy_slots,
                        self._calendar.request(each.slot for each in holding),
                        True,
                        StillTrue(),
                        read=holds,
                    )
                ],
                fence=lambda argument, facts: argument.model_copy(update={"only": tuple(still)}),
                lookup=LetterActivities.find_invitations,
                policy=SEND,
            )
        )

    def _holding(self, plan: InvitationPlan, busy: Collection[int]) -> list[Invitation]:
        """The invitations that hold: slot chosen, free and in the future, no unread mail of the candidate."""
        agent = self._agent
        wrote = self._links.unread
        return [
            each
            for each in plan.invitations
            if agent.memory.courses[each.candidate].waits_for(each.slot)
            and each.slot not in busy
            and each.candidate not in wrote
            and agent.input.slots[each.slot].start > workflow.now()
        ]

    async def _reply(self, outcome: Outcome[ReplyPlan]) -> None:
        """Send the reply that was approved, and let the candidacy go on."""
        agent, memory = self._agent, self._agent.memory
        id, now = outcome.plan.candidate, workflow.now()
        candidacy = memory.courses[id]
        memory.replies.pop(id, None)
        if candidacy.stage is not Stage.WITH_HUMAN:
            return
        if not outcome.approved:
            candidacy.note(now, "left_to_a_human")
            candidacy.leave_to_human(agent.input.slots)
            return
        with agent.node("reply"):
            action = Action[SentLetters](
                LetterActivities.send_reply,
                SendReply(plan=outcome.plan, choices=on_offer(candidacy, agent.input.slots), chain=chain()),
                outcome,
                # Checked before each attempt: a reply to one mail may be wrong after the next.
                fence=lambda argument, facts: argument.model_copy(
                    update={"withheld": id in self._links.unread}
                ),
                lookup=LetterActivities.find_reply,
                policy=SEND,
            )
            acted = await agent.act(action)
        if acted.result is None:
            memory.evidence = acted.evidence
            return
        if id not in acted.result.sent:
            self._withheld.add(id)
            agent.note(f"{id}: the reply was not sent, as another mail came meanwhile")
            return
        candidacy.answered(workflow.now(), agent.input.answer_within, agent.input.slots)
        self._letters.record(id, "replied", acted.result.sent[id])

    def _still_free(self, plan: InvitationPlan) -> list[Premise]:
        """For display to those who decide; each invitation is validated again before it is sent."""
        return [
            Premise(
                "slots that are taken",
                RecruitingActivities.busy_slots,
                self._calendar.request(each.slot for each in plan.invitations),
                seen=[],
                read=lambda now: [each.when for each in plan.invitations if each.slot in now.busy],
            )
        ]


def _reply_key(id: str) -> str:
    """The key of the question what to answer a candidate."""
    return f"reply:{id}"
