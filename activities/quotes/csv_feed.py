"""Replays prices from a CSV file at a chosen speed: real prices of any past day, without network."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import zlib
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import Lock

from sqlalchemy import URL, Column, Connection, MetaData, String, Table, delete, insert, select

from activities.quotes.quotes import Fault, check_age, checked_quote, quote_error
from common.database import SharedDatabase
from common.flaws import flaw_of
from common.quotes import Quote

MAX_BYTES = 200_000_000  # decompressed
_REPLAY = "prices"  # the lock's name
_TABLES = MetaData()
# One row at most.
_REPLAYS = Table("replays", _TABLES, *(Column(name, String, nullable=False) for name in ("real", "replay")))


class CsvFeed:
    """A file as a feed: daily closes (`Date,AAA,BBB,…`) or ticks (`time,symbol,price`), plain or .gz.

    The replay has its own clock, shared by all workers on `database`, which stores the replay's position at
    one point of real time; from there it advances `speed` days per real day, and stands still at speed 0. A
    restart neither rewinds nor skips; `seek_replay` moves it. Times without a zone are UTC; a daily close
    counts from the start of its day.
    """

    def __init__(
        self,
        file: Path,
        database: Path | URL,
        *,
        speed: float,
        clock: Callable[[], datetime],
        stale_after: timedelta | None = None,
    ) -> None:
        """`stale_after`: the age in replayed time beyond which a price is refused."""
        self._file = file
        self._database = SharedDatabase(database, _TABLES)
        self._speed = speed
        self._clock = clock
        self._stale_after = stale_after
        self._loading = Lock()

    async def quote(self, symbol: str) -> Quote:
        """The last price at or before the replay's current time."""
        return await asyncio.to_thread(self._quote, symbol)

    def now(self) -> datetime:
        """The replay's current time."""
        begin, _ = self._prices_by_symbol
        with self._database.transaction(_REPLAY) as replays:
            stood = replays.execute(select(_REPLAYS)).one_or_none()
            if stood is None:
                _put(replays, begin, self._clock())
                return begin
        passed = self._clock() - datetime.fromisoformat(stood.real)
        return datetime.fromisoformat(stood.replay) + passed * self._speed

    def _quote(self, symbol: str) -> Quote:
        with self._loading:
            _, series = self._prices_by_symbol
        if symbol not in series:
            raise quote_error(Fault.UNKNOWN_SYMBOL, f"{self._file.name} has no prices of {symbol}")
        times, prices = series[symbol]
        now = self.now()
        place = bisect_right(times, now) - 1
        if place < 0:
            raise quote_error(
                Fault.MISSING, f"{self._file.name} has no price of {symbol} before {now:%Y-%m-%d}"
            )
        quote = checked_quote(symbol, prices[place], times[place], self._file.name)
        return check_age(quote, now, self._stale_after)

    @cached_property
    def _prices_by_symbol(self) -> tuple[datetime, dict[str, tuple[list[datetime], list[str]]]]:
        """The earliest time in the file, and each symbol's times and prices, oldest first."""
        rows = csv.reader(io.StringIO(_text(self._file)))
        header = [cell.strip() for cell in next(rows, [])]
        try:
            if [cell.lower() for cell in header] == ["time", "symbol", "price"]:
                ticks = [(_moment(row[0]), row[1].strip(), row[2].strip()) for row in rows if row]
            else:
                ticks = [
                    (_moment(row[0]), symbol, price.strip())
                    for row in rows
                    if row
                    for symbol, price in zip(header[1:], row[1:], strict=True)
                ]
        except (ValueError, IndexError, csv.Error) as error:
            where = f"{self._file} line {rows.line_num}"
            raise quote_error(Fault.UNREADABLE, f"{where}: {flaw_of(error)}") from error
        if not ticks:
            raise quote_error(Fault.UNREADABLE, f"{self._file} holds no prices")
        ticks.sort(key=lambda tick: tick[0])
        series: dict[str, tuple[list[datetime], list[str]]] = {}
        for at, symbol, price in ticks:
            times, prices = series.setdefault(symbol, ([], []))
            times.append(at)
            prices.append(price)
        return ticks[0][0], series


def seek_replay(database: Path | URL, moment: datetime, now: datetime) -> None:
    """Set the replay in `database` to `moment` as of the real time `now`, for all workers."""
    with SharedDatabase(database, _TABLES).transaction(_REPLAY) as replays:
        _put(replays, moment, now)


def _put(replays: Connection, moment: datetime, now: datetime) -> None:
    replays.execute(delete(_REPLAYS))
    replays.execute(insert(_REPLAYS).values(real=now.isoformat(), replay=moment.isoformat()))


def _text(file: Path) -> str:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise quote_error(Fault.UNREADABLE, f"{file} is larger than {MAX_BYTES} bytes")
        return data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else flaw_of(error)
        raise quote_error(Fault.UNREADABLE, f"{file}: {said}") from error


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text.strip())
    return at if at.tzinfo else at.replace(tzinfo=UTC)
