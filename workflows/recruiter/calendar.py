"""The recruiter's access to the calendar: which slots are taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from activities.recruiting.activities import RecruitingActivities
from activities.recruiting.memory import RecruiterMemory
from activities.recruiting.records import CalendarRequest
from common.agents.recruiter import RecruiterInput
from workflows.core.agent import QUICK, READ, Agent


class Calendar:
    """Looks up which slots are taken. A slot is identified by its index in the input."""

    def __init__(self, agent: Agent[RecruiterInput, RecruiterMemory]) -> None:
        self._agent = agent

    def request(self, places: Iterable[int]) -> CalendarRequest:
        """The request that asks the calendar about these slots."""
        slots = {place: self._agent.input.slots[place] for place in places}
        return CalendarRequest(calendar=self._agent.input.calendar or "", slots=slots)

    async def busy(self, places: Iterable[int]) -> Sequence[int]:
        """The indexes of those slots that are taken.

        Raises:
            ActivityError: the calendar cannot be read.
        """
        policy = READ if self._agent.input.calendar else QUICK
        return (await self._agent.call(RecruitingActivities.busy_slots, self.request(places), policy)).busy
