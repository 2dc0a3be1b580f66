"""A notice as mail, in text and HTML: the question, the plan, its evidence and the link."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pydantic import BaseModel

from activities.html.render import render, visible
from common.agents.kinds import shown_as
from common.approval.link import LINK_LIFETIME, ApprovalLink
from common.approval.markdown_view import markdown_html
from common.approval.plan_parts import File, Item, Prose, ShownPlan
from common.approval.plan_text import file_named, part_lines
from common.approval.plan_view import show_plan
from common.approval.signing import Signer
from common.grammar import in_utc
from common.notices.types import ASKS, HEADINGS, Delivery

MAX_LINES, MAX_VALUE = 60, 4000
_RESTS_ON = "What it rests on:"
_INVITATION = "See it whole and decide here. The link is yours alone; do not pass it on"
_QUESTIONS = "See each question and decide them together, signed in"
_PAGE = "See it here, signed in"
_NO_ANSWERS = "Nobody reads answers to this mail."


class NoticeWords(BaseModel, frozen=True):
    """The subject and body of a notice."""

    subject: str
    text: str
    html: str


def notice_words(delivery: Delivery, public_url: str, signer: Signer, now: datetime) -> NoticeWords:
    """The mail of a notice for one recipient.

    Args:
        delivery: the notice and its recipient.
        public_url: where the gateway is; links begin with it.
        signer: signs the link.
        now: the start of the link's lifetime.

    Raises:
        SettingsError: there is no key to sign the link with.
    """
    notice, request = delivery.notice, delivery.notice.request
    heading, text = HEADINGS[notice.event], visible(notice.text)
    invitation, link = _INVITATION, _link(delivery, public_url, signer, now)
    if request is None:
        invitation, link = _QUESTIONS if notice.is_of_batch else _PAGE, notice.page(public_url)
    question = visible(request.question) if request and request.question not in notice.text else ""
    shown = show_plan(request.plan, shown_as(notice.kind, request.plan)) if request else ShownPlan()
    items = [_Item.of(each, link) for each in (*shown.items, *shown.internal)]
    expires_at = request.expires_at if request else None
    expiry = f"It can be decided until {in_utc(expires_at):%Y-%m-%d %H:%M} UTC." if expires_at else ""
    about = f"From the agent {notice.agent} ({notice.kind}) of {notice.owner or 'nobody in particular'}."
    parts = [heading, text, question]
    if request:
        parts.append("The plan:\n" + "\n".join(f"  {each.label}:{_indented(each.text)}" for each in items))
        if request.evidence:
            parts.append("\n".join([_RESTS_ON, *(f"  - {visible(each)}" for each in request.evidence)]))
    parts += [expiry, f"{invitation}:\n{link}" if link else "", f"-- \n{visible(about)}\n{_NO_ANSWERS}"]
    page = render(
        "mail/notice.html",
        heading=heading,
        text=text,
        question=question,
        request=request,
        plan=items,
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


@dataclass(frozen=True)
class _Item:
    """An item of a plan in a mail; `href` is where it can be opened, if anywhere."""

    label: str
    shape: str
    text: str
    markdown: str = ""
    href: str = ""

    @classmethod
    def of(cls, item: Item, link: str) -> Self:
        """The item, cut to the limits of a mail; its files are addressed below the page `link`."""

        def named(file: File) -> str:
            return f"{file_named(file)}: {link}/{file.where}" if link else file_named(file)

        part = item.part
        lines = part_lines(part, named)
        text = "\n".join(lines[:MAX_LINES])
        is_cut = len(lines) > MAX_LINES or len(text) > MAX_VALUE
        if is_cut:
            text = f"{text[:MAX_VALUE]}\n… more than a mail can hold"
        return cls(
            label=visible(item.label),
            shape=part.shape,
            text=visible(text),
            markdown=markdown_html(text) if isinstance(part, Prose) and part.markdown else "",
            href=f"{link}/{part.where}" if isinstance(part, File) and link else "",
        )


def _indented(text: str) -> str:
    return f" {text}" if "\n" not in text else "\n" + "\n".join(f"    {line}" for line in text.split("\n"))
