"""What people are told about an agent: the events, a notice, and one delivery of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self
from urllib.parse import quote, urlsplit

from pydantic import (
    BaseModel,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from common.approval.stakes import Stakes
from common.approval.starts import SignedStart
from common.approval.types import ApprovalPolicy, ApprovalRequest
from common.digest import digest
from common.visible_text import OneLine


class NoticeEvent(StrEnum):
    """The events that people may be told about."""

    ASKED = "asked"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    DECIDED = "decided"
    STUCK = "stuck"
    BUDGET = "budget"
    DRIFT = "drift"
    ALERT = "alert"
    FINISHED = "finished"
    FAILED = "failed"


# The title of a notice by its event, and the events that ask those who may decide.
HEADINGS = {
    NoticeEvent.ASKED: "Approval asked",
    NoticeEvent.REMINDER: "Reminder: approval asked",
    NoticeEvent.ESCALATION: "Escalated: approval asked",
    NoticeEvent.DECIDED: "Decided",
    NoticeEvent.STUCK: "Stuck",
    NoticeEvent.BUDGET: "Budget spent",
    NoticeEvent.DRIFT: "Changed since it was approved",
    NoticeEvent.ALERT: "Alert",
    NoticeEvent.FINISHED: "Finished",
    NoticeEvent.FAILED: "Failed",
}
ASKS = (NoticeEvent.ASKED, NoticeEvent.REMINDER, NoticeEvent.ESCALATION)


class Notice(BaseModel, frozen=True):
    """What happened, in words, to which agent.

    `id` stays the same however often the notice is sent, and is unique: `AGENT/RUN/NUMBER`; an agent knows
    only the number. `request` is the approval it is about, as it stands, for those who may decide it, and
    `stakes` what is at stake in its plan; a notice without one is for the agent's owner. `couriers`, in the
    notice of how a request ended, are those that were returned for the notices that asked. `people`, in a
    notice without a request, are told instead of the owner. A `gathered` notice is not sent to anybody,
    because the agent's batch tells people of all its questions together.
    """

    id: str
    agent: str
    kind: str
    owner: str
    event: NoticeEvent
    text: OneLine
    request: ApprovalRequest | None = None
    stakes: Stakes = Stakes()
    couriers: tuple[str, ...] = ()
    people: tuple[str, ...] = Field((), exclude_if=lambda people: not people)
    gathered: bool = Field(False, exclude_if=lambda gathered: not gathered)

    @property
    def is_of_batch(self) -> bool:
        """Whether it is about all questions of a batch's agents, which people can decide together."""
        return self.event is NoticeEvent.ASKED and self.request is None and bool(self.people)

    def page(self, public_url: str) -> str:
        """The page to link to, for people who sign in: the agent's, or its batch's questions."""
        return f"{public_url}/ui/{'batches' if self.is_of_batch else 'agents'}/{quote(self.agent, safe='')}"


class Delivery(BaseModel, frozen=True):
    """A notice on its way to one place: `way` is `slack`, `email` or `webhook`, `address` is of that way.

    `person` is the opaque id of its recipient, empty for a channel or a system.
    """

    notice: Notice
    way: str
    address: str
    person: str = ""


class SlackPost(BaseModel, frozen=True):
    """A posted Slack message: its channel, and the `ts` that identifies it there."""

    channel: str
    ts: str


class SlackUpdate(BaseModel, frozen=True):
    """Replaces the message of `delivery`, whose request is over, by one without buttons.

    `outcome` says in words how the request ended.
    """

    delivery: Delivery
    channel: str
    ts: str
    outcome: str


class Told(BaseModel, frozen=True):
    """The answer to a notice; None if it went to the terminal, as all do, and there is nothing to say.

    `courier` is to be passed on in the notice of the decision; None if that one is not needed. `policy` is
    the one that the request is to be decided under, if the operator asks for more than the agent did, or has
    changed the policy since; `gap` says why nobody can approve it. `elsewhere`: notices also go elsewhere
    than to the terminal. `asked` is a new request as people were told of it, to be read while no worker runs:
    see `Told.request`.
    """

    courier: str | None = Field(None, exclude_if=lambda courier: courier is None)
    policy: ApprovalPolicy | None = Field(None, exclude_if=lambda policy: policy is None)
    gap: str = Field("", exclude_if=lambda gap: not gap)
    elsewhere: bool = Field(True, exclude_if=lambda elsewhere: elsewhere)
    asked: dict[str, JsonValue] | None = Field(None, exclude_if=lambda asked: asked is None)

    # Every question's history holds it: if there is nothing else to say, only the request is written.
    @model_serializer(mode="wrap", when_used="json")
    def _compact(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = write(self)
        return self.asked if self.asked and told == {"elsewhere": False, "asked": self.asked} else told

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, told: Any) -> Any:
        is_short = isinstance(told, dict) and "question" in told
        return {"elsewhere": False, "asked": told} if is_short else told

    def tells_of(self, request: ApprovalRequest, owner: str) -> Self:
        """A copy with a new request of the agent of `owner`.

        It stays in history for as long as the agent lives, so what can be derived is left out.
        """
        told = request.model_dump(mode="json", exclude_defaults=True)
        known = {"digest": digest(request.plan), "origin": request.digest, "requester": owner}
        return self.model_copy(
            update={"asked": {name: value for name, value in told.items() if value != known.get(name)}}
        )

    def request(self, owner: str) -> ApprovalRequest | None:
        """The new request of the agent of `owner`; None if it is not about a new one.

        Raises:
            ValueError: it cannot be read.
        """
        if self.asked is None:
            return None
        known = {"digest": digest(self.asked.get("plan")), "requester": owner, **self.asked}
        return ApprovalRequest.model_validate({"origin": known["digest"], **known})


class Destination(BaseModel, frozen=True):
    """Where a notice goes; the fields are those of its `Delivery`."""

    way: str
    address: str
    person: str = ""


class Dispatch(SignedStart, frozen=True):
    """What a courier delivers, and where."""

    notice: Notice
    places: tuple[Destination, ...]


class DeliveryReceipt(BaseModel, frozen=True):
    """The outcome of one delivery; `address` is masked, `reason` says why it was not delivered.

    `needless`: its question is not asked any more.
    """

    way: str
    address: str
    person: str = ""
    delivered: bool
    needless: bool = False
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether somebody should have been told but was not."""
        return not (self.delivered or self.needless)


class DeliveryLog(BaseModel):
    """What a courier has done so far; deliveries under way are not included."""

    agent: str
    event: NoticeEvent
    receipts: list[DeliveryReceipt] = Field(default_factory=list)


# The type of the workflow that delivers one notice to all its destinations, through outages.
COURIER = "courier"
# The type of the error of a message that is not sent because its question has ended.
NO_LONGER_ASKED = "NoLongerAsked"
SETTLED = "settled"


def courier_id(notice_id: str) -> str:
    """The workflow id of the courier of a notice."""
    return f"notice:{notice_id}"


def agent_of(courier_id: str) -> str:
    """The agent whose notice a courier delivers; see `courier_id`. A notice's id ends with run and number."""
    return courier_id.removeprefix("notice:").rsplit("/", 2)[0]


def masked(way: str, address: str) -> str:
    """An address for a log: recognisable, but not usable."""
    if way == "email":
        name, _, host = address.partition("@")
        return f"{name[:1]}…@{host}"
    return (urlsplit(address).hostname or "…") if way == "webhook" else address
