"""Where links come from: pages, feeds, sitemaps, and a search provider."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError

from activities.documents.extract import ExtractError, Link
from activities.fetching.listings import feeds_of, read_feed, read_sitemap
from activities.fetching.records import SearchRequest
from tests.support.reader import Reader, refused
from tests.support.web import Route, WebServer, as_json, gzip_bomb

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
    reader = Reader(tmp_path, HIBERNAUT_SEARCH=f"searxng:http://{site.host}")
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
    reader = Reader(tmp_path, HIBERNAUT_SEARCH=f"searxng:http://{site.host}")
    with pytest.raises(ApplicationError) as caught:
        await reader.run(reader.scraper.search, SearchRequest(query="x"))
    assert (caught.value.type, caught.value.non_retryable) == (kind, lasting)
    assert site.log


async def test_without_a_provider_and_sites_the_setting_is_named(reader: Reader) -> None:
    """There is nothing to search in."""
    with pytest.raises(ApplicationError, match="HIBERNAUT_SEARCH"):
        await reader.run(reader.scraper.search, SearchRequest(query="x"))


MANY = "<url><loc>http://x/a</loc></url>"


SLOPPY = SITEMAP.format("<url><loc>http://x/a?b=1&c=2</loc></url>").partition("?>")[2] or SITEMAP.format(
    "<url><loc>http://x/a?b=1&c=2</loc></url>"
)
SLOPPY_URLS = ["http://x/a?b=1&c=2"]


@pytest.mark.parametrize(
    ("data", "urls"),
    [
        (SITEMAP.format(f"{MANY}<url><loc>http://[x/b</loc></url>"), ["http://x/a"]),
        (SITEMAP.format(f"{MANY}<url><loc>http://x:99999/b</loc></url>"), ["http://x/a"]),
        (f"\n  \n<?xml version='1.0'?>{SITEMAP.format(MANY)}", ["http://x/a"]),
        (f"<urlset>{MANY}</urlset>", ["http://x/a"]),
        (SITEMAP.format("<url><loc>http://x/a?b=1&c=2</loc></url>"), ["http://x/a?b=1&c=2"]),
        (
            SITEMAP.format(
                "<url><loc>http://x/a</loc><image:image><image:loc>http://x/i.png</image:loc></image:image></url>"
            ),
            ["http://x/a"],
        ),
        ("<sm:urlset><sm:url><sm:loc>http://x/a</sm:loc></sm:url></sm:urlset>", ["http://x/a"]),
        (SITEMAP.format(f"{MANY}<url><loc>http://x/b</loc></url>")[:-12], ["http://x/a", "http://x/b"]),
        (f"<urlset>{MANY}<url><loc>http://x/trunca", ["http://x/a"]),
        (FEED, ["http://x/news/1"]),
        (
            '<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>'
            '<entry><title>e</title><link href="/e"/></entry></feed>',
            ["http://x/e"],
        ),
        ("http://x/1\nhttp://[x/2\nhttp://x/3", ["http://x/1", "http://x/3"]),
        (SLOPPY.encode("utf-16"), SLOPPY_URLS),
        (SLOPPY.encode("utf-16-be"), SLOPPY_URLS),
        (f'<?xml version="1.0" encoding="utf-16"?>{SLOPPY}', SLOPPY_URLS),
        (f'<?xml version="1.0" encoding="klingon"?>{SLOPPY}', SLOPPY_URLS),
        (SLOPPY.replace("b=1", "b=\0\x0b1"), SLOPPY_URLS),
        (SLOPPY.replace("http://x/a?b=1&c=2", "<![CDATA[ http://x/a?b=1&c=2 ]]>"), SLOPPY_URLS),
        (SLOPPY.replace("loc>", "LOC>").replace("urlset", "URLSET"), SLOPPY_URLS),
    ],
)
def test_sitemaps_are_read_as_far_as_they_can_be(data: str | bytes, urls: list[str]) -> None:
    """A malformed address costs itself alone; what is sloppy, cut off or a feed is read nevertheless."""
    raw = data.encode() if isinstance(data, str) else data
    assert [link.url for link in read_sitemap(raw, "http://x/s.xml").links] == urls


def test_what_is_no_sitemap_is_none() -> None:
    """A page that a site serves for whatever is asked, for one."""
    for data in (b"<html><body><p>Not found</p></body></html>", b"<urlset><url><loc>http://x/tr"):
        with pytest.raises(ExtractError):
            read_sitemap(data, "http://x/")


def test_gzip_in_several_members_or_cut_off_is_read() -> None:
    """Tools append to archives, and transfers break."""
    data = SITEMAP.format(MANY * 3 + "<url><loc>http://x/b</loc></url>").encode()
    packed = gzip.compress(data[:50]) + gzip.compress(data[50:])
    assert [link.url for link in read_sitemap(packed, "http://x/").links][-1] == "http://x/b"
    long = SITEMAP.format("".join(f"<url><loc>http://x/{n * 7919 % 10007}</loc></url>" for n in range(2000)))
    cut = read_sitemap(gzip.compress(long.encode())[:-4000], "http://x/").links
    assert 10 < len(cut) < 2000
    bomb = gzip_bomb(6_000_000)
    with pytest.raises(ExtractError, match="over"):
        read_sitemap(bomb + bomb, "http://x/")


def test_a_malformed_address_in_a_feed_or_a_head_is_left_out() -> None:
    """And the others are not."""
    feed = FEED.replace("</item>", "</item><item><title>x</title><link>http://[h/</link></item>")
    assert [link.url for link in read_feed(feed.encode(), "http://x/")] == ["http://x/news/1"]
    link = b"<link rel=alternate type=application/rss+xml href='%b'>"
    assert feeds_of(link % b"http://[h/" + link % b"f", "http://x/") == ["http://x/f"]
