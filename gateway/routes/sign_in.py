"""Signing in to the dashboard with a token, and signing out."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from common.client.tokens import digest_of
from gateway.auth.authentication import address_of
from gateway.auth.sessions import Visiting, require_same_site, session_form, sign_in, sign_out
from gateway.decision_form import read_form
from gateway.pages import HOME, SIGN_IN, page
from gateway.problems import Problem
from gateway.services import Parts

router = APIRouter()


@router.get(SIGN_IN)
async def show_form(request: Request) -> Response:
    """The form that takes a token."""
    return page(request, "sign_in.html", problem="")


@router.post(SIGN_IN)
async def start_session(request: Request, parts: Parts) -> Response:
    """Exchange a token for a session."""
    require_same_site(request)
    token = (await read_form(request)).get("token", "").strip()
    try:
        subject = await parts.authenticator.subject_of(token, address_of(request))
    except Problem as problem:
        if problem.status_code != HTTPStatus.UNAUTHORIZED:
            raise
        told = "This token is not accepted here. Is it complete, and not expired?"
        return page(request, "sign_in.html", status=HTTPStatus.UNAUTHORIZED, problem=told)
    response = RedirectResponse(HOME, HTTPStatus.SEE_OTHER)
    local = parts.authenticator.local_entry(digest_of(token)) is not None
    sign_in(response, parts, subject, token, local=local)
    return response


@router.post("/ui/sign-out")
async def end_session(request: Request, parts: Parts, visitor: Visiting) -> Response:
    """End the session."""
    await session_form(request, parts)
    response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
    await sign_out(response, parts, visitor)
    return response
