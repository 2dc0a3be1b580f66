"""What one person may ask of the gateway at once: requests, streams, bytes."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from math import ceil

from gateway.problems import Problem

BURST = 3  # seconds' worth of requests that may come at once
MAX_BUCKETS = 10_000
MAX_STREAMS = 2_000


class Buckets:
    """Token buckets by name: ``rate`` a second, three times that at once.

    Those used longest ago are forgotten first, which fills them; there are so many that whoever could make
    them forgotten on purpose has long been stopped by their own.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Take one from the bucket of that name.

        Raises:
            Problem: 429 with Retry-After; it is empty.
        """
        now = self._clock()
        full = self._rate * BURST
        left, at = self._left.pop(name, (full, now))
        left = min(full, left + (now - at) * self._rate)
        self._left[name] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > MAX_BUCKETS:
            self._left.popitem(last=False)
        if left < 1:
            raise too_many("Too many requests at once.", (1 - left) / self._rate)


class OneUse:
    """What came before. So many are remembered that none is forgotten while it could come again."""

    def __init__(self, most: int = MAX_BUCKETS) -> None:
        self._most = most
        self._seen: OrderedDict[str, None] = OrderedDict()

    def first(self, name: str) -> bool:
        """Whether ``name`` comes for the first time."""
        if name in self._seen:
            return False
        self._seen[name] = None
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return True


class Places:
    """Places for open streams: so many a person, and a bound for all."""

    def __init__(self, each: int, total: int = MAX_STREAMS) -> None:
        self._each = each
        self._total = total
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are open."""
        return self._taken.total()

    @contextmanager
    def one(self, name: str) -> Iterator[None]:
        """Hold a place.

        Raises:
            Problem: 429 with Retry-After; there is none free.
        """
        self.require(name)
        self._taken[name] += 1
        try:
            yield
        finally:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]

    def require(self, name: str) -> None:
        """Raise the problem that ``one`` would where there is no place free."""
        if self._taken[name] >= self._each or self.taken >= self._total:
            raise too_many("Too many streams are open.", 10)


def too_many(detail: str, seconds: float) -> Problem:
    """429, and when to come back."""
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(max(1, ceil(seconds)))})
