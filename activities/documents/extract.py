"""Extracts the text of untrusted documents: HTML, PDF, DOCX, Markdown, plain text."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from activities.documents.charsets import decode
from activities.fetching.addresses import resolve

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_BYTES = 20_000_000
MAX_HTML_BYTES = 5_000_000
MAX_CHARACTERS = 2_000_000
MAX_LINKS = 5_000
MEDIA_TYPES = ("text/html", "application/xhtml+xml", "text/plain", "text/markdown", "application/pdf")

DOCX_TYPES = (
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.ms-word.document.macroenabled.12",
)

# Larger pages are read in a separate process: the time can grow with the square of the size.
_SMALL_HTML = 200_000
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        """address article aside blockquote body br caption dd div dl dt figcaption figure footer form h1 h2
        h3 h4 h5 h6 header hr li main nav ol option p pre section summary table td th title tr ul""",
    )
)
_INVISIBLE_TAGS = ("script", "style", "noscript", "template", "svg", "iframe", "object", "select", "textarea")


class ExtractError(ValueError):
    """No text can be extracted from a document; the message says why. A retry fails the same way."""


class Extracted(BaseModel, frozen=True):
    """A document's title (may be empty), its text, and whether the text was truncated."""

    title: str
    text: str
    cut: bool = False


class Link(BaseModel, frozen=True):
    """A link of a page: an absolute http or https address without fragment, and its text."""

    url: str
    text: str = ""


@dataclass(frozen=True)
class ReadingLimits:
    """Limits for reading one document: memory in bytes, CPU and wall-clock time in seconds, PDF pages."""

    memory: int = 512_000_000
    cpu_seconds: int = 30
    seconds: int = 60
    pages: int = 2_000


def text_of(
    data: bytes, media_type: str, *, charset: str | None = None, limits: ReadingLimits | None = None
) -> Extracted:
    """Title and main text of a document. Blocks; a separate process reads PDF, DOCX and big pages.

    Args:
        data: the document, at most 20 MB (HTML 5 MB).
        media_type: one of `MEDIA_TYPES` or `DOCX_TYPES`; parameters after a semicolon are read for `charset`.
        charset: the character set that the sender named, if any.
        limits: of that process.

    Raises:
        ExtractError: too big, of another type, damaged, or over the limits.
    """
    kind, _, parameters = media_type.partition(";")
    kind = kind.strip().lower()
    charset = charset or charset_of(parameters)
    if len(data) > MAX_BYTES:
        raise ExtractError(f"{len(data)} bytes; at most {MAX_BYTES} are read")
    match kind:
        case "text/plain" | "text/markdown":
            found = _plain(decode(data, label=charset), headings=kind == "text/markdown")
        case "text/html" | "application/xhtml+xml":
            if len(data) > MAX_HTML_BYTES:
                raise ExtractError(f"{len(data)} bytes of HTML; at most {MAX_HTML_BYTES} are read")
            found = _html(decode(data, label=charset, markup=True), limits or ReadingLimits())
        case "application/pdf":
            found = _pdf(data, limits or ReadingLimits())
        case _ if kind in DOCX_TYPES:
            found = _docx(data, kind, limits or ReadingLimits())
        case _:
            raise ExtractError(f"no text is read from {kind[:80] or 'a document without a type'}")
    text = _tidy(found.text)
    return Extracted(
        title=" ".join(found.title.replace("\0", "").split())[:500],
        text=text[:MAX_CHARACTERS],
        cut=found.cut or len(text) > MAX_CHARACTERS,
    )


def charset_of(parameters: str) -> str | None:
    """The character set in the parameters of a Content-Type; None if there is none."""
    found = re.search(r"charset\s*=\s*[\"']?([^\s\"';]{1,40})", parameters, re.IGNORECASE)
    return found[1] if found else None


def links_of(html: str | bytes, base: str, *, charset: str | None = None) -> list[Link]:
    """The links of a page in order, each address once, at most 5,000.

    Args:
        html: the page, as text or as bytes with the `charset` that its sender named.
        base: the page's address; a `<base>` in the page overrides it.
        charset: only for bytes.
    """
    text = decode(html, label=charset, markup=True) if isinstance(html, bytes) else html
    tree = tree_of(text[:MAX_HTML_BYTES])
    if tree is None:
        return []
    for element in tree.iter("base"):
        base = resolve(base, element.get("href") or "") or base
        break
    found: dict[str, str] = {}
    for element in tree.iter("a", "area"):
        url = resolve(base, element.get("href") or "")
        if url and "nofollow" not in (element.get("rel") or "").lower().split():
            words = " ".join("".join(element.itertext()).split())[:300] or element.get("title") or ""
            found[url] = found.get(url) or words
        if len(found) >= MAX_LINKS:
            break
    return [Link(url=url, text=words) for url, words in found.items()]


def _plain(text: str, *, headings: bool) -> Extracted:
    pattern = r"^#[ \t]{1,8}(\S.{0,300}?)[ \t]{0,8}#{0,6}\r?$"
    heading = re.search(pattern, text[:100_000], re.MULTILINE) if headings else None
    return Extracted(title=heading[1] if heading else "", text=text)


def tree_of(html: str) -> _Element | None:
    """The element tree of a page; None if it has no elements."""
    # Imported late, here and below: workflow files import this module for its types.
    from lxml import etree

    # As bytes: lxml refuses text that declares an encoding. Its parser cuts nesting at a depth of 256.
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True)
    try:
        return etree.fromstring(html.replace("\0", "").encode("utf-8", "replace"), parser)
    except etree.ParseError:
        return None


def _html(html: str, limits: ReadingLimits) -> Extracted:
    tree = tree_of(html)
    if tree is None:
        return Extracted(title="", text="")
    return Extracted(title=_title(tree), text=_main_text(html, limits) or body_text(tree))


def _title(tree: _Element) -> str:
    for name in ("title", "h1"):
        for element in tree.iter(name):
            words = "".join(element.itertext()).strip()
            if words:
                return words
    return ""


def _main_text(html: str, limits: ReadingLimits) -> str:
    """The page's main text without menus, adverts and footers; empty if none can be found."""
    if len(html) > _SMALL_HTML:
        try:
            return str(_in_a_process("html", html.encode("utf-8", "replace"), limits).get("text", ""))
        except ExtractError:
            return ""
    import trafilatura

    try:
        found = trafilatura.extract(html, include_comments=False, include_tables=True, deduplicate=False)
    except Exception:
        # It fails on some pages; callers then use the plain text of the body.
        return ""
    return found or ""


def body_text(tree: _Element) -> str:
    """All visible text of a page, one line per block. Removes what is invisible from `tree`."""
    from lxml import etree

    etree.strip_elements(tree, *_INVISIBLE_TAGS, with_tail=False)
    parts: list[str] = []
    for event, element in etree.iterwalk(tree, events=("start", "end")):
        block = element.tag in _BLOCKS
        if element.tag in ("head", "title"):
            if event == "end":
                parts.append(element.tail or "")
            continue
        if event == "start":
            parts += ["\n"] if block else []
            parts.append(re.sub(r"\s+", " ", element.text or ""))
        else:
            parts += ["\n"] if block else []
            parts.append(re.sub(r"\s+", " ", element.tail or ""))
    return re.sub(r"\n\s*", "\n", "".join(parts))


def _pdf(data: bytes, limits: ReadingLimits) -> Extracted:
    result = _in_a_process("pdf", data, limits)
    if "error" in result:
        raise ExtractError(f"the PDF: {result['error']}")
    if not result["text"].strip():
        raise ExtractError("the PDF holds no text; a scanned one needs text recognition first")
    return Extracted(title=result["title"], text=result["text"], cut=result["cut"])


def _docx(data: bytes, kind: str, limits: ReadingLimits) -> Extracted:
    # Imported late, because it imports this module.
    from activities.documents.structured_reader import read_structured

    found = read_structured(data, kind, limits)
    return Extracted(title=found.title, text=found.text, cut=found.cut)


def _in_a_process(kind: str, data: bytes, limits: ReadingLimits) -> dict[str, Any]:
    """Read a document in a separate process.

    Raises:
        ExtractError: it exceeded its limits.
    """
    from activities.documents import extract_isolated
    from activities.isolated_call import LimitsExceededError, ProcessLimits, run_isolated

    argument = {
        "kind": kind,
        "data": base64.b64encode(data).decode(),
        "characters": MAX_CHARACTERS,
        "pages": limits.pages,
    }
    own = ProcessLimits(limits.memory, limits.cpu_seconds, limits.seconds)
    try:
        result: dict[str, Any] = run_isolated(extract_isolated.read, argument, own, lambda: None)
    except LimitsExceededError as error:
        raise ExtractError(f"reading the document went over its limits: {error}") from None
    return result


def _tidy(text: str) -> str:
    """Unix line endings, no NUL, no trailing blanks, no two empty lines in a row."""
    text = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-8", "replace").decode()  # lone surrogates cannot be stored or sent
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()
