"""The styles of a DOCX file, as far as they affect what is read: headings, numbering, hidden text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from activities.documents.docx.names import W, child, number, on, value

_CONTENTS = re.compile(r"toc [1-9]|table of (figures|authorities)", re.IGNORECASE)
_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
_MAX_BASED_ON = 20


@dataclass(frozen=True)
class Style:
    """One style; a property is None if it is inherited from the style it is based on."""

    id: str
    kind: str
    name: str
    based_on: str
    num_id: int | None
    num_level: int | None
    outline: int | None
    hidden: bool | None


class Styles:
    """The styles of a document by id."""

    def __init__(self, root: Any) -> None:
        self._styles: dict[str, Style] = {}
        self.default = ""
        for each in root.iter(W + "style") if root is not None else ():
            style = _style(each)
            self._styles[style.id] = style
            if style.kind == "paragraph" and each.get(W + "default") in ("1", "true", "on"):
                self.default = style.id

    def chain(self, name: str) -> Iterator[Style]:
        """A style, the one it is based on, and so on."""
        for _ in range(_MAX_BASED_ON):
            style = self._styles.get(name)
            if style is None:
                return
            yield style
            name = style.based_on

    def heading(self, name: str) -> int:
        """The depth of a heading of that style from 1; 0 for other styles."""
        for style in self.chain(name):
            if found := _HEADING.fullmatch(style.name):
                return int(found[1])
            if style.name.lower() == "title":
                return 1
            if style.outline is not None:
                return style.outline + 1 if 0 <= style.outline < 9 else 0
        return 0

    def is_contents(self, name: str) -> bool:
        """Whether a paragraph of that style is an entry of a table of contents."""
        return any(_CONTENTS.match(style.name) for style in self.chain(name))

    def is_title(self, name: str) -> bool:
        return any(style.name.lower() == "title" for style in self.chain(name))

    def hidden(self, name: str) -> bool:
        """Whether text of that style is hidden."""
        return next((style.hidden for style in self.chain(name) if style.hidden is not None), False)

    def numbering(self, name: str) -> tuple[int, int, str] | None:
        """The list that a style is linked to, its level, and the style that links to it."""
        for style in self.chain(name):
            if style.num_id is not None:
                return style.num_id, style.num_level or 0, style.id
        return None

    def list_of(self, name: str) -> int | None:
        """The list of a numbering style."""
        found = self.numbering(name)
        return found[0] if found else None


def _style(element: Any) -> Style:
    num_id, level = value(element, "pPr", "numPr", "numId"), value(element, "pPr", "numPr", "ilvl")
    outline = value(element, "pPr", "outlineLvl")
    return Style(
        id=element.get(W + "styleId", ""),
        kind=element.get(W + "type", ""),
        name=value(element, "name") or "",
        based_on=value(element, "basedOn") or "",
        num_id=None if num_id is None else number(num_id),
        num_level=None if level is None else number(level),
        outline=None if outline is None else number(outline, 9),
        hidden=on(child(element, "rPr"), "vanish"),
    )
