"""What the market analyst looks out for: rules in a short grammar of words; pure functions.

    above 5000              the level is over 5000; `below` likewise
    fall 3% in 1d           since the price a day ago; `rise` and `change` (either way) likewise
    volatility 30% over 20  annualised, of the last 20 changes
    gap 1%                  between a session's last price and the first of the next, either way
    missing 1h              no answer from the source for an hour of open market
    stale 1h                the same price for an hour of open market

Each may end with what it leads to: `note` (the default), `alert` (people are told) or `ask`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from common.agents.fields import Amount, Span, read_share
from common.grammar import UnreadableTimeError, parse_span, short

MAX_RULES = 20
MAX_POINTS = 500
SHORTEST = timedelta(minutes=1)

Part = Annotated[Decimal, BeforeValidator(read_share), Field(gt=0, le=10, max_digits=12, decimal_places=8)]


class When(StrEnum):
    """What a rule is about."""

    ABOVE = "above"
    BELOW = "below"
    RISE = "rise"
    FALL = "fall"
    CHANGE = "change"
    VOLATILITY = "volatility"
    GAP = "gap"
    MISSING = "missing"
    STALE = "stale"


class Then(StrEnum):
    """What a rule leads to: a note in the notebook, people told as well, or people asked."""

    NOTE = "note"
    ALERT = "alert"
    ASK = "ask"


# What each kind of rule has besides `when` and `then`.
_PARTS: dict[When, frozenset[str]] = {
    When.ABOVE: frozenset({"level"}),
    When.BELOW: frozenset({"level"}),
    When.RISE: frozenset({"by", "span"}),
    When.FALL: frozenset({"by", "span"}),
    When.CHANGE: frozenset({"by", "span"}),
    When.VOLATILITY: frozenset({"by", "points"}),
    When.GAP: frozenset({"by"}),
    When.MISSING: frozenset({"span"}),
    When.STALE: frozenset({"span"}),
}
_NUMBER, _SPAN = r"(\d{1,12}(?:\.\d{1,10})?)", r"(\S{1,20})"
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"(?:level )?(?P<when>above|below) (?P<level>{_NUMBER})",
        rf"(?P<when>rise|fall|change) (?P<by>{_NUMBER} ?%) in (?P<span>{_SPAN})",
        rf"(?P<when>volatility) (?:above )?(?P<by>{_NUMBER} ?%) over (?P<points>\d{{1,4}})(?: points)?",
        rf"(?P<when>gap) (?P<by>{_NUMBER} ?%)",
        rf"(?P<when>missing|stale) (?:for )?(?P<span>{_SPAN})",
    )
)
HOW_TO = (
    "a rule is written as above 5000, below 4500, fall 3% in 1d, rise 2% in 1h, change 2% in 1d, "
    "volatility 30% over 20, gap 1%, missing 1h or stale 1h, and may end with note, alert or ask"
)


class Rule(BaseModel, frozen=True):
    """One thing to look out for. `level` is a price, `by` a share, `points` a number of changes."""

    when: When
    level: Amount | None = None
    by: Part | None = None
    span: Span | None = None
    points: Annotated[int, Field(ge=5, le=MAX_POINTS)] | None = None
    then: Then = Then.NOTE

    @model_validator(mode="before")
    @classmethod
    def _in_words(cls, value: Any) -> Any:
        return _parts_of(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_its_parts(self) -> Self:
        given = {name for name in ("level", "by", "span", "points") if getattr(self, name) is not None}
        if given != _PARTS[self.when]:
            raise ValueError(f"{self.when} takes {', '.join(sorted(_PARTS[self.when]))}")
        if self.span is not None and (self.span < SHORTEST or self.span.microseconds):
            raise ValueError("give a time of a minute or more, in whole seconds")
        return self

    @model_serializer
    def _as_text(self) -> str:
        # Short, because it is carried over and sent with every look; the text parses to the same rule.
        return str(self)

    @property
    def condition(self) -> str:
        """When it holds, in words; two rules with the same condition are the same rule."""
        match self.when:
            case When.ABOVE | When.BELOW:
                return f"{self.when} {_plain(self.level)}"
            case When.VOLATILITY:
                return f"{self.when} {percent(self.by)} over {self.points}"
            case When.GAP:
                return f"{self.when} {percent(self.by)}"
            case When.MISSING | When.STALE:
                return f"{self.when} {short(self.span)}"
        return f"{self.when} {percent(self.by)} in {short(self.span)}"

    def __str__(self) -> str:
        return self.condition if self.then is Then.NOTE else f"{self.condition} {self.then}"


def parse_rule(text: str) -> Rule:
    """The rule that `text` names.

    Raises:
        ValueError: it names none; the message says how rules are written.
    """
    return Rule.model_validate(text)


def by_condition(rules: Iterable[Rule]) -> dict[str, Rule]:
    """The rules by their conditions; of two with the same, the later one counts."""
    return {rule.condition: rule for rule in rules}


def percent(share: Decimal | float | None) -> str:
    """Such as `2.5%`."""
    return f"{_plain(Decimal(str(share or 0)) * 100)}%"


def _plain(number: Decimal | None) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _parts_of(text: str) -> dict[str, Any]:
    words = " ".join(text.split()).lower()
    bare, _, last = words.rpartition(" ")
    then = last if last in tuple(Then) else ""
    condition = bare if then else words
    found = next((match for form in _FORMS if (match := form.fullmatch(condition))), None)
    if found is None:
        raise ValueError(HOW_TO)
    parts = found.groupdict()
    if "span" in parts:
        try:
            parts["span"] = parse_span(parts["span"])
        except UnreadableTimeError:
            raise ValueError(HOW_TO) from None
    if "points" in parts:
        parts["points"] = int(parts["points"])
    return {**parts, **({"then": then} if then else {})}


def _split(value: object) -> object:
    return [part for part in re.split(r"[;,]", value) if part.strip()] if isinstance(value, str) else value


def _later_counts(value: list[Rule]) -> list[Rule]:
    return list(by_condition(value).values())


# On the command line: `above 5000; fall 3% in 1d alert`. In JSON a rule may be an object, too.
Rules = Annotated[
    list[Rule],
    BeforeValidator(_split),
    Field(max_length=MAX_RULES),
    AfterValidator(_later_counts),
    WithJsonSchema(
        {
            "type": "array",
            "maxItems": MAX_RULES,
            "items": {
                "type": "string",
                "pattern": r"^((above|below) [1-9][0-9]{0,8}"
                r"|(rise|fall|change) [1-9][0-9]?% in [1-9][0-9]?[hd]"
                r"|volatility [1-9][0-9]?% over [1-9][0-9]|gap [1-9][0-9]?%|(missing|stale) [1-9][0-9]?[hd])"
                r"( (note|alert|ask))?$",
            },
        }
    ),
]
