"""`starter.py rehearse`: what agents of every kind would do in weeks, with nothing done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.inputs import read_input
from cli.rehearsal.answers import Answer, AnswerKind, AnswerScript, UnpromptedMessage
from cli.rehearsal.page import page_of
from cli.rehearsal.rehearse import Wanted, rehearse_in
from cli.rehearsal.show import lines_of
from cli.rehearsal.story import EndState, Entry, EntryKind, Rehearsed
from cli.rehearsal.world import World, world
from common.agents.kinds import KINDS
from common.settings import Settings
from testing.fixtures import open_all
from tests.support.database_worker import paper_broker

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rehearsal.md").read_text()
YES = AnswerScript(answers=(Answer(says=AnswerKind.APPROVE),))
NOBODY = AnswerScript()
# The first Saturday of a February: New York opens at 14:30 UTC on each day of the week that follows.
FEBRUARY = datetime(datetime.now(UTC).year + 1, 2, 1, 10, 0, tzinfo=UTC)
SATURDAY = FEBRUARY + timedelta(days=(5 - FEBRUARY.weekday()) % 7)
ROLE = {"title": "Engineer", "must_have": ["Python"]}
NOTICES = {
    "people": {"ann": {"email": "ann@example.com"}},
    "routes": [
        {"kind": "buyer", "events": ["decided"], "ways": ["email:desk@example.com"]},
        {"kind": "buyer", "ways": ["email", "terminal"]},
    ],
}
PEOPLE = [
    {"id": id, "name": name, "email": f"{id}@example.com", "profile": "Python for ten years."}
    for id, name in (("c1", "Candidate Nr1"), ("c2", "Candidate Nr2"))
]


class Desk:
    """A user with a data folder, and one world for all that is rehearsed here."""

    def __init__(self, settings: Settings, stage: World, folder: Path) -> None:
        self.settings, self.stage, self.folder = settings, stage, folder
        self._number = 0

    async def rehearse(
        self, kind: str, script: AnswerScript = YES, /, lasts: str = "30d", within: int = 240, **input: Any
    ) -> Rehearsed:
        self._number += 1
        # Where the replay of prices stands: each rehearsal has a world of its own, and these share one.
        if (replays := self.stage.settings.data_dir / "quotes.db").exists():
            with contextlib.closing(sqlite3.connect(replays)) as database, database:
                database.execute("DELETE FROM replays")
        values = {name: json.loads(json.dumps(value)) for name, value in input.items()}
        wanted = Wanted(
            KINDS[kind],
            read_input(KINDS[kind], None, [f"{name}={_word(value)}" for name, value in values.items()]),
            script,
            "local",
            timedelta(days=int(lasts.removesuffix("d"))),
            SATURDAY,
            timedelta(seconds=within),
        )
        return await rehearse_in(self.stage, self.settings, wanted, f"{kind}-{self._number}")


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """One server and one worker for all tests of this file; its market is open as New York's is."""
    folder = tmp_path_factory.mktemp("rehearse")
    open_all(folder / "data")
    (folder / "data" / "notices.json").write_text(json.dumps(NOTICES))
    before = contents(folder / "data")
    # Nothing listens there: a letter would fail, and a worker with that database would not start.
    mail = {"HIBERNAUT_SMTP": "smtp://127.0.0.1:9", "HIBERNAUT_MAIL_FROM": "agents@example.com"}
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder / "data"), **mail})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIBERNAUT_MARKET", "NYSE")
        patch.setenv("HIBERNAUT_DATABASE", "postgresql://ann@127.0.0.1:9/hibernaut")
        async with world(settings, {}) as stage:
            yield Desk(settings, stage, folder)
    assert contents(folder / "data") == before, "the user's is untouched"
    assert not stage.calls.parent.exists(), "nothing is left"


def at(entries: list[Entry]) -> list[str]:
    return [f"{each.at:%a %H:%M}" for each in entries]


async def test_a_buyer_is_reminded_of_waits_for_the_market_and_asks_again(desk: Desk) -> None:
    """Over a weekend: two people who are late, the opening, the drift since, and no order."""
    late = AnswerScript(answers=(Answer(says=AnswerKind.APPROVE, after=timedelta(hours=5)),))
    wanted = {"symbol": "AAPL", "quantity": 1, "limit": 200, "approvers": ["ann", "bob"], "quorum": 2}
    told = await desk.rehearse("buyer", late, **wanted)
    assert told.ended is EndState.AGENT
    asked, again = told.of(EntryKind.ASKS)
    assert (asked.to, again.to) == (("ann", "bob"), ("ann", "bob"))
    assert asked.plan is not None
    assert asked.plan["symbol"] == "AAPL"
    assert at([asked, again]) == ["Sat 10:00", "Mon 14:30"]
    reminded = [each for each in told.of(EntryKind.TELLS) if each.words.startswith("reminder")]
    assert at(reminded) == ["Sat 14:00", "Mon 18:30"]
    # Of two who may decide the routes reach one; on the terminal somebody may see to the other.
    assert {each.to for each in reminded} == {("ann email a…@example.com", "the terminal of a worker")}
    assert [each.words for each in told.of(EntryKind.HEARS)] == [
        f"{who} says approve to approval-{number}" for number in (1, 2) for who in ("ann", "bob")
    ]
    decided = [each for each in told.of(EntryKind.TELLS) if each.words.startswith("decided")]
    assert [each.to for each in decided] == [("email d…@example.com",)] * 2
    assert decided[0].words.startswith("decided: approval-1: approved by ann (through rehearsal); by bob")
    assert "by time; it waited for the market to open" in [each.words for each in told.of(EntryKind.WAKES)]
    [order] = told.of(EntryKind.ACTS)
    assert order.words == "place_order, which is not done"
    assert order.plan == again.plan
    assert at([order]) == ["Mon 19:30"]
    # The drift had it look whether the order was placed before.
    assert {each.activity: each.why for each in told.stand_ins} == {
        "check_preconditions": "it reaches outside",
        "find_placed": "nothing was done that it could find",
        "place_order": "destructive, it takes an approval",
    }
    own = paper_broker(desk.stage.settings.data_dir / "paper.db")
    assert own.orders() == [], "not even the rehearsal's own broker has an order"

    once_more = await desk.rehearse("buyer", late, **wanted)
    assert _comparable(once_more) == _comparable(told), "the same input, the same rehearsal"


def _comparable(told: Rehearsed) -> str:
    return re.sub(
        rf"{told.agent}|hibernaut-[0-9a-f]+", "…", told.model_copy(update={"seconds": 0}).model_dump_json()
    )


async def test_a_week_of_the_market_is_told_in_seconds(desk: Desk) -> None:
    """Every look of five sessions, and nothing in the nights between."""
    told = await desk.rehearse(
        "market-analyst", index="AAPL", calendar="XNYS", every="3h", approvers=["ann"], **{"for": "7d"}
    )
    assert told.ended is EndState.AGENT
    assert told.simulated > timedelta(days=6)
    woken = told.of(EntryKind.WAKES)
    looked = [each for each in woken if "the next price" in each.words]
    assert sorted({each.at.weekday() for each in looked}) == [0, 1, 2, 3, 4]
    opened = [f"{each.until or each.at:%H:%M}" for each in woken if "to open" in each.words]
    assert opened == ["14:30"] * 5
    assert told.wakes == told.run["look_at_market"] - 1, "it looks at the start, and whenever it wakes"
    assert told.of(EntryKind.ACTS) == told.stand_ins == []
    assert isinstance(told.result, dict)
    assert str(desk.settings.data_dir) in told.result["files"]["html"], "where it would be"
    assert not (desk.settings.data_dir / "reports").exists()


async def test_candidates_who_never_answer_hear_once_more_after_two_days(desk: Desk) -> None:
    """The letters that would go out, and to whom; none does."""
    told = await desk.rehearse("recruiter", role=ROLE, candidates=PEOPLE, approvers=["ann"])
    first, follow_up = told.of(EntryKind.ACTS)
    assert [_kinds(each) for each in (first, follow_up)] == [{"c1": "first", "c2": "first"}] * 1 + [
        {"c1": "follow_up", "c2": "follow_up"}
    ]
    assert timedelta(days=2) <= follow_up.at - first.at < timedelta(days=2, minutes=2)
    assert isinstance(told.result, dict)
    assert told.result["counts"] == {"silent": 2}
    assert not list(desk.stage.settings.data_dir.glob("**/outbox*"))
    text = "\n".join(lines_of(told))
    assert "candidate c2, kind follow_up" in text
    assert "send_outreach x2: not done, destructive, it takes an approval" in text


def _kinds(entry: Entry) -> dict[str, str]:
    assert entry.also is not None
    letters = entry.also["letters"]
    assert isinstance(letters, list)
    return {each["candidate"]: each["kind"] for each in letters if isinstance(each, dict)}  # type: ignore[misc]


async def test_mail_and_words_come_when_the_answers_say(desk: Desk) -> None:
    """A candidate answers on the second day, and what it would answer is asked about; then nobody answers."""
    script = AnswerScript(
        answers=(Answer(question="Write to*", says=AnswerKind.APPROVE, edits={"leave_out": ["c2"]}),),
        mail=(UnpromptedMessage(after=timedelta(days=1), thread="c1", text="How much would you pay?"),),
    )
    told = await desk.rehearse("recruiter", script, role=ROLE, candidates=PEOPLE, approvers=["ann"])
    [mail] = [each for each in told.of(EntryKind.HEARS) if each.words.startswith("mail of c1")]
    assert mail.at == SATURDAY + timedelta(days=1)
    _, reply = told.of(EntryKind.ASKS)
    assert reply.at == mail.at
    assert reply.plan is not None
    assert reply.plan["wrote"] == "How much would you pay?"
    assert told.ended is EndState.WAITS
    assert "nothing more would wake the agent; it waits for an approval" in lines_of(told)[0]
    assert _kinds(told.of(EntryKind.ACTS)[0]) == {"c1": "first"}


async def test_one_that_would_run_on_is_cut_and_says_so(desk: Desk) -> None:
    """By the simulated time, and by the real one."""
    wanted: dict[str, Any] = {"index": "AAPL", "calendar": "XNYS", "every": "1d", "approvers": ["ann"]}
    told = await desk.rehearse("market-analyst", lasts="3d", **wanted, **{"for": "300d"})
    assert (told.ended, told.until) == (EndState.SIMULATED, SATURDAY + timedelta(days=3))
    assert "the simulated time was over; it waits for" in lines_of(told)[0]
    cut = await desk.rehearse("market-analyst", within=0, **wanted)
    assert cut.ended is EndState.REAL


@pytest.fixture
def inputs(desk: Desk) -> dict[str, dict[str, Any]]:
    """An input for each kind there is."""
    shop = desk.folder / "shop"
    if not shop.exists():
        shutil.copytree(ROOT / "tests" / "samples" / "shop", shop)
    contracts = desk.folder / "contracts"
    contracts.mkdir(exist_ok=True)
    contract = contracts / "a.txt"
    contract.write_text("SERVICE AGREEMENT\n1. Liability. The supplier's liability is unlimited.\n")
    items = desk.folder / "items.jsonl"
    item = {"symbol": "AAPL", "quantity": 1, "limit": 200, "approvers": ["ann"]}
    items.write_text("\n".join(json.dumps({"id": id, **item}) for id in ("a", "b")))
    ann = {"approvers": ["ann"]}
    return {
        "code-auditor": {"path": str(shop), "apply": True, **ann},
        "link-researcher": {"topic": "solar cells", "sites": ["https://example.org"], **ann},
        "contract-auditor": {"folder": str(contracts), **ann},
        "contract-reader": {"file": str(contract)},
        "batch": {"kind": "buyer", "items": str(items)},
    }


def contents(folder: Path) -> dict[str, str]:
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return {str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


# The others have tests of their own above.
QUICK = {"code-auditor", "link-researcher", "contract-reader"}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in QUICK else pytest.mark.soak)
        for kind in sorted(KINDS.keys() - {"buyer", "market-analyst", "recruiter"})
        if not KINDS[kind].activities
    ],
)
async def test_every_kind_can_be_rehearsed(kind: str, desk: Desk, inputs: dict[str, dict[str, Any]]) -> None:
    """To its end, with no file of the user's changed, and a page that tells it."""
    before = contents(desk.folder)
    told = await desk.rehearse(kind, **inputs[kind])
    assert (told.ended, told.status) == (EndState.AGENT, "completed"), told.failure
    assert contents(desk.folder) == before
    assert all(each.at >= SATURDAY for each in told.timeline), "all of it in the agent's own time"
    page = page_of(told)
    assert f"What the {kind} would do" in page
    assert all(each.what in page for each in told.timeline)
    assert {each.agent for each in told.of(EntryKind.STARTS)} > {told.agent} or kind != "batch"
    destructive = {"code-auditor": "apply_fixes", "link-researcher": "publish_report", "batch": "place_order"}
    if kind in destructive:
        assert destructive[kind] in {each.activity for each in told.stand_ins}


@pytest.fixture
def witness() -> Iterator[tuple[int, list[int]]]:
    """A port that everything outside is set to, and the connections that came."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        came: list[int] = []
        yield listening.getsockname()[1], came
        with pytest.raises(BlockingIOError):
            came.append(listening.accept()[1][1])


def starter(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HIBERNAUT_", "TEMPORAL_"))
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "starter.py"), "rehearse", *arguments],
        cwd=cwd,
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_page_is_true_and_nothing_outside_is_touched(
    tmp_path: Path, witness: tuple[int, list[int]]
) -> None:
    """Its command, with its answers, where mail, S3, search, a model and another Temporal are set up."""
    port, _ = witness
    there = f"http://127.0.0.1:{port}"
    [command] = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    [answers] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "answers.json").write_text(answers)
    program, script, name, *arguments = shlex.split(command)
    assert (program, script, name) == (".venv/bin/python", "starter.py", "rehearse")
    # From a full minute on: what is told to the minute hides the seconds that the rehearsal itself takes. And
    # one that is ahead until its server runs, however long that takes.
    begins = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:00Z")
    done = starter(
        *(*arguments, "--from", begins, "--json"),
        cwd=tmp_path,
        HIBERNAUT_DATA_DIR=str(tmp_path / "data"),
        HIBERNAUT_SMTP=f"smtp://127.0.0.1:{port}",
        HIBERNAUT_MAIL_FROM="agents@example.com",
        HIBERNAUT_S3_BUCKET="bucket",
        HIBERNAUT_S3_ENDPOINT=there,
        HIBERNAUT_SEARCH=f"searxng:{there}",
        HIBERNAUT_OPENAI_KEY="key",
        HIBERNAUT_MODEL="openai:gpt-4o",
        HIBERNAUT_MODEL_ADDRESS=there,
        TEMPORAL_ADDRESS=f"127.0.0.1:{port}",
    )
    out, said = done.communicate(timeout=240)
    assert done.returncode == 0, said
    told = Rehearsed.model_validate_json(out)
    [asked] = told.of(EntryKind.ASKS)
    [published] = told.of(EntryKind.ACTS)
    assert published.at - asked.at == timedelta(days=1)
    assert [each.at - asked.at for each in told.of(EntryKind.TELLS)][:2] == [timedelta(0), timedelta(hours=4)]
    assert {each.activity: each.why for each in told.stand_ins} == {
        "check_preconditions": "it reaches outside",
        "find_links": "as the answers say",
        "fetch_page": "it reaches outside",
        "page_digest": "it reaches outside",
        "publish_report": "destructive, it takes an approval",
    }
    assert asked.plan is not None
    assert [each["url"] for each in asked.plan["sources"]] == ["https://example.org/cells"]  # type: ignore[index,union-attr,call-overload]
    assert told.cost.input_tokens > 100
    assert told.cost.usd > 0, "what it would have cost"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["answers.json", "rehearsal.html"]
    assert f"page: {tmp_path / 'rehearsal.html'}" in said


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_ending_it_ends_all_that_it_has_started(number: signal.Signals, tmp_path: Path) -> None:
    """Amidst a rehearsal; its server, its worker and its folder are gone."""
    running = starter(
        *("market-analyst", "index=AAPL", "calendar=24/7", "for=300d", "approvers=ann", "--for", "300d"),
        cwd=tmp_path,
        HIBERNAUT_DATA_DIR=str(tmp_path / "data"),
        TMPDIR=str(tmp_path),
    )
    end = time.monotonic() + 120
    while not any("look_at_market" in each.read_text() for each in tmp_path.glob("*/calls.jsonl")):
        assert time.monotonic() < end, "it never began"
        time.sleep(0.1)
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True).stdout
    running.send_signal(number)
    out, said = running.communicate(timeout=120)
    assert (running.returncode, out) == (130, "")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True).stdout == b""
