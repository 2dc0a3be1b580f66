"""`make cluster` as its user runs it, plain and with mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from cli.cluster.certificates import KeyPair
from testing.fixtures import open_all
from testing.waiting import eventually
from tests.support.desk import Ran
from tests.support.dev import CLEAN, ROOT, Dev

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


@contextlib.asynccontextmanager
async def cluster(folder: Path, *words: str) -> AsyncIterator[Dev]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.cluster", "--folder", str(folder), *words),
        env=CLEAN,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    running = Dev(process, folder)
    try:
        await running.hears("ready; Ctrl-C", seconds=300)
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), 90)


async def starter(folder: Path, *words: str, **environment: str) -> Ran:
    """The command line on a cluster's data folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "starter.py"), *words),
        env={**CLEAN, "HIBERNAUT_DATA_DIR": str(folder / "data"), "HIBERNAUT_USER": "me", **environment},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return Ran(process.returncode or 0, out.decode(), err.decode())


def processes(folder: Path) -> list[str]:
    """What still runs on `folder`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if str(folder) in command:
            found.append(command)
    return found


async def test_it_starts_ends_and_goes_on_with_its_agents(folder: Path) -> None:
    """A worker, HTTP and the command line; an agent that asks at its end is decided after the next start."""
    place, code = folder / "cluster", folder / "code"
    shutil.copytree(ROOT / "tests" / "samples" / "shop", code)
    open_all(place / "data")
    async with cluster(place) as running:
        assert "done" in running.said
        checks = (await starter(place, "doctor", "--json")).json
        wrong = {each["name"]: each["text"] for each in checks if each["health"] in ("mend", "warning")}
        assert wrong == {}
        started = await starter(place, "start", "code-auditor", f"path={code}", "apply=true", "--id", "shop")
        assert started.code == 0, started.err
        await eventually(lambda: _asks(place, "shop"))
        http = running.said.split("dashboard    ")[1].split()[0]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{http}/readyz")).status_code == 200
    assert running.process.returncode == 0
    assert processes(place) == []
    async with cluster(place) as running:
        said = [line for line in running.said.splitlines() if line.startswith("done")]
        assert said == [], "everything was there"
        approved = await starter(place, "approve", "shop")
        assert approved.code == 0, approved.err
        ended = await starter(place, "result", "shop", "--wait")
        assert ended.code == 0, ended.err


async def _asks(place: Path, id: str) -> bool:
    return any(row["id"] == id for row in (await starter(place, "inbox", "--json")).json)


async def test_mutual_tls_and_who_is_turned_away(folder: Path) -> None:
    """Right certificates get through; wrong, expired and none get one clear line."""
    place, own = folder / "cluster", folder / "own"
    own.mkdir()
    async with cluster(place, "--tls") as running:
        told = running.said.split("other shells need ")[1].splitlines()[0].split()
        right = dict(word.split("=", 1) for word in told)
        assert (await starter(place, "doctor", **right)).code == 0
        started = await starter(place, "start", "buyer", "symbol=BAC", "quantity=1", "limit=20", **right)
        assert started.code == 0, started.err
        for wrong, why in _wrong(place / "tls", own, right):
            refused = await starter(place, "list", **wrong)
            print(refused.err)
            # A file that is not there is a mistake in a setting, known before anybody is asked.
            assert refused.code == (
                2 if wrong.get("TEMPORAL_TLS_CLIENT_KEY_PATH", "").endswith("none") else 5
            )
            assert refused.err.count("\n") == 1
            assert why in refused.err


def _wrong(tls: Path, own: Path, right: Mapping[str, str]) -> list[tuple[dict[str, str], str]]:
    """Environments of clients that are none, and what they are told."""
    stranger = KeyPair.authority("stranger")
    stranger.write(own, "ca")
    stranger.issue("client").write(own, "wrong")
    yesterday = datetime.now(UTC) - timedelta(days=2)
    KeyPair.read(tls, "ca").issue("client", timedelta(days=1), yesterday).write(own, "expired")

    def shown(name: str) -> dict[str, str]:
        pair = {"CERT": own / f"{name}.pem", "KEY": own / f"{name}.key"}
        return {**right, **{f"TEMPORAL_TLS_CLIENT_{kind}_PATH": str(file) for kind, file in pair.items()}}

    none = {name: value for name, value in right.items() if "CLIENT" not in name}
    plain = {name: value for name, value in right.items() if "TLS" not in name}
    return [
        (shown("wrong"), "TEMPORAL_TLS_CLIENT_CERT_PATH"),
        (shown("expired"), "TEMPORAL_TLS_CLIENT_CERT_PATH"),
        (none, "TEMPORAL_TLS_CLIENT_CERT_PATH"),
        (plain, "TEMPORAL_TLS"),
        (
            {**right, "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(own / "ca.pem")},
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
        ),
        ({**right, "TEMPORAL_TLS_SERVER_NAME": "other"}, "TEMPORAL_TLS_SERVER_NAME"),
        ({**right, "TEMPORAL_TLS_CLIENT_KEY_PATH": str(own / "none")}, str(own / "none")),
    ]
