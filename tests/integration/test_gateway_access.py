"""Who may do what: every route of the OpenAPI document, for every kind of caller. Nothing may leak."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from common.agent_objects import files_prefix
from common.agents.kinds import KINDS
from common.approval.floors import policy_file
from common.client.tokens import Scope, TokenFile, digest_of
from common.object_store import open_store
from common.sealed_store import SealedStore
from gateway.auth.ended_sessions import EndedSessions
from gateway.problems import NO_SUCH_AGENT
from tests.support.gateway.world import ALL, GatewayWorld, bearer, session, without_date, world
from tests.support.patience import patient

__all__ = ["patient", "world"]

pytestmark = pytest.mark.usefixtures("patient")

OPEN = {"/healthz", "/readyz", "/metrics"}
BODIES: dict[str, Any] = {
    "/agents/{id}/decisions": {"verdict": "approve", "digest": "0"},
    "/agents/{id}/tell": {"text": "hello"},
    "/agents/{id}/batch": {"at_once": 2},
    "/agents/code-auditor": {"path": "/x/sleeps"},
    "/agents/link-researcher": {"topic": "bread"},
    "/agents/buyer": {"symbol": "BAC", "quantity": "1", "limit": "9"},
}
# Tokens that are worth nothing, each in a way of its own.
WORTHLESS: dict[str, Callable[[GatewayWorld], dict[str, str]]] = {
    "no token": lambda world: {},
    "empty": lambda world: {"Authorization": "Bearer"},
    "garbage": lambda world: bearer("garbage"),
    "three parts of garbage": lambda world: bearer("a.b.c"),
    "basic": lambda world: {"Authorization": "Basic b3duZXI6b3duZXI="},
    "expired": lambda world: bearer(world.issuer.token("owner", ALL, exp=1_700_000_000)),
    "not yet good": lambda world: bearer(world.issuer.token("owner", ALL, nbf=4_000_000_000)),
    "wrong audience": lambda world: bearer(world.issuer.token("owner", ALL, aud="others")),
    "wrong issuer": lambda world: bearer(world.issuer.token("owner", ALL, iss="http://127.0.0.1:1")),
    "no subject": lambda world: bearer(world.issuer.token("", ALL)),
    "a subject that ends a query": lambda world: bearer(world.issuer.token("x' OR AgentOwner='owner", ALL)),
    "unknown key": lambda world: bearer(world.issuer.token("owner", ALL, kid="key-9")),
    "alg none": lambda world: bearer(world.issuer.token("owner", ALL, algorithm="none")),
    "HS256 with the public key": lambda world: bearer(world.issuer.forged("owner", ALL)),
    "another algorithm of the right key": lambda world: bearer(
        world.issuer.token("owner", ALL, algorithm="PS256")
    ),
    "a changed signature": lambda world: bearer(world.token("owner")[:-4] + "AAAA"),
    "a cookie": lambda world: {"Cookie": "hibernaut=e30.ZGV2.00"},
}


@dataclass(frozen=True)
class Route:
    method: str
    path: str

    async def ask(self, world: GatewayWorld, headers: dict[str, str], id: str) -> httpx.Response:
        body: Any = BODIES.get(self.path)
        path = self.path.replace("{id}", id).replace("{name}", "report.html").replace("{sha256}", "0" * 64)
        async with world.http.stream(
            self.method, path, headers=headers, json=body if self.method == "POST" else None
        ) as answer:
            if self.path.endswith("/events") and answer.status_code == 200:
                return httpx.Response(200, headers=answer.headers, content=b"events")
            await answer.aread()
            return answer


async def routes(world: GatewayWorld) -> list[Route]:
    document = (await world.http.get("/openapi.json")).json()
    return [Route(method.upper(), path) for path, each in document["paths"].items() for method in each]


async def test_the_document_describes_every_route_but_the_pages(world: GatewayWorld) -> None:
    """A route that is left out of the document would be left out of this matrix."""
    described = {(each.method, each.path) for each in await routes(world)}
    assert {
        *(("POST", f"/agents/{kind}") for kind in KINDS),
        ("GET", "/agents"),
        ("GET", "/inbox"),
        ("GET", "/agents/{id}"),
        ("GET", "/agents/{id}/events"),
        ("GET", "/agents/{id}/files"),
        ("GET", "/agents/{id}/files/{name}"),
        ("GET", "/agents/{id}/artifacts/{sha256}"),
        *(
            ("POST", f"/agents/{{id}}/{what}")
            for what in ("decisions", "tell", "pause", "resume", "wake", "batch", "cancel")
        ),
        ("GET", "/batches/{id}/questions"),
        ("POST", "/batches/{id}/decisions"),
    } | {("GET", path) for path in OPEN} == described
    for path, item in (await world.http.get("/openapi.json")).json()["paths"].items():
        for operation in item.values():
            assert ("security" in operation) == (path not in OPEN), path


async def test_a_worthless_token_opens_nothing(world: GatewayWorld) -> None:
    """401 on every route, with the same body, and nothing done."""
    id, _ = await world.asking()
    before = await world.view(id)
    bodies = set()
    tried = 0
    for route in await routes(world):
        if route.path in OPEN:
            continue
        for name, headers in WORTHLESS.items():
            answer = await route.ask(world, headers(world), id)
            assert answer.status_code == 401, (name, route, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            bodies.add(answer.text)
            tried += 1
    assert len(bodies) == 1
    assert tried > 150
    assert (await world.view(id)).notebook == before.notebook
    print(f"{tried} requests with worthless tokens, 0 leaks")


async def test_slacks_door_opens_to_slacks_signature_alone(world: GatewayWorld) -> None:
    """Outside the document; it takes no token, not an operator's either, and without its secret nothing."""
    body = {"payload": '{"type": "block_actions", "user": {"id": "U0ANN"}, "actions": []}'}
    for headers in ({}, world.as_("operator"), bearer("local-operator"), {"X-Slack-Signature": "v0="}):
        answer = await world.http.post("/slack/actions", data=body, headers=headers)
        assert answer.status_code == 404
        assert "HIBERNAUT_SLACK_SIGNING_SECRET" in answer.json()["detail"]
    assert (await world.http.get("/slack/actions", headers=world.as_("operator"))).status_code == 405


async def test_a_scope_opens_what_it_says(world: GatewayWorld) -> None:
    """403 without the scope, before anything is looked up: also for what is not there."""
    needs = {"GET": "agents:read", "POST": "agents:write"}
    id = await world.start()
    for route in await routes(world):
        if route.path in OPEN:
            continue
        needed = "decisions:write" if route.path.endswith("/decisions") else needs[route.method]
        for scopes in ("", "nothing known", ALL.replace(needed, "")):
            for target in (id, "no-such-agent"):
                answer = await route.ask(world, bearer(world.issuer.token("owner", scopes)), target)
                assert answer.status_code == 403, (route, scopes, answer.text)
                assert needed in answer.headers["www-authenticate"]
    assert (await world.view(id)).running


async def test_a_start_that_the_operators_policy_does_not_allow_is_a_403(world: GatewayWorld) -> None:
    """The caller reads what it asks for; whoever it allows starts the same."""
    file = policy_file(world.settings)
    before = file.read_text()
    file.write_text('{"rules": [{"owners": ["@treasury"], "requester": "allowed"}, {"start": "never"}]}')
    body = {"path": "/x/sleeps"}
    try:
        answers = [
            await world.http.post("/agents/code-auditor", json=body, headers=world.as_(who))
            for who in ("owner", "member")
        ]
    finally:
        file.write_text(before)
    assert [each.status_code for each in answers] == [403, 202]
    assert answers[0].json()["detail"] == "the operator's policy lets owner start no code-auditor."


async def test_what_is_somebody_elses_is_not_there(world: GatewayWorld) -> None:
    """A stranger gets, for another's agent, byte for byte what there is for none; lists show none of it."""
    asks, request = await world.asking()
    sleeps = await world.start()
    ended = await world.start("ends")
    await world.until(ended, lambda view: not view.running)
    checked = 0
    for route in await routes(world):
        # Of a batch one is shown what one may see, and whoever may see nothing of it nothing.
        if not route.path.startswith("/agents/{id}"):
            continue
        for who in ("stranger", "approver", "member"):
            for id in (asks, sleeps, ended):
                if id == asks and who != "stranger":
                    continue
                theirs = await route.ask(world, world.as_(who), id)
                missing = await route.ask(world, world.as_(who), "no-such-agent")
                assert theirs.status_code == missing.status_code == 404, (route, who, theirs.text)
                assert theirs.content == missing.content
                assert theirs.json()["detail"] == NO_SUCH_AGENT
                assert without_date(theirs) == without_date(missing)
                checked += 1
    assert checked > 30
    for path in ("/agents", "/agents?owner=owner", "/inbox", "/inbox?for=approver", "/inbox?everyone=true"):
        listed = await world.http.get(path, headers=world.as_("stranger"))
        assert listed.status_code == 200
        for id in (asks, sleeps, ended):
            assert id not in listed.text
    assert request.id not in listed.text
    assert (await world.view(sleeps)).running


async def test_what_each_may_do_with_an_agent_that_asks(world: GatewayWorld) -> None:
    """The whole table: owner, approver, member of a group, operator."""
    see = {"owner": 200, "approver": 200, "member": 200, "operator": 200}
    steer = {"owner": 202, "approver": 403, "member": 403, "operator": 202}
    # Digest `0` is no plan's: whoever is let through to the agent hears 409, and nothing is decided.
    expected = {
        "/agents/{id}": see,
        "/agents/{id}/events": see,
        "/agents/{id}/decisions": dict.fromkeys(see, 409),
        **{f"/agents/{{id}}/{what}": steer for what in ("tell", "pause", "resume", "wake")},
    }
    # It does not sleep.
    expected["/agents/{id}/wake"] = steer | {"owner": 409, "operator": 409}
    id, _ = await world.asking()
    for path, by_person in expected.items():
        for who, status in by_person.items():
            method = "GET" if status == 200 else "POST"
            answer = await Route(method, path).ask(world, world.as_(who), id)
            assert answer.status_code == status, (path, who, answer.text)
    for who, status in {"member": 403, "approver": 403, "operator": 202}.items():
        answer = await world.http.post(f"/agents/{id}/cancel", headers=world.as_(who))
        assert answer.status_code == status


async def test_a_local_token_is_as_good_as_its_file_says(world: GatewayWorld) -> None:
    """Also beside an issuer; gone from the file, it opens nothing."""
    id = await world.start()
    for token, status in (("local-operator", 200), ("local-owner", 200), ("local-approver", 404)):
        answer = await world.http.get(f"/agents/{id}", headers=bearer(token))
        assert answer.status_code == status
    barred = await world.http.post(
        "/agents/code-auditor", json={"path": "/x"}, headers=bearer("local-approver")
    )
    assert barred.status_code == 403


PAGES = [
    ("GET", "/ui"), ("GET", "/ui/agents"), ("GET", "/ui/agents/{id}"), ("GET", "/ui/agents/{id}/events"),
    ("GET", "/ui/agents/{id}/timeline"),
    ("POST", "/ui/agents/{id}/decisions"), ("POST", "/ui/agents/{id}/tell"),
    ("POST", "/ui/agents/{id}/steer"), ("POST", "/ui/sign-out"),
    ("GET", "/ui/agents/{id}/items"), ("GET", "/ui/agents/{id}/verdicts"), ("POST", "/ui/agents/{id}/batch"),
    ("GET", "/ui/batches/{id}"), ("POST", "/ui/batches/{id}/decisions"),
    ("GET", "/ui/agents/{id}/files/report.html"), ("GET", "/ui/agents/{id}/artifacts/0/report.html"),
]  # fmt: skip


async def test_pages_are_for_who_has_signed_in(world: GatewayWorld) -> None:
    """Without a session, or with a token or a forged cookie in its place, there is only signing in."""
    id, _ = await world.asking()
    cookie, _ = await session(world.http, "local-approver")
    for method, path in PAGES:
        for headers in ({}, world.as_("owner"), {"Cookie": cookie[:-1] + "x"}, {"Cookie": "hibernaut=a.b.c"}):
            answer = await world.http.request(method, path.replace("{id}", id), headers=headers)
            assert answer.status_code == 303, (path, answer.text)
            assert answer.headers["location"] == "/ui/sign-in"
            assert id not in answer.text
    # A session is for pages; the API takes tokens alone.
    assert (await world.http.get("/agents", headers={"Cookie": cookie})).status_code == 401


async def test_a_page_shows_and_steers_only_what_is_ones_own(world: GatewayWorld) -> None:
    """The same rules as for programs."""
    sleeps = await world.start()
    asks, _ = await world.asking()
    approver, form = await session(world.http, "local-approver")
    for method, path in PAGES:
        if not path.startswith("/ui/agents/{id}"):
            continue
        answers = [
            await world.http.request(
                method,
                path.replace("{id}", id),
                headers={"Cookie": approver},
                data={"form": form, "what": "cancel", "text": "x", "verdict": "approve", "at_once": "2"}
                if method == "POST"
                else None,
            )
            for id in (sleeps, "no-such-agent")
        ]
        # The local approver's token has no `agents:write`, which is looked at first.
        status = 403 if path.endswith(("tell", "steer", "batch")) else 404
        assert [each.status_code for each in answers] == [status, status], path
        assert answers[0].text.replace(sleeps, "no-such-agent") == answers[1].text
    assert (await world.http.get(f"/ui/agents/{asks}", headers={"Cookie": approver})).status_code == 200
    assert (await world.view(sleeps)).running


async def test_what_an_agent_wrote_is_for_who_may_see_it(world: GatewayWorld) -> None:
    """A report runs apart from the dashboard; a name leads nowhere else."""
    id, objects = await world.start(), SealedStore.open(world.settings)
    for number, part in enumerate((b"<p>", b"report")):
        objects.put(f"{files_prefix(id)}report.html/{number:06}", part)
    objects.put(f"{files_prefix(id)}begun.html/000001", b"its first part comes last")
    path = f"/agents/{id}/files"
    assert (await world.http.get(path, headers=world.as_("owner"))).json() == {"files": ["report.html"]}
    got = await world.http.get(f"{path}/report.html", headers=world.as_("owner"))
    assert (got.content, got.headers["content-disposition"][:10]) == (b"<p>report", "attachment")
    cookie, _ = await session(world.http, "local-owner")
    page = await world.http.get(f"/ui{path}/report.html", headers={"Cookie": cookie})
    assert (page.text, page.headers["content-type"]) == ("<p>report", "text/html; charset=utf-8")
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert (
        f"{path}/report.html" in (await world.http.get(f"/ui/agents/{id}", headers={"Cookie": cookie})).text
    )
    for name in ("begun.html", "none", "..%2Fartifacts", "report.html%2F000000", "%00"):
        answer = await world.http.get(f"{path}/{name}", headers=world.as_("owner"))
        assert answer.status_code == 404, name
    for where in (path, f"{path}/report.html"):
        assert (await world.http.get(where, headers=world.as_("stranger"))).status_code == 404


async def test_a_form_from_elsewhere_does_nothing(world: GatewayWorld) -> None:
    """Without the guard, with another session's guard, or sent by another site."""
    id, request = await world.asking()
    owner, own = await session(world.http, "local-owner")
    _, other = await session(world.http, "local-approver")
    before = await world.view(id)
    for form, site in (
        ("", "same-origin"),
        (other, "same-origin"),
        (own, "cross-site"),
        (own, "same-site"),
        (own, "none"),
    ):
        for path, fields in (
            (f"/ui/agents/{id}/steer", {"what": "cancel"}),
            (f"/ui/agents/{id}/tell", {"text": "x"}),
            (f"/ui/agents/{id}/decisions", {"verdict": "reject", "note": "x", "digest": request.digest}),
            (f"/ui/agents/{id}/batch", {"what": "retry"}),
            (f"/ui/batches/{id}/decisions", {"verdict": "approve", "shown": "x", "q.0": "on"}),
            ("/ui/sign-out", {}),
        ):
            answer = await world.http.post(
                path, data={**fields, "form": form}, headers={"Cookie": owner, "Sec-Fetch-Site": site}
            )
            assert answer.status_code == 403, (path, form, site)
    assert (await world.view(id)).notebook == before.notebook


async def test_a_session_lasts_no_longer_than_the_issuers_token(world: GatewayWorld) -> None:
    """Twelve hours at most, and an issuer's token says when it ends."""
    end = int(time.time()) + 60
    cookie, _ = await session(world.http, world.issuer.token("owner", ALL, exp=end))
    claims = cookie.partition("=")[2].split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["until"] == end


async def test_a_session_ends_with_its_token(world: GatewayWorld) -> None:
    """Gone from the token file, the browser has to sign in again."""
    tokens = TokenFile.of(world.settings)
    tokens.add("guest", [Scope.READ], "local-guest")
    cookie, _ = await session(world.http, "local-guest")
    assert (await world.http.get("/ui", headers={"Cookie": cookie})).status_code == 200
    kept = tokens.file.read_text()
    tokens.file.write_text(kept.replace(digest_of("local-guest"), "0" * 64))
    assert (await world.http.get("/ui", headers={"Cookie": cookie})).status_code == 303


async def test_a_session_ends_when_its_person_signs_out(world: GatewayWorld) -> None:
    """A copy of the cookie is worthless then, at every gateway of this store; other sessions go on."""
    cookie, form = await session(world.http, "local-owner")
    other, _ = await session(world.http, "local-owner")
    out = await world.http.post("/ui/sign-out", data={"form": form}, headers={"Cookie": cookie})
    assert (out.status_code, out.headers["location"]) == (303, "/ui/sign-in")
    for path in ("/ui", "/ui/agents"):
        answer = await world.http.get(path, headers={"Cookie": cookie})
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in")
    assert (await world.http.get("/ui", headers={"Cookie": other})).status_code == 200
    claims = json.loads(base64.urlsafe_b64decode(cookie.partition("=")[2].split(".")[0] + "=="))
    assert EndedSessions(open_store(world.settings)).has(claims["id"])


async def test_a_session_allows_what_its_token_allows_now(world: GatewayWorld) -> None:
    """A scope that is taken out of the token file is gone from sessions that began before, too."""
    tokens = TokenFile.of(world.settings)
    tokens.add("owner", [Scope.READ, Scope.WRITE], "local-cut")
    id = await world.start()
    cookie, form = await session(world.http, "local-cut")
    tokens.add("owner", [Scope.READ], "local-cut")
    tell = {"form": form, "text": "go on"}
    answer = await world.http.post(f"/ui/agents/{id}/tell", data=tell, headers={"Cookie": cookie})
    assert answer.status_code == 403
    tokens.add("somebody-else", [Scope.READ], "local-cut")
    answer = await world.http.get(f"/ui/agents/{id}", headers={"Cookie": cookie})
    assert answer.status_code == 404
