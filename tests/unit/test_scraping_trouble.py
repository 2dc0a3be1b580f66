"""Sites with every kind of trouble: each has a name, and an end."""

from __future__ import annotations

import gzip

import pytest

from activities.fetching import exchange
from testing.waiting import eventually
from tests.support.documents import ARTICLE
from tests.support.reader import Reader, refused
from tests.support.web import Route, WebServer, gzip_bomb, redirect


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
    await reader.page(site.url("/a"))  # with robots.txt, which has to be had within the limit, too
    monkeypatch.setattr(
        exchange.exchange, "__kwdefaults__", {**exchange.exchange.__kwdefaults__, "seconds": 1.0}
    )
    site.routes |= {"/drip": Route("x" * 1000, drip=0.05), "/mute": Route("x", first_byte_after=30)}
    for path in ("/drip", "/mute"):
        error = await refused(reader, site.url(path))
        assert (error.type, error.non_retryable) == ("SiteTimeout", False)
        await eventually(lambda path=path: site.hits(path))


async def test_an_unwanted_body_is_not_read(reader: Reader, site: WebServer) -> None:
    """An endless film ends with its headers."""
    site.routes["/film"] = Route("x", content_type="video/mp4", endless=True)
    assert (await refused(reader, site.url("/film"))).type == "MediaTypeRefused"


async def test_a_compressed_page_is_read_whole_or_asked_for_again(reader: Reader, site: WebServer) -> None:
    """Of several members all are read; what is cut off is not taken for the page."""
    packed = {"headers": {"Content-Encoding": "gzip"}, "content_type": "text/plain"}
    site.routes["/two"] = Route(gzip.compress(b"Spring tides ") + gzip.compress(b"and neap tides."), **packed)
    assert reader.text(await reader.page(site.url("/two"))) == "Spring tides and neap tides."
    site.routes["/cut"] = Route(gzip.compress(b"Spring tides and neap tides." * 99)[:-9], **packed)
    error = await refused(reader, site.url("/cut"))
    assert (error.type, error.non_retryable) == ("SiteUnreachable", False)
