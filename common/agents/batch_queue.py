"""The items a batch page has left to hand out: one per call, or several if each takes only a moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from datetime import timedelta

from common.agents.batch import MOMENT, BatchItem


class ItemQueue:
    """The items that no call has yet; a call gets up to `together` of them."""

    def __init__(self, together: int) -> None:
        self.left: deque[BatchItem] = deque()
        # How many items wait in a call behind its first one; the call may hand them back.
        self.behind = 0
        self._together = together
        # Items of a failed call that had several: each gets a call of its own.
        self._alone: set[str] = set()
        self._took = MOMENT

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left and nothing may come back."""
        return not (self.left or self.behind)

    def take(self, width: int) -> list[BatchItem]:
        """The next item, and those behind it that one call can do in a moment, at most a slot's share."""
        share = -(-len(self.left) // max(1, width))
        count = min(self._together, share, MOMENT // self._took)
        several = [self.left.popleft()]
        while len(several) < count and not {several[-1].key, self.left[0].key} & self._alone:
            several.append(self.left.popleft())
        self.behind += len(several) - 1
        return several

    def settle(self, several: Sequence[BatchItem], judged: Container[str]) -> None:
        """After a call has ended, put those of its items that were not judged back."""
        self.behind -= len(several) - 1
        self.left.extendleft(item for item in reversed(several) if item.key not in judged)

    def split(self, several: Sequence[BatchItem]) -> None:
        """After a call has failed, put its items back; each gets a call of its own."""
        self._alone.update(each.key for each in several)
        self.settle(several, ())

    def pace(self, took: timedelta) -> None:
        """Record how long an item took."""
        self._took = max(took, timedelta.resolution)
