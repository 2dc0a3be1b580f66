"""The prices that a watch has seen, as a linked list of artifacts, so that an agent carries only the newest.

Storing is idempotent: the same points make the same artifact, and nothing refers to what a lost attempt
stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from common.agents.market import Point, Seen, Series
from common.artifacts import ArtifactRef, ArtifactStore

# Points per artifact. The agent and every look carry up to this many points, of about 100 bytes each.
CHUNK = 32


class Chunk(BaseModel, frozen=True):
    """Points in order, and the artifact of the points before them."""

    earlier: ArtifactRef | None
    points: tuple[Point, ...]


class SeriesStore:
    """Adds points to a series and reads them back."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    def added(self, series: Series, point: Point) -> Series:
        """The series with `point` appended."""
        earlier, recent = series.earlier, (*series.recent, point)
        if len(recent) >= CHUNK:
            chunk = Chunk(earlier=earlier, points=recent)
            earlier, recent = self._artifacts.put(chunk.model_dump_json().encode()), ()
        return series.model_copy(update={"earlier": earlier, "recent": recent, "points": series.points + 1})

    def newest_first(self, series: Series) -> Iterator[Point]:
        """The points, newest first, read lazily from the store."""
        yield from reversed(series.recent)
        earlier = series.earlier
        while earlier is not None:
            chunk = Chunk.model_validate_json(self._artifacts.get(earlier))
            yield from reversed(chunk.points)
            earlier = chunk.earlier

    def points(self, series: Series) -> list[Point]:
        """All points, oldest first."""
        return list(self.newest_first(series))[::-1]


def scaled(newest_first: Iterable[Point]) -> Iterator[tuple[Point, float]]:
    """The points with a price, each with its price on the scale of the newest, so a split is not a fall."""
    factor, after = 1.0, None
    for point in newest_first:
        if point.seen is not Seen.PRICE or point.price is None:
            continue
        price = float(point.price)
        if after is not None:
            factor *= after / price
            after = None
        if point.anew:
            after = price
        yield point, price * factor
