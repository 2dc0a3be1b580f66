"""Short names of OOXML elements: `w:p` for a paragraph, whatever prefix the file uses."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_PREFIXES = {
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main": "w",
    "http://schemas.openxmlformats.org/officeDocument/2006/math": "m",
    "http://schemas.openxmlformats.org/markup-compatibility/2006": "mc",
    "http://schemas.openxmlformats.org/drawingml/2006/main": "a",
    "http://schemas.openxmlformats.org/drawingml/2006/picture": "pic",
    "http://schemas.openxmlformats.org/drawingml/2006/chart": "c",
    "http://schemas.openxmlformats.org/drawingml/2006/diagram": "dgm",
    "http://schemas.microsoft.com/office/word/2010/wordprocessingShape": "wps",
    "http://schemas.microsoft.com/office/drawing/2014/chartex": "cx",
    "urn:schemas-microsoft-com:vml": "v",
    "urn:schemas-microsoft-com:office:office": "o",
}
_SEEN = ("w:t", "a:t", "m:t", "pic:pic", "v:imagedata", "v:textpath")
# The namespaces that Word has understood in an `mc:Choice` for the last fifteen years.
UNDERSTOOD = ("http://schemas.microsoft.com/office/", "http://schemas.openxmlformats.org/")


@lru_cache(4096)
def short(tag: Any) -> str:
    """The short name of a tag, such as `w:p`; empty for an unknown namespace."""
    if not isinstance(tag, str):
        return ""
    namespace, _, name = tag[1:].partition("}")
    prefix = _PREFIXES.get(namespace)
    return f"{prefix}:{name}" if prefix else ""


def has_text(element: Any) -> bool:
    """Whether an unknown element contains something visible."""
    return any(short(each.tag) in _SEEN for each in element.iter())


def child(element: Any, *path: str) -> Any:
    """The first descendant along `path`, the names of WordprocessingML elements; None if one is missing."""
    for name in path:
        if element is None:
            return None
        # Several times faster than `find`, and called for every run.
        element = next(element.iterchildren(W + name), None)
    return element


def value(element: Any, *path: str) -> str | None:
    """`w:val` of the element at `path`; None if there is none."""
    found = child(element, *path)
    return None if found is None else found.get(W + "val")


def number(text: str | None, default: int = 0) -> int:
    """An integer from the file, clamped to a sane range."""
    try:
        return max(-1, min(int(text or ""), 1_000_000))
    except ValueError:
        return default


def on(element: Any, *path: str) -> bool | None:
    """A property that is on or off; None if it is not set."""
    found = child(element, *path)
    if found is None:
        return None
    return found.get(W + "val", "true") not in ("0", "false", "off", "none")
