"""What processes count together, in SQLite and in PostgreSQL: exclusion, kills, a server that is gone."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import multiprocessing
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Column, MetaData, String, Table, create_engine, func, insert, select, text
from temporalio.exceptions import ApplicationError

from activities.fetching.slots import LEASE_SECONDS, HostSlots
from activities.llm.ledger import BudgetLimits, Call, Ledger, Recorded, Reservation
from activities.trading.broker import DuplicateOrderError
from activities.trading.paper import CASH
from activities.trading.paper_book import PaperBook
from cli.cluster.postgres import Postgres
from common.agents.buyer import OrderState
from common.database import DatabaseLostError, SharedDatabase, check_database
from common.errors import classify_error
from common.settings import Settings, SettingsError
from tests.support import database_worker
from tests.support.database_worker import ORDER, PRICE, TOKENS, paper_broker
from tests.support.databases import DATABASE, emptied
from tests.support.seeds import seed

ROOT = Path(__file__).parents[2]
TABLES = MetaData()
LINES = Table("lines", TABLES, Column("text", String))
CALL = Call("k", "a", "o:2026-11-24", "openai:x", TOKENS, None)
# So long the server is gone.
GONE_SECONDS = 10


def add_line(place: Path | URL, name: str = "lines") -> int:
    """Add a line to the database; how many there are then."""
    with SharedDatabase(place, TABLES).transaction(name) as lines:
        lines.execute(insert(LINES).values(text="x"))
        return lines.execute(select(func.count()).select_from(LINES)).scalar_one()


def test_one_process_at_a_time_makes_the_file(tmp_path: Path) -> None:
    """Two that switch a new file to WAL at once fail each other now and then, whatever SQLite's timeout."""
    file = tmp_path / "lines.db"
    with ThreadPoolExecutor(1) as other:
        with file.with_name("lines.db.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            added = other.submit(add_line, file)
            with pytest.raises(TimeoutError):
                added.result(0.3)
            assert not file.exists()
        assert added.result(30) == 1
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_any_number_of_writers_share_a_database(place: Path | URL) -> None:
    """Each waits for its turn, and one of them makes the tables."""
    with ThreadPoolExecutor(8) as writers:
        assert sorted(writers.map(add_line, [place] * 40)) == list(range(1, 41))


def test_a_block_that_raises_leaves_nothing(place: Path | URL) -> None:
    """And lets the next one in."""
    database = SharedDatabase(place, TABLES)

    def add_and_raise() -> None:
        with database.transaction("lines") as lines:
            lines.execute(insert(LINES).values(text="x"))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        add_and_raise()
    assert add_line(place) == 1


def test_on_a_server_only_those_wait_who_name_the_same(postgres: Postgres) -> None:
    """Owners do not wait for each other; nobody waits for somebody who waits for them."""
    place = emptied(postgres)
    add_line(place)
    with ThreadPoolExecutor(2) as others:
        with SharedDatabase(place, TABLES).transaction("ann", "bob"):
            assert others.submit(add_line, place, "carol").result(30) == 2
            waits = others.submit(add_line, place, "bob")
            with pytest.raises(TimeoutError):
                waits.result(0.3)
        assert waits.result(30) == 3

        def both(names: tuple[str, str]) -> None:
            for _ in range(30):
                with SharedDatabase(place, TABLES).transaction(*names):
                    pass

        list(others.map(both, [("ann", "bob"), ("bob", "ann")]))


def test_a_process_killed_in_a_transaction_leaves_nothing_and_holds_nobody_up(place: Path | URL) -> None:
    """Neither what it was about to count nor its lock."""
    processes = _forked()
    inside = processes.Event()
    process = processes.Process(target=database_worker.hold, args=(place, inside))
    process.start()
    assert inside.wait(60)
    process.kill()
    process.join(30)
    assert paper_broker(place).orders() == []
    asyncio.run(paper_broker(place).submit(ORDER))


@pytest.mark.parametrize("runs", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_what_many_count_adds_up_whatever_is_killed(
    runs: int, place: Path | URL, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Workers are killed and the server is, and is gone for ten seconds: no budget is exceeded, no order
    is lost or placed twice."""
    server = request.getfixturevalue("postgres") if isinstance(place, URL) else None
    chance = random.Random(seed("DATABASE_SEED"))
    limit = 200 * TOKENS
    names = [f"order-{number}" for number in range(60)]
    for number in range(runs):
        folder = tmp_path / str(number)
        folder.mkdir()
        place = emptied(server) if server else folder / "database.db"
        crew = Crew(
            [
                *((database_worker.spend, (place, folder, name, limit)) for name in ("ann", "bob", "carol")),
                *((database_worker.order, (place, folder, names)) for _ in range(2)),
            ]
        )
        crew.wait_for(folder / "sent", 5)
        crew.kill(chance.randrange(3))
        crew.kill(3 + chance.randrange(2))
        if server:
            crew.wait_for(folder / "sent", 15)
            time.sleep(chance.uniform(0, 0.05))
            server.kill()
            time.sleep(GONE_SECONDS)
            assert _size(folder / "lost") > 0, "nobody noticed"
            assert _size(folder / "sent") * TOKENS < limit, "it was killed too late"
            server.start()
        crew.finish()
        # What a worker may have sent counts at its maximum; what was sent is never under-estimated.
        call = Call("k", "agent", "owner:2026-11-24", "openai:x", TOKENS, None)
        spent = Ledger(place).spendings(call, BudgetLimits())[0].tokens
        sent = _size(folder / "sent") * TOKENS
        assert sent <= spent == limit
        assert sent >= limit - 4 * TOKENS, "most of the budget was used"
        broker = paper_broker(place)
        assert Counter(order.client_order_id for order in broker.orders()) == Counter(names)
        assert {order.state for order in broker.orders()} == {OrderState.FILLED}
        booked = [each.client_order_id for each in broker.attempts() if each.outcome == "booked"]
        assert Counter(booked) == Counter(names)
        assert cash(place) == CASH - len(names) * PRICE


class Crew:
    """Processes that are started again when they are killed."""

    def __init__(self, work: list[tuple[Callable[..., None], tuple[object, ...]]]) -> None:
        self._work = work
        self._processes = [self._start(number) for number in range(len(work))]

    def kill(self, number: int) -> None:
        self._processes[number].kill()
        self._processes[number].join(30)
        assert self._processes[number].exitcode == -signal.SIGKILL, "it had ended before"
        self._processes[number] = self._start(number)

    def wait_for(self, file: Path, size: int) -> None:
        deadline = time.monotonic() + 120
        while _size(file) < size:
            assert time.monotonic() < deadline, f"{file.name} has {_size(file)}"
            time.sleep(0.002)

    def finish(self) -> None:
        for process in self._processes:
            process.join(120)
            assert process.exitcode == 0

    def _start(self, number: int) -> BaseProcess:
        target, arguments = self._work[number]
        process = _forked().Process(target=target, args=arguments)
        process.start()
        return process


def test_a_server_killed_in_a_transaction_leaves_nothing_half(postgres: Postgres) -> None:
    """It is told in one line, without the password, and the same object goes on when the server is back."""
    place = emptied(postgres)
    database = SharedDatabase(place, TABLES)
    add_line(place)

    def add_and_lose() -> None:
        with database.transaction("lines") as lines:
            lines.execute(insert(LINES).values(text="x"))
            postgres.kill()
            lines.execute(insert(LINES).values(text="y"))

    try:
        with pytest.raises(DatabaseLostError) as caught:
            add_and_lose()
        said = str(caught.value)
        with pytest.raises(DatabaseLostError, match="refused"):
            add_and_lose()
    finally:
        postgres.start()
    assert f"127.0.0.1:{postgres.port}/{DATABASE}" in said
    assert "\n" not in said
    assert postgres.password not in said
    told = classify_error(caught.value)
    assert isinstance(told, ApplicationError)
    assert (told.message, told.non_retryable) == (said, False), "Temporal tries again, and people read why"
    with database.transaction("lines") as lines:
        assert lines.execute(select(func.count()).select_from(LINES)).scalar_one() == 1


def test_an_order_whose_commit_nobody_confirmed_is_one_order(postgres: Postgres) -> None:
    """The server dies between writing the commit and saying so: the order stands, and is not placed again."""
    place = emptied(postgres)
    broker = paper_broker(place)
    assert broker.orders() == []
    with pytest.raises(DatabaseLostError):
        cut_in_commit(postgres, lambda: asyncio.run(broker.submit(ORDER))).result(60)
    found = asyncio.run(broker.find(ORDER.client_order_id))
    assert found is not None
    assert found.state is OrderState.FILLED
    with pytest.raises(DuplicateOrderError):
        asyncio.run(broker.submit(ORDER))
    assert cash(place) == CASH - PRICE


def test_an_answer_that_was_paid_for_outlives_the_server(postgres: Postgres) -> None:
    """Settling waits for it to come back; nothing is paid twice, whether the first commit counted or not."""
    place = emptied(postgres)
    ledger, limits = Ledger(place), BudgetLimits(agent_tokens=10 * TOKENS)
    held = ledger.reserve(CALL, limits)
    assert isinstance(held, Reservation)
    ledger.mark_sent(held)
    cut_in_commit(postgres, lambda: ledger.settle(held, 70, None, "yes")).result(60)
    assert ledger.reserve(CALL, limits) == Recorded("yes")
    assert ledger.spendings(CALL, limits)[0].tokens == 70
    other = dataclasses.replace(CALL, key="other")
    held = ledger.reserve(other, limits)
    assert isinstance(held, Reservation)
    ledger.mark_sent(held)
    postgres.kill()
    with ThreadPoolExecutor(1) as worker:
        settled = worker.submit(ledger.settle, held, 50, None, "no")
        with pytest.raises(TimeoutError):
            settled.result(1)
        postgres.start()
        settled.result(60)
    assert ledger.reserve(other, limits) == Recorded("no")


async def test_a_host_keeps_its_turn_while_the_server_is_gone(postgres: Postgres) -> None:
    """What was fetched counts; the host is left alone until the lease of that turn ends."""
    slots = HostSlots(emptied(postgres))
    fetched = False
    async with slots.acquire("h", "a", 1):
        await asyncio.to_thread(postgres.kill)
        fetched = True
    assert fetched
    with pytest.raises(DatabaseLostError):
        slots.reserve("h", "b", 1)
    await asyncio.to_thread(postgres.start)
    assert 0 < slots.reserve("h", "b", 1) < LEASE_SECONDS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"database": "none"}, 'database "none" does not exist'),
        ({"port": 1}, "refused"),
        ({"host": "none.invalid"}, "none.invalid"),
        ({"query": {"options": "-c default_transaction_read_only=on"}}, "takes no writes: name its primary"),
        ({"username": "guest", "password": "guest"}, "GRANT CREATE ON DATABASE hibernaut TO guest"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    change: dict[str, Any], said: str, postgres: Postgres, tmp_path: Path
) -> None:
    """That names the setting, and gives no password away."""
    place = emptied(postgres)
    with closing(create_engine(place).raw_connection()) as owner:
        owner.cursor().execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 'guest'")
        owner.commit()
    found = _settings(tmp_path, place.set(**change))
    with pytest.raises(SettingsError, match=said) as caught:
        check_database(found)
    told = str(caught.value)
    assert told.startswith("HIBERNAUT_DATABASE: ")
    assert "\n" not in told
    assert postgres.password not in told


def test_a_database_that_can_be_used_is_named(postgres: Postgres, tmp_path: Path) -> None:
    """As the doctor shows it, whatever its encoding."""
    place = emptied(postgres)
    with create_engine(place, isolation_level="AUTOCOMMIT").connect() as owner:
        owner.execute(text("CREATE DATABASE plain ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"))
    for each in (DATABASE, "plain"):
        found = check_database(_settings(tmp_path, place.set(database=each)))
        assert re.fullmatch(rf"PostgreSQL \S.* at 127\.0\.0\.1:{postgres.port}/{each}", found)
    own = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    assert check_database(own) == f"SQLite files in {tmp_path}"


@pytest.mark.parametrize(
    "text", ["mysql://ann:secret@h/d", "sqlite:///d", "h/d", "postgresql://h", "postgres://ann:secret/x@h/d"]
)
def test_an_address_that_is_none_is_refused_when_settings_are_read(text: str) -> None:
    """It says what to give, and not what was given."""
    with pytest.raises(SettingsError, match="HIBERNAUT_DATABASE: give ") as caught:
        Settings.read({"HIBERNAUT_DATABASE": text})
    assert "secret" not in str(caught.value)


def test_a_worker_without_its_database_does_not_start(tmp_path: Path) -> None:
    """It ends at once with one line."""
    environment = {
        "HIBERNAUT_DATA_DIR": str(tmp_path),
        "HIBERNAUT_DATABASE": "postgresql://ann:secret@127.0.0.1:1/hibernaut",
    }
    ended = subprocess.run(
        [sys.executable, str(ROOT / "worker.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 2
    assert re.fullmatch(r"HIBERNAUT_DATABASE: the database 127\.0\.0\.1:1/.* refused\.?\n", ended.stderr)


def cut_in_commit(server: Postgres, act: Callable[[], object]) -> Future[object]:
    """Kill the server once a commit of `act` is on its disk, and before it says so; it is back on return."""
    with ThreadPoolExecutor(1) as worker:
        server.stop()
        server.start(synchronous_standby_names="nobody")  # for whose word each commit waits
        acting = worker.submit(act)
        engine = create_engine(server.url(DATABASE))
        with engine.connect() as looking:
            deadline = time.monotonic() + 120
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            while not looking.execute(waiting).scalar_one():
                assert time.monotonic() < deadline
                looking.rollback()
                time.sleep(0.01)
        engine.dispose()
        server.kill()
        server.start()
    return acting


def cash(place: Path | URL) -> Decimal:
    with PaperBook(place, CASH).opened() as book:
        return book.cash()


def _settings(folder: Path, place: URL) -> Settings:
    return Settings.read(
        {
            "HIBERNAUT_DATA_DIR": str(folder),
            "HIBERNAUT_DATABASE": place.render_as_string(hide_password=False),
        }
    )


def _forked() -> ForkServerContext:
    """Processes that begin with everything loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.database_worker"])
    return context


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
