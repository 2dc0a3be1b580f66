"""`starter.py setup` on a namespace that is not there, on one that is ready, and on one that is spoilt."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.common import SearchAttributeIndexedValueType

from cli.dev_server import DevServer
from cli.namespace import Namespace
from common.settings import Settings
from tests.support.desk import Desk

STEPS = ["namespace", "retention", "search attributes", "archivist", "fetch rate"]


@pytest.fixture
async def desk(settings: Settings, server: DevServer) -> Desk:
    desk = Desk(settings, server.address)
    desk.environment["TEMPORAL_NAMESPACE"] = f"agents-{uuid.uuid4().hex[:8]}"
    await desk.connect()
    return desk


async def test_a_new_namespace_is_made_ready_once(desk: Desk) -> None:
    """Everything at first, nothing again; `doctor` then misses a worker alone."""
    first = await desk.run("setup", "--json")
    assert (first.code, first.err) == (0, "")
    assert [(step["name"], step["outcome"]) for step in first.json] == [
        (name, "there" if name == "retention" else "done") for name in STEPS
    ]
    again = await desk.run("setup")
    assert again.code == 0
    lines = again.out.splitlines()
    assert [line.split()[0] for line in lines] == ["there"] * len(STEPS)
    assert "17 3 * * *" in lines[3]
    assert "1 a second" in lines[4]
    checks = (await desk.run("doctor", "--json")).json
    assert [each["name"] for each in checks if each["health"] == "mend"] == ["worker"]


async def test_other_settings_change_what_was_set_up(desk: Desk) -> None:
    """Another time for the archivist and another rate; what is kept for longer stays so."""
    await desk.run("setup")
    changed = await desk.run("setup", "--json", HIBERNAUT_FETCH_RATE="0.3", HIBERNAUT_ARCHIVE_AT="5 4 * * *")
    done = {step["name"]: step["text"] for step in changed.json if step["outcome"] == "done"}
    assert list(done) == ["archivist", "fetch rate"]
    assert "5 4 * * *" in done["archivist"]
    assert "0.3 a second" in done["fetch rate"]


async def test_what_cannot_be_set_up_is_said_and_the_rest_is_done(desk: Desk, tmp_path: Path) -> None:
    """An attribute of another type, and no key to sign the archivist's starts with."""
    name, service = desk.environment["TEMPORAL_NAMESPACE"], desk.client.service_client
    await Namespace(service, name).create()
    kind = SearchAttributeIndexedValueType.INT
    await service.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=name, search_attributes={"AgentNode": int(kind)})
    )
    ran = await desk.run("setup", "--json", HIBERNAUT_DATA_DIR=str(tmp_path / "elsewhere"))
    assert ran.code == 1
    failed = {step["name"]: step["text"] for step in ran.json if step["outcome"] == "failed"}
    assert list(failed) == ["search attributes", "archivist"]
    assert failed["search attributes"].startswith("of another type: AgentNode;")
    assert "HIBERNAUT_APPROVAL_KEYS" in failed["archivist"]
