"""Renders self-contained pages from templates that live beside the code; all text is escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

# Characters that a browser acts on or hides: controls, bidirectional and zero-width marks, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)


def render(template: str, **context: Any) -> str:
    """Render a template below `activities/`; a name missing from `context` is an error.

    Plain text is escaped, and its invisible characters shown; only `Markup` goes in unchanged.
    """
    return _templates.get_template(template).render(context)


def visible(text: str) -> str:
    """`text` with invisible characters spelled out, such as `\\u202e`."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape", "backslashreplace").decode(), text)


def _policy(style: str, script: str) -> Markup:
    """A Content-Security-Policy that allows only this style and this script, and loads nothing."""
    allowed = "".join(
        f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'; "
        for kind, text in (("style", style), ("script", script))
        if text
    )
    return Markup(f"default-src 'none'; {allowed}img-src data:; base-uri 'none'; form-action 'none'")  # noqa: S704


def _printed(value: object) -> object:
    return value if hasattr(value, "__html__") else visible(str(value))


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1]),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_printed,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["policy"] = _policy
_templates.filters["comma"] = "{:,}".format
