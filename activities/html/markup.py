"""HTML that cannot be broken out of: every plain string is escaped, only ``Html`` goes in as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import TypeAlias


class Html(str):
    """Markup, safe to put into a page."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child]"

# What a browser would obey or reorder instead of showing it: controls, bidirectional marks, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)


def tag(name: str, *children: Child, **attributes: str | int | bool | None) -> Html:
    """An element. Of an attribute's name `_` becomes `-` and a last one goes: `class_`, `data_path`.

    An attribute that is None or False is left out; one that is True has no value.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None and value is not False:
            shown = "" if value is True else f'="{escape(visible(str(value)))}"'
            parts.append(f" {key.rstrip('_').replace('_', '-')}{shown}")
    return Html(f"{''.join(parts)}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Markup and texts in a row, the texts escaped."""
    return Html(
        "".join(
            (child if isinstance(child, Html) else escape(visible(child)))
            if isinstance(child, str)
            else join(child)
            for child in children
        )
    )


def visible(text: str) -> str:
    """`text` with characters that have no look of their own spelled out, such as `\\u202e`."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape", "backslashreplace").decode(), text)
