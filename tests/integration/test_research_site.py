"""The link researcher on a real documentation site of some thousand pages, with rules and faults."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from lxml import html as markup
from temporalio.client import WorkflowHandle

import worker
from activities.calls.interceptor import ReliableReports
from common.agents.researcher import ResearcherInput, ResearchResult
from common.allowed_hosts import AllowedHosts
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.web import Hit, Route, WebServer

# Debian packages of documentation, the largest first: folder below /usr/share/doc, topic, forbidden part.
SITES = (
    (
        "linux-doc-6.1/html",
        "kernel locking: spinlocks, mutexes and completions",
        "/translations/",
    ),
    ("linux-doc/html", "kernel locking: spinlocks, mutexes and completions", "/translations/"),
    ("python3.11/html", "asyncio task cancellation and timeouts", "/whatsnew/"),
    ("python3/html", "asyncio task cancellation and timeouts", "/whatsnew/"),
)
FOUND = [(Path("/usr/share/doc") / folder, *more) for folder, *more in SITES]
HERE = next((each for each in FOUND if (each[0] / "index.html").is_file()), None)
LEAST_PAGES = 500


class DocumentationSite:
    """A folder of pages as a site: a sitemap of all of them, rules, and a fault on every fifth new page."""

    def __init__(self, folder: Path, forbidden: str) -> None:
        self.folder = folder
        self.pages = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.html"))
        self.forbidden = forbidden
        self.faults: list[str] = []
        self._seen: list[str] = []

    def robots(self, site: WebServer) -> Route:
        rules = f"User-agent: *\nDisallow: {self.forbidden}\nSitemap: {site.url('/sitemap.xml')}\n"
        return Route(rules, content_type="text/plain")

    def sitemap(self, site: WebServer) -> Route:
        places = "".join(f"<url><loc>{site.url('/' + quote(page))}</loc></url>" for page in self.pages)
        return Route(f"<urlset>{places}</urlset>", content_type="application/xml")

    def answer(self, hit: Hit) -> Route:
        path = unquote(urlsplit(hit.path).path).lstrip("/") or "index.html"
        if path not in self.pages:
            return Route("not here", status=404)
        if path != "index.html" and path not in self._seen:
            self._seen.append(path)
            if len(self._seen) % 5 == 2:
                self.faults.append(path)
                return Route("busy", status=429, headers={"Retry-After": "2"})
            if len(self._seen) % 5 == 4:
                self.faults.append(path)
                return Route("x" * 100, cut=True)
        return Route((self.folder / path).read_bytes(), etag=f'"{path}"')


def packed(text: str) -> str:
    return "".join(text.split())


def quotes_of(report: Path) -> list[Any]:
    return list(markup.fromstring(report.read_text()).iter("blockquote"))


@pytest.mark.skipif(
    HERE is None, reason="no documentation is installed: " + ", ".join(folder for folder, *_ in SITES)
)
async def test_every_quote_of_a_report_stands_in_the_page_it_names(
    settings: Settings, tmp_path: Path
) -> None:
    """Thousands of pages, rules, 429 and cut answers: nothing forbidden is asked for, no quote made up."""
    assert HERE is not None
    folder, topic, forbidden = HERE
    docs = DocumentationSite(folder, forbidden)
    assert len(docs.pages) > LEAST_PAGES
    with WebServer(host="127.0.0.2") as site:
        site.routes |= {"/robots.txt": docs.robots(site), "/sitemap.xml": docs.sitemap(site)}
        site.default = Route(docs.answer)
        fetching = settings.fetching.but(allowed_hosts=AllowedHosts.parse(site.host), rate=10.0)
        settings = settings.but(fetching=fetching)
        write_alone(settings)
        client, signer = await connect(settings), Signer.load(settings, create=True)
        agents = AgentClient(client, settings, signer)
        objects, reports = worker.activity_objects(settings), ReliableReports(client)
        reports_folder = tmp_path / "reports"
        reports_folder.mkdir()
        input = ResearcherInput(
            topic=topic, sites=[site.url()], links=12, publish=str(reports_folder), approvers=["ann"]
        )
        async with (
            worker.build(client, settings, reports=reports, objects=objects),
            worker.build_fetcher(client, settings, reports=reports, objects=objects),
        ):
            id = f"link-researcher-{uuid.uuid4().hex[:8]}"
            await agents.start("link-researcher", input, id=id, owner="local")

            async def asked() -> bool:
                return (await agents.view(id)).approval is not None

            await eventually(asked, 180)
            await agents.decide(id, Verdict.APPROVE, by="ann", through="cli")
            handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(id)
            result = ResearchResult.model_validate(await handle.result())
            history = await handle.fetch_history()

    asked_for = [urlsplit(path).path for path in site.paths()]
    size = sum(event.ByteSize() for event in history.events)
    print(
        f"{len(docs.pages)} pages, {len(asked_for)} requests, {len(docs.faults)} faults, "
        f"{result.claims} quotes from {len(result.read)} pages, {len(result.unread)} left out, "
        f"history {size} bytes"
    )
    assert len(docs.faults) >= 2, "faults happened"
    assert asked_for[0] == "/robots.txt"
    assert not [path for path in asked_for if path.startswith(forbidden)], "robots.txt was honoured"
    kept = [urlsplit(each.url).path for each in result.unread if "robots.txt" in each.reason]
    assert all(path.startswith(forbidden) for path in kept)

    quotes = quotes_of(Path(result.places[0]))
    assert len(quotes) >= 12
    cited = set()
    for each in quotes:
        cited.add(each.get("cite"))
        path = unquote(urlsplit(each.get("cite")).path).lstrip("/")
        page = markup.fromstring((folder / path).read_bytes()).text_content()
        assert packed(each.text_content())[1:-1] in packed(page), each.text_content()
    assert cited <= set(result.read)
    assert len(cited) >= 5
