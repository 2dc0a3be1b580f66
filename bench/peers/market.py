"""The market of the bench's buyers: a board with prices, and a broker with a journal."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from activities.trading.broker import OrderRequest
from activities.trading.paper import PaperBroker
from common.agents.buyer import Order
from common.files import write_atomically
from common.quotes import Quote

# Key of the price for symbols without their own on the board.
ALL = "*"
# A line of a journal: a sign, a symbol, and the outcome of what was sent.
Line = tuple[str, str, str]
SENT, ENDED = "+", "-"
ANSWERED = "answered"
# After a suspended process resumes, the SDK may cancel what ran out of time before it sends.
CUT_OFF = "cut-off"


class PriceBoard:
    """Prices in a file shared by all processes; a feed for `Quotes`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, prices: Mapping[str, Decimal]) -> None:
        """Write `prices` by symbol; `ALL` is for the others."""
        text = json.dumps({symbol: str(price) for symbol, price in prices.items()})
        write_atomically(self._file, text.encode())

    async def quote(self, symbol: str) -> Quote:
        """The price on the board now."""
        prices = json.loads(self._file.read_bytes())
        price = Decimal(prices.get(symbol, prices[ALL]))
        return Quote(symbol=symbol, price=price, at=datetime.now(UTC), source="board")


class Journal:
    """What one worker has sent to the broker, and each outcome; survives a kill."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, sign: str, symbol: str, outcome: str = "") -> None:
        """Append a line; it is in the file when this returns."""
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, f"{sign} {symbol} {outcome}\n".encode())
        finally:
            os.close(handle)

    def in_flight(self) -> set[str]:
        """Symbols of orders sent but not answered."""
        under_way: Counter[str] = Counter()
        for sign, symbol, _ in self.lines():
            under_way[symbol] += 1 if sign == SENT else -1
        return {symbol for symbol, count in under_way.items() if count > 0}

    def lines(self) -> list[Line]:
        """Every line: sign, symbol, outcome."""
        if not self._file.exists():
            return []
        parts = (line.split(" ") for line in self._file.read_text().splitlines())
        return [(sign, symbol, outcome) for sign, symbol, outcome in parts]


class WatchedBroker(PaperBroker):
    """The paper broker, with a journal of orders in flight."""

    journal: Journal

    async def submit(self, order: OrderRequest) -> Order:
        """Place an order as the paper broker does."""
        self.journal.note(SENT, order.symbol)
        outcome = CUT_OFF
        try:
            answer = await super().submit(order)
            outcome = ANSWERED
            return answer
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self.journal.note(ENDED, order.symbol, outcome)
