"""What a clause says in figures: durations, amounts, percentages, dates. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from activities.contracts.phrases import Word

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: value for value, word in enumerate(_ONES)} | {
    word: 20 + 10 * place for place, word in enumerate(_TENS)
}
_LARGE = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_NUMBER_WORDS = _SMALL.keys() | _LARGE.keys()

_UNITS = {
    **dict.fromkeys(("day", "days"), ("day", 1)),
    **dict.fromkeys(("week", "weeks"), ("day", 7)),
    **dict.fromkeys(("month", "months"), ("month", 1)),
    **dict.fromkeys(("quarter", "quarters"), ("month", 3)),
    **dict.fromkeys(("year", "years"), ("month", 12)),
}
# What may stand between a number and its unit.
_BETWEEN = frozenset(
    [
        "business",
        "calendar",
        "working",
        "banking",
        "trading",
        "consecutive",
        "full",
        "whole",
        "additional",
        "further",
        "successive",
        "continuous",
        "more",
        "clear",
        "complete",
        "contract",
    ]
)
DAYS_A_MONTH = 30
# Tolerance with which thirty days equal a month, and 365 days a year.
_SLACK = Decimal("0.02")


@dataclass(frozen=True)
class Disagreement:
    """Words and figures that contradict each other: `thirty (20)`."""

    words: str
    figures: str


@dataclass(frozen=True)
class Duration:
    """`value` days or months, and the numbers of the first and last word of the text that say so."""

    value: Decimal
    unit: str
    text: str
    first: int
    last: int
    disagreement: Disagreement | None = None

    def compare(self, other: Duration) -> int:
        """-1, 0 or 1 if this one is shorter, as long or longer."""
        if self.unit == other.unit:
            return (self.value > other.value) - (self.value < other.value)
        mine, theirs = self.days, other.days
        if abs(mine - theirs) <= _SLACK * max(mine, theirs):
            return 0
        return (mine > theirs) - (mine < theirs)

    @property
    def days(self) -> Decimal:
        """Its length in days; a month counts as thirty."""
        return self.value * (DAYS_A_MONTH if self.unit == "month" else 1)


@dataclass(frozen=True)
class Money:
    """An amount in a currency, which is given by its three-letter code."""

    value: Decimal
    currency: str
    text: str
    start: int
    end: int
    disagreement: Disagreement | None = None


@dataclass(frozen=True)
class Percent:
    """A percentage."""

    value: Decimal
    text: str
    first: int
    last: int
    disagreement: Disagreement | None = None


def durations(words: Sequence[Word], text: str) -> Iterator[Duration]:
    """Every duration in days, weeks, months, quarters or years."""
    for at, word in enumerate(words):
        if word.plain not in _UNITS:
            continue
        unit, factor = _UNITS[word.plain]
        before = at - 1
        while before >= 0 and at - before <= 3 and words[before].plain in _BETWEEN:
            before -= 1
        number = _number_before(words, before, word.sentence, text)
        if number is None and before >= 0 and words[before].plain in ("a", "an") and factor != 1:
            number = _Number(Decimal(1), before, None)
        if number:
            value = number.value * factor
            span = text[words[number.first].start : word.end]
            yield Duration(value, unit, span, number.first, at, number.disagreement)


def percentages(words: Sequence[Word], text: str) -> Iterator[Percent]:
    """Every percentage."""
    for at, word in enumerate(words):
        sign = text[word.end : word.end + 2].lstrip().startswith("%") and word.plain[:1].isdigit()
        named = word.plain in ("percent", "percentage") or (
            word.plain == "cent" and at and words[at - 1].plain == "per"
        )
        if not (sign or named):
            continue
        before = at if sign else at - (2 if word.plain == "cent" else 1)
        while before >= 0 and words[before].plain in ("percent", "per", "cent"):
            before -= 1
        number = _number_before(words, before, word.sentence, text, over=("percent", "per", "cent"))
        if number:
            yield Percent(
                number.value,
                text[words[number.first].start : word.end + sign],
                number.first,
                at,
                number.disagreement,
            )


_CURRENCIES = {"$": "USD", "us$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "a$": "AUD", "c$": "CAD"}
_NAMES = {
    **dict.fromkeys(("dollar", "dollars"), "USD"),
    **dict.fromkeys(("euro", "euros"), "EUR"),
    **dict.fromkeys(("pound", "pounds"), "GBP"),
    **dict.fromkeys(("franc", "francs"), "CHF"),
    "yen": "JPY",
}
_MONEY = re.compile(
    r"(US\$|A\$|C\$|[$€£¥]|\b(?:USD|EUR|GBP|CHF|JPY|AUD|CAD|SEK|NOK|DKK|INR)\b)\s?"
    r"(\d{1,15}(?:[.,]\d{1,15}){0,6})(?:\s?(thousand|million|billion|mn|bn|m|k)\b)?"
    r"|\b(\d{1,15}(?:[.,]\d{1,15}){0,6})(?:\s(thousand|million|billion))?\s"
    r"(USD|EUR|GBP|CHF|JPY|AUD|CAD|dollars?|euros?|pounds?|francs?|yen)\b",
    re.IGNORECASE,
)
_SCALE = {"thousand": 10**3, "k": 10**3, "million": 10**6, "mn": 10**6, "m": 10**6} | {
    "billion": 10**9,
    "bn": 10**9,
}


def amounts(words: Sequence[Word], text: str) -> Iterator[Money]:
    """Every amount with its currency."""
    place = 0
    for match in _MONEY.finditer(text):
        figure, scale = match[2] or match[4], (match[3] or match[5] or "").lower()
        value = figures(figure)
        if value is None:
            continue
        value *= _SCALE.get(scale, 1)
        name = (match[1] or match[6]).lower()
        currency = _CURRENCIES.get(name) or _NAMES.get(name) or name.upper()
        while place < len(words) and words[place].start < match.start():
            place += 1
        said = _words_before(words, place - 1, text, match.start())
        differs = Disagreement(said[1], match[0]) if said and said[0] != value else None
        yield Money(value, currency, match[0], match.start(), match.end(), differs)


def figures(text: str) -> Decimal | None:
    """A number in digits: `1,000,000.50`, `1.000.000,50`, `30`."""
    last = max(text.rfind(","), text.rfind("."))
    whole, fraction = text, ""
    # Three digits after a separator are thousands, any other number of digits is a fraction; what follows the
    # last of two different separators is a fraction, too.
    if last >= 0 and (
        len(text) - last - 1 != 3 or (text[last] not in text[:last] and len(set(text) & set(",.")) == 2)
    ):
        whole, fraction = text[:last], text[last + 1 :]
    try:
        return Decimal(re.sub(r"[.,]", "", whole) + ("." + fraction if fraction else ""))
    except InvalidOperation:
        return None


@dataclass(frozen=True)
class _Number:
    value: Decimal
    first: int
    disagreement: Disagreement | None


def _number_before(
    words: Sequence[Word], at: int, sentence: int, text: str, over: Sequence[str] = ()
) -> _Number | None:
    """The number that ends with word `at`, in figures, in words, or in both: `thirty (30)`."""
    if at < 0 or words[at].sentence != sentence:
        return None
    word = words[at]
    if word.plain[0].isdigit():
        value = figures(word.plain)
        if value is None:
            return None
        if at and text[words[at - 1].end : word.start].strip() in ("(", "(("):
            before = at - 1
            while before >= 0 and words[before].plain in over:
                before -= 1
            spelled = _spelled(words, before)
            if spelled:
                said = text[words[spelled[1]].start : words[at - 1].end]
                differs = Disagreement(said, word.plain) if spelled[0] != value else None
                return _Number(value, spelled[1], differs)
        return _Number(value, at, None)
    spelled = _spelled(words, at)
    return _Number(Decimal(spelled[0]), spelled[1], None) if spelled else None


def _spelled(words: Sequence[Word], at: int) -> tuple[int, int] | None:
    """A number in words that ends with word `at`: its value, and its first word."""
    first = at + 1
    while first > 0 and at - first < 12:
        plain = words[first - 1].plain
        joins = plain == "and" and first <= at and first > 1 and words[first - 2].plain in _LARGE
        if plain not in _NUMBER_WORDS and not joins:
            break
        first -= 1
    if first > at:
        return None
    total = group = 0
    for word in words[first : at + 1]:
        if word.plain in _SMALL:
            group += _SMALL[word.plain]
        elif word.plain == "hundred":
            group = max(group, 1) * 100
        elif word.plain in _LARGE:
            total += max(group, 1) * _LARGE[word.plain]
            group = 0
    return total + group, first


def _words_before(words: Sequence[Word], at: int, text: str, start: int) -> tuple[int, str] | None:
    """The amount in words right before a figure in brackets: `five million dollars ($500,000)`."""
    if at < 0 or text[words[at].end : start].strip() not in ("(", "(USD", "(EUR", "(GBP"):
        return None
    last = at
    while at >= 0 and last - at < 4 and words[at].plain in (*_NAMES, "us", "united", "states", "sterling"):
        at -= 1
    spelled = _spelled(words, at) if at >= 0 else None
    return (spelled[0], text[words[spelled[1]].start : words[last].end]) if spelled else None


_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DATE = re.compile(
    rf"\b(?:\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{'|'.join(_MONTHS)})\,?\s+\d{{4}}"
    rf"|(?:{'|'.join(_MONTHS)})\s+\d{{1,2}}(?:st|nd|rd|th)?\,?\s+\d{{4}}|\d{{4}}-\d{{2}}-\d{{2}})\b",
    re.IGNORECASE,
)


def dates(text: str) -> Iterator[str]:
    """Every date, as it is written."""
    for match in _DATE.finditer(text):
        yield match[0]
