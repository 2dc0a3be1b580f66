"""Business time for workflows, as an activity: releases change holidays and time zones, replays must not."""

from __future__ import annotations

from datetime import timedelta

from pydantic import AwareDatetime, BaseModel, Field
from temporalio import activity

from common.approval.types import MAX_REMINDERS
from common.business_time import BusinessHours, add, next_open
from common.errors import permanent


class BusinessTimesRequest(BaseModel, frozen=True):
    """Asks when each duration of open time in `after` will have passed since `start`.

    Besides its reminders, a policy has an escalation and an end.
    """

    hours: BusinessHours
    start: AwareDatetime
    after: list[timedelta] = Field(max_length=MAX_REMINDERS + 2)


class BusinessTimes(BaseModel, frozen=True):
    """The times in UTC, in the order asked for."""

    at: list[AwareDatetime]


class Calendars:
    """The activity that counts in business time."""

    @activity.defn(name="business_moments")
    async def moments(self, request: BusinessTimesRequest) -> BusinessTimes:
        """When each duration of open time has passed; zero means the next open moment.

        Raises:
            ApplicationError: type `UnknownCalendar`; also if a duration is negative or exceeds ten years.
        """
        try:
            return BusinessTimes(
                at=[
                    add(request.hours, request.start, span)
                    if span
                    else next_open(request.hours, request.start)
                    for span in request.after
                ]
            )
        except ValueError as error:
            raise permanent("UnknownCalendar", str(error)) from error
