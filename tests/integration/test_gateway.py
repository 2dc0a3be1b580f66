"""The gateway as a program uses it: real HTTP, a real Temporal, a worker with a stand-in agent."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from common.temporal.search_attributes import OWNER
from testing.waiting import eventually
from tests.support.gateway.world import GatewayWorld, session, world
from tests.support.patience import patient

__all__ = ["patient", "world"]

pytestmark = pytest.mark.usefixtures("patient")


async def test_an_agent_is_started_asked_for_and_found(world: GatewayWorld) -> None:
    """202 with its addresses, then what `show --json` prints, with Retry-After while it runs and an ETag."""
    started = await world.http.post(
        "/agents/code-auditor", json={"path": "/x/sleeps"}, headers=world.as_("owner")
    )
    assert started.status_code == 202, started.text
    id = started.json()["id"]
    assert started.headers["location"] == started.json()["status_url"] == f"{world.address}/agents/{id}"
    assert started.json()["ui_url"] == f"{world.address}/ui/agents/{id}"
    await world.until(id, lambda view: view.state == "sleeping")
    shown = await world.http.get(started.headers["location"], headers=world.as_("owner"))
    assert shown.json() == (await world.view(id)).model_dump(mode="json")
    assert int(shown.headers["retry-after"]) > 0
    again = await world.http.get(
        f"/agents/{id}", headers={**world.as_("owner"), "If-None-Match": shown.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")

    async def listed() -> bool:
        found = await world.http.get("/agents", params={"state": "sleeping"}, headers=world.as_("owner"))
        return id in [row["id"] for row in found.json()]

    await eventually(listed)
    assert (await world.http.post(f"/agents/{id}/wake", headers=world.as_("owner"))).status_code == 202
    await world.until(id, lambda view: not view.running)
    done = await world.http.get(f"/agents/{id}", headers=world.as_("owner"))
    assert done.json()["result"]["woken"] == "signal"
    assert "retry-after" not in done.headers


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "path: Field required"),
        ({"path": 7}, "path: Input should be a valid string"),
        ({"path": "relative"}, "absolute path"),
        ({"path": "/x", "carried": {"started_at": "2026-01-01T00:00:00Z"}}, "no such field"),
        ({"path": "/x", "apply": "yes"}, "apply"),
        ({"path": "/proc/self/environ"}, "HIBERNAUT_ROOTS"),
        ({"path": "/x", "max_file_bytes": 0}, "greater than 0"),
        ({"path": "/x", "approvers": "a,b"}, "give a list"),
        ([], "one JSON object"),
        ("x", "one JSON object"),
    ],
)
async def test_an_input_that_does_not_fit_is_refused_by_its_field(
    world: GatewayWorld, body: object, words: str
) -> None:
    """Also what belongs to the kit: nobody hands in an agent's memory of approvals."""
    answer = await world.http.post("/agents/code-auditor", json=body, headers=world.as_("owner"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


async def test_an_idempotency_key_starts_one_agent(world: GatewayWorld) -> None:
    """The same key and body give the same id, also at once; another body is refused; keys are one's own."""
    key = {"Idempotency-Key": "order-7"}

    async def start(who: str, path: str = "/x/sleeps") -> httpx.Response:
        return await world.http.post(
            "/agents/code-auditor", json={"path": path}, headers={**world.as_(who), **key}
        )

    answers = await asyncio.gather(*(start("owner") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = await start("owner", "/x/elsewhere")
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]
    assert (await start("stranger")).json()["id"] != answers[0].json()["id"]


async def test_a_decision_is_the_token_holders(world: GatewayWorld) -> None:
    """202 and counted for an approver, whoever the payload claims to be; else 409 with the reason."""
    id, request = await world.asking()
    path = f"/agents/{id}/decisions"
    refused = await world.http.post(path, json={"verdict": "approve"}, headers=world.as_("owner"))
    assert refused.status_code == 409
    assert "owner is not among those who may decide" in refused.json()["detail"]
    claimed = await world.http.post(
        path, json={"verdict": "approve", "by": "approver"}, headers=world.as_("owner")
    )
    assert claimed.status_code == 422
    stale = await world.http.post(
        path, json={"verdict": "approve", "digest": "beef"}, headers=world.as_("approver")
    )
    assert stale.status_code == 409
    body = {"verdict": "approve", "edits": {"skip": ["a.py"]}, "digest": request.digest, "note": "fine"}
    taken = await world.http.post(path, json=body, headers=world.as_("approver"))
    assert taken.status_code == 202, taken.text
    told = taken.json()
    assert (told["status"], told["verdict"], told["signed"]) == ("counted", "revise", True)
    view = await world.until(id, lambda view: not view.running)
    assert view.result == {"verdict": "approved", "skip": ["a.py"]}
    counted = view.decisions[-1]
    assert (counted.decision.by, counted.decision.through, counted.status) == ("approver", "http", "counted")
    late = await world.http.post(
        path, json={"verdict": "reject", "note": "no"}, headers=world.as_("operator")
    )
    assert late.status_code == 409
    assert "completed" in late.json()["detail"]


async def test_a_decision_under_a_key_is_made_once(world: GatewayWorld) -> None:
    """Sent five times at once it counts once; another decision under the key is refused."""
    id, _ = await world.asking()

    async def decide(**body: object) -> httpx.Response:
        headers = {**world.as_("approver"), "Idempotency-Key": "once"}
        return await world.http.post(f"/agents/{id}/decisions", json=body, headers=headers)

    answers = await asyncio.gather(*(decide(verdict="reject", note="no") for _ in range(5)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    view = await world.until(id, lambda view: not view.running)
    assert [each.status for each in view.decisions].count("counted") == 1
    again = await decide(verdict="reject", note="no")
    assert (again.status_code, again.json()["status"]) == (202, "counted")
    assert (await decide(verdict="approve")).status_code == 422
    without = await world.http.post(
        f"/agents/{id}/decisions", json={"verdict": "reject"}, headers=world.as_("approver")
    )
    assert without.status_code == 404


async def test_steering_is_the_owners(world: GatewayWorld) -> None:
    """Words, a pause, an end; not for an approver, who sees it only to decide; not once it has ended."""
    id, _ = await world.asking()
    for words in ("", " \n", "x" * 100_000):
        told = await world.http.post(f"/agents/{id}/tell", json={"text": words}, headers=world.as_("owner"))
        no = {"verdict": "reject", "note": words}
        why = await world.http.post(f"/agents/{id}/decisions", json=no, headers=world.as_("approver"))
        assert (told.status_code, why.status_code) == (422, 422), words[:3]
    for path, body in (("tell", {"text": "hurry"}), ("pause", None), ("resume", None), ("cancel", None)):
        barred = await world.http.post(f"/agents/{id}/{path}", json=body, headers=world.as_("approver"))
        assert barred.status_code == 403
        asked = await world.http.post(f"/agents/{id}/{path}", json=body, headers=world.as_("owner"))
        assert asked.status_code == 202
        assert asked.json()["status"] == ("sent" if path == "cancel" else "taken")
    too_early = await world.http.post(f"/agents/{id}/wake", headers=world.as_("owner"))
    assert too_early.status_code == 409
    assert "does not sleep" in too_early.json()["detail"] or "ended" in too_early.json()["detail"]
    await world.until(id, lambda view: not view.running)
    ended = await world.http.post(f"/agents/{id}/pause", headers=world.as_("owner"))
    assert ended.status_code == 409


async def test_the_inbox_is_ones_own(world: GatewayWorld) -> None:
    """By name and by group; an operator may look into others'."""
    id, request = await world.asking()

    async def inbox(who: str, **query: str) -> set[tuple[str, str]]:
        answer = await world.http.get("/inbox", params=query, headers=world.as_(who))
        assert all(row["question"] and row["asked_at"] for row in answer.json() if row["id"] == id)
        return {(row["id"], row["digest"]) for row in answer.json()}

    mine = (id, request.digest)

    async def listed() -> bool:
        return mine in await inbox("approver")

    await eventually(listed)
    assert mine in await inbox("member")
    assert mine not in await inbox("stranger")
    assert mine not in await inbox("stranger", **{"for": "approver"})
    assert mine not in await inbox("stranger", everyone="true")
    assert mine not in await inbox("operator")
    assert mine in await inbox("operator", **{"for": "approver"})
    assert mine in await inbox("operator", everyone="true")


async def test_every_error_is_a_problem_document(world: GatewayWorld) -> None:
    """404, 405, 413, 415, 422 and a body that is no JSON."""
    owner = world.as_("owner")
    for method, path, more, status in (
        ("GET", "/nowhere", {}, 404),
        ("POST", "/agents/no-such-kind", {"json": {}}, 405),
        ("DELETE", "/inbox", {}, 405),
        ("GET", "/agents?limit=0", {}, 422),
        ("GET", "/agents?owner=a'b", {}, 422),
        ("POST", "/agents/code-auditor", {"content": b"{"}, 422),
        ("POST", "/agents/code-auditor", {"content": b"x" * 300_000}, 413),
        ("GET", "/agents/%00", {}, 404),
        ("GET", "/agents/" + "a" * 2000, {}, 404),
    ):
        answer = await world.http.request(
            method, path, headers=world.as_("operator") if "'" in path else owner, **more
        )
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert "default-src 'none'" in answer.headers["content-security-policy"]

    async def endless() -> object:
        for _ in range(40):
            yield b"x" * 10_000

    streamed = await world.http.post("/agents/code-auditor", content=endless(), headers=owner)  # type: ignore[arg-type]
    assert streamed.status_code == 413


async def test_the_gateway_says_how_it_is(world: GatewayWorld) -> None:
    """Alive, ready, and its counts by route, with no id in them."""
    id = await world.start()
    await world.http.get(f"/agents/{id}", headers=world.as_("owner"))
    assert (await world.http.get("/healthz")).json() == {"status": "alive"}
    assert (await world.http.get("/readyz")).json() == {"status": "ready"}
    metrics = (await world.http.get("/metrics")).text
    assert 'hibernaut_http_requests_total{method="GET",route="/agents/{id}",status="200"}' in metrics
    assert id not in metrics


async def test_a_decision_may_name_its_request(world: GatewayWorld) -> None:
    """Another request's name is refused; the open one's counts, and the same key may leave it out."""
    id, request = await world.asking()
    path = f"/agents/{id}/decisions"
    headers = {**world.as_("approver"), "Idempotency-Key": f"named-{id}"}
    for wrong in ({"request_id": "approval-9"}, {"request_id": "approval-9", "digest": request.digest}):
        answer = await world.http.post(path, json={"verdict": "approve", **wrong}, headers=headers)
        assert (answer.status_code, "approval-9" in answer.text) == (409, True)
    body = {"verdict": "approve", "request_id": request.id}
    taken = await world.http.post(path, json=body, headers=headers)
    assert (taken.status_code, taken.json()["request_id"]) == (202, request.id)
    again = await world.http.post(path, json={"verdict": "approve"}, headers=headers)
    assert (again.status_code, again.json()["decision_id"]) == (202, taken.json()["decision_id"])
    other = await world.http.post(path, json={**body, "request_id": "approval-9"}, headers=headers)
    assert other.status_code == 422


async def test_an_agent_that_does_not_get_on_is_found_with_why(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its owner alone; in words on the dashboard, where a tab has all of them."""
    monkeypatch.undo()  # it never answers
    id = "misspelt-2"
    attributes = TypedSearchAttributes([SearchAttributePair(OWNER, "owner")])
    agent = await world.desk.client.start_workflow(
        "byuer", id=id, task_queue=world.desk.settings.task_queue, search_attributes=attributes
    )

    async def found(who: str) -> list[dict[str, Any]]:
        answer = await world.http.get("/agents", params={"troubled": True}, headers=world.as_(who))
        assert answer.status_code == 200, answer.text
        return [row for row in answer.json() if row["id"] == id]

    [row] = await eventually(lambda: found("owner"))
    [trouble] = row["trouble"]
    assert trouble["cause"] == "unknown_kind"
    assert await found("stranger") == []
    cookie, _ = await session(world.http, world.token("owner"))
    for page in ("/ui/agents?troubled=true", "/ui/agents", f"/ui/agents/{id}"):
        shown = await world.http.get(page, headers={"Cookie": cookie})
        assert "no worker has the kind byuer (attempt " in shown.text, page
    closed = await world.http.get("/agents?troubled=true&where=archived", headers=world.as_("owner"))
    assert (closed.status_code, "only running agents" in closed.json()["detail"]) == (422, True)
    await agent.terminate("it was misspelt")
