"""What is drawn on a page of a PDF besides visible text."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from pypdfium2 import raw

# A page of a contract has hundreds of objects, a map millions.
_MAX_OBJECTS = 20_000
_MAX_DEPTH = 3
# In points. Smaller pictures are rules and ornaments.
_SMALL = 12.0


@dataclass(frozen=True)
class Drawn:
    """The number of pictures on a page, whether anything is drawn at all, and whether text is invisible."""

    pictures: int = 0
    anything: bool = False
    invisible: bool = False


def drawn_on(page: Any, *, textless: bool) -> Drawn:
    """What is drawn on a page."""
    pictures, invisible, anything = 0, False, False
    waiting = [(page, raw.FPDFPage_CountObjects, raw.FPDFPage_GetObject, 0)]
    left = _MAX_OBJECTS
    while waiting:
        holder, count, get, depth = waiting.pop()
        for place in range(min(count(holder), left)):
            left -= 1
            each = get(holder, place)
            kind = raw.FPDFPageObj_GetType(each)
            if kind == raw.FPDF_PAGEOBJ_IMAGE:
                pictures += textless or _is_big(each)
            elif kind == raw.FPDF_PAGEOBJ_TEXT:
                invisible = invisible or (
                    raw.FPDFTextObj_GetTextRenderMode(each) == raw.FPDF_TEXTRENDERMODE_INVISIBLE
                )
            elif kind == raw.FPDF_PAGEOBJ_FORM and depth < _MAX_DEPTH:
                waiting.append((each, raw.FPDFFormObj_CountObjects, raw.FPDFFormObj_GetObject, depth + 1))
            anything = anything or kind in (
                raw.FPDF_PAGEOBJ_IMAGE,
                raw.FPDF_PAGEOBJ_PATH,
                raw.FPDF_PAGEOBJ_SHADING,
            )
    return Drawn(pictures, anything, invisible)


def _is_big(each: Any) -> bool:
    left, low, right, high = (ctypes.c_float() for _ in range(4))
    if not raw.FPDFPageObj_GetBounds(each, left, low, right, high):
        return True
    return right.value - left.value >= _SMALL and high.value - low.value >= _SMALL
