"""An audited folder on disk with its findings, for the tests of its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from temporalio.testing import ActivityEnvironment

from activities.auditor.fix.diff import diff_file
from activities.auditor.records import (
    AppliedFix,
    ApplyResult,
    FileEntry,
    FileFindings,
    Finding,
    Inventory,
    PlannedFix,
    ReportFiles,
    ReportRequest,
    SkippedFile,
    TriageRequest,
    put_records,
)
from activities.auditor.report.write import AuditReport
from activities.auditor.triage import FindingTriage
from activities.llm.offline import OfflineAnalyst
from common.agent_files import AgentFiles
from common.agents.auditor import FixPlan
from common.artifacts import ArtifactStore
from common.digest import digest_bytes
from common.object_store import FolderStore

HOSTILE = '<script>document.title="pwned"</script>/<img src=x onerror=document.title="pwned">\'"&.py'
SECRET = "correct-horse-battery-staple"


def finding(rule: str = "F401", severity: str = "low", line: int = 1, **more: object) -> Finding:
    fields = {
        "analyser": "ruff",
        "rule": rule,
        "severity": severity,
        "message": f"about {rule}",
        "line": line,
    }
    return Finding.model_validate(fields | more)


@dataclass
class Audit:
    """An audited folder on disk, and its findings."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    found: dict[str, list[Finding]] = field(default_factory=dict)
    left_out: list[SkippedFile] = field(default_factory=list)
    fixes: dict[str, str] = field(default_factory=dict)
    applied: list[AppliedFix] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ArtifactStore(FolderStore(self.folder / "artifacts"))
        self.root = self.folder / "code"
        self.root.mkdir(exist_ok=True)

    def add(self, path: str, text: str, *found: Finding) -> None:
        self.files[path] = text
        self.found[path] = list(found)
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def request(self) -> ReportRequest:
        store, sums = self.store, {path: digest_bytes(text.encode()) for path, text in self.files.items()}
        entries = [
            FileEntry(path=p, sha256=sums[p], size=len(t), language="x") for p, t in self.files.items()
        ]
        refs = [
            put_records(
                store, [FileFindings(path=p, sha256=sums[p], findings=f) for p, f in self.found.items()]
            )
        ]
        reasons = [each.reason for each in self.left_out]
        inventory = Inventory(
            root=str(self.root),
            listing=put_records(store, entries),
            files=len(entries),
            bytes=sum(entry.size for entry in entries),
            languages={"x": len(entries)},
            skipped={reason: reasons.count(reason) for reason in reasons},
            left_out=put_records(store, self.left_out),
        )
        triage = ActivityEnvironment().run(
            FindingTriage(store, OfflineAnalyst()).triage, TriageRequest(findings=refs)
        )
        plans, applied = self._fixes()
        decisions = ["approved by ann through cli: fine"] if applied else []
        return ReportRequest(
            inventory=inventory,
            findings=refs,
            triage=triage,
            plans=plans,
            decisions=decisions,
            applied=applied,
        )

    def _fixes(self) -> tuple[list[FixPlan], list[ApplyResult]]:
        if not self.fixes:
            return [], []
        store, planned, diffs, undo = self.store, [], [], []
        for path, after in self.fixes.items():
            old, new = self.files[path].encode(), after.encode()
            diff = diff_file(path, old, new)
            diffs.append(diff.text)
            undo.append(diff_file(path, new, old).text)
            fix = PlannedFix(
                path=path,
                before=store.put(old),
                after=store.put(new),
                rules={"F401": 1},
                lines_added=diff.lines_added,
                lines_removed=diff.lines_removed,
            )
            planned.append(fix)
        plan = FixPlan(
            root=str(self.root),
            files=len(planned),
            fixes=len(planned),
            preview=(),
            listing=put_records(store, planned),
            diff=store.put(b"".join(diffs)),
            skip=self.skip,
        )
        result = ApplyResult(
            written=1,
            conflicts=[],
            details=put_records(store, self.applied),
            undo=store.put(b"".join(undo)),
        )
        return [plan], [result] if self.applied else []

    def write(self, request: ReportRequest | None = None, to: str = "reports") -> dict[str, Path]:
        versions = {"ruff": "0.99.1", "shellcheck": "0.11.0"}
        report = AuditReport(
            self.store,
            AgentFiles(FolderStore(self.folder / "objects")),
            self.folder / to,
            self.cleared.append,
            lambda: versions,
        )
        written: ReportFiles = ActivityEnvironment().run(report.write_report, request or self.request())
        return {name: Path(path) for name, path in written.files.items()}


def small_audit(folder: Path) -> Audit:
    """A small code base with everything that a report must handle."""
    audit = Audit(folder)
    audit.add(
        "src/a.py",
        "import os\nimport sys\n\nprint(sys)\n",
        finding(url="https://docs.example/F401", fixable=True),
        finding("S602", "high", line=4, url="javascript:alert(1)"),
    )
    audit.add(
        "deploy/prod.env",
        f"A=1\nKEY={SECRET}\nnobody-found-this\n",
        finding("secret-keyword", "high", 2, analyser="detect-secrets", message="Possible secret"),
    )
    audit.add(HOSTILE, "import <b>\n", finding(message="about <script>document.title='pwned'</script>"))
    audit.add("b.sh", "ls\n", finding("analyser-failed", "note", analyser="shellcheck", message="timed out"))
    audit.add("clean file#1%.py", "\n")
    audit.left_out = [SkippedFile(path="logo.png", reason="binary"), SkippedFile(path="<i>", reason="name")]
    return audit


def with_fixes(audit: Audit) -> Audit:
    audit.add("src/b.py", "import os\nx = 1\n", finding(fixable=True))
    audit.fixes = {"src/a.py": "import sys\n\nprint(sys)\n", "src/b.py": "x = 1\n"}
    audit.applied = [
        AppliedFix(path="src/a.py", outcome="written"),
        AppliedFix(path="src/b.py", outcome="left", reason="changed since the plan"),
    ]
    (audit.root / "src/a.py").write_text(audit.fixes["src/a.py"])
    return audit
