"""Who asks: a bearer token becomes a subject with scopes, and each route says which scope it needs."""

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
from gateway.problems import Problem, away

MAX_TOKEN = 16_000

_bearer = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="A token of the issuer, or of the token file."
)


@dataclass(frozen=True)
class Subject:
    """Somebody who has signed in: an opaque id, what they may do, and which groups they are in now."""

    id: str
    scopes: frozenset[Scope]
    groups: tuple[str, ...] = ()

    @property
    def operator(self) -> bool:
        """Whether they see and steer every agent."""
        return Scope.OPERATOR in self.scopes

    @property
    def names(self) -> frozenset[str]:
        """How a policy may name them: by id, or by a group, `@name`."""
        return frozenset({self.id, *(GROUP + group for group in self.groups)})

    def may(self, scope: Scope) -> bool:
        """Whether their token allows it."""
        return self.operator or scope in self.scopes


class Authenticator:
    """Judges tokens: those of the token file, and those of the issuer where one is set.

    Args:
        tokens: the local token file.
        issuer: whose tokens are taken, too.
        directory: who is in which group.
        buckets: what holds back who tries too many tokens, by address, and who asks too much, by subject.
    """

    def __init__(
        self, tokens: TokenFile, issuer: Issuer | None, directory: Directory, buckets: Buckets
    ) -> None:
        self._tokens = tokens
        self._issuer = issuer
        self._directory = directory
        self._buckets = buckets

    async def subject_of(self, token: str, address: str) -> Subject:
        """Who the ``token`` stands for.

        Raises:
            Problem: 401 where it is not good, 429 where too much was asked, 503 where it cannot be judged.
        """
        entry = self._tokens.find(token) if len(token) <= MAX_TOKEN else None
        if entry is None and self._issuer and len(token) <= MAX_TOKEN:
            try:
                entry = await self._issuer.verify(token)
            except BadTokenError:
                entry = None
            except IssuerAwayError:
                raise away("The issuer of tokens cannot be reached just now.") from None
        if entry is None:
            self._buckets.take(f"address {address}")
            raise unauthorized("invalid_token")
        return self.subject(entry)

    def subject(self, entry: TokenEntry) -> Subject:
        """The subject of a token that is good.

        Raises:
            Problem: 429, they ask too much.
        """
        self._buckets.take(f"subject {entry.subject}")
        groups = tuple(self._directory.groups_of(entry.subject))
        return Subject(id=entry.subject, scopes=entry.scopes, groups=groups)

    def still_holds(self, token_digest: str) -> bool:
        """Whether the token file still has the token with that digest."""
        return self._tokens.entry(token_digest) is not None


def unauthorized(error: str = "") -> Problem:
    """401, and why where a token came."""
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "A bearer token is needed that is good here.",
        headers={"WWW-Authenticate": challenge},
    )


def needs(scope: Scope) -> Callable[..., Awaitable[Subject]]:
    """A dependency: the subject of the request's bearer token, which must allow ``scope``."""

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
    """Where a request comes from; behind a proxy, what the proxy says."""
    return request.client.host if request.client else ""
