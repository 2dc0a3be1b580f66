"""Options of a command, made of the fields of a pydantic type, which has their types and help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_args

import typer
from pydantic import BaseModel, ValidationError

from cli.output import CommandError, flat

Command = Callable[..., None]
Read = TypeVar("Read")


def options_of(model: type[BaseModel], *names: str) -> Callable[[Command], Command]:
    """Add an option for each named field of `model`; the command's first argument is the model they make.

    Raises:
        CommandError: from the command, where an option does not fit its field.
    """

    def add(command: Command) -> Command:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()

        @functools.wraps(command)
        def with_options(**arguments: Any) -> None:
            values = {name: arguments.pop(name) for name in names}
            try:
                made = model(**{name: value for name, value in values.items() if value is not None})
            except ValidationError as error:
                one_option = any(each["loc"] for each in error.errors())
                raise CommandError(("--" if one_option else "") + flat(error)) from None
            command(made, **arguments)

        parameters = [*(_parameter(model, name) for name in names), *own]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return with_options

    return add


def read_option(option: str, text: str | None, read: Callable[[str], Read]) -> Read | None:
    """The value of an option; None where it is not given.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        return None if text is None else read(text)
    except ValueError as error:
        raise CommandError(f"{option} {text}: {error}.") from None


def _parameter(model: type[BaseModel], name: str) -> inspect.Parameter:
    field = model.model_fields[name]
    kind = next(iter(get_args(field.annotation)), field.annotation)
    choice = kind if isinstance(kind, type) and issubclass(kind, (bool, StrEnum)) else str
    option = typer.Option(f"--{name}", help=field.description)
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=False if choice is bool else None,
        annotation=Annotated[bool if choice is bool else choice | None, option],
    )
