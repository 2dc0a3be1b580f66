"""Requests to a language model about pages: for points, each with a quote. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from activities.llm.outputs import Point, Points
from activities.llm.records import Material, Reply, Structured, Think
from activities.research.records import PAGE
from common.agents.researcher import PageReading, Source
from common.artifacts import ArtifactRef

TOPIC = "topic"

_READ = (
    f"The material `{PAGE}` is a web page, the material `{TOPIC}` what somebody wants to know. Make up to "
    "eight points of what the page says on it, most important first, each in one sentence of your own, and "
    f"quote for each the words of `{PAGE}` that say so, word for word. No points where it says nothing on it."
)
_COMPARE = (
    "Each material is what one web page says on a topic. Make up to six points of where the pages agree, "
    "where they contradict each other, and what only one of them adds, each in one sentence of your own that "
    "names the pages, and quote words of one of them that show it, word for word."
)


def about_page(topic: str, source: Source, excerpt: ArtifactRef) -> Think:
    """Asks what the page says about the topic."""
    material = (Material(id=TOPIC, text=topic), Material(id=PAGE, source=source.url, stored=excerpt))
    return Think(instruction=_READ, material=material, want=Structured(type="points"))


def about_pages(readings: Sequence[PageReading]) -> Think:
    """Asks where the pages agree and where they differ; reading N is the material `page-N`."""
    material = tuple(
        Material(id=f"page-{place}", source=each.url, stored=each.said)
        for place, each in enumerate(readings)
        if each.count
    )
    return Think(instruction=_COMPARE, material=material, want=Structured(type="points"))


def points_of(reply: Reply) -> tuple[Point, ...]:
    """The points of an answer."""
    return tuple(Points.model_validate(reply.value).points)
