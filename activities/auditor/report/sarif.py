"""The audit as SARIF 2.1.0: one run per analyser, written in chunks so that memory stays bounded."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from activities.auditor.current_findings import CurrentFindings
from activities.auditor.records import FAILED_RULE, Finding, Inventory, Severity
from activities.auditor.report.facts import WrittenFixes

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVEL = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note", Severity.NOTE: "note"}


def sarif(
    inventory: Inventory,
    findings: CurrentFindings,
    versions: Mapping[str, str],
    rules: Mapping[str, Rules],
    written: WrittenFixes,
) -> Iterator[bytes]:
    """The log in chunks, of what is found in the files as they are now: without what was fixed.

    `versions` and `rules` are keyed by analyser; each key of either gets a run.
    """
    yield f'{{"$schema":{_json(SCHEMA)},"version":"2.1.0","runs":['.encode()
    for number, analyser in enumerate(sorted({*versions, *rules})):
        yield b",\n" if number else b"\n"
        known = sorted(rules.get(analyser, {}).items())
        indexes = {rule: index for index, (rule, _) in enumerate(known)}
        yield b'{"results":['
        failures = []
        comma = b"\n"
        seen: Counter[tuple[str, str, str]] = Counter()
        for record, scanned in findings.of_analyser(analyser):
            path, finding = record.path, written.now(record.path, record.sha256, scanned)
            if finding is None:
                continue
            if finding.rule == FAILED_RULE:
                failures.append(_notification("error", f"{path}: {finding.message}", path))
                continue
            same = path, finding.rule, finding.message
            seen[same] += 1
            yield comma + _json(_result(path, finding, indexes[finding.rule], seen[same])).encode()
            comma = b",\n"
        yield f"],\n{_json(_run(inventory, analyser, versions.get(analyser), known, failures))[1:]}".encode()
    yield b"\n]}\n"


# For one analyser: rule id -> address of its documentation, or "".
Rules = Mapping[str, str]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _run(
    inventory: Inventory,
    analyser: str,
    version: str | None,
    rules: list[tuple[str, str]],
    failures: list[dict[str, Any]],
) -> dict[str, Any]:
    """Everything in a run except its results."""
    notifications = failures + [
        _notification("note", f"{count:,} files were left out of the audit: {reason}")
        for reason, count in sorted(inventory.skipped.items())
        if count
    ]
    driver: dict[str, Any] = {"name": analyser, "rules": [_rule(rule, url) for rule, url in rules]}
    if version:
        driver["version"] = version
    return {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"%SRCROOT%": {"uri": f"file://{quote(inventory.root).rstrip('/')}/"}},
        "invocations": [{"executionSuccessful": not failures, "toolExecutionNotifications": notifications}],
    }


def _rule(rule: str, url: str) -> dict[str, Any]:
    return {"id": rule} | ({"helpUri": url} if url else {})


def _result(path: str, finding: Finding, rule_index: int, occurrence: int) -> dict[str, Any]:
    # Without line numbers, so that an alert keeps its identity when code above it changes.
    identity = "\0".join((finding.analyser, finding.rule, path, finding.message, str(occurrence)))
    region = {"startLine": max(finding.line, 1), "startColumn": max(finding.column, 1)}
    if finding.end_line and finding.end_line >= region["startLine"]:
        region["endLine"] = finding.end_line
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": _LEVEL[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(path), "region": region}}],
        "partialFingerprints": {"finding/v1": hashlib.sha256(identity.encode()).hexdigest()},
        "properties": {"severity": finding.severity.value, "fixable": finding.fixable},
    }


def _notification(level: str, text: str, path: str = "") -> dict[str, Any]:
    place = [{"physicalLocation": {"artifactLocation": _artifact(path)}}] if path else []
    return {"level": level, "message": {"text": text}} | ({"locations": place} if place else {})


def _artifact(path: str) -> dict[str, str]:
    return {"uri": quote(path), "uriBaseId": "%SRCROOT%"}
