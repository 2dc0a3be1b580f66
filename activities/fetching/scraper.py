"""Reads the web politely: pages, their digests, and links from sites and search providers.

The content is untrusted: it may be quoted, but never decides what an agent does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from urllib.parse import unquote, urlsplit

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.calls.heartbeats import heartbeats
from activities.documents.extract import (
    MAX_BYTES,
    MEDIA_TYPES,
    Extracted,
    ExtractError,
    Link,
    links_of,
    text_of,
)
from activities.fetching.addresses import host_of, normalise, origin_of
from activities.fetching.claims import Claims
from activities.fetching.fetcher import Fetcher
from activities.fetching.guard import Resolver, guarded_client
from activities.fetching.listings import MAX_BYTES as LISTING_BYTES
from activities.fetching.listings import XML_TYPES, feeds_of, read_feed, read_sitemap
from activities.fetching.pages import Download, PageStore
from activities.fetching.records import (
    FetchRequest,
    FoundLinks,
    LinksRequest,
    Page,
    PageDigest,
    SearchRequest,
)
from activities.fetching.rehearsed import (
    rehearsed_digest,
    rehearsed_links,
    rehearsed_page,
    rehearsed_search,
)
from activities.fetching.search import SearchProvider, search_provider
from activities.fetching.slots import HostSlots
from activities.llm.sentences import count_stems, scorer
from activities.rehearsal.stand_ins import rehearsed_as
from common.artifacts import ArtifactStore
from common.database import database_place
from common.digest import digest_bytes
from common.errors import permanent
from common.sealed_store import SealedStore
from common.settings import Settings

# A site that is down is retried for this long. Then its page fails for good, and the agent does without it.
PATIENCE = timedelta(hours=1)
_OUTAGE_ERRORS = ("SiteTimeout", "SiteUnreachable", "SiteFailing", "RobotsUnavailable", "SearchFailing")
MAX_SITEMAPS = 8
MAX_FEEDS = 3
HTML = ("text/html", "application/xhtml+xml")


class Scraper:
    """The activities that read the web."""

    def __init__(self, fetcher: Fetcher, artifacts: ArtifactStore, provider: SearchProvider | None) -> None:
        self._fetcher = fetcher
        self._artifacts = artifacts
        self._provider = provider

    @classmethod
    def build(
        cls, settings: Settings, artifacts: ArtifactStore, *, resolve: Resolver | None = None
    ) -> Scraper:
        """Build the scraper of this process with its clients."""
        found = settings.fetching
        headers = {
            "User-Agent": found.user_agent,
            "Accept": "text/html, application/pdf, text/*;q=0.8",
        }
        client = guarded_client(found.allowed_hosts, headers=headers, resolve=resolve)
        folder = settings.data_dir / "fetching"
        pages = PageStore(SealedStore.open(settings))
        queues = database_place(settings, "fetching/hosts.db")
        fetcher = Fetcher(
            client,
            artifacts,
            pages,
            HostSlots(queues),
            Claims(queues),
            folder,
            found.user_agent,
            found.rate,
        )
        provider = search_provider(
            found.search,
            found.allowed_hosts,
            found.user_agent,
            resolve=resolve,
        )
        return cls(fetcher, artifacts, provider)

    @activity.defn(name="fetch_page")
    @rehearsed_as(lambda self, request: rehearsed_page(request, self._artifacts))
    async def fetch_page(self, request: FetchRequest) -> Page:
        """Fetch a page, once per agent however many of its nodes ask.

        Raises:
            ApplicationError: as `Fetcher.download`, and `NoText`.
        """
        async with _patiently():
            return await self._page(request.url, fresh=request.fresh)

    @activity.defn(name="page_digest")
    @rehearsed_as(lambda _, request: rehearsed_digest(request))
    async def page_digest(self, request: FetchRequest) -> PageDigest:
        """The digest of the page's main text as it is now; the site is always asked."""
        async with _patiently():
            page = await self._page(request.url, fresh=True)
            return PageDigest(url=page.url, digest=page.digest)

    @activity.defn(name="find_links")
    @rehearsed_as(lambda _, request: rehearsed_links(request))
    async def find_links(self, request: LinksRequest) -> FoundLinks:
        """The links to a site's own pages: from its front page, its feeds and its sitemaps.

        Raises:
            ApplicationError: the front page cannot be read. An unreadable sitemap or feed is only skipped.
        """
        async with _patiently():
            return await self._site_links(request)

    @activity.defn(name="search_web")
    @rehearsed_as(lambda self, request: self._require_provider(request) or rehearsed_search(request))
    async def search(self, request: SearchRequest) -> FoundLinks:
        """The links for a query, from the search provider, or without one from what the named sites list.

        Raises:
            ApplicationError: `NoSearchProvider` if there is neither; else as the provider or `find_links`.
        """
        async with _patiently():
            if self._provider:
                links = await self._provider.search(request.query, request.limit)
                return FoundLinks(links=links, sources=[self._provider.name])
            self._require_provider(request)
            links, sources, skipped = list[Link](), list[str](), list[str]()
            for site in request.sites:
                try:
                    found = await self._site_links(LinksRequest(site=site, words=request.query))
                except ApplicationError as error:
                    skipped.append(_skip(site, error))
                    continue
                links += found.links
                sources += found.sources
                skipped += found.skipped
            links = _ranked(links, request.query)[: request.limit]
            return FoundLinks(links=links, sources=sources, skipped=skipped)

    async def _page(self, url: str, *, fresh: bool) -> Page:
        agent = activity.info().workflow_id or ""
        download, unchanged = await self._fetcher.download(agent, url, MEDIA_TYPES, MAX_BYTES, fresh=fresh)
        return await asyncio.to_thread(self._read, download, unchanged)

    def _read(self, download: Download, unchanged: bool) -> Page:
        """Extract the page. Blocks: extraction takes time, and a PDF takes a process of its own."""
        data = self._artifacts.get(download.raw)
        try:
            found = text_of(data, download.media_type, charset=download.charset)
        except ExtractError as error:
            raise permanent("NoText", f"{download.url}: {error}") from None
        html = download.media_type in HTML
        links = len(links_of(data, download.final_url, charset=download.charset)) if html else 0
        return Page(
            url=download.url,
            final_url=download.final_url,
            status=download.status,
            media_type=download.media_type,
            title=found.title,
            text=self._artifacts.put(found.text.encode()),
            raw=download.raw,
            digest=_digest(found),
            etag=download.etag,
            fetched_at=download.fetched_at,
            unchanged=unchanged,
            links=links,
            characters=len(found.text),
            cut=found.cut,
        )

    def _require_provider(self, request: SearchRequest) -> None:
        if not (self._provider or request.sites):
            raise permanent("NoSearchProvider", "name sites to look at, or set HIBERNAUT_SEARCH")

    async def _site_links(self, request: LinksRequest) -> FoundLinks:
        agent = activity.info().workflow_id or ""
        front, _ = await self._fetcher.download(agent, request.site, HTML, MAX_BYTES)
        html = await asyncio.to_thread(self._artifacts.get, front.raw)
        found = await asyncio.to_thread(links_of, html, front.final_url, charset=front.charset)
        sources, skipped = [front.url], []
        feeds = (await asyncio.to_thread(feeds_of, html, front.final_url))[:MAX_FEEDS]
        named = (await self._fetcher.rules(agent, front.final_url)).sitemaps()
        sitemaps = named or [f"{origin_of(front.final_url)}/sitemap.xml"]
        for url in feeds:
            try:
                found += await asyncio.to_thread(read_feed, await self._listing(agent, url), url)
                sources.append(url)
            except (ExtractError, ApplicationError) as error:
                skipped.append(_skip(url, error))
        seen = 0
        while sitemaps and seen < MAX_SITEMAPS:
            url, seen = sitemaps.pop(0), seen + 1
            try:
                listed = await asyncio.to_thread(read_sitemap, await self._listing(agent, url), url)
            except (ExtractError, ApplicationError) as error:
                skipped.append(_skip(url, error))
                continue
            sources.append(url)
            found += listed.links
            sitemaps += listed.sitemaps
        own = (link for link in found if _same_host(link.url, front.final_url))
        links = _ranked(own, request.words)[: request.limit]
        return FoundLinks(links=links, sources=sources, skipped=skipped)

    async def _listing(self, agent: str, url: str) -> bytes:
        wanted = (*XML_TYPES, *HTML, "text/plain")
        download, _ = await self._fetcher.download(agent, url, wanted, LISTING_BYTES)
        return await asyncio.to_thread(self._artifacts.get, download.raw)


@contextlib.asynccontextmanager
async def _patiently() -> AsyncIterator[None]:
    """Heartbeat during the block; make the error permanent if the site has been down for too long."""
    try:
        async with heartbeats():
            yield
    except ApplicationError as error:
        # Both times are Temporal's; this machine's clock may be wrong.
        tried = activity.info().started_time - activity.info().scheduled_time
        if error.type in _OUTAGE_ERRORS and tried > PATIENCE:
            raise permanent(error.type, f"{error.message}; tried for {tried}") from error
        raise


def _skip(url: str, error: ExtractError | ApplicationError) -> str:
    """Why a source is skipped; raises `error` again if it is retryable."""
    if isinstance(error, ApplicationError) and not error.non_retryable:
        raise error
    return f"{url}: {error}"[:300]


def _same_host(url: str, other: str) -> bool:
    try:
        return host_of(url) == host_of(other)
    except ValueError:
        return False


def _ranked(links: Iterable[Link], words: str) -> list[Link]:
    """Each address once, ranked by how well text and path match `words` (BM25); ties keep their order."""
    best: dict[str, Link] = {}
    for link in links:
        url = normalise(link.url)
        if url not in best or (link.text and not best[url].text):
            best[url] = Link(url=url, text=link.text)
    score = scorer(words, [count_stems(_said(link)) for link in best.values()])
    return sorted(best.values(), key=lambda link: -score(count_stems(_said(link))))


def _said(link: Link) -> str:
    return f"{link.text} {unquote(urlsplit(link.url).path)}"


def _digest(found: Extracted) -> str:
    return digest_bytes(" ".join(found.text.split()).encode())
