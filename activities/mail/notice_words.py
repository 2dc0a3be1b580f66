"""What a notice says by mail, as text and HTML: what is asked, the plan, what it rests on, the link."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydantic import BaseModel, JsonValue

from activities.html.markup import Html, join, tag, visible
from common.approval.link import LINK_LIFETIME, ApprovalLink
from common.approval.signing import Signer
from common.grammar import in_utc
from common.notices.types import Delivery, NoticeEvent

MAX_LINES = 60
LONGEST_VALUE = 4000
_HEADINGS = {
    NoticeEvent.ASKED: "Approval asked",
    NoticeEvent.REMINDER: "Reminder: approval asked",
    NoticeEvent.ESCALATION: "Escalated: approval asked",
    NoticeEvent.DECIDED: "Decided",
    NoticeEvent.STUCK: "Stuck",
    NoticeEvent.BUDGET: "Budget spent",
    NoticeEvent.DRIFT: "Changed since it was approved",
    NoticeEvent.FINISHED: "Finished",
    NoticeEvent.FAILED: "Failed",
}
_ASKS = (NoticeEvent.ASKED, NoticeEvent.REMINDER, NoticeEvent.ESCALATION)


class NoticeWords(BaseModel, frozen=True):
    """A notice in words."""

    subject: str
    text: str
    html: str


def notice_words(delivery: Delivery, public_url: str, signer: Signer, now: datetime) -> NoticeWords:
    """What to write to whom a notice is for.

    Args:
        delivery: the notice, and whom it is for.
        public_url: where the gateway is; links begin with it.
        signer: signs the link.
        now: when the link begins to live.

    Raises:
        SettingsError: there is no key to sign the link with.
    """
    notice, request = delivery.notice, delivery.notice.request
    heading = _HEADINGS[notice.event]
    said = visible(notice.text)
    parts = [heading, said]
    blocks = [tag("p", heading, style="color:#666;margin:0"), tag("h1", said, style="font-size:1.2em")]
    if request and request.question not in notice.text:
        parts.append(visible(request.question))
        blocks.append(tag("p", request.question))
    if request:
        fields = [(_label(name), _value(value)) for name, value in request.plan.items()]
        parts.append("The plan:\n" + "\n".join(f"  {name}: {_indented(value)}" for name, value in fields))
        blocks.append(tag("table", [_row(name, value) for name, value in fields], style=_TABLE))
        if request.evidence:
            parts.append("What it rests on:\n" + "\n".join(f"  - {visible(e)}" for e in request.evidence))
            blocks += [tag("p", "What it rests on:"), tag("ul", [tag("li", e) for e in request.evidence])]
        if request.expires_at:
            expiry = f"It can be decided until {in_utc(request.expires_at):%Y-%m-%d %H:%M} UTC."
            parts.append(expiry)
            blocks.append(tag("p", expiry))
    if url := _link(delivery, public_url, signer, now):
        words = "See it whole and decide here. The link is yours alone; do not pass it on"
        parts.append(f"{words}:\n{url}")
        blocks.append(tag("p", f"{words}: ", tag("a", "decide", href=url)))
    about = f"From the agent {notice.agent} ({notice.kind}) of {notice.owner or 'nobody in particular'}."
    parts.append(f"-- \n{visible(about)}\nNobody reads answers to this mail.")
    blocks.append(tag("p", f"{about} Nobody reads answers to this mail.", style="color:#666"))
    page = join([Html('<!doctype html><meta charset="utf-8">'), tag("div", blocks, style=_PAGE)])
    return NoticeWords(subject=f"{heading}: {said}", text="\n\n".join(parts) + "\n", html=page)


_PAGE = "font-family:sans-serif;line-height:1.4;max-width:45em"
_TABLE = "border-collapse:collapse"
_CELL = "text-align:left;vertical-align:top;padding:.2em .8em .2em 0;border-bottom:1px solid #ddd"


def _link(delivery: Delivery, public_url: str, signer: Signer, now: datetime) -> str:
    """The approval link of whom the notice is for; empty where there is nothing for them to decide."""
    notice, request = delivery.notice, delivery.notice.request
    if request is None or not delivery.person or notice.event not in _ASKS:
        return ""
    expires_at = min(request.expires_at or now + LINK_LIFETIME, now + LINK_LIFETIME)
    if expires_at <= now:
        return ""
    link = ApprovalLink(
        agent=notice.agent,
        request_id=request.id,
        digest=request.digest,
        approver=delivery.person,
        expires_at=expires_at,
    )
    return f"{public_url}/approve/{link.token(signer)}"


def _label(name: str) -> str:
    words = visible(name).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _value(value: JsonValue) -> str:
    """A value of the plan as lines, cut to what a mail can hold."""
    lines = list(_lines(value))
    shown = [line for line in lines[:MAX_LINES] if line is not None]
    text = "\n".join(shown)
    if len(lines) > MAX_LINES or len(text) > LONGEST_VALUE:
        text = f"{text[:LONGEST_VALUE]}\n… more than a mail can hold"
    return visible(text)


def _lines(value: JsonValue, indent: str = "") -> Iterator[str]:
    if isinstance(value, dict) and set(value) == {"sha256", "size"}:
        yield f"{indent}{value['size']} bytes, to be seen on the page"
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _named(f"{_label(name)}:", part, indent)
    elif isinstance(value, list):
        for part in value:
            yield from _named("-", part, indent)
    elif isinstance(value, bool):
        yield indent + ("yes" if value else "no")
    else:
        yield from (indent + line for line in ("" if value is None else str(value)).split("\n"))


def _named(name: str, value: JsonValue, indent: str) -> Iterator[str]:
    lines = list(_lines(value, f"{indent}  "))
    if len(lines) == 1:
        yield f"{indent}{name} {lines[0].strip()}"
    else:
        yield f"{indent}{name}"
        yield from lines


def _indented(text: str) -> str:
    return text if "\n" not in text else "\n" + "\n".join(f"    {line}" for line in text.split("\n"))


def _row(name: str, value: str) -> Html:
    return tag("tr", tag("th", name, style=_CELL), tag("td", value, style=f"{_CELL};white-space:pre-wrap"))
