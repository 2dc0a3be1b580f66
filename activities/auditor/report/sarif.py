"""The audit as SARIF 2.1.0, in files and runs that a code-scanning service accepts.

The limits are those of GitHub: per file 10 MB of gzip and 20 runs, per run 25,000 results, of which it keeps
5,000; runs of one tool need different categories. So an analyser with more results has several runs, and many
runs make several files. Only a finding's fingerprint decides its run: other findings do not move it, until
the number of runs doubles.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import quote

from activities.auditor.baseline import FINGERPRINT, AcceptedFindings, fingerprints
from activities.auditor.current_findings import CurrentFindings
from activities.auditor.records import FAILED_RULE, Finding, Inventory, Severity
from activities.auditor.report.facts import Facts, WrittenFixes

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# Below the service's limits, because fingerprints spread results over runs at random.
RESULTS_PER_RUN, RUNS_PER_FILE, BYTES_PER_FILE = 4000, 20, 9_000_000
# A million results, the most that the service accepts for a repository.
MAX_PARTS = 256
_CHUNK = 1_000_000
_LEVEL = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note", Severity.NOTE: "note"}


@dataclass(frozen=True)
class Subject:
    """What the logs are about. Each analyser that is a key of `versions` or has findings gets a run."""

    inventory: Inventory
    findings: CurrentFindings
    facts: Facts
    versions: Mapping[str, str]
    written: WrittenFixes
    accepted: AcceptedFindings


def sarif_logs(subject: Subject) -> Iterator[Iterator[bytes]]:
    """The logs, each in chunks. They describe the files as they are now, without findings that were fixed.

    Each log has to be read to its end before the next. Runs are assembled on disk, not in memory.
    """
    with ExitStack() as stack:
        waiting: list[IO[bytes]] = []
        packed = 0
        for analyser in sorted({*subject.versions, *subject.facts.urls}):
            for run in _runs(subject, analyser, stack):
                size = _packed_size(run)
                if waiting and (len(waiting) == RUNS_PER_FILE or packed + size > BYTES_PER_FILE):
                    yield _log(waiting)
                    waiting, packed = [], 0
                waiting.append(run)
                packed += size
        yield _log(waiting)


def _log(runs: Sequence[IO[bytes]]) -> Iterator[bytes]:
    yield f'{{"$schema":{_json(SCHEMA)},"version":"2.1.0","runs":['.encode()
    for number, run in enumerate(runs):
        yield b",\n" if number else b"\n"
        yield from _chunks(run)
        run.close()
    yield b"\n]}\n"


def _runs(subject: Subject, analyser: str, stack: ExitStack) -> list[IO[bytes]]:
    """The runs of one analyser."""
    known = sorted(subject.facts.urls.get(analyser, {}).items())
    indexes = {rule: index for index, (rule, _) in enumerate(known)}
    count = sum(each.total() for (name, _), each in subject.facts.by_rule.items() if name == analyser)
    parts = 1
    while count > parts * RESULTS_PER_RUN and parts < MAX_PARTS:
        parts *= 2
    runs: list[IO[bytes]] = [
        stack.enter_context(TemporaryFile())  # noqa: SIM115 -- the caller's stack closes it
        for _ in range(parts)
    ]
    commas = [b"\n"] * parts
    failures = []
    for run in runs:
        run.write(b'{"results":[')
    for record in subject.findings.with_analyser(analyser):
        states = subject.accepted.states(record)
        for scanned, mark, accepted in zip(record.findings, fingerprints(record), states, strict=True):
            finding = subject.written.now(record.path, record.sha256, scanned)
            if finding is None or finding.analyser != analyser:
                continue
            if finding.rule == FAILED_RULE:
                text = f"{record.path}: {finding.message}"
                failures.append(_notification("error", text, record.path))
                continue
            result = _result(record.path, finding, indexes[finding.rule], mark)
            if subject.accepted.given:
                result["baselineState"] = "unchanged" if accepted else "new"
            part = int(mark, 16) % parts
            runs[part].write(commas[part] + _json(result).encode())
            commas[part] = b",\n"
    for part, run in enumerate(runs):
        rest = _run(subject, analyser, known, failures if part == 0 else [])
        rest["automationDetails"] = {"id": _category(analyser, part, parts)}
        run.write(f"],\n{_json(rest)[1:]}".encode())
    return runs


def _category(analyser: str, part: int, parts: int) -> str:
    """The category of an analysis: the service closes alerts that a newer one of the same category lacks."""
    return f"hibernaut/{analyser}/" if parts == 1 else f"hibernaut/{analyser}-{part + 1}-of-{parts}/"


def _packed_size(file: IO[bytes]) -> int:
    packer = zlib.compressobj(1)
    return sum(len(packer.compress(chunk)) for chunk in _chunks(file)) + len(packer.flush())


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _run(
    subject: Subject, analyser: str, rules: list[tuple[str, str]], failures: list[dict[str, Any]]
) -> dict[str, Any]:
    """Everything in a run except its results."""
    inventory = subject.inventory
    notifications = failures + [
        _notification("note", f"{count:,} files were left out of the audit: {reason}")
        for reason, count in sorted(inventory.skipped.items())
        if count
    ]
    driver: dict[str, Any] = {"name": analyser, "rules": [_rule(rule, url) for rule, url in rules]}
    if version := subject.versions.get(analyser):
        driver["version"] = version
    return {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"%SRCROOT%": {"uri": f"file://{quote(inventory.root).rstrip('/')}/"}},
        "invocations": [{"executionSuccessful": not failures, "toolExecutionNotifications": notifications}],
    }


def _rule(rule: str, url: str) -> dict[str, Any]:
    return {"id": rule} | ({"helpUri": url} if url else {})


def _result(path: str, finding: Finding, rule_index: int, fingerprint: str) -> dict[str, Any]:
    region = {"startLine": max(finding.line, 1), "startColumn": max(finding.column, 1)}
    if finding.end_line and finding.end_line >= region["startLine"]:
        region["endLine"] = finding.end_line
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": _LEVEL[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(path), "region": region}}],
        # GitHub recognises findings by the second, and would otherwise need the source to compute it.
        "partialFingerprints": {FINGERPRINT: fingerprint, "primaryLocationLineHash": f"{fingerprint[:16]}:1"},
        "properties": {"severity": finding.severity.value, "fixable": finding.fixable},
    }


def _notification(level: str, text: str, path: str = "") -> dict[str, Any]:
    place = [{"physicalLocation": {"artifactLocation": _artifact(path)}}] if path else []
    return {"level": level, "message": {"text": text}} | ({"locations": place} if place else {})


def _artifact(path: str) -> dict[str, str]:
    return {"uri": quote(path), "uriBaseId": "%SRCROOT%"}
