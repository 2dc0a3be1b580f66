"""Turns the durations of an approval policy into times: reminders, escalation and expiry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import workflow

from activities.calendars import Calendars, MomentsRequest
from common.approval.types import ApprovalPolicy, ApprovalRequest
from workflows.core.calls import QUICK, Calls


async def timed(request: ApprovalRequest, calls: Calls) -> ApprovalRequest:
    """`request` with its durations counted from now."""
    policy, now = request.policy, workflow.now()
    durations = [policy.expires_after, policy.escalate_after, *policy.reminders]
    expires_at, escalate_at, *reminders = await _moments(policy, now, durations, calls)
    moments = {"expires_at": expires_at, "escalate_at": escalate_at, "asked_at": now}
    remind_at = tuple(sorted(at for at in reminders if at))
    return request.model_copy(update={**moments, "remind_at": remind_at})


async def _moments(
    policy: ApprovalPolicy, start: datetime, durations: Sequence[timedelta | None], calls: Calls
) -> list[datetime | None]:
    """Each duration as a time after `start`; with business hours, an activity computes them."""
    given = [each for each in durations if each is not None]
    if policy.business_hours is None or not given:
        return [None if each is None else start + each for each in durations]
    request = MomentsRequest(hours=policy.business_hours, start=start, after=given)
    moments = iter((await calls.execute(Calendars.moments, request, QUICK)).at)
    return [None if each is None else next(moments) for each in durations]
