"""What entry points share of the buyer: input, the plan a human approves, result. Money is never a float."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from common.agents.agent import ThinkerInput
from common.agents.asking import AskingInput
from common.agents.fields import Amount, LocalPath, Pace, Share, Span
from common.agents.needs import Needs, Place
from common.approval.stakes import Stakes
from common.quotes import Money, Quote, Symbol
from common.shown import Shown

Quantity = Amount


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"


class TimeInForce(StrEnum):
    """How long an order stands: to the end of the session, or until it is cancelled."""

    DAY = "day"
    GTC = "gtc"


class OrderState(StrEnum):
    """Where an order stands. The last four are final."""

    ACCEPTED = "accepted"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing can happen to the order any more."""
        return self not in (OrderState.ACCEPTED, OrderState.PARTLY_FILLED)


class OnDrift(StrEnum):
    """What the buyer does when a fact its plan rests on has moved too far."""

    ASK_AGAIN = "ask_again"
    STOP = "stop"


class BuyWhen(StrEnum):
    """When the buyer asks: now, or once the price is within the limit."""

    NOW = "now"
    WITHIN_LIMIT = "within-limit"


class BuyerInput(AskingInput, ThinkerInput):
    """What `start buyer` takes."""

    symbol: Symbol = Field(description="what to buy, as the market names it")
    quantity: Quantity = Field(description="how many units")
    limit: Money = Field(description="the most one unit may cost")
    tolerance: Share = Field(
        Decimal("0.01"), description="how far the price may move from what was approved, such as 1% or 0.01"
    )
    documents: LocalPath | None = Field(None, description="folder of documents that make the case")
    on_drift: OnDrift = Field(
        OnDrift.ASK_AGAIN, description="when facts have moved too far: ask_again or stop"
    )
    time_in_force: TimeInForce = Field(TimeInForce.DAY, description="how long the order stands: day or gtc")
    when: BuyWhen = Field(
        BuyWhen.NOW, description="when to ask: now, or within-limit, once the price is at or under the limit"
    )
    look_every: Pace = Field(
        timedelta(minutes=15), description="how often to look at the price while it waits for it, 1m to 1d"
    )
    wait_for: Span = Field(
        timedelta(days=30), description="how long to wait for the price; then it ends, and nothing is bought"
    )
    patience: Span = Field(
        timedelta(days=3),
        description="how long to follow the order; what is open then is cancelled",
    )

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words."""
        return f"Buy {self.quantity} {self.symbol} at {self.limit} or less"

    @property
    def needs(self) -> Needs:
        """What must be available before people are asked: a broker, the documents, a model to read them."""
        if self.documents is None:
            return Needs(broker=True)
        documents = Place(field="documents", path=self.documents)
        return Needs(broker=True, model=self.model, places=(documents,))

    @property
    def stakes(self) -> Stakes:
        """The most that the agent could do, for the operator's policy to judge."""
        return super().stakes.model_copy(update={"order": self.quantity * self.limit})


class BuyPlan(BaseModel, frozen=True):
    """What a human approves: to buy `quantity` of `symbol` at no more than `limit` each.

    `quote` is the price the plan was made at; it may move by the share `tolerance`. `case` says why, written
    by `model`, from documents whose digest is `documents` (empty if there are none).
    """

    symbol: Annotated[Symbol, Shown("What")]
    side: Side = Side.BUY
    quantity: Annotated[Quantity, Shown("How many")]
    limit: Annotated[Money, Shown("At most, each")]
    quote: Annotated[Quote, Shown("The price it was planned at", order=2)]
    tolerance: Annotated[Share, Shown("The price may move by", form="share", order=2)]
    time_in_force: Annotated[TimeInForce, Shown("How long the order stands", order=2)]
    case: Annotated[str, Shown("The case for it", form="text", order=2)]
    documents: Annotated[str, Shown("Digest of the documents", internal=True)]
    model: Annotated[str, Shown("Language model", internal=True)]

    @property
    def total(self) -> Annotated[Decimal, Shown("The total is at most", order=1)]:
        """The cost of all units at the limit."""
        return self.quantity * self.limit

    @property
    def stakes(self) -> Stakes:
        """The most that the order can cost."""
        return Stakes(order=self.total)


# What an approver may edit: how many units, at what limit, how long the order stands.
EDITABLE = ("quantity", "limit", "time_in_force")


class Order(BaseModel, frozen=True):
    """An order as the broker has it. `average_price` is that of the `filled` units, None before the first.

    `broker_order_id` is empty if the broker refused the order without keeping it; `reason` then says why.
    """

    client_order_id: str
    broker_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    filled: Decimal
    average_price: Decimal | None
    state: OrderState
    reason: str = ""
    submitted_at: AwareDatetime
    updated_at: AwareDatetime

    @property
    def in_words(self) -> str:
        """Its state, in one line."""
        price = f" at {self.average_price}" if self.average_price is not None else ""
        return (
            f"{self.state}: {self.filled} of {self.quantity} {self.symbol}{price}, limit {self.limit_price}"
        )


class BuyerMemory(BaseModel):
    """What the buyer carries over.

    `key` is that of the last action, `drifts` what voided the last approval; `wait_until` is until when it
    waits for the price, `quote` the newest it has seen meanwhile.
    """

    plan: BuyPlan | None = None
    decision: str = ""
    drifts: list[str] = Field(default_factory=list)
    key: str = ""
    order: Order | None = None
    give_up_at: AwareDatetime | None = None
    wait_until: AwareDatetime | None = None
    quote: Quote | None = None


class BuyOutcome(StrEnum):
    """How the buyer ended."""

    BOUGHT = "bought"
    PARTLY_BOUGHT = "partly_bought"
    NOT_FILLED = "not_filled"
    REFUSED = "refused"
    NOT_APPROVED = "not_approved"
    DRIFTED = "drifted"
    NOT_REACHED = "not_reached"


class BuyerResult(BaseModel, frozen=True):
    """The buyer's result. `spent` is `filled` times `average_price`.

    `refused` means that the broker refused, `not_reached` that the price never came within the limit.
    """

    outcome: BuyOutcome
    symbol: Annotated[Symbol, Shown("What")]
    quantity: Annotated[Decimal, Shown("How many were wanted")]
    limit: Annotated[Decimal, Shown("At most, each")]
    filled: Annotated[Decimal, Shown("How many were bought")] = Decimal(0)
    average_price: Decimal | None = None
    spent: Annotated[Decimal, Shown("Spent in all")] = Decimal(0)
    client_order_id: Annotated[str, Shown(internal=True)] = ""
    order_state: Annotated[OrderState | None, Shown("How the order ended")] = None
    decision: Annotated[str, Shown("What people decided")] = ""
    reason: Annotated[str, Shown("Why")] = ""
