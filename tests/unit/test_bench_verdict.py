"""The bench of exactly-once action sees every way in which a book can be wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bench.peers.market import ANSWERED, ENDED, SENT
from bench.peers.verdict import AgentOutcome, Role, attempts_over_one, compare
from common.agents.buyer import BuyerResult, BuyOutcome, Order, OrderState, Side
from common.agents.states import RunStatus

NOW = datetime(2026, 11, 24, tzinfo=UTC)
GOOD = {
    **dict.fromkeys(("duplicated", "missing", "forbidden_orders", "open_orders", "beyond"), 0),
    **dict.fromkeys(("contradicted", "failed"), 0),
}


def order(**changes: Any) -> Order:
    plain = Order(
        client_order_id="one",
        broker_order_id="paper-1",
        symbol="AAA",
        side=Side.BUY,
        quantity=Decimal(2),
        limit_price=Decimal(10),
        filled=Decimal(2),
        average_price=Decimal(10),
        state=OrderState.FILLED,
        submitted_at=NOW,
        updated_at=NOW,
    )
    return plain.model_copy(update=changes)


def agent(
    role: Role = Role.APPROVED, outcome: BuyOutcome | None = BuyOutcome.BOUGHT, **changes: Any
) -> AgentOutcome:
    result = outcome and BuyerResult(
        outcome=outcome,
        symbol="AAA",
        quantity=Decimal(2),
        limit=Decimal(11),
        filled=Decimal(2) if outcome is BuyOutcome.BOUGHT else Decimal(0),
        client_order_id="one" if outcome is BuyOutcome.BOUGHT else "",
    )
    status = RunStatus.COMPLETED if outcome else RunStatus.CANCELLED
    return AgentOutcome("AAA", role, Decimal(2), Decimal(11), changes.get("status", status), result or None)


NOT_BOUGHT = agent(Role.RACED, BuyOutcome.DRIFTED)


@pytest.mark.parametrize(
    ("ended", "orders", "wrong"),
    [
        (agent(), [order()], {}),
        (agent(), [], {"missing": 1, "contradicted": 1}),
        (agent(), [order(), order(client_order_id="two")], {"duplicated": 1}),
        (agent(), [order(limit_price=Decimal(12))], {"beyond": 1}),
        (agent(), [order(quantity=Decimal(3))], {"beyond": 1}),
        (agent(), [order(filled=Decimal(1))], {"contradicted": 1}),
        (agent(), [order(state=OrderState.PARTLY_FILLED)], {"open_orders": 1}),
        (agent(), [order(), order(symbol="BBB")], {"forbidden_orders": 1}),
        (agent(Role.APPROVED, None, status=RunStatus.FAILED), [order()], {"failed": 1}),
        (agent(Role.REJECTED, BuyOutcome.NOT_APPROVED), [], {}),
        (
            agent(Role.REJECTED, BuyOutcome.NOT_APPROVED),
            [order()],
            {"forbidden_orders": 1, "contradicted": 1},
        ),
        (agent(Role.DRIFTED, BuyOutcome.DRIFTED), [order()], {"forbidden_orders": 1, "contradicted": 1}),
        (NOT_BOUGHT, [], {}),
        (NOT_BOUGHT, [order()], {"forbidden_orders": 1, "contradicted": 1}),
        (agent(Role.RACED), [], {"missing": 1, "contradicted": 1}),
        (agent(Role.CANCELLED, None), [], {}),
        (agent(Role.CANCELLED, None), [order(state=OrderState.CANCELLED)], {}),
        (agent(Role.CANCELLED, None), [order(state=OrderState.ACCEPTED)], {"open_orders": 1}),
        (agent(Role.APPROVED, None), [order()], {"failed": 1}),
    ],
)
def test_what_is_wrong_with_a_book_is_counted(
    ended: AgentOutcome, orders: list[Order], wrong: dict[str, int]
) -> None:
    """And nothing else is."""
    assert compare([ended], orders) == {**GOOD, "orders": len(orders), **wrong}


@pytest.mark.parametrize(
    ("journals", "count"),
    [
        ([[(SENT, "AAA", ""), (ENDED, "AAA", ANSWERED)]], 0),
        ([[(SENT, "AAA", ""), (ENDED, "AAA", "ConnectionResetError")]], 1),
        ([[(SENT, "AAA", "")], [(SENT, "AAA", ""), (ENDED, "AAA", ANSWERED)]], 1),
        ([[(SENT, "AAA", "")]], 1),
        ([[(SENT, "BBB", "")]], 0),
    ],
)
def test_orders_sent_again_or_unheard_are_counted(
    journals: list[list[tuple[str, str, str]]], count: int
) -> None:
    """A worker that was killed while it sent has heard nothing, too; what has no order is not counted."""
    assert attempts_over_one([order()], journals) == count
