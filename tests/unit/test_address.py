"""Which Temporal a process takes, and why: nobody ends up on somebody else's server unawares."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from common.settings import Settings
from common.temporal.connect import Target

# No process has it: it is over the most that Linux gives out.
OURS = os.getpid()
NOBODY = 2**22 + 1


@pytest.mark.parametrize(
    ("process", "environment", "address", "why", "sure"),
    [
        (None, {}, "localhost:7233", "the default, for no stack runs on ", False),
        (NOBODY, {}, "127.0.0.1:1", "left behind by the stack on ", False),
        (OURS, {}, "127.0.0.1:1", "the stack on ", True),
        (OURS, {"TEMPORAL_ADDRESS": "there:2"}, "there:2", "TEMPORAL_ADDRESS", True),
        (OURS, {"TEMPORAL_CONFIG_FILE": "profile"}, "file:3", "Temporal's configuration file", True),
    ],
    # Not with our process in it: every process of a run is to name its tests alike.
    ids=["default", "left behind", "stack", "environment", "file"],
)
def test_an_address_is_taken_for_a_reason(
    process: int | None,
    environment: dict[str, str],
    address: str,
    why: str,
    sure: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is said counts before a stack that runs, and that before one that was killed and the default."""
    (tmp_path / "profile").write_text('[profile.default]\naddress = "file:3"\n')
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    for name, value in ({"TEMPORAL_CONFIG_FILE": os.devnull} | environment).items():
        monkeypatch.setenv(name, str(tmp_path / value) if value == "profile" else value)
    if process is not None:
        (tmp_path / "stack.json").write_text(
            json.dumps({"temporal": "127.0.0.1:1", "ui": "", "process": process})
        )
    target = Target.of(Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)}))
    assert (target.address, target.sure) == (address, sure)
    assert target.why.startswith(why)
