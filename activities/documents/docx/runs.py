"""The text of a paragraph of a DOCX file: runs, changes, fields, symbols, and what is anchored in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from activities.documents.assembly import Piece
from activities.documents.docx.fields import Fields
from activities.documents.docx.names import UNDERSTOOD, R, W, child, has_text, on, short, value
from activities.documents.docx.numbering import Shown
from activities.documents.docx.styles import Styles
from activities.documents.docx.symbols import UNKNOWN, seen_in, symbol

REMOVED = ("deleted", "moved_away")
CHANGES = {"w:ins": "inserted", "w:moveTo": "moved_here", "w:del": "deleted", "w:moveFrom": "moved_away"}
# Elements that only wrap content.
WRAPPERS = frozenset(
    (
        "w:hyperlink",
        "w:smartTag",
        "w:customXml",
        "w:bdo",
        "w:dir",
        "w:fldSimple",
        "w:sdtContent",
        "w:rubyBase",
    )
)
_KNOWN = frozenset(("w:rPr", "w:pPr", "w:sdtPr", "w:t", "w:delText", "w:drawing", "w:pict", "w:object"))
_PRESERVE = "{http://www.w3.org/XML/1998/namespace}space"
_MATHS = ("m:oMath", "m:oMathPara")
_SHEET, _SLIDES = "an embedded spreadsheet", "an embedded presentation"


@dataclass
class Paragraph(Piece):
    """A paragraph that is being read: besides its text, its page, its number, and what follows it."""

    page: int | None = None
    shown: Shown | None = None
    heading: int = 0
    style: str = ""
    hidden: bool = False
    # Whether the last text was hidden: hidden text that spans several runs is one place.
    hiding: bool = False
    # Notes, text boxes and comments, in order: their kind, and their element, text or id.
    after: list[tuple[str, Any]] = field(default_factory=list)


class Pages:
    """Where pages end, as last laid out by the program that wrote the file."""

    def __init__(self, root: Any) -> None:
        self._shown = next(root.iter(W + "lastRenderedPageBreak"), None) is not None
        forced = self._shown or any(each.get(W + "type") == "page" for each in root.iter(W + "br"))
        self.now: int | None = 1 if forced else None

    def rendered(self) -> None:
        self._next()

    def forced(self) -> None:
        """Count a page break, unless the file marks the rendered ones: those are counted already."""
        if not self._shown:
            self._next()

    def _next(self) -> None:
        if self.now is not None:
            self.now += 1


class Runs:
    """Reads the inline content of paragraphs of one story: the body, a note, a header.

    `say` is called with what is visible on the page but not read, `hide` with hidden text.
    """

    def __init__(
        self, styles: Styles, pages: Pages | None, say: Callable[[str], None], hide: Callable[[str], None]
    ) -> None:
        self._styles = styles
        self._pages = pages
        self._say = say
        self._hide = hide
        self.fields = Fields()

    def read(self, element: Any, into: Paragraph, change: str = "") -> None:
        """Add the content of the children of `element`."""
        for each in element:
            match short(each.tag):
                case "w:r":
                    self._run(each, into, change)
                case "w:ins" | "w:moveTo" | "w:del" | "w:moveFrom" as name:
                    self.read(each, into, change if change in REMOVED else CHANGES[name])
                case "w:sdt":
                    self.read(each, into, change)
                case name if name in WRAPPERS:
                    self.read(each, into, change)
                case "mc:AlternateContent":
                    if (chosen := alternative(each)) is not None:
                        self.read(chosen, into, change)
                case name if name in _MATHS:
                    self._math(each, into, change)
                case "w:rt":
                    self._say("a reading aid above its characters")
                case "w:subDoc":
                    self._say("a sub-document")
                case name if name not in _KNOWN and has_text(each):
                    self._say("something of an unknown kind")

    def _run(self, run: Any, into: Paragraph, change: str) -> None:
        properties = child(run, "rPr")
        font, hidden = "", into.hidden
        if properties is not None:
            fonts = child(properties, "rFonts")
            font = "" if fonts is None else fonts.get(W + "ascii", "")
            style = value(properties, "rStyle")
            own = on(properties, "vanish")
            hidden = own if own is not None else hidden or (style is not None and self._styles.hidden(style))
        self._content(run, into, change, font, hidden)

    def _content(self, run: Any, into: Paragraph, change: str, font: str, hidden: bool) -> None:
        for each in run:
            text = ""
            match short(each.tag):
                case "w:t" | "w:delText" as name:
                    if name == "w:delText" and change not in REMOVED:
                        continue
                    text = each.text or ""
                    text = seen_in(text if each.get(_PRESERVE) == "preserve" else text.strip(), font)
                case "w:tab" | "w:ptab":
                    text = "\t"
                case "w:br" | "w:cr":
                    text = "\n"
                    if each.get(W + "type") == "page" and self._pages and change not in REMOVED:
                        self._pages.forced()
                case "w:noBreakHyphen":
                    text = "-"
                case "w:sym":
                    text = symbol(_hex(each), each.get(W + "font", ""))
                case "w:lastRenderedPageBreak":
                    if self._pages:
                        self._pages.rendered()
                case "w:instrText":
                    self.fields.instruct(each.text or "")
                case "w:fldChar":
                    text, lost = self.fields.mark(each)
                    if lost and change not in REMOVED:
                        self._say(lost)
                case "w:ruby":
                    self.read(each, into, change)
                case "mc:AlternateContent":
                    if (chosen := alternative(each)) is not None:
                        self._content(chosen, into, change, font, hidden)
                case "w:drawing" | "w:pict" | "w:object" | "w:contentPart" as name:
                    if change not in REMOVED and not hidden:
                        self._graphic(name, each, into)
                case "w:footnoteReference" | "w:endnoteReference" | "w:commentReference" as name:
                    if change not in REMOVED and not hidden:
                        into.after.append((name, each.get(W + "id", "")))
                case name if name not in _KNOWN and has_text(each):
                    self._say("something of an unknown kind")
            if text:
                self._emit(text, into, change, hidden)

    def _emit(self, text: str, into: Paragraph, change: str, hidden: bool) -> None:
        if self.fields.silent:
            self.fields.swallow(text)
        elif hidden:
            if not into.hiding:
                self._hide(text)
            into.hiding = into.hiding or bool(text.strip())
        elif change in REMOVED:
            into.change(change, text, into.length)
        else:
            if UNKNOWN in text:
                self._say("a character of a symbol font")
            into.hiding = False
            if into.page is None and self._pages and text.strip():
                into.page = self._pages.now
            at = into.length
            into.add(text)
            if change:
                into.change(change, text, at)

    def _math(self, element: Any, into: Paragraph, change: str) -> None:
        """Add a formula as one line, and record that its layout is lost."""
        if change not in REMOVED:
            self._say("a formula of which only the letters were read")
        for each in element.iter():
            if short(each.tag) == "m:t" and each.text:
                self._emit(each.text, into, change, into.hidden)

    def _graphic(self, name: str, element: Any, into: Paragraph) -> None:
        if name == "w:contentPart":
            self._say("handwriting")
            return
        if name == "w:object":
            program = next(
                (each.get("ProgID", "") for each in element.iter() if _is(each, "o:OLEObject")), ""
            )
            if program.startswith(("Excel", "PowerPoint")):
                self._say(_SHEET if program.startswith("Excel") else _SLIDES)
                return
            if program:
                self._say("a formula" if program.startswith("Equation") else "an embedded object")
                return
        for each in element:
            match short(each.tag):
                case "mc:AlternateContent":
                    if (chosen := alternative(each)) is not None:
                        self._graphic("", chosen, into)
                case "w:txbxContent":
                    into.after.append(("box", each))
                case "pic:pic" | "v:imagedata":
                    self._say("a picture")
                case "c:chart" | "cx:chart":
                    self._say("a chart")
                case "dgm:relIds":
                    into.after.append(("diagram", each.get(R + "dm", "")))
                case "v:textpath":
                    into.after.append(("box", each.get("string", "")))
                case _:
                    self._graphic("", each, into)


def alternative(element: Any) -> Any:
    """The branch of `mc:AlternateContent` that a current word processor shows; None if there is none."""
    fallback = None
    for each in element:
        if short(each.tag) == "mc:Choice":
            wanted = [each.nsmap.get(prefix) for prefix in each.get("Requires", "").split()]
            if all(space is not None and space.startswith(UNDERSTOOD) for space in wanted):
                return each
        elif short(each.tag) == "mc:Fallback":
            fallback = each
    return fallback


def _is(element: Any, name: str) -> bool:
    return short(element.tag) == name


def _hex(element: Any) -> int:
    try:
        return int(element.get(W + "char", ""), 16)
    except ValueError:
        return 0xFFFD
