"""Fetches an address politely: robots.txt, the host's rate, redirects, conditional requests."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin

import httpx
from temporalio.exceptions import ApplicationError

from activities.documents.extract import charset_of
from activities.fetching.addresses import host_of, normalise, origin_of
from activities.fetching.claims import Claims
from activities.fetching.exchange import HttpAnswer, exchange, pause_of
from activities.fetching.pages import Download, PageStore
from activities.fetching.robots import MAX_BYTES as ROBOTS_BYTES
from activities.fetching.robots import Robots, RobotsStore
from activities.fetching.slots import HostSlots
from common.artifacts import ArtifactStore
from common.errors import permanent, retry_after

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
# Retry delay for a robots.txt; until it can be fetched, nothing else is fetched from the site.
ROBOTS_PAUSE = timedelta(minutes=5)


class Fetcher:
    """Downloads for agents, each address once per agent.

    Args:
        client: from `activities.fetching.guard.guarded_client`.
        artifacts: stores the bodies.
        pages: records what was fetched.
        slots: the hosts' queues, shared by all workers.
        claims: the leases on fetches, shared by all workers.
        folder: caches each site's robots.txt; shared by all workers on this machine.
        user_agent: the User-Agent header.
        rate: maximum requests per second to a host.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        artifacts: ArtifactStore,
        pages: PageStore,
        slots: HostSlots,
        claims: Claims,
        folder: Path,
        user_agent: str,
        rate: float,
    ) -> None:
        self._client = client
        self._artifacts = artifacts
        self._robots = RobotsStore(folder / "robots", user_agent)
        self._slots, self._claims = slots, claims
        self._interval = 1.0 / rate
        self.pages = pages

    async def download(
        self, agent: str, url: str, wanted: Collection[str], max_bytes: int, *, fresh: bool = False
    ) -> tuple[Download, bool]:
        """What this agent fetched before, else the page as it is now; and whether the site said "unchanged".

        Args:
            agent: workflow id.
            url: absolute.
            wanted: media types.
            max_bytes: limit for the body.
            fresh: ask the site again, conditionally (ETag, Last-Modified).

        Raises:
            ApplicationError: permanent: `AddressRefused`, `RobotsForbid`, `PageMissing`, `PageForbidden`,
                `PageRefused`, `PageTooLarge`, `MediaTypeRefused`, `TooManyRedirects`. Retryable: `HostBusy`,
                `SiteBusy`, `BeingFetched`, `RobotsUnavailable`, `SiteFailing`, `SiteTimeout`,
                `SiteUnreachable`.
        """
        try:
            url = normalise(url)
        except ValueError as error:
            raise permanent("AddressRefused", str(error)) from None
        known = await asyncio.to_thread(self.pages.find, agent, url)
        if known and not fresh:
            return known, False
        async with self._claims.claim(agent, url):
            known = await asyncio.to_thread(self.pages.find, agent, url)
            if known and not fresh:
                return known, False
            answer = await self._follow(agent, url, known, wanted, max_bytes)
            now = datetime.now(UTC)
            unchanged = answer.status == 304 and known is not None and answer.url == known.final_url
            if known and unchanged:
                kept = known.model_copy(update={"fetched_at": now})
            else:
                _check(answer, wanted, max_bytes)
                kept = Download(
                    url=url,
                    final_url=answer.url,
                    status=answer.status,
                    media_type=answer.media_type,
                    charset=charset_of(answer.headers.get("content-type", "")),
                    raw=await asyncio.to_thread(self._artifacts.put, answer.body),
                    etag=answer.headers.get("etag", "")[:500],
                    last_modified=answer.headers.get("last-modified", "")[:100],
                    fetched_at=now,
                )
            await asyncio.to_thread(self.pages.keep, agent, kept)
            return kept, unchanged

    async def rules(self, agent: str, url: str) -> Robots:
        """The robots.txt of the site of `url`; 4xx means no rules, 5xx means try later.

        Raises:
            ApplicationError: as `download`.
        """
        found = self._robots.find(url)
        if found:
            return found
        async with self._claims.claim("robots", origin_of(url)):
            found = self._robots.find(url)
            if found:
                return found
            target = f"{origin_of(url)}/robots.txt"
            for _ in range(MAX_REDIRECTS + 1):
                answer = await self._ask(agent, target, self._interval, ROBOTS_BYTES)
                to = _target(answer)
                if to is None:
                    break
                target = to
            if answer.status >= 500:
                raise retry_after("RobotsUnavailable", f"{target}: status {answer.status}", ROBOTS_PAUSE)
            return self._robots.keep(url, answer.body if 200 <= answer.status < 300 else b"")

    async def _follow(
        self, agent: str, url: str, known: Download | None, wanted: Collection[str], max_bytes: int
    ) -> HttpAnswer:
        """Follow redirects here, because each hop has its own host, rules and rate limit."""
        for _ in range(MAX_REDIRECTS + 1):
            robots = await self.rules(agent, url)
            if not robots.allow(url):
                raise permanent("RobotsForbid", f"{url}: the site's robots.txt forbids fetching it")
            headers = _conditions(known) if known and known.final_url == url else {}
            interval = robots.interval(self._interval)
            answer = await self._ask(agent, url, interval, max_bytes, wanted, headers)
            to = _target(answer)
            if to is None:
                return answer
            url = to
        raise permanent("TooManyRedirects", f"{url}: more than {MAX_REDIRECTS} redirects")

    async def _ask(
        self,
        agent: str,
        url: str,
        interval: float,
        max_bytes: int,
        wanted: Collection[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        host = host_of(url)
        async with self._slots.acquire(host, f"{agent} {url}", interval):
            answer = await exchange(self._client, url, max_bytes=max_bytes, wanted=wanted, headers=headers)
            if answer.status == 429 or (answer.status == 503 and "retry-after" in answer.headers):
                pause = pause_of(answer.headers)
                # Holds back all agents: the site would tell them the same.
                await asyncio.to_thread(self._slots.pause, host, pause.total_seconds())
                raise retry_after("SiteBusy", f"{host} asks to come back in {pause}", pause)
        return answer


def _conditions(known: Download) -> dict[str, str]:
    found = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in found.items() if value}


def _target(answer: HttpAnswer) -> str | None:
    """The target of a redirect; None for any other answer."""
    to = answer.headers.get("location")
    if answer.status not in REDIRECTS or not to:
        return None
    try:
        return normalise(urljoin(answer.url, to))
    except ValueError:
        raise permanent("AddressRefused", f"{answer.url} redirects to {to[:200]!r}") from None


def _check(answer: HttpAnswer, wanted: Collection[str], max_bytes: int) -> None:
    """Raise the matching error if the answer has no usable page."""
    status, what = answer.status, f"{answer.url}: status {answer.status}"
    if status in (408, 425) or status >= 500:
        raise ApplicationError(what, type="SiteFailing")
    if status in (404, 410):
        raise permanent("PageMissing", what)
    if status in (401, 403, 407, 451):
        raise permanent("PageForbidden", what)
    if not 200 <= status < 300:
        raise permanent("PageRefused", what)
    if answer.media_type not in wanted:
        raise permanent("MediaTypeRefused", f"{answer.url}: {answer.media_type[:80]} is not read")
    if answer.cut:
        raise permanent("PageTooLarge", f"{answer.url}: more than {max_bytes} bytes")
