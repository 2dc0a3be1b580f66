"""A batch as people see and steer it, its questions decided together: over HTTP, on the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.dev_server import DevServer
from common.approval.types import ApprovalsView
from common.client import batch_decisions
from common.client.batch_decisions import NOT_THERE
from testing.waiting import eventually
from tests.support.batch_world import BatchWorld, open_batches
from tests.support.patience import patient

__all__ = ["patient"]

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(scope="module")
async def batches(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BatchWorld]:
    """Shared by the tests of this file."""
    async with open_batches(server, tmp_path_factory.mktemp("batches")) as world:
        yield world


def shown(items: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    return [item for item in items if item["key"] in keys]


async def test_a_batch_is_shown_as_a_batch_and_steered(batches: BatchWorld) -> None:
    """Its counts, who is in flight, what was set aside and why; its items apart; a width that is no width."""
    http, owner = batches.world.http, batches.as_("owner-1")
    agent = await batches.batch("seen", {"a": "sleeps", "b": "sleeps", "c": "fails", "d": "done"}, at_once=3)

    async def standing() -> dict[str, Any] | None:
        batch: dict[str, Any] = (await http.get(f"/agents/{agent.id}", headers=owner)).json()["batch"]
        return batch if batch and batch["done"] + batch["quarantined"] == 2 else None

    batch = await eventually(standing)
    assert (batch["id"], batch["items"], batch["in_flight"]) == ("seen", 4, 2)
    assert {each["agent"] for each in batch["stuck"]} == {f"{agent.id}.a", f"{agent.id}.b"}
    assert batch["set_aside"] == [{"key": "c", "reason": "Broken: it did not work out"}]

    async def listed(**query: Any) -> dict[str, Any]:
        rows = (await http.get("/agents", params={"batch": "seen", **query}, headers=owner)).json()
        return {row["id"]: row for row in rows}

    async def all_told() -> dict[str, Any] | None:
        # A list is there without how its batches stand, where a busy worker does not say so at once.
        rows = await listed()
        return rows if len(rows) == 5 and rows[agent.id]["batch"] else None

    rows = await eventually(all_told)
    assert rows[agent.id]["batch"]["items"] == 4
    assert [row["item_of"] for id, row in rows.items() if id != agent.id] == [agent.id] * 4
    assert list(await listed(top=True)) == [agent.id]
    async with http.stream("GET", f"/agents/{agent.id}/events", headers=owner) as events:
        async for line in events.aiter_lines():
            if line.startswith("data:") and '"in_flight"' in line:
                told = json.loads(line.removeprefix("data:"))["batch"]
                break
    assert (told["done"], told["items"], "results" in told) == (1, 4, False)
    path = f"/agents/{agent.id}/batch"
    assert (await http.post(path, json={"at_once": 0}, headers=owner)).status_code == 422
    assert (await http.post(path, json={"at_once": 2}, headers=batches.as_("stranger"))).status_code == 404
    more = {"at_once": 2, "more": [{"key": "e", "argument": {"say": "late"}}]}
    taken = await http.post(path, json=more, headers=owner)
    assert (taken.status_code, taken.json()["detail"]) == (202, "2 at once from now on, 1 more items")
    for key in "ab":
        await batches.world.desk.until(f"{agent.id}.{key}", "sleeping")
        await batches.stage.client.get_workflow_handle(f"{agent.id}.{key}").signal("wake")
    result = await agent.result()
    assert (result["items"], result["done"], result["quarantined"]) == (5, 4, 1)
    late = await http.post(path, json={"retry": True}, headers=owner)
    assert late.status_code == 409


async def test_questions_of_a_batch_are_decided_together_each_on_its_own_digest(
    batches: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changed is refused and said, twice sent counts once, and to a stranger none of it exists."""
    http, ann = batches.world.http, batches.as_("ann")
    endings = {**{f"q{number}": "asks" for number in range(5)}, "anew": "asks anew"}
    agent = await batches.batch("spring", endings)
    [row] = [row for row in (await http.get("/inbox", headers=ann)).json() if row["batch_id"] == "spring"]
    assert row["count"] == 6
    page = (await http.get("/batches/spring/questions", headers=ann)).json()
    items = page["items"]
    assert (page["agents"], page["after"], len(items)) == (6, None, 6)
    assert sorted(len(shown_as) for shown_as in _by_group(items).values()) == [1, 5]
    by_agent = await http.get(f"/batches/{agent.id}/questions", params={"limit": 2}, headers=ann)
    assert [each["key"] for each in by_agent.json()["items"]] == ["anew", "q0"]
    after = {"after": by_agent.json()["after"]}
    rest = await http.get("/batches/spring/questions", params=after, headers=ann)
    assert [each["key"] for each in rest.json()["items"]] == ["q1", "q2", "q3", "q4"]

    async def post(who: str, key: str, questions: list[Any], **body: Any) -> dict[str, Any]:
        headers = {**batches.as_(who), "Idempotency-Key": key}
        body = {"verdict": "approve", "questions": questions, **body}
        answer = await http.post("/batches/spring/decisions", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        told: dict[str, Any] = answer.json()
        return told

    nobody = (await http.get("/batches/spring/questions", headers=batches.as_("stranger"))).json()
    assert (nobody["agents"], nobody["items"]) == (0, [])
    refused = await post("stranger", "x", shown(items, "q0"))
    assert [each["reason"] for each in refused["results"]] == [NOT_THERE]
    missing = await post("stranger", "x", [{**shown(items, "q0")[0], "id": "no-such-agent"}])
    assert [each["reason"] for each in missing["results"]] == [NOT_THERE]
    elsewhere = await http.post(
        "/batches/other/decisions",
        json={"verdict": "approve", "questions": shown(items, "q0")},
        headers=ann,
    )
    assert [each["reason"] for each in elsewhere.json()["results"]] == [NOT_THERE]
    # The owner may see them and may not decide: the agent says so itself.
    barred = await post("owner-1", "y", shown(items, "q0"))
    assert "owner-1 is not among those who may decide" in barred["results"][0]["reason"]

    stale = [{**each, "digest": "0" * 64} for each in shown(items, "q2")]
    first = await post("ann", "one", [*shown(items, "q0", "q1"), *stale], note="fine")
    assert (first["counted"], first["refused"], first["waiting"]) == (2, 1, 0)
    assert "it has changed since it was shown" in first["results"][-1]["reason"]
    again = await post("ann", "one", [*shown(items, "q0", "q1"), *stale], note="fine")
    assert again == first
    other = await post("ann", "one", shown(items, "q0"), verdict="reject", note="no")
    assert "by the same key" in other["results"][0]["reason"]
    late = await post("ann", "two", shown(items, "q0"))
    assert late["results"][0]["reason"] == NOT_THERE
    view = await batches.stage.query(
        batches.stage.client.get_workflow_handle(f"{agent.id}.q0"), "approvals", ApprovalsView
    )
    [record] = [each for each in view.decisions if each.decision.by == "ann"]
    assert (record.decision.digest, record.signed) == (shown(items, "q0")[0]["digest"], True)
    assert record.decision.through == "http"
    assert [each.key for each in await batches.asked("spring")] == ["anew", "q2", "q3", "q4"]

    # With no worker, questions are read from history; decisions are safe with Temporal, and count later.
    monkeypatch.undo()
    monkeypatch.setattr(batch_decisions, "ASKING_PATIENCE", timedelta(seconds=0.5))
    monkeypatch.setattr(batch_decisions, "OUTCOME_PATIENCE", timedelta(seconds=0.5))
    await batches.stage.rest()
    safe = await post("ann", "three", shown(items, "anew", "q2", "q3", "q4"), verdict="reject", note="no")
    assert (safe["counted"], safe["waiting"]) == (0, 4)
    recorded = (await http.get("/batches/spring/questions", headers=ann)).json()
    assert [each["id"] for each in recorded["items"]] == recorded["recorded"]
    assert (len(recorded["items"]), recorded["silent"]) == (4, [])
    assert {each["group"] for each in recorded["items"]} <= {each["group"] for each in items}
    await batches.stage.work()
    assert (await agent.result())["done"] == 6


async def test_the_command_line_decides_a_batch_and_leaves_single_ones_out(
    batches: BatchWorld, tmp_path: Path
) -> None:
    """One line in the inbox; what was printed is what is signed; each outcome has its exit code and line."""
    desk = batches.world.desk
    agent = await batches.batch("tools", {"one": "asks", "two/2": "asks", "three": "asks"})
    listed = await desk.run("inbox", "--for", "ann")
    assert "--batch tools" in listed.out
    assert "3 alike" in listed.out
    asked = await desk.run("inbox", "--batch", "tools", "--json")
    assert {each["question"] for each in asked.json} == {"Say it?"}
    seen = tmp_path / "seen.json"
    seen.write_text(asked.out)
    ran = await desk.run("approve", "--batch", "tools", "--leave-out", "two/2,three", "--as", "ann")
    assert (ran.code, ran.err.strip()) == (
        0,
        "approve of 1 question like 'Say it?' of batch tools: 1 counted, 2 left out.",
    )
    found = await desk.run(
        "reject", "--batch", agent.id, "--reason", "no", "--as", "ann", "--seen", str(seen), "--json"
    )
    assert (found.code, found.json["counted"], found.json["refused"]) == (4, 2, 1)
    assert "it is not asked any more" in found.err
    assert (await agent.result())["done"] == 3


async def test_the_command_line_steers_a_batch(batches: BatchWorld) -> None:
    """Another width and more items, with a receipt."""
    desk = batches.world.desk
    agent = await batches.batch("steered", {"one": "sleeps"})
    ran = await desk.run("batch", agent.id, "--at-once", "7", "--add", "-", say='{"id": "two", "say": "x"}')
    assert (ran.code, ran.err.strip()) == (0, f"{agent.id}: 7 at once from now on, 1 more items.")
    await desk.until(f"{agent.id}.one", "sleeping")
    await batches.stage.client.get_workflow_handle(f"{agent.id}.one").signal("wake")
    assert (await agent.result())["done"] == 2


def _by_group(items: list[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in items:
        found.setdefault(each["group"], []).append(each["key"])
    return found
