"""Lists of links that sites publish: sitemaps, sitemap indexes and feeds, and the feeds that a page names."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, field
from urllib.parse import urljoin

from activities.documents.extract import ExtractError, Link

MAX_BYTES = 10_000_000
MAX_LINKS = 5_000
XML_TYPES = (
    *("application/xml", "text/xml", "application/rss+xml", "application/atom+xml", "application/rdf+xml"),
    *("application/gzip", "application/x-gzip", "application/octet-stream"),
)


@dataclass(frozen=True)
class Sitemap:
    """The pages that a sitemap lists, or the sitemaps that an index lists."""

    links: list[Link] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)


def read_sitemap(data: bytes, base: str) -> Sitemap:
    """Read a sitemap or an index: XML, or text with an address per line; either may be gzipped.

    Args:
        data: at most 10 MB, unpacked too; the first 5,000 addresses are taken.
        base: its own address.

    Raises:
        ExtractError: too big, no XML, or XML that declares entities.
    """
    data = _unpacked(data)
    # The zero bytes and byte order marks of UTF-16 count as blanks here.
    if not data.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
        lines = (line.strip() for line in data.decode("utf-8-sig", "replace").splitlines())
        return Sitemap([Link(url=line) for line in lines if _is_web(line)][:MAX_LINKS])
    _refuse_entities(data)
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ExtractError(f"the sitemap is no XML: {error}"[:300]) from None
    found: list[str] = []
    for place in root.iterfind("{*}*/{*}loc"):
        url = urljoin(base, (place.text or "").strip())
        if _is_web(url) and len(found) < MAX_LINKS:
            found.append(url)
    if etree.QName(root).localname == "sitemapindex":
        return Sitemap(sitemaps=found)
    return Sitemap([Link(url=url) for url in found])


def read_feed(data: bytes, base: str) -> list[Link]:
    """The entries of an RSS or Atom feed, newest first as the feed has them, the first 5,000.

    Raises:
        ExtractError: too big, no feed, or XML that declares entities.
    """
    data = _unpacked(data)
    _refuse_entities(data)
    import feedparser

    # As a stream: feedparser would take bytes for an address or a file name.
    feed = feedparser.parse(io.BytesIO(data), sanitize_html=False, resolve_relative_uris=False)
    if not feed.version:
        raise ExtractError("it is no feed")
    links = {}
    for entry in feed.entries[:MAX_LINKS]:
        url = urljoin(base, str(entry.get("link") or "").strip())
        if _is_web(url):
            links[url] = " ".join(str(entry.get("title") or "").split())[:300]
    return [Link(url=url, text=title) for url, title in links.items()]


def feeds_of(html: bytes, base: str) -> list[str]:
    """The addresses of the feeds that a page names."""
    from lxml import etree

    parser = etree.HTMLParser(no_network=True)
    try:
        tree = etree.fromstring(html or b"<p>", parser)
    except etree.ParseError:
        return []
    found = []
    for element in tree.iter("link") if tree is not None else ():
        kind = (element.get("type") or "").lower()
        if "alternate" in (element.get("rel") or "").lower().split() and kind.endswith(
            ("rss+xml", "atom+xml")
        ):
            url = urljoin(base, (element.get("href") or "").strip())
            if _is_web(url):
                found.append(url)
    return list(dict.fromkeys(found))


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://")) and len(url) <= 2000


def _unpacked(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        try:
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, MAX_BYTES + 1)
        except zlib.error as error:
            raise ExtractError(f"it is damaged gzip: {error}") from None
    if len(data) > MAX_BYTES:
        raise ExtractError(f"over {MAX_BYTES} bytes")
    return data


def _refuse_entities(data: bytes) -> None:
    """No list of links needs entity declarations, and a few lines of them expand to gigabytes."""
    # Without zero bytes, so that UTF-16 matches.
    if b"<!ENTITY" in data.replace(b"\0", b"").upper():
        raise ExtractError("it declares entities, which are not read")
