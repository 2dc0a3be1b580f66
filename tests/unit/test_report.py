"""The files of an audit's report: valid SARIF, whole JSON, patches, and bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from activities.auditor.records import AppliedFix
from common.names import safe_name
from tests.support.auditor.report_world import Audit, finding, small_audit, with_fixes
from tests.support.json_schema import flaws

SCHEMA = json.loads(Path(__file__).with_name("sarif-2.1.0.schema.json").read_text())


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return small_audit(tmp_path)


def results(sarif: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {run["tool"]["driver"]["name"]: run["results"] for run in sarif["runs"]}


def test_the_sarif_log_is_valid(audit: Audit) -> None:
    """The log follows the published schema of SARIF 2.1.0."""
    log = json.loads(audit.write()["sarif"].read_bytes())
    assert flaws(SCHEMA, log, draft=4) == []
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


def test_sarif_lists_what_is_left_where_it_is_now(audit: Audit) -> None:
    """What was fixed is gone, the rest stands on its present lines; a file that was left is as it was."""
    text = "import os\nimport sys\nimport re\n\nprint(sys)\n"
    audit.add(
        "src/c.py",
        text,
        finding(line=1, fixable=True),
        finding("S602", line=5, end_line=5),
        finding(line=3, fixable=True, message="stays"),
    )
    audit = with_fixes(audit)
    audit.fixes["src/c.py"] = text.replace("import os\n", "")
    audit.applied.append(AppliedFix(path="src/c.py", outcome="written"))
    (audit.root / "src/c.py").write_text(audit.fixes["src/c.py"])
    found = results(json.loads(audit.write()["sarif"].read_bytes()))["ruff"]
    places = [each["locations"][0]["physicalLocation"] for each in found]
    where = {
        (each["ruleId"], place["artifactLocation"]["uri"], place["region"]["startLine"])
        for each, place in zip(found, places, strict=True)
        if place["artifactLocation"]["uri"].startswith("src/")
    }
    assert where == {
        ("S602", "src/a.py", 3),
        ("F401", "src/b.py", 1),
        ("F401", "src/c.py", 2),
        ("S602", "src/c.py", 4),
    }
    assert [place["region"].get("endLine") for place in places if place["region"]["startLine"] == 4] == [4]


def test_a_fingerprint_outlives_a_move(audit: Audit) -> None:
    """A finding keeps its fingerprint when its line moves; two alike in one file have two."""
    audit.add("m.py", "x\n" * 9, finding("M", line=1), finding("M", line=2))

    def prints() -> list[str]:
        found = results(json.loads(audit.write()["sarif"].read_bytes()))["ruff"]
        return [r["partialFingerprints"]["finding/v2"] for r in found if r["ruleId"] == "M"]

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
        patch.setattr("activities.auditor.report.write.page", lambda *_: 1 / 0)
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


WRITE = """
import re, sys
from pathlib import Path
from activities.auditor.records import ReportRequest
from tests.support.auditor.report_world import Audit
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
