"""One look at a time over whole watches: when the market is looked at, what is noticed, what is refused."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.market import look
from activities.market.hours import Hours
from activities.quotes.quotes import Fault, checked_quote, quote_error
from common.agents.market import Seen
from common.quotes import Quote
from tests.support.market.drive import PriceSource, WatchDriver, prices, quote, utc

WEDNESDAY = utc("2026-11-25T14:00")  # the day before Thanksgiving, half an hour before New York opens
QUARTER = timedelta(minutes=15)


def walk(seed: int = 5) -> PriceSource:
    """Prices that walk at random, a new one at each look."""
    chance, price = random.Random(seed), 5000.0

    def says(now: datetime) -> Quote:
        nonlocal price
        price *= math.exp(chance.gauss(0, 0.002))
        return quote(f"{price:.2f}", now)

    return says


def steadily(now: datetime) -> Quote:
    """A little more with every minute."""
    return quote(round(5000 + (now - WEDNESDAY).total_seconds() / 6000, 2), now)


async def test_over_thanksgiving_it_looks_by_the_quarter_hour_and_only_while_the_market_is_open(
    tmp_path: Path,
) -> None:
    """A whole session, none on the holiday, three and a half hours on the half day, none at weekends."""
    watching = WatchDriver(tmp_path, walk(), start=WEDNESDAY)
    await watching.to_the_end()
    days = Counter(f"{at:%a %d}" for at in watching.asked)
    assert days == {"Wed 25": 27, "Fri 27": 15, "Mon 30": 27, "Tue 01": 27}
    assert {at.minute % 15 for at in watching.asked} == {0}
    assert [at.strftime("%H:%M") for at in watching.asked if at.day == 27][::14] == ["14:30", "18:00"]
    last, looked = watching.looks[-1]
    assert (last, looked.ends_at) == (utc("2026-12-01T21:00"), utc("2026-12-01T21:00"))
    # Asleep, it asks the calendar once a day.
    assert max(looked.next_at - at for at, looked in watching.looks if looked.next_at) <= timedelta(days=1)
    assert [point.first for point in watching.points if point.first] == [True] * 4


async def test_a_lunch_break_is_slept_over(tmp_path: Path) -> None:
    """Tokyo, a Tuesday: the morning's last look is at 11:30, the next one at 12:30."""
    start = utc("2026-11-23T23:00")
    watching = WatchDriver(tmp_path, walk(), start=start, lasts=timedelta(days=1), calendar="XTKS")
    await watching.to_the_end()
    at_noon = [f"{at:%H:%M}" for at in watching.asked if 2 <= at.hour <= 3]
    assert at_noon == ["02:00", "02:15", "02:30", "03:30", "03:45"]
    assert sum(point.first for point in watching.points) == 1


async def test_a_session_that_is_cancelled_while_it_sleeps_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calendar learns of a closure overnight; the schedule is asked again before the opening."""
    watching = WatchDriver(tmp_path, walk(), start=WEDNESDAY)
    await watching.until(utc("2026-11-25T21:00"))
    real = look.hours

    def corrected(name: str, start: datetime, end: datetime) -> Hours:
        market = real(name, start, end)
        left = tuple(each for each in market.periods if f"{each.session}" != "2026-11-30")
        return Hours(market.name, market.zone, market.known_until, left)

    monkeypatch.setattr(look, "hours", corrected)
    await watching.to_the_end()
    assert {f"{at:%d}" for at in watching.asked} == {"25", "27", "01"}


async def test_an_unannounced_closure_is_stale_data_and_no_fall(tmp_path: Path) -> None:
    """The calendar says open, the source says yesterday's close: told once, and no price is made of it."""

    def says(now: datetime) -> Quote:
        return steadily(min(now, utc("2026-11-25T21:00")) if now < utc("2026-11-30T12:00") else now)

    rules = ("stale 1h alert", "fall 1% in 1d alert", "missing 1h alert")
    watching = WatchDriver(tmp_path, says, start=WEDNESDAY, rules=rules)
    await watching.to_the_end()
    [stale] = watching.crossings
    assert stale.at == utc("2026-11-27T15:30")
    assert "the same price for 1h of open market, as of 2026-11-25 21:00 UTC" in stale.words
    assert "the market may be closed unannounced" in stale.words
    seen = [point.seen for point in watching.points if f"{point.at:%d}" == "27"]
    assert set(seen) == {Seen.SAME}


async def test_a_level_is_told_once_per_crossing_and_again_once_it_was_left(tmp_path: Path) -> None:
    """Around the level it keeps silent; a quarter of a percent away from it the rule is armed again."""
    table = {
        "2026-11-25T14:30": 4990,
        "2026-11-25T15:00": 5001,
        "2026-11-25T15:15": 4999,
        "2026-11-25T15:30": 5002,
        "2026-11-25T16:00": 4980,
        "2026-11-25T16:30": 5003,
    }
    watching = WatchDriver(
        tmp_path, prices(table), start=WEDNESDAY, rules=("above 5000 ask", "below 6000 alert")
    )
    await watching.until(utc("2026-11-25T18:00"))
    first, *above = watching.crossings
    assert (first.rule, first.then) == ("below 6000", "note")
    assert "from the first look on" in first.words
    assert [(each.at.strftime("%H:%M"), each.then) for each in above] == [("15:00", "ask"), ("16:30", "ask")]
    assert above[0].words == "above 5000: it stands at 5,001"


async def test_changes_gaps_and_volatility_are_noticed(tmp_path: Path) -> None:
    """A fall against an hour ago, an opening far from the last close, a market that has become restless."""

    def says(now: datetime) -> Quote:
        price = 5000 - 2 * math.floor((now - WEDNESDAY) / QUARTER) % 2
        if now >= utc("2026-11-25T16:00"):
            price -= 60
        if now >= utc("2026-11-27T14:00"):
            price -= 100
        if now >= utc("2026-11-30T16:00"):
            price += 40 * (math.floor((now - WEDNESDAY) / QUARTER) % 2)
        return quote(price, now)

    rules = ("fall 1% in 1h", "gap 1.5%", "volatility 20% over 10", "rise 5% in 1d")
    watching = WatchDriver(tmp_path, says, start=WEDNESDAY, rules=rules)
    await watching.to_the_end()
    told = [(f"{each.at:%d %H:%M}", each.rule) for each in watching.crossings]
    assert told[0] == ("25 16:00", "fall 1% in 1h")
    assert ("27 14:30", "gap 1.5%") in told
    assert "opens at 4,840 after 4,9" in next(each.words for each in watching.crossings if "gap" in each.rule)
    assert [at for at, rule in told if "volatility" in rule][-1].startswith("30 1")
    assert not [rule for _, rule in told if "rise" in rule]


async def test_a_source_that_is_away_is_asked_again_soon_and_told_of_once(tmp_path: Path) -> None:
    """After one minute, then two, four, eight; each look in vain is kept, and the agent goes on."""
    start, end = utc("2026-11-25T15:01"), utc("2026-11-25T16:40")

    def says(now: datetime) -> Quote | Exception:
        away = start <= now < end
        return quote_error(Fault.UNREACHABLE, "the exchange does not answer") if away else quote(5000, now)

    watching = WatchDriver(tmp_path, says, start=WEDNESDAY, rules=("missing 1h alert",))
    await watching.until(utc("2026-11-25T18:00"))
    away = [at for at in watching.asked if start <= at < end]
    pauses = [round((b - a) / timedelta(minutes=1)) for a, b in itertools.pairwise(away)]
    assert pauses[:4] == [1, 2, 4, 8]
    [missing] = watching.crossings
    assert "no price for 1h" in missing.words
    assert "the exchange does not answer" in missing.words
    said = [note for note in watching.notes if "price" in note]
    assert said == [
        "no price: the exchange does not answer",
        f"a price again, after {len(away)} looks without",
    ]
    assert Counter(point.seen for point in watching.points)[Seen.MISSING] == len(away)


async def test_a_close_that_cannot_be_had_is_asked_for_five_times(tmp_path: Path) -> None:
    """Then the night is slept through, and a watch that ends with it ends all the same."""
    fault = quote_error(Fault.UNREACHABLE, "the exchange does not answer")
    gone = utc("2026-11-25T20:50")
    watching = WatchDriver(
        tmp_path,
        lambda now: quote(5000, now) if now < gone else fault,
        start=WEDNESDAY,
        lasts=timedelta(hours=10),
    )
    await watching.to_the_end()
    tries = [f"{at:%H:%M}" for at in watching.asked if at >= gone]
    assert tries == ["21:00", "21:01", "21:03", "21:07", "21:15"]
    assert watching.looks[-1][0] < utc("2026-11-25T22:00")
    assert watching.series.open == 6.5 * 3600
    assert {point.at for point in watching.points[-5:]} == {utc("2026-11-25T21:00")}


async def test_a_price_that_the_settings_call_too_old_is_nothing_new(tmp_path: Path) -> None:
    """It is an answer, so nothing is missing; the rule for stale prices speaks."""
    old = quote_error(Fault.STALE, "the newest price of SPX is of 2026-11-24 21:00")
    rules = ("missing 30m alert", "stale 30m alert")
    watching = WatchDriver(tmp_path, lambda now: old, start=WEDNESDAY, rules=rules)
    await watching.until(utc("2026-11-25T16:00"))
    assert {point.seen for point in watching.points} == {Seen.SAME}
    [crossing] = watching.crossings
    assert crossing.rule == "stale 30m"


async def test_a_source_says_when_to_come_back(tmp_path: Path) -> None:
    """As long as that, and not sooner."""
    delay = timedelta(minutes=40)
    fault = quote_error(Fault.TOO_MANY, "the exchange answers 429", delay)
    watching = WatchDriver(tmp_path, lambda now: fault, start=WEDNESDAY)
    watching.at = utc("2026-11-25T15:00")
    looked = await watching.look()
    assert looked.next_at == utc("2026-11-25T15:40")


@pytest.mark.parametrize("price", ["NaN", "-1", "0", "inf", "1e999999", "", None, True, 5.5])
async def test_what_is_no_price_never_enters_the_series(tmp_path: Path, price: object) -> None:
    """It is refused or missing, with its reason, and the watch goes on."""

    def says(now: datetime) -> Quote | Exception:
        try:
            return checked_quote("SPX", price, now, "test") if now.minute == 45 else quote(5000, now)
        except ApplicationError as error:
            return error

    watching = WatchDriver(
        tmp_path, says, start=WEDNESDAY, rules=("fall 1% in 1d alert", "rise 1% in 1d alert")
    )
    await watching.until(utc("2026-11-25T16:00"))
    bad = [point for point in watching.points if point.at.minute == 45]
    assert bad
    assert all(point.seen in (Seen.REFUSED, Seen.MISSING) and point.price is None for point in bad)
    assert all("test" in point.why for point in bad)
    assert watching.crossings == []


async def test_prices_out_of_order_and_twice_are_told_apart(tmp_path: Path) -> None:
    """An older price is refused, the same one is nothing new, a corrected one of the same time is a price."""
    said = iter(
        [
            quote(5000, utc("2026-11-25T14:30")),
            quote(5000, utc("2026-11-25T14:30")),
            quote(4000, utc("2026-11-25T14:20")),
            quote(5001, utc("2026-11-25T14:30")),
        ]
    )
    watching = WatchDriver(tmp_path, lambda now: next(said), start=utc("2026-11-25T14:30"))
    for _ in range(4):
        await watching.look()
    assert [point.seen for point in watching.points] == [Seen.PRICE, Seen.SAME, Seen.REFUSED, Seen.PRICE]
    assert any("out of order" in note for note in watching.notes)


async def test_a_price_of_a_worker_whose_clock_is_ahead_by_days_keeps_none_of_the_next_out(
    tmp_path: Path,
) -> None:
    """It is refused, whatever the worker itself thinks of its time."""

    def says(now: datetime) -> Quote:
        return quote(5000 + now.minute, now + timedelta(days=3) * (now.minute == 45))

    watching = WatchDriver(tmp_path, says, start=WEDNESDAY)
    await watching.until(utc("2026-11-25T16:00"))
    assert {point.seen for point in watching.points if point.at.minute == 45} == {Seen.REFUSED}
    assert {point.seen for point in watching.points if point.at.minute != 45} == {Seen.PRICE}
    assert any("in the future" in note for note in watching.notes)


async def test_a_split_is_borne_out_by_the_next_price_and_is_no_fall(tmp_path: Path) -> None:
    """Half the price: held back once, then taken; earlier prices count on the new scale."""

    def says(now: datetime) -> Quote:
        return quote(5000 if now < utc("2026-11-25T15:15") else 2500 + now.minute / 10, now)

    watching = WatchDriver(
        tmp_path, says, start=WEDNESDAY, rules=("fall 5% in 1d alert", "change 5% in 1h alert")
    )
    await watching.until(utc("2026-11-25T17:00"))
    held, taken = [point for point in watching.points if point.at.hour == 15][1:3]
    assert (held.seen, taken.seen, taken.anew) == (Seen.REFUSED, Seen.PRICE, True)
    assert "until the next look bears it out" in held.why
    assert any("a jump as of a split" in note for note in watching.notes)
    assert watching.crossings == []


async def test_a_slip_of_the_source_is_left_out(tmp_path: Path) -> None:
    """One price of another world, however often the source repeats that very one, moves nothing."""
    slip = quote(50, utc("2026-11-25T15:15"))

    def says(now: datetime) -> Quote:
        return slip if utc("2026-11-25T15:15") <= now < utc("2026-11-25T16:00") else quote(5000, now)

    watching = WatchDriver(tmp_path, says, start=WEDNESDAY, rules=("below 4000 alert", "fall 5% in 1d alert"))
    await watching.until(utc("2026-11-25T17:00"))
    assert watching.crossings == []
    assert {point.price for point in watching.points if point.seen is Seen.PRICE} == {5000}
    assert "the price that was held back was a slip: it is left out" in watching.notes


async def test_the_close_is_looked_at_though_the_worker_was_away_for_it(tmp_path: Path) -> None:
    """Up to the next opening the source tells the last price of the session."""
    watching = WatchDriver(
        tmp_path, prices({"2026-11-25T14:30": 5000, "2026-11-25T20:59": 5010}), start=WEDNESDAY
    )
    await watching.until(utc("2026-11-25T20:00"))
    watching.at = utc("2026-11-26T03:00")
    looked = await watching.look()
    assert looked.next_at == utc("2026-11-27T03:00")
    [*_, close] = watching.points
    assert (close.at, close.price) == (utc("2026-11-25T21:00"), 5010)


async def test_a_look_that_is_repeated_comes_to_the_same(tmp_path: Path) -> None:
    """An activity may run twice: the same argument and the same price make the same series."""
    watching = WatchDriver(tmp_path, steadily, start=WEDNESDAY, rules=("above 5000 alert",))
    await watching.until(utc("2026-11-27T16:00"))
    assert watching.at is not None
    request = watching.request.model_copy(update={"at": watching.at})
    once = await ActivityEnvironment().run(watching.activity.look, request)
    assert await ActivityEnvironment().run(watching.activity.look, request) == once
    stored = len([each for each in (tmp_path / "artifacts").rglob("*") if each.is_file() and not each.suffix])
    assert stored <= 3


async def test_an_index_that_the_source_does_not_know_ends_the_watch_at_once(tmp_path: Path) -> None:
    """Later on the same fault is but a price that is missing: the week's prices are not thrown away."""
    fault = quote_error(Fault.UNKNOWN_SYMBOL, "the exchange has no SPX")
    watching = WatchDriver(tmp_path, lambda now: fault, start=utc("2026-11-25T15:00"))
    with pytest.raises(ApplicationError, match="has no SPX"):
        await watching.look()
    later = WatchDriver(tmp_path, lambda now: fault if now.hour > 15 else quote(1, now), start=WEDNESDAY)
    await later.until(utc("2026-11-25T16:30"))
    assert later.points[-1].why == "the exchange has no SPX"


async def test_a_watch_beyond_the_known_sessions_sleeps_until_they_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calendar ends with the year: the watch asks once a day whether there is more by then."""
    real, bound = look.hours, utc("2027-01-01T00:00")

    def up_to_the_bound(name: str, start: datetime, end: datetime) -> Hours:
        market = real(name, start, end)
        return Hours(name, market.zone, bound, tuple(each for each in market.periods if each.closes < bound))

    monkeypatch.setattr(look, "hours", up_to_the_bound)
    start, lasts = utc("2026-12-30T00:00"), timedelta(days=21)
    watching = WatchDriver(tmp_path, walk(), start=start, lasts=lasts, every=timedelta(hours=1))
    await watching.to_the_end()
    assert {f"{at:%F}" for at in watching.asked} == {"2026-12-30", "2026-12-31"}
    assert watching.looks[0][1].ends_at is None
    beyond = [at for at, _ in watching.looks if at > bound]
    assert len(beyond) == 20
    assert beyond[-1] >= start + lasts


async def test_a_long_watch_carries_no_more_than_a_short_one(tmp_path: Path) -> None:
    """Prices lie in the store, in pieces that name each other; all are found again, in order."""
    rules = ("above 5000", "volatility 30% over 20", "change 2% in 1d", "stale 1h")
    watching = WatchDriver(tmp_path, walk(), start=WEDNESDAY, lasts=timedelta(days=40), rules=rules)
    watching.request = watching.request.model_copy(update={"every": timedelta(hours=1)})
    largest = 0
    while watching.at is not None:
        looked = await watching.look()
        largest = max(largest, len(looked.series.model_dump_json()))
    points = watching.points
    assert len(points) == watching.series.points == len(watching.asked) > 150
    assert [point.at for point in points] == sorted(watching.asked)
    assert largest < 8_000
