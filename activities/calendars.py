"""Brings business time into workflows: holidays and time zones change with releases, a replay must not."""

from __future__ import annotations

from datetime import timedelta

from pydantic import AwareDatetime, BaseModel, Field
from temporalio import activity

from common.business_time import BusinessHours, add, next_open
from common.errors import permanent


class MomentsRequest(BaseModel, frozen=True):
    """Asks when each of `after`, spans of open time, will have passed since `start`."""

    hours: BusinessHours
    start: AwareDatetime
    after: list[timedelta] = Field(max_length=100)


class Moments(BaseModel, frozen=True):
    """The moments in UTC, in the order asked for."""

    at: list[AwareDatetime]


class Calendars:
    """The activity that counts in business time."""

    @activity.defn(name="business_moments")
    async def moments(self, request: MomentsRequest) -> Moments:
        """When each span of open time has passed; a span of zero is the next moment that is open.

        Raises:
            ApplicationError: type `UnknownCalendar`; a span is negative or does not end within ten years.
        """
        try:
            return Moments(
                at=[
                    add(request.hours, request.start, span)
                    if span
                    else next_open(request.hours, request.start)
                    for span in request.after
                ]
            )
        except ValueError as error:
            raise permanent("UnknownCalendar", str(error)) from error
