"""Form fields and reviewers' marks in a PDF, which its reader sees as part of the page."""

from __future__ import annotations

import ctypes
from collections import Counter
from typing import Any

from pypdfium2 import raw

from activities.documents.assembly import visible_text

_MAX_MARKS = 5_000
_MAX_CHARACTERS = 20_000
_HIDDEN = 2  # a flag of annotations, like the next
_NO_VIEW = 32
_UNREAD = {
    raw.FPDF_ANNOT_STAMP: "a stamp",
    raw.FPDF_ANNOT_INK: "a drawing by hand",
    raw.FPDF_ANNOT_FILEATTACHMENT: "an attached file",
    raw.FPDF_ANNOT_SOUND: "a recording",
    raw.FPDF_ANNOT_MOVIE: "a video",
    raw.FPDF_ANNOT_RICHMEDIA: "a video",
}
_QUIET = (raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP)
_TICKED = (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON)


class Marks:
    """The annotations of a file, page by page."""

    def __init__(self, file: Any) -> None:
        self._form = file.formenv
        self._found: dict[int, list[tuple[str, str]]] = {}
        self._left = _MAX_MARKS
        self.unread: Counter[str] = Counter()
        self.remarks: list[str] = []

    def on(self, page: int) -> list[tuple[str, str]]:
        """The kind of block and the text of each mark on a page, in the order of the file."""
        return self._found.get(page, [])

    def read(self, page: Any, number: int) -> None:
        """Read the marks of a page."""
        found: list[tuple[str, str]] = []
        struck = False
        for place in range(min(raw.FPDFPage_GetAnnotCount(page), self._left)):
            self._left -= 1
            mark = raw.FPDFPage_GetAnnot(page, place)
            if not mark:
                continue
            try:
                kind = raw.FPDFAnnot_GetSubtype(mark)
                if kind in _QUIET or raw.FPDFAnnot_GetFlags(mark) & (_HIDDEN | _NO_VIEW):
                    continue
                struck = struck or kind == raw.FPDF_ANNOT_STRIKEOUT
                block = self._field(mark) if kind == raw.FPDF_ANNOT_WIDGET else _comment(mark, kind)
                if block:
                    found.append(block)
                elif kind in _UNREAD:
                    self.unread[_UNREAD[kind]] += 1
            finally:
                raw.FPDFPage_CloseAnnot(mark)
        if found:
            self._found[number] = found
        if struck:
            self.remarks.append(f"text that a mark strikes out on page {number}, read nevertheless")

    def _field(self, mark: Any) -> tuple[str, str] | None:
        if self._form is None:
            return None
        kind = raw.FPDFAnnot_GetFormFieldType(self._form, mark)
        if kind in _TICKED:
            ticked = raw.FPDFAnnot_IsChecked(self._form, mark)
            name = _string(raw.FPDFAnnot_GetFormFieldName, self._form, mark)
            return "field", f"{'☒' if ticked else '☐'} {name}".strip()
        if kind == raw.FPDF_FORMFIELD_SIGNATURE:
            self.unread["a field for a signature"] += 1
            return None
        text = _string(raw.FPDFAnnot_GetFormFieldValue, self._form, mark)
        return ("field", text) if text else None


def _comment(mark: Any, kind: int) -> tuple[str, str] | None:
    text = _string(raw.FPDFAnnot_GetStringValue, mark, b"Contents")
    if not text:
        return None
    return ("annotation" if kind == raw.FPDF_ANNOT_FREETEXT else "comment"), text


def _string(function: Any, *arguments: Any) -> str:
    """The text from a PDFium function that fills a buffer with UTF-16 and returns the bytes it needs."""
    size = min(function(*arguments, None, 0), _MAX_CHARACTERS * 2)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    function(*arguments, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return visible_text(buffer.raw.decode("utf-16-le", "replace").partition("\0")[0]).strip()
