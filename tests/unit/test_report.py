"""The report of an audit: valid SARIF, whole JSON, a page that shows everything and runs nothing foreign."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from temporalio.testing import ActivityEnvironment

from activities.audit_records import (
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
from activities.fix_diff import diff_file
from activities.llm import OfflineAnalyst
from activities.report import AuditReport, safe_name
from activities.triage import FindingTriage
from common.artifacts import ArtifactStore
from common.audit import FixPlan
from common.digest import digest_bytes

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = '<script>document.title="pwned"</script>/<img src=x onerror=document.title="pwned">\'"&.py'
SECRET = "correct-horse-battery-staple"
SCHEMA = json.loads(Path(__file__).with_name("sarif-2.1.0.schema.json").read_text())


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
    """An audited folder on disk, and what was found in it."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    found: dict[str, list[Finding]] = field(default_factory=dict)
    left_out: list[SkippedFile] = field(default_factory=list)
    fixes: dict[str, str] = field(default_factory=dict)
    applied: list[AppliedFix] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ArtifactStore(self.folder / "artifacts")
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
        report = AuditReport(self.store, self.folder / to, self.cleared.append, lambda: versions)
        written: ReportFiles = ActivityEnvironment().run(report.write_report, request or self.request())
        return {name: Path(path) for name, path in written.files.items()}


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """A small code base with everything a report has to cope with."""
    audit = Audit(tmp_path)
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


def results(sarif: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {run["tool"]["driver"]["name"]: run["results"] for run in sarif["runs"]}


def test_the_sarif_log_is_valid(audit: Audit) -> None:
    """The log follows the published schema of SARIF 2.1.0."""
    log = json.loads(audit.write()["sarif"].read_bytes())
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    assert log["version"] == "2.1.0"


def test_sarif_has_a_run_for_each_analyser(audit: Audit) -> None:
    """Each run names its tool, version and rules; results point at rules, levels and encoded file names."""
    log = json.loads(audit.write()["sarif"].read_bytes())
    runs = {run["tool"]["driver"]["name"]: run for run in log["runs"]}
    assert list(runs) == ["detect-secrets", "ruff", "shellcheck"]
    driver = runs["ruff"]["tool"]["driver"]
    assert driver["version"] == "0.99.1"
    # An address that is no web page is no help page.
    assert driver["rules"] == [{"id": "F401", "helpUri": "https://docs.example/F401"}, {"id": "S602"}]
    assert {driver["rules"][r["ruleIndex"]]["id"] == r["ruleId"] for r in runs["ruff"]["results"]} == {True}
    (secret,) = runs["detect-secrets"]["results"]
    assert secret["level"] == "error"
    place = secret["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "deploy/prod.env", "uriBaseId": "%SRCROOT%"}
    assert place["region"]["startLine"] == 2
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in runs["ruff"]["results"]}
    assert any(uri.startswith("%3Cscript%3E") for uri in uris)
    assert not any(set('<>"& ') & set(uri) for uri in uris)
    assert runs["ruff"]["originalUriBaseIds"]["%SRCROOT%"]["uri"].endswith("/code/")


def test_sarif_tells_what_was_not_analysed(audit: Audit) -> None:
    """A crash makes its analyser's invocation unsuccessful; files left out are counted by reason."""
    log = json.loads(audit.write()["sarif"].read_bytes())
    calls = {run["tool"]["driver"]["name"]: run["invocations"][0] for run in log["runs"]}
    assert [call["executionSuccessful"] for call in calls.values()] == [True, True, False]
    crash, *left_out = calls["shellcheck"]["toolExecutionNotifications"]
    assert (crash["level"], crash["message"]["text"]) == ("error", "b.sh: timed out")
    assert [note["message"]["text"] for note in left_out] == [
        "1 files were left out of the audit: binary",
        "1 files were left out of the audit: name",
    ]
    assert results(log)["shellcheck"] == []


def test_a_fingerprint_outlives_a_move(audit: Audit) -> None:
    """A finding keeps its fingerprint when its line moves; two alike in one file have two."""
    audit.add("m.py", "x\n" * 9, finding("M", line=1), finding("M", line=2))

    def prints() -> list[str]:
        found = results(json.loads(audit.write()["sarif"].read_bytes()))["ruff"]
        return [r["partialFingerprints"]["finding/v1"] for r in found if r["ruleId"] == "M"]

    before = prints()
    audit.found["m.py"] = [finding("M", line=5), finding("M", line=7)]
    assert prints() == before
    assert len(set(before)) == 2


def test_the_json_document_is_whole(audit: Audit) -> None:
    """It has every documented key, every file, finding, file left out, fix, decision and outcome."""
    document = json.loads(with_fixes(audit).write()["json"].read_bytes())
    assert list(document) == [
        "format", "root", "analysers", "summary", "files", "left_out", "groups", "findings", "plans",
        "decisions", "applied",
    ]  # fmt: skip
    assert document["format"] == "hibernaut-audit/1"
    assert document["summary"]["findings"] == sum(len(found) for found in audit.found.values())
    assert document["summary"]["by_severity"] == {"high": 2, "low": 3, "note": 1}
    assert {file["path"] for file in document["files"]} == set(audit.files)
    assert {f["path"]: len(f["findings"]) for f in document["findings"]} == {
        path: len(found) for path, found in audit.found.items()
    }
    assert document["left_out"][0] == {"path": "logo.png", "reason": "binary"}
    assert [fix["path"] for fix in document["plans"][0]["fixes"]] == ["src/a.py", "src/b.py"]
    assert document["decisions"] == ["approved by ann through cli: fine"]
    assert document["applied"][0]["details"][1]["reason"] == "changed since the plan"


def test_the_same_request_gives_the_same_bytes(audit: Audit) -> None:
    """Two reports of one audit do not differ in a byte."""
    request = with_fixes(audit).request()
    first, second = audit.write(request, "one"), audit.write(request, "two")
    assert set(first) == {"sarif", "json", "html", "diff", "undo"}
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes()


def test_the_scan_is_cleared_after_the_report(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the scan kept goes once the report is written, and stays where writing it failed."""
    with monkeypatch.context() as patch:
        patch.setattr("activities.report.page", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            audit.write()
    assert audit.cleared == []
    written = audit.write()
    assert audit.cleared == ["test"]
    assert {path.name for path in written["html"].parent.iterdir()} == {
        path.name for path in written.values()
    }


def test_undo_takes_back_what_was_written_last_first(audit: Audit) -> None:
    """Of several applied plans the undo patches come newest first, each once; every plan keeps its diff."""
    request = with_fixes(audit).request()
    older, plan = request.applied[0], request.plans[0]
    newer = older.model_copy(update={"undo": audit.store.put(b"newer\n")})
    written = audit.write(
        request.model_copy(update={"plans": [plan, plan], "applied": [older, newer, newer]})
    )
    assert written["undo"].read_bytes() == b"newer\n" + audit.store.get(older.undo)
    assert written["diff-1"].read_bytes() == written["diff"].read_bytes()


@pytest.mark.parametrize("workflow_id", ["../../etc", "..", "", ".hidden", "a/b", "a b", "ü", "x" * 300])
def test_a_workflow_id_is_no_path(workflow_id: str) -> None:
    """Any id gives one plain folder name of its own."""
    name = safe_name(workflow_id)
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name) < 150
    assert name != safe_name(workflow_id + "!")


def test_an_ordinary_workflow_id_is_kept() -> None:
    """People find the report under the id they know."""
    assert safe_name("code-auditor-2f.1_a") == "code-auditor-2f.1_a"


def test_no_report_holds_a_secret(audit: Audit) -> None:
    """A secret's line is masked in the page, again where it repeats and in diffs, and is nowhere else."""
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n"
    secret = {"severity": "high", "analyser": "detect-secrets"}
    audit.add("key.pem", key, finding("private-key", line=1, **secret), finding("X", line=2))
    code = f'import os\npassword = "{SECRET}"\nagain = "{SECRET}"\ny = 1\n'
    audit.add(
        "s.py",
        code,
        finding("secret-keyword", line=2, **secret),
        finding("E1", line=3),
        finding("E2", line=4),
        finding(fixable=True),
    )
    audit.fixes = {"s.py": code.replace("import os\n", "").replace('password = "', "password='")}
    audit.applied = [AppliedFix(path="s.py", outcome="written")]
    written = audit.write()
    for name in ("sarif", "json", "html"):
        text = written[name].read_text()
        assert SECRET not in text
        assert "MIIEpAIBAAKCAQEA" not in text
        # What stands beside a secret may be one that nobody found.
        assert "nobody-found-this" not in text
    page = written["html"].read_text()
    assert "<code>y = 1</code>" in page
    assert page.count("hidden: a secret is here") >= 6


def test_the_page_escapes_what_it_shows(audit: Audit) -> None:
    """Names, messages, source lines and odd characters of others appear as text."""
    audit.add("bidi.py", "x = '\u202e\x1b[2J'\n", finding(message="\u2066\x00"))
    page = audit.write()["html"].read_text()
    assert "<code>import &lt;b&gt;</code>" in page
    assert page.count("<script") == 1
    assert "<img" not in page
    assert "javascript:" not in page
    assert not {"\u202e", "\x1b", "\u2066", "\x00"} & set(page)
    assert "\\u202e\\x1b[2J" in page


def test_source_is_shown_only_while_it_is_what_was_scanned(audit: Audit, tmp_path: Path) -> None:
    """A file that changed, went, or became a link or a pipe since the scan shows no line."""
    for path in ("changed.py", "gone.py", "link.py", "pipe.py", "same.py"):
        audit.add(path, f"original {path}\n", finding())
    request = audit.request()
    (audit.root / "changed.py").write_text("new words\n")
    for path in ("gone.py", "link.py", "pipe.py"):
        (audit.root / path).unlink()
    (tmp_path / "outside").write_text("original link.py\n")
    (audit.root / "link.py").symlink_to(tmp_path / "outside")
    os.mkfifo(audit.root / "pipe.py")
    page = audit.write(request)["html"].read_text()
    assert page.count("no longer what was scanned") == 4
    assert "new words" not in page
    assert "original link.py" not in page
    assert "original same.py" in page


def test_the_page_tells_what_was_fixed_and_what_was_not(audit: Audit) -> None:
    """Each planned file with its outcome and reason, the decision, the diff; fixed findings say so."""
    page = with_fixes(audit).write()["html"].read_text()
    assert "2 files planned: 1 written, 1 left." in page
    assert "changed since the plan" in page
    assert "approved by ann through cli: fine" in page
    assert 'class="line removed"><span class="no">1</span><span class="mark">-</span><code>import os' in page
    # The file is another one now; its findings are shown on the bytes they were found in.
    assert "As it was before the fixes." in page
    assert page.count("> fixed</span>") == 1
    assert "ranked by: offline analyst (no language model)" in page


def test_an_approvers_exception_is_named(audit: Audit) -> None:
    """A file left out on the approver's word says so, even where nothing tells what became of it."""
    audit = with_fixes(audit)
    audit.applied = audit.applied[:1]
    audit.skip = ["src/b.py"]
    assert "left out on the approver&#x27;s word" in audit.write()["html"].read_text()


def test_a_giant_audit_makes_a_page_of_bounded_size(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the cap the worst are shown, and a line says how many more there are and where."""
    monkeypatch.setattr("activities.report.CAP", 20)
    audit.add("many.py", "x\n" * 99, *(finding("MANY", line=n) for n in range(1, 80)))
    audit.add("z.py", "x\n", finding("WORST", "high"))
    written = audit.write()
    page = written["html"].read_text()
    total = sum(len(found) for found in audit.found.values())
    assert page.count('class="finding ') == 20
    assert f"{total - 20} more findings, none graver than these, are in report.json and report.sarif." in page
    assert "about WORST" in page
    assert len(results(json.loads(written["sarif"].read_bytes()))["ruff"]) == total - 2


WRITE = """
import re, sys
from pathlib import Path
from activities.audit_records import ReportRequest
from tests.unit.test_report import Audit
def highest():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
request = ReportRequest.model_validate_json(Path(sys.argv[1], "request.json").read_text())
audit = Audit(Path(sys.argv[1]))
before = highest()
audit.write(request)
print(highest() - before)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux, which tells a process's memory"
)
def test_a_giant_audit_fits_in_memory(audit: Audit) -> None:
    """A tenth of 50,000 files with 300,000 findings takes a tenth of what 300 MB leave beside the program."""
    found = [finding(line=n, message="a message as long as messages are, more or less") for n in range(6)]
    for number in range(5_000):
        path = f"src/package_{number % 100}/module_{number:05}.py"
        audit.files[path], audit.found[path] = "", found
    (audit.folder / "request.json").write_text(audit.request().model_dump_json())
    # In a process of its own: memory is counted at its highest.
    command = [sys.executable, "-c", WRITE, str(audit.folder)]
    kilobytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(kilobytes) < 20_000


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    if not CHROMIUM.exists():
        pytest.skip(f"needs a browser: {CHROMIUM} (Debian package chromium)")
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    arguments += ["--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield browser.new_page()
        browser.close()


def test_the_page_works_in_a_browser(audit: Audit, browser_page: Page) -> None:
    """No error, no request to anywhere, nothing of others runs, and the filter filters."""
    troubles: list[str] = []
    page = browser_page
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(with_fixes(audit).write()["html"].as_uri())
    assert page.title() == "Audit of code"
    shown = page.locator("#shown")
    assert shown.inner_text() == "6 of 6 shown"
    page.fill("#words", "SRC/a.py f401")
    expect(shown).to_have_text("1 of 6 shown")
    assert page.locator(".finding:visible").count() == 1
    page.press("#words", "Escape")
    page.click("a.tile.high")
    assert shown.inner_text() == "2 of 6 shown"
    page.fill("#words", "no such words")
    page.locator("#none").wait_for(state="visible")
    assert page.title() == "Audit of code"
    assert troubles == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
