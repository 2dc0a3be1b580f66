"""An in-process gateway, its users, and agents that ask."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.dev_server import DevServer, free_port
from common.agents.auditor import AuditInput
from common.approval.link import ApprovalLink
from common.approval.types import ApprovalRequest
from common.client.client import AgentClient
from common.client.tokens import Scope, TokenFile
from common.client.view import AgentView
from common.settings import Settings, SlackSettings
from gateway.app import build_from
from testing.waiting import eventually
from tests.support.desk import Desk, open_desk
from tests.support.gateway.issuer import LocalIssuer
from tests.support.serving import Serving

ALL = "agents:read agents:write decisions:write"
PEOPLE = {"owner": ALL, "approver": ALL, "stranger": ALL, "member": ALL, "operator": f"{ALL} operator"}


class GatewayWorld:
    """The gateway at `address`, with the client `http`; tokens are by person."""

    def __init__(self, desk: Desk, settings: Settings, issuer: LocalIssuer) -> None:
        self.desk = desk
        self.settings = settings
        self.issuer = issuer
        self.agents = AgentClient(desk.client, settings, desk.signer)
        self.http: httpx.AsyncClient
        self.address = settings.http.public_url

    def token(self, who: str) -> str:
        return self.issuer.token(who, PEOPLE[who])

    def as_(self, who: str) -> dict[str, str]:
        """The headers of a person's request."""
        return bearer(self.token(who))

    async def start(self, errand: str = "sleeps", **more: Any) -> str:
        """Start an agent of `owner`."""
        return await self.agents.start("code-auditor", AuditInput(path=f"/x/{errand}", **more), owner="owner")

    async def asking(self, *approvers: str) -> tuple[str, ApprovalRequest]:
        """Start an agent of `owner` that asks; return it and its question."""
        id = await self.start("asks", apply=True, approvers=list(approvers or ("approver", "@treasury")))
        return id, (await self.until(id, lambda view: bool(view.requests))).requests[0]

    def link(self, id: str, request: ApprovalRequest, who: str = "approver", **changes: Any) -> str:
        """The address of an approval link."""
        claims = {
            "agent": id,
            "request_id": request.id,
            "digest": request.digest,
            "approver": who,
            "expires_at": datetime.now(UTC) + timedelta(days=1),
            **changes,
        }
        return f"{self.address}/approve/{ApprovalLink(**claims).token(self.desk.signer)}"

    async def view(self, id: str) -> AgentView:
        """The agent's own, live view."""
        return await self.until(id, lambda _: True)

    async def until(self, id: str, fits: Any) -> AgentView:
        async def find() -> AgentView | None:
            view = await self.agents.view(id)
            return view if view.live and fits(view) else None

        found: AgentView = await eventually(find)
        return found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def without_date(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}


async def session(http: httpx.AsyncClient, token: str) -> tuple[str, str]:
    """Sign in with the token; return the cookie, and the CSRF token of forms."""
    answer = await http.post("/ui/sign-in", data={"token": token})
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["set-cookie"].split(";")[0]
    http.cookies.clear()
    page = await http.get("/ui", headers={"Cookie": cookie})
    found = re.search(r'name="form" value="([^"]+)"', page.text)
    assert found
    return cookie, found[1]


@contextlib.asynccontextmanager
async def open_world(
    server: DevServer,
    folder: Path,
    *,
    works: bool = True,
    slack: SlackSettings | None = None,
    **changes: Any,
) -> AsyncIterator[GatewayWorld]:
    async with open_desk(server, folder) as desk, LocalIssuer() as issuer:
        (folder / "groups.json").write_text('{"treasury": ["member"]}')
        port = free_port()
        settings = desk.settings.but(
            slack=slack or desk.settings.slack,
            http=desk.settings.http.but(
                address=("127.0.0.1", port),
                public_url=f"http://127.0.0.1:{port}",
                oidc_issuer=issuer.name,
                rate=10_000,
                **changes,
            ),
        )
        TokenFile.of(settings).add("operator", [Scope.OPERATOR], "local-operator")
        TokenFile.of(settings).add("owner", [Scope.READ, Scope.WRITE, Scope.DECIDE], "local-owner")
        TokenFile.of(settings).add("approver", [Scope.READ, Scope.DECIDE], "local-approver")
        if works:
            await desk.work()
        world = GatewayWorld(desk, settings, issuer)
        client = httpx.AsyncClient(base_url=world.address, timeout=60)
        async with Serving(await build_from(settings), port), client as world.http:
            yield world


@pytest.fixture(scope="module")
async def world(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayWorld]:
    """A gateway and a worker, shared by the tests of a file."""
    async with open_world(server, tmp_path_factory.mktemp("gateway")) as world:
        yield world
