"""Clause numbers: how they are written, how they are recognised, and what the full number of a clause is."""

from __future__ import annotations

import re
from dataclasses import dataclass


def words(text: str) -> frozenset[str]:
    """The words of `text` as a set."""
    return frozenset(text.split())


_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"),
    (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_ROMAN_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100, "d": 500, "m": 1000}
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip

_WORDS = words("article section clause paragraph schedule exhibit annex appendix part chapter")
_NAMES = "|".join([word.capitalize() for word in _WORDS] + [word.upper() for word in _WORDS])
_NAMED = re.compile(rf"(?:{_NAMES}|§§?)\s?")
_DOTTED = re.compile(r"\d+(?:\.\d+)+")
_TYPED = re.compile(
    rf"""(?:
      (?P<word>(?:{_NAMES}|§§?)[ ]?(?:[IVXLCDM]{{1,8}}|\d{{1,3}}(?:\.\d{{1,3}}){{0,5}}|[A-Z])\b[.:)]?)
        (?=\s*$|[ ]*[-–—]|[ \t\n]+["“'‘(]?[A-Z])
    | (?P<dotted>\d{{1,3}}(?:\.\d{{1,3}}){{1,5}}[.)]?)(?=[ \t\n]+["“'‘(\[]*[A-ZÀ-Þ]|\s*$)
    | (?P<plain>(?:\d{{1,3}}|[A-Za-z]|[ivx]{{2,6}}|[IVX]{{2,6}})[.)])(?=[ \t\n]+["“'‘(\[]*[^\W\d_])
    | (?P<braced>\((?:[a-z]{{1,2}}|[A-Z]{{1,2}}|[ivxl]{{1,7}}|[IVXL]{{1,7}}|\d{{1,2}})\))(?=\s)
    )""",
    re.VERBOSE,
)
_TOKEN = re.compile(r"\d+|[^\W\d_]+")


def bare(number: str) -> str:
    """A number without its closing punctuation: "6." and "6)" become "6"; "(6)" stays."""
    number = number.strip().rstrip(".:").strip()
    return number if number.startswith("(") else number.rstrip(")")


def roman(value: int) -> str:
    """In lower case; decimal from 4,000."""
    if not 0 < value < 4000:
        return str(value)
    out = ""
    for size, letters in _ROMAN:
        while value >= size:
            out += letters
            value -= size
    return out


def letters(value: int) -> str:
    """a to z, then aa, bb, …: as word processors count."""
    if not 0 < value < 26 * 20:
        return str(value)
    return chr(ord("a") + (value - 1) % 26) * ((value - 1) // 26 + 1)


def ordinal(value: int) -> str:
    """1st, 2nd, 3rd, …"""
    ending = "th" if 10 < value % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"


def in_words(value: int, *, as_ordinal: bool = False) -> str:
    """One, Twenty-one; First, Twenty-first. Digits from a hundred on."""
    if not 0 <= value < 100:
        return ordinal(value) if as_ordinal else str(value)
    if value < 20:
        head, last = "", _UNITS[value]
    else:
        head, last = _TENS[value // 10 - 1], _UNITS[value % 10] if value % 10 else ""
        head, last = (f"{head}-", last) if last else ("", head)
    if as_ordinal:
        last = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else f"{last}th")
    return (head + last).capitalize()


def written(value: int, form: str) -> str:
    """`value` in a number format of OOXML (`decimal`, `lowerRoman`, …); an unknown one is decimal."""
    match form:
        case "none" | "bullet":
            return ""
        case "lowerRoman":
            return roman(value)
        case "upperRoman":
            return roman(value).upper()
        case "lowerLetter":
            return letters(value)
        case "upperLetter":
            return letters(value).upper()
        case "decimalZero":
            return f"{value:02}"
        case "ordinal":
            return ordinal(value)
        case "cardinalText":
            return in_words(value)
        case "ordinalText":
            return in_words(value, as_ordinal=True)
        case "numberInDash":
            return f"- {value} -"
        case "decimalEnclosedParen":
            return f"({value})"
        case "decimalEnclosedFullstop":
            return f"{value}."
    return str(value)


def typed_number(text: str) -> tuple[str, str]:
    """The clause number that `text` begins with, and the rest; the number is empty if there is none."""
    found = _TYPED.match(text)
    if not found:
        return "", text
    plain = found["plain"] or ""
    if len(plain) > 2 and plain[:-1].isalpha() and not _from_roman(plain[:-1].lower()):
        return "", text
    rest = text[found.end() :]
    if found["word"]:
        rest = re.sub(r"^\s*[-–—]+\s*", "", rest)
    return found[0], rest.lstrip()


@dataclass(frozen=True)
class _Step:
    """One level of the clause seen last: its style, its value, and the full number down to it."""

    style: str
    value: int
    path: str
    absolute: bool


class ClauseOutline:
    """Gives each number its full path: "(a)" below "12.3" is "12.3(a)".

    A number only shows its own level. It belongs to the deepest level whose style and count it continues; one
    that begins a new count is one level deeper.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def __len__(self) -> int:
        return len(self._steps)

    def path(self, number: str, known: str = "") -> str:
        """The full number of the clause that shows `number`; it is `known` if the document gives it."""
        if named := _NAMED.match(number):
            own = bare(number[named.end() :])
            value = int(own) if own.isdecimal() else _from_roman(own.lower())
            self._steps = (
                self._dotted(own) if _DOTTED.fullmatch(own) else [_Step(named[0].lower(), value, own, True)]
            )
            return known or own
        own = bare(number)
        if _DOTTED.fullmatch(own):
            self._steps = self._dotted(own)
            return known or own
        readings = _readings(number)
        for style, value in readings:
            for depth in range(len(self._steps) - 1, -1, -1):
                step = self._steps[depth]
                if (step.style, step.value + 1) == (style, value):
                    return self._put(depth, style, value, own, known)
        # It continues no level, so numbers were left out: take the reading that leaves out the fewest.
        depths = {step.style: depth for depth, step in enumerate(self._steps)}
        best: tuple[int, int, str, int] | None = None
        for style, value in readings:
            depth = depths.get(style, len(self._steps))
            left_out = value - (self._steps[depth].value if style in depths else 0)
            option = (left_out if left_out > 0 else 1_000, depth, style, value)
            best = option if best is None else min(best, option)
        return known or own if best is None else self._put(*best[1:], own, known)

    def _put(self, depth: int, style: str, value: int, own: str, known: str) -> str:
        del self._steps[depth:]
        above = self._steps[-1] if self._steps else None
        # Sections are numbered on from one article to the next, so the article is not part of their number.
        alone = above is None or (above.absolute and not above.style.startswith("1") and style == "1.")
        path = own
        if known:
            path = known
        elif not alone and above is not None:
            path = above.path + own if own.startswith("(") else f"{above.path}.{own}"
        self._steps.append(_Step(style, value, path, alone))
        return path

    @staticmethod
    def _dotted(number: str) -> list[_Step]:
        parts = number.split(".")
        return [
            _Step("1." + "1" * depth, int(part), ".".join(parts[: depth + 1]), True)
            for depth, part in enumerate(parts)
        ]


def _readings(number: str) -> list[tuple[str, int]]:
    """What a number of one level may mean, as style and value: "(i)" is a Roman one or the ninth letter."""
    found = _TOKEN.search(number)
    if not found or len(number) > 12:
        return []
    token = found[0]
    around = "()" if number.lstrip().startswith("(") else ")" if number.rstrip().endswith(")") else "."
    if token.isdecimal():
        return [("1" + around, int(token))]
    case = "A" if token[0].isupper() else "a"
    small = token.lower()
    out = []
    if len(set(small)) == 1 and small.isascii():
        out.append((case + around, ord(small[0]) - 96 + 26 * (len(small) - 1)))
    value = _from_roman(small)
    if value:
        out.append((("I" if case == "A" else "i") + around, value))
    return out


def _from_roman(small: str) -> int:
    if not small or set(small) - set(_ROMAN_VALUES):
        return 0
    values = [_ROMAN_VALUES[char] for char in small]
    total = sum(
        -value if value < max(values[place + 1 :], default=0) else value for place, value in enumerate(values)
    )
    return total if total > 0 and roman(total) == small else 0
