"""Types of input fields that a command line can fill from plain words."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from common import grammar
from common.grammar import PLAIN


def _split_commas(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [word for part in value.split(",") if (word := part.strip())]


# On the command line a list is written `a,b`.
Words = Annotated[list[str], BeforeValidator(_split_commas)]
# The CLI makes it absolute: a worker has a working folder of its own.
LocalPath = Annotated[str, Field(min_length=1, json_schema_extra={"format": "path"})]
# How long something lasts. More forms are read (see common/grammar.py); this one is promised.
Span = Annotated[
    grammar.Span,
    WithJsonSchema(
        {"type": "string", "format": "duration", "pattern": "^P([1-9][0-9]{0,2}D|T[1-9][0-9]{0,3}[HMS])$"}
    ),
]
# Bounded, so that a sum, a product or a printed line cannot grow without end. In JSON it is a string.
Amount = Annotated[
    Decimal,
    Field(gt=0, le=10**12, max_digits=24, decimal_places=10),
    PLAIN,
    WithJsonSchema(
        {
            "type": "string",
            "format": "decimal",
            "pattern": r"^(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,10})?$",
        }
    ),
]
# A bound of each field's own says how many at most.
Count = Annotated[int, Field(le=10**12), PLAIN]
# Either a path, likewise made absolute, or an http or https address.
PathOrAddress = Annotated[str, Field(json_schema_extra={"format": "path-or-address"})]


def is_address(text: str) -> bool:
    """Whether `text` is meant as an http or https address, and not as a path."""
    return text.lower().startswith(("http://", "https://"))


def holds_path(schema: dict[str, Any], value: str) -> bool:
    """Whether `value` is a path, in a field of this JSON schema; an empty one is none."""
    formats = {part.get("format") for part in (schema, *schema.get("anyOf", ()))}
    return bool(value) and ("path" in formats or ("path-or-address" in formats and not is_address(value)))
