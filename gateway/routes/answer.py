"""The page behind a link in a letter. Opening it answers nothing, however often and whatever opens it.

It is for people without an account here, and shows only what their letter said.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.approval.link import AnswerLink, BadLinkError
from common.client.errors import NoSuchAgentError
from common.mail import ChoiceStanding, ChoiceView
from gateway.auth.authentication import address_of
from gateway.auth.sessions import form_token, require_own_form
from gateway.decision_form import read_form
from gateway.pages import page
from gateway.problems import Problem
from gateway.services import Gateway, Parts

router = APIRouter()

OVER = ChoiceView(standing=ChoiceStanding.OVER, subject="", sender="")


@router.api_route("/answer/{token}", methods=["GET", "HEAD"])
async def show(request: Request, parts: Parts, token: str) -> Response:
    """The answer that the link stands for, with a button to give it; or why it is closed."""
    link = _read_link(request, parts, token)
    try:
        view = await parts.agents.choice(link)
    except NoSuchAgentError:
        view = OVER
    return _page(request, parts, token, view)


@router.post("/answer/{token}")
async def answer(request: Request, parts: Parts, token: str) -> Response:
    """Submit the answer, once for each letter. The page confirms only what Temporal has stored."""
    link = _read_link(request, parts, token)
    form = await read_form(request)
    require_own_form(request, form.get("form"), token, parts.signer)
    try:
        view = await parts.writing_agents.choice(link)
        if view is not None and view.standing is not ChoiceStanding.OPEN:
            return _page(request, parts, token, view)
        await parts.writing_agents.choose(link, token)
    except NoSuchAgentError:
        return _page(request, parts, token, OVER)
    return _page(request, parts, token, view, thanked=True)


def _page(
    request: Request, parts: Gateway, token: str, view: ChoiceView | None, *, thanked: bool = False
) -> Response:
    standing = view.standing if view else ChoiceStanding.OPEN
    closed = standing in (ChoiceStanding.OVER, ChoiceStanding.PASSED)
    return page(
        request,
        "answer.html",
        status=HTTPStatus.GONE if closed else HTTPStatus.OK,
        standing="thanked" if thanked else standing,
        view=view,
        action=f"/answer/{token}",
        guard=form_token(token, parts.signer),
    )


def _read_link(request: Request, parts: Gateway, token: str) -> AnswerLink:
    try:
        link = AnswerLink.read(token, parts.signer, datetime.now(UTC))
    except BadLinkError as error:
        parts.buckets.take(f"address {address_of(request)}")
        text = str(error)
        raise Problem(HTTPStatus.NOT_FOUND, text[0].upper() + text[1:]) from None
    parts.buckets.take(f"letter {link.agent} {link.letter}")
    return link
