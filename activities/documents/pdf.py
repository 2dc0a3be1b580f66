"""PDF files as structured documents: lines with positions, running headers, fields, marks, pictures."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pypdfium2
from pypdfium2 import raw

from activities.documents.assembly import Assembly, FullError, visible_text, with_count
from activities.documents.lines import Line, add_lines, hyphen_after
from activities.documents.numbers import ClauseOutline, typed_number
from activities.documents.pdf_marks import Marks
from activities.documents.pdf_objects import Drawn, drawn_on
from activities.documents.structure import UnreadableError

# How many lines at the top and at the bottom of a page may be a running header or footer.
_RUNNING = 3
_MAX_NAMED_PAGES = 20
# In points. Columns are further apart than this, and indents are smaller.
_COLUMN = 60.0
# What programs write if nobody gave a title.
_NO_TITLE = re.compile(r"(?i)\(?(anonymous|untitled)\b|microsoft word\b|.*\.(docx?|rtf|pdf|odt)$")
# If a line ends within a word, PDFium joins it with the next and marks the place.
_DIVIDED = re.compile(r"(?<![^\W\d_])([^\W\d_]+)[\x02\ufffe]")
_LINE_END = re.compile(r"[^\r\n]+")


@dataclass(frozen=True)
class _PlacedLine:
    """A line as laid out on its page, in points: its left and right end, and the lower edge at each end.

    The lower edges differ if a divided word made PDFium join the line with the next one.
    """

    text: str
    left: float
    right: float
    low: float
    end: float


def read(data: bytes, most_pages: int) -> dict[str, Any]:
    """The fields of a `StructuredDocument`.

    Raises:
        UnreadableError: it cannot be read.
    """
    try:
        file = pypdfium2.PdfDocument(data)
        count = len(file)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise UnreadableError("encrypted", "the PDF is encrypted, and no password is known") from None
        raise UnreadableError("broken", "the PDF is damaged") from None
    if not count:
        raise UnreadableError("broken", "the PDF has no page")
    with suppress(pypdfium2.PdfiumError):
        file.init_forms()
    return _Reader(file, min(count, most_pages), cut=count > most_pages).result()


class _Reader:
    """Reads the pages one after the other, then puts them together."""

    def __init__(self, file: Any, pages: int, *, cut: bool) -> None:
        self._file = file
        self._marks = Marks(file)
        self._drawn: list[Drawn] = []
        self._lines: list[list[_PlacedLine]] = []
        self.assembly = Assembly("application/pdf")
        self.assembly.cut = cut
        self.assembly.pages = pages
        for number in range(pages):
            self._page(number)

    def result(self) -> dict[str, Any]:
        textless = [number for number, lines in enumerate(self._lines, 1) if not lines]
        pictured = [number for number in textless if self._drawn[number - 1].anything]
        self._put_together()
        if self.assembly.empty():
            if pictured:
                raise UnreadableError("scanned", "the PDF holds no text; text recognition comes first")
            raise UnreadableError("empty", "the PDF holds no text")
        title = (self._file.get_metadata_value("Title") or "").strip()
        self.assembly.title = "" if _NO_TITLE.match(title) else title
        self._say(pictured)
        return self.assembly.result()

    def _page(self, number: int) -> None:
        try:
            page = self._file[number]
        except pypdfium2.PdfiumError:
            self.assembly.unread["a damaged page"] += 1
            self._lines.append([])
            self._drawn.append(Drawn())
            return
        try:
            self._lines.append(_lines_of(page))
            self._drawn.append(drawn_on(page, textless=not self._lines[-1]))
            self._marks.read(page, number + 1)
        finally:
            page.close()

    def _put_together(self) -> None:
        running = _running(self._lines)
        spacing = _line_spacing(self._lines)
        outline, known, pending = ClauseOutline(), set[str](), list[Line]()
        with suppress(FullError):
            for number, lines in enumerate(self._lines, 1):
                heads, feet = running[number - 1]
                for kind, places in (("header", heads), ("footer", feet)):
                    for place in places:
                        forms = {f"{kind} {form}" for form in _repeatable_forms(lines[place].text, number)}
                        if not forms & known:
                            known |= forms
                            self.assembly.add(lines[place].text, kind, page=number)
                left_out = {*heads, *feet}
                body = [line for place, line in enumerate(lines) if place not in left_out]
                pending += _with_gaps(body, number, spacing)
                marks = self._marks.on(number)
                if marks:
                    add_lines(pending, self.assembly, outline)
                    pending = []
                for kind, text in marks:
                    self.assembly.add(text, kind, page=number)
            add_lines(pending, self.assembly, outline)

    def _say(self, pictured: list[int]) -> None:
        words, remarks = self.assembly.unread_more, self.assembly.remarks
        if pictured:
            words.append(f"{_pages(pictured)} without text: scanned or drawn")
        pictures = sum(
            drawn.pictures for number, drawn in enumerate(self._drawn, 1) if number not in pictured
        )
        if pictures:
            words.append(with_count("a picture", pictures))
        words += [with_count(what, how_many) for what, how_many in self._marks.unread.items()]
        with suppress(Exception):
            if attached := raw.FPDFDoc_GetAttachmentCount(self._file):
                words.append(with_count("an attached file", attached))
        if raw.FPDF_GetFormType(self._file) in (raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND):
            words.append("a form that is drawn by a program")
        if invisible := [number for number, drawn in enumerate(self._drawn, 1) if drawn.invisible]:
            remarks.append(f"text that is not painted on {_pages(invisible)}, read nevertheless")
        remarks += self._marks.remarks


def _lines_of(page: Any) -> list[_PlacedLine]:
    """The lines in the order of the file, which is the reading order except for rare programs."""
    text_page = page.get_textpage()
    try:
        text = text_page.get_text_range()
        if not text.strip():
            return []
        # PDFium counts in UTF-16, so with characters outside the BMP the offsets in `text` do not match.
        exact = len(text) == len(text.encode("utf-16-le", "surrogatepass")) // 2
        lines = []
        for found in _LINE_END.finditer(text):
            line = visible_text(_DIVIDED.sub(lambda word: word[1] + hyphen_after(word[1]), found[0])).strip()
            if line:
                first, last = found.start(), found.end() - 1
                box = _box(text_page, first, last) if exact else (0.0, 0.0, 0.0, 0.0)
                lines.append(_PlacedLine(line, *box))
        return lines
    finally:
        text_page.close()


def _box(text_page: Any, first: int, last: int) -> tuple[float, float, float, float]:
    ends = []
    for place in (first, last):
        index = raw.FPDFText_GetCharIndexFromTextIndex(text_page, place)
        try:
            ends.append(text_page.get_charbox(max(index, 0), loose=True))
        except pypdfium2.PdfiumError:
            return 0.0, 0.0, 0.0, 0.0
    return ends[0][0], ends[1][2], ends[0][1], ends[1][1]


def _line_spacing(pages: list[list[_PlacedLine]]) -> float:
    """The usual distance from one line to the next; 0 if it is not known."""
    steps = Counter(
        round(above.end - below.low)
        for lines in pages
        for above, below in pairwise(lines)
        if 4 < above.end - below.low < 60
    )
    return float(steps.most_common(1)[0][0]) if steps else 0.0


def _with_gaps(lines: list[_PlacedLine], page: int, spacing: float) -> list[Line]:
    """The lines of a page, and what their positions tell: gaps between them, and which end early."""
    out: list[Line] = []
    margins = _margins(lines)
    for place, line in enumerate(lines):
        step = lines[place - 1].end - line.low if place else 0.0
        # Text to the right of the previous line, at the same height, is part of that line.
        beside = bool(place) and abs(step) < 2 and line.left > lines[place - 1].right - 1
        if beside and out:
            out[-1] = replace(out[-1], text=f"{out[-1].text}\t{line.text}", short=True)
            continue
        gap = place == 0 or (spacing > 0 and step > spacing * 1.35)
        left, right = margins[round(line.left / _COLUMN)]
        short = right > left and line.right < right - (right - left) * 0.15
        out.append(Line(line.text, page, gap, short))
    return out


def _margins(lines: list[_PlacedLine]) -> dict[int, tuple[float, float]]:
    """The left and right end of the column that a line belongs to, by where the line begins."""
    beside: dict[int, list[_PlacedLine]] = {}
    for line in lines:
        at = round(line.left / _COLUMN)
        # An indented line belongs to the column, but a line of the next column does not.
        for column in (at - 1, at, at + 1):
            beside.setdefault(column, []).append(line)
    return {
        column: (min(line.left for line in found), sorted(line.right for line in found)[len(found) * 9 // 10])
        for column, found in beside.items()
    }


def _running(pages: list[list[_PlacedLine]]) -> list[tuple[list[int], list[int]]]:
    """For each page, the lines of its running header and footer: the same on half of all pages or more."""
    edges = []
    for lines in pages:
        order = sorted(range(len(lines)), key=lambda place, lines=lines: -lines[place].low)  # type: ignore[misc]
        half = len(order) // 2
        edges.append((order[: min(_RUNNING, half)], order[len(order) - min(_RUNNING, half) :]))
    out: list[tuple[list[int], list[int]]] = [([], []) for _ in pages]
    filled = sum(bool(lines) for lines in pages)
    if filled < 2:
        return out
    for side in (0, 1):
        forms = [
            {place: _repeatable_forms(lines[place].text, page) for place in edge[side]}
            for page, (lines, edge) in enumerate(zip(pages, edges, strict=True), 1)
        ]
        seen_on = Counter(
            form for page in forms for form in {form for found in page.values() for form in found}
        )
        often = {form for form, count in seen_on.items() if count >= max(2, filled * 0.5)}
        for number, edge in enumerate(edges):
            # From the edge inwards, and only up to the first line that does not repeat.
            for place in edge[0] if side == 0 else edge[1][::-1]:
                if not forms[number][place] & often:
                    break
                out[number][side].append(place)
            out[number][side].sort()
    return out


def _repeatable_forms(text: str, page: int) -> set[str]:
    """What a running line may have in common on all pages: all of it, or all but the page number."""
    forms = {text}
    if not typed_number(text)[0]:
        for found in re.finditer(r"\d{1,5}", text):
            forms.add(f"{text[: found.start()]}{int(found[0]) - page:+}{text[found.end() :]}")
    return forms


def _pages(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"page {numbers[0]}"
    more = f" and {len(numbers) - _MAX_NAMED_PAGES} more" if len(numbers) > _MAX_NAMED_PAGES else ""
    return f"pages {', '.join(map(str, numbers[:_MAX_NAMED_PAGES]))}{more}"
