"""Types of input fields that a command line can fill from plain text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from common import grammar
from common.grammar import PLAIN_NUMBER


def _split_commas(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [word for part in value.split(",") if (word := part.strip())]


def read_share(value: object) -> object:
    """`1%`, `1 %` and `0.01` are the same share."""
    if not isinstance(value, str):
        return value
    number = value.strip()
    try:
        return Decimal(number.removesuffix("%")) / 100 if number.endswith("%") else Decimal(number)
    except InvalidOperation:
        raise ValueError("give a share such as 1% or 0.01") from None


def _read_amount(value: object) -> object:
    # Once it has passed `PLAIN_NUMBER`, strict validation no longer knows that it comes from JSON.
    try:
        return Decimal(value) if isinstance(value, str) else value
    except InvalidOperation:
        raise ValueError("give a number, such as 5 or 0.1") from None


# How often an outside system may be polled.
FASTEST, SLOWEST = timedelta(minutes=1), timedelta(days=1)


def _bearable(pace: timedelta) -> timedelta:
    if not FASTEST <= pace <= SLOWEST:
        raise ValueError("give a time from 1m to 1d")
    return pace


# On the command line a list is written `a,b`.
CommaList = Annotated[list[str], BeforeValidator(_split_commas)]
# The CLI makes it absolute, because a worker has its own working folder. Every path that an agent or an
# activity takes has this type or `PathOrAddress`: the type is how paths are found and checked against the
# owner's roots.
LocalPath = Annotated[str, Field(min_length=1, json_schema_extra={"format": "path"})]
# How long something lasts. More forms are accepted (see common/grammar.py); this one is guaranteed.
Span = Annotated[
    grammar.Span,
    WithJsonSchema(
        {"type": "string", "format": "duration", "pattern": "^P([1-9][0-9]{0,2}D|T[1-9][0-9]{0,3}[HMS])$"}
    ),
]
# How often to look at something.
Pace = Annotated[
    Span,
    AfterValidator(_bearable),
    WithJsonSchema({"type": "string", "format": "duration", "pattern": "^PT[1-9][0-9]{0,2}M$"}),
]
# Bounded, so that a sum, a product or a printed line cannot grow without end. In JSON it is a string.
Amount = Annotated[
    Decimal,
    Field(gt=0, le=10**12, max_digits=24, decimal_places=10),
    BeforeValidator(_read_amount),
    PLAIN_NUMBER,
    WithJsonSchema(
        {
            "type": "string",
            "format": "decimal",
            "pattern": r"^(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,10})?$",
        }
    ),
]
# `1%` or `0.01`.
Share = Annotated[
    Decimal,
    BeforeValidator(read_share),
    Field(ge=0, lt=1),
    WithJsonSchema(
        {
            "type": "string",
            "format": "share",
            "pattern": r"^(0(\.[0-9]{1,10})?|[0-9]{1,2}(\.[0-9]{1,8})?%)$",
        }
    ),
]
# Each field sets a lower maximum of its own.
Count = Annotated[int, Field(le=10**12), PLAIN_NUMBER]
# Either a path, likewise made absolute, or an http or https address.
PathOrAddress = Annotated[str, Field(json_schema_extra={"format": "path-or-address"})]


def is_address(text: str) -> bool:
    """Whether `text` is meant as an http or https address, and not as a path."""
    return text.lower().startswith(("http://", "https://"))


def holds_path(schema: dict[str, Any], value: str) -> bool:
    """Whether `value` is a path, in a field of this JSON schema; an empty value is not."""
    formats = {part.get("format") for part in (schema, *schema.get("anyOf", ()))}
    return bool(value) and ("path" in formats or ("path-or-address" in formats and not is_address(value)))


def paths_of(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every path in `value`, a model or a list of models: the name of its field, and the path."""
    if isinstance(value, BaseModel):
        paths = _path_fields(type(value))
        for field, held in value:
            if isinstance(held, str):
                if field in paths and held and not (paths[field] == "path-or-address" and is_address(held)):
                    yield field, held
            elif isinstance(held, BaseModel | list | tuple):
                yield from paths_of(held, field)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from paths_of(each, name)


@cache
def _path_fields(kind: type[BaseModel]) -> dict[str, str]:
    """The fields that hold paths, with their formats."""
    formats = {name: _format_of(field) for name, field in kind.model_fields.items()}
    return {name: found for name, found in formats.items() if found in ("path", "path-or-address")}


def _format_of(hint: Any) -> str:
    """The text format that an annotation declares, also within a union."""
    if isinstance(hint, FieldInfo):
        extra = hint.json_schema_extra if isinstance(hint.json_schema_extra, dict) else {}
        return str(extra.get("format", "")) or _format_of(hint.annotation)
    parts = (*get_args(hint), *getattr(hint, "__metadata__", ()))
    return next((found for each in parts if (found := _format_of(each))), "")
