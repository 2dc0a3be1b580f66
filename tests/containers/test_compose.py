"""A team's stack, from `up` to an approval over HTTP, through restarts and a night switched off."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cli.children import NotStartedError
from cli.dev_server import free_port
from common.programs import packaged_program
from tests.support.containers.podman import ROOT, Podman, until
from tests.support.containers.standins import build_stand_ins

pytestmark = pytest.mark.soak
# What is there to look at, and no part of what agents need, has no stand-in.
LEFT_OUT = {"ui"}


def secrets_of_readme() -> str:
    """The commands by which the page has a team write its secrets."""
    page = (ROOT / "deploy" / "README.md").read_text()
    block = next(each for each in page.split("```") if "OBJECTS_PASSWORD=" in each)
    return block.removeprefix("sh").partition("cd deploy")[0]


class Stack:
    """The project, with what its README has a team write beside `compose.yaml`."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman, self.folder = podman, folder / "deploy"
        secret = shutil.ignore_patterns(".env", "hibernaut.env", "code")
        shutil.copytree(ROOT / "deploy", self.folder, ignore=secret)
        shutil.copytree(ROOT / "tests" / "samples" / "shop", self.folder / "code" / "shop")
        for path in (self.folder / "code", *(self.folder / "code").rglob("*")):
            os.chown(path, 10001, 10001)
        self.port, self.project = free_port(), f"hibernaut-test-{secrets.token_hex(4)}"
        podman.program("sh", "-euc", secrets_of_readme(), cwd=folder)
        with (self.folder / ".env").open("a") as file:
            file.write(f"GATEWAY_PORT={self.port}\n")
        services = yaml.safe_load((self.folder / "compose.yaml").read_text())["services"]
        self.services = [name for name in services if name not in LEFT_OUT]
        self.images = {service["image"] for service in services.values()}
        self.tokens: dict[str, str] = {}

    def compose(self, *words: str) -> str:
        program = packaged_program("podman-compose")
        assert program
        return self.podman.program(
            program, "-p", self.project, "-f", "compose.yaml", *words, cwd=self.folder, timeout=900
        )

    def up(self) -> None:
        """Start it, and wait until the gateway answers, which it does once there is a token."""
        self.compose("up", "--no-build", "--detach", *self.services)
        if not self.tokens:
            self.tokens = {name: self.token(name) for name in ("ann", "bob")}
        until(self.is_ready, "the gateway is ready", seconds=600)

    def token(self, person: str) -> str:
        """As the page says, by a container of its own."""
        words = ("run", "--rm", "--no-deps", "-T", "setup", "python", "starter.py", "tokens", "add", person)
        return self.compose(*words).split()[-1]

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def inside(self, service: str, *words: str) -> str:
        return self.podman("exec", self.container(service), *words)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def asks(self, person: str, method: str, path: str, body: Any = None) -> Any:
        """What the gateway answers a person; None while it refuses or is away."""
        try:
            answer = httpx.request(
                method,
                f"http://127.0.0.1:{self.port}{path}",
                json=body,
                headers={"Authorization": f"Bearer {self.tokens[person]}"},
                timeout=40,
            )
        except httpx.HTTPError:
            return None
        if not answer.is_success:
            print(path, answer.status_code, answer.text[:300])
            return None
        return answer.json()

    def is_done(self, service: str) -> bool:
        state = json.loads(self.podman("inspect", self.container(service)))[0]["State"]
        return state["Status"] == "exited" and state["ExitCode"] == 0

    def is_up(self, service: str) -> bool:
        found = json.loads(self.podman("inspect", self.container(service)))[0]
        return bool(found["State"]["Running"])


@pytest.fixture
def stack(podman: Podman, tmp_path: Path) -> Iterator[Stack]:
    """The stack's files and images; nothing is started yet."""
    if not packaged_program("podman-compose"):
        pytest.skip("the Python package podman-compose is missing")
    stack = Stack(podman, tmp_path)
    try:
        build_stand_ins(podman, stack.images)
    except NotStartedError as error:
        pytest.skip(str(error))
    for target in ("gateway", "worker"):
        podman.build_target(target)
    try:
        yield stack
    except BaseException:
        print(stack.compose("ps"))
        raise
    finally:
        for service in stack.services:
            try:
                # What it says on its error output podman does, too.
                words = ("sh", "-c", 'exec podman logs --tail 40 "$0" 2>&1', stack.container(service))
                print(f"== {service}\n{podman.program(*words)}")
            except subprocess.CalledProcessError:
                print(f"== {service} has no log")
        stack.compose("down", "--volumes", "--timeout", "5")


def test_an_agent_outlives_restarts_and_is_approved_over_http(stack: Stack) -> None:
    """Nothing is lost by a restart of any service or by `down`, and `doctor` has nothing to say."""
    stack.up()
    audit = {"path": "/code/shop", "apply": True, "approvers": ["bob"]}
    id = until(lambda: stack.asks("ann", "POST", "/agents/code-auditor", audit), "an agent starts")["id"]

    def question() -> Any:
        return next((each for each in stack.asks("bob", "GET", "/inbox") or [] if each["id"] == id), None)

    asked = until(question, "it asks", seconds=600)
    for service in stack.services:
        if service not in ("database", "schema", "setup"):
            stack.compose("restart", service)
            until(lambda service=service: stack.is_up(service), f"{service} is up again")
    until(stack.is_ready, "the gateway is ready after the restarts", seconds=600)
    assert until(question, "it still asks") == asked
    stack.compose("down")
    stack.up()
    assert until(question, "it still asks after a night") == asked
    assert until(
        lambda: stack.asks("bob", "POST", f"/agents/{id}/decisions", {"verdict": "approve"}), "it is approved"
    )

    def ended() -> Any:
        found = stack.asks("ann", "GET", f"/agents/{id}")
        return found if found and found["status"] != "running" else None

    found = until(ended, "it ends", seconds=600)
    assert found["status"] == "completed"
    for service in ("database", "schema", "setup"):
        until(lambda service=service: stack.is_done(service), f"{service} is done")
    checks = stack.inside("gateway", "python", "starter.py", "doctor", "--json")
    said = {each["name"]: each["text"] for each in json.loads(checks)}
    print(said)
    assert "PostgreSQL" in said["database"]
    assert stack.podman("port", stack.container("temporal")) == ""
