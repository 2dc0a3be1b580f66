"""Names that some entry point, database or file system would take for another are refused at every entry."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.agents.auditor import AuditInput
from common.agents.states import RunStatus
from common.approval.signing import Signer
from common.approval.types import ApprovalPolicy, Verdict
from common.archive.layout import ARCHIVIST, ERASER
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.filters import AgentFilter
from common.client.rows import AgentRow
from common.client.tokens import TokenFile
from common.client.visibility import is_exactly
from common.key_ring import KeyRing
from common.mail import MAILROOM
from common.names import (
    RESERVED,
    RESERVED_PREFIXES,
    UnusableValueError,
    check_agent_id,
    check_approver,
    check_person,
)
from common.notices.types import courier_id
from common.settings import Settings, SettingsError
from testing.fixtures import open_all

ODD = (
    "",
    " ",
    " ann",
    "ann ",
    "@",
    "@ treasury",
    "@@treasury",
    "o'brien",
    'a"b',
    "a\\b",
    "a\nb",
    "a\u202eb",
    "x" * 201,
)


class Recorder:
    """Temporal's client, as far as a start goes."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def start_workflow(self, kind: str, input: object, *, id: str, **_: Any) -> None:
        self.started.append(id)

    async def count_workflows(self, query: str) -> Any:
        return SimpleNamespace(count=0)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def agents(tmp_path: Path, recorder: Recorder) -> AgentClient:
    open_all(tmp_path)
    (tmp_path / "groups.json").write_text('{"treasury": ["ann"], "empty": []}')
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    return AgentClient(cast(Any, recorder), settings, Signer(KeyRing.of({"k": b"1" * 32})))


def test_the_ids_of_what_is_no_agent_are_reserved() -> None:
    """An agent of such an id would keep the archivist, the mail or a notice from its work."""
    assert {ARCHIVIST, ERASER, MAILROOM} == RESERVED
    assert courier_id("x").startswith(RESERVED_PREFIXES)


@pytest.mark.parametrize(
    "id",
    [
        *sorted(RESERVED),
        "notice:a/r/1",
        "archivist-looks-1",
        "a/b",
        "/",
        ".",
        "..",
        "--all",
        " a",
        "a\x00",
        "a'b",
        "x" * 201,
        "é" * 101,
    ],
)
async def test_an_id_that_names_something_else_somewhere_starts_nothing(
    agents: AgentClient, recorder: Recorder, id: str
) -> None:
    """In a path, a URL, a query, a file's name."""
    with pytest.raises(UnusableValueError):
        await agents.start("code-auditor", AuditInput(path="/x"), id=id, owner="ann")
    with pytest.raises(UnusableValueError):
        check_agent_id(id)
    assert recorder.started == []


@pytest.mark.parametrize("id", ["a", "a.b-1_c:d@e+f=g,h#i", "agent 7", "архив", "x" * 200, "Archivist"])
async def test_other_ids_start(agents: AgentClient, recorder: Recorder, id: str) -> None:
    """Letters of any script, and signs that mean nothing anywhere."""
    await agents.start("code-auditor", AuditInput(path="/x"), id=id, owner="ann")
    assert recorder.started == [id]


@pytest.mark.parametrize("id", ["\0", "a\0b", "\ud800", os.fsdecode(b"\xff")])
async def test_an_id_that_no_database_holds_is_no_agents(agents: AgentClient, id: str) -> None:
    """PostgreSQL refuses NUL as if it were unavailable, so Temporal is not asked."""
    for asking in (
        agents.view(id),
        agents.tell(id, "hello"),
        agents.cancel(id),
        agents.ending(id, wait=False),
    ):
        with pytest.raises(NoSuchAgentError, match="there is no agent"):
            await asking


@pytest.mark.parametrize("name", [*ODD, "@treasury"])
async def test_only_a_person_owns_decides_and_has_a_token(
    agents: AgentClient, recorder: Recorder, tmp_path: Path, name: str
) -> None:
    """A group is never a person: as a requester or a voter it would count for all of its members."""
    with pytest.raises(UnusableValueError):
        check_person(name)
    with pytest.raises(UnusableValueError):
        await agents.start("code-auditor", AuditInput(path="/x"), owner=name)
    with pytest.raises(UnusableValueError):
        await agents.decide("a", Verdict.APPROVE, by=name, through="cli", request_id="r", digest="d")
    assert recorder.started == []
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"0" * 64: {"subject": name, "scopes": ["operator"]}}))
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="tokens"):
        TokenFile(file).entry("0" * 64)


def test_a_group_cannot_vote() -> None:
    """Whatever signed it: a policy that names a group means its members."""
    policy = ApprovalPolicy(approvers=("@treasury", "ann"))
    assert policy.bars("@treasury", [], requester="o", escalated=False) == (
        "@treasury is a group, and only people decide"
    )
    assert policy.bars("bob", ["treasury"], requester="o", escalated=False) is None


@pytest.mark.parametrize("name", [*ODD, "@nosuch", "@empty"])
async def test_an_approver_that_nobody_is_starts_nothing(
    agents: AgentClient, recorder: Recorder, name: str
) -> None:
    """The agent would wait for a decision that nobody can take."""
    with pytest.raises(UnusableValueError):
        await agents.start("code-auditor", AuditInput(path="/x", approvers=["ann", name]), owner="ann")
    assert recorder.started == []
    await agents.start("code-auditor", AuditInput(path="/x", approvers=["ann", "@treasury"]), owner="ann")
    assert check_approver("@treasury") == "@treasury"


def test_names_are_compared_exactly_whatever_the_database_does() -> None:
    """MySQL finds `Ann` where `ann` is asked for, who is somebody else."""
    row = AgentRow.model_validate(
        {
            **{"id": "a", "run_id": "r", "kind": "buyer", "owner": "Ann", "status": RunStatus.RUNNING},
            **{"state": "working", "node": "", "waiting_for": None, "wake_at": None},
            **{"started_at": "2026-11-22T00:00:00Z", "closed_at": None},
        }
    )
    assert is_exactly(row, AgentFilter(owner="Ann", kind="buyer"))
    assert not is_exactly(row, AgentFilter(owner="ann"))
    assert not is_exactly(row, AgentFilter(kind="Buyer"))
