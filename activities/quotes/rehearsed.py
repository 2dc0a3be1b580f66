"""Made-up prices in place of a service's in a rehearsal, the same for the same symbol and minute."""

from __future__ import annotations

import hashlib
from decimal import Decimal

from activities.rehearsal.confinement import OUTSIDE_ACCESS
from activities.rehearsal.stand_ins import agent_time
from common.quotes import Quote

# The base price. A hash of the day moves it by up to 0.5, one of the minute by up to 0.1: no plan drifts.
BASE_PRICE = Decimal(100)


class RehearsedFeed:
    """A feed that calls no service.

    Args:
        service: the service that is not asked, for the record of the rehearsal.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    async def quote(self, symbol: str) -> Quote:
        """A price at the agent's own time."""
        access = OUTSIDE_ACCESS.get()
        if access is not None:
            access.made_up = f"{self._service} is not asked for prices, they are made up"
        now = agent_time()
        price = BASE_PRICE + _chance(f"{symbol} {now:%F}") / 2 + _chance(f"{symbol} {now:%F %R}") / 10
        cents = price.quantize(Decimal("0.01"))
        return Quote(symbol=symbol, price=cents, at=now, source="made up for a rehearsal")


def _chance(seed: str) -> Decimal:
    """A number from -1 to 1, determined by the seed."""
    return Decimal(hashlib.sha256(seed.encode()).digest()[0]) / Decimal("127.5") - 1
