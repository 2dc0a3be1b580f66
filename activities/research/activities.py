"""The link researcher's activities: choose links, take excerpts, check quotes, write the draft."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from pydantic import TypeAdapter
from temporalio import activity

from activities.fetching.scraper import HTML
from activities.llm.outputs import Point, find_quote
from activities.llm.records import OFFLINE, Material
from activities.research.passages import (
    best_quotes,
    by_relevance,
    excerpt,
    ranked_links,
    reads_like_index,
)
from activities.research.records import (
    PAGE,
    ChosenLinks,
    Claim,
    Draft,
    DraftRequest,
    Excerpt,
    ExcerptRequest,
    LinkChoice,
    ReadRequest,
)
from activities.research.report import ReportPage, ResearchReport, html, markdown
from common.agent_files import AgentFiles
from common.agents.researcher import PageReading, Source
from common.artifacts import ArtifactStore

OPENING_CHARACTERS = 4_000
_CLAIMS = TypeAdapter(list[Claim])


class ResearchActivities:
    """The activities that work on fetched pages; none uses the network.

    Args:
        artifacts: stores texts and reports.
        files: stores drafts.
        drafts: the folder where people find them on this machine.
    """

    def __init__(self, artifacts: ArtifactStore, files: AgentFiles, drafts: Path) -> None:
        self._artifacts = artifacts
        self._files = files
        self._drafts = drafts

    @activity.defn(name="choose_links")
    async def choose_links(self, choice: LinkChoice) -> ChosenLinks:
        """The best links, judged by their text and path."""
        return ChosenLinks(links=tuple(ranked_links(choice.topic, choice.links, choice.keep)))

    @activity.defn(name="take_excerpt")
    async def take_excerpt(self, request: ExcerptRequest) -> Excerpt:
        """The part of a page that a language model is shown."""
        text = await asyncio.to_thread(self._text, request.source)
        shown = await asyncio.to_thread(excerpt, request.topic, text)
        return Excerpt(text=await asyncio.to_thread(self._artifacts.put, shown.encode()))

    @activity.defn(name="check_quotes")
    async def check_quotes(self, request: ReadRequest) -> PageReading:
        """The claims of a page. Those whose quotes it does not contain word for word are dropped."""
        return await asyncio.to_thread(self._reading, request)

    @activity.defn(name="draft_report")
    async def draft_report(self, request: DraftRequest) -> Draft:
        """Write the report, as Markdown and as one HTML page, without publishing it."""
        agent = activity.info().workflow_id or ""
        return await asyncio.to_thread(self._draft, request, agent)

    def _reading(self, request: ReadRequest) -> PageReading:
        source, text = request.source, self._text(request.source)
        lines = source.media_type in HTML
        model, dropped = request.model, 0
        if request.points is None or request.model == OFFLINE:
            claims, model = best_quotes(request.topic, text, lines=lines), OFFLINE
        else:
            claims = self._located(request.points, {PAGE: text})
            dropped = len(request.points) - len(claims)
        said = "\n\n".join(f"{each.says}\n“{each.quote}”".strip() for each in claims)
        return PageReading(
            url=source.url,
            claims=self._artifacts.put(_CLAIMS.dump_json(claims)),
            said=self._artifacts.put(said.encode()),
            count=len(claims),
            dropped=dropped,
            model=model,
            index=reads_like_index(text, lines=lines),
        )

    def _draft(self, request: DraftRequest, agent: str) -> Draft:
        report = ResearchReport.of(request, self._pages(request))
        if request.compared_by:
            placed = list(self._placed(request.compared, report.pages))
            report.take_comparison(placed, len(request.compared), request.compared_by)
        texts = {".md": markdown(report).encode(), ".html": html(report).encode()}
        folder = self._drafts / quote(agent, safe="")[:200]
        refs = {suffix: self._artifacts.put(data) for suffix, data in texts.items()}
        for suffix, data in texts.items():
            self._files.write(folder / f"draft-{refs['.html'].sha256[:12]}{suffix}", data)
        return Draft(
            target=request.target,
            markdown=refs[".md"],
            html=refs[".html"],
            opening=texts[".md"].decode()[:OPENING_CHARACTERS],
            claims=report.claims,
            model=report.model,
            weak=report.weak,
            path=f"draft-{refs['.html'].sha256[:12]}.html",
        )

    def _pages(self, request: DraftRequest) -> list[ReportPage]:
        """The pages that were read, most relevant first."""
        readings = {each.url: each for each in request.readings}
        pages = [
            ReportPage(place, source, self._claims(readings[source.url]), readings[source.url])
            for place, source in enumerate(request.sources)
        ]
        order = by_relevance(request.topic, [self._text(source) for source in request.sources])
        for number, place in enumerate(order, 1):
            pages[place].number = number
        return sorted(pages, key=lambda page: page.number)

    def _claims(self, reading: PageReading) -> list[Claim]:
        return _CLAIMS.validate_json(self._artifacts.get(reading.claims))

    def _placed(
        self, points: Sequence[Point], pages: Iterable[ReportPage]
    ) -> Iterable[tuple[ReportPage, Claim]]:
        """The points of a comparison whose quotes occur in the page they name."""
        for page in pages:
            mine = [each for each in points if each.material == f"page-{page.place}"]
            if mine:
                text = self._text(page.source)
                for claim in self._located(mine, {f"page-{page.place}": text}):
                    yield page, claim

    @staticmethod
    def _located(points: Sequence[Point], texts: dict[str, str]) -> list[Claim]:
        material = [Material(id=id, text=text) for id, text in texts.items()]
        found = [(point, find_quote(point.quote, material, point.material)) for point in points]
        return [
            Claim(says=" ".join(point.says.split()), quote=place.text, start=place.start, end=place.end)
            for point, place in found
            if place is not None
        ]

    def _text(self, source: Source) -> str:
        return self._artifacts.get(source.text).decode()
