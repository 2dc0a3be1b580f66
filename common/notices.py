"""What people are told of an agent: the events, a notice, and one delivery of it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel

from common.approval import ApprovalRequest


class NoticeEvent(StrEnum):
    """What may happen that people want to hear of."""

    ASKED = "asked"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    DECIDED = "decided"
    STUCK = "stuck"
    BUDGET = "budget"
    DRIFT = "drift"
    FINISHED = "finished"
    FAILED = "failed"


class Notice(BaseModel, frozen=True):
    """What happened, in words, to which agent.

    `id` is the same however often the notice is given, and no other notice has it. `request` is the approval
    that it is about, as it stands, for those who may decide it; without one it is for the agent's owner.
    """

    id: str
    agent: str
    kind: str
    owner: str
    event: NoticeEvent
    text: str
    request: ApprovalRequest | None = None


class Delivery(BaseModel, frozen=True):
    """A notice on its way to one place: `way` is `slack`, `email` or `webhook`, `address` is of that way.

    `person` is the opaque id of whom it is for, empty where it is for a channel or a system.
    """

    notice: Notice
    way: str
    address: str
    person: str = ""


class SlackPost(BaseModel, frozen=True):
    """Where a posted Slack message stands: its channel, and its `ts`, which names it there."""

    channel: str
    ts: str


class SlackUpdate(BaseModel, frozen=True):
    """The message of `delivery`, to show from now on that its request is over, and no buttons.

    `outcome` says in words how the request ended.
    """

    delivery: Delivery
    channel: str
    ts: str
    outcome: str
