"""Text that people decide about, shown so that nothing in it is hidden or looks like something else.

What is invisible, reorders what is around it, or imitates an ASCII letter among ASCII letters is spelled out.
Ordinary words of any script stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

# Letters that look like ASCII ones.
_CYRILLIC = "АВЕЅІЈКМНОРСТУХҮԚԜҺаеосрухіјѕһԁԛԝӏѵү"
_GREEK = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧνικορυχ"
_OTHER = "օսհոցքɑɡⅠⅤⅩⅬⅭⅮⅯⅰⅴⅹⅼⅽⅾⅿ"
LOOKALIKES = frozenset(_CYRILLIC + _GREEK + _OTHER)
# Signs that look like those of paths and addresses.
_SIGNS = re.compile("[／∕⁄⧸＼﹨⧵．․﹒：﹕ː＠﹫]")
# Blank, though Unicode calls them letters or marks.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# What typesetting of some languages needs between words; it is spelled out where spaces matter.
_USUAL_SPACES = frozenset("\u00a0\u202f\u3000")
_PLAIN = re.compile(r"[\n\t\x20-\x7e]*")
_LINE_BREAK = re.compile("[ \t]*[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+[ \t]*")


def visible(text: str, *, spaces: bool = False) -> str:
    """``text`` with invisible, reordering and imitating characters spelled out, such as `\\u202e`.

    Args:
        text: may be anything. Its line feeds and tabs stay.
        spaces: spell out every space but the ordinary one, too.
    """
    if _PLAIN.fullmatch(text):
        return text
    shown = "".join(_spelled(char) if _is_hidden(char, spaces) else char for char in text)
    return re.sub(r"\S+", lambda token: _unmasked(token[0]), shown)


def one_line(text: str) -> str:
    """``text`` with a space for each line break, so that none of it passes for a line of its surroundings."""
    return _LINE_BREAK.sub(" ", text)


OneLine = Annotated[str, AfterValidator(one_line)]


@lru_cache(maxsize=4096)
def _is_hidden(char: str, spaces: bool) -> bool:
    category = unicodedata.category(char)
    if category == "Zs":
        return char != " " and (spaces or char not in _USUAL_SPACES)
    # Controls, formats, surrogates, private and unassigned ones; line and paragraph separators.
    return char not in "\n\t" and (category[0] == "C" or category in ("Zl", "Zp") or bool(_BLANK.match(char)))


def _unmasked(token: str) -> str:
    """A token with those letters spelled out that imitate ASCII among ASCII letters."""
    if not any(char.isascii() and char.isalpha() for char in token):
        return token
    words = re.sub(r"[^\W_]+", lambda word: _unmasked_word(word[0]), token)
    return _SIGNS.sub(lambda sign: _spelled(sign[0]), words)


def _unmasked_word(word: str) -> str:
    imitates = [char in LOOKALIKES or _is_styled(char) for char in word]
    # A Russian word in a path is ordinary, and so are its letters that look like Latin ones.
    others = any(not char.isascii() and not imitated for char, imitated in zip(word, imitates, strict=True))
    if others and not any(char.isascii() and char.isalpha() for char in word):
        return word
    return "".join(
        _spelled(char) if imitated else char for char, imitated in zip(word, imitates, strict=True)
    )


def _is_styled(char: str) -> bool:
    """Whether it is a full-width or mathematical form of an ASCII letter or digit."""
    plain = unicodedata.normalize("NFKC", char) if ord(char) > 0x2000 else ""
    return len(plain) == 1 and plain.isascii() and plain.isalnum() and unicodedata.category(char) != "No"


def _spelled(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode()
