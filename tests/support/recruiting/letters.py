"""Recruiters that send letters with links by SMTP, and the gateway that the links lead to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from temporalio.client import WorkflowHandle

import worker
from activities.calls.interceptor import ReliableReports
from activities.recruiting.candidacy import Candidacy
from activities.recruiting.memory import CandidatesView
from cli.dev_server import DevServer
from common.agents.recruiter import RecruiterInput
from common.approval.types import ApprovalRequest, Verdict
from common.settings import Settings
from testing.stage import answer_of
from testing.waiting import eventually
from tests.support.gateway.world import GatewayWorld, open_world
from tests.support.mail.smtp_server import SmtpRecorder, smtp_server


class LetterWorld:
    """A gateway, a worker that sends letters, and the SMTP server that receives them."""

    def __init__(self, world: GatewayWorld, witness: SmtpRecorder) -> None:
        self.world = world
        self.http = world.http
        self.witness = witness

    async def sent_out(self, input: RecruiterInput) -> WorkflowHandle[None, None]:
        """A recruiter that has sent its first letters."""
        self.witness.taken.clear()
        id = await self.world.agents.start("recruiter", input, owner="owner")
        await self.approve(id, await self.question(id, "Write to"))
        handle: WorkflowHandle[None, None] = self.world.desk.client.get_workflow_handle(id)
        for each in input.candidates:
            await self.stage_is(handle, each.id, "asked")
        return handle

    async def question(self, id: str, begins: str) -> ApprovalRequest:
        def is_it(request: ApprovalRequest) -> bool:
            return request.question.startswith(begins)

        view = await self.world.until(id, lambda view: any(map(is_it, view.requests)))
        return next(filter(is_it, view.requests))

    async def approve(self, id: str, request: ApprovalRequest, verdict: Verdict = Verdict.APPROVE) -> None:
        await self.world.agents.decide(
            id, verdict, by="ann", through="cli", request_id=request.id, digest=request.digest, known=True
        )

    async def stage_is(self, agent: WorkflowHandle[None, None], id: str, stage: str) -> Candidacy:
        async def find() -> Candidacy | None:
            view = await answer_of(agent, "candidates", CandidatesView)
            return view.courses[id] if view.courses[id].stage == stage else None

        return await eventually(find)

    async def links(self, to: str, number: int) -> dict[str, str]:
        """The links of the `number`-th letter to this address, by link text."""

        async def find() -> str | None:
            got = self.witness.to(to)
            if len(got) < number:
                return None
            part = got[number - 1].mail.get_body(("plain",))
            assert part is not None
            return str(part.get_content())

        text = (await eventually(find)).replace("\r\n", "\n")
        return dict(re.findall(r"^(.+):\n(http\S+/answer/\S+)$", text, re.MULTILINE))

    async def press(self, link: str) -> httpx.Response:
        """Open the page and press its button, like a person does; return the last page."""
        page = await self.http.get(link)
        guard = re.search(r'name="form" value="([^"]+)"', page.text)
        return await self.http.post(link, data={"form": guard[1]}) if guard else page


@contextlib.asynccontextmanager
async def open_letters(server: DevServer, folder: Path) -> AsyncIterator[LetterWorld]:
    async with open_world(server, folder, works=False) as world, smtp_server() as witness:
        mail = Settings.read(
            {
                "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{witness.port}",
                "HIBERNAUT_MAIL_FROM": "Agents <agents@example.com>",
                "HIBERNAUT_MAIL_REPLY_TO": "answers@example.com",
            }
        ).mail
        settings, client = world.settings.but(mail=mail), world.desk.client
        objects = worker.activity_objects(settings)
        async with worker.build(client, settings, reports=ReliableReports(client), objects=objects):
            yield LetterWorld(world, witness)
