"""Checks answers against registered output types, and against the allowed options of a choice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, JsonValue, ValidationError

from activities.llm.offline import OfflineAnalyst
from activities.llm.prompt import strip_imitations
from activities.llm.records import Choose, Material, SourceQuote, Structured, Think
from common.errors import permanent


class BadOutputError(Exception):
    """An answer that is not what was asked for; the message tells the model why."""


@dataclass(frozen=True)
class OutputType:
    """A type that answers are checked against.

    Attributes:
        type: what the answer must be; its JSON schema is shown to the model.
        check: returns what is wrong with a value for this request, or None if it is fine.
        offline: makes the value by rules, without a language model; None if there are no rules.
        narrow: returns the part of a language model's valid value that counts; None keeps all of it.
    """

    type: type[BaseModel]
    check: Callable[[Any, Think], str | None] | None = None
    offline: Callable[[OfflineAnalyst, Think], BaseModel] | None = None
    narrow: Callable[[Any, Think], BaseModel] | None = None


class Point(BaseModel, frozen=True):
    """A statement and the quote it rests on: text of `material`, word for word."""

    says: str = Field(max_length=1000)
    quote: str = Field(max_length=2000)
    material: str = Field(max_length=200)


class Points(BaseModel, frozen=True):
    """The output type `points`: what the material says about the instruction, each with its quote."""

    points: list[Point] = Field(max_length=50)


def find_quote(quote: str, material: Sequence[Material], id: str) -> SourceQuote | None:
    """Find `quote` in the material `id`, ignoring white space; None if it is not there."""
    for each in material:
        if each.id == id and quote.strip():
            start, end = _find(quote, each.text)
            if end:
                return SourceQuote(
                    text=each.text[start:end], start=start, end=end, material=id, source=each.source
                )
    return None


def _find(quote: str, text: str) -> tuple[int, int]:
    # No regular expression: the quote is untrusted, and may be long.
    places = [place for place, char in enumerate(text) if not char.isspace()]
    packed = "".join(text[place] for place in places)
    wanted = "".join(quote.split())
    found = packed.find(wanted)
    return (0, 0) if found < 0 or not wanted else (places[found], places[found + len(wanted) - 1] + 1)


def _misquoted(points: Points, think: Think) -> str | None:
    for point in points.points:
        if find_quote(point.quote, think.material, point.material) is None:
            return f"the quote {point.quote[:80]!r} does not stand in the material {point.material[:80]!r}"
    return None


def _offline_points(analyst: OfflineAnalyst, think: Think) -> Points:
    quotes = analyst.extract(think.instruction, think.material)
    return Points(points=[Point(says="", quote=each.text[:2000], material=each.material) for each in quotes])


class Rank(BaseModel, frozen=True):
    """One item of a ranking as a model gives it; untrusted."""

    id: str = Field(max_length=200)
    score: float = Field(ge=0, le=1)
    reason: str = Field(max_length=300)
    quote: str = Field(max_length=1000)


class Ranking(BaseModel, frozen=True):
    """The output type `ranking`: the items that fit, best first."""

    items: list[Rank]


def _unknown_item(ranking: Ranking, think: Think) -> str | None:
    known = {each.id for each in think.material}
    named = [item.id for item in ranking.items]
    unknown = sorted(set(named) - known)
    if unknown:
        return f"there is no item {unknown[0]!r}"
    return "an item is named twice" if len(set(named)) < len(named) else None


BUILT_IN: Mapping[str, OutputType] = {
    "points": OutputType(Points, _misquoted, _offline_points),
    "ranking": OutputType(Ranking, _unknown_item),
}


class Outputs:
    """The registered output types, by name."""

    def __init__(self, types: Mapping[str, OutputType] | None = None) -> None:
        self._types = {**BUILT_IN, **(types or {})}

    def schema(self, think: Think) -> dict[str, Any] | None:
        """The JSON schema of the answer; None for free text.

        Raises:
            ApplicationError: type `UnknownOutputType`.
        """
        if isinstance(think.want, Choose):
            ids = {"type": "string", "enum": [option.id for option in think.want.options]}
            return {"type": "object", "properties": {"choice": ids}, "required": ["choice"]}
        if isinstance(think.want, Structured):
            return self._type(think.want).type.model_json_schema()
        return None

    def read(self, answer: str, think: Think) -> tuple[JsonValue, str]:
        """The value and the choice in `answer`; at most one of them is set, and neither for free text.

        Raises:
            BadOutputError: it is not what was asked for.
        """
        match think.want:
            case Choose():
                return None, _choice(answer, think.want)
            case Structured():
                return self._value(answer, think, self._type(think.want)), ""
            case _:
                return None, ""

    def offline(self, think: Think, analyst: OfflineAnalyst) -> JsonValue:
        """The value, made by rules.

        Raises:
            ApplicationError: type `NeedsLanguageModel`, if there are no rules for this type.
        """
        assert isinstance(think.want, Structured)
        made = self._type(think.want).offline
        if made is None:
            raise permanent(
                "NeedsLanguageModel",
                f"{think.want.type} cannot be made offline: set HIBERNAUT_MODEL to a model",
            )
        return made(analyst, think).model_dump(mode="json")

    def _type(self, want: Structured) -> OutputType:
        if want.type not in self._types:
            raise permanent("UnknownOutputType", f"{want.type!r}; there are {', '.join(sorted(self._types))}")
        return self._types[want.type]

    def _value(self, answer: str, think: Think, output: OutputType) -> JsonValue:
        try:
            value = output.type.model_validate_json(_json_in(answer))
            given = value.model_dump(mode="json")
            if (plain := _strip_all(given)) != given:
                value = output.type.model_validate(plain)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)
            flaws = "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'answer'}: {each['msg']}" for each in first[:5]
            )
            raise BadOutputError(flaws) from None
        flaw = output.check(value, think) if output.check else None
        if flaw:
            raise BadOutputError(flaw)
        return (output.narrow(value, think) if output.narrow else value).model_dump(mode="json")


def _strip_all(value: Any) -> Any:
    """`value` with everything removed from its texts that imitates our marks and remarks."""
    match value:
        case str():
            return strip_imitations(value)
        case list():
            return [_strip_all(each) for each in value]
        case dict():
            return {name: _strip_all(each) for name, each in value.items()}
    return value


def _choice(answer: str, want: Choose) -> str:
    ids = [option.id for option in want.options]
    if answer.strip() in ids:
        return answer.strip()
    try:
        chosen = json.loads(_json_in(answer))["choice"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadOutputError('the answer is not {"choice": ID}') from None
    if chosen not in ids:
        raise BadOutputError(f"{str(chosen)[:80]!r} is none of the options {', '.join(ids)[:500]}")
    return str(chosen)


def _json_in(answer: str) -> str:
    """The answer's JSON, without the code fence that may surround it."""
    text = answer.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].removeprefix("json").strip()
    return text
