"""A notice as mail, in text and HTML: the question, the plan, its evidence, the link."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydantic import BaseModel, JsonValue

from activities.html.render import render, visible
from common.approval.link import LINK_LIFETIME, ApprovalLink
from common.approval.plan_view import label_in, label_of, plain, ref_of
from common.approval.signing import Signer
from common.grammar import in_utc
from common.notices.types import ASKS, HEADINGS, Delivery

MAX_LINES, MAX_VALUE = 60, 4000
_RESTS_ON = "What it rests on:"
_INVITATION = "See it whole and decide here. The link is yours alone; do not pass it on"
_QUESTIONS = "See each question and decide them together, signed in"
_NO_ANSWERS = "Nobody reads answers to this mail."


class NoticeWords(BaseModel, frozen=True):
    """A notice in words."""

    subject: str
    text: str
    html: str


def notice_words(delivery: Delivery, public_url: str, signer: Signer, now: datetime) -> NoticeWords:
    """The mail of a notice for one recipient.

    Args:
        delivery: the notice, and whom it is for.
        public_url: where the gateway is; links begin with it.
        signer: signs the link.
        now: when the link's lifetime begins.

    Raises:
        SettingsError: there is no key to sign the link with.
    """
    notice, request = delivery.notice, delivery.notice.request
    heading, text = HEADINGS[notice.event], visible(notice.text)
    invitation, link = _INVITATION, _link(delivery, public_url, signer, now)
    if notice.is_of_batch:
        invitation, link = _QUESTIONS, notice.page(public_url)
    question = visible(request.question) if request and request.question not in notice.text else ""
    plan = (
        [(visible(label_in(request.plan, name)), _value(value)) for name, value in request.plan.items()]
        if request
        else []
    )
    expires_at = request.expires_at if request else None
    expiry = f"It can be decided until {in_utc(expires_at):%Y-%m-%d %H:%M} UTC." if expires_at else ""
    about = f"From the agent {notice.agent} ({notice.kind}) of {notice.owner or 'nobody in particular'}."
    parts = [heading, text, question]
    if request:
        parts.append("The plan:\n" + "\n".join(f"  {name}: {_indented(value)}" for name, value in plan))
        if request.evidence:
            parts.append("\n".join([_RESTS_ON, *(f"  - {visible(each)}" for each in request.evidence)]))
    parts += [expiry, f"{invitation}:\n{link}" if link else "", f"-- \n{visible(about)}\n{_NO_ANSWERS}"]
    page = render(
        "mail/notice.html",
        heading=heading,
        text=text,
        question=question,
        request=request,
        plan=plan,
        rests_on=_RESTS_ON,
        expiry=expiry,
        invitation=invitation,
        link=link,
        about=about,
        no_answers=_NO_ANSWERS,
    )
    return NoticeWords(subject=f"{heading}: {text}", text="\n\n".join(filter(None, parts)) + "\n", html=page)


def _link(delivery: Delivery, public_url: str, signer: Signer, now: datetime) -> str:
    """The recipient's approval link; empty if there is nothing for them to decide."""
    notice, request = delivery.notice, delivery.notice.request
    if request is None or not delivery.person or notice.event not in ASKS:
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


def _value(value: JsonValue) -> str:
    """A value of the plan as lines, cut to what a mail can hold."""
    lines = list(_lines(value))
    text = "\n".join(lines[:MAX_LINES])
    if len(lines) > MAX_LINES or len(text) > MAX_VALUE:
        text = f"{text[:MAX_VALUE]}\n… more than a mail can hold"
    return visible(text)


def _lines(value: JsonValue, indent: str = "") -> Iterator[str]:
    if ref := ref_of(value):
        yield f"{indent}{ref.size} bytes, to be seen on the page"
    elif isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _named(f"{label_of(name)}:", part, indent)
    elif isinstance(value, list) and value:
        for part in value:
            yield from _named("-", part, indent)
    else:
        yield from (indent + line for line in plain(value).split("\n"))


def _named(name: str, value: JsonValue, indent: str) -> Iterator[str]:
    lines = list(_lines(value, f"{indent}  "))
    if len(lines) == 1:
        yield f"{indent}{name} {lines[0].strip()}"
    else:
        yield f"{indent}{name}"
        yield from lines


def _indented(text: str) -> str:
    return text if "\n" not in text else "\n" + "\n".join(f"    {line}" for line in text.split("\n"))
