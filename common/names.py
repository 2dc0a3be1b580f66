"""Names of people, groups and agents, and words to agents: what every entry point accepts."""

from __future__ import annotations

import re

from common.approval.types import GROUP, MAX_WORDS
from common.digest import digest_bytes

MAX_NAME = 200
# A search term may be a name with a prefix.
MAX_FINDABLE = MAX_NAME + 50
# Ids of workflows that are not agents, and prefixes of such ids.
RESERVED = frozenset({"archivist", "eraser", "mailroom"})
RESERVED_PREFIXES = ("notice:", "archivist-", "batch:")


class UnusableValueError(ValueError):
    """A name or words that could be sent, but not found, shown or accepted; the message says why."""


def is_storable(text: str) -> bool:
    """Whether every database takes ``text``: PostgreSQL refuses NUL, and nothing stores lone surrogates."""
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def check_findable(value: str) -> str:
    """``value``, if Temporal's visibility can search for it.

    Raises:
        UnusableValueError: it has quotes, backslashes or control characters. Server 1.32 does not find such
            values however they are escaped; refusing them also leaves nothing that could end the literal.
    """
    if not value.isprintable() or set(value) & set("'\"\\") or len(value) > MAX_FINDABLE:
        raise UnusableValueError(
            f"{value[:40]!r} cannot be looked for: leave out quotes, backslashes and control characters, "
            f"and keep to {MAX_NAME} characters."
        )
    return value


def check_approver(name: str) -> str:
    """``name``, if it may name a person or, as `@name`, a group.

    Raises:
        UnusableValueError: it may not.
    """
    bare = name.removeprefix(GROUP)
    if not bare or bare != bare.strip() or bare.startswith(GROUP) or len(name) > MAX_NAME:
        raise UnusableValueError(
            f"{name[:40]!r} names nobody: give an id without spaces around it, or @ and a group's name."
        )
    return check_findable(name)


def check_person(name: str) -> str:
    """``name``, if it may name a person.

    Raises:
        UnusableValueError: it may not, or it names a group.
    """
    if check_approver(name).startswith(GROUP):
        raise UnusableValueError(f"{name[:40]!r} names a group, and this takes a person.")
    return name


def check_agent_id(id: str) -> str:
    """``id``, if a new agent may have it.

    Raises:
        UnusableValueError: it may not; in a URL, a file's name or a query it would name something else.
    """
    if id in RESERVED or id.startswith(RESERVED_PREFIXES):
        raise UnusableValueError(f"the id {id[:40]!r} is reserved; choose another.")
    odd = (
        "/" in id or id in ("", ".", "..") or id[0] == "-" or id != id.strip() or len(id.encode()) > MAX_NAME
    )
    if odd:
        raise UnusableValueError(
            f"{id[:40]!r} cannot be an agent's id: give 1 to {MAX_NAME} bytes, without slashes, spaces at "
            "either end, or a hyphen as the first character."
        )
    return check_findable(id)


def check_words(text: str, what: str) -> str:
    """``text``, if an agent accepts it; ``what`` names it in the error.

    Raises:
        UnusableValueError: it is empty or too long.
    """
    if not text.strip():
        raise UnusableValueError(f"{what} is empty: say it in words.")
    if len(text) > MAX_WORDS:
        raise UnusableValueError(
            f"{what} has {len(text):,} characters, and an agent takes {MAX_WORDS:,}: make it shorter."
        )
    return text


def safe_name(workflow_id: str) -> str:
    """A file name for `workflow_id`; if characters had to go, a digest keeps different ids apart."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", workflow_id)[:100]
    if name == workflow_id and not name.startswith("."):
        return name
    return f"{name.lstrip('.')}-{digest_bytes(workflow_id.encode())[:12]}"
