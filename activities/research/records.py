"""Requests and results of the link researcher's activities. Cheap to import."""

from __future__ import annotations

from pydantic import BaseModel, Field

from activities.llm.outputs import Point
from common.agents.researcher import PageReading, SavedLink, Source, Unread
from common.artifacts import ArtifactRef

# The id of the material that shows a page to a language model.
PAGE = "page"


class Claim(BaseModel, frozen=True):
    """One thing a page says: the quote from the stored text, from `start` up to `end`.

    `says` is a language model's wording of it; empty if the quote speaks for itself. `score` is the quote's
    relevance to the topic, comparable only within a page.
    """

    says: str
    quote: str
    start: int
    end: int
    score: float = 0.0


class LinkChoice(BaseModel, frozen=True):
    """Links in the order they were found; asks for the best `keep` of them."""

    topic: str
    links: tuple[SavedLink, ...]
    keep: int = Field(gt=0)


class ChosenLinks(BaseModel, frozen=True):
    """The best links, best first."""

    links: tuple[SavedLink, ...]


class ExcerptRequest(BaseModel, frozen=True):
    """Asks for the passages of a page most relevant to the topic, short enough for a language model."""

    topic: str
    source: Source


class Excerpt(BaseModel, frozen=True):
    """Passages of a page in reading order; the whole page if it is short."""

    text: ArtifactRef


class ReadRequest(BaseModel, frozen=True):
    """A page and the points that `model` made of it; without points, rules find quotes."""

    topic: str
    source: Source
    points: tuple[Point, ...] | None
    model: str


class DraftRequest(BaseModel, frozen=True):
    """Everything that a report is written from.

    Attributes:
        topic: what was asked.
        wanted: how many links should have been read.
        target: where to publish the report; empty for the agent's own files.
        sources: the pages that were read.
        readings: what each page says, one per source.
        unread: links without a usable page.
        compared: what a language model says about the pages together; the material `page-N` is `sources[N]`.
        compared_by: that model; empty if rules make the comparison.
    """

    topic: str
    wanted: int
    target: str
    sources: tuple[Source, ...]
    readings: tuple[PageReading, ...]
    unread: tuple[Unread, ...]
    compared: tuple[Point, ...] = ()
    compared_by: str = ""


class Draft(BaseModel, frozen=True):
    """A draft: its bytes, its beginning, why it may mean little, and the agent's file with a copy of it."""

    target: str
    markdown: ArtifactRef
    html: ArtifactRef
    opening: str
    claims: int
    model: str
    weak: str = ""
    path: str
