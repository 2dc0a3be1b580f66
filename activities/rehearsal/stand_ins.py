"""What answers in a rehearsal in place of an activity: its own stand-in, or one made up after its type."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio import activity

from common.artifacts import ArtifactRef, ArtifactStore

Activity = TypeVar("Activity", bound=Callable[..., Any])
WORDS = "stand-in"
_OWN = "__rehearsed_as__"


class NoStandInError(Exception):
    """No value of a result type can be made up."""


def rehearsed_as(answer: Callable[[Any, Any], Any]) -> Callable[[Activity], Activity]:
    """Have `answer` stand in for an activity in every rehearsal: it takes its object and its argument.

    For what always reaches outside, and for a result by which the agent goes on, so that no value that is
    made up after its type will do.
    """

    def mark(function: Activity) -> Activity:
        setattr(function, _OWN, answer)
        return function

    return mark


def has_own(function: Callable[..., Any]) -> bool:
    """Whether an activity has a stand-in of its own."""
    return hasattr(function, _OWN)


def its_time() -> datetime:
    """The agent's time, within an activity that it waits for; in a rehearsal, far ahead of any clock."""
    return activity.info().started_time if activity.in_activity() else datetime.now(UTC)


def is_destructive(argument: object) -> bool:
    """Whether an activity of that argument does what people have to approve: the kit's sign for that."""
    return isinstance(argument, BaseModel) and "authorization" in type(argument).model_fields


def looks_up(function: Callable[..., Any]) -> bool:
    """Whether an activity looks for what another has done: what it returns may be that there is nothing."""
    return type(None) in get_args(result_type(function))


def stand_in(function: Callable[..., Any], argument: Any, artifacts: ArtifactStore, answer: Any) -> Any:
    """The answer of an activity that was not run.

    Args:
        function: the activity, bound to its object.
        argument: what it was called with.
        artifacts: where what the answer refers to is stored.
        answer: what it is to answer as JSON, where somebody has said so; else `None`.

    Raises:
        NoStandInError: none can be made up.
        ValidationError: `answer` is none of its answers.
    """
    if answer is not None:
        return TypeAdapter(result_type(function)).validate_python(answer)
    own = getattr(function, _OWN, None)
    if own is not None:
        return own(getattr(function, "__self__", None), argument)
    known = dict(_known(argument))
    return _Maker(known, artifacts).made(result_type(function))


def result_type(function: Callable[..., Any]) -> Any:
    """What an activity returns, as its signature says."""
    return get_type_hints(getattr(function, "__func__", function), include_extras=True).get("return")


def _known(argument: object) -> Iterator[tuple[str, Any]]:
    """Names and values of the argument, those of the models in it first: a plan's before its request's."""
    if isinstance(argument, BaseModel):
        for _, value in argument:
            yield from _known(value)
        yield from argument


class _Maker:
    """Makes values after types: what the argument has under that name, else the least that is valid."""

    def __init__(self, known: Mapping[str, Any], artifacts: ArtifactStore) -> None:
        self._known = known
        self._artifacts = artifacts

    def made(self, hint: Any, name: str = "") -> Any:
        for value in self._candidates(hint, name):
            try:
                return _adapter(hint).validate_python(value)
            except ValidationError:
                continue
        raise NoStandInError(f"no stand-in can be made up for {hint}")

    def _candidates(self, hint: Any, name: str) -> Iterator[Any]:
        if name in self._known:
            value = self._known[name]
            yield value
            if isinstance(value, list | tuple | dict):
                yield len(value)
        bare = _bare(hint)
        if isinstance(bare, type) and issubclass(bare, ArtifactRef):
            yield self._artifacts.put(b"")
        elif isinstance(bare, type) and issubclass(bare, BaseModel):
            yield {
                field.alias or each: self.made(_of(bare, each), each)
                for each, field in bare.model_fields.items()
                if field.is_required()
            }
        elif isinstance(bare, type) and issubclass(bare, Enum):
            yield from bare
        elif get_origin(bare) is Literal:
            yield from get_args(bare)
        elif get_origin(bare) in (Union, types.UnionType):
            for each in sorted(get_args(bare), key=lambda part: part is not type(None)):
                yield from self._candidates(each, name)
        else:
            yield from (None, False, 0, 1, 100, Decimal(1), (), {}, f"{WORDS}: {name}" if name else WORDS)
            yield from (its_time(), timedelta(), timedelta(hours=1), WORDS, "", WORDS.encode())


@cache
def _of(model: type[BaseModel], name: str) -> Any:
    """The type of a field with what bounds it."""
    return model.model_fields[name].rebuild_annotation()


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _bare(hint: Any) -> Any:
    return _bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint
