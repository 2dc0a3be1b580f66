"""HTML pages as structured documents: what a reader of the page sees, block by block."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from lxml import etree

from activities.documents.assembly import Assembly, FullError, Piece, numbered
from activities.documents.lines import is_heading
from activities.documents.numbers import ClauseOutline, letters, roman
from activities.documents.structure import UnreadableError

_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        """address article aside blockquote body center caption dd details dialog div dl dt fieldset
        figcaption figure footer form header hgroup hr html legend li main menu nav ol optgroup option p pre
        section summary table tbody td tfoot th thead title tr ul h1 h2 h3 h4 h5 h6""",
    )
)
_HEADINGS = {f"h{depth}": depth for depth in range(1, 7)}
_IGNORED_TAGS = frozenset(
    (
        "head",
        "script",
        "style",
        "noscript",
        "template",
        "datalist",
        "param",
        "source",
        "track",
        "area",
        "map",
        "title",
    )
)
_UNREAD = {
    "img": "a picture", "svg": "a picture", "canvas": "a picture", "picture": "a picture", "video": "a video",
    "audio": "a recording", "iframe": "an embedded page", "frame": "an embedded page",
    "object": "an embedded object", "embed": "an embedded object", "math": "a formula",
}  # fmt: skip
_CHANGES = {"ins": "inserted", "del": "deleted", "s": "deleted", "strike": "deleted"}
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(hidden|collapse)|font-size\s*:\s*0(?![.\d]*[1-9])", re.I
)
_MAX_SPAN = 100


def read(html: str, media_type: str = "text/html") -> dict[str, Any]:
    """The structure of a page."""
    page = _Page(media_type)
    tree = _tree(html)
    if tree is not None:
        with suppress(FullError):
            page.walk(tree, False)
            page.flush()
        for title in tree.iter("title"):
            page.assembly.title = "".join(title.itertext()).strip()
            break
    return page.result()


def _tree(html: str) -> Any:
    """The element tree of a page; None if it has no elements.

    Raises:
        UnreadableError: it is nested so deeply that the parser would drop the rest.
    """
    # Old programs never close <font>, so pages nest hundreds deep, beyond the parser's lower limit.
    parser = etree.HTMLParser(
        encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=True
    )
    try:
        tree = etree.fromstring(html.replace("\0", "").encode("utf-8", "replace"), parser)
    except etree.ParseError:
        tree = None
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        raise UnreadableError("bomb", "its HTML is nested without measure")
    return tree


class _Page:
    """Walks the tree; each block-level element begins and ends a block."""

    def __init__(self, media_type: str) -> None:
        self.assembly = Assembly(media_type)
        self._outline = ClauseOutline()
        self._piece = Piece()
        self._kind = "paragraph"
        self._level = 0
        self._number = ""
        # The full number of the current list item, built from the items around it.
        self._known = ""
        self._change = ""
        self._hidden = 0
        self._rows = 0
        self._row = self._column = 0

    def result(self) -> dict[str, Any]:
        if self._hidden:
            places = "one place" if self._hidden == 1 else f"{self._hidden} places"
            self.assembly.remarks.append(f"hidden text in {places}, left out")
        return self.assembly.result()

    def walk(self, element: Any, pre: bool) -> None:
        """Read an element and what is in it; depth is bounded by the parser."""
        tag = element.tag
        if tag in _IGNORED_TAGS:
            return
        if _is_hidden(element):
            self._hidden += bool("".join(element.itertext()).strip())
            return
        if tag in _UNREAD:
            # A picture of no width or one pixel is a tracker or an ornament.
            if element.get("width") not in ("0", "1") and tag != "source":
                self.assembly.unread[_UNREAD[tag]] += 1
            return
        match tag:
            case "br":
                self._text("\n", True)
            case "input" | "textarea" | "select":
                self._text(_value_of(element), True)
            case "table":
                self._table(element, pre)
            case "ol" | "ul" | "menu":
                self._list(element, pre)
            case "ins" | "del" | "s" | "strike":
                outer, self._change = self._change, self._change or _CHANGES[tag]
                self._children(element, pre)
                self._change = outer
            case _ if tag in _BLOCKS:
                self._block(element, pre or tag == "pre")
            case _:
                self._children(element, pre)

    def flush(self) -> None:
        """End the block."""
        text, changes = self._piece.stripped()
        self._piece = Piece()
        if not text and not changes:
            return
        kind, number, self._number = self._kind, self._number, ""
        own = bool(number)
        if not own:
            number, text, changes = numbered(text, changes)
        path = self._outline.path(number, self._known if own else "") if number else ""
        kind = "cell" if self._row and kind == "paragraph" else kind
        if kind == "paragraph" and is_heading(text, number):
            kind = "heading"
        self.assembly.add(
            text,
            kind,
            changes,
            number=number,
            path=path,
            level=self._level or (len(self._outline) if number else 0),
            row=self._row,
            column=self._column,
        )

    def _children(self, element: Any, pre: bool) -> None:
        self._text(element.text, pre)
        for each in element:
            if isinstance(each.tag, str):
                self.walk(each, pre)
            self._text(each.tail, pre)

    def _text(self, text: str | None, pre: bool) -> None:
        if not text:
            return
        if not pre:
            text = re.sub(r"[ \t\n\r\f]+", " ", text)
            ended = not self._piece.parts or self._piece.parts[-1].endswith((" ", "\n"))
            text = text[1:] if ended and text.startswith(" ") else text
        at = self._piece.length
        if self._change != "deleted":
            self._piece.add(text)
        if self._change:
            self._piece.change(self._change, text, at)

    def _block(self, element: Any, pre: bool) -> None:
        self.flush()
        outer = self._kind, self._level
        if element.tag in _HEADINGS:
            self._kind, self._level = "heading", _HEADINGS[element.tag]
        elif element.tag in ("header", "footer"):
            self._kind = element.tag
        self._children(element, pre)
        self.flush()
        self._kind, self._level = outer

    def _list(self, element: Any, pre: bool) -> None:
        self.flush()
        items = [each for each in element if each.tag == "li"]
        down = element.tag == "ol" and element.get("reversed") is not None
        count = _integer(element.get("start"), len(items) if down else 1)
        above, self._number = self._known, ""
        for each in element:
            if each.tag != "li":
                if isinstance(each.tag, str):
                    self.walk(each, pre)
                continue
            count = _integer(each.get("value"), count)
            if not _is_hidden(each):
                bare = element.tag != "ol" or "none" in (element.get("style") or "")
                self._number = "" if bare else _marker(count, each.get("type") or element.get("type") or "1")
                self._known = f"{above}.{self._number}".strip(".") if self._number else above
            self._item(each, pre)
            count += -1 if down else 1
        self._known, self._number = above, ""

    def _item(self, item: Any, pre: bool) -> None:
        if _is_hidden(item):
            self.walk(item, pre)
        else:
            self._block(item, pre)

    def _table(self, table: Any, pre: bool) -> None:
        self.flush()
        outer = self._row, self._column
        below: dict[int, int] = {}
        for each in table:
            if each.tag == "caption":
                self.walk(each, pre)
        for row in _rows(table):
            if _is_hidden(row):
                self._hidden += bool("".join(row.itertext()).strip())
                continue
            self._rows += 1
            at, column = self._rows, 1
            below = {place: left - 1 for place, left in below.items() if left > 1}
            for cell in row:
                if cell.tag not in ("td", "th"):
                    continue
                while column in below:
                    column += 1
                self._row, self._column = at, column
                self.walk(cell, pre)
                span = min(max(_integer(cell.get("colspan"), 1), 1), _MAX_SPAN)
                depth = min(max(_integer(cell.get("rowspan"), 1), 1), _MAX_SPAN)
                if depth > 1:
                    below |= dict.fromkeys(range(column, column + span), depth)
                column += span
        self.flush()
        self._row, self._column = outer


def _rows(table: Any) -> list[Any]:
    rows = []
    for each in table:
        if each.tag == "tr":
            rows.append(each)
        elif each.tag in ("thead", "tbody", "tfoot"):
            rows += [row for row in each if row.tag == "tr"]
    return rows


def _is_hidden(element: Any) -> bool:
    if element.get("hidden") is not None or (element.tag == "input" and element.get("type") == "hidden"):
        return True
    style = element.get("style")
    return bool(style and _HIDDEN.search(style[:2_000]))


def _value_of(element: Any) -> str:
    """What a form field shows."""
    if element.tag == "textarea":
        return element.text or ""
    if element.tag == "select":
        options = list(element.iter("option"))
        chosen = [each for each in options if each.get("selected") is not None] or options[:1]
        return ", ".join("".join(each.itertext()).strip() for each in chosen)
    match (element.get("type") or "text").lower():
        case "checkbox" | "radio":
            return "☒ " if element.get("checked") is not None else "☐ "
        case "password" | "file" | "image" | "color" | "range":
            return ""
    return element.get("value") or ""


def _marker(count: int, kind: str) -> str:
    match kind[:1]:
        case "a":
            return f"{letters(count)}."
        case "A":
            return f"{letters(count).upper()}."
        case "i":
            return f"{roman(count)}."
        case "I":
            return f"{roman(count).upper()}."
    return f"{count}."


def _integer(text: str | None, default: int) -> int:
    found = re.match(r"\s*(-?\d{1,9})", text or "")
    return int(found[1]) if found else default
