"""Quotes: replayed from a file, asked over HTTP, from Alpaca's market data."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import URL
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.fetching.guard import guarded_client
from activities.quotes.alpaca_feed import AlpacaFeed
from activities.quotes.choose import price_feed
from activities.quotes.csv_feed import CsvFeed, seek_replay
from activities.quotes.http_feed import HttpFeed
from activities.quotes.quotes import Fault, QuoteFeed, QuoteRequest, Quotes
from activities.quotes.twelve_data import TwelveDataFeed
from activities.trading.choose import broker
from activities.trading.paper import PaperBroker
from common.agents.buyer import Quote
from common.allowed_hosts import AllowedHosts
from common.settings import Settings, SettingsError
from tests.support.trading.alpaca_server import KEY, SECRET, AlpacaServer, Answer
from tests.support.trading.real_prices import real_closes
from tests.support.web import Route, WebServer, as_json

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def csv_feed(tmp_path: Path, text: str, *, at: str = "2020-01-02", **options: Any) -> CsvFeed:
    file = tmp_path / "prices.csv"
    file.write_text(text)
    seek_replay(tmp_path / "replay", day(at), NOW)
    return CsvFeed(file, tmp_path / "replay", **{"speed": 0, "clock": Clock(), **options})


async def fault_of(feed: QuoteFeed, symbol: str = "AAA") -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await feed.quote(symbol)
    return caught.value


async def test_real_closes_are_replayed_to_the_cent(tmp_path: Path) -> None:
    """BAC closed at 9.231 on 2008-11-21 and at 11.741 on the next session."""
    state = tmp_path / "replay"
    feed = CsvFeed(real_closes(), state, speed=0, clock=Clock())
    seen = []
    for moment in ("2008-11-21", "2008-11-23", "2008-11-24"):
        seek_replay(state, day(moment), NOW)
        seen.append(await ActivityEnvironment().run(Quotes(feed).quote, QuoteRequest(symbol="BAC")))
    assert [quote.price for quote in seen] == [Decimal("9.231"), Decimal("9.231"), Decimal("11.741")]
    assert [quote.at for quote in seen] == [day("2008-11-21"), day("2008-11-21"), day("2008-11-24")]


async def test_the_replay_goes_on_at_its_speed_and_a_restart_does_not_rewind_it(place: Path | URL) -> None:
    """At ten days a day, half a real day later the replay is five days on, in a new process too."""
    clock = Clock()
    first = CsvFeed(real_closes(), place, speed=10, clock=clock)
    assert (await first.quote("BAC")).at == day("1990-01-02")  # the file's first day
    clock.now += timedelta(hours=12)
    assert (await first.quote("BAC")).at == day("1990-01-05")  # 1990-01-07 is a Sunday
    again = CsvFeed(real_closes(), place, speed=10, clock=clock)
    clock.now += timedelta(hours=12)
    assert (await again.quote("BAC")).at == day("1990-01-12")
    assert first.now() == again.now()


async def test_ticks_of_several_symbols_are_kept_apart(tmp_path: Path) -> None:
    """The last tick of the symbol at or before the moment counts, whatever order the file has."""
    ticks = (
        "time,symbol,price\n2020-01-01T10:00,AAA,3\n2020-01-01T12:00+00:00,BBB,9\n2020-01-01T09:00,AAA,2\n"
    )
    feed = csv_feed(tmp_path, ticks, at="2020-01-01T11:00")
    assert (await feed.quote("AAA")).price == 3
    assert (await fault_of(feed, "BBB")).type == Fault.MISSING


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("", Fault.MISSING),
        ("0", Fault.BAD_PRICE),
        ("-1.5", Fault.BAD_PRICE),
        ("nan", Fault.BAD_PRICE),
        ("Infinity", Fault.BAD_PRICE),
        ("1e999999999", Fault.BAD_PRICE),
        ("ten", Fault.BAD_PRICE),
        ("0.00000000001", Fault.BAD_PRICE),
    ],
)
async def test_what_is_no_price_is_an_error_that_is_tried_again(
    tmp_path: Path, cell: str, fault: Fault
) -> None:
    """A gap or a glitch in the data may be gone with the next row; the row before never stands in for it."""
    error = await fault_of(csv_feed(tmp_path, f"Date,AAA\n2020-01-01,5\n2020-01-02,{cell}\n"))
    assert (error.type, error.non_retryable) == (fault, False)


async def test_an_old_price_is_stale_in_replayed_time(tmp_path: Path) -> None:
    """A feed that stopped does not pass for one that stands."""
    text = "Date,AAA\n2020-01-01,5\n"
    fresh = csv_feed(tmp_path, text, at="2020-01-03", stale_after=timedelta(days=2))
    assert (await fresh.quote("AAA")).price == 5
    stale = csv_feed(tmp_path, text, at="2020-01-03T00:01", stale_after=timedelta(days=2))
    error = await fault_of(stale)
    assert (error.type, error.non_retryable) == (Fault.STALE, False)


async def test_an_unknown_symbol_is_permanent(tmp_path: Path) -> None:
    """Waiting brings no new column."""
    error = await fault_of(csv_feed(tmp_path, "Date,AAA\n2020-01-01,5\n"), "ZZZ")
    assert (error.type, error.non_retryable) == (Fault.UNKNOWN_SYMBOL, True)


@pytest.mark.parametrize(
    "text",
    ["", "Date,AAA\n", "Date,AAA\nsoon,5\n", "Date,AAA\n2020-01-01\n", "\xff", "D,A\n" + "9" * 200_000],
)
async def test_a_file_that_is_no_table_of_prices_says_so(tmp_path: Path, text: str) -> None:
    """The message names the file."""
    feed = csv_feed(tmp_path, text)
    (tmp_path / "prices.csv").write_bytes(text.encode("latin-1"))
    error = await fault_of(feed)
    assert error.type == Fault.UNREADABLE
    assert "prices.csv" in error.message


async def test_a_damaged_gzip_file_says_so(tmp_path: Path) -> None:
    """Half a download is no empty table."""
    whole = gzip.compress(b"Date,AAA\n2020-01-01,5\n" * 100)
    (tmp_path / "prices.csv.gz").write_bytes(whole[: len(whole) // 2])
    feed = CsvFeed(tmp_path / "prices.csv.gz", tmp_path / "replay", speed=0, clock=Clock())
    assert (await fault_of(feed)).type == Fault.UNREADABLE


async def test_a_file_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """The agent shows as stuck with the path in its message, and goes on once the file is there."""
    feed = CsvFeed(tmp_path / "prices.csv", tmp_path / "replay", speed=0, clock=Clock())
    error = await fault_of(feed)
    assert (error.type, error.non_retryable) == (Fault.UNREADABLE, False)
    assert "prices.csv" in error.message
    (tmp_path / "prices.csv").write_text("Date,AAA\n2020-01-01,5\n")
    assert (await feed.quote("AAA")).price == 5


async def test_without_settings_prices_are_the_sample_and_orders_go_to_paper(tmp_path: Path) -> None:
    """Everything runs with no key, no account and no network."""
    trading = Settings.read({}).trading
    feed = price_feed(trading, tmp_path / "quotes.db", lambda: NOW)
    quote = await feed.quote("BAC")
    assert (quote.price, quote.source) == (Decimal("19.0"), "sample_closes.csv")
    assert isinstance(broker(trading, tmp_path / "paper.db", feed, lambda: NOW), PaperBroker)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"HIBERNAUT_QUOTES": "alpaca"}, "HIBERNAUT_ALPACA_KEY is not set"),
        ({"HIBERNAUT_BROKER": "alpaca-live", "HIBERNAUT_ALPACA_KEY": "k"}, "HIBERNAUT_ALPACA_SECRET is not"),
        ({"HIBERNAUT_BROKER": "somebody"}, "HIBERNAUT_BROKER=somebody: say paper, alpaca-paper or"),
        ({"HIBERNAUT_QUOTES_SPEED": "-1"}, "HIBERNAUT_QUOTES_SPEED=-1: give 0 or more"),
        ({"HIBERNAUT_QUOTES_STALE": "soon"}, "HIBERNAUT_QUOTES_STALE=soon: give a time such as"),
        (
            {"HIBERNAUT_QUOTES": "http://x/{symbol}", "HIBERNAUT_QUOTES_STALE": "1m"},
            "needs HIBERNAUT_QUOTES_TIME",
        ),
    ],
)
def test_settings_of_trading_that_cannot_be_used_are_named(environment: dict[str, str], says: str) -> None:
    """One clear line, at start."""
    with pytest.raises(SettingsError, match=says):
        Settings.read(environment)


async def http_quote(
    body: bytes, *, status: str = "200 OK", headers: str = "", **options: Any
) -> tuple[Quote, str]:
    """One quote through a real server that answers with `body`, and the request line it saw."""
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        writer.write(f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n".encode() + body)
        with contextlib.suppress(ConnectionError):  # a reader that has had enough
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:
        address = f"http://127.0.0.1:{port}/v1/{{symbol}}/last"
        feed = HttpFeed(address, options.pop("price", "data.0.last"), client, clock=Clock(), **options)
        quote = await feed.quote("BRK/B")
    return quote, seen[0]


async def test_a_price_is_read_out_of_json_digit_by_digit() -> None:
    """It never goes through a float, and the symbol is a part of the path, not more of it."""
    quote, line = await http_quote(b'{"data": [{"last": 0.1234567891}]}')
    assert quote.price == Decimal("0.1234567891")
    assert (quote.at, quote.source) == (NOW, "127.0.0.1")
    assert line == "GET /v1/BRK%2FB/last HTTP/1.1"


@pytest.mark.parametrize("at", [b'"2026-11-24T14:00:00Z"', b"1795528800", b"1795528800.0"])
async def test_the_time_of_a_price_is_read_and_judged(at: bytes) -> None:
    """ISO 8601 and Unix seconds; too old is stale."""
    body = b'{"price": "12.5", "time": ' + at + b"}"
    quote, _ = await http_quote(body, price="price", at="time", stale_after=timedelta(hours=1))
    assert (quote.at, quote.price) == (datetime(2026, 11, 24, 14, tzinfo=UTC), Decimal("12.5"))
    with pytest.raises(ApplicationError) as caught:
        await http_quote(body, price="price", at="time", stale_after=timedelta(minutes=59))
    assert caught.value.type == Fault.STALE


async def test_a_price_from_the_future_is_none() -> None:
    """Five minutes are a clock that goes wrong; more is a wrong price, whatever age is asked for."""
    quote, _ = await http_quote(b'{"price": "1", "time": "2026-11-24T15:04:00Z"}', price="price", at="time")
    assert quote.at > NOW
    with pytest.raises(ApplicationError, match="in the future") as caught:
        await http_quote(b'{"price": "1", "time": "2027-11-24T15:00:00Z"}', price="price", at="time")
    assert caught.value.type == Fault.BAD_PRICE


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", Fault.UNREADABLE),
        (b"<html>", Fault.UNREADABLE),
        (b"\xff\xfe", Fault.UNREADABLE),
        (b"[" * 100_000, Fault.UNREADABLE),
        (b'{"data": [{"last": ' + b"9" * 10_000 + b"}]}", Fault.UNREADABLE),
        (b" " * 1_000_001, Fault.UNREADABLE),
        (b'{"data": []}', Fault.MISSING),
        (b'{"data": [{"last": null}]}', Fault.MISSING),
        (b'{"data": [{"last": true}]}', Fault.BAD_PRICE),
        (b'{"data": [{"last": NaN}]}', Fault.BAD_PRICE),
        (b'{"data": [{"last": -Infinity}]}', Fault.BAD_PRICE),
        (b'{"data": [{"last": 1e400}]}', Fault.BAD_PRICE),
        (b'{"data": [{"last": {"a": 1}}]}', Fault.BAD_PRICE),
        (b'{"data": [{"last": "0x10"}]}', Fault.BAD_PRICE),
    ],
)
async def test_whatever_a_server_says_is_a_price_or_a_sorted_error(body: bytes, fault: Fault) -> None:
    """Nothing an untrusted answer holds gets through as a price or ends as a bug."""
    with pytest.raises(ApplicationError) as caught:
        await http_quote(body)
    assert (caught.value.type, caught.value.non_retryable) == (fault, False)


async def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_off() -> None:
    """The bytes are counted after unpacking."""
    with pytest.raises(ApplicationError, match="more than"):
        await http_quote(gzip.compress(b" " * 50_000_000), headers="Content-Encoding: gzip\r\n")


@pytest.mark.parametrize(
    ("status", "fault", "permanent"),
    [
        ("404 Not Found", Fault.UNKNOWN_SYMBOL, True),
        ("401 Unauthorized", Fault.REFUSED, True),
        ("403 Forbidden", Fault.REFUSED, True),
        ("429 Too Many Requests", Fault.TOO_MANY, False),
        ("500 Oh", Fault.UNREACHABLE, False),
        ("302 Found", Fault.UNREACHABLE, False),
    ],
)
async def test_statuses_are_sorted(status: str, fault: Fault, permanent: bool) -> None:
    """What somebody has to change is permanent, what passes is not; nobody is led elsewhere."""
    with pytest.raises(ApplicationError, match=f"answers {status[:3]}") as caught:
        await http_quote(b"", status=status, headers="Location: http://127.0.0.1:1/\r\n")
    assert (caught.value.type, caught.value.non_retryable) == (fault, permanent)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", timedelta(seconds=7)),
        ("0", timedelta(seconds=1)),
        ("99999999999", timedelta(days=1)),
        ("Tue, 24 Nov 2026 15:02:00 GMT", timedelta(minutes=2)),
        ("Tue, 24 Nov 2020 15:02:00 GMT", timedelta(seconds=1)),
        ("-5", None),
        ("soon", None),
    ],
)
async def test_a_server_that_says_when_to_come_back_is_heard(header: str, wait: timedelta | None) -> None:
    """Seconds or a date, kept between a second and a day."""
    with pytest.raises(ApplicationError) as caught:
        await http_quote(b"", status="429 Too Many", headers=f"Retry-After: {header}\r\n")
    assert caught.value.next_retry_delay == wait


async def test_a_server_that_is_away_is_tried_again() -> None:
    """No answer is no permanent fault."""
    async with httpx.AsyncClient(trust_env=False) as client:
        error = await fault_of(HttpFeed("http://127.0.0.1:1/{symbol}", "p", client, clock=Clock()))
    assert (error.type, error.non_retryable) == (Fault.UNREACHABLE, False)


async def test_alpaca_gives_the_latest_trade() -> None:
    """The price keeps its digits, though its library would read a float."""
    with AlpacaServer() as server:
        server.trades["BAC"] = {"t": "2026-11-24T14:59:00.123456789Z", "p": json.loads("11.7410000001")}
        feed = AlpacaFeed(KEY, SECRET, clock=Clock(), url=server.url, stale_after=timedelta(minutes=5))
        quote = await feed.quote("BAC")
        assert (quote.price, quote.source) == (Decimal("11.7410000001"), "Alpaca")
        assert (await fault_of(feed, "ZZZ")).type == Fault.UNKNOWN_SYMBOL


async def test_alpaca_refusals_are_sorted_and_tried_once() -> None:
    """The library's own retries are off: each failure is one request, and the wait asked for is handed on."""
    with AlpacaServer() as server:
        feed = AlpacaFeed(KEY, SECRET, clock=Clock(), url=server.url)
        server.script(Answer(429, {"message": "slow down"}, {"Retry-After": "9"}))
        error = await fault_of(feed, "BAC")
        assert (error.type, error.next_retry_delay) == (Fault.TOO_MANY, timedelta(seconds=9))
        server.script(Answer(403, {"message": "forbidden."}))
        error = await fault_of(feed, "BAC")
        assert (error.type, error.non_retryable) == (Fault.REFUSED, True)
        assert "HIBERNAUT_ALPACA_KEY" in error.message
        server.script(Answer(504, "gateway"))
        assert (await fault_of(feed, "BAC")).type == Fault.UNREACHABLE
        assert len(server.requests) == 3


def test_alpaca_without_credentials_names_the_settings() -> None:
    """At start, not at the first quote."""
    with pytest.raises(SettingsError, match="HIBERNAUT_ALPACA_SECRET"):
        AlpacaFeed("key", "", clock=Clock())


TWELVE = {"symbol": "SPX", "close": "6012.45", "timestamp": 1795532400, "last_quote_at": 1795532340}


def twelve_data(site: WebServer, **options: Any) -> TwelveDataFeed:
    """The feed, at a server that speaks its documented protocol; as an internal host it has to be allowed."""
    client = guarded_client(AllowedHosts.parse(f"127.0.0.1:{urlsplit(site.url()).port}"))
    return TwelveDataFeed("secret-key", client, **{"clock": Clock(), "address": site.url(), **options})


async def test_twelve_data_gives_the_newest_value_with_its_time() -> None:
    """The key goes into a header and no address; the value keeps its digits."""
    with WebServer({"/quote": as_json(TWELVE)}) as site:
        quote = await twelve_data(site).quote("SPX")
        [hit] = site.log
    assert (quote.price, quote.source) == (Decimal("6012.45"), "Twelve Data")
    assert quote.at == datetime.fromtimestamp(1795532340, UTC)
    assert (hit.path, hit.headers["authorization"]) == ("/quote?symbol=SPX", "apikey secret-key")


@pytest.mark.parametrize(
    ("route", "fault", "permanent"),
    [
        (as_json({"code": 401, "message": "bad key secret-key", "status": "error"}), Fault.REFUSED, True),
        (as_json({"code": 404, "message": "no such symbol", "status": "error"}), Fault.UNKNOWN_SYMBOL, True),
        (as_json({"code": 400, "message": "no such symbol", "status": "error"}), Fault.UNKNOWN_SYMBOL, True),
        (as_json({"code": 429, "message": "out of credits", "status": "error"}), Fault.TOO_MANY, False),
        (as_json({"code": "x", "status": "error"}), Fault.UNREACHABLE, False),
        (as_json(TWELVE | {"close": "NaN"}), Fault.BAD_PRICE, False),
        (as_json(TWELVE | {"close": None}), Fault.MISSING, False),
        (as_json({"close": "1"}), Fault.UNREADABLE, False),
        (as_json(TWELVE | {"last_quote_at": 4_000_000_000}), Fault.BAD_PRICE, False),
        (as_json([1]), Fault.UNREADABLE, False),
        (Route("<html>"), Fault.UNREADABLE, False),
        (Route(status=429, headers={"Retry-After": "30"}), Fault.TOO_MANY, False),
        (Route(status=401), Fault.REFUSED, True),
        (Route(status=500), Fault.UNREACHABLE, False),
    ],
)
async def test_what_twelve_data_answers_else_is_a_sorted_error(
    route: Route, fault: Fault, permanent: bool
) -> None:
    """Also where it answers 200 and means another status; its own words are not repeated."""
    with WebServer({"/quote": route}) as site:
        error = await fault_of(twelve_data(site), "SPX")
    assert (error.type, error.non_retryable) == (fault, permanent)
    assert "secret-key" not in error.message


async def test_a_source_in_the_network_is_reached_only_where_it_is_allowed() -> None:
    """The guard of everything that is fetched stands here, too."""
    with WebServer({"/quote": as_json(TWELVE)}) as site:
        feed = TwelveDataFeed("k", guarded_client(), clock=Clock(), address=site.url())
        error = await fault_of(feed, "SPX")
        assert (error.type, error.non_retryable, site.log) == (Fault.REFUSED, True, [])


def test_twelve_data_without_a_key_is_refused_at_the_start() -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match="HIBERNAUT_TWELVE_DATA_KEY"):
        Settings.read({"HIBERNAUT_QUOTES": "twelvedata"})
    trading = Settings.read({"HIBERNAUT_QUOTES": "twelvedata", "HIBERNAUT_TWELVE_DATA_KEY": "k"}).trading
    assert isinstance(price_feed(trading, Path("/nowhere"), lambda: NOW), TwelveDataFeed)
