"""Agents on two workers and a gateway without a folder in common; one worker is killed half-way."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.agent_objects import PREFIX
from common.artifacts import ArtifactStore
from common.object_store import open_store
from testing.waiting import eventually
from tests.support.auditor.code_base import code_base, steps_of_fixes
from tests.support.machines import Machines, machines
from tests.support.mail.smtp_server import smtp_server
from tests.support.s3 import credentials, in_bucket, moto
from tests.support.stack import ROOT
from tests.support.web import Route, WebServer

__all__ = ["credentials", "moto"]

# Four shards, of which two workers do two each.
FILES = 240
# What lies on a worker's disk: copies for people, what a machine keeps to save time, databases of SQLite.
OWN = {"reports", "research", "recruiting", "published", "fetching", "model-ledger", "paper", "quotes"}
CONTRACT = (
    "Services Agreement\n\nTerm. The initial term of this Agreement is one year.\n\n"
    "Governing law. This Agreement is governed by the laws of Bermuda.\n"
)


@pytest.fixture
def site() -> Iterator[WebServer]:
    names = ("north", "south", "east")
    text = (
        "<html><title>The {0} harbour</title><body><main><p>The tides of the {0} harbour rise twice a day "
        + ("and fall twice a day, the {0} pilots say.</p></main></body></html>")
    )
    with WebServer({f"/{name}": Route(text.format(name)) for name in names}, "127.0.0.2") as site:
        links = "".join(f'<p><a href="/{name}">The tides of the {name} harbour</a></p>' for name in names)
        site.routes["/"] = Route(f"<html><body>{links}</body></html>")
        yield site


class Journey:
    """One agent of a kind from its start to its end, through the gateway alone."""

    def __init__(self, on: Machines, kind: str, **input: Any) -> None:
        self.on, self.kind, self._input = on, kind, input
        self.id = ""

    async def start(self) -> None:
        answer = await self.on.http.post(f"/agents/{self.kind}", json=self._input)
        assert answer.status_code == 202, answer.text
        self.id = answer.json()["id"]

    async def view(self) -> dict[str, Any]:
        answer = await self.on.http.get(f"/agents/{self.id}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def tell(self, text: str) -> None:
        answer = await self.on.http.post(f"/agents/{self.id}/tell", json={"text": text})
        assert answer.status_code == 202, answer.text

    async def end(self) -> Any:
        """Say yes to whatever is asked, until it has ended well; its result."""

        async def settled() -> dict[str, Any] | None:
            view = await self.view()
            for asked in view["requests"]:
                yes = {"verdict": "approve", "digest": asked["digest"], "request_id": asked["id"]}
                await self.on.http.post(f"/agents/{self.id}/decisions", json=yes)
            return None if view["status"] == "running" else view

        view = await eventually(settled, 600, every=1)
        assert view["status"] == "completed", (self.kind, view["failure"])
        return view["result"]

    async def files(self) -> dict[str, bytes]:
        """What it wrote for people, as the gateway has it."""
        names = (await self.on.http.get(f"/agents/{self.id}/files")).json()["files"]
        return {name: (await self.on.http.get(f"/agents/{self.id}/files/{name}")).content for name in names}


Check = Callable[[Any, dict[str, bytes]], None]


def whole_audit(on: Machines, id: str, code: Path) -> Check:
    def check(result: Any, files: dict[str, bytes]) -> None:
        report = json.loads(files["report.json"])
        assert {Path(path).name for path in result["report"].values()} <= set(files)
        assert len(report["files"]) == len(report["findings"]) == FILES
        assert result["files_fixed"] == FILES / 4
        assert set(steps_of_fixes(on.settings, id).values()) == {1}
        assert len(steps_of_fixes(on.settings, id)) == FILES / 4
        assert not any(b"import os" in file.read_bytes() for file in code.rglob("*.py"))
        assert files["undo.patch"].count(b"--- a/") == FILES / 4

    return check


async def journeys(
    on: Machines, tmp_path: Path, site: WebServer, *, all_kinds: bool
) -> dict[Journey, Callable[[Journey], Check]]:
    code = code_base(tmp_path / "code", FILES)
    found: dict[Journey, Callable[[Journey], Check]] = {
        Journey(on, "code-auditor", path=str(code), apply=True): lambda each: whole_audit(on, each.id, code),
        Journey(
            on, "link-researcher", topic="the tides of harbours", sites=[f"http://{site.host}/"]
        ): lambda _: researched,
    }
    if all_kinds:
        contracts = tmp_path / "contracts"
        contracts.mkdir()
        for number in range(20):
            (contracts / f"{number}.txt").write_text(f"{CONTRACT}\nNumber {number}.\n")
        sample = tmp_path / "candidates"
        shutil.copytree(ROOT / "tests" / "samples" / "recruiting", sample)
        role = json.loads((sample / "candidates.json").read_text())
        role |= {"profiles": str(sample / "profiles"), "answer_within": "5s"}
        recruiter = Journey(on, "recruiter", **role)
        analyst = Journey(on, "market-analyst", index="KO", calendar="24/7", **{"for": "7d"})
        found |= {
            recruiter: lambda _: recruited,
            analyst: lambda _: watched,
            Journey(on, "contract-auditor", path=str(contracts)): lambda _: judged,
        }
    for each in found:
        await each.start()
    return found


def researched(result: Any, files: dict[str, bytes]) -> None:
    assert result["outcome"] == "published"
    assert len(result["read"]) == 3
    assert {Path(place).name for place in (*result["places"], result["draft"])} <= set(files)


def recruited(result: Any, files: dict[str, bytes]) -> None:
    assert result["counts"] == {"no_answer": 2}
    assert {"letters.md", "report.md", "report.html"} <= set(files)


def watched(result: Any, files: dict[str, bytes]) -> None:
    assert {Path(path).name for path in result["report"].values()} <= set(files)


def judged(result: Any, files: dict[str, bytes]) -> None:
    assert result["contracts"] == 20
    assert len(files["contracts.jsonl"].splitlines()) == 20


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "all_kinds", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["two kinds", "all kinds"]
)
async def test_agents_end_whole_on_workers_that_share_no_folder(
    all_kinds: bool, tmp_path: Path, moto: str, site: WebServer
) -> None:
    """Nothing on a worker's disk matters: one worker dies with its disk, and the gateway never saw either."""
    # A bucket in Python takes a minute of CPU for what a folder takes seconds for.
    store = in_bucket(moto) if all_kinds else {"HIBERNAUT_OBJECTS": str(tmp_path / "objects")}
    async with (
        smtp_server() as smtp,
        machines(
            tmp_path,
            {
                **store,
                "HIBERNAUT_ALLOWED_HOSTS": site.host,
                "HIBERNAUT_FETCH_RATE": "5",
                "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{smtp.port}",
                "HIBERNAUT_MAIL_FROM": "agents@example.com",
                "HIBERNAUT_MAIL_REPLY_TO": "answers@example.com",
                "HIBERNAUT_PUBLIC_URL": "http://localhost:8080",
            },
        ) as on,
    ):
        await asyncio.gather(on.start_worker("one"), on.start_worker("two"), on.start_gateway())
        found = await journeys(on, tmp_path, site, all_kinds=all_kinds)
        audit = next(iter(found))

        dead = await eventually(lambda: on.working_for(audit.id, "scan_shard"), every=0.05)
        await on.kill_worker(dead)
        shutil.rmtree(on.data(dead))

        for each, check in found.items():
            if each.kind == "market-analyst":
                await each.tell("finish now")
            check(each)(await each.end(), await each.files())
        assert await was_cut_off(on, audit.id), "the kill did not hit the scan"
        left = {each.name.partition(".")[0] for each in on.data(*on.workers).iterdir()}
        assert left <= OWN, "something else lies on a worker's disk"
        assert_nothing_is_plain(on)
        fetched_by_a_command(on, audit, await audit.files())


async def was_cut_off(on: Machines, id: str) -> bool:
    """Whether a worker was scanning for the agent that did not come back, and another did it again."""
    events = (await on.client.get_workflow_handle(id).fetch_history()).events
    scans = {
        event.event_id
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "scan_shard"
    }
    started = [event.activity_task_started_event_attributes for event in events]
    return any(
        each.attempt > 1 and each.last_failure.HasField("timeout_failure_info")
        for each in started
        if each.scheduled_event_id in scans
    )


def assert_nothing_is_plain(on: Machines) -> None:
    """What agents have in the bucket is ciphertext, and is there by its reference."""
    objects = open_store(on.settings)
    own = [each.key for each in objects.list(PREFIX)]
    assert own
    assert not [key for key in own if b"binary/encrypted" not in objects.get(key)[:200]]
    artifacts = ArtifactStore.of(on.settings)
    assert artifacts.get(artifacts.put(b"read back")) == b"read back"


def fetched_by_a_command(on: Machines, journey: Journey, files: dict[str, bytes]) -> None:
    """On a machine that has neither worker nor gateway."""
    save = on.folder / "saved"
    command = [sys.executable, str(ROOT / "starter.py"), "files", journey.id, "--save", str(save)]
    ran = subprocess.run(command, env=on.on("desk"), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert {file.name: file.read_bytes() for file in save.iterdir()} == files
    assert sorted(ran.stdout.splitlines()) == sorted(str(save / name) for name in files)
