"""Verifies bearer tokens of an OpenID Connect issuer, whose keys it caches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt

from common.client.tokens import Scope, TokenEntry
from common.names import UnusableValueError, check_person
from common.settings import Settings
from common.settings.http import is_safe

# Seconds until keys are fetched again, and how long they are trusted while the issuer is unreachable.
REFRESH_AFTER, TRUSTED_FOR = 600.0, 24 * 3600.0
# An unknown key id may mean rotated keys, or a made-up id: do not refetch for each.
MIN_FETCH_INTERVAL = 15.0  # seconds
LEEWAY = 10  # seconds that clocks may differ
TIMEOUT = 5.0  # seconds
MAX_BYTES = 1_000_000  # of one of the issuer's documents


class BadTokenError(Exception):
    """Why a token is not accepted."""


class IssuerAwayError(Exception):
    """The issuer's keys cannot be fetched, so its tokens cannot be checked."""


class Issuer:
    """The one issuer whose tokens are accepted.

    Args:
        settings: issuer, audience and the algorithms allowed.
        client: fetches its documents; must follow no redirects.
        clock: monotonic seconds.
    """

    def __init__(
        self, settings: Settings, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = -TRUSTED_FOR
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> TokenEntry:
        """Whose token it is, and what it allows.

        Raises:
            BadTokenError: wrong issuer or audience, expired, or invalid in any other way.
            IssuerAwayError: the keys cannot be fetched.
        """
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self._settings.http.oidc_algorithms:
                raise BadTokenError("its algorithm is not allowed")
            claims: dict[str, Any] = jwt.decode(
                token,
                await self._key(header.get("kid")),
                algorithms=list(self._settings.http.oidc_algorithms),
                audience=self._settings.http.oidc_audience,
                issuer=self._settings.http.oidc_issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
            subject = str(claims["sub"])
            check_person(subject)
        except (jwt.PyJWTError, UnusableValueError, ValueError, TypeError) as error:
            raise BadTokenError(str(error)) from None
        if not subject:
            raise BadTokenError("it names nobody")
        return TokenEntry(subject=subject, scopes=frozenset(_scopes(claims)))

    async def _key(self, id: object) -> jwt.PyJWK:
        if not isinstance(id, str):
            raise BadTokenError("it names no key")
        if self._is_stale(id):
            async with self._fetching:
                if self._is_stale(id):
                    await self._refresh()
        if id not in self._keys:
            raise BadTokenError("its key is not one of the issuer's")
        return self._keys[id]

    def _is_stale(self, id: str) -> bool:
        return id not in self._keys or self._clock() - self._fetched_at > REFRESH_AFTER

    async def _refresh(self) -> None:
        if self._clock() - self._tried_at >= MIN_FETCH_INTERVAL:
            self._tried_at = self._clock()
            try:
                self._keys = await self._fetch()
                self._fetched_at = self._clock()
            except (httpx.HTTPError, ValueError, KeyError, TypeError, jwt.PyJWTError):
                pass  # keep using the last known keys for a while
        if self._clock() - self._fetched_at > TRUSTED_FOR:
            self._keys = {}
        if not self._keys:
            raise IssuerAwayError("the issuer's keys cannot be fetched")

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        issuer = self._settings.http.oidc_issuer
        found = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found["issuer"] != issuer:
            raise ValueError(f"HIBERNAUT_OIDC_ISSUER: the issuer calls itself {found['issuer']!r}")
        document = await self._get(str(found["jwks_uri"]))
        keys = {}
        for each in document["keys"]:
            # Skip symmetric keys: one in a public document is no secret.
            if isinstance(each.get("kid"), str) and each.get("kty") in ("RSA", "EC", "OKP"):
                try:
                    keys[each["kid"]] = jwt.PyJWK(each)
                except jwt.PyJWTError:
                    continue  # an unsupported curve or use; tokens under it are refused
        return keys

    async def _get(self, address: str) -> dict[str, Any]:
        if not is_safe(address):
            raise ValueError(f"{address} is not https")
        async with self._client.stream("GET", address, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_BYTES:
                    raise ValueError(f"{address} is over {MAX_BYTES} bytes")
        document = httpx.Response(200, content=body).json()
        if not isinstance(document, dict):
            raise ValueError(f"{address} is not a JSON object")
        return document


def _scopes(claims: dict[str, Any]) -> list[Scope]:
    """The scopes known here, from `scope` (space-separated) or `scp` (a list, as some issuers write it)."""
    given = claims.get("scope") or claims.get("scp")
    words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    return [Scope(word) for word in words if word in list(Scope)]
