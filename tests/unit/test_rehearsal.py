"""A rehearsal's worker is confined, and whatever it does not do has an answer."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

import worker
from activities.llm.estimate import EstimatingRunner
from activities.llm.records import OFFLINE, Material, Structured, Think
from activities.llm.runner import Caller
from activities.quotes.choose import rehearsed_feed
from activities.quotes.csv_feed import CsvFeed
from activities.rehearsal.confinement import OUTSIDE_ACCESS, OutsideAccess
from activities.rehearsal.stand_ins import has_own_stand_in, is_destructive, result_type, stand_in
from cli.output import CommandError
from cli.rehearsal.answers import AnswerKind, AnswerScript, read_script
from common.artifacts import ArtifactStore
from common.object_store import FolderStore
from common.settings import Settings

ROOT = Path(__file__).parents[2]
CONFINED = """
import os, shutil, socket, sqlite3, subprocess, sys, tempfile
from pathlib import Path
from activities.rehearsal.confinement import OutsideError, confine

inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
(outside / "kept").write_text("kept")
folder = os.open(outside, os.O_RDONLY)
own = os.open(inside, os.O_RDONLY)
confine(inside)

def tries(name, do):
    try:
        do()
    except OutsideError as error:
        print("refused", name)
    except Exception as error:
        print("other", name, type(error).__name__)
    else:
        print("done", name)

tries("connect", lambda: socket.create_connection(("127.0.0.1", 9), 1))
tries("resolve", lambda: socket.getaddrinfo("rehearsed.invalid", 80))
tries("send", lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9)))
tries("write", lambda: (outside / "new").write_text("x"))
tries("append", lambda: (outside / "kept").open("a"))
tries("write in a folder", lambda: os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
tries("remove", lambda: (outside / "kept").unlink())
tries("remove in a folder", lambda: os.unlink("kept", dir_fd=folder))
tries("rename", lambda: (outside / "kept").rename(inside / "kept"))
tries("rename into", lambda: os.replace("mine", "kept", src_dir_fd=own, dst_dir_fd=folder))
tries("make", lambda: (outside / "folder").mkdir())
tries("link", lambda: (outside / "link").symlink_to(inside))
tries("change", lambda: (outside / "kept").chmod(0))
tries("database", lambda: sqlite3.connect(outside / "book.db"))
tries("tree", lambda: shutil.rmtree(outside))
tries("program", lambda: subprocess.run(["touch", outside / "new"]))
tries("shell", lambda: os.system("true"))
tries("way round", lambda: (inside / "out").symlink_to(outside) or (inside / "out" / "new").write_text("x"))
tries("own write", lambda: (inside / "new").write_text("x"))
tries("own write in a folder", lambda: os.close(os.open("mine", os.O_WRONLY | os.O_CREAT, dir_fd=own)))
tries("own tree", lambda: shutil.rmtree(tempfile.mkdtemp(dir=inside)))
tries("own database", lambda: sqlite3.connect(inside / "book.db").execute("create table t (x)"))
tries("own program", lambda: subprocess.run([sys.executable, "-c", ""], check=True))
tries("read", lambda: (outside / "kept").read_text())
"""


def test_a_confined_process_reaches_nothing_outside(tmp_path: Path) -> None:
    """No connection, nothing written, removed or run, by name, link or open folder; reading is free."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    command = [sys.executable, "-c", CONFINED, str(inside), str(outside)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    allowed = ("own write", "own write in a folder", "own tree", "own database", "own program", "read")
    assert [line for line in lines if not line.startswith("refused")] == [f"done {each}" for each in allowed]
    assert len(lines) == 24
    assert [each.name for each in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "kept"


@pytest.fixture
def activities(tmp_path: Path) -> list[Any]:
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    return worker.activity_methods(worker.activity_objects(settings))


def test_every_activity_that_is_not_run_has_an_answer(activities: list[Any], tmp_path: Path) -> None:
    """Made up after the result type where it has no stand-in of its own; none is forgotten."""
    made = []
    for each in activities:
        argument = next(iter(each.__annotations__.values()))
        hints = {name: hint for name, hint in _hints(each).items() if name != "return"}
        kind = next(iter(hints.values()))
        assert argument
        if is_destructive(kind.model_construct()) and not has_own_stand_in(each):
            answer = stand_in(
                each, kind.model_construct(), ArtifactStore(FolderStore(tmp_path / "artifacts")), None
            )
            expected = result_type(each)
            assert answer is None or isinstance(answer, expected)
            made.append(each.__name__)
    assert {"publish_report", "apply_fixes", "grant_budget"} <= set(made)


def test_every_destructive_activity_of_an_agent_is_known_as_one(activities: list[Any]) -> None:
    """By the kit's sign, the authorization in its argument."""
    names = {each.__name__ for each in activities if _is_destructive(each)}
    assert {
        "place_order",
        "apply_fixes",
        "publish_report",
        "grant_budget",
        *("send_outreach", "send_invitations", "send_reply", "send_letter"),
    } <= names
    assert names.isdisjoint({"quote", "find_order", "look", "read_documents", "notify"})


def _is_destructive(function: Any) -> bool:
    kinds = [hint for name, hint in _hints(function).items() if name != "return"]
    return is_destructive(kinds[0].model_construct())


def _hints(function: Any) -> dict[str, Any]:
    from typing import get_type_hints

    return get_type_hints(function.__func__)


def test_the_first_answer_that_fits_counts(tmp_path: Path) -> None:
    """And nobody answers what none fits."""
    file = tmp_path / "answers.json"
    file.write_text(
        json.dumps(
            {"answers": [{"question": "Buy*", "says": "reject"}, {"question": "Sell*", "says": "nobody"}]}
        )
    )
    script = read_script(str(file))
    assert [each.says for each in script.answers] == [AnswerKind.REJECT, AnswerKind.NOBODY]
    assert script == AnswerScript.model_validate_json(file.read_text())


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "not JSON"), ('{"answer": []}', "answer"), ('{"tell": [{"after": "x", "text": "y"}]}', "after")],
)
def test_an_answers_file_that_cannot_be_read_says_why(text: str, says: str, tmp_path: Path) -> None:
    """In one line that names the option and the file."""
    file = tmp_path / "answers.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=says) as refused:
        read_script(str(file))
    assert str(refused.value).startswith(f"--answers {file}: ")
    assert "\n" not in str(refused.value)


@pytest.fixture
def runner(tmp_path: Path) -> EstimatingRunner:
    settings = Settings.read(
        {
            "HIBERNAUT_DATA_DIR": str(tmp_path),
            "HIBERNAUT_MODEL": "openai:some",
            "HIBERNAUT_OPENAI_KEY": "key",
            "HIBERNAUT_MODEL_PRICES": "openai:some=10/20",
        }
    )
    return EstimatingRunner(settings, ArtifactStore(FolderStore(tmp_path / "artifacts")))


def test_what_a_model_would_cost_is_estimated_and_the_analyst_answers(runner: EstimatingRunner) -> None:
    """By the bytes that would be sent; and nothing where no model is set."""
    material = (Material(id="a", text="Solar cells make power from light. " * 200),)
    think = Think(instruction="What do solar cells make?", material=material)
    reply = runner.think(think, Caller("agent", "key")).reply
    assert reply is not None
    assert reply.model == OFFLINE, "its words are not passed off as a model's"
    assert 7000 / 4 < reply.input_tokens < 7000 / 2
    assert reply.usd == Decimal(reply.input_tokens * 10 + reply.output_tokens * 20) / 1_000_000
    assert "openai:some was not asked: tokens and money are estimated" in reply.notes
    offline = runner.think(think.model_copy(update={"model": OFFLINE}), Caller("agent", "key")).reply
    assert offline is not None
    assert (offline.input_tokens, offline.usd) == (0, 0)


def test_what_rules_cannot_answer_costs_too(runner: EstimatingRunner) -> None:
    """It ends as a model's bad answer does, which agents outlive; the cost goes along."""
    think = Think(instruction="Rank", want=Structured(type="ranking"), max_output_tokens=400)
    with pytest.raises(ApplicationError, match="rules have no answer") as failed:
        runner.think(think, Caller("agent", "key"))
    assert (failed.value.type, failed.value.non_retryable) == ("BadModelOutput", True)
    assert failed.value.details[0].output_tokens == 100


def test_a_model_that_is_not_set_up_is_found_out(runner: EstimatingRunner) -> None:
    """Before anybody relies on it."""
    with pytest.raises(ApplicationError, match="HIBERNAUT_ANTHROPIC_KEY"):
        runner.think(Think(instruction="x", model="anthropic:some"), Caller("agent", "key"))


async def test_prices_of_a_service_are_made_up_and_those_of_a_file_are_not(tmp_path: Path) -> None:
    """The same for the same minute; whoever asks for one knows."""
    read = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)}).trading
    clock = lambda: datetime.now(UTC)  # noqa: E731
    asked = rehearsed_feed(read.but(quotes="http://127.0.0.1:9/{symbol}?key=secret"), tmp_path, clock)
    token = OUTSIDE_ACCESS.set(access := OutsideAccess())
    try:
        quotes = [await asked.quote("KO"), await asked.quote("KO")]
    finally:
        OUTSIDE_ACCESS.reset(token)
    by_minute = {f"{each.at:%R}": each.price for each in quotes}
    assert all(each.price == by_minute[f"{each.at:%R}"] for each in quotes)
    assert all(Decimal("99.4") <= each.price <= Decimal("100.6") for each in quotes)
    assert quotes[0].source == "made up for a rehearsal"
    assert access.made_up == "127.0.0.1 is not asked for prices, they are made up"
    assert isinstance(rehearsed_feed(read, tmp_path, clock), CsvFeed)
