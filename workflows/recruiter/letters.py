"""The recruiter's letters: which are due, and sending those of the approved plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities.recruiting.candidacy import Stage
from activities.recruiting.choices import interested, on_offer, times
from activities.recruiting.memory import RecruiterMemory
from activities.recruiting.records import LetterKind, Outgoing, SendOutreach, SentLetters
from activities.recruiting.sending import LetterActivities
from activities.recruiting.slots import distribute_slots
from common.agents.recruiter import OutreachPlan, RecruiterInput
from common.mail import Sent, SentStatus
from workflows.core.agent import ONCE, Action, Agent, CallPolicy, Outcome, cause_of
from workflows.recruiter.calendar import Calendar
from workflows.recruiter.links import Links

# Sending a letter heartbeats every second, so a dead worker is noticed soon.
SEND = CallPolicy(
    start_to_close=timedelta(hours=1), retry=ONCE, heartbeat=timedelta(seconds=10), lasting=True
)
# When to look again at a calendar that cannot be read.
LOOK_AGAIN = timedelta(hours=1)


def chain() -> str:
    """The id of the first run of this agent's chain."""
    return workflow.info().first_execution_run_id


class Letters:
    """Sends candidates the letters that people approved."""

    def __init__(
        self, agent: Agent[RecruiterInput, RecruiterMemory], calendar: Calendar, links: Links
    ) -> None:
        self._agent = agent
        self._calendar = calendar
        self._links = links

    def fall_due(self) -> None:
        """Advance candidacies that are due and get no letter."""
        agent, now = self._agent, workflow.now()
        for id, candidacy in agent.memory.courses.items():
            if candidacy.due is None or candidacy.due > now or candidacy.over:
                continue
            if candidacy.stage is Stage.INVITED:
                candidacy.end(Stage.INTERVIEW)
            elif candidacy.stage is Stage.CHOSEN:
                candidacy.note(now, "slot_passed")
                candidacy.queue()
            elif candidacy.followed_up or agent.memory.approval is None:
                candidacy.note(now, Stage.SILENT)
                candidacy.end(Stage.SILENT)
            else:
                continue
            agent.note(f"{id}: now {candidacy.stage.replace('_', ' ')}")

    def stop(self) -> None:
        """End the candidacies that wait for a letter: no more letters may go out."""
        for _, candidacy in self._agent.memory.at(Stage.LISTED):
            candidacy.end(Stage.NOT_WRITTEN)
        for _, candidacy in self._agent.memory.at(Stage.WAITING):
            candidacy.end(Stage.LEFT_TO_HUMAN)
        self.fall_due()

    async def due(self) -> list[Outgoing]:
        """The letters to send now: first letters, follow-ups, and proposals of free slots."""
        memory, now = self._agent.memory, workflow.now()
        first = [
            Outgoing(candidate=id, kind=LetterKind.FIRST, choices=interested())
            for id, _ in memory.at(Stage.LISTED)
        ]
        follow_ups = [
            Outgoing(
                candidate=id,
                kind=LetterKind.FOLLOW_UP,
                in_reply_to=candidacy.last,
                choices=on_offer(candidacy, self._agent.input.slots),
            )
            for id, candidacy in memory.at(Stage.ASKED, Stage.PROPOSED)
            if candidacy.due and candidacy.due <= now and not candidacy.followed_up
        ]
        return [*first, *follow_ups, *await self._proposals()]

    async def _proposals(self) -> list[Outgoing]:
        """Letters to candidates who wait for slots; each slot is proposed to one candidate at a time."""
        memory, slots, now = self._agent.memory, self._agent.input.slots, workflow.now()
        memory.look_again = None
        offers = distribute_slots(memory.courses, slots, (), now)
        if offers.proposals:
            busy = await self._busy()
            if busy is None:
                return []
            offers = distribute_slots(memory.courses, slots, busy, now)
        for id in offers.without_slot:
            memory.courses[id].ask_human("(No slot is left to propose.)", back=Stage.NO_SLOT)
        return [
            Outgoing(
                candidate=id,
                kind=LetterKind.PROPOSAL,
                slots=places,
                number=memory.courses[id].proposals + 1,
                in_reply_to=memory.courses[id].last,
                choices=times(places, memory.courses[id].proposals + 1, slots),
            )
            for id, places in offers.proposals.items()
        ]

    async def _busy(self) -> Sequence[int] | None:
        """The indexes of future slots that the calendar shows as taken; None while it cannot be read."""
        agent, now = self._agent, workflow.now()
        try:
            return await self._calendar.busy(
                place for place, slot in enumerate(agent.input.slots) if slot.start > now
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            agent.memory.look_again = now + LOOK_AGAIN
            await agent.tell_people(f"no slots can be proposed: {cause_of(error)}")
            return None

    async def send(self, letters: Sequence[Outgoing]) -> None:
        """Send letters of the approved plan; none if the approval no longer holds."""
        agent, memory = self._agent, self._agent.memory
        assert memory.approval is not None
        with agent.node("send"):
            outcome = Outcome.of(memory.approval, OutreachPlan)
            action = Action[SentLetters](
                LetterActivities.send_outreach,
                SendOutreach(plan=outcome.plan, letters=tuple(letters), chain=chain()),
                outcome,
                # Checked before each attempt: a mail server that is down may hold letters up for hours.
                fence=lambda argument, facts: argument.model_copy(update={"letters": self._still(letters)}),
                lookup=LetterActivities.find_outreach,
                policy=SEND,
            )
            acted = await agent.act(action)
        if acted.result is None:
            # The approval is too old, or the operator's policy now requires another.
            memory.approval, memory.decision, memory.evidence = None, "", acted.evidence
            return
        now, within = workflow.now(), agent.input.answer_within
        for letter in letters:
            candidacy, sent = memory.courses[letter.candidate], acted.result.sent.get(letter.candidate)
            if sent is None:
                continue
            if letter.kind is LetterKind.FIRST:
                candidacy.asked(now, within)
            elif letter.kind is LetterKind.FOLLOW_UP:
                candidacy.reminded(now, within)
            else:
                candidacy.proposed(letter.slots, now, within)
            self.record(letter.candidate, str(letter.kind), sent)

    def _still(self, letters: Sequence[Outgoing]) -> tuple[Outgoing, ...]:
        """The letters still to send: not to candidates who wrote meanwhile, nor for slots in the past."""
        agent, now = self._agent, workflow.now()
        wrote = self._links.unread
        return tuple(
            each
            for each in letters
            if each.candidate not in wrote
            and all(agent.input.slots[place].start > now for place in each.slots)
        )

    def record(self, id: str, what: str, sent: Sent) -> None:
        """Record what became of a letter. If unknown, it may have arrived, so its answer is awaited."""
        memory = self._agent.memory
        told = "" if sent.status is SentStatus.SENT else f"{sent.status}: {sent.reason}"
        memory.courses[id].note(workflow.now(), what, told)
        memory.count(sent.status)
        if sent.status is SentStatus.REFUSED:
            memory.courses[id].end(Stage.UNREACHABLE)
        if told:
            self._agent.note(f"{id}: {what} {told}")
