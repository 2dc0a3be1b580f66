"""Answers in place of activities in a rehearsal: an activity's own stand-in, or a value made up by type."""

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
    """No value can be made up for a result type."""


def rehearsed_as(answer: Callable[[Any, Any], Any]) -> Callable[[Activity], Activity]:
    """Have `answer` stand in for an activity in every rehearsal; it takes the activity's object and argument.

    For activities that always reach outside, and for results on which the agent's course depends, so that a
    value made up by type will not do.
    """

    def mark(function: Activity) -> Activity:
        setattr(function, _OWN, answer)
        return function

    return mark


def has_own_stand_in(function: Callable[..., Any]) -> bool:
    """Whether an activity has a stand-in of its own."""
    return hasattr(function, _OWN)


def agent_time() -> datetime:
    """The agent's time, within an activity that it waits for. In a rehearsal it is far ahead of the clock."""
    return activity.info().started_time if activity.in_activity() else datetime.now(UTC)


def is_destructive(argument: object) -> bool:
    """Whether an activity with this argument needs an approval; the kit marks those by a field."""
    return isinstance(argument, BaseModel) and "authorization" in type(argument).model_fields


def looks_up(function: Callable[..., Any]) -> bool:
    """Whether an activity looks up what another has done: its result may be None."""
    return type(None) in get_args(result_type(function))


def stand_in(function: Callable[..., Any], argument: Any, artifacts: ArtifactStore, answer: Any) -> Any:
    """The answer of an activity that was not run.

    Args:
        function: the activity, bound to its object.
        argument: what it was called with.
        artifacts: stores what the answer refers to.
        answer: the preset answer as JSON, or `None`.

    Raises:
        NoStandInError: no answer can be made up.
        ValidationError: `answer` does not match the activity's result type.
    """
    if answer is not None:
        return TypeAdapter(result_type(function)).validate_python(answer)
    own = getattr(function, _OWN, None)
    if own is not None:
        return own(getattr(function, "__self__", None), argument)
    known = dict(_known(argument))
    return _Maker(known, artifacts).made(result_type(function))


def result_type(function: Callable[..., Any]) -> Any:
    """The return type in an activity's signature."""
    return get_type_hints(getattr(function, "__func__", function), include_extras=True).get("return")


def _known(argument: object) -> Iterator[tuple[str, Any]]:
    """Names and values in the argument, nested models first, so that in a dict the outer values win."""
    if isinstance(argument, BaseModel):
        for _, value in argument:
            yield from _known(value)
        yield from argument


class _Maker:
    """Makes values by type: the argument's value of the same name if it fits, else a minimal valid one."""

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
            yield from (agent_time(), timedelta(), timedelta(hours=1), WORDS, "", WORDS.encode())


@cache
def _of(model: type[BaseModel], name: str) -> Any:
    """The type of a field with its constraints."""
    return model.model_fields[name].rebuild_annotation()


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _bare(hint: Any) -> Any:
    return _bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint
