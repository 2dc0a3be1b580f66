"""Renders pages for people, with one style sheet, small scripts, and nothing from other hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from common.agents.kinds import shown_as
from common.approval.markdown_view import markdown_html
from common.approval.plan_parts import ShownPlan
from common.approval.plan_view import show_plan
from common.approval.values import facts_in_words, label_of, plain
from common.client.rows import AgentRow, waits_in_words
from common.grammar import UnreadableTimeError, in_utc, rounded, zone_named
from common.visible_text import visible
from gateway.auth.sessions import SignInNeededError
from gateway.problems import problem_of

# Under these paths errors are pages, too.
PAGES = ("/ui", "/approve", "/answer", "/docs")
# Links for people without an account here.
LINKS = ("/approve", "/answer")
SECOND = timedelta(seconds=1)
# The cookie with the browser's time zone (`time.js`).
ZONE_COOKIE = "zone"
HOME, FRONT, SIGN_IN = "/ui", "/ui/overview", "/ui/sign-in"

# States as the end of a sentence about the agent.
_STATES = {
    "working": "is working",
    "sleeping": "is sleeping",
    "awaiting_approval": "is waiting for a decision",
    "awaiting_event": "is waiting for something to happen",
    "stuck": "is stuck",
    "paused": "is paused",
    "completed": "has done its work",
    "failed": "has failed",
    "cancelled": "was cancelled",
    "terminated": "was terminated",
    "timed_out": "ran out of time",
}


_HEADINGS = {
    HTTPStatus.FORBIDDEN: "This is not allowed",
    HTTPStatus.NOT_FOUND: "There is no such page",
    HTTPStatus.CONFLICT: "This is not possible now",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Something is missing or wrong",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong here",
    HTTPStatus.SERVICE_UNAVAILABLE: "Out of reach just now",
}


def page(request: Request, template: str, *, status: int = HTTPStatus.OK, **context: Any) -> HTMLResponse:
    """Render a page; without a ``visitor`` in the context, nobody has signed in."""
    values = {"visitor": None, "here": request.url.path, **context}
    return HTMLResponse(_templates.get_template(template).render(values), status_code=status)


def error_page(request: Request, error: Exception) -> Response:
    """The error as a page, or a redirect to the sign-in page if that is what it takes."""
    if isinstance(error, SignInNeededError):
        return RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
    problem = problem_of(error)
    status = HTTPStatus(problem.status_code)
    answer = page(
        request,
        "error.html",
        status=status,
        title=_heading(status, request.url.path),
        detail=problem.detail.encode("utf-8", "replace").decode(),
        refused=request.method == "POST" and status == HTTPStatus.UNPROCESSABLE_ENTITY,
    )
    answer.headers.update(problem.headers or {})
    return answer


def _heading(status: HTTPStatus, path: str) -> str:
    """What has happened, for people who do not know HTTP."""
    if status == HTTPStatus.NOT_FOUND and path.startswith(LINKS):
        return "This link does not work"
    return _HEADINGS.get(status, status.phrase)


def zone_of(request: Request) -> ZoneInfo:
    """The time zone of the visitor's browser; UTC if it has not said."""
    try:
        return zone_named(request.cookies.get(ZONE_COOKIE, "UTC"))
    except UnreadableTimeError:
        return ZoneInfo("UTC")


def moment(at: datetime | None) -> Markup:
    """A time in UTC, to the minute, for people and machines; empty for None."""
    if at is None:
        return Markup("")
    utc = in_utc(at)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M} UTC"
    )


def instant(at: datetime) -> Markup:
    """A time in UTC, short and to the second, for lists that state once that times are UTC."""
    utc = in_utc(at)
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), f"{utc:%m-%d %H:%M:%S}")


def ago(at: datetime, now: datetime) -> str:
    """How long ago that was, in words: one unit within the hour, then two."""
    past = now - at
    return f"{rounded(past, 1 if past < timedelta(hours=1) else 2)} ago" if past >= SECOND else "just now"


def shown(plan: Mapping[str, Any], kind: str) -> ShownPlan:
    """The plan of an agent of that kind, without anything that would have to be fetched."""
    return show_plan(plan, shown_as(kind, plan))


def linked(text: str, names: Iterable[str], base: str) -> Markup:
    """A line of text in which names of the agent's files link to them."""
    words = [
        Markup('<a href="{}/files/{}">{}</a>').format(base, quote(word, safe=""), visible(word))
        if word in names
        else escape(visible(word))
        for word in re.split(r"(\s+)", text)
    ]
    return Markup("").join(words)


def waits_for(row: AgentRow) -> str:
    """What an agent waits for, in words and without the digests of approvals."""
    return waits_in_words(row, "a decision", "decisions")


def state_words(state: str) -> str:
    """A state for people, as the end of a sentence about the agent."""
    return _STATES.get(state, state)


def _shown(value: object) -> object:
    """Text with everything visible; markup is left as it is."""
    return value if hasattr(value, "__html__") else visible(str(value))


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.tests["fingerprint"] = re.compile("[0-9a-f]{12}").fullmatch
_templates.filters.update(
    ago=ago,
    moment=moment,
    instant=instant,
    waits=waits_for,
    words=state_words,
    label=label_of,
    facts=facts_in_words,
    linked=linked,
    shown=shown,
    markdown=markdown_html,
    plain=plain,
    exact=escape,
)
