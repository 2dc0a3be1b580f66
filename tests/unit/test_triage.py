"""Ranking findings: severity is a rule, wishes move groups within it, everything is deterministic."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.auditor.records import (
    FileFindings,
    Finding,
    FindingGroup,
    Severity,
    Triage,
    TriageRequest,
    get_records,
    put_records,
)
from activities.auditor.triage import FindingTriage
from activities.llm.offline import OfflineAnalyst
from activities.llm.records import LanguageModel, ModelReply, ModelRequest, Quote, RankedItem
from common.artifacts import ArtifactStore
from common.object_store import FolderStore


def finding(
    rule: str, severity: str = "low", line: int = 1, analyser: str = "ruff", **more: object
) -> Finding:
    fields = {
        "analyser": analyser,
        "rule": rule,
        "severity": severity,
        "message": f"about {rule}",
        "line": line,
    }
    return Finding.model_validate(fields | more)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(FolderStore(tmp_path / "artifacts"))


def run(
    store: ArtifactStore,
    files: dict[str, list[Finding]],
    *wishes: str,
    model: LanguageModel | None = None,
    rescan: dict[str, list[Finding]] | None = None,
) -> tuple[Triage, list[FindingGroup]]:
    refs = [
        put_records(store, [FileFindings(path=p, sha256="0" * 64, findings=f) for p, f in scan.items()])
        for scan in (files, rescan or {})
    ]
    triage = ActivityEnvironment().run(
        FindingTriage(store, model or OfflineAnalyst()).triage,
        TriageRequest(findings=refs, wishes=list(wishes)),
    )
    return triage, list(get_records(store, triage.groups, FindingGroup))


class Flatterer:
    """A model that puts one item first with any score, beside one that does not exist."""

    def __init__(self, score: float, rule: str = "C1") -> None:
        self.score = score
        self.rule = rule

    def rank(self, request: ModelRequest) -> ModelReply:
        ids = [item.id for item in request.items if self.rule in item.text] + ["no such item"]
        quote = Quote(text="", start=0, end=0)
        liked = [
            RankedItem(id=each, score=self.score, reason="I\nsay\x1b[1m so", quote=quote) for each in ids
        ]
        return ModelReply(model="flatterer", ranking=liked)


def test_findings_group_by_rule_analyser_and_top_folder(store: ArtifactStore) -> None:
    """Counts, fixable ones and the worst example come per rule, analyser and top folder."""
    triage, groups = run(
        store,
        {
            "a/x.py": [finding("F1", line=3), finding("F1", line=9, severity="high", fixable=True)],
            "a/deep/y.py": [finding("F1")],
            "b/z.py": [finding("F1"), finding("F1", analyser="oxlint")],
            "top.py": [finding("F1")],
        },
    )
    shown = {(g.folder, g.analyser): (g.count, g.fixable, g.severity, g.example) for g in groups}
    assert shown == {
        ("a", "ruff"): (3, 1, Severity.HIGH, "a/x.py:9 about F1"),
        ("b", "ruff"): (1, 0, Severity.LOW, "b/z.py:1 about F1"),
        ("b", "oxlint"): (1, 0, Severity.LOW, "b/z.py:1 about F1"),
        (".", "ruff"): (1, 0, Severity.LOW, "top.py:1 about F1"),
    }
    assert (triage.findings, triage.fixable, triage.model) == (6, 1, "offline")
    assert triage.by_severity == {"high": 1, "medium": 0, "low": 5, "note": 0}


def test_only_the_newest_findings_of_a_file_count(store: ArtifactStore) -> None:
    """A file scanned again is what its last scan says."""
    files = {"a.py": [finding("F1")], "b.py": [finding("F1")]}
    triage, groups = run(store, files, rescan={"a.py": []})
    assert triage.findings == 1
    assert groups[0].example.startswith("b.py:1")


def test_within_a_severity_spread_ranks(store: ArtifactStore) -> None:
    """More findings in more files rank higher, but never above a higher severity."""
    many = {f"a/{n}.py": [finding("MANY"), finding("FEW")][: 1 + (n == 0)] for n in range(400)}
    _, groups = run(store, many | {"z.py": [finding("GRAVE", "medium")]})
    assert [g.rule for g in groups] == ["GRAVE", "MANY", "FEW"]


def test_however_many_guesses_rank_below_one_secret_that_is_known_by_its_form(store: ArtifactStore) -> None:
    """A word such as "password" stands in thousands of lines, in which nothing secret is."""
    secret = {"analyser": "detect-secrets", "severity": "high"}
    files = {f"a/{n}.py": [finding("secret-keyword", **secret)] for n in range(400)}
    _, groups = run(store, files | {"z.pem": [finding("private-key", **secret)]})
    assert [g.rule for g in groups] == ["private-key", "secret-keyword"]


def test_a_wish_lifts_a_group_within_its_severity(store: ArtifactStore) -> None:
    """What people ask for comes earlier, with the words that matched, and stays below graver things."""
    files = {
        "deploy/run.sh": [finding("SC1", analyser="shellcheck")],
        "src/a.py": [finding("F1", line=n) for n in range(5)] + [finding("S1", "high")],
    }
    assert [g.rule for g in run(store, files)[1]] == ["S1", "F1", "SC1"]
    _, groups = run(store, files, "mostly the DEPLOY scripts")
    assert [g.rule for g in groups] == ["S1", "SC1", "F1"]
    assert groups[1].reason == "low: 1 in 1 file; matches: deploy"


@pytest.mark.parametrize("score", [1e9, -1e9, math.nan, math.inf])
def test_no_model_moves_a_group_out_of_its_severity(store: ArtifactStore, score: float) -> None:
    """Whatever a model answers, a low group stays below a medium one, and its words hold no control codes."""
    files = {"a.py": [finding("B1", "medium"), finding("C1"), finding("D1"), finding("D1", line=2)]}
    triage, groups = run(store, files, "x", model=Flatterer(score))
    assert groups[0].rule == "B1"
    assert all(100 <= g.score < 200 for g in groups[1:])
    assert triage.model == "flatterer"
    assert all(group.reason.isprintable() for group in groups)
    assert any("flatterer says: I" in group.reason for group in groups) == math.isfinite(score)


def test_top_says_in_plain_sentences_where_to_look(store: ArtifactStore) -> None:
    """At most five sentences, worst first, that name count, kind, folder and the worst place."""
    secret = {"analyser": "detect-secrets", "severity": "high"}
    files = {
        "deploy/my x.env": [finding("aws-access-key", line=n, **secret) for n in (3, 5, 7)],
        "src/a.py": [finding(f"F{n}", fixable=True) for n in range(8)],
        "b.js": [finding("analyser-failed", "medium", analyser="oxlint")],
    }
    top = run(store, files)[0].top
    assert top[0] == "3 hard-coded secrets (aws-access-key) in deploy/, worst: deploy/my x.env:3"
    assert top[1] == "oxlint failed 1 time in the top folder, first: b.js:1"
    assert top[2] == "1 × F0 (ruff) in src/, 1 fixable, worst: src/a.py:1 about F0"
    assert len(top) == 5


def test_a_hostile_name_stays_on_one_line(store: ArtifactStore) -> None:
    """Names and messages reach approvers without line breaks, escape codes or reordering marks."""
    triage, groups = run(store, {"a\n\x1b[2J\u202egnp.py": [finding("F1", message="x\ny" + "z" * 900)]})
    assert all(text.isprintable() and len(text) < 600 for text in (triage.top[0], groups[0].example))


def test_the_order_of_scans_does_not_matter(store: ArtifactStore) -> None:
    """The same findings in another order give the same bytes."""
    files = {f"{folder}/{n}.py": [finding("F1"), finding("F2")] for folder in "ab" for n in range(3)}
    shuffled = dict(reversed(files.items()))
    assert run(store, files, "folder b")[0] == run(store, shuffled, "folder b")[0]


def test_no_findings_is_an_answer_too(store: ArtifactStore) -> None:
    """A clean code base gives an empty ranking."""
    triage, groups = run(store, {"a.py": []}, "anything")
    assert (triage.findings, triage.top, groups) == (0, [], [])
