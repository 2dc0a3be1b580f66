"""Research reports: quotes stand where they are said to stand, what pages and models wrote is only text."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html as markup
from temporalio.testing import ActivityEnvironment

from activities.html.markdown import escaped
from activities.llm.outputs import Point
from activities.research.activities import ResearchActivities
from activities.research.passages import best_quotes, by_relevance, excerpt, ranked_links
from activities.research.records import PAGE, Draft, DraftRequest, ReadRequest
from common.agent_files import AgentFiles
from common.agents.researcher import PageReading, SavedLink, Source, Unread
from common.artifacts import ArtifactRef, ArtifactStore
from common.digest import digest_bytes
from common.object_store import FolderStore

TOPIC = "the tides of a harbour"
NORTH = (
    "The tides of the north harbour rise twice a day and fall twice a day.\n"
    "Ships enter the harbour when its tides are high enough for them to pass the bar.\n"
    "The market square has been paved with stone from the old quarry in the hills."
)
SOUTH = (
    "Pilots of the south harbour wait for the tides before they bring a ship across the bar.\n"
    "The tides of the north harbour rise twice a day and fall twice a day, as everybody knows."
)
EVIL = '</blockquote><script>alert(1)</script>" onload="x" [a](javascript:alert(1)) `x` | # \u202e'


@dataclasses.dataclass
class World:
    """A desk with a store of its own."""

    store: ArtifactStore
    desk: ResearchActivities

    def source(self, url: str, text: str, title: str = "A page") -> Source:
        return Source(
            url=url,
            title=title,
            media_type="text/html",
            digest=digest_bytes(text.encode()),
            text=self.store.put(text.encode()),
            characters=len(text),
            fetched_at=datetime(2026, 11, 24, 17, tzinfo=UTC),
        )

    async def read(
        self, source: Source, points: tuple[Point, ...] | None = None, model: str = "offline"
    ) -> PageReading:
        request = ReadRequest(topic=TOPIC, source=source, points=points, model=model)
        return await ActivityEnvironment().run(self.desk.check_quotes, request)

    async def draft(self, *sources: Source, readings: list[PageReading] | None = None, **more: Any) -> Draft:
        readings = readings or [await self.read(source) for source in sources]
        wanted = DraftRequest(
            **{
                "topic": TOPIC,
                "wanted": len(sources),
                "target": "",
                "sources": sources,
                "readings": tuple(readings),
                "unread": (),
                **more,
            }
        )
        return await ActivityEnvironment().run(self.desk.draft_report, wanted)

    def text(self, ref: ArtifactRef) -> str:
        return self.store.get(ref).decode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    store = ArtifactStore(FolderStore(tmp_path / "artifacts"))
    return World(
        store,
        ResearchActivities(store, AgentFiles(FolderStore(tmp_path / "objects")), tmp_path / "drafts"),
    )


async def test_every_quote_is_the_stored_text_at_its_offsets(world: World) -> None:
    """Each blockquote names its page and the characters it stands at."""
    texts = {"http://n.test/": NORTH, "http://s.test/": SOUTH}
    draft = await world.draft(*(world.source(url, text) for url, text in texts.items()))
    quotes = list(markup.fromstring(world.text(draft.html)).iter("blockquote"))
    assert draft.claims == len(quotes) == 3
    for each in quotes:
        text = texts[each.get("cite")][int(each.get("data-start")) : int(each.get("data-end"))]
        assert each.text_content() == f"“{text}”"
    assert "market square" not in world.text(draft.html)


async def test_a_claim_whose_quote_does_not_stand_in_the_page_is_dropped_and_said_so(world: World) -> None:
    """Made up, or of another page: neither gets into the report."""
    source = world.source("http://n.test/", NORTH)
    points = (
        Point(says="Twice a day.", quote="rise   twice a day", material=PAGE),
        Point(says="Thrice a day.", quote="rise thrice a day", material=PAGE),
        Point(says="As asked.", quote="the tides of a harbour", material="topic"),
    )
    reading = await world.read(source, points, "openai:x")
    assert (reading.count, reading.dropped) == (1, 2)
    draft = await world.draft(source, readings=[reading])
    for text in (world.text(draft.html), world.text(draft.markdown)):
        assert "“rise twice a day”" in text
        assert "Thrice" not in text
        assert "As asked" not in text
        assert "2 claims were left out" in text
        assert "Twice a day. (by openai:x)" in re.sub("<[^>]*>|[\\\\]", "", text)
    assert draft.model == "openai:x"


async def test_a_weak_match_is_said_in_the_report(world: World) -> None:
    """One word in common, or pages that list others; a match on the topic is not."""
    good = await world.draft(world.source("http://n.test/", NORTH))
    assert good.weak == ""
    assert "match is weak" not in world.text(good.markdown)
    listing = "\n".join(f"Chapter {number}: another harbour" for number in range(40))
    index = world.source("http://i.test/", f"{listing}\nThis is where every harbour is listed by its name.\n")
    weak = await world.draft(index)
    assert weak.weak == (
        "no quote shares more than one word with what was asked: harbour, and 1 of 1 pages quoted read like "
        "an index, with hardly a sentence"
    )
    for text in (world.text(weak.html), world.text(weak.markdown)):
        assert f"The match is weak: {weak.weak}." in text


async def test_a_comparison_keeps_only_quotes_of_the_page_it_names(world: World) -> None:
    """A language model's comparison is checked like its points."""
    north, south = world.source("http://n.test/", NORTH), world.source("http://s.test/", SOUTH)
    compared = (
        Point(says="South has pilots.", quote="Pilots of the south harbour", material="page-1"),
        Point(says="North has none.", quote="Pilots of the south harbour", material="page-0"),
    )
    draft = await world.draft(north, south, compared=compared, compared_by="openai:x")
    text = world.text(draft.html)
    assert "South has pilots." in text
    assert "North has none." not in text
    assert "Compared by openai:x" in text
    assert "South has pilots. (by openai:x)" in re.sub("<[^>]*>", "", text)
    assert draft.model == "offline, openai:x"


async def test_what_pages_say_twice_is_quoted_once_and_names_both(world: World) -> None:
    """A near duplicate is left out; the quote says which other page has it."""
    draft = await world.draft(world.source("http://n.test/", NORTH), world.source("http://s.test/", SOUTH))
    text = world.text(draft.html)
    assert text.count("rise twice a day and fall twice a day") == 1
    assert ", also [" in text


async def test_nothing_from_outside_becomes_markup(world: World) -> None:
    """Titles, quotes, addresses, reasons and a model's words are shown as they are."""
    text = f"The tides of the harbour {EVIL} rise and fall twice a day for all of the ships in it."
    source = world.source("http://n.test/?a=%22%3E<script>", text, title=f"A page {EVIL}")
    points = (Point(says=EVIL, quote="rise and fall twice", material=PAGE),)
    draft = await world.draft(
        source,
        readings=[await world.read(source, points, f"openai:{EVIL}")],
        unread=(Unread(url=f"http://x.test/{EVIL}", reason=EVIL),),
    )
    page = world.text(draft.html)
    tree = markup.fromstring(page)
    assert not list(tree.iter("script", "img", "iframe", "object", "form"))
    assert not [name for each in tree.iter() for name in each.attrib if str(name).startswith("on")]
    assert {str(each.get("href")).partition(":")[0] for each in tree.iter("a")} <= {"http", "https"}
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(javascript", world.text(draft.markdown))


@given(st.text(max_size=200))
def test_escaped_markdown_is_one_line_and_has_no_bare_mark(text: str) -> None:
    """Whatever the text, each mark of Markdown in it has a backslash before."""
    shown = escaped(text)
    assert "\n" not in shown
    assert not re.search(r"[`*_\[\]<>|~#&!]", re.sub(r"\\[\\`*_\[\]<>|~#&!]", "", shown))


async def test_a_report_without_pages_says_so(world: World) -> None:
    """Nothing could be read: no quote, the reasons, and no more."""
    draft = await world.draft(wanted=3, unread=(Unread(url="http://x.test/", reason="status 404"),))
    assert draft.claims == 0
    assert "0 of 3 pages read" in world.text(draft.markdown)
    assert "No page that could be read says anything" in world.text(draft.html)
    assert "status 404" in world.text(draft.html)
    assert draft.target == "", "of its own, without a place that it was given"


def test_links_are_ranked_by_words_and_path() -> None:
    """Rare words of the topic count most; archives and second addresses of a page are left out."""
    links = [
        SavedLink(url="http://a.test/about", text="About the harbour"),
        SavedLink(url="http://a.test/tides.zip", text="Tides"),
        SavedLink(url="http://a.test/tides/index.html", text="Harbour"),
        SavedLink(url="https://a.test/tides/?x=1", text="Harbour"),
        SavedLink(url="http://a.test/contact", text="Contact"),
    ]
    best = [link.url for link in ranked_links(TOPIC, links, 3)]
    assert best == ["https://a.test/tides/?x=1", "http://a.test/about", "http://a.test/contact"]
    assert by_relevance(TOPIC, [NORTH.splitlines()[2], SOUTH, NORTH])[-1] == 0


@given(st.text(max_size=500), st.integers(1, 100))
def test_excerpts_hold_only_passages_of_the_text_and_stay_within_the_limit(text: str, limit: int) -> None:
    """Each passage stands in the text word for word."""
    taken = excerpt(TOPIC, text, limit)
    assert len(taken) <= max(limit, 0)
    assert all(part in text for part in taken.split("\n\n"))


@given(st.text(max_size=500), st.booleans())
def test_quotes_found_by_rules_stand_in_the_text(text: str, lines: bool) -> None:
    """Whatever the text, a quote is a slice of it."""
    text = f"{text}\n- The tides of a harbour rise {text[:50]} twice on every day of the year."
    for quote in best_quotes(TOPIC, text, lines=lines):
        assert text[quote.start : quote.end] == quote.quote
        assert not quote.quote.startswith("- ")
