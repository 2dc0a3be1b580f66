"""A stage for the contract auditor: real activities, and a log of readings outside Temporal."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client

from activities.batch.listing import BatchListing
from activities.batch.pages import BatchPages
from activities.contracts.activities import Contracts
from activities.contracts.audit import Auditor
from activities.contracts.judge_process import read_and_judge
from activities.contracts.records import Audit
from activities.contracts.report.write import ContractReports
from activities.llm.activities import ModelActivities
from activities.llm.prompt import Completion, Prompt
from activities.llm.runner import ModelRunner
from common.agent_files import AgentFiles
from common.artifacts import ArtifactStore
from common.settings import Settings
from tests.support.stage import Stage
from workflows.batch_page import BatchPage
from workflows.contract_auditor import ContractAuditor, ContractReader


class Witness:
    """Reads documents, and logs which and when, in a file that several processes may share."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __call__(
        self,
        auditor: Auditor,
        name: str,
        digest: str,
        data: bytes,
        media_type: str,
        heartbeat: Callable[[], None],
    ) -> Audit:
        with self._log.open("a") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            log.write(f"{time.time():.6f} {digest}\n")
            log.flush()
            os.fsync(log.fileno())
        return read_and_judge(auditor, name, digest, data, media_type, heartbeat)

    def readings(self) -> list[tuple[float, str]]:
        """When each reading began, and the digest of the document."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [(float(at), digest) for at, digest in map(str.split, lines)]


class StubbornModel:
    """An in-process language model that always gives the same answer."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.prompts: list[str] = []

    def complete(self, prompt: Prompt, attempt: int) -> Completion:
        self.prompts.append("\n".join(turn.text for turn in prompt.turns))
        return Completion(text=self.answer, input_tokens=10, output_tokens=10)


class ContractsStage(Stage):
    """A stage whose activities are the real ones; only people and language models are doubles."""

    def __init__(self, client: Client, settings: Settings) -> None:
        super().__init__(client, settings)
        self.artifacts = ArtifactStore.of(settings)
        self.witness = Witness(settings.data_dir / "readings.log")
        self.model: StubbornModel | None = None
        self.agents = [ContractAuditor, ContractReader, BatchPage]

    def objects(self) -> list[Any]:
        runner = ModelRunner(
            self.settings, self.artifacts, providers=(lambda _: self.model) if self.model else None
        )
        return [
            *super().objects(),
            BatchListing(self.artifacts),
            BatchPages(self.client, self.settings, self.signer, self.artifacts),
            Contracts(self.artifacts, self.settings.model, self.witness),
            ContractReports(self.artifacts, AgentFiles.of(self.settings), self.settings.data_dir / "reports"),
            ModelActivities(runner, self.authority),
        ]
