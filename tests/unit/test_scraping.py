"""Reading the web: real local sites with every kind of trouble, and their access logs as the witness."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.extract import ExtractError, Link
from activities.fetching import exchange, fetcher
from activities.fetching.addresses import fairness_key, host_of, normalised
from activities.fetching.exchange import pause_of
from activities.fetching.listings import feeds_of, read_feed, read_sitemap
from activities.fetching.slots import HostSlots
from activities.scraping import FetchRequest, FoundLinks, LinksRequest, Page, Scraper, SearchRequest
from common.artifacts import ArtifactStore
from common.settings import Settings
from tests.unit.test_extract import ARTICLE, pdf
from tests.web import Route, WebServer, as_json, gzip_bomb, redirect


@pytest.fixture
def site() -> Iterator[WebServer]:
    with WebServer({"/a": Route(ARTICLE, etag='"1"')}, "127.0.0.2") as running:
        yield running


@pytest.fixture
def other() -> Iterator[WebServer]:
    with WebServer({}, "127.0.0.3") as running:
        yield running


class Reader:
    """A scraper on a data folder, called as agents call it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        settings = Settings.read(
            {
                "HIBERNAUT_DATA_DIR": str(folder),
                "HIBERNAUT_FETCH_RATE": "500",
                "HIBERNAUT_ALLOWED_HOSTS": ",".join(f"127.0.0.{n}:{p}" for n, p in PORTS),
                **environment,
            }
        )
        self.artifacts = ArtifactStore(folder / "artifacts")
        self.scraper = Scraper.build(settings, self.artifacts)

    async def run(
        self, activity: Callable[..., Any], argument: Any, agent: str = "agent-1", age: float = 0
    ) -> Any:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info,
            workflow_id=agent,
            scheduled_time=datetime.now(UTC) - timedelta(seconds=age),
        )
        return await environment.run(activity, argument)

    async def page(self, url: str, fresh: bool = False, **more: Any) -> Page:
        page = await self.run(self.scraper.fetch_page, FetchRequest(url=url, fresh=fresh), **more)
        assert isinstance(page, Page)
        return page

    async def links(self, site: str, **more: Any) -> FoundLinks:
        found = await self.run(self.scraper.find_links, LinksRequest(site=site, **more))
        assert isinstance(found, FoundLinks)
        return found

    def text(self, page: Page) -> str:
        return self.artifacts.get(page.text).decode()


PORTS: list[tuple[int, int]] = []


@pytest.fixture
def reader(tmp_path: Path, site: WebServer, other: WebServer) -> Reader:
    PORTS[:] = [(2, site.port), (3, other.port)]
    return Reader(tmp_path)


async def refused(reader: Reader, url: str, **more: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await reader.page(url, **more)
    return caught.value


async def test_a_page_comes_with_its_text_by_reference(reader: Reader, site: WebServer) -> None:
    """Small facts in the result, texts in the store; the site sees who asks; robots.txt comes first."""
    page = await reader.page(site.url("/a#part"))
    assert (page.url, page.final_url, page.status, page.title) == (site.url("/a"),) * 2 + (200, "Tide tables")
    assert "sum of many waves" in reader.text(page)
    assert reader.artifacts.get(page.raw) == ARTICLE.encode()
    assert (page.etag, page.unchanged, page.links) == ('"1"', False, 3)
    assert len(page.model_dump_json()) < 1200
    assert site.paths() == ["/robots.txt", "/a"]
    assert {hit.headers["user-agent"] for hit in site.log} == {"hibernaut/0.1"}


async def test_an_address_is_fetched_once_for_an_agent(
    reader: Reader, site: WebServer, tmp_path: Path
) -> None:
    """A second node, a retried activity, another process or another spelling get the page that is there."""
    first = await reader.page(site.url("/a"))
    again = await Reader(tmp_path).page(site.url("/a").replace("http", "HTTP") + "#x")
    assert again == first
    assert len(site.hits("/a")) == 1
    await reader.page(site.url("/a"), agent="agent-2")
    assert len(site.hits("/a")) == 2


async def test_two_nodes_that_ask_at_once_are_one_fetch(reader: Reader, site: WebServer) -> None:
    """The one who comes second is told to come back, and finds the page."""
    site.routes["/a"] = Route(ARTICLE, first_byte_after=0.3)
    await reader.page(site.url("/a"), agent="warm-up")
    results = await asyncio.gather(*(reader.page(site.url("/a")) for _ in range(3)), return_exceptions=True)
    errors = [each for each in results if isinstance(each, ApplicationError)]
    assert [error.type for error in errors] == ["BeingFetched"] * 2
    assert not any(error.non_retryable for error in errors)
    await reader.page(site.url("/a"))
    assert len(site.hits("/a")) == 2, "one of the warm-up, one of the agent"


async def test_a_fresh_fetch_asks_only_whether_it_changed(reader: Reader, site: WebServer) -> None:
    """ETag and Last-Modified are sent back; 304 keeps the page and says `unchanged`."""
    first = await reader.page(site.url("/a"))
    same = await reader.page(site.url("/a"), fresh=True)
    assert site.hits("/a")[-1].headers["if-none-match"] == '"1"'
    assert same.unchanged
    assert (same.digest, same.raw, same.text) == (first.digest, first.raw, first.text)
    assert same.fetched_at > first.fetched_at
    site.routes["/a"] = Route(ARTICLE.replace("decades", "centuries"), etag='"2"')
    changed = await reader.page(site.url("/a"), fresh=True)
    assert not changed.unchanged
    assert changed.digest != first.digest
    assert (await reader.page(site.url("/a"))).digest == changed.digest
    site.routes["/b"] = Route(ARTICLE, modified=1_700_000_000)
    await reader.page(site.url("/b"))
    assert (await reader.page(site.url("/b"), fresh=True)).unchanged


async def test_the_digest_of_a_page_is_that_of_its_main_text(reader: Reader, site: WebServer) -> None:
    """Another advert or time of day is no change; another sentence is. The site is asked each time."""

    async def digest() -> str:
        return str((await reader.run(reader.scraper.page_digest, FetchRequest(url=site.url("/a")))).digest)

    page = await reader.page(site.url("/a"))
    assert await digest() == page.digest
    site.routes["/a"] = Route(ARTICLE.replace("12:31:07", "18:00:59").replace("rubber boots", "umbrellas"))
    assert await digest() == page.digest
    site.routes["/a"] = Route(ARTICLE.replace("at least a year", "at least nineteen years"))
    assert await digest() != page.digest
    assert len(site.hits("/a")) == 4


async def test_robots_txt_is_obeyed(reader: Reader, site: WebServer) -> None:
    """For the name in the User-Agent; it is fetched once a day, and what it forbids is not asked for."""
    site.routes["/robots.txt"] = Route(
        "User-agent: *\nDisallow: /\n\nUser-agent: hibernaut\nDisallow: /private\nAllow: /private/open\n",
        content_type="text/plain",
    )
    site.routes |= {"/private/x": Route("x"), "/private/open": Route("<p>open")}
    error = await refused(reader, site.url("/private/x"))
    assert (error.type, error.non_retryable) == ("RobotsForbid", True)
    await reader.page(site.url("/a"))
    await reader.page(site.url("/private/open"))
    assert site.paths() == ["/robots.txt", "/a", "/private/open"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_site_without_robots_txt_allows_all(reader: Reader, site: WebServer, status: int) -> None:
    """4xx means there are no rules."""
    site.routes["/robots.txt"] = Route(status=status)
    await reader.page(site.url("/a"))


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_site_whose_robots_txt_fails_is_not_read_now(
    reader: Reader, site: WebServer, status: int
) -> None:
    """5xx means nobody knows the rules: nothing else is asked for, and later it is tried again."""
    site.routes["/robots.txt"] = Route(status=status, times=1, then=Route("", content_type="text/plain"))
    error = await refused(reader, site.url("/a"))
    assert (error.type, error.non_retryable) == ("RobotsUnavailable", False)
    assert error.next_retry_delay == timedelta(minutes=5)
    assert site.paths() == ["/robots.txt"]
    await reader.page(site.url("/a"))


async def test_a_crawl_delay_is_a_wait_that_lives_in_temporal(reader: Reader, site: WebServer) -> None:
    """Past the first request, the activity ends with the time at which its turn will be."""
    site.routes["/robots.txt"] = Route("User-agent: *\nCrawl-delay: 40\n", content_type="text/plain")
    site.routes["/b"] = Route("<p>b")
    await reader.page(site.url("/a"))
    waits = [await refused(reader, site.url(path)) for path in ("/b", "/c", "/b")]
    assert {error.type for error in waits} == {"HostBusy"}
    seconds = [error.next_retry_delay.total_seconds() for error in waits if error.next_retry_delay]
    assert [round(each / 10) for each in seconds] == [4, 8, 4], "a place in the queue each, and it is kept"
    assert site.paths() == ["/robots.txt", "/a"]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_for_all_who_ask_that_host(
    reader: Reader, site: WebServer, other: WebServer, status: int
) -> None:
    """The wait is handed to Temporal; the host is left alone meanwhile, by everyone, and no other host is."""
    busy = Route(status=status, headers={"Retry-After": "30"})
    site.routes["/busy"] = busy
    other.routes["/x"] = Route("<p>x")
    error = await refused(reader, site.url("/busy"))
    assert (error.type, error.next_retry_delay) == ("SiteBusy", timedelta(seconds=30))
    second = await refused(reader, site.url("/a"), agent="agent-2")
    assert second.type == "HostBusy"
    assert second.next_retry_delay is not None
    assert 25 < second.next_retry_delay.total_seconds() <= 30
    assert site.paths() == ["/robots.txt", "/busy"]
    await reader.page(other.url("/x"))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("30", 30),
        ("0", 1),
        ("999999999999999999999", 86400),
        ("864000", 86400),
        ("Mon, 23 Nov 2026 12:01:30 GMT", 90),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 1),
        ("Mon, 23 Nov 2027 12:00:00 GMT", 86400),
        ("", 60),
        ("soon", 60),
        ("-5", 60),
        ("1.5", 60),
        ("²", 60),
    ],
)
def test_retry_after_is_read_in_both_forms(said: str, seconds: int) -> None:
    """Seconds or a date; never under a second or over a day; a minute where it cannot be read."""
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert pause_of({"retry-after": said}, now) == timedelta(seconds=seconds)
    assert pause_of({"retry-after": format_datetime(now + timedelta(hours=1))}, now) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("route", "kind", "lasting"),
    [
        (Route(status=404), "PageMissing", True),
        (Route(status=410), "PageMissing", True),
        (Route(status=403), "PageForbidden", True),
        (Route(status=402), "PageRefused", True),
        (Route(status=500), "SiteFailing", False),
        (Route(status=503), "SiteFailing", False),
        (Route(b"\x89PNG", content_type="image/png"), "MediaTypeRefused", True),
        (Route("x", headers={"Content-Encoding": "br"}), "AddressRefused", True),
        (Route("not gzip", headers={"Content-Encoding": "gzip"}), "SiteUnreachable", False),
        (Route("half of it is missing", cut=True), "SiteUnreachable", False),
        (Route("<p>x", endless=True), "PageTooLarge", True),
        (Route(b"%PDF-1.7", content_type="application/pdf"), "NoText", True),
        (redirect("ftp://x/"), "AddressRefused", True),
        (redirect("http://169.254.169.254/latest/meta-data/"), "AddressRefused", True),
        (redirect("http://a:b/"), "AddressRefused", True),
        (redirect("/x"), "TooManyRedirects", True),
    ],
)
async def test_each_trouble_has_a_name_and_is_sorted(
    reader: Reader, site: WebServer, route: Route, kind: str, lasting: bool
) -> None:
    """What no retry mends ends at once; what a retry may mend is retried."""
    site.routes["/x"] = route
    error = await refused(reader, site.url("/x"))
    assert (error.type, error.non_retryable) == (kind, lasting)
    assert site.hits("/x"), "the trouble was met"


async def test_what_is_away_is_tried_for_an_hour_and_no_longer(reader: Reader, site: WebServer) -> None:
    """An agent does without a page whose site has gone; a wait that a site asked for is no such thing."""
    site.routes |= {"/x": Route(status=500), "/busy": Route(status=429)}
    assert not (await refused(reader, site.url("/x"), age=3500)).non_retryable
    assert (await refused(reader, site.url("/x"), age=3700)).non_retryable
    assert not (await refused(reader, site.url("/busy"), age=90_000)).non_retryable


async def test_a_gzip_bomb_is_cut(reader: Reader, site: WebServer) -> None:
    """300 MB in 300 KB are never unpacked whole, nor is a coding in another one."""
    bomb = gzip_bomb(300_000_000)
    assert len(bomb) < 400_000
    site.routes["/x"] = Route(bomb, headers={"Content-Encoding": "gzip"})
    site.routes["/y"] = Route(gzip.compress(bomb), headers={"Content-Encoding": "gzip, gzip"})
    assert (await refused(reader, site.url("/x"))).type == "PageTooLarge"
    assert (await refused(reader, site.url("/y"))).type == "AddressRefused"
    site.routes["/z"] = Route(ARTICLE, zipped=True)
    assert (await reader.page(site.url("/z"))).title == "Tide tables"


async def test_a_body_that_drips_ends_at_the_time_limit(
    reader: Reader, site: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However steadily it drips, the whole answer has one limit; so has one that never begins."""
    monkeypatch.setattr(
        exchange.exchange, "__kwdefaults__", {**exchange.exchange.__kwdefaults__, "seconds": 0.5}
    )
    site.routes |= {"/drip": Route("x" * 1000, drip=0.05), "/mute": Route("x", first_byte_after=30)}
    for path in ("/drip", "/mute"):
        error = await refused(reader, site.url(path))
        assert (error.type, error.non_retryable) == ("SiteTimeout", False)
        assert site.hits(path)


async def test_an_unwanted_body_is_not_read(reader: Reader, site: WebServer) -> None:
    """An endless film ends with its headers."""
    site.routes["/film"] = Route("x", content_type="video/mp4", endless=True)
    assert (await refused(reader, site.url("/film"))).type == "MediaTypeRefused"


async def test_redirects_are_followed_with_the_rules_of_each_host(
    reader: Reader, site: WebServer, other: WebServer
) -> None:
    """Each hop has its robots.txt and its turn; the page is known under both addresses afterwards."""
    site.routes["/go"] = redirect(other.url("/there"), 301)
    other.routes["/there"] = Route(ARTICLE, etag='"9"')
    page = await reader.page(site.url("/go"))
    assert (page.url, page.final_url) == (site.url("/go"), other.url("/there"))
    assert other.paths() == ["/robots.txt", "/there"]
    await reader.page(other.url("/there"))
    assert (await reader.page(site.url("/go"), fresh=True)).unchanged
    assert "if-none-match" not in site.hits("/go")[-1].headers
    other.routes["/robots.txt"] = Route("User-agent: *\nDisallow: /", content_type="text/plain")
    assert (await refused(Reader(reader_folder(reader) / "new"), site.url("/go"))).type == "RobotsForbid"


def reader_folder(reader: Reader) -> Path:
    return reader.artifacts._folder.parent


async def test_redirects_into_the_inside_reach_nothing(reader: Reader, site: WebServer) -> None:
    """The guard stands behind the fetcher."""
    with WebServer({"/": Route("secret")}, "127.0.0.9") as inside:
        site.routes["/go"] = redirect(inside.url("/"))
        assert (await refused(reader, site.url("/go"))).type == "AddressRefused"
        assert (await refused(reader, inside.url("/"))).type == "AddressRefused"
        assert inside.log == []
    assert site.hits("/go")


async def test_character_sets_and_pdfs_are_read(reader: Reader, site: WebServer) -> None:
    """As sites send them."""
    site.routes |= {
        "/k": Route("<p>привет, мир".encode("koi8-r"), content_type="text/html; charset=KOI8-R"),
        "/p": Route(pdf("900 EUR"), content_type="application/pdf"),
        "/t": Route(b"plain", content_type=""),
    }
    assert reader.text(await reader.page(site.url("/k"))) == "привет, мир"
    assert reader.text(await reader.page(site.url("/p"))) == "900 EUR"
    assert (await reader.page(site.url("/t"))).media_type == "text/plain"


SITEMAP = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</urlset>'
INDEX = '<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</sitemapindex>'
FEED = """<rss version="2.0"><channel><title>News</title>
<item><title>Neap tides explained</title><link>/news/1</link></item></channel></rss>"""


async def test_a_sites_links_come_from_its_page_feeds_and_sitemaps(
    reader: Reader, site: WebServer, other: WebServer
) -> None:
    """All of them, its own alone, each once, ranked by the words; what cannot be read is said."""
    site.routes |= {
        "/robots.txt": Route(f"Sitemap: {site.url('/index.xml')}\n", content_type="text/plain"),
        "/": Route(
            '<link rel="alternate" type="application/rss+xml" href="/feed"><a href="/about">About</a>'
            f'<a href="{other.url("/x")}">elsewhere</a><a href="http://h:99999/">broken</a>'
        ),
        "/feed": Route(FEED, content_type="application/rss+xml"),
        "/index.xml": Route(
            INDEX.format(
                f"<sitemap><loc>{site.url('/s1.xml.gz')}</loc></sitemap><sitemap><loc>/gone.xml</loc></sitemap>"
            ),
            content_type="application/xml",
        ),
        "/s1.xml.gz": Route(
            gzip.compress(
                SITEMAP.format("<url><loc>/spring-tides</loc></url><url><loc>/about</loc></url>").encode()
            ),
            content_type="application/gzip",
        ),
    }
    found = await reader.links(site.url("/"), words="spring tides")
    assert [link.url for link in found.links] == [
        site.url("/spring-tides"),
        site.url("/news/1"),
        site.url("/about"),
    ]
    assert found.links[1].text == "Neap tides explained"
    assert found.sources == [site.url(path) for path in ("/", "/feed", "/index.xml", "/s1.xml.gz")]
    assert len(found.skipped) == 1
    assert "/gone.xml" in found.skipped[0]
    assert other.log == []
    assert await reader.links(site.url("/"), limit=1) != found
    assert all(len(site.hits(path)) == 1 for path in ("/", "/feed", "/index.xml")), "what was fetched is kept"
    searched = await reader.run(
        reader.scraper.search, SearchRequest(query="neap", sites=[site.url("/"), site.url("/none")])
    )
    assert searched.links[0].url == site.url("/news/1")
    assert any("/none" in each for each in searched.skipped)


async def test_a_listing_that_is_late_is_no_listing_left_out(reader: Reader, site: WebServer) -> None:
    """A retry goes on where it was; only what is missing for good is skipped."""
    site.routes |= {
        "/": Route('<a href="/a">a</a>'),
        "/sitemap.xml": Route(
            status=500,
            times=1,
            then=Route(SITEMAP.format("<url><loc>/b</loc></url>"), content_type="text/xml"),
        ),
    }
    with pytest.raises(ApplicationError, match="status 500"):
        await reader.links(site.url("/"))
    assert [link.url for link in (await reader.links(site.url("/"))).links] == [
        site.url("/a"),
        site.url("/b"),
    ]
    assert len(site.hits("/")) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_bombs_are_refused(encoding: str) -> None:
    """A few lines of XML that would unpack to gigabytes, or read a file."""
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    outside = '<?xml version="1.0"?><!DOCTYPE x [<!entity a SYSTEM "file:///etc/passwd">]>'
    for start in (bomb, outside):
        with pytest.raises(ExtractError, match="entities"):
            read_sitemap((start + SITEMAP.format("<url><loc>&b;</loc></url>")).encode(encoding), "http://x/")
        with pytest.raises(ExtractError, match="entities"):
            read_feed((start + FEED.replace("News", "&b;")).encode(encoding), "http://x/")


def test_a_feed_that_names_a_file_or_an_address_opens_neither(site: WebServer, tmp_path: Path) -> None:
    """What stands in a feed's place is read, not followed."""
    file = tmp_path / "feed.xml"
    file.write_text(FEED)
    assert [link.url for link in read_feed(FEED.encode(), "http://x/")] == ["http://x/news/1"]
    for body in (str(file), site.url("/feed")):
        with pytest.raises(ExtractError, match="no feed"):
            read_feed(body.encode(), "http://x/")
    assert site.log == []


def test_sitemaps_are_bounded_and_damaged_ones_say_so() -> None:
    """Ten megabytes, unpacked too, and 5,000 addresses."""
    many = SITEMAP.format("<url><loc>http://x/a</loc></url>" * 6000).encode()
    assert len(read_sitemap(many, "http://x/").links) == 5000
    assert read_sitemap(b"\xef\xbb\xbfhttp://x/1\nftp://x/2\n\nhttp://x/3", "http://x/").links == [
        Link(url="http://x/1"),
        Link(url="http://x/3"),
    ]
    for data in (gzip_bomb(20_000_000), gzip_bomb(100)[:-20] + b"x" * 20, b"<urlset><url>", b"<"):
        with pytest.raises(ExtractError):
            read_sitemap(data, "http://x/")
    assert feeds_of(b"", "http://x/") == []
    assert feeds_of(
        b"<link rel=alternate type=application/atom+xml href=f><link rel=icon href=g>", "http://x/a/"
    ) == ["http://x/a/f"]


async def test_a_search_provider_is_asked_by_its_protocol(tmp_path: Path, site: WebServer) -> None:
    """SearXNG's JSON; its own host needs no entry in the allow-list, its results open nothing."""
    results = {
        "results": [
            {"url": "https://tides.example/a", "title": "Tides  and\nmoons", "content": "x"},
            {"url": "javascript:alert(1)", "title": "no"},
            {"url": "https://tides.example/b"},
        ]
    }
    site.routes["/search"] = as_json(results)
    reader = Reader(tmp_path, HIBERNAUT_SEARCH=f"searxng:http://{site.host}", HIBERNAUT_ALLOWED_HOSTS="")
    found = await reader.run(reader.scraper.search, SearchRequest(query="spring tides & moons", limit=2))
    assert found.links == [
        Link(url="https://tides.example/a", text="Tides and moons"),
        Link(url="https://tides.example/b"),
    ]
    assert found.sources == ["searxng"]
    assert site.log[0].path == "/search?q=spring+tides+%26+moons&format=json"
    assert (await refused(reader, site.url("/a"))).type == "AddressRefused"


@pytest.mark.parametrize(
    ("route", "kind", "lasting"),
    [
        (Route(status=403), "SearchRefused", True),
        (Route(status=429, headers={"Retry-After": "7"}), "SearchBusy", False),
        (Route(status=502), "SearchFailing", False),
        (Route("<html>sign in"), "SearchRefused", True),
        (as_json({"results": [1]}), "SearchRefused", True),
        (as_json([]), "SearchRefused", True),
        (Route("[" * 100_000), "SearchRefused", True),
    ],
)
async def test_each_trouble_of_a_search_provider_is_sorted(
    tmp_path: Path, site: WebServer, route: Route, kind: str, lasting: bool
) -> None:
    """As a page's are."""
    site.routes["/search"] = route
    reader = Reader(tmp_path, HIBERNAUT_SEARCH=f"searxng:http://{site.host}", HIBERNAUT_ALLOWED_HOSTS="")
    with pytest.raises(ApplicationError) as caught:
        await reader.run(reader.scraper.search, SearchRequest(query="x"))
    assert (caught.value.type, caught.value.non_retryable) == (kind, lasting)
    assert site.log


async def test_without_a_provider_and_sites_the_setting_is_named(reader: Reader) -> None:
    """There is nothing to search in."""
    with pytest.raises(ApplicationError, match="HIBERNAUT_SEARCH"):
        await reader.run(reader.scraper.search, SearchRequest(query="x"))


def test_addresses_have_one_spelling_and_a_host() -> None:
    """The same page is one entry, the same host one queue and one key of at most 64 bytes."""
    assert normalised(" HTTP://Site.Example:80/a b?q=ü#x ") == "http://site.example/a%20b?q=%C3%BC"
    assert normalised("https://site.example") == "https://site.example/"
    assert normalised("http://[::1]:81/%41") == "http://[::1]:81/%41"
    assert host_of("https://Site.example/x") == host_of("http://site.example") == "site.example"
    assert host_of("http://site.example:8080/") == "site.example:8080"
    for url in ("x", "ftp://a/", "http://", "http://a:b/", "http://[x/", ""):
        with pytest.raises(ValueError, match=r".+"):
            normalised(url)
        assert fairness_key(url) == "none"
    assert fairness_key("http://site.example/x") == "site.example"
    assert len(fairness_key(f"http://{'a' * 60}.{'b' * 60}.example/")) == 64


def test_a_host_has_one_turn_at_a_time_and_then_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes' worth of queues on one folder: never two turns at once, nor within the interval."""
    one, two = HostSlots(tmp_path / "h.db"), HostSlots(tmp_path / "h.db")
    now = time.time()
    assert one.book("h", "a", 10) == 0.0
    assert two.book("h", "b", 10) > 9, "its interval is the least that the next one waits"
    monkeypatch.setattr("activities.fetching.slots.time.time", lambda: now + 15)
    assert 0 < two.book("h", "b", 10) < 1, "a turn that goes on is looked at again soon"
    one._end("h", 10)
    waits = [two.book("h", holder, 10) for holder in ("b", "c", "d", "b", "c")]
    assert [round(wait) for wait in waits] == [10, 20, 30, 10, 20], (
        "a place in the queue each, and it is kept"
    )
    assert two.book("other", "b", 10) == 0.0, "hosts do not wait for each other"
    one.hold("h", 500)
    assert two.book("h", "e", 10) > 490


async def test_many_who_ask_one_host_keep_its_pace(tmp_path: Path) -> None:
    """Twenty tasks over two stores: at least the interval between two turns, and all get theirs."""
    stores = [HostSlots(tmp_path / "h.db"), HostSlots(tmp_path / "h.db")]
    turns: list[tuple[float, float]] = []

    async def one(number: int) -> None:
        while True:
            try:
                async with stores[number % 2].turn("h", str(number), 0.05):
                    began = time.time()
                    await asyncio.sleep(0.01)
                    turns.append((began, time.time()))
                return
            except ApplicationError as error:
                await asyncio.sleep((error.next_retry_delay or timedelta.max).total_seconds())

    await asyncio.gather(*(one(number) for number in range(20)))
    turns.sort()
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(turns)]
    assert len(turns) == 20
    assert min(gaps) >= 0.05


async def test_a_turn_whose_holder_died_comes_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed worker holds its host up for the length of a request and no longer."""
    slots = HostSlots(tmp_path / "h.db")
    assert slots.book("h", "killed", 1) == 0.0
    now = time.time()
    monkeypatch.setattr("activities.fetching.slots.time.time", lambda: now + 91)
    assert slots.book("h", "next", 1) == 0.0


def test_the_time_limit_of_an_activity_covers_a_whole_fetch() -> None:
    """A turn's lease outlives its request."""
    from activities.fetching.slots import LEASE_SECONDS

    assert exchange.MOST_SECONDS < LEASE_SECONDS
    assert fetcher.MOST_REDIRECTS == 5
