"""Makes command options from the fields of a pydantic type, which supplies their types and help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_args

import typer
from pydantic import BaseModel, ValidationError
from typer.core import TyperCommand

from cli.output import CommandError, flat

Command = Callable[..., None]
Read = TypeVar("Read")


class Strict(TyperCommand):
    """A command that refuses blank values: nobody means them as "not given"."""

    def invoke(self, ctx: Any) -> Any:
        """Run it.

        Raises:
            CommandError: an option or argument is blank.
        """
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            given = ctx.get_parameter_source(parameter.name).name == "COMMANDLINE"
            if given and isinstance(value, str) and not value.strip():
                name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar
                raise CommandError(f"{name} is empty: give a value, or leave it out.")
        return super().invoke(ctx)


class Commands(typer.Typer):
    """Commands that refuse blank values, with plain help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(rich_markup_mode=None, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Like Typer's own, but `Strict`."""
        return super().command(name, cls=Strict, **options)


def options_of(model: type[BaseModel], *names: str) -> Callable[[Command], Command]:
    """Add an option for each named field of `model`; the command's first argument is the model instance.

    Raises:
        CommandError: from the command, if an option does not fit its field.
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
    """Parse an option; None if it is not given.

    Raises:
        CommandError: the text cannot be parsed.
    """
    try:
        return None if text is None else read(text)
    except ValueError as error:
        raise CommandError(f"{option} {text}: {error}.") from None


def _parameter(model: type[BaseModel], name: str) -> inspect.Parameter:
    field = model.model_fields[name]
    kind = next(iter(get_args(field.annotation)), field.annotation)
    flag = kind is bool
    # Accept any text: the model's error explains what is expected. Choices are only for shell completion.
    choices = list(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else []
    option = typer.Option(
        f"--{name}",
        help=field.description,
        metavar=f"[{'|'.join(choices)}]" if choices else None,
        autocompletion=(lambda: choices) if choices else None,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=False if flag else None,
        annotation=Annotated[bool if flag else str | None, option],
    )
