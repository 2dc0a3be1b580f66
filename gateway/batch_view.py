"""A batch as its page shows it: its bar, its lists, and its questions grouped by likeness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.agents.batch import BatchStatus
from common.client.batch_questions import AskedItem
from common.client.batches import counts, percent


@dataclass(frozen=True)
class Segment:
    """A part of a bar 100 units wide: what it stands for, where it begins, and its width."""

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
        """The bar of a batch: done, quarantined and in flight, in this order."""
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
    """A group of like questions, in the words of the first. `shown` lists them, signed, for the form.

    The form has those in `ticked`, by agent and request, ticked, and the `note` filled in.
    """

    id: str
    items: list[AskedItem]
    shown: str
    why_not: str
    ticked: set[tuple[str, str]]
    note: str = ""
    problem: str = ""


def groups_of(items: Iterable[AskedItem]) -> dict[str, list[AskedItem]]:
    """The questions by group, the largest group first."""
    found = dict[str, list[AskedItem]]()
    for item in items:
        found.setdefault(item.group, []).append(item)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))
