"""Authenticates requests: a bearer token stands for a subject with scopes; each route needs one scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from common.approval.groups import Directory
from common.approval.types import GROUP
from common.client.tokens import Scope, TokenEntry, TokenFile
from gateway.auth.oidc import BadTokenError, Issuer, IssuerAwayError
from gateway.limits import Buckets
from gateway.problems import Problem, unavailable

MAX_TOKEN = 16_000

_bearer = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="A token of the issuer, or from the token file."
)


@dataclass(frozen=True)
class Subject:
    """An authenticated person: an opaque id, what they may do, and the groups they are in now."""

    id: str
    scopes: frozenset[Scope]
    groups: tuple[str, ...] = ()

    @property
    def operator(self) -> bool:
        """Whether they may see and steer every agent."""
        return Scope.OPERATOR in self.scopes

    @property
    def names(self) -> frozenset[str]:
        """The names by which a policy may refer to this person: the id, and groups as `@name`."""
        return frozenset({self.id, *(GROUP + group for group in self.groups)})

    def may(self, scope: Scope) -> bool:
        """Whether their token allows it."""
        return self.operator or scope in self.scopes


class Authenticator:
    """Checks bearer tokens, against the token file and with the issuer if there is one.

    Args:
        tokens: the local token file.
        issuer: an OpenID Connect issuer whose tokens are accepted as well.
        directory: who is in which group.
        buckets: rate limits, per address for bad tokens, per subject for requests.
    """

    def __init__(
        self, tokens: TokenFile, issuer: Issuer | None, directory: Directory, buckets: Buckets
    ) -> None:
        self._tokens = tokens
        self._issuer = issuer
        self._directory = directory
        self._buckets = buckets

    async def subject_of(self, token: str, address: str) -> Subject:
        """The subject that ``token`` stands for.

        Raises:
            Problem: 401, it is not valid; 429, too many requests; 503, it cannot be checked now.
        """
        entry = self._tokens.find(token) if len(token) <= MAX_TOKEN else None
        if entry is None and self._issuer and len(token) <= MAX_TOKEN:
            try:
                entry = await self._issuer.verify(token)
            except BadTokenError:
                entry = None
            except IssuerAwayError:
                raise unavailable("The issuer of tokens cannot be reached just now.") from None
        if entry is None:
            self._buckets.take(f"address {address}")
            raise unauthorized("invalid_token")
        return self.subject(entry)

    def subject(self, entry: TokenEntry) -> Subject:
        """The subject of a valid token.

        Raises:
            Problem: 429, too many requests.
        """
        self._buckets.take(f"subject {entry.subject}")
        groups = tuple(self._directory.groups_of(entry.subject))
        return Subject(id=entry.subject, scopes=entry.scopes, groups=groups)

    def local_entry(self, token_digest: str) -> TokenEntry | None:
        """The token file's entry for the token with that digest; None if there is none any more."""
        return self._tokens.entry(token_digest)


def unauthorized(error: str = "") -> Problem:
    """401; ``error`` says why a token that was sent is refused."""
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "A bearer token is needed that is valid here.",
        headers={"WWW-Authenticate": challenge},
    )


def needs(scope: Scope) -> Callable[..., Awaitable[Subject]]:
    """A dependency that yields the subject of the request's bearer token, which must allow ``scope``."""

    async def subject(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Subject:
        if credentials is None:
            raise unauthorized()
        authenticator: Authenticator = request.app.state.gateway.authenticator
        found = await authenticator.subject_of(credentials.credentials, address_of(request))
        if not found.may(scope):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"The token does not allow {scope}.",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )
        return found

    return subject


Reader = Annotated[Subject, Depends(needs(Scope.READ))]
Writer = Annotated[Subject, Depends(needs(Scope.WRITE))]
Decider = Annotated[Subject, Depends(needs(Scope.DECIDE))]


def address_of(request: Request) -> str:
    """The address that the request came from; behind a proxy, the proxy's."""
    return request.client.host if request.client else ""
