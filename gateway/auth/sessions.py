"""Signing in with a browser: a token once, then a signed cookie; and the guard on every form."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

import jwt
from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from common.approval.signed import seal, unseal
from common.approval.signing import Signer
from common.client.tokens import Scope, TokenEntry, digest_of
from gateway.auth.authentication import Subject
from gateway.problems import Problem
from gateway.services import Gateway, the_gateway

LIFETIME = 12 * 3600  # seconds; a working day
SESSION = "session"
FORM = "form"


class SignInNeededError(Exception):
    """The page is for somebody who has signed in."""


@dataclass(frozen=True)
class Session:
    """What the cookie says. `token` is the digest of a local token, which must still be in its file."""

    subject: str
    scopes: list[Scope]
    until: int
    token: str


@dataclass(frozen=True)
class Visitor:
    """Somebody who looks at pages; `form` guards the forms they are given."""

    subject: Subject
    form: str


_SESSION = TypeAdapter(Session)


def cookie_name(gateway: Gateway) -> str:
    """The cookie's name; with https the prefix has the browser keep it from other hosts and plain http."""
    return "__Host-hibernaut" if _is_secure(gateway) else "hibernaut"


def sign_in(response: Response, gateway: Gateway, subject: Subject, token: str, *, local: bool) -> None:
    """Give the browser a session of ``subject``; it ends with an issuer's ``token``, if that ends first."""
    until = int(time.time()) + LIFETIME
    if not local:
        until = min(until, int(jwt.decode(token, options={"verify_signature": False})["exp"]))
    session = Session(
        subject=subject.id,
        scopes=sorted(subject.scopes),
        until=until,
        token=digest_of(token) if local else "",
    )
    response.set_cookie(
        cookie_name(gateway),
        seal(_SESSION.dump_python(session, mode="json"), SESSION, gateway.signer),
        max_age=LIFETIME,
        httponly=True,
        samesite="strict",
        secure=_is_secure(gateway),
    )


def sign_out(response: Response, gateway: Gateway) -> None:
    """Take the session back."""
    response.delete_cookie(cookie_name(gateway), httponly=True, samesite="strict", secure=_is_secure(gateway))


def visitor(request: Request, gateway: Annotated[Gateway, Depends(the_gateway)]) -> Visitor:
    """Who looks at the page.

    Raises:
        SignInNeededError: nobody who has signed in and still may.
    """
    cookie = request.cookies.get(cookie_name(gateway), "")
    try:
        session = _SESSION.validate_python(unseal(cookie, SESSION, gateway.signer))
    except (ValueError, ValidationError):
        raise SignInNeededError from None
    gone = session.token and not gateway.authenticator.still_holds(session.token)
    if session.until <= time.time() or gone:
        raise SignInNeededError
    entry = TokenEntry(subject=session.subject, scopes=frozenset(session.scopes))
    return Visitor(gateway.authenticator.subject(entry), form_token(cookie, gateway.signer))


def form_token(holder: str, signer: Signer) -> str:
    """What a form carries to show that it was given to the ``holder`` of a cookie or a link."""
    return seal(digest_of(holder), FORM, signer)


def require_own_form(request: Request, given: object, holder: str, signer: Signer) -> None:
    """Let a form through that was given to its ``holder`` by a page of ours.

    Raises:
        Problem: 403, it comes from somewhere else.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    try:
        own = isinstance(given, str) and unseal(given, FORM, signer) == digest_of(holder)
    except ValueError:
        own = False
    if site != "same-origin" or not own:
        raise Problem(
            HTTPStatus.FORBIDDEN, "This form did not come from a page of ours, or is old; load it again."
        )


def _is_secure(gateway: Gateway) -> bool:
    return gateway.settings.http.public_url.startswith("https:")


Visiting = Annotated[Visitor, Depends(visitor)]
