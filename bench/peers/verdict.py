"""What the broker's book must look like after the chaos, and what is wrong with it. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from bench.peers.market import ANSWERED, SENT, Line
from common.agents.buyer import BuyerResult, BuyOutcome, Order
from common.agents.states import RunStatus


class Role(StrEnum):
    """What happens to an agent, and how many orders it may then have."""

    APPROVED = "approved"  # one
    REJECTED = "rejected"  # none
    DRIFTED = "drifted"  # none: the price has moved before the approval comes
    RACED = "raced"  # as it reports itself: the price moves while it acts
    CANCELLED = "cancelled"  # one or none, and no open one


@dataclass(frozen=True)
class AgentOutcome:
    """How an agent ended; its symbol is unique. `result` is None if it did not complete."""

    symbol: str
    role: Role
    quantity: Decimal
    limit: Decimal
    status: RunStatus
    result: BuyerResult | None


# Outcomes with an order: bought, or tried to.
_ORDERED = frozenset({BuyOutcome.BOUGHT, BuyOutcome.PARTLY_BOUGHT, BuyOutcome.NOT_FILLED, BuyOutcome.REFUSED})


def compare(agents: Sequence[AgentOutcome], orders: Sequence[Order]) -> dict[str, int]:
    """Compare the book with the approvals.

    Returns:
        `orders`: in the book.
        `duplicated`: orders beyond the first of an agent.
        `missing`: agents with an approval, or that report an order, without an order.
        `forbidden_orders`: orders of agents without approval, or that report none, or of no agent.
        `open_orders`: not final although all agents have ended.
        `beyond`: orders over the approved limit or quantity.
        `contradicted`: agents that report another order, or another filling, than the book.
        `failed`: agents that neither completed nor, if asked to, were cancelled.
    """
    book: dict[str, list[Order]] = {}
    for order in orders:
        book.setdefault(order.symbol, []).append(order)
    wrong = Counter(
        orders=len(orders),
        duplicated=sum(len(each) - 1 for each in book.values()),
        forbidden_orders=sum(len(book[symbol]) for symbol in set(book) - {each.symbol for each in agents}),
        open_orders=sum(not order.state.final for order in orders),
        **dict.fromkeys(("missing", "beyond", "contradicted", "failed"), 0),
    )
    for agent in agents:
        found = book.get(agent.symbol, [])
        allowed = _allowed(agent)
        wrong["missing"] += allowed == 1 and not found
        wrong["forbidden_orders"] += len(found) if allowed == 0 else 0
        wrong["beyond"] += sum(
            order.limit_price > agent.limit or order.quantity > agent.quantity for order in found
        )
        wrong["contradicted"] += _contradicted(agent, found)
        may_be_cancelled = agent.role is Role.CANCELLED and agent.status is RunStatus.CANCELLED
        wrong["failed"] += agent.status is not RunStatus.COMPLETED and not may_be_cancelled
    return dict(wrong)


def attempts_over_one(orders: Sequence[Order], journals: Sequence[Sequence[Line]]) -> int:
    """Orders that were sent more than once, or whose answer was not received."""
    sent, heard = Counter[str](), Counter[str]()
    for journal in journals:
        for sign, symbol, outcome in journal:
            sent[symbol] += sign == SENT
            heard[symbol] += outcome == ANSWERED
    booked = {order.symbol for order in orders}
    return sum(sent[symbol] > 1 or heard[symbol] < sent[symbol] for symbol in booked)


def _allowed(agent: AgentOutcome) -> int | None:
    """How many orders the agent must have; None if its role leaves that open."""
    if agent.role in (Role.REJECTED, Role.DRIFTED):
        return 0
    if agent.role is Role.APPROVED:
        return 1
    return None if agent.result is None else int(agent.result.outcome in _ORDERED)


def _contradicted(agent: AgentOutcome, found: Sequence[Order]) -> bool:
    if agent.result is None:
        return False
    told = (agent.result.client_order_id, agent.result.filled)
    return told not in ([(order.client_order_id, order.filled) for order in found] or [("", Decimal(0))])
