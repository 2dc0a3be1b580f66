"""The report as one HTML page that loads nothing and runs nothing: plain, printable, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template
from urllib.parse import quote as percent

from activities.html.markup import Html, join, tag
from activities.html.parts import table
from activities.research.report import Report, ReportPage, Said, address, place

_TEMPLATE = Path(__file__).with_name("page.html")


def html(report: Report) -> str:
    """The whole page."""
    return page(
        title=report.topic,
        eyebrow="Hibernaut · link research",
        header=[tag("p", report.lead), tag("p", f"Written by: {report.author}", class_="dim")],
        main=[_short(report), _compared(report), _by_page(report), _sources(report), _left_out(report)],
    )


def page(*, title: str, eyebrow: str, header: Sequence[Html], main: Sequence[Html]) -> str:
    """A page in the look of reports; also for those of other agents."""
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        policy=_policy(template.template),
        title=join([title]),
        header=join([tag("p", eyebrow, class_="eyebrow"), tag("h1", title), *header]),
        main=join(main),
    )


def _policy(template: str) -> str:
    """A Content-Security-Policy that lets the page's own style in, and nothing else."""
    [style] = re.findall(r"<style>(.*?)</style>", template, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _short(report: Report) -> Html:
    if not report.short:
        return tag("p", "No page that could be read says anything on this.")
    return join([tag("h2", "In short"), *map(_figure, report.short)])


def _compared(report: Report) -> Html:
    if not report.compared:
        return Html("")
    by = tag("p", f"Compared by {report.compared_by}.", class_="dim") if report.compared_by else ""
    parts = (join([tag("h3", term) if term else "", *map(_figure, said)]) for term, said in report.compared)
    return join([tag("h2", "What several pages say"), by, *parts])


def _by_page(report: Report) -> Html:
    if not report.by_page:
        return Html("")
    return join([tag("h2", "Page by page"), *(_page(page, said) for page, said in report.by_page)])


def _page(page: ReportPage, said: Sequence[Said]) -> Html:
    return join([tag("h3", f"{page.number}. {page.title}"), *map(_figure, said)])


def _figure(said: Said) -> Html:
    """A claim: what is said, the quote, and where it stands."""
    claim, source = said.claim, said.page.source
    where = [
        f"[{said.page.number}] ",
        _link(said.page.title, f"{address(source.url)}{_fragment(claim.quote)}"),
        f", {place(claim)} of its text",
        *(f", also [{page.number}]" for page in said.also),
    ]
    return tag(
        "figure",
        tag("p", claim.says) if claim.says else "",
        tag(
            "blockquote",
            f"“{' '.join(claim.quote.split())}”",
            cite=source.url,
            data_start=claim.start,
            data_end=claim.end,
        ),
        tag("cite", where),
    )


def _sources(report: Report) -> Html:
    if not report.pages:
        return Html("")
    rows = (
        (
            str(page.number),
            [page.title, " ", _link(page.source.url, address(page.source.url))],
            f"{page.source.fetched_at:%Y-%m-%d %H:%M} UTC",
            tag("code", page.source.digest[:16]),
        )
        for page in report.pages
    )
    return join([tag("h2", "Sources"), table(("", "page", "read", "digest of its text"), rows)])


def _left_out(report: Report) -> Html:
    lines = [f"{page.source.url}: it says nothing or little on the topic" for page in report.silent]
    lines += [f"{each.url}: {each.reason}" for each in report.unread]
    if not lines:
        return Html("")
    return join([tag("h2", "Not in this report"), tag("ul", (tag("li", line) for line in lines))])


def _link(text: str, url: str) -> Html:
    return tag("a", text, href=url, rel="noreferrer noopener nofollow")


def _fragment(quote: str) -> str:
    """A text fragment: browsers that know it scroll to the quote and mark it."""
    words = quote.split()
    start, end = " ".join(words[:4]), " ".join(words[-4:])
    ends = [start, end] if len(words) > 8 else [" ".join(words)]
    return "#:~:text=" + ",".join(percent(each, safe="").replace("-", "%2D") for each in ends)
