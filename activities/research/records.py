"""What crosses between the link researcher and its activities. Light to import."""

from __future__ import annotations

from pydantic import BaseModel, Field

from activities.llm.outputs import Point
from common.agents.researcher import PageReading, SavedLink, Source, Unread
from common.artifacts import ArtifactRef

# The id under which a page is shown to a language model.
PAGE = "page"


class Claim(BaseModel, frozen=True):
    """One thing a page says: the quote from the stored text, from `start` up to `end`.

    `says` is a language model's wording of it, empty if the quote speaks for itself. `score` says how much of
    the topic the quote covers; it compares quotes of one page only.
    """

    says: str
    quote: str
    start: int
    end: int
    score: float = 0.0


class LinkChoice(BaseModel, frozen=True):
    """Links on offer, in the order they were found, of which the best `keep` are wanted."""

    topic: str
    links: tuple[SavedLink, ...]
    keep: int = Field(gt=0)


class ChosenLinks(BaseModel, frozen=True):
    """The best links, best first."""

    links: tuple[SavedLink, ...]


class ExcerptRequest(BaseModel, frozen=True):
    """Asks for the passages of a page with most to do with the topic, short enough for a language model."""

    topic: str
    source: Source


class Excerpt(BaseModel, frozen=True):
    """Passages of a page in reading order; all of it if it is short."""

    text: ArtifactRef


class ReadRequest(BaseModel, frozen=True):
    """A page and what `model` says it says; without points the quotes are found by rules."""

    topic: str
    source: Source
    points: tuple[Point, ...] | None
    model: str


class DraftRequest(BaseModel, frozen=True):
    """Everything a report is written from.

    Attributes:
        topic: what was asked.
        wanted: how many links were to be read.
        target: where it is to be published; empty for the agent's own files.
        sources: the pages that were read.
        readings: what each says; one for each source.
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
    """A draft: its bytes, its beginning, why it may say little, the name of the agent's file with a copy."""

    target: str
    markdown: ArtifactRef
    html: ArtifactRef
    opening: str
    claims: int
    model: str
    weak: str = ""
    path: str
