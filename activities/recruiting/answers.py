"""Reads candidates' answers by rules, which accept only what is unambiguous.

An answer is split into the phrases of `answers.toml`. If a single word is left over, the answer is `unclear`
and a person reads it: it may be an exception, a condition, irony, or our own letter quoted back. So the rules
need not know every way to say no, only some phrases that cannot mean anything else.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path

from activities.recruiting.candidacy import MailReading, Says


class _Kind(StrEnum):
    """What a phrase of `answers.toml` says."""

    POLITE = "polite"
    SORRY = "sorry"
    INTERESTED = "interested"
    YES = "yes"
    FINAL_NO = "final_no"
    NO = "no"
    BARE_NO = "bare_no"
    OTHER_TIME = "other_time"
    ANY = "any"
    MENTION = "mention"


_DATA = tomllib.loads(Path(__file__).with_name("answers.toml").read_text(encoding="utf-8"))


def _written_out(phrase: str) -> str:
    while found := re.search(r"(?<!\?P)<(\w+)>", phrase):
        phrase = phrase.replace(found[0], _DATA["parts"][found[1]])
    return phrase


_DAY, _DATE = map(_written_out, ("<day>", "<date>"))
_END = r"(?![\w']|-\S)[\s.,;:!…–—-]*"
_GREETING, _CLOSING, _NO_NAME = (
    re.compile(_DATA["frame"][name]) for name in ("greeting", "closing", "no_name")
)
# In answer to our own letter, a yes or no that names its subject means the same as a bare one.
_IN_SHORT = {_Kind.INTERESTED: _Kind.YES, _Kind.FINAL_NO: _Kind.NO}
_NUMBERED = re.compile(r"^[ \t]*\(?\d{1,2}[.):][ \t]+\S[^\n]*$", re.MULTILINE)
REFUSES, ACCEPTS = (re.compile(_DATA["signs"][name]) for name in ("refuses", "accepts"))


@cache
def _patterns() -> list[tuple[_Kind, re.Pattern[str]]]:
    """The phrases of `answers.toml`, compiled on first use: most processes need none."""
    return [
        (_Kind(kind), re.compile(f"(?:{_written_out(phrase)}){_END}"))
        for kind, phrases in _DATA["phrases"].items()
        for phrase in phrases
    ]


# An answer that says nothing but yes, no or a time is shorter than this.
MAX_CHARACTERS = 5000


class Asked(StrEnum):
    """What was asked last, as far as the meaning of a bare yes or no depends on it."""

    INTEREST = "whether the position interests, or which of the times suits"
    QUESTIONS = "whether the position interests, and questions that a no may answer, too"
    PERSON = "something that a person wrote, which is not known here"


def read_by_rules(text: str, offered: Sequence[str], asked: Asked = Asked.INTEREST) -> MailReading:
    """What `text` says if it is unambiguous; otherwise `question` or `unclear`, and a person reads it.

    Args:
        text: a mail, without quotes.
        asked: what it answers.
        offered: the proposed times, each like `1. Tuesday, 1 December 2026, 10:00-10:45 (Europe/Berlin)`.
    """
    if len(text) > MAX_CHARACTERS:
        return MailReading(says=Says.UNCLEAR)
    doubt = MailReading(says=Says.QUESTION if _asks(text) else Says.UNCLEAR)
    own = _without_frame(unicodedata.normalize("NFKC", text).replace("’", "'"))
    if not offered:
        # Numbered lines answer the questions in our letter, not whether the candidate is interested.
        numbered = " ".join(_NUMBERED.findall(own)).lower()
        own = _NUMBERED.sub("", own)
        if "?" in numbered or REFUSES.search(numbered):
            return doubt
    phrases = _phrases(own)
    if phrases is None:
        return doubt
    places = [_place(match, offered) for kind, match in phrases if kind is _Kind.MENTION and match.lastgroup]
    joined = any(match[0].strip(" ,.") in ("or", "and") for _, match in phrases)
    if 0 in places or (len(set(places)) > 1 and not joined):
        # Several times without `or` or `and` between them are our own list, quoted back.
        return doubt
    said = {kind for kind, _ in phrases} - {_Kind.POLITE}
    if asked is Asked.PERSON:
        # A bare yes, no or number may answer whatever the person asked; one that names its subject is clear.
        if _Kind.INTERESTED in said and said <= {_Kind.INTERESTED, _Kind.YES}:
            return MailReading(says=Says.YES)
        if _Kind.FINAL_NO in said and said <= {_Kind.FINAL_NO, _Kind.NO, _Kind.BARE_NO, _Kind.SORRY}:
            return MailReading(says=Says.NO)
        return doubt
    match {_IN_SHORT.get(kind, kind) for kind in said}:
        case kinds if kinds == {_Kind.YES}:
            return MailReading(says=Says.YES)
        case kinds if _Kind.NO in kinds and kinds <= {_Kind.NO, _Kind.BARE_NO, _Kind.SORRY}:
            return MailReading(says=Says.NO)
        case kinds if kinds - {_Kind.SORRY} == {_Kind.BARE_NO} and not offered:
            # In answer to a list of times, it could also mean that none of them suits.
            return doubt if asked is Asked.QUESTIONS else MailReading(says=Says.NO)
        case kinds if kinds - {_Kind.SORRY} == {_Kind.OTHER_TIME}:
            return MailReading(says=Says.OTHER_TIME)
        case kinds if offered and kinds - {_Kind.YES} in ({_Kind.MENTION}, {_Kind.ANY}):
            if places or _Kind.ANY in kinds:
                return MailReading(says=Says.SLOT, slot=(places or [1])[0])
    return doubt


def _asks(text: str) -> bool:
    return "?" in text and not REFUSES.search(text.lower())


def _without_frame(text: str) -> str:
    """`text` without its greeting and closing, which contain names."""
    if (greeting := _GREETING.match(text)) and not _NO_NAME.search(greeting[0]):
        text = text[greeting.end() :]
    if (closing := _CLOSING.search(text)) and not _NO_NAME.search(closing[0]):
        text = text[: closing.start() + 1] if closing[0][0] in ".,!" else text[: closing.start()]
    return text


def _phrases(text: str) -> list[tuple[_Kind, re.Match[str]]] | None:
    """Split `text` into known phrases, longest match first; None if anything is left over."""
    # Join wrapped lines; a blank line, or a line break after a sentence, stays.
    text = re.sub(r"(?<=[.!])[ \t]*\n\s*|[ \t]*\n[ \t]*\n\s*", "\0", text.lower())
    text = re.sub(r"\s+", " ", text).replace("\0", "\n").lstrip("\n .,;:!-–—…")
    found, at = [], 0
    while at < len(text):
        matches = [(kind, match) for kind, pattern in _patterns() if (match := pattern.match(text, at))]
        kind, match = max(matches, key=lambda each: each[1].end(), default=(None, None))
        if kind is None or match is None:
            return None
        found.append((kind, match))
        at = match.end()
    return found


def _place(mention: re.Match[str], offered: Sequence[str]) -> int:
    """The number of the offered time that a phrase names; 0 if it names none of them or more than one."""
    if number := mention["number"] if "number" in mention.re.groupindex else None:
        return int(number) if int(number) <= len(offered) else 0
    if "ordinal" in mention.re.groupindex:
        number = {"fi": 1, "1s": 1, "se": 2, "2n": 2}.get(mention["ordinal"][:2], 3)
        return number if number <= len(offered) else 0
    places = [place for place, each in enumerate(offered, 1) if _names(mention["when"], each.lower())]
    return places[0] if len(places) == 1 else 0


def _names(when: str, offered: str) -> bool:
    """Whether every weekday, date and time of day in `when` matches the offered time."""
    said = re.match(r"\d+\. (\w+), (\d+) (\w{3})\w* (\d{4}), (\d+:\d+)(?:-(\d+:\d+))?", offered)
    if said is None:
        return False
    weekday, day, month, year, *clock = said.groups()
    days = re.findall(_DAY, when)
    dates = [re.findall(r"[a-z]{3,}|\d+", each) for each in re.findall(_DATE, when)]
    times = re.findall(r"(\d{1,2})(?:[:.h](\d{2}))? ?(am|pm|o'clock|h)?(?![\w])", re.sub(_DATE, " ", when))
    told = [_clock(*each) for each in times if each[1] or each[2]]
    return (
        all(each == weekday for each in days)
        and all(
            any(part == day for part in date)
            and any(part.startswith(month) for part in date)
            and all(part == year for part in date if len(part) == 4 and part.isdecimal())
            for date in dates
        )
        and told == [f"{each:0>5}" for each in clock if each][: len(told)]
    )


def _clock(hour: str, minute: str, half: str) -> str:
    """A time of day as `HH:MM`."""
    shifted = int(hour) % 12 + (12 if half == "pm" else 0) if half in ("am", "pm") else int(hour)
    return f"{shifted:02}:{minute or '00'}"
