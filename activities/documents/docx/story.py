"""The blocks of a DOCX file: paragraphs, tables, content controls, and what is anchored in paragraphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from activities.documents.assembly import numbered
from activities.documents.docx.names import W, child, has_text, number, on, short, value
from activities.documents.docx.numbering import Shown
from activities.documents.docx.runs import CHANGES, REMOVED, Paragraph, Runs, alternative
from activities.documents.lines import is_heading
from activities.documents.numbers import roman

if TYPE_CHECKING:
    from activities.documents.docx.reader import Document

# Elements that only wrap blocks, rows or cells.
_WRAPPERS = frozenset(("w:sdtContent", "w:customXml", "w:smartTag"))
_NOTE_PARTS = {
    "w:footnoteReference": "footnotes",
    "w:endnoteReference": "endnotes",
    "w:commentReference": "comments",
}


@dataclass(frozen=True)
class Place:
    """The context of blocks: their kind, row, column and page, and whether all of them are one change."""

    kind: str = "paragraph"
    number: str = ""
    row: int = 0
    column: int = 0
    change: str = ""
    page: int | None = None


class Story:
    """Reads the body, a header, a note or the like into the document's assembly, in reading order."""

    def __init__(self, document: Document, *, paged: bool = False) -> None:
        self._document = document
        self._pages = document.pages if paged else None
        self._runs = Runs(document.styles, self._pages, document.say, document.hide)
        # A paragraph whose mark is deleted or hidden continues in the next one.
        self._open: Paragraph | None = None

    def read(self, element: Any, place: Place) -> None:
        """Read a whole story."""
        self._blocks(element, place)
        self._runs.fields.close()
        if self._runs.fields.swallowed:
            self._document.say("text in a field that does not end")

    def _blocks(self, element: Any, place: Place) -> None:
        for each in element:
            self._block(each, place)
        self._flush(place)

    def _block(self, each: Any, place: Place) -> None:
        match short(each.tag):
            case "w:p":
                self._paragraph(each, place)
            case "w:tbl":
                self._flush(place)
                self._table(each, place)
            case "w:sdt":
                for content in each.findall(W + "sdtContent"):
                    for inner in content:
                        self._block(inner, place)
            case "w:ins" | "w:del" | "w:moveTo" | "w:moveFrom" as name:
                change = place.change if place.change in REMOVED else CHANGES[name]
                for inner in each:
                    self._block(inner, replace(place, change=change))
            case name if name in _WRAPPERS:
                for inner in each:
                    self._block(inner, place)
            case "mc:AlternateContent":
                chosen = alternative(each)
                for inner in chosen if chosen is not None else ():
                    self._block(inner, place)
            case "m:oMathPara":
                formula = Paragraph()
                self._runs.read([each], formula, place.change)
                self._emit(formula, place)
            case "w:altChunk":
                self._document.say("an embedded document")
            case _ if has_text(each):
                self._document.say("something of an unknown kind")

    def _paragraph(self, element: Any, place: Place) -> None:
        properties = child(element, "pPr")
        mark = child(properties, "rPr")
        styles = self._document.styles
        style = value(properties, "pStyle") or styles.default
        hidden_style = styles.hidden(style)
        hidden = on(mark, "vanish")
        hidden = hidden_style if hidden is None else hidden
        removed = child(mark, "del") is not None or child(mark, "moveFrom") is not None
        goes_on = self._open
        piece = goes_on or Paragraph()
        piece.hidden = hidden_style
        if self._pages and on(properties, "pageBreakBefore"):
            self._pages.forced()
        if goes_on is None or not goes_on.length:
            outline = value(properties, "outlineLvl")
            depth = number(outline, 9) + 1 if outline is not None else styles.heading(style)
            piece.heading = depth if 0 < depth < 10 else 0
            piece.style = style
        before = piece.length
        self._runs.read(element, piece, place.change)
        # A list does not count what is wholly deleted or hidden, nor the continuation of a paragraph.
        gone = removed or place.change in REMOVED or (hidden and piece.length == before)
        if not gone and piece.shown is None:
            piece.shown = self._document.numbering.of(properties, style)
        if removed or hidden:
            self._open = piece
        else:
            self._open = None
            self._emit(piece, place)

    def _flush(self, place: Place) -> None:
        if self._open is not None:
            piece, self._open = self._open, None
            self._emit(piece, place)

    def _emit(self, piece: Paragraph, place: Place) -> None:
        text, changes = piece.stripped()
        shown, kind = piece.shown, place.kind
        # An entry of a table of contents names the clause of that number, but is not one.
        if kind in ("paragraph", "cell", "box") and not self._document.styles.is_contents(piece.style):
            if shown is None:
                typed, text, changes = numbered(text, changes)
                shown = self._document.numbering.typed(typed) if typed else None
            if text and kind != "box" and (piece.heading or _set_as_heading(kind, text, shown)):
                kind = "heading"
        shown = shown or Shown("", "", 0)
        page = piece.page or (self._pages.now if self._pages else place.page)
        if kind == "heading" and not self._document.title and self._document.styles.is_title(piece.style):
            self._document.title = text
        self._document.assembly.add(
            text,
            kind,
            changes,
            number=shown.number or place.number,
            path=shown.path,
            level=piece.heading or shown.level,
            page=page,
            row=place.row,
            column=place.column,
        )
        for what, content in piece.after:
            self._emit_anchored(what, content, replace(place, page=page))

    def _emit_anchored(self, what: str, content: Any, place: Place) -> None:
        """Emit what is anchored in the previous paragraph: a text box, a note, a comment, a diagram."""
        match what:
            case "box" if isinstance(content, str):
                self._document.assembly.add(content.strip(), "box", page=place.page)
            case "box":
                kind = "box" if place.kind in ("paragraph", "cell") else place.kind
                Story(self._document).read(content, Place(kind, page=place.page))
            case "diagram":
                self._document.diagram(content)
            case _:
                name = _NOTE_PARTS[what]
                note, count = self._document.note(name, content)
                if note is None:
                    return
                kind = "comment" if name == "comments" else "note"
                shown = "" if kind == "comment" else roman(count) if name == "endnotes" else str(count)
                Story(self._document).read(note, Place(kind, number=shown, page=place.page))

    def _table(self, table: Any, place: Place) -> None:
        for row in _inside(table, "w:tr"):
            properties = child(row, "trPr")
            change = place.change or _change(properties)
            if on(properties, "hidden"):
                self._document.hide("a row")
                continue
            at = self._document.next_row()
            column = 1 + number(value(properties, "gridBefore"))
            for cell in _inside(row, "w:tc"):
                cell_properties = child(cell, "tcPr")
                span = max(number(value(cell_properties, "gridSpan"), 1), 1)
                merged = child(cell_properties, "vMerge")
                if merged is not None and merged.get(W + "val", "continue") == "continue":
                    # It shows the content of the cell above; its own text is not visible.
                    if any(text.text for text in cell.iter(W + "t")):
                        self._document.hide("a cell")
                else:
                    inner = replace(
                        place,
                        kind="cell" if place.kind == "paragraph" else place.kind,
                        row=at,
                        column=column,
                        change=change or _change(cell_properties),
                    )
                    self._blocks(cell, inner)
                column += span


def _set_as_heading(kind: str, text: str, shown: Shown | None) -> bool:
    """Whether a paragraph looks like a heading: few contracts use styles for headings."""
    return kind == "paragraph" and is_heading(text, shown.number if shown else "")


def _change(properties: Any) -> str:
    """The change of a row or a cell as a whole; empty if there is none."""
    for name, kind in (
        ("ins", "inserted"),
        ("del", "deleted"),
        ("cellIns", "inserted"),
        ("cellDel", "deleted"),
    ):
        if child(properties, name) is not None:
            return kind
    return ""


def _inside(element: Any, name: str) -> Iterator[Any]:
    """Rows of a table or cells of a row, also those in content controls."""
    for each in element:
        found = short(each.tag)
        if found == name:
            yield each
        elif found == "w:sdt" or found in _WRAPPERS or found in ("w:ins", "w:moveTo"):
            yield from _inside(each, name)
        elif found == "mc:AlternateContent" and (chosen := alternative(each)) is not None:
            yield from _inside(chosen, name)
