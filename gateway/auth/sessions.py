"""Browser sessions: a token is exchanged for a signed cookie; forms carry a CSRF token."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

import jwt
from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from common.approval.signed import sign, verify
from common.approval.signing import Signer
from common.client.tokens import Scope, TokenEntry, digest_of
from gateway.auth.authentication import Subject
from gateway.auth.ended_sessions import LIFETIME
from gateway.decision_form import MAX_FIELDS, read_form
from gateway.problems import Problem
from gateway.services import Gateway, the_gateway

# Purposes of the signed values.
SESSION, FORM = "session", "form"


class SignInNeededError(Exception):
    """The page is only for somebody who has signed in."""


@dataclass(frozen=True)
class Session:
    """The cookie's content.

    For a local token, `token` is its digest, and the token file is consulted on every visit. An issuer's
    token is replaced by its `subject` and `scopes`, until it expires.
    """

    id: str
    until: int
    token: str = ""
    subject: str = ""
    scopes: list[Scope] = field(default_factory=list)


@dataclass(frozen=True)
class Visitor:
    """Somebody who has signed in; `csrf_token` is the CSRF token for their forms."""

    subject: Subject
    csrf_token: str
    session: str

    def require(self, scope: Scope) -> None:
        """Require that the visitor's token allows ``scope``.

        Raises:
            Problem: 403, it does not.
        """
        if not self.subject.may(scope):
            raise Problem(HTTPStatus.FORBIDDEN, f"The token you signed in with does not allow {scope}.")


_SESSION = TypeAdapter(Session)


def cookie_name(gateway: Gateway) -> str:
    """The cookie's name. With https, a prefix makes browsers keep it from other hosts and plain http."""
    return "__Host-hibernaut" if _is_secure(gateway) else "hibernaut"


def sign_in(response: Response, gateway: Gateway, subject: Subject, token: str, *, local: bool) -> None:
    """Start a session of ``subject``; it ends when an issuer's ``token`` does, if that is sooner."""
    id, until = secrets.token_hex(16), int((datetime.now(UTC) + LIFETIME).timestamp())
    if local:
        session = Session(id, until, token=digest_of(token))
    else:
        until = min(until, int(jwt.decode(token, options={"verify_signature": False})["exp"]))
        session = Session(id, until, subject=subject.id, scopes=sorted(subject.scopes))
    response.set_cookie(
        cookie_name(gateway),
        sign(_SESSION.dump_python(session, mode="json"), SESSION, gateway.signer),
        max_age=int(LIFETIME.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=_is_secure(gateway),
    )


async def sign_out(response: Response, gateway: Gateway, visitor: Visitor) -> None:
    """End the session, and have the browser forget it."""
    await asyncio.to_thread(gateway.ended_sessions.add, visitor.session)
    response.delete_cookie(cookie_name(gateway), httponly=True, samesite="strict", secure=_is_secure(gateway))


async def visitor(request: Request, gateway: Annotated[Gateway, Depends(the_gateway)]) -> Visitor:
    """The visitor, from the session cookie.

    Raises:
        SignInNeededError: nobody has signed in, or their session has ended.
        StoreUnavailableError: it cannot be checked whether the session has ended.
    """
    cookie = request.cookies.get(cookie_name(gateway), "")
    try:
        session = _SESSION.validate_python(verify(cookie, SESSION, gateway.signer))
    except (ValueError, ValidationError):
        raise SignInNeededError from None
    if session.until <= time.time() or await asyncio.to_thread(gateway.ended_sessions.has, session.id):
        raise SignInNeededError
    if session.token:
        entry = gateway.authenticator.local_entry(session.token)
    else:
        entry = TokenEntry(subject=session.subject, scopes=frozenset(session.scopes))
    if entry is None:
        raise SignInNeededError
    form = form_token(cookie, gateway.signer)
    return Visitor(gateway.authenticator.subject(entry), form, session.id)


def form_token(holder: str, signer: Signer) -> str:
    """The CSRF token in a form; it proves that the form was given to the ``holder`` of a cookie or link."""
    return sign(digest_of(holder), FORM, signer)


async def session_form(request: Request, gateway: Gateway, fields: int = MAX_FIELDS) -> dict[str, str]:
    """The form in a request's body, if one of our pages gave it to this session.

    Raises:
        Problem: 403, it comes from somewhere else.
    """
    form = await read_form(request, fields)
    cookie = request.cookies.get(cookie_name(gateway), "")
    require_own_form(request, form.get("form"), cookie, gateway.signer)
    return form


def require_own_form(request: Request, given: object, holder: str, signer: Signer) -> None:
    """Require that one of our pages gave the form to its ``holder``.

    Raises:
        Problem: 403, it comes from somewhere else.
    """
    require_same_site(request)
    try:
        own = isinstance(given, str) and verify(given, FORM, signer) == digest_of(holder)
    except ValueError:
        own = False
    if not own:
        raise Problem(HTTPStatus.FORBIDDEN, "This form is not from this session; load the page again.")


def require_same_site(request: Request) -> None:
    """Refuse a request that, according to the browser, another site's page sent.

    Raises:
        Problem: 403, it did.
    """
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Problem(HTTPStatus.FORBIDDEN, "Another site's page sent this form; open the page here.")


def _is_secure(gateway: Gateway) -> bool:
    return gateway.settings.http.public_url.startswith("https:")


Visiting = Annotated[Visitor, Depends(visitor)]
