"""Automatic numbers of a DOCX file, as a word processor counts and shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from activities.documents.docx.names import W, child, number, on, value
from activities.documents.docx.styles import Styles
from activities.documents.numbers import ClauseOutline, bare, written

LEVELS = 9
_ABSTRACT, _NUM = W + "abstractNum", W + "num"
_PLACE = re.compile(r"%([1-9])")
_CLAUSE = re.compile(r"^[^\W\d_]{3,}\.?\s+")


@dataclass(frozen=True)
class Level:
    """How one level of a list counts and is shown."""

    start: int = 1
    form: str = "decimal"
    text: str = ""
    legal: bool = False
    restart: int | None = None
    style: str = ""


_PLAIN = Level()


@dataclass
class _List:
    """An abstract list: its levels, and how far it has counted."""

    levels: dict[int, Level]
    counts: list[int | None] = field(default_factory=lambda: [None] * LEVELS)


@dataclass
class _Use:
    """A list as paragraphs use it: it shares its abstract list's counts, but may start or look different."""

    list: _List
    levels: dict[int, Level]
    starts: dict[int, int]


@dataclass(frozen=True)
class Shown:
    """The number of a paragraph as shown, its full path, and its depth from 1; a bullet has only a depth."""

    number: str
    path: str
    level: int


class Numbering:
    """Numbers paragraphs in the order of the document."""

    def __init__(self, root: Any, styles: Styles) -> None:
        self._styles = styles
        self._outline = ClauseOutline()
        self._uses: dict[int, _Use | None] = {}
        self._lists: dict[str, _List] = {}
        found = root if root is not None else ()
        self._abstracts = {each.get(W + "abstractNumId", ""): each for each in found if each.tag == _ABSTRACT}
        self._nums = {number(each.get(W + "numId")): each for each in found if each.tag == _NUM}

    def of(self, properties: Any, style: str) -> Shown | None:
        """The next number of a paragraph with these properties and style; None if it has none."""
        found = self._place(properties, style)
        if found is None:
            return None
        use, at = found
        self._count(use, at)
        level = use.levels.get(at, _PLAIN)
        shown = self._text(use, at)
        if not shown or level.form == "bullet":
            return Shown("", "", at + 1)
        path = self._path(use, at)
        relative = not path[:1].isdecimal() and (at == 0 or path.startswith("("))
        return Shown(shown, self._outline.path(shown, "" if relative else path), at + 1)

    def typed(self, shown: str) -> Shown:
        """The same for a number that was typed."""
        path = self._outline.path(shown)
        return Shown(shown, path, len(self._outline))

    def _place(self, properties: Any, style: str) -> tuple[_Use, int] | None:
        num_id, at = value(properties, "numPr", "numId"), value(properties, "numPr", "ilvl")
        linked = self._styles.numbering(style)
        if num_id is None and linked is None:
            return None
        if num_id is not None and (linked is None or number(num_id) != linked[0]):
            use = self._use(number(num_id))
            depth = number(at)
        else:
            assert linked is not None
            use = self._use(linked[0])
            depth = linked[1] if at is None else number(at)
            if use is not None and at is None:
                # If a level names the style, it takes precedence over the level that the style names.
                depth = next((each for each, level in use.levels.items() if level.style == linked[2]), depth)
        if use is None or not 0 <= depth < LEVELS:
            return None
        return use, depth

    def _use(self, num_id: int) -> _Use | None:
        """A list, built when first used: files contain hundreds that no paragraph uses."""
        if num_id not in self._uses:
            element = self._nums.get(num_id)
            name = value(element, "abstractNumId") or ""
            found = self._list(name) if name in self._abstracts else None
            self._uses[num_id] = None if found is None else _use(element, found)
        return self._uses[num_id]

    def _list(self, name: str) -> _List:
        if name not in self._lists:
            element = self._abstracts[name]
            linked = value(element, "numStyleLink")
            if linked is not None:
                # The levels are those of a numbering style's list.
                num = self._nums.get(self._styles.list_of(linked) or 0)
                element = self._abstracts.get(value(num, "abstractNumId") or "", element)
            self._lists[name] = _List({_at(each): _level(each) for each in element.findall(W + "lvl")})
        return self._lists[name]

    def _count(self, use: _Use, at: int) -> None:
        counts = use.list.counts
        now = counts[at]
        if at in use.starts:
            counts[at] = use.starts.pop(at)
        else:
            counts[at] = use.levels.get(at, _PLAIN).start if now is None else now + 1
        for deeper in range(at + 1, LEVELS):
            restart = use.levels.get(deeper, _PLAIN).restart
            if restart is None or (restart > 0 and at < restart):
                counts[deeper] = None

    def _text(self, use: _Use, at: int) -> str:
        level = use.levels.get(at, _PLAIN)

        def shown(found: re.Match[str]) -> str:
            other = int(found[1]) - 1
            of = use.levels.get(other, _PLAIN)
            count = use.list.counts[other]
            form = "decimal" if level.legal and of.form not in ("none", "bullet") else of.form
            return written(of.start if count is None else count, form)

        return " ".join(_PLACE.sub(shown, level.text).split())

    def _path(self, use: _Use, at: int) -> str:
        own = self._text(use, at)
        own = bare(_CLAUSE.sub("", own))
        places = {int(each) for each in _PLACE.findall(use.levels.get(at, _PLAIN).text)}
        if at == 0 or len(places) > 1 or use.list.counts[at - 1] is None:
            return own
        above = self._path(use, at - 1)
        return above + own if own.startswith("(") or not above else f"{above}.{own}"


def _at(element: Any) -> int:
    return number(element.get(W + "ilvl"))


def _level(element: Any) -> Level:
    restart = value(element, "lvlRestart")
    return Level(
        start=number(value(element, "start"), 1) if child(element, "start") is not None else 0,
        form=value(element, "numFmt") or "decimal",
        text=(value(element, "lvlText") or "")[:100],
        legal=bool(on(element, "isLgl")),
        restart=None if restart is None else number(restart),
        style=value(element, "pStyle") or "",
    )


def _use(element: Any, abstract: _List) -> _Use:
    levels, starts = dict(abstract.levels), {}
    for override in element.findall(W + "lvlOverride"):
        at = _at(override)
        start = value(override, "startOverride")
        own = child(override, "lvl")
        if own is not None:
            levels[at] = _level(own)
        if start is not None:
            starts[at] = number(start, 1)
            levels[at] = replace(levels.get(at, Level()), start=starts[at])
    return _Use(abstract, levels, starts)
