"""Prices in a rehearsal in place of a service's: made up, and the same for the same symbol and minute."""

from __future__ import annotations

import hashlib
from decimal import Decimal

from activities.rehearsal.confinement import REACHED
from activities.rehearsal.stand_ins import its_time
from common.quotes import Quote

# A day's price is within a half of this, a minute's within a tenth of its day's: no plan drifts by itself.
AROUND = Decimal(100)


class RehearsedFeed:
    """A feed that asks nobody.

    Args:
        service: whose prices these are not.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    async def quote(self, symbol: str) -> Quote:
        """A price of the agent's own time."""
        reached = REACHED.get()
        if reached is not None:
            reached.made_up = f"{self._service} is not asked for prices, they are made up"
        now = its_time()
        price = AROUND + _chance(f"{symbol} {now:%F}") / 2 + _chance(f"{symbol} {now:%F %R}") / 10
        cents = price.quantize(Decimal("0.01"))
        return Quote(symbol=symbol, price=cents, at=now, source="made up for a rehearsal")


def _chance(seed: str) -> Decimal:
    """A number from -1 to 1, the same for the same seed."""
    return Decimal(hashlib.sha256(seed.encode()).digest()[0]) / Decimal("127.5") - 1
