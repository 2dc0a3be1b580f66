"""Plain text and Markdown as structured documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from activities.documents.assembly import Assembly, FullError, visible_text
from activities.documents.charsets import decode
from activities.documents.lines import Line, add_lines


def read(data: bytes, charset: str | None = None) -> dict[str, Any]:
    """Paragraphs, headings and numbers of plain text; form feeds separate its pages."""
    text = decode(data, label=charset).replace("\r\n", "\n").replace("\r", "\n")
    assembly = Assembly("text/plain")
    with suppress(FullError):
        add_lines(_lines(text), assembly)
    if "\f" in text:
        assembly.pages = text.count("\f") + 1
    return assembly.result()


def _lines(text: str) -> Iterator[Line]:
    paged = "\f" in text
    # If lines are wrapped at a width, a line that is much shorter ends a paragraph.
    lengths = sorted(len(line) for line in text.split("\n")[:5_000] if line.strip())
    width = lengths[len(lengths) * 9 // 10] if lengths else 0
    wrapped = 40 <= width <= 200
    page, gap = 1, False
    for raw in re.split(r"(?<=\f)|\n", text):
        line = visible_text(raw.strip("\f")).rstrip()
        if not line.strip():
            gap = True
        else:
            short = not wrapped or len(line) < width * 0.75
            yield Line(line.strip(), page if paged else None, gap, short)
            gap = False
        if raw.endswith("\f"):
            page += 1
            gap = True


def as_html(data: bytes, charset: str | None = None) -> str:
    """Markdown as HTML; HTML in it is kept as HTML."""
    from markdown_it import MarkdownIt

    # Beyond `maxNesting` it silently drops text; with this one, Python's recursion limit comes first.
    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": 100_000}).enable(
        ["table", "strikethrough"]
    )
    return str(parser.render(decode(data, label=charset)))
