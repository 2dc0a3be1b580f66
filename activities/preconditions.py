"""Checks that an agent will find what it needs, before people are asked to approve what cannot be done."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.fetching.guard import AddressRefusedError, Resolver, check_reachable, system_resolver
from activities.rehearsal.stand_ins import rehearsed_as
from common.agents.needs import Missing, Needs, Place
from common.object_store import StoreUnavailableError, open_store
from common.settings import Settings, SettingsError
from common.settings.models import check_model


class Preconditions:
    """The activity that checks settings, addresses and folders. It never reveals a setting's value.

    Args:
        settings: this worker's settings.
        ask_broker: makes any harmless request to the broker.
        resolve: returns the addresses of a host name.
    """

    def __init__(
        self,
        settings: Settings,
        ask_broker: Callable[[], Awaitable[object]],
        resolve: Resolver = system_resolver,
    ) -> None:
        self._settings = settings
        self._ask_broker = ask_broker
        self._resolve = resolve
        self._store = open_store(settings)

    @activity.defn(name="check_preconditions")
    # A rehearsal needs nothing: stand-ins replace everything external.
    @rehearsed_as(lambda _, needs: Missing())
    async def check(self, needs: Needs) -> Missing:
        """Return what is missing from `needs`. A service that is only down does not count: calls are retried.

        Raises:
            ApplicationError, StoreUnavailableError: the broker or the object store cannot be asked just now.
        """
        reasons = [*self._unset(needs), *await self._refused(needs)]
        reasons += await asyncio.to_thread(lambda: [*self._unusable(needs)])
        if needs.broker and (reason := await self._broker_refuses()):
            reasons.append(reason)
        return Missing(reasons=tuple(reasons))

    def _unset(self, needs: Needs) -> Iterator[str]:
        settings = self._settings
        if needs.mail and settings.mail.smtp is None:
            yield "no mail can be sent: set HIBERNAUT_SMTP and HIBERNAUT_MAIL_FROM"
        if needs.answers and settings.mail.imap is None and not settings.http.outside_url:
            yield (
                "no answer to a letter can come in: set HIBERNAUT_IMAP to the mailbox for answers, or "
                "HIBERNAUT_PUBLIC_URL, so that letters have links to answer by"
            )
        if needs.search and not settings.fetching.search:
            yield "nothing searches the web: set HIBERNAUT_SEARCH, or start it with sites"
        if needs.model is not None:
            try:
                model = needs.model or settings.model
                check_model(model, settings.model, settings.language_models)
            except SettingsError as error:
                yield str(error)

    async def _refused(self, needs: Needs) -> list[str]:
        sites = [await self._why_refused(each) for each in needs.sites]
        addresses = [await self._why_refused(each) for each in needs.addresses]
        return [reason for reason in (*(sites if all(sites) else ()), *addresses) if reason]

    async def _why_refused(self, address: str) -> str:
        try:
            await check_reachable(httpx.URL(address), self._settings.fetching.allowed_hosts, self._resolve)
        except AddressRefusedError as error:
            may_be_allowed = "is not reached" in str(error)
            return f"{error}{': allow it in HIBERNAUT_ALLOWED_HOSTS' if may_be_allowed else ''}"
        except httpx.InvalidURL as error:
            return f"an address cannot be read: {error}"
        return ""

    def _unusable(self, needs: Needs) -> Iterator[str]:
        try:
            self._store.look()
        except StoreUnavailableError as error:
            if not error.refuses:
                raise
            yield f"the object store: {error}: {error.mend}"
        yield from filter(None, map(_flaw, needs.places))

    async def _broker_refuses(self) -> str:
        try:
            await self._ask_broker()
        except ApplicationError as error:
            if not error.non_retryable:
                raise
            return f"the broker: {error.message}"
        return ""


def _flaw(place: Place) -> str:
    """Why a place cannot be used; empty if it can."""
    path = Path(place.path)
    what = "folder" if place.folder else "file or folder"
    if not (path.is_dir() if place.folder else path.exists()):
        return f"{place.field}: the worker sees no {what} {place.path}: put it there"
    mode = os.R_OK | (os.W_OK if place.writes else 0) | (os.X_OK if path.is_dir() else 0)
    if not os.access(path, mode):
        return (
            f"{place.field}: the worker may not {'write in' if place.writes else 'read'} {place.path}: let it"
        )
    return ""
