"""The baseline: what an earlier report told is accepted, wherever its lines are now."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.auditor.baseline import BaselineReader, fingerprints
from activities.auditor.records import Baseline, BaselineRequest, FileFindings, Finding, TriageRequest
from activities.auditor.report import sarif as sarif_module
from activities.auditor.triage import FindingTriage
from activities.llm.offline import OfflineAnalyst
from tests.support.auditor.report_world import Audit, finding, small_audit
from tests.support.auditor.scan_bench import ScanBench
from tests.support.json_schema import flaws

SCHEMA = json.loads(Path(__file__).with_name("sarif-2.1.0.schema.json").read_text())


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return small_audit(tmp_path)


def read(audit: Audit, path: Path) -> Baseline:
    request = BaselineRequest(path=str(path))
    baseline: Baseline = ActivityEnvironment().run(BaselineReader(audit.store).read_baseline, request)
    return baseline


def against(audit: Audit, baseline: Baseline) -> dict[str, Path]:
    return audit.write(audit.request().model_copy(update={"baseline": baseline}), "again")


def states(sarif: Path) -> dict[tuple[str, int], str]:
    runs = json.loads(sarif.read_bytes())["runs"]
    return {
        (result["ruleId"], result["locations"][0]["physicalLocation"]["region"]["startLine"]): result[
            "baselineState"
        ]
        for run in runs
        for result in run["results"]
    }


def scanned(bench: ScanBench, text: str) -> FileFindings:
    bench.write({"a.py": text})
    [record] = bench.records(bench.run(bench.request(), activity_id=str(len(text))).findings)
    return record


def test_a_fingerprint_is_of_the_line_and_not_of_its_number(tmp_path: Path) -> None:
    """Of two alike the inserted one is new, and of a line that holds a secret there is no digest."""
    bench = ScanBench(tmp_path)
    old = "import subprocess\n\nsubprocess.call('ls -a', shell=True)\nPASSWORD = 'correct-horse-battery'\n"
    before = scanned(bench, old)
    new = old.replace("\n\n", "\n\n\nsubprocess.call('ls -b', shell=True)\n", 1)
    after = scanned(bench, new)
    known = set(fingerprints(before))
    fresh = [
        (each.rule, each.line)
        for each, mark in zip(after.findings, fingerprints(after), strict=True)
        if mark not in known
    ]
    assert fresh
    assert {line for _, line in fresh} == {4}
    assert len(known) == len(before.findings)
    on_secret = [each for each in before.findings if each.line == 4]
    assert on_secret
    assert not any(each.mark for each in on_secret)
    assert all(each.mark for each in before.findings if each.line == 3)


def test_as_many_of_a_kind_are_accepted_as_there_were() -> None:
    """Three findings that nothing tells apart have three fingerprints; a fourth one has another."""
    alike = [Finding.model_validate(finding(line=n).model_dump()) for n in (1, 2, 3, 4)]
    three = fingerprints(FileFindings(path="a.py", sha256="1", findings=alike[:3]))
    four = fingerprints(FileFindings(path="a.py", sha256="2", findings=alike))
    assert len(set(four)) == 4
    assert four[:3] == three


@pytest.mark.parametrize("form", ["sarif", "json"])
def test_what_a_report_told_is_accepted_and_the_rest_is_new(audit: Audit, form: str) -> None:
    """SARIF, JSON and page tell new, accepted and absent apart; new ones come first."""
    baseline = read(audit, audit.write()[form])
    audit.found["src/a.py"] = [
        finding(url="https://docs.example/F401", fixable=True, line=2),  # moved
        finding("B006", line=3, message="a new one"),
    ]  # S602 is gone
    written = against(audit, baseline)
    log = json.loads(written["sarif"].read_bytes())
    assert flaws(SCHEMA, log, draft=4) == []
    found = states(written["sarif"])
    assert found.pop(("B006", 3)) == "new"
    assert set(found.values()) == {"unchanged"}
    assert ("S602", 4) not in found
    report = json.loads(written["json"].read_bytes())
    # What failed is neither accepted nor kept for later.
    assert report["summary"]["baseline"] == {"new": 2, "accepted": 3, "absent": 1}
    assert [each["rule"] for each in report["absent"]] == ["S602"]
    page = written["html"].read_text()
    assert "Against the baseline: 2 new, 3 accepted, 1 gone." in page
    assert page.index("a new one") < page.index("about F401")


def test_only_what_is_new_is_ranked(audit: Audit) -> None:
    """The accepted are counted and ranked nowhere."""
    baseline = read(audit, audit.write()["sarif"])
    audit.found["src/a.py"].append(finding("B006", line=3))
    request = TriageRequest(findings=audit.request().findings, baseline=baseline)
    triage = ActivityEnvironment().run(FindingTriage(audit.store, OfflineAnalyst()).triage, request)
    assert (triage.findings, triage.accepted, triage.absent) == (6, 4, 0)
    assert any("B006" in line for line in triage.top)
    assert not any("F401" in line or "S602" in line for line in triage.top)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\xfe", "it is neither SARIF nor a JSON report"),
        (b"[" * 100_000, "it is neither SARIF nor a JSON report"),
        (b'{"runs":[{"results":[{"ruleId":1}]}]}', "without our fingerprint"),
        (b'{"format":"hibernaut-audit/1","findings":[{"path":1}]}', "it is neither SARIF nor a JSON report"),
        (None, "there is no such file"),
    ],
)
def test_a_baseline_that_cannot_be_read_is_one_clear_line(audit: Audit, data: bytes | None, why: str) -> None:
    """It quotes nothing of the file."""
    path = audit.folder / "baseline.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ApplicationError) as failed:
        read(audit, path)
    assert (failed.value.type, failed.value.non_retryable) == ("BaselineUnreadable", True)
    assert str(failed.value).startswith(f"BaselineUnreadable: the baseline {path} cannot be used: ")
    assert why in str(failed.value)


def many(audit: Audit, count: int) -> None:
    for number in range(count):
        audit.files[f"m/{number % 50}.py"] = ""
        audit.found.setdefault(f"m/{number % 50}.py", []).append(finding("MANY", message=f"number {number}"))


def runs_of(written: dict[str, Path]) -> list[list[dict[str, Any]]]:
    logs = [json.loads(path.read_bytes()) for name, path in written.items() if name.startswith("sarif")]
    for log in logs:
        assert flaws(SCHEMA, log, draft=4) == []
    return [log["runs"] for log in logs]


def test_sarif_stays_within_what_a_service_takes(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many results make several runs, each an analysis of its own, and many runs several files."""
    monkeypatch.setattr(sarif_module, "RESULTS_PER_RUN", 100)
    monkeypatch.setattr(sarif_module, "RUNS_PER_FILE", 4)
    many(audit, 700)
    written = audit.write()
    logs = runs_of(written)
    assert [len(runs) for runs in logs] == [4, 4, 2]
    assert written["sarif-2"].name == "report-2.sarif"
    ids = [run["automationDetails"]["id"] for runs in logs for run in runs]
    assert len(set(ids)) == len(ids)
    of_ruff = [run for runs in logs for run in runs if run["tool"]["driver"]["name"] == "ruff"]
    assert len(of_ruff) == 8
    assert all(len(run["results"]) < 125 for run in of_ruff)
    messages = [result["message"]["text"] for run in of_ruff for result in run["results"]]
    assert sorted(each for each in messages if each.startswith("number")) == sorted(
        f"number {number}" for number in range(700)
    )

    def places() -> dict[str, str]:
        return {
            result["partialFingerprints"]["finding/v2"]: run["automationDetails"]["id"]
            for runs in runs_of(audit.write())
            for run in runs
            for result in run["results"]
        }

    before = places()
    audit.found["m/0.py"].insert(0, finding("MANY", message="one more"))
    after = places()
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_a_sarif_file_is_no_larger_than_a_service_takes(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is full before its gzip is; a run that alone would be too large has a file to itself."""
    monkeypatch.setattr(sarif_module, "RESULTS_PER_RUN", 100)
    monkeypatch.setattr(sarif_module, "BYTES_PER_FILE", 20_000)
    many(audit, 700)
    written = audit.write()
    sizes = [len(gzip.compress(p.read_bytes())) for name, p in written.items() if name.startswith("sarif")]
    assert len(sizes) > 1
    assert max(sizes) < 20_000
