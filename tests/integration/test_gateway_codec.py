"""The codec endpoints: who may see an agent may read its payloads, on the Web UI's pages alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import WorkflowSerializationContext

from cli.dev_server import DevServer
from common.settings import Settings
from common.temporal.codec import EncryptingCodec, load_codec
from tests.support.gateway.world import GatewayWorld, open_world

UI = "http://127.0.0.1:8233"
KEYS = "k1:" + "ab" * 32


@pytest.fixture(scope="module")
async def world(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayWorld]:
    """A gateway that knows the Web UI's origin, and the key that payloads are sealed with."""
    folder = tmp_path_factory.mktemp("codec")
    (folder / "payload.keys").write_text(KEYS + "\n")
    async with open_world(server, folder, codec_origin=UI) as world:
        yield world


def sealed_for(agent: str) -> Payload:
    """A payload with a secret, sealed for an agent."""
    codec = load_codec(Settings.read({"HIBERNAUT_PAYLOAD_KEYS": KEYS}))
    assert isinstance(codec, EncryptingCodec)
    bound = codec.with_context(WorkflowSerializationContext(namespace="default", workflow_id=agent))
    assert isinstance(bound, EncryptingCodec)
    return bound._seal(Payload(metadata={"encoding": b"json/plain"}, data=b'"the secret"'))


async def asked(
    world: GatewayWorld, what: str, payloads: list[Payload], **headers: str
) -> tuple[int, list[Payload], dict[str, str]]:
    body = MessageToDict(Payloads(payloads=payloads))
    answer = await world.http.post(f"/codec/{what}", json=body, headers=headers)
    found: list[Payload] = []
    if answer.status_code == 200:
        from google.protobuf.json_format import ParseDict

        found = list(ParseDict(answer.json(), Payloads()).payloads)
    return answer.status_code, found, dict(answer.headers)


def token(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer local-{name}"}


async def test_a_payload_is_readable_for_those_who_may_see_its_agent(world: GatewayWorld) -> None:
    """Owner, approver and operator read it; for anybody else, and for no agent, it stays sealed."""
    id, _ = await world.asking()
    payload = sealed_for(id)
    assert b"the secret" not in payload.SerializeToString()
    for name in ("owner", "approver", "operator"):
        status, [got], _ = await asked(world, "decode", [payload], **token(name))
        assert (status, got.data) == (200, b'"the secret"'), name
    stranger = {"Authorization": f"Bearer {world.token('stranger')}"}
    status, [got], _ = await asked(world, "decode", [payload], **stranger)
    assert (status, got) == (200, payload)
    elsewhere = sealed_for("no-such-agent")
    status, [got], _ = await asked(world, "decode", [elsewhere], **token("owner"))
    assert (status, got) == (200, elsewhere)


async def test_nobody_unknown_and_no_other_page_gets_an_answer(world: GatewayWorld) -> None:
    """401 without a token or a session, 403 from another origin, whatever token comes with it."""
    payload = sealed_for("x")
    for what in ("decode", "download", "encode"):
        assert (await asked(world, what, [payload]))[0] == 401
        assert (await asked(world, what, [payload], Origin=UI))[0] == 401
        evil = {**token("operator"), "Origin": "http://evil.example"}
        assert (await asked(world, what, [payload], **evil))[0] == 403
    assert (await asked(world, "encode", [payload], **token("owner")))[0] == 403


async def test_the_web_uis_pages_may_read_the_answer_and_no_others(world: GatewayWorld) -> None:
    """The exact origin, with credentials; a preflight says the same."""
    status, _, headers = await asked(world, "decode", [], **token("operator"), Origin=UI)
    assert (status, headers["access-control-allow-origin"]) == (200, UI)
    assert headers["access-control-allow-credentials"] == "true"
    before = await world.http.options("/codec/decode", headers={"Origin": UI})
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (204, UI)
    assert "authorization" in before.headers["access-control-allow-headers"]
    other = await world.http.options("/codec/decode", headers={"Origin": UI + "0"})
    assert (other.status_code, other.headers.get("access-control-allow-origin")) == (403, None)


async def test_the_session_of_the_dashboard_counts_on_the_web_uis_pages(world: GatewayWorld) -> None:
    """A person signs in once; a page of another origin gets nothing out of the cookie."""
    id, _ = await world.asking()
    form = await world.http.get("/ui/sign-in")
    assert form.status_code == 200
    signed_in = await world.http.post("/ui/sign-in", data={"token": "local-owner"})
    cookie = signed_in.headers["set-cookie"].split(";")[0]
    status, [got], _ = await asked(world, "decode", [sealed_for(id)], Cookie=cookie, Origin=UI)
    assert (status, got.data) == (200, b'"the secret"')
    assert (await asked(world, "decode", [sealed_for(id)], Cookie=cookie))[0] == 401
    world.http.cookies.clear()


async def test_an_operator_has_payloads_sealed_and_garbage_is_refused(world: GatewayWorld) -> None:
    """What is sealed can be opened again; what is no payload is a 400."""
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'"typed"')
    status, [sealed], _ = await asked(world, "encode", [plain], **token("operator"))
    assert status == 200
    assert b"typed" not in sealed.SerializeToString()
    status, [again], _ = await asked(world, "decode", [sealed], **token("operator"))
    assert (status, again) == (200, plain)
    bad = ["[]", "{", json.dumps({"payloads": 3}), json.dumps({"payloads": [{"data": 3}]})]
    for body in bad:
        answer = await world.http.post("/codec/decode", content=body, headers=token("operator"))
        assert answer.status_code == 400, body
