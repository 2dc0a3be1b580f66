"""docs/contracts.md is true: its commands are run, its playbook is read, and its table names every check."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from activities.contracts.playbook import CHECKS, default_playbook, read_playbook
from tests.support.stack import ROOT, Stack

PAGE = (ROOT / "docs" / "contracts.md").read_text()


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_playbook_of_the_page_is_one() -> None:
    """And whatever a rule may check is on the page, as is how many kinds of clauses come along."""
    assert [each.id for each in read_playbook(block("yaml").encode()).clauses] == ["governing_law", "payment"]
    table = PAGE.partition("| `check` |")[2].partition("\n\n")[0]
    assert set(CHECKS) <= set(re.findall(r"`(\w+)`", table))
    assert f"{len(default_playbook().clauses)} kinds of clauses" in " ".join(PAGE.split())


async def test_the_commands_of_the_page_run_as_they_stand(tmp_path: Path) -> None:
    """Two contracts, one question, a report on the way, a decision that leaves one out."""
    folder = tmp_path / "contracts"
    folder.mkdir()
    for name in ("one.txt", "two.txt"):
        (folder / name).write_text(
            "Services Agreement\n\nTerm. The initial term of this Agreement is one year.\n\n"
            "Liability. Neither party's aggregate liability shall exceed the fees paid in the twelve months "
            "before.\n\nTermination. Either party may terminate this Agreement upon sixty days' notice.\n\n"
            "Governing law. This Agreement is governed by the laws of Bermuda.\n"
        )
    async with Stack(tmp_path / "data") as stack:
        python = shlex.quote(sys.executable)
        script = re.sub(r"\bpython starter\.py", f"{python} {ROOT / 'starter.py'}", block("sh"))
        script = re.sub(r"\bpython -c", f"{python} -c", script)
        run = subprocess.run(
            ["bash", "-c", "set -euo pipefail\n" + script],
            cwd=tmp_path,
            env={
                **os.environ,
                "TEMPORAL_ADDRESS": stack.server.address,
                "HIBERNAUT_DATA_DIR": str(stack.settings.data_dir),
            },
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout[run.stdout.rindex('{\n  "contracts"') :])
    assert result["verdicts"] == {"needs a human": 1, "ok": 1}
    assert result["accepted"] == 1
    lines = [json.loads(line) for line in Path(result["report"]["jsonl"]).read_text().splitlines()]
    assert {line["name"]: line["verdict"] for line in lines} == {"one.txt": "ok", "two.txt": "needs a human"}
