"""The compact form in which histories hold votes: without field names."""

from __future__ import annotations

import base64
import re
from typing import Any

APPROVE = "approve"
# The fields of every vote, in the order in which they are written without names.
_OF_VOTES = ("id", "request_id", "digest", "by", "through", "at", "signature")


def compact_vote(decision: dict[str, Any], replaced: Any = None) -> list[Any]:
    """A vote without field names; rare fields keep theirs, together in a last value."""
    given = {**decision, "digest": _packed(decision["digest"])}
    few = {name: value for name, value in given.items() if name not in _OF_VOTES}
    if few["verdict"] == APPROVE:
        del few["verdict"]
    if replaced:
        few["replaced"] = replaced
    return [*(given.get(name) for name in _OF_VOTES), *([few] if few else [])]


def expand_vote(vote: Any) -> Any:
    """The vote that `compact_vote` wrote; anything else is returned as it is."""
    if not isinstance(vote, list):
        return vote
    few = next((dict(each) for each in vote[len(_OF_VOTES) :] if isinstance(each, dict)), {})
    replaced = few.pop("replaced", {})
    given = {name: value for name, value in zip(_OF_VOTES, vote, strict=False) if value is not None}
    decision = {"verdict": APPROVE, **few, **given, "digest": _unpacked(given.get("digest"))}
    return {"decision": decision, "replaced": replaced}


def _packed(digest: str) -> str:
    """A digest in 43 characters instead of 64; anything else is returned as it is."""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        return digest
    return base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")


def _unpacked(packed: Any) -> Any:
    is_packed = isinstance(packed, str) and len(packed) == 43
    return base64.urlsafe_b64decode(f"{packed}=").hex() if is_packed else packed
