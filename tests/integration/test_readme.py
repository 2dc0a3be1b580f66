"""README and docs/own-agent.md are true: every command in them is run as it stands, every change is made."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.demo import _answer
from cli.dev_server import free_port
from common.approval.types import Verdict
from testing.waiting import eventually
from tests.support.preloaded import make_venv

# Dozens of commands, one after the other.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OWN = (ROOT / "docs" / "own-agent.md").read_text()
DEV = ".venv/bin/python starter.py dev\n"
READY = "ready; Ctrl-C ends everything"
NOBODY = "approved by the demo: no terminal to ask on"
TEMPLATE = ("common/agents/{}.py", "activities/{}.py", "workflows/{}.py", "tests/agents/test_{}.py")


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """What a page has between fences: the language, and the text."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [(language, text) for language, text in found if language in languages]


README_BLOCKS = [text for _, text in blocks(README, "sh")]
OWN_BLOCKS = blocks(OWN, "sh", "diff")


@dataclass
class Checkout:
    """A copy of this checkout with a stack at work, as a reader of the pages has them."""

    folder: Path
    environment: dict[str, str]
    log: Path

    @property
    def said(self) -> str:
        """What `dev` has printed."""
        return self.log.read_text()

    def shell(self, session: str) -> str:
        """What a session of a page prints; every command of it ends well."""
        script = "set -euo pipefail\nshopt -s expand_aliases\n" + session
        run = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert run.returncode == 0, run.stdout + run.stderr + self.said
        return run.stdout

    def change(self, diff: str) -> None:
        """Make a change of a page: the lines that it takes away or keeps stand once in the file it names."""
        name, *lines = diff.splitlines(keepends=True)
        file = self.folder / name.removeprefix("# ").strip()
        before, after = ("".join(line[1:] for line in lines if line[0] in signs) for signs in (" -", " +"))
        text = file.read_text()
        assert text.count(before) == 1, f"{name} has {text.count(before)} times\n{before}"
        file.write_text(text.replace(before, after))

    @contextlib.asynccontextmanager
    async def says(self, words: str) -> AsyncIterator[None]:
        """What is done here has `dev` say so, once more than it has; that is waited for."""
        count = self.said.count(words)
        yield
        await eventually(lambda: self.said.count(words) > count)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """One stack for both pages. Nothing is left in the checkout that the tests are in."""
    folder = tmp_path_factory.mktemp("readme")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("TEMPORAL_", "PYTEST_"))
    }
    environment["HIBERNAUT_DATA_DIR"] = str(folder / "data")
    copy, forks = folder / "checkout", folder / "forks"
    # With what is compiled; a file under way has more behind its suffix.
    ignored = shutil.ignore_patterns(".venv", ".git", ".hibernaut", "*.pyc.*", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=ignored)
    make_venv(copy / ".venv", forks)
    made = Checkout(copy, environment, folder / "dev.log")
    # What writes agents comes before the stack, as each would have it take them up.
    written = made.shell(README_BLOCKS[-1]) + made.shell(OWN_BLOCKS[0][1])
    assert "3 passed" in written
    ports = ["--port", str(free_port()), "--ui-port", str(free_port()), "--http-port", str(free_port())]
    with made.log.open("w") as log:
        dev = subprocess.Popen([*DEV.split(), *ports], cwd=copy, env=environment, stderr=log)
    preloaded = [sys.executable, "-m", "tests.support.preloaded", str(forks)]
    forking = subprocess.Popen(preloaded, cwd=copy, env=environment)
    try:
        yield made
    finally:
        forking.kill()
        forking.wait()
        dev.terminate()
        assert dev.wait(120) == 0


def test_the_make_commands_are_the_ones_there_are() -> None:
    """`make demo` has a test of its own below, and `make test` is what runs this."""
    assert README_BLOCKS[0] == "make demo\nmake test\n"
    made = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo: setup$", made, re.MULTILINE)
    assert re.search(r"^test: setup-dev", made, re.MULTILINE)


async def test_the_sessions_of_the_readme_run_as_they_stand(checkout: Checkout) -> None:
    """All of them, line by line, against the stack that its first starts."""
    await eventually(lambda: READY in checkout.said)
    _, first, *sessions, last = README_BLOCKS
    assert first == DEV
    told = "".join(checkout.shell(session) for session in sessions)
    assert '"files_fixed": 2' in told
    assert '"outcome": "bought"' in told
    assert last == ".venv/bin/python starter.py new sweeper\n"
    [(_, shown)] = blocks(README, "python")
    assert shown.rstrip() in (checkout.folder / "workflows" / "sweeper.py").read_text()


async def test_an_own_agent_is_run_and_changed_as_its_page_says(checkout: Checkout) -> None:
    """Its sessions in their order, and its changes between them, which the stack takes up by itself."""
    await eventually(lambda: READY in checkout.said)
    (_, run), (_, sleeps), (_, change), (_, breaks), (_, patch), (_, ends) = OWN_BLOCKS[2:]
    assert '"files deleted: 1"' in checkout.shell(run)
    checkout.shell(sleeps)
    async with checkout.says("sleeper cannot go on"):
        checkout.change(change)
    told = checkout.shell(breaks)
    assert "history has the search attributes" in told
    assert "as dev said" in told
    checkout.change(patch)
    workflow = checkout.folder / "workflows" / "tidy.py"
    sound = workflow.read_text()
    flaw = f"SyntaxError: invalid syntax (workflows/tidy.py:{sound.count(chr(10)) + 1})"
    async with checkout.says(flaw):
        workflow.write_text(sound + "def x(:\n")
    # An agent of that very file is begun on the old worker, and comes to its sleep.
    checkout.shell(sleeps.partition("hibernaut tell")[0].replace("sleeper", "meanwhile"))
    checkout.shell(".venv/bin/python starter.py cancel meanwhile")
    async with checkout.says("the new code runs"):
        workflow.write_text(sound)
        # The gateway has that, too.
        types = checkout.folder / "common" / "agents" / "tidy.py"
        types.write_text(types.read_text() + "\n")
    checkout.shell(ends)
    shown = json.loads(checkout.shell(".venv/bin/python starter.py show sleeper --json"))
    went = [entry["node"] for entry in shown["notebook"] if entry["text"] == "entered"]
    assert went[:5] == ["look", "sleep", "look", "sleep", "look"], "it went on where it was"
    assert checkout.said.count("cannot go on") == 1, "all can, once it is patched"
    assert " ended (" not in checkout.said, "what is replaced is not missed"


def test_what_new_writes_is_well_formed(checkout: Checkout) -> None:
    """As it came; types and layers are checked of the template that it is a copy of."""
    files = " ".join(each.format("sweeper") for each in TEMPLATE)
    checkout.shell(f".venv/bin/ruff check {files} common/agents/kinds.py")
    checkout.shell(f".venv/bin/ruff format --check {files} common/agents/kinds.py")


def test_what_new_writes_can_be_rehearsed(checkout: Checkout) -> None:
    """Nobody has taught `rehearse` this kind: it asks, is answered, and deletes nothing."""
    (checkout.folder / "old").mkdir()
    (checkout.folder / "old" / "a.txt").write_text("old")
    os.utime(checkout.folder / "old" / "a.txt", (0, 0))
    told = checkout.shell(".venv/bin/python starter.py rehearse sweeper path=old approvers=ann")
    assert "asks    Delete the old files" in told
    assert "acts    sweeper_delete, which is not done" in told
    assert '"files deleted: 1"' in told, "as it would have said"
    assert (checkout.folder / "old" / "a.txt").exists()


@pytest.mark.soak
def test_what_new_writes_passes_all_checks(checkout: Checkout) -> None:
    """Those of `make check`, and its own test."""
    checkout.shell(".venv/bin/mypy workflows/sweeper.py activities/sweeper.py common/agents/sweeper.py")
    checkout.shell(".venv/bin/lint-imports --no-cache")
    assert "3 passed" in checkout.shell(".venv/bin/python -m pytest -q tests/agents/test_sweeper.py")


@pytest.mark.soak
def test_a_flaw_in_its_code_ends_the_rehearsal(checkout: Checkout) -> None:
    """Temporal would try it again until a fix is deployed; here it is told at once."""
    file = checkout.folder / "workflows" / "sweeper.py"
    text = file.read_text()
    file.write_text(text.replace("if not plan.files:", "if not plan.flies:"))
    try:
        told = checkout.shell("! .venv/bin/python starter.py rehearse sweeper path=shop approvers=ann")
    finally:
        file.write_text(text)
    assert "its code fails again and again" in told.splitlines()[0]
    assert "'SweeperPlan' object has no attribute 'flies'" in told


def test_make_demo_shows_asks_fixes_and_leaves_nothing_running(tmp_path: Path) -> None:
    """The main job on a folder of one's own: the plan and its diff are shown before the question."""
    shop = tmp_path / "shop"
    shutil.copytree(ROOT / "tests" / "samples" / "shop", shop)
    environment = {**os.environ, "HIBERNAUT_DATA_DIR": str(tmp_path / "data"), "TARGET": str(shop)}
    master, slave = pty.openpty()
    demo = subprocess.Popen(
        [sys.executable, "-m", "cli.demo"], cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    said = b""
    try:
        while b"Apply these 10 fixes to 3 files? [y/N]" not in said:
            said += os.read(master, 65536)
        assert b"10 fixes in 3 files:" in said
        assert b"+++ b/shop/orders.py" in said
        assert b"OrderedDict" in (shop / "shop" / "orders.py").read_bytes()
        os.write(master, b"y\n")
        with contextlib.suppress(OSError):  # the terminal closes with the last process on it
            while data := os.read(master, 65536):
                said += data
        assert demo.wait(120) == 0
    finally:
        demo.kill()
        os.close(master)
    shown = said.decode().replace("\r\n", "\n")
    assert "3 files fixed" in shown
    [report] = re.findall(r"^report: (.*)$", shown, re.MULTILINE)
    assert "</html>" in Path(report).read_text()
    assert re.search(r"^Web UI: http://127\.0\.0\.1:\d+/", shown, re.MULTILINE)
    assert "OrderedDict" not in (shop / "shop" / "orders.py").read_text()
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "data")], capture_output=True, text=True)
    assert left.stdout == ""


@pytest.mark.parametrize("answer", ["n", "", "yes please"])
async def test_anything_but_a_yes_is_a_no(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """The demo fixes nothing that was not clearly wanted; where nobody can be asked it says so."""
    plan: Any = SimpleNamespace(fixes=10, files=3)
    for on_terminal, answered in (True, (Verdict.REJECT, "no")), (False, (Verdict.APPROVE, NOBODY)):
        reading, typed = os.pipe()
        os.write(typed, f"{answer}\n".encode())
        os.close(typed)
        with open(reading) as terminal:
            monkeypatch.setattr(terminal, "isatty", lambda there=on_terminal: there)
            monkeypatch.setattr(sys, "stdin", terminal)
            assert await _answer(plan) == answered
