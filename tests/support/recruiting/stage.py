"""A test stage for recruiters: candidates, slots, an outbox that records letters, and incoming mail."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from activities.documents.extract import text_of
from activities.llm.activities import ModelActivities
from activities.llm.offline import OfflineAnalyst
from activities.llm.runner import ModelRunner
from activities.recruiting.activities import RecruitingActivities
from activities.recruiting.candidacy import Candidacy
from activities.recruiting.memory import CandidatesView
from activities.recruiting.sending import LetterActivities
from activities.recruiting.understanding import OUTPUTS
from common.agent_files import AgentFiles
from common.agents.recruiter import RecruiterInput, RecruiterResult
from common.approval.link import AnswerLink, recipient_of
from common.approval.types import ApprovalRequest, ApprovalsView
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from common.mail import IncomingMail, MailKind
from common.settings import Settings
from testing.waiting import eventually
from tests.support.recruiting.outbox import LedgerOutbox
from tests.support.stage import Stage
from workflows.recruiter.recruiter import Recruiter

ROLE = {
    "title": "Keeper of tides",
    "description": "Reads the tides of a harbour and keeps its charts.",
    "must_have": ["tide tables"],
    "nice_to_have": ["Python"],
}


def slots(count: int, days: int = 10) -> list[dict[str, str]]:
    """Slots of one hour on consecutive days at 10:00 UTC, the first one `days` days ahead."""
    first = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=days)
    return [
        {
            "start": (first + timedelta(days=number)).isoformat(),
            "end": (first + timedelta(days=number, hours=1)).isoformat(),
            "zone": "Europe/Berlin",
            "interviewer": "ann@example.com",
            "place": "room 1",
        }
        for number in range(count)
    ]


def candidates(count: int) -> list[dict[str, str]]:
    """Candidates c1, c2, …; c1 fits the role better than the others."""
    return [
        {
            "id": f"c{number}",
            "name": f"Candidate Nr{number}",
            "email": f"c{number}@example.com",
            "profile": "I keep tide tables.\n" + "I write Python.\n" * (number == 1),
        }
        for number in range(1, count + 1)
    ]


def recruiter_input(count: int = 1, slot_count: int = 6, **wanted: Any) -> RecruiterInput:
    """A valid input; `wanted` has further fields."""
    fields = {
        "role": ROLE,
        "candidates": candidates(count),
        "questions": ["When could you start?"],
        "slots": slots(slot_count),
        "approvers": ["ann"],
        **wanted,
    }
    return RecruiterInput.model_validate(fields)


def mail(thread: str, text: str, kind: MailKind = MailKind.ANSWER, **more: Any) -> IncomingMail:
    """Incoming mail as the mailbox reader passes it on."""
    return IncomingMail(
        **{
            "message_id": f"<{uuid.uuid4().hex}@example.com>",
            "thread": thread,
            "kind": kind,
            "sender": f"{thread}@example.com",
            "subject": "Re: Keeper of tides",
            "text": text,
            "received_at": datetime.now(UTC),
            **more,
        }
    )


class Office(Stage):
    """A test stage with all activities of a recruiter."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.__dict__.update(stage.__dict__)
        self.agents = [Recruiter]
        self.folder = folder
        self.outbox = LedgerOutbox(folder / "outbox.db")
        # A language model to use instead of the rules.
        self.model: Any = None

    def objects(self) -> list[Any]:
        artifacts = ArtifactStore.of(self.settings)
        mine = [
            RecruitingActivities(
                artifacts,
                OfflineAnalyst(),
                text_of,
                AgentFiles.of(self.settings),
                self.settings.data_dir / "recruiting",
            ),
            LetterActivities(artifacts, self.authority, self.outbox),
            ModelActivities(self._runner(artifacts), self.authority),
        ]
        return [*super().objects(), *mine]

    def _runner(self, artifacts: ArtifactStore) -> ModelRunner:
        if self.model is None:
            return ModelRunner(self.settings, artifacts, outputs=OUTPUTS)
        named = {"HIBERNAUT_MODEL": "openai:small", "HIBERNAUT_OPENAI_KEY": "dummy"}
        read = Settings.read({**named, "HIBERNAUT_DATA_DIR": str(self.settings.data_dir)})
        return ModelRunner(read, artifacts, outputs=OUTPUTS, providers=lambda _: self.model)

    async def recruit(self, count: int = 1, slot_count: int = 6, **wanted: Any) -> WorkflowHandle[Any, Any]:
        """Start a recruiter."""
        return await self.start(recruiter_input(count, slot_count, **wanted), "recruiter")

    async def sent_out(self, count: int = 1, slot_count: int = 6, **wanted: Any) -> WorkflowHandle[Any, Any]:
        """A recruiter that has sent its first letters."""
        agent = await self.recruit(count, slot_count, **wanted)
        await self.decide(agent, await self.asked(agent))
        for number in range(1, count + 1):
            await self.stage_is(agent, f"c{number}", "asked")
        return agent

    async def candidacy(self, agent: WorkflowHandle[Any, Any], id: str = "c1") -> Candidacy:
        view = await self.query(agent, "candidates", CandidatesView)
        return view.courses[id]

    async def stage_is(self, agent: WorkflowHandle[Any, Any], id: str, *stages: str) -> Candidacy:
        """Wait until a candidate is at one of these stages; return the candidacy."""

        async def find() -> Candidacy | None:
            candidacy = await self.candidacy(agent, id)
            return candidacy if candidacy.stage in stages else None

        return await eventually(find)

    async def writes(self, agent: WorkflowHandle[Any, Any], thread: str, text: str, **more: Any) -> None:
        """Send the agent an incoming mail."""
        await agent.signal("mail", mail(thread, text, **more))

    async def follows(
        self, agent: WorkflowHandle[Any, Any], thread: str, choice: str, letter: str = "1"
    ) -> None:
        """A candidate uses a link of a letter; the agent gets what the gateway would send."""
        described = await agent.describe()
        chain = described.raw_description.workflow_execution_info.first_run_id
        link = AnswerLink(
            agent=agent.id,
            recipient=recipient_of(agent.id, chain, thread),
            letter=f"{thread}-{letter}",
            choice=choice,
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
        await AgentClient(self.client, self.settings, self.signer).choose(link, link.token(self.signer))

    async def question(self, agent: WorkflowHandle[Any, Any], begins: str) -> ApprovalRequest:
        """Wait for an open request whose question starts with `begins`."""

        async def find() -> ApprovalRequest | None:
            view = await self.query(agent, "approvals", ApprovalsView)
            return next((each for each in view.open if each.question.startswith(begins)), None)

        return await eventually(find)

    async def later(self, agent: WorkflowHandle[Any, Any], **span: float) -> None:
        """Skip this much of the agent's time."""
        await self.skipper.fast_forward(agent, timedelta(**span))

    async def result(self, agent: WorkflowHandle[Any, Any]) -> RecruiterResult:
        async with asyncio.timeout(90):
            return RecruiterResult.model_validate(await agent.result())
