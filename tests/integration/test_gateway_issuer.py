"""An issuer's tokens: keys fetched politely, rotated, and missed; against a real issuer on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from common.client.tokens import Scope
from common.settings import Settings
from gateway.auth.oidc import (
    MIN_FETCH_INTERVAL,
    REFRESH_AFTER,
    TRUSTED_FOR,
    BadTokenError,
    Issuer,
    IssuerAwayError,
)
from tests.support.gateway.issuer import LocalIssuer


class Judge:
    """An issuer's judge with a clock of its own."""

    def __init__(self, local: LocalIssuer, http: httpx.AsyncClient) -> None:
        self.now = 1_000_000.0
        settings = Settings.read({"HIBERNAUT_OIDC_ISSUER": local.name})
        self.issuer = Issuer(settings, http, lambda: self.now)

    async def refuses(self, token: str) -> bool:
        try:
            await self.issuer.verify(token)
        except BadTokenError:
            return True
        return False


@pytest.fixture
async def local() -> AsyncIterator[LocalIssuer]:
    async with LocalIssuer() as issuer:
        yield issuer


@pytest.fixture
async def judge(local: LocalIssuer) -> AsyncIterator[Judge]:
    async with httpx.AsyncClient() as http:
        yield Judge(local, http)


async def test_a_good_token_names_a_subject_and_known_scopes(local: LocalIssuer, judge: Judge) -> None:
    """From `scope` or from `scp`; scopes that mean nothing here are left out."""
    entry = await judge.issuer.verify(local.token("ann", "agents:read openid"))
    assert (entry.subject, entry.scopes) == ("ann", {Scope.READ})
    listed = await judge.issuer.verify(local.token("ann", "", scp=["operator", "openid", 7]))
    assert listed.scopes == {Scope.OPERATOR}


async def test_keys_are_fetched_once_and_again_when_they_are_old(local: LocalIssuer, judge: Judge) -> None:
    """A hundred tokens take one look; ten minutes later it takes another."""
    for _ in range(100):
        await judge.issuer.verify(local.token("ann", ""))
    assert local.asked == 1
    judge.now += REFRESH_AFTER + 1
    await judge.issuer.verify(local.token("ann", ""))
    assert local.asked == 2


async def test_a_rotated_key_is_found_and_the_old_one_is_gone(local: LocalIssuer, judge: Judge) -> None:
    """A token under a new key has the keys fetched, politely: unknown keys cannot make us ask on and on."""
    old = local.token("ann", "")
    await judge.issuer.verify(old)
    local.rotate("key-2")
    new = local.token("ann", "")
    assert await judge.refuses(new)  # a moment after the last look nobody is asked again
    judge.now += MIN_FETCH_INTERVAL
    await judge.issuer.verify(new)
    assert await judge.refuses(old)
    asked = local.asked
    for number in range(50):
        assert await judge.refuses(local.token("ann", "", kid=f"made-up-{number}"))
    assert local.asked == asked


async def test_the_last_known_keys_outlast_an_outage_of_the_issuer(local: LocalIssuer, judge: Judge) -> None:
    """For a day; then no token can be judged, which is said as that and not as a bad token."""
    token = local.token("ann", "")
    await judge.issuer.verify(token)
    local.down = True
    judge.now += REFRESH_AFTER + 1
    assert (await judge.issuer.verify(token)).subject == "ann"
    judge.now += TRUSTED_FOR
    with pytest.raises(IssuerAwayError):
        await judge.issuer.verify(token)


async def test_an_issuer_that_calls_itself_otherwise_is_not_the_one(local: LocalIssuer) -> None:
    """Its keys are not taken."""
    async with httpx.AsyncClient() as http:
        other = Settings.read({"HIBERNAUT_OIDC_ISSUER": local.name + "/"})
        with pytest.raises(IssuerAwayError):
            await Issuer(other, http).verify(local.token("ann", ""))


async def test_a_symmetric_key_among_the_issuers_is_none(local: LocalIssuer, judge: Judge) -> None:
    """Its document is public, and so would be the secret."""
    assert await judge.refuses(local.token("ann", "", kid="shared"))
