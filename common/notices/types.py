"""What people are told of an agent: the events, a notice, and one delivery of it."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from common.approval.types import ApprovalRequest
from common.visible_text import OneLine


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

    `id` is the same however often the notice is given, and no other notice has it: `AGENT/RUN/NUMBER`; an
    agent knows the number alone. `request` is the approval that it is about, as it stands, for those who may
    decide it; without one it is for the agent's owner. `courier` is what the answer to the notice of the
    request said, in the notice of how it ended.
    """

    id: str
    agent: str
    kind: str
    owner: str
    event: NoticeEvent
    text: OneLine
    request: ApprovalRequest | None = None
    courier: str = ""


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


class Told(BaseModel, frozen=True):
    """The answer to a notice where notices go elsewhere than to the terminal; None in its place where not.

    `courier` is to be handed back in the notice of the decision; None where nobody wants that one.
    """

    courier: str | None = None


class Place(BaseModel, frozen=True):
    """Where a notice goes; the fields are those of its `Delivery`."""

    way: str
    address: str
    person: str = ""


class Dispatch(BaseModel, frozen=True):
    """What a courier carries, and where to."""

    notice: Notice
    places: tuple[Place, ...]


class Receipt(BaseModel, frozen=True):
    """What became of one delivery; `address` is masked, `reason` says why it failed."""

    way: str
    address: str
    person: str = ""
    delivered: bool
    reason: str = ""


class DeliveryLog(BaseModel):
    """What a courier has done so far. A delivery that is under way is not in it."""

    agent: str
    event: NoticeEvent
    receipts: list[Receipt] = Field(default_factory=list)


# A courier is a workflow of this type; it takes a notice everywhere it goes, and outlives failing ways.
COURIER = "courier"
SETTLED = "settled"


def courier_id(notice_id: str) -> str:
    """The workflow id of the courier of a notice."""
    return f"notice:{notice_id}"


def agent_of(courier_id: str) -> str:
    """The agent whose notice a courier carries; see `courier_id`. A notice's id ends with run and number."""
    return courier_id.removeprefix("notice:").rsplit("/", 2)[0]


def masked(way: str, address: str) -> str:
    """An address as it may stand in a log: whoever knows it cannot use it, and sees which one it is."""
    if way == "email":
        name, _, host = address.partition("@")
        return f"{name[:1]}…@{host}"
    return (urlsplit(address).hostname or "…") if way == "webhook" else address
