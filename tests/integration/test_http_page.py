"""`docs/http.md` is true: every command in it is run, in order, against the stack that `dev` starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cli.dev_server import free_port
from common.client.tokens import Scope
from testing.waiting import eventually
from tests.support.stack import ROOT

PAGE = (ROOT / "docs" / "http.md").read_text()


async def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    """As they stand, but for the port; the agent that is started is decided, and fixes two files."""
    copy = tmp_path / "checkout"
    (copy / "tests" / "samples").mkdir(parents=True)
    shutil.copytree(ROOT / "tests" / "samples" / "shop", copy / "tests" / "samples" / "shop")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("TEMPORAL_", "HIBERNAUT_"))
    }
    port = free_port()
    said = tmp_path / "dev.log"
    ports = ["--port", str(free_port()), "--ui-port", str(free_port()), "--http-port", str(port)]
    with said.open("w") as log:
        dev = subprocess.Popen(
            [sys.executable, str(ROOT / "starter.py"), "dev", *ports], cwd=copy, env=environment, stderr=log
        )

    async def ready() -> bool:
        assert dev.poll() is None, said.read_text()
        return "ready; Ctrl-C ends everything" in said.read_text()

    try:
        await eventually(ready)
        script = "set -euo pipefail\n" + "".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.M))
        assert script.count("curl") >= 14
        run = subprocess.run(
            ["bash", "-c", script.replace("127.0.0.1:8080", f"127.0.0.1:{port}")],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr
        assert '"files_fixed":2' in run.stdout
        assert '"status":"counted"' in run.stdout
        assert '"verdict":"reject","counted":2,"refused":0' in run.stdout
        assert "event: note" in run.stdout
    finally:
        dev.terminate()
        assert dev.wait(120) == 0


def test_the_page_names_every_scope_and_no_other() -> None:
    """The table of tokens is the registry's."""
    assert re.findall(r"^\| `([a-z:]+)` \|", PAGE, re.MULTILINE) == list(Scope)
