"""Politeness: robots.txt, a pace for each host over all workers, and `Retry-After`."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from sqlalchemy import URL
from temporalio.exceptions import ApplicationError

from activities.fetching.claims import Claims
from activities.fetching.exchange import pause_of
from activities.fetching.slots import LEASE_SECONDS, HostSlots
from common.database import SharedDatabase
from tests.support.reader import Reader, refused
from tests.support.web import Route, WebServer


async def test_robots_txt_is_obeyed(reader: Reader, site: WebServer) -> None:
    """For the name in the User-Agent; it is fetched once a day, and what it forbids is not asked for."""
    site.routes["/robots.txt"] = Route(
        "User-agent: *\nDisallow: /\n\nUser-agent: hibernaut\nDisallow: /private\nAllow: /private/open\n",
        content_type="text/plain",
    )
    site.routes |= {"/private/x": Route("x"), "/private/open": Route("<p>open")}
    error = await refused(reader, site.url("/private/x"))
    assert (error.type, error.non_retryable) == ("RobotsForbid", True)
    await reader.page(site.url("/a"))
    await reader.page(site.url("/private/open"))
    assert site.paths() == ["/robots.txt", "/a", "/private/open"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_site_without_robots_txt_allows_all(reader: Reader, site: WebServer, status: int) -> None:
    """4xx means there are no rules."""
    site.routes["/robots.txt"] = Route(status=status)
    await reader.page(site.url("/a"))


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_site_whose_robots_txt_fails_is_not_read_now(
    reader: Reader, site: WebServer, status: int
) -> None:
    """5xx means nobody knows the rules: nothing else is asked for, and later it is tried again."""
    site.routes["/robots.txt"] = Route(status=status, times=1, then=Route("", content_type="text/plain"))
    error = await refused(reader, site.url("/a"))
    assert (error.type, error.non_retryable) == ("RobotsUnavailable", False)
    assert error.next_retry_delay == timedelta(minutes=5)
    assert site.paths() == ["/robots.txt"]
    await reader.page(site.url("/a"))


async def test_a_crawl_delay_is_a_wait_that_lives_in_temporal(reader: Reader, site: WebServer) -> None:
    """Past the first request, the activity ends with the time at which its turn will be."""
    site.routes["/robots.txt"] = Route("User-agent: *\nCrawl-delay: 400\n", content_type="text/plain")
    site.routes["/b"] = Route("<p>b")
    await reader.page(site.url("/a"))
    waits = [await refused(reader, site.url(path)) for path in ("/b", "/c", "/b")]
    assert {error.type for error in waits} == {"HostBusy"}
    seconds = [error.next_retry_delay.total_seconds() for error in waits if error.next_retry_delay]
    assert [round(each / 100) for each in seconds] == [4, 8, 4], "a place in the queue each, and it is kept"
    assert site.paths() == ["/robots.txt", "/a"]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_for_all_who_ask_that_host(
    reader: Reader, site: WebServer, other: WebServer, status: int
) -> None:
    """The wait is handed to Temporal; the host is left alone meanwhile, by everyone, and no other host is."""
    busy = Route(status=status, headers={"Retry-After": "300"})
    site.routes["/busy"] = busy
    other.routes["/x"] = Route("<p>x")
    error = await refused(reader, site.url("/busy"))
    assert (error.type, error.next_retry_delay) == ("SiteBusy", timedelta(seconds=300))
    second = await refused(reader, site.url("/a"), agent="agent-2")
    assert second.type == "HostBusy"
    assert second.next_retry_delay is not None
    assert 200 < second.next_retry_delay.total_seconds() <= 300
    assert site.paths() == ["/robots.txt", "/busy"]
    await reader.page(other.url("/x"))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("30", 30),
        ("0", 1),
        ("999999999999999999999", 86400),
        ("864000", 86400),
        ("Mon, 23 Nov 2026 12:01:30 GMT", 90),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 1),
        ("Mon, 23 Nov 2027 12:00:00 GMT", 86400),
        ("", 60),
        ("soon", 60),
        ("-5", 60),
        ("1.5", 60),
        ("²", 60),
    ],
)
def test_retry_after_is_read_in_both_forms(said: str, seconds: int) -> None:
    """Seconds or a date; never under a second or over a day; a minute where it cannot be read."""
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert pause_of({"retry-after": said}, now) == timedelta(seconds=seconds)
    assert pause_of({"retry-after": format_datetime(now + timedelta(hours=1))}, now) == timedelta(hours=1)


def test_a_host_has_one_turn_at_a_time_and_then_a_pause(
    place: Path | URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes' worth of queues on one database: never two turns at once, nor within the interval."""
    one, two = HostSlots(place), HostSlots(place)
    now = time.time()
    monkeypatch.setattr(SharedDatabase, "now", lambda *_: now)
    assert one.reserve("h", "a", 10) == 0.0
    assert two.reserve("h", "b", 10) == 10, "its interval is the least that the next one waits"
    monkeypatch.setattr(SharedDatabase, "now", lambda *_: now + 15)
    assert 0 < two.reserve("h", "b", 10) < 1, "a turn that goes on is looked at again soon"
    one._end("h", 10)
    waits = [two.reserve("h", holder, 10) for holder in ("b", "c", "d", "b", "c")]
    assert [round(wait) for wait in waits] == [10, 20, 30, 10, 20], (
        "a place in the queue each, and it is kept"
    )
    assert two.reserve("other", "b", 10) == 0.0, "hosts do not wait for each other"
    one.pause("h", 500)
    assert two.reserve("h", "e", 10) > 490


async def test_many_who_ask_one_host_keep_its_pace(place: Path | URL) -> None:
    """Twenty tasks over two stores: at least the interval between two turns, and all get theirs."""
    stores = [HostSlots(place), HostSlots(place)]
    turns: list[tuple[float, float]] = []

    async def one(number: int) -> None:
        while True:
            try:
                async with stores[number % 2].acquire("h", str(number), 0.05):
                    began = time.time()
                    await asyncio.sleep(0.01)
                    turns.append((began, time.time()))
                return
            except ApplicationError as error:
                await asyncio.sleep((error.next_retry_delay or timedelta.max).total_seconds())

    await asyncio.gather(*(one(number) for number in range(20)))
    turns.sort()
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(turns)]
    assert len(turns) == 20
    assert min(gaps) >= 0.05


async def test_a_turn_whose_holder_died_comes_free(
    place: Path | URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed worker holds its host up for the length of a request and no longer."""
    slots = HostSlots(place)
    assert slots.reserve("h", "killed", 1) == 0.0
    now = time.time()
    monkeypatch.setattr(SharedDatabase, "now", lambda *_: now + 91)
    assert slots.reserve("h", "next", 1) == 0.0


@pytest.mark.parametrize("days", [-4, 4])
def test_a_clock_that_is_off_by_days_holds_nobody_up_for_days(
    days: int, place: Path | URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of two workers it is whose clock is wrong, and whatever it has booked or held."""
    slots = HostSlots(place)
    now = time.time()
    assert slots.reserve("h", "one", 10) == 0.0
    assert slots.reserve("h", "two", 10) > 0
    slots.pause("h", 60)
    monkeypatch.setattr(SharedDatabase, "now", lambda *_: now + days * 86_400)
    assert slots.reserve("h", "off", 10) < 100
    slots._end("h", 10)
    monkeypatch.undo()
    assert slots.reserve("h", "two", 10) < 100


async def test_an_address_is_fetched_by_one_worker_at_a_time(
    place: Path | URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each agent; a claim ends with its fetch, and that of a killed worker by itself."""
    one, two = Claims(place), Claims(place)
    async with one.claim("agent", "https://a.example"):
        with pytest.raises(ApplicationError, match="is being fetched"):
            async with two.claim("agent", "https://a.example"):
                pass
        async with two.claim("other", "https://a.example"), two.claim("agent", "https://b.example"):
            pass
    async with two.claim("agent", "https://a.example"):
        now = time.time()
        monkeypatch.setattr(SharedDatabase, "now", lambda *_: now + LEASE_SECONDS + 1)
        async with one.claim("agent", "https://a.example"):
            with pytest.raises(ApplicationError, match="is being fetched"):
                async with two.claim("agent", "https://a.example"):
                    pass
