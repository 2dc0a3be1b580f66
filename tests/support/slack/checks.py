"""Checks messages and forms against Slack's published limits, and finds what Slack would parse in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# Measured by others; Slack does not publish this limit.
BLOCKS_BYTES = 13_200
TEXTS = {"plain_text", "mrkdwn"}


def message_flaw(arguments: dict[str, Any]) -> str:
    """Slack's error for `chat.postMessage` and `chat.update`; empty if there is none."""
    text, blocks = arguments.get("text") or "", arguments.get("blocks") or []
    if not text and not blocks:
        return "no_text"
    if len(text) > 40_000:
        return "msg_too_long"
    if len(json.dumps(blocks, ensure_ascii=False).encode()) > BLOCKS_BYTES:
        return "msg_blocks_too_long"
    metadata = arguments.get("metadata")
    if metadata is not None and not (
        isinstance(metadata.get("event_type"), str) and isinstance(metadata.get("event_payload"), dict)
    ):
        return "invalid_metadata_format"
    return blocks_flaw(blocks, 50)


def view_flaw(view: dict[str, Any]) -> str:
    """Slack's error for `views.open`; empty if there is none."""
    try:
        assert view["type"] == "modal"
        for name in ("title", "submit", "close"):
            check_text(view[name], 24, plain=True)
        assert len(view["callback_id"]) <= 255
        assert len(view["private_metadata"]) <= 3000
    except (AssertionError, KeyError, TypeError):
        return "invalid_arguments"
    return blocks_flaw(view["blocks"], 100)


def blocks_flaw(blocks: Any, most: int) -> str:
    try:
        assert isinstance(blocks, list)
        assert len(blocks) <= most
        ids = [each["block_id"] for each in blocks if "block_id" in each]
        assert len(set(ids)) == len(ids)
        for block in blocks:
            assert len(block.get("block_id", "")) <= 255
            CHECKS[block["type"]](block)
    except (AssertionError, KeyError, TypeError, AttributeError):
        return "invalid_blocks"
    return ""


def check_text(text: dict[str, Any], most: int, *, plain: bool = False) -> None:
    assert text["type"] in TEXTS
    assert set(text) <= {"type", "text", "emoji" if text["type"] == "plain_text" else "verbatim"}
    assert not plain or text["type"] == "plain_text"
    # Counted in UTF-16 units, like browsers do: characters beyond 16 bits count twice.
    assert 1 <= len(text["text"].encode("utf-16-le")) // 2 <= most


def _section(block: dict[str, Any]) -> None:
    assert "text" in block or "fields" in block
    if "text" in block:
        check_text(block["text"], 3000)
    if "fields" in block:
        assert 1 <= len(block["fields"]) <= 10
        for each in block["fields"]:
            check_text(each, 2000)


def _context(block: dict[str, Any]) -> None:
    assert 1 <= len(block["elements"]) <= 10
    for each in block["elements"]:
        check_text(each, 3000)


def _actions(block: dict[str, Any]) -> None:
    assert 1 <= len(block["elements"]) <= 25
    names = [each["action_id"] for each in block["elements"]]
    assert len(set(names)) == len(names)
    for each in block["elements"]:
        assert each["type"] == "button"
        assert 1 <= len(each["action_id"]) <= 255
        check_text(each["text"], 75, plain=True)
        assert len(each.get("value", "")) <= 2000
        assert len(each.get("url", "")) <= 3000
        assert re.match("https?://", each.get("url", "https://"))
        assert each.get("style", "primary") in ("primary", "danger")
        if confirm := each.get("confirm"):
            for name, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
                check_text(confirm[name], most, plain=name != "text")


def _input(block: dict[str, Any]) -> None:
    check_text(block["label"], 2000, plain=True)
    check_text(block["hint"], 2000, plain=True)
    assert block["element"]["type"] == "plain_text_input"
    assert 1 <= block["element"]["max_length"] <= 3000


CHECKS = {
    "header": lambda block: check_text(block["text"], 150, plain=True),
    "section": _section,
    "context": _context,
    "actions": _actions,
    "input": _input,
    "divider": lambda block: None,
}


def texts(part: Any) -> Iterator[str]:
    """Every text of a message that people see."""
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            yield part["text"]
        for each in part.values():
            yield from texts(each)
    elif isinstance(part, list):
        for each in part:
            yield from texts(each)


def parsed(message: dict[str, Any]) -> list[str]:
    """The parts that Slack would turn into mentions and links."""
    found = [each for text in texts(message) for each in re.findall("<[^>]*>", text)]
    loose = [
        part["text"]
        for part in _text_objects(message)
        if part["type"] == "mrkdwn"
        and not part.get("verbatim")
        and re.search(r"https?://|@\w|#\w", part["text"])
    ]
    return found + loose


def _text_objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if part.get("type") in TEXTS:
            yield part
        for each in part.values():
            yield from _text_objects(each)
    elif isinstance(part, list):
        for each in part:
            yield from _text_objects(each)
