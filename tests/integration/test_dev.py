"""The embedded stack as a user runs it: one command, real processes, killed and started again."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from cli.dev_server import DevServer, DevServerError, find_program, free_port
from common.settings import Settings
from common.temporal.search_attributes import OWNER
from testing.waiting import eventually
from tests.support.dev import CLEAN, ROOT, Dev, dev


async def requires_token(stack: Dev) -> None:
    """The printed token opens what is closed without it."""
    address = json.loads((stack.folder / "stack.json").read_text())["http"]
    [token] = re.findall(rf"dashboard +{re.escape(address)} +token: (\S+)", stack.said)
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        assert (await client.get("/agents")).status_code == 401
        found = await client.get("/agents", headers={"Authorization": f"Bearer {token}"})
        assert (found.status_code, found.json()) == (200, [])


async def cli(folder: Path, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "starter.py"), *words),
        env={**CLEAN, "HIBERNAUT_DATA_DIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_stack_works_is_mended_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """One command gives a working Temporal; what is killed comes back; Ctrl-C ends all of it."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text("import os\n")
    async with dev(tmp_path / "data") as stack:
        await stack.hears("ready")
        assert [
            each for each in (stack.folder, *stack.folder.rglob("*")) if each.stat().st_mode & 0o077
        ] == []
        address = json.loads((stack.folder / "stack.json").read_text())
        assert address["temporal"] in stack.said
        assert address["ui"] in stack.said
        assert f"HIBERNAUT_DATA_DIR={stack.folder}" in stack.said

        async def well() -> tuple[int, str, str] | None:
            # A worker that is ready may be about to poll for the first time.
            health = await cli(stack.folder, "doctor", "--json")
            return None if health[0] else health

        health = await eventually(well)
        checks = {each["name"]: each for each in json.loads(health[1])}
        assert [each for each in checks.values() if each["health"] not in ("ok", "unseen")] == []
        assert "the archivist runs at" in checks["archive"]["text"]
        before = stack.children()
        assert "hush" not in before["server"].environ().values(), "secrets are no business of the server's"
        assert f"http://{before['worker'].environ()['HIBERNAUT_HTTP']}" == address["http"], (
            "its links lead there"
        )
        before["worker"].kill()
        await stack.hears("worker 1 ended (killed by signal 9)")
        await stack.hears("worker 1 started again")
        await requires_token(stack)
        before["gateway"].kill()
        await stack.hears("the gateway ended (killed by signal 9)")
        await stack.hears("the gateway started again")
        before["server"].kill()
        await stack.hears("the Temporal server ended (killed by signal 9)")
        await stack.hears("the Temporal server started again")
        after = stack.children()
        assert {each.pid for each in before.values()}.isdisjoint(each.pid for each in after.values())
        outside = await cli(stack.folder, "start", "code-auditor", "path=/etc")
        assert (outside[0], "HIBERNAUT_ROOTS" in outside[2]) == (2, True)
        for field in (f"path={code}/none", f"baseline={code}/none"):
            absent = await cli(stack.folder, "start", "code-auditor", f"path={code}", field)
            assert (absent[:2], absent[2].count("\n")) == ((2, ""), 1), absent
            assert f"{field.partition('=')[0]}: there is no {code}/none" in absent[2]
        # Below the folder in which `dev` was started.
        started = await cli(stack.folder, "start", "code-auditor", f"path={code}", "--wait", "--json")
        assert json.loads(started[1])["status"] == "completed", started

        async def told() -> bool:
            # A start looks for a moment only, which may be too short for a busy worker.
            stuck = await cli(stack.folder, "start", "link-researcher", "topic=tides")
            assert (stuck[0], stuck[1].count("\n")) == (0, 1), stuck
            return "set HIBERNAUT_SEARCH" in stuck[2]

        await eventually(told)
        _, logged, _ = await cli(stack.folder, "logs", "--lines", "1000")
        assert {line.split()[0] for line in logged.splitlines()} == {"worker-1", "gateway"}
        assert logged.count("worker ready") == 2
        stack.process.send_signal(signal.SIGINT)
        await asyncio.wait_for(stack.process.wait(), 120)
        assert stack.process.returncode == 0
        assert not any(psutil.pid_exists(each.pid) for each in after.values())
        assert not (stack.folder / "stack.json").exists()


async def test_a_second_stack_is_refused_in_one_clear_line(tmp_path: Path) -> None:
    """Two stacks on one database would harm each other; a taken port is named with its option."""
    async with dev(tmp_path / "data") as stack:
        await stack.hears("ready")
        port = int(json.loads((stack.folder / "stack.json").read_text())["temporal"].rsplit(":")[-1])
        async with dev(stack.folder) as second:
            _, err = await second.process.communicate()
            assert second.process.returncode == 2
            assert err.decode().count("\n") == 1
            assert f"process {stack.process.pid}" in err.decode()
            assert "--data-dir" in err.decode()
        async with dev(Path("/proc/none")) as nowhere:
            _, err = await nowhere.process.communicate()
            assert (nowhere.process.returncode, err.decode().count("\n")) == (2, 1)
        async with dev(tmp_path / "other", port=port) as third:
            _, err = await third.process.communicate()
            assert third.process.returncode == 2
            assert f"port {port} is taken" in err.decode()
            assert "--port" in err.decode()
        assert (stack.folder / "stack.json").exists()


async def test_a_killed_stack_leaves_no_process_and_its_data_comes_back(tmp_path: Path) -> None:
    """After SIGKILL the children die too, the left address misleads nobody, and the agents are there."""
    port = free_port()
    async with dev(tmp_path / "data", port) as stack:
        await stack.hears("ready")
        id = f"kept-{port}"
        (tmp_path / "code").mkdir()
        assert (await cli(stack.folder, "start", "code-auditor", f"path={tmp_path}/code", "--id", id))[0] == 0
        children = stack.children()
        stack.process.kill()
        await stack.process.wait()
        await eventually(lambda: not any(each.is_running() for each in children.values()))
    code, _, err = await cli(tmp_path / "data", "list")
    assert code == 5
    assert f"127.0.0.1:{port}" in err
    assert "starter.py dev" in err
    async with dev(tmp_path / "data", port) as again:
        await again.hears("ready")

        async def listed() -> list[str]:
            # What the killed server had not yet entered for lists it enters now.
            _, out, _ = await cli(again.folder, "list", "--json")
            return [row["id"] for row in json.loads(out)]

        assert await eventually(listed) == [id]


async def test_the_server_keeps_what_it_acknowledged_through_a_kill(tmp_path: Path) -> None:
    """`kill` and `start` bring the same database back on the same port, with its search attributes."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    async with DevServer(settings, ui_port=None) as server:
        address, pid = server.address, server.pid
        client = await Client.connect(address)
        await client.start_workflow("nothing", id="kept", task_queue="nobody")
        server.kill()
        await server.start()
        assert server.address == address
        assert server.pid != pid
        described = await client.get_workflow_handle("kept").describe()
        assert described.workflow_type == "nothing"
        await client.start_workflow(
            "nothing",
            id="owned",
            task_queue="nobody",
            search_attributes=TypedSearchAttributes([SearchAttributePair(OWNER, "somebody")]),
        )
    assert not psutil.pid_exists(server.pid)


async def test_a_server_that_ended_at_once_is_started_again(tmp_path: Path) -> None:
    """As where another program took one of the ports that its inner services were about to listen on."""
    real = find_program(Settings.read({}))
    program = tmp_path / "unlucky"
    program.write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/once ] && exec {real} "$@"\ntouch {tmp_path}/once\nexit 1\n'
    )
    program.chmod(0o755)
    unlucky = {"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_TEMPORAL_PROGRAM": str(program)}
    async with DevServer(Settings.read(unlucky), ui_port=None) as server:
        assert (tmp_path / "once").exists()
        assert psutil.pid_exists(server.pid)


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A taken port, a program that fails (with its last word and its log), or no program at all."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = DevServer(settings, port=taken.getsockname()[1], ui_port=None)
        with pytest.raises(DevServerError, match="is taken"):
            await server.start()
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
    program.chmod(0o755)
    broken = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_TEMPORAL_PROGRAM": str(program)})
    with pytest.raises(DevServerError, match=r"the disk is full.*temporal\.log"):
        await DevServer(broken, ui_port=None).start()
    assert (tmp_path / "logs" / "temporal.log").read_text().count("the disk is full") == 3
    with pytest.raises(DevServerError, match="HIBERNAUT_TEMPORAL_PROGRAM"):
        DevServer(Settings.read({"HIBERNAUT_TEMPORAL_PROGRAM": "/no/such/program"}))


@pytest.mark.soak
async def test_what_the_stack_runs_is_current(tmp_path: Path) -> None:
    """A build, if it is told one, and unversioned workers again without: agents never wait for the other."""
    folder = tmp_path / "data"
    build = {"TEMPORAL_DEPLOYMENT_NAME": "shop", "TEMPORAL_WORKER_BUILD_ID": "1"}
    async with dev(folder, environment=build) as stack:
        await stack.hears("ready; Ctrl-C", 90)
        assert "new agents begin on build 1" in stack.said
    async with dev(folder) as stack:
        await stack.hears("ready; Ctrl-C", 90)
        assert "new agents begin on unversioned workers" in stack.said
    async with dev(folder) as stack:
        await stack.hears("ready; Ctrl-C", 90)
        assert "new agents begin" not in stack.said
