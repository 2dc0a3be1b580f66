"""The README is true: every command in it is run, and the agent it shows is started."""

from __future__ import annotations

import contextlib
import importlib
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.dev_server import free_port
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.stage import Stage
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


MAKE, DEV, *SESSIONS = blocks("sh")


def test_the_make_commands_are_the_ones_there_are() -> None:
    """`make demo` has a test of its own below, and `make test` is what runs this."""
    assert MAKE.split("\n") == ["make demo", "make test", ""]
    made = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo: setup$", made, re.MULTILINE)
    assert re.search(r"^test: setup-dev", made, re.MULTILINE)


async def test_the_sessions_of_the_readme_run_as_they_stand(tmp_path: Path) -> None:
    """Both blocks, line by line, against the stack that its first block starts."""
    assert DEV == ".venv/bin/python starter.py dev\n"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
    environment["HIBERNAUT_DATA_DIR"] = str(tmp_path / "data")
    # A copy with this interpreter as its `.venv`, so that nothing is left in the checkout.
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".venv", ".git", ".hibernaut", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / ".venv").symlink_to(Path(sys.executable).parents[1])
    ports = ["--port", str(free_port()), "--ui-port", str(free_port()), "--http-port", str(free_port())]
    said = tmp_path / "dev.log"
    with said.open("w") as log:
        dev = subprocess.Popen([*DEV.split(), *ports], cwd=copy, env=environment, stderr=log)
    try:
        await eventually(lambda: "ready; Ctrl-C ends everything" in said.read_text())
        told = ""
        for session in SESSIONS:
            script = "set -euo pipefail\nshopt -s expand_aliases\n" + session
            run = subprocess.run(
                ["bash", "-c", script], cwd=copy, env=environment, capture_output=True, text=True, timeout=240
            )
            assert run.returncode == 0, run.stdout + run.stderr
            told += run.stdout
        assert '"files_fixed": 2' in told
        assert '"outcome": "bought"' in told
    finally:
        dev.terminate()
        assert dev.wait(60) == 0


def test_make_demo_ends_well_and_leaves_nothing_running(tmp_path: Path) -> None:
    """The main job on a folder of one's own, with no terminal: it approves by itself and says so."""
    shop = tmp_path / "shop"
    shutil.copytree(ROOT / "tests" / "samples" / "shop", shop)
    environment = {**os.environ, "HIBERNAUT_DATA_DIR": str(tmp_path / "data"), "TARGET": str(shop)}
    run = subprocess.run(
        [sys.executable, "-m", "cli.demo"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "no terminal to ask on: approving by itself" in run.stdout
    assert "10 fixes in 3 files:" in run.stdout
    assert "+++ b/shop/orders.py" in run.stdout
    assert "3 files fixed" in run.stdout
    [report] = re.findall(r"^report: (.*)$", run.stdout, re.MULTILINE)
    assert "</html>" in Path(report).read_text()
    assert re.search(r"^Web UI: http://127\.0\.0\.1:\d+/", run.stdout, re.MULTILINE)
    assert "OrderedDict" not in (shop / "shop" / "orders.py").read_text()
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "data")], capture_output=True, text=True)
    assert left.stdout == ""


def test_on_a_terminal_the_demo_asks_and_a_no_touches_nothing(tmp_path: Path) -> None:
    """The plan and its diff are shown before the question; anything but yes is a no."""
    shop = tmp_path / "shop"
    shutil.copytree(ROOT / "tests" / "samples" / "shop", shop)
    environment = {**os.environ, "HIBERNAUT_DATA_DIR": str(tmp_path / "data"), "TARGET": str(shop)}
    master, slave = pty.openpty()
    demo = subprocess.Popen(
        [sys.executable, "-m", "cli.demo"], cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = b""
    try:
        while b"Apply these 10 fixes to 3 files? [y/N]" not in shown:
            shown += os.read(master, 65536)
        assert b"+++ b/shop/orders.py" in shown
        os.write(master, b"n\n")
        with contextlib.suppress(OSError):  # the terminal closes with the last process on it
            while data := os.read(master, 65536):
                shown += data
        assert demo.wait(120) == 0
    finally:
        demo.kill()
        os.close(master)
    assert b"0 files fixed" in shown
    sample = ROOT / "tests" / "samples" / "shop"
    for file in sample.rglob("*.py"):
        assert (
            shop / file.relative_to(ROOT / "tests" / "samples" / "shop")
        ).read_bytes() == file.read_bytes()


async def test_the_agent_of_the_readme_runs(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two files, as printed, started: it looks, sleeps, is woken, asks, and takes the answer."""
    inputs, agent = blocks("python")
    assert sum(1 for line in agent.splitlines() if line.strip()) < 40
    package = tmp_path / "readme"
    package.mkdir()
    for text, name in ((inputs, "common/agents/folder_watch.py"), (agent, "workflows/folder_watch.py")):
        assert text.startswith(f"# {name}\n")
        (package / Path(name).name).write_text(text)
    (package / "watched.py").write_text("x = 1\n")
    (package / "folder_watch_agent.py").write_text(
        agent.replace("common.agents.folder_watch", "folder_watch_input")
    )
    (package / "folder_watch_input.py").write_text(inputs)
    monkeypatch.syspath_prepend(str(package))
    typed = importlib.import_module("folder_watch_input")
    written = importlib.import_module("folder_watch_agent")

    from temporalio.client import WorkflowHandle

    import worker

    stage = Stage(await connect(settings), settings, cached=1000)
    stage.agents = [written.FolderWatch]
    monkeypatch.setattr(stage, "objects", lambda: worker.activity_objects(stage.settings))
    await stage.work()
    watched = tmp_path / "watched"
    watched.mkdir()
    try:
        handle: WorkflowHandle[object, str] = await stage.start(
            typed.FolderWatchInput(path=str(watched), limit=100, approvers=["ops"]), kind="folder-watch"
        )

        async def sleeping() -> bool:
            return (await stage.status(handle)).state == "sleeping"

        await eventually(sleeping)
        (watched / "big.txt").write_text("x" * 200)
        await handle.signal("wake")
        request = await stage.asked(handle)
        assert request.question == f"{watched} holds 200 bytes. Is that all right?"
        await stage.decide(handle, request, by="ops")
        assert "approved by ops" in await handle.result()
        await stage.replay_all()
    finally:
        await stage.rest()
