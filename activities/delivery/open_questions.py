"""Whether a question is still open: looked at before each message that asks it, and until it has ended."""

from __future__ import annotations

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from common.client.inbox import how_request_ended
from common.errors import permanent
from common.notices.types import ASKS, NO_LONGER_ASKED, Notice


class OpenQuestions:
    """The activity that waits for the end of a question.

    The agent tells couriers how its questions end. One that was terminated tells nobody, and its buttons
    would look alive for good; so a courier also has this asked now and then.
    """

    @activity.defn(name="question_end")
    async def question_end(self, notice: Notice) -> str:
        """How the question of a notice ended, in words. Its attempts are the looks, and leave no history.

        Raises:
            ApplicationError: retryable: `StillOpen`; `AgentSilent`, nobody can say now.
        """
        how = await how_ended(notice, activity.client(), exactly=False)
        if not how:
            raise ApplicationError(f"{notice.agent} still asks", type="StillOpen")
        return how


async def require_open(notice: Notice) -> None:
    """Let a message out if it asks nothing, or if what it asks is still open. For use in an activity.

    Raises:
        ApplicationError: for good: `NoLongerAsked`, saying how it ended. For now: `AgentSilent`.
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
        exactly: ask the agent itself; otherwise its search attributes suffice, which need no replay but may
            lag behind.

    Raises:
        ApplicationError: type `AgentSilent`: the agent runs, does not answer, and is not known to ask this.
    """
    request = notice.request
    assert request is not None
    how = await how_request_ended(client, notice.agent, request.id, request.digest, exactly=exactly)
    if how is None:
        raise ApplicationError(f"{notice.agent} cannot say now whether it still asks", type="AgentSilent")
    return how
