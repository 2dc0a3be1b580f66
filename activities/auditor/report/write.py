"""Writes the report of an audit: SARIF, JSON, one HTML page, and the fixes with their undo as patches.

The same request over the same artifacts and files gives the same bytes: there is no clock and no randomness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic_core import to_json
from temporalio import activity

from activities.auditor.baseline import REPORT_FORMAT, AcceptedFindings
from activities.auditor.current_findings import CurrentFindings
from activities.auditor.records import ReportFiles, ReportRequest
from activities.auditor.report.facts import Facts, WrittenFixes, fix_outcomes, survey
from activities.auditor.report.page import CAP, page
from activities.auditor.report.sarif import Subject, sarif_logs
from common.agent_files import AgentFiles
from common.artifacts import ArtifactRef, ArtifactStore
from common.names import safe_name


class AuditReport:
    """Writes reports below a folder, one folder per agent, and as files of the agent.

    `versions` gives each analyser's version under the name used in its findings; `clear` is called with the
    workflow id once the report is written, to remove what was only kept until then.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        files: AgentFiles,
        reports: Path,
        clear: Callable[[str], None],
        versions: Callable[[], dict[str, str]],
    ) -> None:
        self._artifacts = artifacts
        self._files = files
        self._reports = reports
        self._clear = clear
        self._versions = versions

    @activity.defn(name="write_report")
    def write_report(self, request: ReportRequest) -> ReportFiles:
        """Write every file of the report, each completely or not at all, then clear what the scan kept."""
        workflow_id = activity.info().workflow_id or ""
        folder = (self._reports / safe_name(workflow_id)).absolute()
        versions = dict(sorted(self._versions().items()))
        findings = CurrentFindings(self._artifacts, request.findings, activity.heartbeat)
        accepted = AcceptedFindings(self._artifacts, request.baseline, activity.heartbeat)
        facts = survey(findings, accepted, keep=CAP)
        written = WrittenFixes(self._artifacts, fix_outcomes(self._artifacts, request))
        files = {"sarif": "report.sarif", "json": "report.json", "html": "report.html"}
        subject = Subject(request.inventory, findings, facts, versions, written, accepted)
        for number, log in enumerate(sarif_logs(subject), 1):
            name, file = (
                ("sarif", "report.sarif") if number == 1 else (f"sarif-{number}", f"report-{number}.sarif")
            )
            self._files.write(folder / file, log)
            files[name] = file
        self._files.write(
            folder / files["json"], _document(self._artifacts, request, findings, facts, versions, accepted)
        )
        html = page(self._artifacts, request, findings, facts, versions, accepted)
        self._files.write(folder / files["html"], html.encode("utf-8", "replace"))
        files |= self._write_patches(folder, request)
        self._clear(workflow_id)
        return ReportFiles(files={name: str(folder / file) for name, file in files.items()})

    def _write_patches(self, folder: Path, request: ReportRequest) -> dict[str, str]:
        files = {}
        plans = [plan for plan in request.plans if plan.diff.size]
        for number, plan in enumerate(plans, 1):
            newest = number == len(plans)
            name, file = ("diff", "fixes.diff") if newest else (f"diff-{number}", f"fixes-{number}.diff")
            self._files.write(folder / file, self._artifacts.get(plan.diff))
            files[name] = file
        # Newest first: what was written last is undone first.
        undo = b"".join(map(self._artifacts.get, dict.fromkeys(r.undo for r in reversed(request.applied))))
        if undo:
            self._files.write(folder / "undo.patch", undo)
            files["undo"] = "undo.patch"
        return files


def _document(
    store: ArtifactStore,
    request: ReportRequest,
    findings: CurrentFindings,
    facts: Facts,
    versions: dict[str, str],
    accepted: AcceptedFindings,
) -> Iterator[bytes]:
    """The JSON document, one record per line.

    Its keys: `format`; `root`; `analysers` (version by name); `summary` (files, bytes, languages, findings,
    by_severity, fixable, skipped, ranked_by, top, and with a baseline how many findings are new, accepted and
    absent); `files` (path, sha256, size, language); `left_out` (path, reason); `groups`, best rank first;
    `findings` (path, sha256, findings) of every file; with a baseline `absent`; `plans`, each with its
    `fixes`; `decisions` in words; `applied`, each with its `details`.
    """
    inventory, triage = request.inventory, request.triage
    summary = {
        **inventory.model_dump(include={"files", "bytes", "languages", "skipped"}),
        "findings": facts.total,
        "by_severity": {severity.value: count for severity, count in sorted(facts.by_severity.items())},
        "fixable": triage.fixable,
        "ranked_by": triage.model,
        "top": triage.top,
    }
    if accepted.given:
        summary["baseline"] = {
            "new": facts.total - facts.accepted,
            "accepted": facts.accepted,
            "absent": accepted.absent_count,
        }
    yield b'{\n"format":' + to_json(REPORT_FORMAT) + b',\n"root":' + to_json(inventory.root)
    yield b',\n"analysers":' + to_json(versions) + b',\n"summary":' + to_json(summary)
    yield from _list("files", _lines(store, inventory.listing))
    yield from _list("left_out", _lines(store, inventory.left_out))
    yield from _list("groups", _lines(store, triage.groups))
    yield from _list("findings", findings.lines())
    if accepted.given:
        yield from _list("absent", (gone.model_dump_json().encode() for gone in accepted.absent()))
    yield b',\n"plans":['
    for number, plan in enumerate(request.plans):
        yield (b"," if number else b"") + plan.model_dump_json().encode()[:-1]
        yield from _list("fixes", _lines(store, plan.listing))
        yield b"}"
    yield b'],\n"decisions":' + to_json(request.decisions) + b',\n"applied":['
    for number, result in enumerate(request.applied):
        written = {"written": result.written, "conflicts": result.conflicts, "undo": result.undo}
        yield (b"," if number else b"") + to_json(written)[:-1]
        yield from _list("details", _lines(store, result.details))
        yield b"}"
    yield b"]\n}\n"


def _lines(store: ArtifactStore, ref: ArtifactRef) -> Iterable[bytes]:
    return store.get(ref).splitlines()


def _list(key: str, records: Iterable[bytes]) -> Iterator[bytes]:
    """`key` with its records, as another member of a JSON object that already has members."""
    comma = f',\n"{key}":[\n'.encode()
    for record in records:
        yield comma + record
        comma = b",\n"
    yield b"]" if comma == b",\n" else comma + b"]"
