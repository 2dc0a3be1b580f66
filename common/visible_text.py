"""Text that people decide about, shown so that nothing in it is hidden or looks like something else.

Characters that are invisible, reorder others, or imitate an ASCII letter among ASCII letters are spelled out.
Ordinary words of any script stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

# Letters that look like ASCII ones.
_CYRILLIC = "АВЕЅІЈКМНОРСТУХҮӀԚԜҺаеосрухіјѕһԁԛԝҽӏѵү"
_GREEK = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹνικορυχϲ"
_OTHER = "օսհոցքԼՍՕɑɡɩĸ"
LOOKALIKES = frozenset(_CYRILLIC + _GREEK + _OTHER)
# Scripts whose letters imitate ASCII ones or reverse the direction, and do not occur in words with ASCII
# letters.
_FOREIGN = (
    *("CHEROKEE", "LISU", "COPTIC", "ARMENIAN", "DESERET", "OSAGE", "CANADIAN", "GOTHIC", "VAI", "WARANG"),
    *("HEBREW", "ARABIC", "SYRIAC", "THAANA", "NKO", "LATIN LETTER SMALL", "LATIN SMALL LETTER DOTLESS J"),
)
# Signs that look like those in paths and addresses, and hyphens, which count only there.
_SIGNS = re.compile("[／∕⁄⧸╱⟋＼﹨⧵∖⧹．․﹒ꓸ：﹕ː∶꞉։׃＠﹫‚ǃǀ]")
_HYPHENS = re.compile("[‐‑⁃−]")
_PATHLIKE = re.compile(r"[\\/@_:]|\w\.\w|^[-‐‑⁃−]")
# Blank, although Unicode calls them letters, marks or symbols; and strokes through the preceding letter.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffc\U000e0100-\U000e01ef"
    "\u0334-\u0338\u20d2\u20d3\u20d8-\u20da\u20e0\u20e5\u20e6\u20ea\u20eb]"
)
# Spaces that the typography of some languages needs; spelled out only where spaces matter.
_USUAL_SPACES = frozenset("\u00a0\u202f\u3000")
_PLAIN = re.compile(r"[\n\t\x20-\x7e]*")
_LINE_BREAK = re.compile("[ \t]*[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+[ \t]*")
_WORD = re.compile(r"[^\W_]+")

Spell = Callable[[str], str]


def visible(text: str, *, spaces: bool = False) -> str:
    """``text`` with invisible, reordering and imitating characters spelled out, such as `\\u202e`.

    Args:
        text: any text. Its line feeds and tabs stay.
        spaces: also spell out every space but the ordinary one.
    """
    return _shown(text, spaces, _spelled)


def escaped(text: str) -> str:
    """The same, including unusual spaces and tabs, with JSON escapes: a JSON document keeps its meaning."""
    return _shown(text.replace("\t", "\\u0009"), True, _spelled_in_json)


def one_line(text: str) -> str:
    """``text`` with a space for each line break, so that no part of it passes for a line of its own."""
    return _LINE_BREAK.sub(" ", text)


OneLine = Annotated[str, AfterValidator(one_line)]


def _shown(text: str, spaces: bool, spell: Spell) -> str:
    # Spelling out one character can change how its neighbours count, so repeat until nothing changes.
    while not _PLAIN.fullmatch(text) and (shown := _shown_once(text, spaces, spell)) != text:
        text = shown
    return text


def _shown_once(text: str, spaces: bool, spell: Spell) -> str:
    text = "".join(spell(char) if _is_hidden(char, spaces) else char for char in text)
    # In a text of another script, words that happen to look like Latin ones are ordinary.
    strict = not any(_is_foreign_text(word[0]) for word in _WORD.finditer(text))
    return re.sub(r"\S+", lambda token: _unmasked(token[0], strict, spell), text)


@lru_cache(maxsize=4096)
def _is_hidden(char: str, spaces: bool) -> bool:
    category = unicodedata.category(char)
    if category == "Zs":
        return char != " " and (spaces or char not in _USUAL_SPACES)
    # Controls, formats, surrogates, private and unassigned ones; line and paragraph separators.
    return char not in "\n\t" and (category[0] == "C" or category in ("Zl", "Zp") or bool(_BLANK.match(char)))


def _is_foreign_text(word: str) -> bool:
    """Whether a word is in another script, and not only of letters that imitate ASCII."""
    return not _has_ascii(word) and any(not char.isascii() and not _imitates(char) for char in word)


def _has_ascii(text: str) -> bool:
    return any(char.isascii() and char.isalpha() for char in text)


def _unmasked(token: str, strict: bool, spell: Spell) -> str:
    """A token with the letters and signs that imitate ASCII spelled out."""
    if token.isascii():
        return token
    is_ascii = _has_ascii(token)
    shown = _WORD.sub(lambda word: _unmasked_word(word[0], is_ascii, strict, spell), token)
    if not is_ascii:
        return shown
    if _PATHLIKE.search(token):
        shown = _HYPHENS.sub(lambda sign: spell(sign[0]), shown)
    return _SIGNS.sub(lambda sign: spell(sign[0]), shown)


def _unmasked_word(word: str, is_ascii: bool, strict: bool, spell: Spell) -> str:
    mixed = _has_ascii(word)
    odd = [not char.isascii() and (_imitates(char) or (mixed and _is_foreign(char))) for char in word]
    # A Russian word in a path is ordinary, and so are those of its letters that look Latin. But a word of
    # only such letters imitates a Latin word if it is long enough, unless the text around it is Russian, too.
    whole = all(char.isascii() or found for char, found in zip(word, odd, strict=True))
    # Full-width and mathematical letters have no other use than to look like ASCII; `Ⅴ` and `ℓ` have.
    styled = any(found and ord(char) >= 0xFF00 for char, found in zip(word, odd, strict=True))
    if mixed or (whole and (is_ascii or styled or (strict and len(word) > 2))):
        return "".join(spell(char) if found else char for char, found in zip(word, odd, strict=True))
    return word


@lru_cache(maxsize=4096)
def _imitates(char: str) -> bool:
    """Whether it looks like an ASCII letter: by itself, or as its full-width or mathematical form."""
    if char in LOOKALIKES:
        return True
    plain = unicodedata.normalize("NFKC", char) if ord(char) > 0x2000 else ""
    return len(plain) == 1 and plain.isascii() and plain.isalnum() and unicodedata.category(char) != "No"


@lru_cache(maxsize=4096)
def _is_foreign(char: str) -> bool:
    return unicodedata.name(char, "").startswith(_FOREIGN)


def _spelled(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode()


def _spelled_in_json(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
