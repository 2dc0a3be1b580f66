"""Assembles a document from its blocks: their offsets, what was not read, and where it was cut.

The readers build it in a separate process, so it holds only JSON values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from activities.documents.numbers import typed_number

MAX_CHARACTERS = 2_000_000
MAX_BLOCKS = 100_000
MAX_CHANGES = 10_000
MAX_CHANGE_CHARACTERS = 2_000
MAX_REMARKS = 50

# Invisible, but they would split a word: soft hyphen, zero-width space, word joiner, byte order marks.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff\ufffe"))
# Kind, text and offset.
Change = tuple[str, str, int]
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Lone surrogates, which cannot be stored.
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_SPACES = re.compile(r"[ \u00a0\u2000-\u200a\u202f\u205f\u3000]")


class FullError(Exception):
    """The document has reached the limit; the rest is not read."""


def visible_text(text: str) -> str:
    """`text` as a reader sees it: without invisible characters, with every kind of space as a plain one."""
    text = _CONTROL.sub("", text)
    if text.isascii():
        return text
    return _SURROGATES.sub("\ufffd", _SPACES.sub(" ", text.translate(_INVISIBLE)))


@dataclass
class Piece:
    """A block that is being read: its text so far, and the changes with offsets in that text."""

    parts: list[str] = field(default_factory=list)
    length: int = 0
    changes: list[Change] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text := visible_text(text):
            self.parts.append(text)
            self.length += len(text)

    def change(self, kind: str, text: str, at: int) -> None:
        """Record a change; if it continues the last one and is of the same kind, the two are merged."""
        text = visible_text(text)
        if not text:
            return
        if self.changes:
            last, before, place = self.changes[-1]
            here = place if last in ("deleted", "moved_away") else place + len(before)
            if last == kind and here == at:
                self.changes[-1] = (kind, before + text, place)
                return
        self.changes.append((kind, text, at))

    def stripped(self) -> tuple[str, list[Change]]:
        """The text without surrounding blanks, and the changes that are not blank."""
        whole = "".join(self.parts)
        text = whole.strip()
        lead = len(whole) - len(whole.lstrip())
        return text, [
            (kind, said, min(max(at - lead, 0), len(text))) for kind, said, at in self.changes if said.strip()
        ]


def numbered(text: str, changes: list[Change]) -> tuple[str, str, list[Change]]:
    """The clause number typed at the beginning of `text`, the rest, and the changes in the rest."""
    number, rest = typed_number(text)
    lead = len(text) - len(rest)
    return number, rest, [(kind, said, max(at - lead, 0)) for kind, said, at in changes] if lead else changes


class Assembly:
    """The document so far; `result()` returns the fields of a `StructuredDocument`."""

    def __init__(self, media_type: str) -> None:
        self._media_type = media_type
        self._blocks: list[dict[str, Any]] = []
        self._parts: list[str] = []
        self._length = 0
        self._changes = 0
        self.title = ""
        self.pages: int | None = None
        self.cut = False
        self.unread: Counter[str] = Counter()
        self.unread_more: list[str] = []
        self.remarks: list[str] = []

    def add(
        self,
        text: str,
        kind: str = "paragraph",
        changes: Sequence[Change] = (),
        *,
        number: str = "",
        path: str = "",
        level: int = 0,
        page: int | None = None,
        row: int = 0,
        column: int = 0,
    ) -> None:
        """Add a block. Its text has no surrounding blanks; its changes have offsets in the text.

        Raises:
            FullError: the document has reached the limit, and is marked as cut.
        """
        if not text and not changes and not number:
            return
        if len(self._blocks) >= MAX_BLOCKS or self._length >= MAX_CHARACTERS:
            self.cut = True
            raise FullError
        if len(text) > MAX_CHARACTERS - self._length:
            self.cut = True
            text = text[: MAX_CHARACTERS - self._length]
        before = self._blocks[-1] if self._blocks else None
        lead = ""
        if before is not None:
            lead = "\t" if row and before["row"] == row and before["column"] != column else "\n\n"
        if number:
            lead += f"{number} " if text else number
        start = self._length + len(lead)
        self._parts += (lead, text)
        self._length = start + len(text)
        kept = changes[: MAX_CHANGES - self._changes]
        self.cut = self.cut or len(kept) < len(changes)
        self._changes += len(kept)
        self._blocks.append(
            {
                "text": text,
                "kind": kind,
                "number": number,
                "path": path,
                "level": level,
                "page": page,
                "start": start,
                "row": row,
                "column": column,
                "changes": [
                    {"kind": change, "text": said.strip()[:MAX_CHANGE_CHARACTERS], "at": start + at}
                    for change, said, at in kept
                ],
            }
        )

    def heading(self) -> str:
        """The first heading's text; empty if there is none."""
        return next((block["text"] for block in self._blocks if block["kind"] == "heading"), "")

    def empty(self) -> bool:
        return not self._length

    def unread_words(self) -> list[str]:
        """What a reader of the page sees but was not read, in words."""
        return [with_count(what, how_many) for what, how_many in self.unread.items()] + self.unread_more

    def result(self) -> dict[str, Any]:
        return {
            "title": " ".join(visible_text(self.title or self.heading()).split())[:500],
            "media_type": self._media_type,
            "text": "".join(self._parts),
            "blocks": self._blocks,
            "pages": self.pages,
            "unread": self.unread_words()[:MAX_REMARKS],
            "remarks": self.remarks[:MAX_REMARKS],
            "cut": self.cut,
        }


def with_count(what: str, how_many: int) -> str:
    """ "a picture", "3 pictures": an article for one, a number for several."""
    if how_many == 1:
        return what
    article, _, noun = what.partition(" ")
    first, of, rest = (noun if article in ("a", "an") else what).partition(" of ")
    return f"{how_many} {first}s{of}{rest}"
