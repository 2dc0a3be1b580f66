"""A notice as Slack blocks, within Slack's limits. Everything except our own layout is plain text.

Text from agents, plans and people is never parsed: its control characters are escaped, so that it mentions
nobody and links to nothing. What does not fit is cut, and the message says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from common.approval.diff_view import Diff
from common.approval.plan_parts import Changes, File, ShownPlan, Table, Words
from common.approval.plan_text import file_named, part_lines, plan_lines
from common.approval.types import ApprovalRequest
from common.grammar import in_utc
from common.notices.slack import APPROVE, REJECT, escaped
from common.notices.types import HEADINGS, Notice

# Slack's limits. The one for a whole message is undocumented; others measured 13.2 KB.
MESSAGE_BLOCKS, MESSAGE_BYTES = 50, 12_000
# With these limits for the mandatory parts, the buttons always fit, whatever script the text is in.
PART, LINE = 1000, 300
TEXT, FIELD, FIELDS, HEADER, NOTIFICATION = 3000, 2000, 10, 150, 1000

# A longer value is not shown as a table cell.
CELL = 120
DIFF_SECTIONS = 2
EVIDENCE = 20

Block = dict[str, Any]


def told(notice: Notice, details: str) -> list[Block]:
    """A message with nothing to decide; `details` is the address of the agent's page."""
    head = [_header(HEADINGS[notice.event]), section(notice.text, PART), _context(_agent(notice))]
    return _fitted(head, [], [_actions([_link("Details", details)])])


def asked(
    notice: Notice, request: ApprovalRequest, shown: ShownPlan, token: str, details: str
) -> list[Block]:
    """A message that asks, with buttons that carry the signed `token`."""
    head = [_header(HEADINGS[notice.event]), section(request.question, PART)]
    if notice.text != request.question:
        head.append(section(notice.text, PART))
    tail = [
        _context(_agent(notice), _who(request), _which(request)),
        _actions([_approve(token), _button("Reject …", REJECT, token, "danger"), _link("Details", details)]),
    ]
    return _fitted(head, [*_plan(shown, details), *_evidence(request.evidence)], tail)


def decided(notice: Notice, request: ApprovalRequest | None, shown: ShownPlan, outcome: str) -> list[Block]:
    """A message whose request is over: what was asked, how it ended, and no buttons."""
    head = [
        _header("No longer asked"),
        section(outcome, PART),
        section(request.question if request else notice.text, PART),
    ]
    lines = [_agent(notice), *([f"Plan {request.digest[:12]}."] if request else [])]
    return _fitted(head, [*_plan(shown, "")], [_context(*lines)])


def section(text: str, limit: int = TEXT) -> Block:
    """A paragraph of plain text."""
    return {"type": "section", "text": _words(text, limit)}


def fit(text: str, limit: int) -> str:
    """`text` escaped for Slack, without control characters, cut to `limit` characters."""
    whole = "".join(
        sign if sign.isprintable() or sign == "\n" else "�" for sign in text.replace("\t", "    ")
    )
    safe = escaped(whole).strip("\n") or "–"
    # Count UTF-16 code units, as browsers do.
    units = safe.encode("utf-16-le")
    if len(units) <= 2 * limit:
        return safe
    cut = units[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    return re.sub(r"&[a-z]{0,3}$", "", cut) + "…"


def _plan(shown: ShownPlan, page: str) -> Iterable[Block]:
    """The plan; its files are linked below the address of its `page`."""
    cells, long = list[tuple[str, Block]](), list[Block]()
    for item in shown.items:
        match item.part:
            case Words(text) if len(text) <= CELL and "\n" not in text:
                cells.append((item.label, _words(text, FIELD)))
            case File() as file if page:
                cells.append((item.label, _marked(f"<{page}/{file.where}|{fit(file_named(file), CELL)}>")))
            case Changes(diff):
                long += [_bold(item.label), *_diff(diff)]
            case Table() as table:
                long += [_bold(item.label), _code("\n".join(part_lines(table)))]
            case part:
                long += [_bold(item.label), section("\n".join(part_lines(part)))]
    rows = FIELDS // 2
    for start in range(0, len(cells), rows):
        pairs = cells[start : start + rows]
        yield {
            "type": "section",
            "fields": [part for label, cell in pairs for part in (_marked(f"*{fit(label, CELL)}*"), cell)],
        }
    yield from long
    if shown.internal:
        yield _context("Also in this plan: " + "; ".join(plan_lines(shown.internal)))


def _diff(diff: Diff) -> Iterable[Block]:
    if diff.missing:
        yield section(diff.missing)
        return
    lines = [line.text for line in diff.lines]
    for _ in range(DIFF_SECTIONS):
        room, taken = TEXT - 20, 0
        while taken < len(lines) and (room := room - len(fit(lines[taken], TEXT)) - 1) > 0:
            taken += 1
        if taken:
            yield _code("\n".join(lines[:taken]))
        lines = lines[taken:]
    if left := len(lines) + diff.left_out:
        yield section(f"{left} more lines of the diff are not shown here; see the details.")


def _evidence(evidence: Sequence[str]) -> Iterable[Block]:
    if evidence:
        lines = [f"• {line}" for line in evidence[:EVIDENCE]]
        if len(evidence) > EVIDENCE:
            lines.append(f"{len(evidence) - EVIDENCE} more are not shown here.")
        yield _bold("What it rests on")
        yield section("\n".join(lines))


def _agent(notice: Notice) -> str:
    return f"Agent {notice.agent} ({notice.kind})."


def _who(request: ApprovalRequest) -> str:
    deciders = ", ".join(request.deciders) or "nobody"
    if request.policy.quorum == 1:
        return f"May decide: {deciders}."
    yes = ", ".join(vote.decision.by for vote in request.votes) or "nobody yet"
    return f"May decide: {deciders}. {request.policy.quorum} of them must say yes; so far: {yes}."


def _which(request: ApprovalRequest) -> str:
    until = f" Open until {_moment(request.expires_at)}." if request.expires_at else ""
    return f"Plan {request.digest[:12]}, asked {_moment(request.asked_at)}.{until}"


def _moment(at: datetime) -> str:
    return f"{in_utc(at):%Y-%m-%d %H:%M} UTC"


def _fitted(head: list[Block], body: list[Block], tail: list[Block]) -> list[Block]:
    """The whole message, or as much of its body as fits, with a remark that it was cut."""
    cut = section("The plan is longer than a message can show; see the details before you decide.")
    kept: list[Block] = []
    for each in body:
        if not _fits([*head, *kept, each, cut, *tail]):
            return [*head, *kept, cut, *tail]
        kept.append(each)
    return [*head, *kept, *tail]


def _fits(blocks: list[Block]) -> bool:
    size = len(json.dumps(blocks, ensure_ascii=False).encode("utf-8", "replace"))
    return len(blocks) <= MESSAGE_BLOCKS and size <= MESSAGE_BYTES


def _words(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": fit(text, limit), "emoji": False}


def _marked(text: str) -> Block:
    # Verbatim: Slack must not turn what looks like a link or a name into a link or a mention.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _header(text: str) -> Block:
    return {"type": "header", "text": _words(text, HEADER)}


def _bold(text: str) -> Block:
    return {"type": "section", "text": _marked(f"*{fit(text, CELL)}*")}


def _code(text: str) -> Block:
    # Replace backticks that would end the block early with lookalikes.
    return {"type": "section", "text": _marked(f"```{fit(text.replace('```', 'ˋˋˋ'), TEXT - 6)}```")}


def _context(*lines: str) -> Block:
    return {"type": "context", "elements": [_words(line, LINE) for line in lines]}


def _actions(elements: list[Block]) -> Block:
    return {"type": "actions", "elements": elements}


def _button(text: str, action: str, value: str, style: str) -> Block:
    return {
        "type": "button",
        "text": _words(text, 75),
        "action_id": action,
        "value": value,
        "style": style,
    }


def _approve(token: str) -> Block:
    confirm = {
        "title": _words("Approve this plan?", 100),
        "text": _words("The agent acts on it at once, where no other approval is missing.", 300),
        "confirm": _words("Approve", 30),
        "deny": _words("Not yet", 30),
    }
    return {**_button("Approve", APPROVE, token, "primary"), "confirm": confirm}


def _link(text: str, url: str) -> Block:
    return {"type": "button", "text": _words(text, 75), "action_id": "open", "url": url}
