"""Browser sessions: a token once, then a signed cookie; and the token that guards every form."""

from __future__ import annotations

import time
from dataclasses import dataclass
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
from gateway.decision_form import read_form
from gateway.problems import Problem
from gateway.services import Gateway, the_gateway

LIFETIME = 12 * 3600  # seconds; a working day
# What the signed values are for.
SESSION, FORM = "session", "form"


class SignInNeededError(Exception):
    """The page is only for somebody who has signed in."""


@dataclass(frozen=True)
class Session:
    """The cookie's content. `token` is the digest of a local token, which must still be in the token file."""

    subject: str
    scopes: list[Scope]
    until: int
    token: str


@dataclass(frozen=True)
class Visitor:
    """Somebody who has signed in; `form` is the token in the forms they are given."""

    subject: Subject
    form: str

    def require(self, scope: Scope) -> None:
        """Let the visitor go on if their token allows ``scope``.

        Raises:
            Problem: 403, it does not.
        """
        if not self.subject.may(scope):
            raise Problem(HTTPStatus.FORBIDDEN, f"The token you signed in with does not allow {scope}.")


_SESSION = TypeAdapter(Session)


def cookie_name(gateway: Gateway) -> str:
    """The cookie's name; with https, the prefix makes browsers keep it from other hosts and plain http."""
    return "__Host-hibernaut" if _is_secure(gateway) else "hibernaut"


def sign_in(response: Response, gateway: Gateway, subject: Subject, token: str, *, local: bool) -> None:
    """Start a session of ``subject``; it ends when an issuer's ``token`` does, if that is sooner."""
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
        sign(_SESSION.dump_python(session, mode="json"), SESSION, gateway.signer),
        max_age=LIFETIME,
        httponly=True,
        samesite="strict",
        secure=_is_secure(gateway),
    )


def sign_out(response: Response, gateway: Gateway) -> None:
    """Have the browser forget the session."""
    response.delete_cookie(cookie_name(gateway), httponly=True, samesite="strict", secure=_is_secure(gateway))


def visitor(request: Request, gateway: Annotated[Gateway, Depends(the_gateway)]) -> Visitor:
    """Who visits the page.

    Raises:
        SignInNeededError: nobody has signed in, or their session has ended.
    """
    cookie = request.cookies.get(cookie_name(gateway), "")
    try:
        session = _SESSION.validate_python(verify(cookie, SESSION, gateway.signer))
    except (ValueError, ValidationError):
        raise SignInNeededError from None
    gone = session.token and not gateway.authenticator.still_holds(session.token)
    if session.until <= time.time() or gone:
        raise SignInNeededError
    entry = TokenEntry(subject=session.subject, scopes=frozenset(session.scopes))
    return Visitor(gateway.authenticator.subject(entry), form_token(cookie, gateway.signer))


def form_token(holder: str, signer: Signer) -> str:
    """The token in a form, which proves that it was given to the ``holder`` of a cookie or a link."""
    return sign(digest_of(holder), FORM, signer)


async def session_form(request: Request, gateway: Gateway) -> dict[str, str]:
    """The form in a request's body, if one of our pages gave it to this very session.

    Raises:
        Problem: 403, it comes from somewhere else.
    """
    form = await read_form(request)
    cookie = request.cookies.get(cookie_name(gateway), "")
    require_own_form(request, form.get("form"), cookie, gateway.signer)
    return form


def require_own_form(request: Request, given: object, holder: str, signer: Signer) -> None:
    """Let a form through if one of our pages gave it to its ``holder``.

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
    """Let a request through unless the browser says that another site's page sent it.

    Raises:
        Problem: 403, it did.
    """
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Problem(HTTPStatus.FORBIDDEN, "Another site's page sent this form; open the page here.")


def _is_secure(gateway: Gateway) -> bool:
    return gateway.settings.http.public_url.startswith("https:")


Visiting = Annotated[Visitor, Depends(visitor)]
