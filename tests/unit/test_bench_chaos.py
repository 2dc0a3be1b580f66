"""The bench of chaos: its proxy does what it counts, and its witnesses see what is wrong."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bench.chaos import MUST_BE_ZERO, OPTIONAL, holds, wanted
from bench.peers.chaos.agents import (
    FILES,
    MENDED,
    AuditorCase,
    BuyerCase,
    CaseContext,
    RecruiterCase,
    ResearcherCase,
    compared,
)
from bench.peers.chaos.outside import Broker, Outside, Web
from bench.peers.chaos.proxy import Proxy, RequestFault
from common.artifacts import ArtifactStore
from common.object_store import FolderStore
from tests.support.mail.smtp_server import ReceivedMail, SmtpRecorder


class Echo:
    """A server that answers each line with itself, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heard.append(line)
            writer.write(line)
        writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Echo, Proxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    proxy = Proxy("echo", server.sockets[0].getsockname()[1], random.Random(1))
    await proxy.start()
    try:
        yield echo, proxy
    finally:
        await proxy.stop()
        server.close()


async def asked(proxy: Proxy, line: bytes = b"hello\n") -> bytes:
    """What comes back; nothing where the connection breaks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(line)
        async with asyncio.timeout(20):
            return await reader.readline()
    except OSError:
        return b""
    finally:
        writer.close()


async def test_the_proxy_passes_on_what_nothing_is_to_happen_to() -> None:
    async with proxied() as (echo, proxy):
        assert await asked(proxy) == b"hello\n"
        assert echo.heard == [b"hello\n"]
        assert not proxy.count


@pytest.mark.parametrize(
    ("fault", "answer", "heard"),
    [(RequestFault.CUT, b"", 0), (RequestFault.DELAY, b"hello\n", 1), (RequestFault.SWALLOW, b"", 1)],
)
async def test_a_request_is_cut_or_late_or_heard_without_its_answer(
    fault: RequestFault, answer: bytes, heard: int
) -> None:
    """Each happens to one request, and is counted once."""
    async with proxied() as (echo, proxy):
        proxy.inject(fault)
        assert await asked(proxy) == answer
        assert len(echo.heard) == heard
        assert proxy.count == {fault: 1}
        assert await asked(proxy) == b"hello\n"


async def test_who_is_away_accepts_nobody_and_breaks_what_there_was() -> None:
    async with proxied() as (_, proxy):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        proxy.go_away()
        with suppress(ConnectionResetError):
            assert await reader.readline() == b""
        assert await asked(proxy) == b""
        assert proxy.count == {"refused": 1}
        assert proxy.is_missed
        proxy.come_back()
        assert await asked(proxy) == b"hello\n"
        async with asyncio.timeout(20):
            while proxy._links:
                await asyncio.sleep(0.01)
        proxy.go_away()
        assert not proxy.is_missed


async def test_only_the_answer_to_a_request_is_lost() -> None:
    """Of mail, that to the whole letter."""
    async with proxied() as (echo, proxy):
        proxy._is_request = lambda data: data.startswith(b"DATA")
        proxy.inject(RequestFault.SWALLOW)
        assert await asked(proxy) == b"hello\n"
        assert await asked(proxy, b"DATA\n") == b""
        assert echo.heard == [b"hello\n", b"DATA\n"]


@pytest.mark.parametrize(
    ("seen", "told", "most", "wrong"),
    [
        (1, 1, None, {}),
        (0, 1, None, {"missing": 1}),
        (3, 1, None, {"duplicated": 2}),
        (2, 1, 2, {}),
        (3, 1, 2, {"duplicated": 1}),
    ],
)
def test_effects_are_compared_with_what_is_told(
    seen: int, told: int, most: int | None, wrong: dict[str, int]
) -> None:
    assert +compared(seen, told, most=most) == +Counter(effects=seen, **wrong)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[CaseContext]:
    outside = Outside.__new__(Outside)  # nothing of it runs
    outside.broker, outside.smtp, outside.web = Broker(), SmtpRecorder(), Web()
    outside.proxies = {"web": Proxy("web", 0, random.Random(1))}
    yield CaseContext(outside, tmp_path / "work", ArtifactStore(FolderStore(tmp_path / "objects")))
    outside.web.server.close()


def wrong(seen: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in seen.items() if count and name != "effects"}


def bought(case: BuyerCase, key: str = "one") -> dict[str, Any]:
    said = {"outcome": "bought", "symbol": case.symbol, "quantity": "2", "limit": "11"}
    return {**said, "filled": "2", "client_order_id": key}


def test_a_buyer_has_its_one_order_and_knows_it(context: CaseContext) -> None:
    case, orders = BuyerCase(0, context), context.outside.broker.orders
    assert wrong(case.witnessed(bought(case))) == {"missing": 1}
    orders["one"] = {"symbol": case.symbol, "client_order_id": "one"}
    assert wrong(case.witnessed(bought(case))) == {}
    assert wrong(case.witnessed(bought(case, "another"))) == {"missing": 1}
    orders["two"] = {"symbol": case.symbol, "client_order_id": "two"}
    assert wrong(case.witnessed(bought(case))) == {"duplicated": 1}


def test_a_rejected_buyer_has_no_order(context: CaseContext) -> None:
    case = BuyerCase(1, context)
    said = {**bought(case, ""), "outcome": "not_approved", "filled": "0"}
    assert wrong(case.witnessed(said)) == {}
    context.outside.broker.orders["one"] = {"symbol": case.symbol, "client_order_id": "one"}
    assert wrong(case.witnessed(said)) == {"forbidden": 1}


def test_an_audit_has_mended_what_it_says_and_nothing_in_part(context: CaseContext) -> None:
    case = AuditorCase(0, context)
    said = {
        **{"files": FILES, "findings": 9, "by_severity": {}, "skipped": {}, "fixes_planned": FILES // 4},
        **{"files_fixed": FILES // 4, "files_left": 0, "decision": "approved", "report": {}},
    }
    flawed = sorted(file for file in case.folder.rglob("*.py") if "import" in file.read_text())
    for file in flawed[1:]:
        file.write_text(MENDED)
    assert wrong(case.witnessed(said))["missing"] > 0
    flawed[0].write_text(MENDED)
    assert wrong(case.witnessed(said)) == {}
    flawed[0].write_text(MENDED[:20])
    assert wrong(case.witnessed(said)) == {"missing": 1}


def test_a_report_stands_where_its_agent_says_and_once(context: CaseContext) -> None:
    case, reports = ResearcherCase(1, context), context.outside.web.reports
    places = [f"/reports/{case.id}/a.html", f"/reports/{case.id}/a.md"]
    said = {
        "outcome": "published",
        "topic": "tides",
        "claims": 3,
        "read": [],
        "unread": [],
        "model": "offline",
    }
    reports[places[0]] = b"report"
    assert wrong(case.witnessed({**said, "places": places})) == {"missing": 1}
    reports[places[1]] = b"report"
    assert wrong(case.witnessed({**said, "places": places})) == {}
    reports[f"/reports/{case.id}/b.html"] = b"report"
    assert wrong(case.witnessed({**said, "places": places})) == {"duplicated": 1}


def test_a_letter_is_in_the_mailbox_once_and_may_be_where_nobody_knows(context: CaseContext) -> None:
    case, taken = RecruiterCase(0, context), context.outside.smtp.taken
    said = {
        "outcome": "done",
        "role": "Keeper",
        "candidates": 2,
        "counts": {},
        "report": {},
        "model": "offline",
    }
    first, second = (
        ReceivedMail(
            "agents@example.com", f"{case.id}.{name}@example.com", f"Message-ID: <{name}>\n\nHi".encode()
        )
        for name in ("c1", "c2")
    )
    taken.append(first)
    assert wrong(case.witnessed({**said, "letters": {"sent": 1}})) == {}
    assert wrong(case.witnessed({**said, "letters": {"sent": 2}})) == {"missing": 1}
    taken.append(second)
    assert wrong(case.witnessed({**said, "letters": {"sent": 1, "unknown": 1}})) == {"unknown_letters": 1}
    taken.append(second)
    assert wrong(case.witnessed({**said, "letters": {"sent": 2}})) == {"duplicated": 1}


def test_a_run_holds_only_if_nothing_is_wrong_and_every_fault_has_happened() -> None:
    report: dict[str, Any] = {
        **dict.fromkeys(MUST_BE_ZERO, 0),
        **dict.fromkeys(wanted([]), 1),
        "left_out": [],
    }
    assert holds(report)
    for name in MUST_BE_ZERO:
        assert not holds({**report, name: 1}), name
    for name in wanted([]):
        assert not holds({**report, name: 0}), name
    for fault, lack in OPTIONAL.items():
        assert holds({**report, fault: 0, "left_out": [f"{lack}: missing"]})
    json.dumps(report)
