"""A process, to be killed, that shares one database with others: for model calls, and for orders."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing.synchronize import Event
from pathlib import Path

from sqlalchemy import URL

from activities.llm.ledger import BudgetLimits, Call, Ledger, Recorded
from activities.llm.records import Spending
from activities.trading.broker import DuplicateOrderError, OrderRequest
from activities.trading.paper import CASH, PaperBroker
from activities.trading.paper_book import PaperBook
from common.agents.buyer import Side, TimeInForce
from common.database import DatabaseLostError
from common.quotes import Quote

TOKENS, PRICE = 100, Decimal(10)
NOW = datetime(2026, 11, 24, 17, tzinfo=UTC)
ORDER = OrderRequest(
    client_order_id="order-1",
    symbol="AAA",
    side=Side.BUY,
    quantity=Decimal(1),
    limit_price=PRICE,
    time_in_force=TimeInForce.GTC,
)
# How long a model call takes, and Temporal's delay before a retry.
WORK_SECONDS, AGAIN_SECONDS = 0.02, 0.3


def paper_broker(place: Path | URL) -> PaperBroker:
    """A broker that is always open, with one price."""

    async def price(symbol: str) -> Quote:
        return Quote(symbol=symbol, price=PRICE, at=NOW, source="test")

    return PaperBroker(place, price, lambda: NOW, hours=None)


def spend(place: Path | URL, folder: Path, name: str, limit: int) -> None:
    """Make calls until the shared budget is spent; files in `folder` record what was sent."""
    ledger, limits = Ledger(place), BudgetLimits(agent_tokens=limit)
    done = folder / f"done-{name}"
    while True:
        # After a kill, continue where the agent's history stands.
        number = done.stat().st_size if done.exists() else 0
        call = Call(f"{name}/{number}", "agent", "owner:2026-11-24", "openai:x", TOKENS, None)
        try:
            held = ledger.reserve(call, limits)
            if isinstance(held, Spending):
                return
            if not isinstance(held, Recorded):
                ledger.mark_sent(held)
                _add(folder / "sent")
                time.sleep(WORK_SECONDS)
                ledger.settle(held, TOKENS, None, "yes")
            _add(done)
        except DatabaseLostError:
            _add(folder / "lost")
            time.sleep(AGAIN_SECONDS)


def order(place: Path | URL, folder: Path, names: list[str]) -> None:
    """Place orders that others place, too, each until it is known to exist."""
    broker = paper_broker(place)
    for name in names:
        time.sleep(WORK_SECONDS)
        while True:
            try:
                asyncio.run(broker.submit(ORDER.model_copy(update={"client_order_id": name})))
            except DatabaseLostError:
                _add(folder / "lost")
                time.sleep(AGAIN_SECONDS)
            except DuplicateOrderError:
                break
            else:
                break


def hold(place: Path | URL, inside: Event) -> None:
    """Book an order, signal it, and never commit."""
    with PaperBook(place, CASH).opened() as book:
        book.add(ORDER, "paper-1", NOW, None)
        inside.set()
        time.sleep(600)


def _add(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b".")
