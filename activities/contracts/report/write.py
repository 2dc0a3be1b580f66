"""Writes the report of a batch of contracts: one HTML page, CSV, XLSX and JSON lines.

The same results give the same bytes: there is no clock and no randomness.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic_core import to_json
from temporalio import activity

from activities.contracts.playbook import Playbook
from activities.contracts.records import ContractsReportRequest
from activities.contracts.report.facts import ContractSource, survey
from activities.contracts.report.page import page
from activities.contracts.report.tables import as_csv, as_xlsx
from common.agent_files import AgentFiles
from common.agents.contracts import ContractsReport, Verdict
from common.artifacts import ArtifactStore
from common.names import safe_name

_MAX_WORST = 5


class ContractReports:
    """Writes reports below a folder, one folder per agent, and as files of the agent."""

    def __init__(self, artifacts: ArtifactStore, files: AgentFiles, reports: Path) -> None:
        self._artifacts = artifacts
        self._files = files
        self._reports = reports

    @activity.defn(name="write_contracts_report")
    def write_contracts_report(self, request: ContractsReportRequest) -> ContractsReport:
        """Write every file of the report, each completely or not at all."""
        folder = (self._reports / safe_name(activity.info().workflow_id or "")).absolute()
        playbook = Playbook.model_validate_json(self._artifacts.get(request.playbook))
        source = ContractSource(self._artifacts, request, playbook, activity.heartbeat)
        facts = survey(source)
        gone = self._artifacts.get(request.vanished).decode().splitlines() if request.vanished else []
        files = {kind: folder / f"contracts.{kind}" for kind in ("html", "csv", "xlsx", "jsonl")}
        html = page(request, source, facts, playbook, gone)
        self._files.write(files["html"], html.encode("utf-8", "replace"))
        self._files.write(files["csv"], as_csv(source))
        self._files.write(files["xlsx"], as_xlsx(source, facts.rows))
        self._files.write(files["jsonl"], _lines(source))
        return ContractsReport(
            files={kind: str(path) for kind, path in files.items()},
            verdicts={verdict: facts.verdicts[verdict] for verdict in Verdict if facts.verdicts[verdict]},
            quarantined=len(source.results.set_aside),
            findings=facts.findings,
            worst=tuple(
                f"{row.name}: {row.top}" for row in facts.rows[:_MAX_WORST] if row.verdict is not Verdict.OK
            ),
        )


def _lines(source: ContractSource) -> Iterator[bytes]:
    """One contract per line, in full: an `Audit` with people's decision on each finding."""
    for contract in source.each():
        audit = contract.audit.model_dump(mode="json")
        audit["verdict"] = contract.row.verdict.value
        for finding, each in zip(audit["findings"], contract.decided, strict=True):
            finding["decision"], finding["accepted"] = each.words, each.accepted
        yield to_json(audit) + b"\n"
    for name, reason in sorted(source.results.set_aside.items()):
        yield to_json({"name": name, "verdict": "not read", "reason": reason}) + b"\n"
