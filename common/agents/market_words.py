"""What people may tell a market analyst: a few plain sentences, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import ValidationError

from common.agents.market_rules import HOW_TO, Rule, parse_rule
from common.grammar import LONGEST, UnreadableTimeError, parse_span

HOW_TO_TELL = (
    "tell it: for 3 days more; report now; finish now; add RULE; drop RULE; change RULE to RULE; every 30m"
)
_UNITS = {"minute": "m", "hour": "h", "day": "d", "week": "w"}
_LONGER = re.compile(r"(?:(?:go|watch) on )?for (?P<span>.{1,30}?)(?: more| longer)?")
_COUNTED = re.compile(r"(\d{1,4}|an?|another) (minute|hour|day|week)s?", re.ASCII)


class Order(StrEnum):
    """What is to be done."""

    LONGER = "longer"
    REPORT = "report"
    FINISH = "finish"
    ADD = "add"
    DROP = "drop"
    CHANGE = "change"
    EVERY = "every"


@dataclass(frozen=True)
class Told:
    """An instruction: `span` for longer and every, `rule` for add and drop, both rules for change."""

    order: Order
    span: timedelta = timedelta()
    rule: Rule | None = None
    to: Rule | None = None


class NotUnderstoodError(ValueError):
    """The words ask for nothing that can be done; the message says what would be understood."""


def parse_told(text: str) -> Told:
    """What the words of a person ask for.

    Raises:
        NotUnderstoodError: they are none of the sentences that are understood.
    """
    words = " ".join(text.split()).lower().rstrip(".!")
    verb, _, rest = words.partition(" ")
    if words in ("report now", "report"):
        return Told(Order.REPORT)
    if words in ("finish now", "finish"):
        return Told(Order.FINISH)
    if verb == "every":
        return Told(Order.EVERY, span=_span(rest))
    if verb in ("add", "drop"):
        return Told(Order(verb), rule=_rule(rest))
    if verb == "change":
        old, to, new = rest.partition(" to ")
        if to:
            return Told(Order.CHANGE, rule=_rule(old), to=_rule(new))
    if longer := _LONGER.fullmatch(words):
        return Told(Order.LONGER, span=_span(longer["span"]))
    raise NotUnderstoodError(f"not understood: {HOW_TO_TELL}")


def _span(words: str) -> timedelta:
    counted = _COUNTED.fullmatch(words)
    if counted:
        number = "1" if counted[1].isalpha() else counted[1]
        words = f"{number}{_UNITS[counted[2]]}"
    try:
        found = parse_span(words)
    except UnreadableTimeError as error:
        raise NotUnderstoodError(f"not understood: {error}") from None
    if not timedelta() < found <= LONGEST:
        raise NotUnderstoodError("not understood: give a time longer than nothing, up to ten years")
    return found


def _rule(words: str) -> Rule:
    try:
        return parse_rule(words)
    except ValidationError:
        raise NotUnderstoodError(f"not understood: {HOW_TO}") from None
