"""Decodes the bytes of a text: which character set to use, and what to do where none is declared."""

from __future__ import annotations

import codecs
import re

# Those of the web, and no others: Python also calls compression, escapes and riddles a "codec".
_KNOWN = frozenset(
    re.findall(
        r"\S+",
        """utf-8 utf-16-le utf-16-be cp866 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7
        iso8859-8 iso8859-10 iso8859-13 iso8859-14 iso8859-15
        iso8859-16 koi8-r koi8-u mac-roman cp874 cp1250 cp1251 cp1252
        cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
        mac-cyrillic gbk gb18030 big5 big5hkscs euc_jp iso2022_jp
        shift_jis cp932 euc_kr cp949""",
    )
)
# What pages say, and what they mean by it; the names on the right are supersets.
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "utf-16": "utf-16-le",
    "utf-8-sig": "utf-8",
}
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta[^>]{0,300}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})""", re.IGNORECASE)
_XML = re.compile(rb"""^\s{0,20}<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_:.-]{2,40})""")
# Where the web's standard says a declaration must stand, with some room.
_HEAD = 4096
_SAMPLE = 200_000


def decode(data: bytes, *, said: str | None = None, markup: bool = False) -> str:
    """``data`` as text.

    A byte order mark decides. Else the first that fits all the bytes: ``said`` (by the sender), what the
    markup declares, UTF-8. Else what a detector finds, and else the declared one with U+FFFD for what does
    not fit. Never fails.

    Args:
        data: the bytes.
        said: the name in the sender's header, in any spelling; unknown ones are passed over.
        markup: look for a declaration in the text.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    declared = [name for name in (_known(said), _declared(data) if markup else None) if name]
    for name in [*declared, "utf-8"]:
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    return data.decode(_detected(data) or (declared[0] if declared else "cp1252"), "replace")


def _known(name: str | None) -> str | None:
    try:
        found = codecs.lookup((name or "").strip().strip("\"'")).name
    except (LookupError, ValueError):
        return None
    found = _MEANT.get(found, found)
    return found if found in _KNOWN else None


def _declared(data: bytes) -> str | None:
    head = data[:_HEAD]
    found = _XML.search(head) or _META.search(head)
    name = _known(found[1].decode("ascii")) if found else None
    # It could be read as ASCII, so it is not UTF-16, whatever it says.
    return "utf-8" if name and name.startswith("utf-16") else name


def _detected(data: bytes) -> str | None:
    # Late, as its tables take a while to load and few pages need them.
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE]).best()
    return _known(best.encoding) if best else None
