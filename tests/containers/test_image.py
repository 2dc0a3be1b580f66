"""Images, built and run as they are deployed: not root, a root file system that nothing can be written to."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.dev_server import DevServer, free_port
from tests.support.containers.podman import CONFINED, ROOT, Podman, until

pytestmark = pytest.mark.soak
# In MB, base included; the official base is of about the same size as the one here.
AT_MOST = {"gateway": 605, "worker": 745, "dev": 800}
PROGRAMS = {
    "gateway": set(),
    "worker": {"hadolint", "oxlint", "ruff", "shellcheck", "zizmor"},
    "dev": {"litestream", "temporal"},
}
INSTALLED = """
import importlib.metadata, json
found = importlib.metadata.distributions()
print(json.dumps({each.name.lower().replace("_", "-").replace(".", "-"): each.version for each in found}))
"""

# Every import that the code has anywhere: many wait until something is used. Then what packages load by
# themselves once they are.
USED = """
import ast, io, pathlib, sys
sys.path.insert(0, ".")
statements = {
    ast.unparse(node)
    for top in ("activities", "cli", "common", "gateway", "workflows")
    for file in pathlib.Path(top).rglob("*.py")
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.Import) or isinstance(node, ast.ImportFrom) and not node.level
}
for statement in sorted(statements):
    exec(statement, {})
import anthropic, boto3, exchange_calendars, openai, sqlalchemy
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.syntax import Syntax
figure = Figure(layout="constrained")
FigureCanvasAgg(figure)
figure.add_subplot().plot([1, 2], [1, 2])
figure.savefig(io.BytesIO(), format="png")
openai.AsyncOpenAI(api_key="x").chat.completions, anthropic.AsyncAnthropic(api_key="x").messages
for service in ("bedrock", "bedrock-runtime", "s3", "sso", "sts"):
    boto3.client(service, region_name="us-east-1")
for place in ("postgresql+psycopg://localhost/x", "sqlite://"):
    sqlalchemy.create_engine(place)
exchange_calendars.get_calendar("XNYS")
Console(file=io.StringIO(), force_terminal=True).print(Syntax("+x", "diff"))
print(len(statements))
"""


@pytest.fixture(scope="module", params=["gateway", "worker", "dev"])
def target(request: pytest.FixtureRequest, podman: Podman) -> str:
    """The name of a target whose image is built."""
    podman.build_target(request.param)
    name: str = request.param
    return name


def test_an_image_holds_what_its_target_needs(podman: Podman, target: str) -> None:
    """Its size, user and health check; of programs its own alone; packages as they are locked."""
    image = f"localhost/hibernaut-{target}"
    found = json.loads(podman("image", "inspect", image))[0]
    size = found["Size"] / 1e6
    print(f"{target}: {size:.0f} MB")
    assert size <= AT_MOST[target]
    assert found["Config"]["User"] == "10001"
    assert ("Healthcheck" in found) == (target != "dev")
    listed = podman(*CONFINED, "--network=none", image, "ls", "/opt/hibernaut/bin").split()
    assert set().union(*PROGRAMS.values()) & set(listed) == PROGRAMS[target]
    installed = json.loads(podman(*CONFINED, "--network=none", image, "python", "-c", INSTALLED))
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    # Some are locked in one version for each version of Python.
    locked = {line.split(" ")[0] for line in lines if "==" in line and line[0] != " "}
    assert {f"{name}=={version}" for name, version in installed.items()} - locked == set()


def test_what_the_code_imports_and_uses_was_not_taken_out(podman: Podman) -> None:
    """`deploy/slim.py` deletes parts of packages."""
    image = podman.build_target("worker")
    words = (image, "python", "-W", "error::UserWarning", "-c", USED)
    assert int(podman(*CONFINED, "--network=none", *words)) > 500


def test_the_command_line_works_without_network_and_disk(podman: Podman) -> None:
    """Kinds are listed; nothing can be written to where the code is."""
    image = podman.build_target("gateway")
    kinds = json.loads(podman(*CONFINED, "--network=none", image, "python", "starter.py", "agents", "--json"))
    assert "code-auditor" in {each["kind"] for each in kinds}
    with pytest.raises(subprocess.CalledProcessError, match="touch"):
        podman(*CONFINED, "--network=none", image, "touch", "/app/x")


class Running:
    """Containers of a worker and a gateway on this machine's network, which share a data volume."""

    def __init__(self, podman: Podman, address: str, code: Path) -> None:
        self.podman = podman
        self.ports = {"worker": free_port(), "gateway": free_port()}
        self.roots = code.parent / "roots.json"
        self.roots.write_text(json.dumps({"*": ["/code"]}))
        environment = {
            "TEMPORAL_ADDRESS": address,
            "HIBERNAUT_ROOTS": "/roots.json",
            "HIBERNAUT_APPROVAL_KEYS": f"k1:{os.urandom(32).hex()}",
            "HIBERNAUT_WORKER_HEALTH": f"127.0.0.1:{self.ports['worker']}",
            "HIBERNAUT_HTTP": f"127.0.0.1:{self.ports['gateway']}",
            "HIBERNAUT_TASK_QUEUE": "containers",
        }
        self.options = [
            *CONFINED,
            "--network=host",
            *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
            *("--volume", f"{code}:/code", "--volume", f"{self.roots}:/roots.json:ro"),
            *("--volume", "hibernaut-image-test:/data"),
        ]

    def start(self, target: str) -> None:
        self.podman(*self.options, "--detach", "--name", f"test-{target}", f"localhost/hibernaut-{target}")

    def starter(self, *words: str) -> str:
        return self.podman(*self.options, "localhost/hibernaut-gateway", "python", "starter.py", *words)

    def is_healthy(self, target: str) -> bool:
        """Whether the image's own check succeeds, at the port that this test has given it."""
        found = json.loads(self.podman("image", "inspect", f"localhost/hibernaut-{target}"))[0]
        port = {"worker": "8081", "gateway": "8080"}[target]
        _, *command = found["Healthcheck"]["Test"]
        command = [word.replace(port, str(self.ports[target])) for word in command]
        try:
            self.podman("exec", f"test-{target}", *command)
        except subprocess.CalledProcessError:
            return False
        return True


@pytest.fixture
def running(podman: Podman, server: DevServer, tmp_path: Path) -> Iterator[Running]:
    """A worker and a gateway at the test session's Temporal."""
    for target in ("worker", "gateway"):
        podman.build_target(target)
    shutil.copytree(ROOT / "tests" / "samples" / "shop", tmp_path / "code" / "shop")
    for path in (tmp_path / "code", *(tmp_path / "code").rglob("*")):
        os.chown(path, 10001, 10001)
    containers = Running(podman, server.address, tmp_path / "code")
    try:
        containers.starter("tokens", "add", "ann")
        for target in ("worker", "gateway"):
            containers.start(target)
        yield containers
    finally:
        podman("rm", "--force", "--ignore", "--time=5", "test-worker", "test-gateway")
        podman("volume", "rm", "--force", "hibernaut-image-test")


async def test_worker_gateway_and_command_line_audit_in_their_images(running: Running) -> None:
    """Every analyser works in the worker's image, and the image's own checks say that all is well."""

    def audit() -> dict[str, object]:
        for target in ("worker", "gateway"):
            until(lambda target=target: running.is_healthy(target), f"healthy {target}")
        found = running.starter("start", "code-auditor", "--set", "path=/code/shop", "--wait", "--json")
        return dict(json.loads(found))

    # The server is this process's child; it goes on meanwhile.
    found = await asyncio.to_thread(audit)
    print(json.dumps(found)[:2000])
    assert found["status"] == "completed"
