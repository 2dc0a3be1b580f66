"""The building blocks of every group of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import ErrorDetails

from common.grammar import PLAIN_NUMBER


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says what to set."""

    quotes_nothing = True


class Group(BaseModel):
    """Settings that belong together, frozen. Each field is one setting."""

    model_config = ConfigDict(frozen=True, validate_default=True, validate_by_name=True)

    def but(self, **changes: Any) -> Self:
        """A copy with some of the fields changed; the changes are not validated."""
        if unknown := changes.keys() - type(self).model_fields:
            raise TypeError(f"no such settings: {', '.join(unknown)}")
        return self.model_copy(update=changes)


def setting(variable: str, meaning: str, *, default: str = "", secret: bool = False) -> Any:
    """A field that is read from an environment variable.

    Args:
        variable: its name, `HIBERNAUT_…`.
        meaning: what the table in docs/settings.md says about it.
        default: the text to use if the variable is absent or empty.
        secret: keep the value out of every repr and error.
    """
    return Field(default, validation_alias=variable, description=meaning, repr=not secret)


def split_commas(text: object) -> object:
    """The values of a comma-separated list."""
    return (
        tuple(word for part in text.split(",") if (word := part.strip())) if isinstance(text, str) else text
    )


def _path_of(text: object) -> object:
    return (Path(text).expanduser().absolute() if text else None) if isinstance(text, str) else text


def _none_of(text: object) -> object:
    return None if text in ("", "none", "never") else text


CommaList = Annotated[tuple[str, ...], BeforeValidator(split_commas)]
Folder = Annotated[Path, BeforeValidator(_path_of)]
File = Annotated[Path | None, BeforeValidator(_path_of)]
Whole = Annotated[int, Field(ge=0, le=10**15), PLAIN_NUMBER]
# For a type that may be None: empty, `none` and `never` mean None.
OR_NONE: Any = BeforeValidator(_none_of)


def complaint(error: ErrorDetails) -> str:
    """What pydantic found wrong with a value, as what to do about it."""
    match error:
        case {"ctx": {"error": reason}}:
            return str(reason)
        case {"type": "literal_error", "ctx": {"expected": choices}}:
            return f"say {choices.replace(chr(39), '')}"
        case {"ctx": {"ge": least}}:
            return f"give {least:g} or more"
        case _:
            return f"it {error['msg'].removeprefix('Input ')}"
