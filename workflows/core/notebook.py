"""An agent's notebook: bounded in memory, while history keeps what was dropped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue

from common.agents.agent import Notebook, NotebookEntry
from common.approval.types import shortened

MAX_ENTRIES = 200
MAX_TEXT = 2000
SHOWN_IN_UI = 15


def write(notebook: Notebook, at: datetime, node: str, text: str, facts: dict[str, JsonValue]) -> None:
    """Add a line; drop the oldest once there are more than `MAX_ENTRIES`."""
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    notebook.entries.append(NotebookEntry(at=at, node=node, text=cut, facts=shortened(facts, MAX_TEXT)))
    surplus = max(0, len(notebook.entries) - MAX_ENTRIES)
    del notebook.entries[:surplus]
    notebook.dropped += surplus


def as_markdown(notebook: Notebook, headline: str, questions: Sequence[str] = ()) -> str:
    """The newest lines under a headline and the open questions, for the Web UI's current details."""
    newest = reversed(notebook.entries[-SHOWN_IN_UI:])
    lines = [f"- {each.at:%Y-%m-%d %H:%M:%S} `{_plain(each.node)}` {_plain(each.text)}" for each in newest]
    asked = [f"- **{_plain(question)}**" for question in questions]
    return "\n".join([f"**{_plain(headline)}**", "", *asked, *lines])


# Text from outside must not become links, images, headings or new lines in the Web UI.
_INERT = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>#|!"} | {"\n": " ", "\r": " "})


def _plain(text: str) -> str:
    return text.translate(_INERT)
