"""Small values of plans and results in words: names as labels, numbers, shares, durations, times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import TypeAdapter, ValidationError

from common.artifacts import ArtifactRef
from common.grammar import in_utc, in_words
from common.shown import UNTYPED, ShownField
from common.visible_text import visible

# Fields of plans that the plan's `model` may have written: a case, an opening, a draft.
WRITTEN = frozenset({"case", "opening", "text"})
NONE = "none"
_AUTHOR = re.compile(r"offline|(?:openai|anthropic|bedrock):\S{1,200}")
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_SPAN, _MOMENT = TypeAdapter(timedelta), TypeAdapter(datetime)


def ref_of(value: object) -> ArtifactRef | None:
    """``value`` as a reference to an artifact; None if it is not one."""
    if not isinstance(value, dict) or not {"sha256", "size"} <= set(value) <= {"sha256", "size", "agent"}:
        return None
    digest, size, agent = value["sha256"], value["size"], value.get("agent", "")
    # The digests become parts of a key.
    if not (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) and isinstance(size, int)):
        return None
    if not (isinstance(agent, str) and re.fullmatch("([0-9a-f]{32})?", agent)):
        return None
    return ArtifactRef(sha256=digest, size=size, agent=agent)


def label_of(name: str) -> str:
    """A field's name as a label."""
    words = re.sub(r"\busd\b", "USD", visible(name).replace("_", " ").strip())
    return words[:1].upper() + words[1:]


def author_of(plan: Mapping[str, Any], name: str) -> str:
    """Who wrote a field's text, in words; empty if it is not a text that a language model is asked for."""
    model = plan.get("model")
    if name not in WRITTEN or not isinstance(model, str) or not plan.get(name):
        return ""
    names = model.split(", ")
    if not all(_AUTHOR.fullmatch(each) for each in names):
        return ""
    return ", ".join(
        "offline (no language model)" if each == "offline" else f"{visible(each)} (a language model)"
        for each in names
    )


def plain(value: object) -> str:
    """A small value in words, with invisible characters spelled out."""
    if value is None or value in ([], {}, ()):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{visible(str(name))}: {plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    text = visible(str(value))
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text


def facts_in_words(facts: Mapping[str, object]) -> str:
    """The facts of a notebook line, in words; `gateway/static/live.js` does the same."""
    told = {visible(name).replace("_", " "): value for name, value in facts.items() if value != ""}
    return ", ".join(f"{name}: {_fact(value)}" for name, value in told.items())


def worded(value: object, field: ShownField = UNTYPED) -> str:
    """A small value in words, as its field declares; a value that does not fit is shown as it is."""
    shown = field.shown
    if value is None or value == "":
        return NONE
    if field.is_span and (span := _read(_SPAN, value)) is not None:
        return in_words(span)
    if field.is_moment and (at := _read(_MOMENT, value)) is not None and at.tzinfo is not None:
        return moment_in_words(at)
    if shown.form == "file" and isinstance(value, str) and "://" not in value:
        return visible(value.rpartition("/")[2])
    if isinstance(value, bool) or (number := _number(value, field)) is None:
        return plain(value)
    if shown.form == "share":
        # As exact as it was given; a float is rounded.
        return f"{number:.2%}" if isinstance(value, float) else f"{(number * 100).normalize():f}%"
    behind = shown.currency or shown.unit
    return f"{number:,f} {behind}".rstrip()


def moment_in_words(at: datetime) -> str:
    """A time in UTC, with seconds if they are not zero."""
    utc = in_utc(at)
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC" if utc.second else f"{utc:%Y-%m-%d %H:%M} UTC"


def size_in_words(size: int) -> str:
    """The size of a file, such as `3,210 bytes`."""
    return f"{size:,} byte{'' if size == 1 else 's'}"


def _fact(value: object) -> str:
    at = _read(_MOMENT, value) if isinstance(value, str) and _INSTANT.fullmatch(value) else None
    return moment_in_words(at) if at else plain(value)


def _number(value: object, field: ShownField) -> Decimal | None:
    """`value` as a number to be grouped by thousands, if its field says it is one; else None."""
    shown = field.shown
    if not (field.is_number or shown.currency or shown.unit or shown.form == "share"):
        return None
    text = repr(value) if isinstance(value, int | float) else value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _read(adapter: TypeAdapter[Any], value: object) -> Any:
    if not isinstance(value, str):
        return None
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None
