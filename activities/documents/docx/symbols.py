"""Characters of symbol fonts, which show something other than their code says."""

from __future__ import annotations

import re

_WINGDINGS = {
    0x4A: "☺", 0x6C: "●", 0x6D: "❍", 0x6E: "■", 0x6F: "☐", 0x71: "❑", 0x72: "❒", 0x75: "◆", 0x76: "❖",
    0x78: "☒", 0x9F: "•", 0xA7: "▪", 0xA8: "☐", 0xD8: "➢", 0xE0: "→", 0xE8: "➔", 0xF0: "⇨", 0xFB: "✗",
    0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
}  # fmt: skip
_WINGDINGS_2 = {0x4F: "✗", 0x50: "✓", 0x51: "☒", 0x52: "☑", 0x53: "☒", 0x54: "☒", 0xA3: "☐"}
_SYMBOL = {
    0xA3: "≤", 0xA5: "∞", 0xAE: "→", 0xB0: "°", 0xB1: "±", 0xB2: "″", 0xB3: "≥", 0xB4: "×", 0xB7: "•",
    0xB8: "÷", 0xB9: "≠", 0xBB: "≈", 0xBC: "…", 0xD2: "®", 0xD3: "©", 0xD4: "™", 0xE2: "®", 0xE3: "©",
    0xE4: "™",
}  # fmt: skip
_FONTS = {"wingdings": _WINGDINGS, "wingdings 2": _WINGDINGS_2, "symbol": _SYMBOL}
_PRIVATE = re.compile(r"[\uf000-\uf0ff]")
UNKNOWN = "\ufffd"


def is_symbols(font: str) -> bool:
    return font.lower() in _FONTS or font.lower().startswith(("wingdings", "webdings"))


def symbol(code: int, font: str) -> str:
    """What a character of a symbol font shows; U+FFFD if that is not known."""
    low = code - 0xF000 if 0xF000 <= code <= 0xF0FF else code
    if is_symbols(font):
        known = _FONTS.get(font.lower(), {}).get(low)
        plain = chr(low) if font.lower() == "symbol" and 0x20 <= low < 0x40 else UNKNOWN
        return " " if low == 0x20 else known or plain
    if 0xE000 <= code <= 0xF8FF:
        # If no font is named, bullets and boxes are those of Symbol and Wingdings.
        return _SYMBOL.get(low) or _WINGDINGS.get(low) or UNKNOWN
    return chr(code) if 0x20 <= code < 0xD800 or 0xE000 <= code <= 0x10FFFF else UNKNOWN


def seen_in(text: str, font: str) -> str:
    """Text set in `font`, as a reader sees it."""
    if is_symbols(font):
        return "".join(symbol(ord(char), font) for char in text)
    return _PRIVATE.sub(lambda found: symbol(ord(found[0]), ""), text)
