"""Limits on what one person may use: request rates, open streams, and one-time requests."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from math import ceil

from gateway.problems import Problem

BURST = 3  # seconds' worth of requests allowed in a burst
MAX_BUCKETS = 10_000
MAX_STREAMS = 2_000


class Buckets:
    """Token buckets by name: ``rate`` a second, and three times that in a burst.

    The least recently used are evicted, which refills them. There are so many that a client's own bucket runs
    empty before the client can evict another.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Take one token from the bucket of that name.

        Raises:
            Problem: 429 with Retry-After; the bucket is empty.
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


class ReplayGuard:
    """Remembers names seen before; more of them than can arrive while one may still be repeated."""

    def __init__(self, capacity: int = MAX_BUCKETS) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[str, None] = OrderedDict()

    def first(self, name: str) -> bool:
        """Whether ``name`` is seen for the first time."""
        if name in self._seen:
            return False
        self._seen[name] = None
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return True


class StreamSlots:
    """Slots for open streams, limited per person and in total."""

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
        """Hold a slot within the context.

        Raises:
            Problem: 429 with Retry-After; no slot is free.
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
        """Raise what ``one`` would raise if no slot is free."""
        if self._taken[name] >= self._each or self.taken >= self._total:
            raise too_many("Too many streams are open.", 10)


def too_many(detail: str, seconds: float) -> Problem:
    """429, with the seconds after which to try again."""
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(max(1, ceil(seconds)))})
