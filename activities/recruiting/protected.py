"""Removes protected attributes from a profile before it is ranked. The words are in `protected.toml`.

Form fields are removed with their values, sentences that state such a fact as a whole, and pronouns, titles,
nationalities and the name word by word. If in doubt, text is removed: a leak is worse than a lost skill.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

REMOVED = "[removed]"


class Protected(StrEnum):
    """The categories, named as in the report."""

    NAME = "name and contact"
    AGE = "age or birth"
    GENDER = "gender, pronouns, titles"
    ETHNICITY = "ethnicity or origin"
    NATIONALITY = "nationality"
    RELIGION = "religion or belief"
    FAMILY = "marital or family status"
    PREGNANCY = "pregnancy or parental leave"
    HEALTH = "disability or health"
    PHOTO = "photo"
    ORIENTATION = "sexual orientation"
    MEMBERSHIP = "union or political membership"


@dataclass(frozen=True)
class Stripped:
    """What is left of a profile, and how often each category was removed, but never the removed text."""

    text: str
    removed: dict[Protected, int]


# Longer lines are split, because matching takes quadratic time. Nobody writes such lines.
MAX_LINE = 1000
_PART = re.compile(rf".{{1,{MAX_LINE}}}(?:(?<= )|(?= )|$)|.{{1,{MAX_LINE}}}", re.DOTALL)


def strip(profile: str, name: str, email: str = "") -> Stripped:
    """`profile` without protected attributes, and without its owner's name and address."""
    removed: Counter[Protected] = Counter()
    names, table = _Names(name, email), _Table()
    lines, after_label = [], False
    for line in _lines(profile):
        kept = []
        for segment, separator in table.without(list(_segments(line)), removed):
            text, after_label = _segment(segment, after_label, removed)
            kept.append(names.without(_without_words(text, removed), removed) + separator)
        lines.append(re.sub(rf"(?:{re.escape(REMOVED)}[ \t]*)+", f"{REMOVED} ", "".join(kept)).rstrip())
    return Stripped("\n".join(lines).strip(), {each: removed[each] for each in Protected if removed[each]})


def _lines(profile: str) -> list[str]:
    """The lines, with normalised characters, no invisible ones, and wrapped lines joined."""
    text = unicodedata.normalize("NFKC", profile)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("’", "'")
    # Unify separators of lines, pages and records, and of fields; then drop other invisible characters.
    text = re.sub("[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", text).replace("\x1f", "\t")
    text = "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cf", "Cc"))
    lines: list[str] = []
    for line in re.sub(r"(?<=\w-)\n(?=[a-z])", "", text).split("\n"):
        goes_on = re.match(r"[a-z(][^\t]*$", line) and lines and lines[-1][-1:] not in ("", *".!?:")
        if goes_on and len(lines[-1]) < MAX_LINE and "\t" not in lines[-1] and not _is_label(lines[-1]):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return [part for line in lines for part in _PART.findall(line) or [""]]


def _segments(line: str) -> Iterator[tuple[str, str]]:
    """The fields of a line, each with the separator that follows it."""
    parts = re.split(r"([ ]*[\t|;•·¦][ ]*|\s{2,})", line)
    yield from zip(parts[::2], [*parts[1::2], ""], strict=True)


class _Table:
    """Removes the columns below protected labels of a header row, while rows have as many fields as it."""

    def __init__(self) -> None:
        self._columns: dict[int, Protected] = {}
        self._width = 0

    def without(self, fields: list[tuple[str, str]], removed: Counter[Protected]) -> list[tuple[str, str]]:
        """The fields of the next line, without those of protected columns."""
        filled = [place for place, (text, _) in enumerate(fields) if text.strip()]
        labels = {
            place: Protected[found.lastgroup or ""]
            for place in filled
            if (found := _patterns().label.match(fields[place][0])) and _is_label(fields[place][0])
        }
        # In label-value pairs, labels are only first, third, fifth and so on; otherwise it is a header row.
        if any(filled.index(place) % 2 for place in labels):
            self._columns, self._width = labels, len(fields)
        elif len(fields) != self._width:
            self._columns = {}
        for place, category in self._columns.items():
            if place not in labels and place in filled:
                fields[place] = (REMOVED, fields[place][1])
                removed[category] += 1
        return fields


def _is_label(field: str) -> bool:
    """Whether a field is only a label, with its value in another field."""
    found = _patterns().label.match(field)
    return found is not None and not field[found.end() :].strip()


def _segment(text: str, after_label: bool, removed: Counter[Protected]) -> tuple[str, bool]:
    """A field without protected attributes; and whether it was a label whose value follows."""
    if not text.strip():
        return text, after_label
    if after_label:
        return REMOVED, False
    if found := _patterns().label.match(text):
        removed[Protected[found.lastgroup or ""]] += 1
        return REMOVED, not text[found.end() :].strip()
    return " ".join(_sentence(each, removed) for each in _sentences(text)), False


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])(?<!\b\d\.)(?<!\b\d\d\.)\s+(?=[\W\d]*[A-ZÀ-Þ])|(?<=。)", text)


def _sentence(text: str, removed: Counter[Protected]) -> str:
    # Also search without hyphens: a line may be broken within a word.
    forms = {text, text.replace("-", "")}
    told = [each for each, pattern in _patterns().whole if any(pattern.search(form) for form in forms)]
    removed.update(told)
    return REMOVED if told else text


def _without_words(text: str, removed: Counter[Protected]) -> str:
    for category, pattern in _patterns().words:
        text, count = pattern.subn(REMOVED, text)
        if count:
            removed[category] += count

    def nationality(match: re.Match[str]) -> str:
        before, after = match.string[: match.start()], match.string[match.end() :]
        if _patterns().before_a_language.search(before) or _patterns().after_a_language.search(after):
            return match[0]
        removed[Protected.NATIONALITY] += 1
        return REMOVED

    return _patterns().demonym.sub(nationality, text)


class _Names:
    """The forms a name may take in a text: its parts in various spellings, alone and joined."""

    def __init__(self, name: str, email: str) -> None:
        parts = [
            part
            for part in re.split(r"[^\w]+|_", unicodedata.normalize("NFKC", name))
            if len(part) > 1 or _is_glyph(part)
        ]
        local = email.partition("@")[0]
        self._short = {part for part in parts if len(part) <= 3}
        long = [part for part in parts if len(part) > 3]
        long += [part for part in re.split(r"[^A-Za-z]+", local) if len(part) > 3]
        self._long = {form for part in long for form in _folded(part)}
        whole = [form for part in parts for form in _folded(part)]
        self._joined = {one + other for one in whole for other in whole if one != other}
        # In scripts without spaces and capitals, the name is part of what looks like one word.
        glyphs = [part for part in parts if all(map(_is_glyph, part))]
        within = {one + other for one in glyphs for other in glyphs if one != other}
        within |= {part for part in glyphs if len(part) > 1}
        self._within = sorted(within, key=len, reverse=True)
        first = "".join(dict.fromkeys(part[0] for part in parts if part[0].isupper()))
        initial = rf"[{re.escape(first)}]\."
        self._initials = (
            re.compile(
                rf"(?<!\w){initial}(?:[ -]?{initial})+|(?<!\w){initial}[ ,-]*(?={re.escape(REMOVED)})"
                rf"|(?<={re.escape(REMOVED)}),? {initial}"
            )
            if first
            else None
        )

    def without(self, text: str, removed: Counter[Protected]) -> str:
        """`text` without the name, and without addresses, phone numbers and handles."""
        text, count = _CONTACT.subn(REMOVED, text)
        removed[Protected.NAME] += count
        for name in self._within:
            removed[Protected.NAME] += text.count(name)
            text = text.replace(name, REMOVED)

        def word(match: re.Match[str]) -> str:
            if not self._is_name(match[0]) or match[0] == "removed":
                return match[0]
            removed[Protected.NAME] += 1
            return REMOVED

        text = re.sub(r"[^\W_]+", word, text)
        if self._initials:
            text, count = self._initials.subn(REMOVED, text)
            removed[Protected.NAME] += count
        return text

    def _is_name(self, word: str) -> bool:
        if word in self._short or (word.isupper() and word.title() in self._short):
            return True
        forms = _folded(word)
        return any(
            form in self._long or any(joined in form for joined in self._joined if len(joined) > 4)
            for form in forms
        )


def _folded(word: str) -> tuple[str, ...]:
    """The forms of a word without case and accents, with umlauts written both ways."""
    word = word.casefold()
    forms = []
    for table in (_PLAIN, _GERMAN):
        bare = unicodedata.normalize("NFKD", word.translate(_patterns().latin).translate(table))
        forms.append("".join(char for char in bare if not unicodedata.combining(char)))
    return tuple(dict.fromkeys(forms))


def _is_glyph(char: str) -> bool:
    """Whether it is a letter of a script without spaces between words, such as Chinese or Thai."""
    return char.isalpha() and char.lower() == char.upper() and ord(char) >= 0xE00


_PLAIN = {ord(char): text for char, text in zip("øæłđðþ", ("o", "ae", "l", "d", "d", "th"), strict=True)}
_GERMAN = {ord(char): text for char, text in zip("äöüåøæ", ("ae", "oe", "ue", "aa", "oe", "ae"), strict=True)}
_CONTACT = re.compile(
    r"\S+@\S+|(?:https?://|www\.)\S+|\b(?:linkedin|github|gitlab|xing|twitter|facebook|instagram|t)\.(?:com|me)/\S+"
    r"|(?<!\w)@\w{2,}|(?<![\w./])(?:(?:\+|00)\d[\d ()/.-]{6,}\d|\(?0\d{2,4}\)?[ /-]\d{3,}(?:[ -]\d{2,})*"
    r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\w/])"
)


@dataclass(frozen=True)
class _Patterns:
    """The patterns of `protected.toml`. Compiling them is slow, so it is done on first use."""

    label: re.Pattern[str]
    whole: list[tuple[Protected, re.Pattern[str]]]
    words: list[tuple[Protected, re.Pattern[str]]]
    demonym: re.Pattern[str]
    before_a_language: re.Pattern[str]
    after_a_language: re.Pattern[str]
    latin: dict[int, str]


@cache
def _patterns() -> _Patterns:
    data = tomllib.loads(Path(__file__).with_name("protected.toml").read_text(encoding="utf-8"))
    parts: dict[str, str] = data["parts"]

    def pattern(source: str, *, any_case: bool = True) -> re.Pattern[str]:
        for name, part in parts.items():
            source = source.replace(f"<{name}>", part)
        return re.compile(source, re.IGNORECASE if any_case else 0)

    marks = [(Protected(each["category"]), each) for each in data["marks"]]
    labels = [
        rf"(?P<{category.name}>(?:{'|'.join(each['labels'])}))"
        for category, each in marks
        if "labels" in each
    ]
    return _Patterns(
        # A label starts a line or field, perhaps after a bullet, and ends at a colon, a dash or the end.
        label=re.compile(
            rf"^[\W_]*(?:{'|'.join(labels)})[\W_]*?(?:\s*[:=]\s*|\s+[-–—]\s+|\s*$)", re.IGNORECASE
        ),
        whole=[
            (category, pattern("|".join(f"(?:{each})" for each in said["whole"])))
            for category, said in marks
            if "whole" in said
        ],
        words=[
            *(
                (category, pattern(rf"(?<!\w)(?:{'|'.join(said['words'])})\.?(?!\w)"))
                for category, said in marks
                if "words" in said
            ),
            *(
                (category, pattern(rf"(?<!\w)(?:{'|'.join(said['exact'])})(?!\w)", any_case=False))
                for category, said in marks
                if "exact" in said
            ),
        ],
        demonym=pattern(
            rf"(?<!\w)(?:non-)?(?:{'|'.join(parts['demonyms'].split())})(?:s|-born|-speaking)?(?!\w)"
        ),
        before_a_language=pattern(parts["before_a_language"]),
        after_a_language=pattern(parts["after_a_language"]),
        latin=str.maketrans(dict(pair.split("=") for pair in data["latin"].split())),
    )
