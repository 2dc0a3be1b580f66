"""Checks whether a question is still open: before each message that asks it, and then until it ends."""

from __future__ import annotations

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from common.client.inbox import how_request_ended
from common.errors import permanent
from common.notices.types import ASKS, NO_LONGER_ASKED, Notice


class OpenQuestions:
    """The activity that waits for the end of a question.

    Agents tell couriers how their questions end. A terminated agent cannot, and its buttons would look alive
    for ever, so couriers also poll with this activity.
    """

    @activity.defn(name="question_end")
    async def question_end(self, notice: Notice) -> str:
        """How the question of a notice ended, in words. Each retry is a poll, which leaves no history events.

        Raises:
            ApplicationError: retryable: `StillOpen`; `AgentSilent` if it cannot be found out now.
        """
        how = await how_ended(notice, activity.client(), exactly=False)
        if not how:
            raise ApplicationError(f"{notice.agent} still asks", type="StillOpen")
        return how


async def require_open(notice: Notice) -> None:
    """Raise if the notice asks a question that is no longer open. For use in an activity.

    Raises:
        ApplicationError: permanent: `NoLongerAsked`, saying how it ended. Retryable: `AgentSilent`.
    """
    if notice.request is not None and notice.event in ASKS:
        how = await how_ended(notice, activity.client(), exactly=True)
        if how:
            raise permanent(NO_LONGER_ASKED, how)


async def how_ended(notice: Notice, client: Client, *, exactly: bool) -> str:
    """How the question of a notice ended, in words; empty while it is open.

    Args:
        notice: one with a request.
        client: of the agent's namespace.
        exactly: query the agent itself; otherwise its search attributes suffice, which need no replay but may
            lag behind.

    Raises:
        ApplicationError: type `AgentSilent`: the agent runs but does not answer, and its search attributes
            do not show this question.
    """
    request = notice.request
    assert request is not None
    how = await how_request_ended(client, notice.agent, request.id, request.digest, exactly=exactly)
    if how is None:
        raise ApplicationError(f"{notice.agent} cannot say now whether it still asks", type="AgentSilent")
    return how
