"""Approval links over plain HTTP: refusals, replays, races. `tests/browser` presses the buttons."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from common.agent_objects import files_prefix
from common.approval.link import ApprovalLink
from common.approval.signing import Signer
from common.artifacts import ArtifactStore
from common.key_ring import KeyRing
from common.sealed_store import SealedStore
from tests.support.gateway.world import GatewayWorld, world
from tests.support.patience import patient

__all__ = ["patient", "world"]

pytestmark = pytest.mark.usefixtures("patient")


async def press(world: GatewayWorld, link: str, verdict: str, **fields: str) -> httpx.Response:
    """What a person does with the page: load it, fill the form in, press a button."""
    page = await world.http.get(link)
    guard = re.search(r'name="form" value="([^"]+)"', page.text)
    form = {"form": guard[1] if guard else "", "verdict": verdict, **fields}
    return await world.http.post(link, data=form)


async def counted(world: GatewayWorld, id: str) -> list[str]:
    return [each.decision.by for each in (await world.view(id)).decisions if each.status == "counted"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expires_at": datetime.now(UTC) - timedelta(minutes=1)}, "expired"),
        ({"digest": "0" * 64}, "not asked any more"),
        ({"request_id": "approval-9"}, "not asked any more"),
        ({"agent": "nobody"}, "no such agent"),
    ],
)
async def test_a_link_for_something_else_decides_nothing(
    world: GatewayWorld, changes: dict[str, object], words: str
) -> None:
    """Expired, for another plan, another request, another agent: the page says so, by GET and by POST."""
    id, request = await world.asking()
    link = world.link(id, request, **changes)
    assert words in (await world.http.get(link)).text
    answer = await press(world, link, "approve")
    assert answer.status_code in (403, 404), answer.text
    assert await counted(world, id) == []


async def test_a_forged_link_is_no_link(world: GatewayWorld) -> None:
    """Signed with another key, or for another approver than the one it was made for."""
    id, request = await world.asking()
    claims = ApprovalLink(
        agent=id,
        request_id=request.id,
        digest=request.digest,
        approver="approver",
        expires_at=datetime.now(UTC) + timedelta(days=1),
    )
    forged = claims.token(Signer(KeyRing.of({"dev": b"f" * 32})))
    good = world.link(id, request, "stranger").rpartition("/")[2]
    mixed = claims.token(world.desk.signer).split(".")[0] + good[good.index(".") :]
    for token in (forged, mixed, "a.b.c", "x"):
        assert (await world.http.get(f"/approve/{token}")).status_code == 404
        assert (await world.http.post(f"/approve/{token}", data={"verdict": "approve"})).status_code == 404
    assert await counted(world, id) == []


async def test_a_link_of_somebody_who_may_not_decide_is_refused_by_the_agent(world: GatewayWorld) -> None:
    """The page says why, and the agent goes on waiting."""
    id, request = await world.asking()
    answer = await press(world, world.link(id, request, "stranger"), "approve")
    assert answer.status_code == 422
    assert "stranger is not among those who may decide" in answer.text
    assert await counted(world, id) == []
    assert (await world.view(id)).requests


async def test_a_link_counts_once_however_often_it_is_used_at_once(world: GatewayWorld) -> None:
    """Ten presses at the same time, yes and no mixed, are one decision; later ones are told of it."""
    id, request = await world.asking()
    link = world.link(id, request)
    verdicts = ["approve", "reject"] * 5
    answers = await asyncio.gather(*(press(world, link, each, note="now") for each in verdicts))
    assert {answer.status_code for answer in answers} <= {200, 403}
    view = await world.until(id, lambda view: not view.running)
    assert await counted(world, id) == ["approver"]
    assert len({each.decision.id for each in view.decisions}) == 1
    late = await world.http.get(link)
    assert "This was decided" in late.text


async def test_a_refused_decision_does_not_use_the_link_up(world: GatewayWorld) -> None:
    """Edits that do not fit the plan are refused with the reason, and the form comes back."""
    id, request = await world.asking()
    link = world.link(id, request)
    wrong = await press(world, link, "revise", **{"edit.skip": "a\nb", "edit.files": "7"})
    assert wrong.status_code == 200  # `files` may not be edited, so it is no field of the form
    assert (await world.until(id, lambda view: not view.running)).result["skip"] == ["a", "b"]
    id, request = await world.asking("member")
    link = world.link(id, request)
    for _ in range(2):
        assert (await press(world, link, "approve")).status_code == 422
    assert [each.decision.id[-2:] for each in (await world.view(id)).decisions] == ["-0", "-1"]


async def test_a_link_waits_for_a_worker(world: GatewayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """With none the plan cannot be shown, and nothing is decided; a decision already on its way is kept."""
    id, request = await world.asking()
    link = world.link(id, request)
    page = await world.http.get(link)
    guard = re.search(r'name="form" value="([^"]+)"', page.text)
    assert guard
    monkeypatch.undo()
    await world.desk.rest()
    try:
        sent = await world.http.post(link, data={"form": guard[1], "verdict": "approve"})
        assert "recorded" in sent.text
        again = await world.http.post(link, data={"form": guard[1], "verdict": "reject", "note": "no"})
        assert again.status_code == 200
    finally:
        await world.desk.work()
    view = await world.until(id, lambda view: not view.running)
    assert view.result["verdict"] == "approved"
    assert await counted(world, id) == ["approver"]


async def test_a_link_opens_what_is_asked_and_nothing_else_of_its_agent(world: GatewayWorld) -> None:
    """Neither an artifact that the plan does not refer to, nor a file that its evidence does not name."""
    id, request = await world.asking()
    link, own = world.link(id, request), world.settings
    ref = ArtifactStore.of(own).put(b"of the same agent", id)
    SealedStore.open(own).put(f"{files_prefix(id)}report.html/000000", b"<p>")
    for path in (f"artifacts/{ref.sha256}/x.txt", "files/report.html", "files/..%2fx"):
        for base in (link, "/approve/x"):
            assert (await world.http.get(f"{base}/{path}")).status_code == 404, (base, path)
