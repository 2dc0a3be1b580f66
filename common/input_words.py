"""Types of input fields that a command line can fill from plain words."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field


def _split_commas(value: object) -> object:
    return (
        [word for word in (part.strip() for part in value.split(",")) if word]
        if isinstance(value, str)
        else value
    )


# On the command line a list is written `a,b`.
Words = Annotated[list[str], BeforeValidator(_split_commas)]
# The CLI makes it absolute: a worker has a working folder of its own.
LocalPath = Annotated[str, Field(min_length=1, json_schema_extra={"format": "path"})]
# Either a path, likewise made absolute, or an http or https address.
PathOrAddress = Annotated[str, Field(json_schema_extra={"format": "path-or-address"})]


def is_address(text: str) -> bool:
    """Whether `text` is meant as an http or https address, and not as a path."""
    return text.lower().startswith(("http://", "https://"))
