"""A test stage for every agent that uses a language model, with the activities of a real worker."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

import worker
from activities.calls.interceptor import ReliableReports
from activities.delivery.notices import Notices
from activities.preconditions import Preconditions
from activities.recruiting.sending import LetterActivities
from common.agents.buyer import BuyerInput
from common.agents.researcher import ResearcherInput
from common.allowed_hosts import AllowedHosts
from common.approval.types import ApprovalRequest, ApprovalsView
from common.artifacts import ArtifactStore
from testing.waiting import eventually
from tests.support.agents.talker import Talker
from tests.support.recruiting.stage import Office
from tests.support.research_stage import TOPIC
from tests.support.stage import Stage, prepared
from tests.support.web import WebServer
from workflows.buyer import Buyer
from workflows.link_researcher import LinkResearcher
from workflows.recruiter.recruiter import Recruiter

MODEL = "openai:gemma"
# A small model on a busy machine writes a few tokens a second.
PATIENCE = 400


class ThinkersStage(Stage):
    """Every agent that uses a language model, with real activities; only notices and letters are not sent."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.office = Office(stage, folder)
        self.__dict__.update(self.office.__dict__)
        self.agents = [Buyer, LinkResearcher, Recruiter, Talker]
        self.folder = folder

    def think_with(self, address: str, seconds: float = 180) -> None:
        """Use the model server at `address`, with a timeout of `seconds` for an answer."""
        models = self.settings.language_models.but(address=address, seconds=seconds)
        self.settings = self.settings.but(model=MODEL, language_models=models)

    def allow(self, site: WebServer) -> None:
        """Allow the fetcher to reach this site."""
        hosts = AllowedHosts.parse(site.host)
        self.settings = self.settings.but(fetching=self.settings.fetching.but(allowed_hosts=hosts, rate=50.0))

    def objects(self) -> list[Any]:
        real = worker.activity_objects(self.settings)
        letters = LetterActivities(ArtifactStore.of(self.settings), self.authority, self.office.outbox)
        return [
            *(each for each in real if not isinstance(each, Notices | LetterActivities | Preconditions)),
            letters,
            prepared(self.settings),
            self.notices,
        ]

    async def work(self) -> None:
        reports, objects = ReliableReports(self.client), self.objects()
        self._worker = AsyncExitStack()
        for built in (
            worker.build(self.client, self.settings, reports=reports, workflows=self.agents, objects=objects),
            worker.build_fetcher(self.client, self.settings, reports=reports, objects=objects),
        ):
            await self._worker.enter_async_context(built)

    async def asked(self, handle: WorkflowHandle[Any, Any], after: str = "") -> ApprovalRequest:
        async def find() -> ApprovalRequest | None:
            view = await self.query(handle, "approvals", ApprovalsView)
            return next((request for request in view.open if request.id != after), None)

        return await eventually(find, PATIENCE)

    async def buy(self, **more: Any) -> WorkflowHandle[Any, Any]:
        fields = {"symbol": "BAC", "quantity": "1", "limit": "9999", "approvers": ["ann"], **more}
        return await self.start(BuyerInput.model_validate(fields), "buyer")

    async def research(self, site: WebServer, **more: Any) -> WorkflowHandle[Any, Any]:
        publish = str(self.folder)
        wanted = ResearcherInput(topic=TOPIC, sites=[site.url()], links=2, publish=publish, **more)
        return await self.start(wanted, "link-researcher")

    def calls(self, agent: str = "") -> list[tuple[str, str, int, int]]:
        """The ledger's calls of one agent or all: node, state, input tokens, output tokens.

        For a call without an answer, the first number has all tokens that count.
        """
        query = "SELECT agent, key, state, tokens, answer FROM calls"
        with closing(sqlite3.connect(self.settings.data_dir / "model-ledger.sqlite")) as ledger:
            rows = [row for row in ledger.execute(query) if agent in ("", row[0])]
        found = []
        for _, key, state, tokens, answer in rows:
            got = json.loads(answer) if state == "answered" else {"input_tokens": tokens, "output_tokens": 0}
            assert tokens == got["input_tokens"] + got["output_tokens"]
            found.append((key.split("/")[2], state, got["input_tokens"], got["output_tokens"]))
        return found

    def answered(self, agent: str = "") -> tuple[int, int]:
        """The input and output tokens of all answered calls, according to the ledger."""
        mine = [each for each in self.calls(agent) if each[1] == "answered"]
        return sum(each[2] for each in mine), sum(each[3] for each in mine)

    async def failed_tasks(self) -> Counter[str]:
        """Number of failed workflow tasks, by agent; there must be none."""
        failed: Counter[str] = Counter()
        for handle in self.handles:
            failed[handle.id] = (await self.events(handle)).count("EVENT_TYPE_WORKFLOW_TASK_FAILED")
        return +failed
