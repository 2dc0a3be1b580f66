"""Lists of links that sites publish: sitemaps, sitemap indexes and feeds, and the feeds a page links to."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activities.documents.charsets import decode
from activities.documents.extract import ExtractError, Link
from activities.fetching.addresses import resolve
from common.flaws import flaw_of

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_BYTES = 10_000_000
MAX_LINKS = 5_000
_GZIP = b"\x1f\x8b"
_TAG_OF_LOC = re.compile(r"<(/?)(?:[\w.-]+:)?loc\b[^>]*>", re.IGNORECASE)
# A bare ampersand, or a CDATA section, within which ampersands are legal.
_BARE_AMPERSAND = re.compile(
    r"<!\[CDATA\[.*?(?:\]\]>|$)|&(?!(?:amp|lt|gt|quot|apos|#\d+|#[xX][0-9a-fA-F]+);)", re.DOTALL
)
_DECLARATION = re.compile(r"<\?xml\b[^>]*\?>")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The first two bytes of XML in UTF-16 without a byte order mark.
_UTF16_STARTS = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
XML_TYPES = (
    *("application/xml", "text/xml", "application/rss+xml", "application/atom+xml", "application/rdf+xml"),
    *("application/gzip", "application/x-gzip", "application/octet-stream"),
)


@dataclass(frozen=True)
class Sitemap:
    """The pages listed by a sitemap, or the sitemaps listed by an index."""

    links: list[Link] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)


def read_sitemap(data: bytes, base: str) -> Sitemap:
    """Read a sitemap or an index: XML, or text with an address per line; either may be gzipped.

    Args:
        data: at most 10 MB, also when decompressed; the first 5,000 addresses are taken.
        base: the address it came from.

    Raises:
        ExtractError: too big, not XML, or XML that declares entities.
    """
    data = _unpacked(data)
    # Skip the zero bytes and byte order marks of UTF-16 as well as blanks.
    if not data.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
        lines = data.decode("utf-8-sig", "replace").splitlines()
        found = [url for line in lines if line.strip().startswith("http") and (url := resolve(base, line))]
        return Sitemap([Link(url=url) for url in found[:MAX_LINKS]])
    _refuse_entities(data)
    from lxml import etree

    text = _text_of(data)
    # Recover as much as possible from bare ampersands, undeclared prefixes and a truncated end.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    try:
        root = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise ExtractError(f"the sitemap is no XML: {flaw_of(error)}") from None
    name = _name(root) if root is not None else ""
    if name in ("rss", "feed", "rdf"):
        return Sitemap(read_feed(data, base))
    if name not in ("urlset", "sitemapindex"):
        raise ExtractError("it is no sitemap")
    places = [place for entry in root for place in entry if _name(place) == "loc"]
    if places and _TAG_OF_LOC.findall(text)[-1:] == [""]:
        places.pop()  # truncated within the address
    found = [url for place in places if (url := resolve(base, place.text or ""))][:MAX_LINKS]
    if not found and len(parser.error_log):
        raise ExtractError(f"the sitemap is no XML: {parser.error_log[0].message}"[:300])
    return Sitemap(sitemaps=found) if name == "sitemapindex" else Sitemap([Link(url=url) for url in found])


def read_feed(data: bytes, base: str) -> list[Link]:
    """The first 5,000 entries of an RSS or Atom feed, in the feed's order, usually newest first.

    Raises:
        ExtractError: too big, not a feed, or XML that declares entities.
    """
    data = _unpacked(data)
    _refuse_entities(data)
    import feedparser

    # As a stream, because feedparser may take a plain value for an address or a file name.
    feed = feedparser.parse(io.BytesIO(data), sanitize_html=False, resolve_relative_uris=False)
    if not feed.version:
        raise ExtractError("it is no feed")
    links = {}
    for entry in feed.entries[:MAX_LINKS]:
        if url := resolve(base, str(entry.get("link") or "")):
            links[url] = " ".join(str(entry.get("title") or "").split())[:300]
    return [Link(url=url, text=title) for url, title in links.items()]


def feeds_of(html: bytes, base: str) -> list[str]:
    """The addresses of the feeds that a page links to."""
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
            found.append(resolve(base, element.get("href") or ""))
    return list(dict.fromkeys(url for url in found if url))


def _name(element: _Element) -> str:
    """The tag in lower case without its namespace or prefix; empty for comments and the like."""
    return element.tag.rpartition("}")[2].rpartition(":")[2].lower() if isinstance(element.tag, str) else ""


def _text_of(data: bytes) -> str:
    """Decode XML in any encoding, drop its declaration and illegal characters, escape bare ampersands."""
    wide = _UTF16_STARTS.get(data.lstrip(b" \t\r\n")[:2])
    text = data.decode(wide, "replace") if wide else decode(data, markup=True)
    text = _DECLARATION.sub("", _NO_XML.sub("", text).strip(), count=1)
    return _BARE_AMPERSAND.sub(lambda found: "&amp;" if found[0] == "&" else found[0], text).strip()


def _unpacked(data: bytes) -> bytes:
    """`data`, decompressed if it is gzip: all members, and as much as there is of a truncated file."""
    unpacked = data if not data.startswith(_GZIP) else b""
    while data.startswith(_GZIP) and len(unpacked) <= MAX_BYTES:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            unpacked += member.decompress(data, MAX_BYTES + 1 - len(unpacked))
        except zlib.error:
            raise ExtractError("it is damaged gzip") from None
        data = member.unused_data
    if len(unpacked) > MAX_BYTES:
        raise ExtractError(f"over {MAX_BYTES} bytes")
    return unpacked


def _refuse_entities(data: bytes) -> None:
    """Refuse entity declarations: no list of links needs them, and a few lines can expand to gigabytes."""
    # Drop zero bytes, so that UTF-16 matches.
    if b"<!ENTITY" in data.replace(b"\0", b"").upper():
        raise ExtractError("it declares entities, which are not read")
