"""The report as data, Markdown and HTML: every claim with its quote, and the quote's address and position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import quote as percent
from urllib.parse import urlsplit

from activities.html.markdown import escaped
from activities.html.render import render
from activities.llm.records import OFFLINE
from activities.llm.sentences import weak_match
from activities.research.passages import are_relevant, holds, near, shared_terms
from activities.research.records import Claim, DraftRequest
from common.agents.researcher import PageReading, Source, Unread

MAX_SUMMARY_QUOTES, MAX_QUOTES_PER_PAGE, MAX_TERMS, MAX_QUOTES_PER_TERM = 5, 6, 4, 4


@dataclass
class ReportPage:
    """A web page in the report. `place` is its index in the request, `number` its number in the report."""

    place: int
    source: Source
    claims: list[Claim]
    reading: PageReading
    number: int = 0
    title: str = ""

    @property
    def address(self) -> str:
        """The page's address, escaped so that it cannot end a Markdown link or an HTML attribute."""
        return percent(self.source.url, safe="/%:@!$&'*+,;=~-._?#[]{}|")


@dataclass(frozen=True)
class ReportedClaim:
    """A claim of a page, and the other pages that say nearly the same."""

    page: ReportPage
    claim: Claim
    also: tuple[ReportPage, ...] = ()
    compared_by: str = ""

    @property
    def author(self) -> str:
        """The language model that worded the claim."""
        return self.compared_by or self.page.reading.model

    @property
    def address(self) -> str:
        """The quote's address; browsers that support text fragments scroll to it and highlight it."""
        words = self.claim.quote.split()
        ends = [" ".join(words)] if len(words) <= 8 else [" ".join(words[:4]), " ".join(words[-4:])]
        fragment = ",".join(percent(each, safe="").replace("-", "%2D") for each in ends)
        return f"{self.page.address}#:~:text={fragment}"

    @property
    def place(self) -> str:
        """The quote's position in the text that was read, in characters."""
        return f"characters {self.claim.start}-{self.claim.end}"


@dataclass
class ResearchReport:
    """The content of a report. `compared` holds what several pages say, by term or under one heading."""

    topic: str
    wanted: int
    pages: list[ReportPage]
    short: list[ReportedClaim]
    by_page: list[tuple[ReportPage, list[ReportedClaim]]]
    without_claims: list[ReportPage]
    unread: Sequence[Unread]
    dropped: int
    model: str
    compared: list[tuple[str, list[ReportedClaim]]] = field(default_factory=list)
    compared_by: str = ""

    @classmethod
    def of(cls, request: DraftRequest, pages: list[ReportPage]) -> ResearchReport:
        """The report on `pages`, most relevant first: one quote from each in short, then page by page."""
        _shorten_titles(pages)
        _drop_weak_quotes(request.topic, pages)
        said = _without_duplicates(pages)
        firsts = [next((each for each in said if each.page is page), None) for page in pages]
        short = [each for each in firsts if each is not None][:MAX_SUMMARY_QUOTES]
        compared = [] if request.compared_by else compared_by_rules(request.topic, pages, short)
        shown = {each.claim.quote for each in (*short, *(each for _, part in compared for each in part))}
        rest = [each for each in said if each.claim.quote not in shown]
        by_page = [
            (page, [each for each in rest if each.page is page][:MAX_QUOTES_PER_PAGE]) for page in pages
        ]
        models = dict.fromkeys(page.reading.model for page in pages)
        return cls(
            topic=request.topic,
            wanted=request.wanted,
            pages=pages,
            short=short,
            by_page=[(page, each) for page, each in by_page if each],
            without_claims=[page for page in pages if not page.claims],
            unread=request.unread,
            dropped=sum(page.reading.dropped for page in pages),
            model=", ".join(models) or OFFLINE,
            compared=compared,
        )

    def take_comparison(
        self, placed: Sequence[tuple[ReportPage, Claim]], point_count: int, model: str
    ) -> None:
        """Use a language model's comparison of the pages, of `point_count` points: those that were placed."""
        self.compared = (
            [("", [ReportedClaim(page, claim, compared_by=model) for page, claim in placed])]
            if placed
            else []
        )
        self.compared_by = model
        if model not in self.model.split(", "):
            self.model += f", {model}"
        self.dropped += point_count - len(placed)

    @property
    def claims(self) -> int:
        """The number of claims in the report, each with a quote."""
        shown = [*self.short, *(each for _, said in self.by_page for each in said)]
        return len(shown) + sum(len(said) for _, said in self.compared)

    @property
    def author(self) -> str:
        """Who wrote it, in words."""
        return in_words(self.model)

    @property
    def weak(self) -> str:
        """Why the quotes found by rules may say little about the topic; empty if there is no reason."""
        by_rules = [page for page in self.pages if page.claims and page.reading.model == OFFLINE]
        quotes = [claim.quote for page in by_rules for claim in page.claims]
        listing = sum(page.reading.index for page in by_rules)
        flaws = [weak_match(self.topic, quotes)] if quotes else []
        if 2 * listing > len(by_rules):
            flaws.append(
                f"{listing} of {len(by_rules)} pages quoted read like an index, with hardly a sentence"
            )
        return ", and ".join(filter(None, flaws))

    @property
    def lead(self) -> str:
        """How much was read, in a sentence or two."""
        read = f"{len(self.pages)} of {self.wanted} pages read, {self.claims} quotes."
        if len(self.pages) < min(self.wanted, 2):
            read += " That is too little to compare."
        if self.weak:
            read += f" The match is weak: {self.weak}."
        if self.dropped:
            read += f" {self.dropped} claims were left out: their quotes are not in the pages."
        return read


def in_words(model: str) -> str:
    """A model's name for people; the offline analyst is never passed off as a language model."""
    return ", ".join(
        "offline, extractive (no language model: every sentence is a quote)" if each == OFFLINE else each
        for each in model.split(", ")
    )


def compared_by_rules(
    topic: str, pages: Sequence[ReportPage], shown: Sequence[ReportedClaim]
) -> list[tuple[str, list[ReportedClaim]]]:
    """What several pages say on the same terms, quoted side by side; each quote is shown once."""
    terms = shared_terms(topic, [[claim.quote for claim in page.claims] for page in pages], 4 * MAX_TERMS)
    used = [each.claim.quote for each in shown]
    found: list[tuple[str, list[ReportedClaim]]] = []
    for term in terms:
        said = [
            ReportedClaim(page, claim)
            for page in pages
            for claim in islice((c for c in page.claims if holds(c.quote, term) and c.quote not in used), 1)
        ]
        said = [each for place, each in enumerate(said) if not _repeats(each, said[:place])][
            :MAX_QUOTES_PER_TERM
        ]
        if len(said) >= 2:
            used += [each.claim.quote for each in said]
            found.append((term, said))
        if len(found) == MAX_TERMS:
            break
    return found


def markdown(report: ResearchReport) -> str:
    """The report as Markdown; what pages wrote is escaped."""
    lines = [f"# {escaped(report.topic)}", "", f"Written by: {escaped(report.author)}. {report.lead}"]
    if report.short:
        lines += ["", "## In short", *_said(report.short)]
    if report.compared:
        lines += ["", "## What several pages say"]
        if report.compared_by:
            lines += ["", f"Compared by {escaped(report.compared_by)}."]
        for term, said in report.compared:
            lines += (["", f"### {escaped(term)}"] if term else []) + _said(said)
    if report.by_page:
        lines += ["", "## Page by page"]
        for page, said in report.by_page:
            lines += ["", f"### {page.number}. {escaped(page.title)}", *_said(said)]
    lines += ["", "## Sources", "", "| | page | address | read | digest of its text |", "|-|-|-|-|-|"]
    for page in report.pages:
        source = page.source
        cells = (escaped(page.title), f"<{page.address}>", f"{source.fetched_at:%Y-%m-%d %H:%M} UTC")
        lines.append(f"| {page.number} | {' | '.join(cells)} | `{source.digest[:16]}` |")
    silent = [
        f"- {escaped(page.source.url)}: it says nothing or little on the topic"
        for page in report.without_claims
    ]
    unread = [f"- {escaped(each.url)}: {escaped(each.reason)}" for each in report.unread]
    if silent or unread:
        lines += ["", "## Not in this report", "", *silent, *unread]
    return "\n".join(lines) + "\n"


def _said(said: Sequence[ReportedClaim]) -> list[str]:
    lines = []
    for each in said:
        claim, also = each.claim, "".join(f", also {page.number}" for page in each.also)
        where = f"[{each.page.number}]({each.page.address}), {each.place}{also}"
        says = f"{escaped(claim.says)} (by {escaped(each.author)})\n  " if claim.says else ""
        lines += ["", f"- {says}“{escaped(claim.quote)}” ({where})"]
    return lines


def html(report: ResearchReport) -> str:
    """The report as one HTML page that loads nothing and runs nothing."""
    return render(
        "research/page.html", title=report.topic, eyebrow="Hibernaut · link research", report=report
    )


def _without_duplicates(pages: Sequence[ReportPage]) -> list[ReportedClaim]:
    """Each claim once, under the first page that makes it, with the other pages that say nearly the same."""
    kept: list[ReportedClaim] = []
    for page in pages:
        for claim in page.claims:
            same = next((i for i, each in enumerate(kept) if near(each.claim.quote, claim.quote)), None)
            if same is None:
                kept.append(ReportedClaim(page, claim))
            elif kept[same].page is not page and page not in kept[same].also:
                kept[same] = ReportedClaim(kept[same].page, kept[same].claim, (*kept[same].also, page))
    return kept


def _drop_weak_quotes(topic: str, pages: Sequence[ReportPage]) -> None:
    """Of the quotes found by rules, keep those that score well enough compared with the best of all pages."""
    mine = [page for page in pages if page.reading.model == OFFLINE]
    keeps = iter(are_relevant(topic, [claim.quote for page in mine for claim in page.claims]))
    for page in mine:
        page.claims = [claim for claim in page.claims if next(keeps)]


def _shorten_titles(pages: Sequence[ReportPage]) -> None:
    """Drop a site's name from its pages' titles if all of them end with it."""
    for page in pages:
        tails = {_tail(other.source.title) for other in pages if _site(other) == _site(page)}
        [tail] = tails if len(tails) == 1 and len(pages) > 1 else [""]
        page.title = page.source.title.removesuffix(tail) or page.source.url


def _tail(title: str) -> str:
    return title[match.start() :] if (match := re.search(r" [—–|·-] (?!.* [—–|·-] ).*$", title)) else ""


def _site(page: ReportPage) -> str:
    return urlsplit(page.source.url).netloc


def _repeats(said: ReportedClaim, others: Sequence[ReportedClaim]) -> bool:
    return any(near(said.claim.quote, other.claim.quote) for other in others)
