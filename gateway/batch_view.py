"""A batch as its page shows it: its bar, its lists, its questions in groups of those that are alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.agents.batch import BatchStatus
from common.client.asked import AskedItem
from common.client.batches import counts, percent


@dataclass(frozen=True)
class Segment:
    """A part of a bar that is 100 wide: what it stands for, where it begins, and how wide it is."""

    name: str
    x: float
    width: float


@dataclass(frozen=True)
class Bar:
    """The progress of a batch as a picture and in words."""

    segments: list[Segment]
    percent: str
    words: str

    @classmethod
    def of(cls, batch: BatchStatus) -> Bar:
        """The bar of a batch: what is done, quarantined and in flight, in this order."""
        segments, x = list[Segment](), 0.0
        for name, count in (
            ("done", batch.done),
            ("quarantined", batch.quarantined),
            ("in_flight", batch.in_flight),
        ):
            width = round(100 * count / batch.items, 2) if batch.items else 0.0
            segments.append(Segment(name, x, width))
            x = round(x + width, 2)
        return cls(segments, percent(batch), counts(batch))


@dataclass(frozen=True)
class Group:
    """Questions that are alike, in the words of the first; `shown` says which, signed, for the form.

    The form is filled in with those that are `ticked`, by agent and request, and the `note`.
    """

    id: str
    items: list[AskedItem]
    shown: str
    why_not: str
    ticked: set[tuple[str, str]]
    note: str = ""
    problem: str = ""


def groups_of(items: Iterable[AskedItem]) -> dict[str, list[AskedItem]]:
    """The questions by their groups, the largest first."""
    found = dict[str, list[AskedItem]]()
    for item in items:
        found.setdefault(item.group, []).append(item)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))
