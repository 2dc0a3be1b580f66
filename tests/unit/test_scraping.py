"""Reading the web: real local sites, and their access logs as the witness."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError

from activities.fetching import exchange, fetcher
from activities.fetching.addresses import fairness_key, host_of, normalise
from activities.fetching.records import FetchRequest
from tests.support.documents import ARTICLE, pdf
from tests.support.reader import Reader, refused
from tests.support.web import Route, WebServer, redirect


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
    again = await Reader(tmp_path, site).page(site.url("/a").replace("http", "HTTP") + "#x")
    assert again == first
    assert len(site.hits("/a")) == 1
    await reader.page(site.url("/a"), agent="agent-2")
    assert len(site.hits("/a")) == 2


async def test_two_nodes_that_ask_at_once_are_one_fetch(reader: Reader, site: WebServer) -> None:
    """The one who comes second is told to come back, and finds the page."""
    await reader.page(site.url("/a"), agent="warm-up")
    errors, told = list[ApplicationError](), threading.Event()
    # The one who is first has the page only after both others were told.
    site.routes["/a"] = Route(lambda _: ARTICLE if told.wait(120) else "")

    async def ask() -> None:
        try:
            await reader.page(site.url("/a"))
        except ApplicationError as error:
            errors.append(error)
            if len(errors) == 2:
                told.set()

    await asyncio.gather(*(ask() for _ in range(3)))
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


async def test_redirects_are_followed_with_the_rules_of_each_host(
    reader: Reader, site: WebServer, other: WebServer, tmp_path: Path
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
    assert (await refused(Reader(tmp_path / "new", site, other), site.url("/go"))).type == "RobotsForbid"


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


def test_addresses_have_one_spelling_and_a_host() -> None:
    """The same page is one entry, the same host one queue and one key of at most 64 bytes."""
    assert normalise(" HTTP://Site.Example:80/a b?q=ü#x ") == "http://site.example/a%20b?q=%C3%BC"
    assert normalise("https://site.example") == "https://site.example/"
    assert normalise("http://[::1]:81/%41") == "http://[::1]:81/%41"
    assert host_of("https://Site.example/x") == host_of("http://site.example") == "site.example"
    assert host_of("http://site.example:8080/") == "site.example:8080"
    for url in ("x", "ftp://a/", "http://", "http://a:b/", "http://[x/", ""):
        with pytest.raises(ValueError, match=r".+"):
            normalise(url)
        assert fairness_key(url) == "none"
    assert fairness_key("http://site.example/x") == "site.example"
    assert len(fairness_key(f"http://{'a' * 60}.{'b' * 60}.example/")) == 64


def test_the_time_limit_of_an_activity_covers_a_whole_fetch() -> None:
    """A turn's lease outlives its request."""
    from activities.fetching.slots import LEASE_SECONDS

    assert exchange.MAX_SECONDS < LEASE_SECONDS
    assert fetcher.MAX_REDIRECTS == 5


@pytest.mark.parametrize(
    ("url", "one"),
    [
        ("http://x/a/../b", "http://x/b"),
        ("http://x/../../b", "http://x/b"),
        ("http://x/a/./b/.", "http://x/a/b/"),
        ("http://x/a/%2e%2E/b", "http://x/b"),
        ("http://x/a/b/..", "http://x/a/"),
        ("http://x/a\\..\\b", "http://x/b"),
        ("http://x/..a/b..", "http://x/..a/b.."),
        ("http://x//a", "http://x//a"),
        ("http://x/a?b=../c", "http://x/a?b=../c"),
        ("http://x", "http://x/"),
    ],
)
def test_dots_in_a_path_lead_where_browsers_go(url: str, one: str) -> None:
    """Otherwise `/open/../private` would pass a rule for `/private`."""
    assert normalise(url) == one


@pytest.mark.parametrize(
    "path", ["/a/../private/x", "/a/%2e%2e/private/x", "/%70rivate/x", "/a\\..\\private/x"]
)
async def test_no_spelling_of_an_address_passes_robots_txt(
    reader: Reader, site: WebServer, path: str
) -> None:
    """What is forbidden is not asked for."""
    site.routes["/robots.txt"] = Route("User-agent: *\nDisallow: /private\n", content_type="text/plain")
    assert (await refused(reader, site.url(path))).type == "RobotsForbid"
    assert site.paths() == ["/robots.txt"]


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ("User-agent: hibernaut/2.0 beta\nDisallow: /", False),
        ("User-agent: HIBERNAUT # us\nDisallow: /", False),
        ("User-agent: hiber\nAllow: /\n\nUser-agent: *\nDisallow: /", False),
        ("User-agent: hibernaut-news\nDisallow: /", True),
        ("User-agent: naut\nDisallow: /", True),
        (
            "User-agent: hibernaut\nDisallow: /x\n\nUser-agent: *\nAllow: /\n\nUser-agent: hibernaut\n"
            "Disallow: /a",
            False,
        ),
        ("User-agent: other\nUser-agent: hibernaut\nDisallow: /", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: hibernaut\nDisallow:", True),
    ],
)
async def test_groups_of_robots_txt_go_by_whole_product_names(
    reader: Reader, site: WebServer, rules: str, allowed: bool
) -> None:
    """In any case, with or without a version; groups of one name are one."""
    site.routes["/robots.txt"] = Route(rules, content_type="text/plain")
    site.routes["/a"] = Route("<p>words")
    if allowed:
        await reader.page(site.url("/a"))
    else:
        assert (await refused(reader, site.url("/a"))).type == "RobotsForbid"
