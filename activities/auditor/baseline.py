"""The baseline: findings of an earlier report, which are known and accepted.

A finding is recognised by its fingerprint: analyser, rule, file, message and the text of its line, but not
the line number. Of several identical findings in a file, as many are accepted as the report had.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError
from temporalio import activity

from activities.auditor.records import (
    FAILED_RULE,
    AcceptedFinding,
    Baseline,
    BaselineRequest,
    FileFindings,
    get_records,
)
from activities.isolated_call import LimitsExceededError, ProcessLimits, run_isolated
from activities.safe_files import PathSkippedError, read_real
from common.agents.agent import Progress
from common.artifacts import ArtifactStore
from common.errors import permanent

FINGERPRINT = "finding/v2"
REPORT_FORMAT = "hibernaut-audit/1"
# A report of 300,000 findings takes 100 MB.
_MAX_BYTES = 256_000_000
_LIMITS = ProcessLimits(memory=4 * 1024**3, cpu_seconds=120, seconds=600.0)


def fingerprints(record: FileFindings) -> list[str]:
    """The fingerprints of a file's findings, one per finding; no two are the same."""
    seen: Counter[tuple[str, ...]] = Counter()
    result = []
    for finding in record.findings:
        identity = (finding.analyser, finding.rule, record.path, finding.message, finding.mark)
        seen[identity] += 1
        text = "\0".join((*identity, str(seen[identity])))
        result.append(hashlib.sha256(text.encode()).hexdigest()[:32])
    return result


class BaselineReader:
    """The activity that reads a baseline and stores it in `artifacts`."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    @activity.defn(name="read_baseline")
    def read_baseline(self, request: BaselineRequest) -> Baseline:
        """Read the report of an earlier audit.

        Raises:
            ApplicationError: type BaselineUnreadable; it is not retried.
        """
        try:
            result = run_isolated(read_report, request.path, _LIMITS, lambda: activity.heartbeat(Progress()))
        except LimitsExceededError:
            result = {"error": "it takes too much time or memory to read"}
        if "error" in result:
            raise permanent(
                "BaselineUnreadable", f"the baseline {request.path} cannot be used: {result['error']}"
            )
        return Baseline(
            accepted=self._artifacts.put(result["lines"].encode()), findings=result["lines"].count("\n")
        )


class AcceptedFindings:
    """The findings that a baseline accepts; none without a baseline."""

    def __init__(
        self, store: ArtifactStore, baseline: Baseline | None, heartbeat: Callable[[], object]
    ) -> None:
        self.given = baseline is not None
        self._store, self._baseline, self._heartbeat = store, baseline, heartbeat
        self._known = {finding.fingerprint for finding in self._findings()}
        self._seen: set[str] = set()

    def states(self, record: FileFindings) -> list[bool]:
        """For each of a file's findings, whether it is accepted."""
        prints = fingerprints(record) if self._known else []
        self._seen.update(found := self._known.intersection(prints))
        return [each in found for each in prints] or [False] * len(record.findings)

    def absent(self) -> Iterator[AcceptedFinding]:
        """The accepted findings that no call of `states` has come across."""
        return (finding for finding in self._findings() if finding.fingerprint not in self._seen)

    @property
    def absent_count(self) -> int:
        """The number of findings in `absent`."""
        return len(self._known) - len(self._seen)

    def _findings(self) -> Iterator[AcceptedFinding]:
        if self._baseline is None:
            return
        for number, finding in enumerate(get_records(self._store, self._baseline.accepted, AcceptedFinding)):
            if number % 1000 == 0:
                self._heartbeat()
            yield finding


def read_report(path: str) -> dict[str, str]:
    """The accepted findings of a report as `lines` of JSON, or an `error`: why it cannot be read."""
    try:
        report = json.loads(read_real(Path(path), _MAX_BYTES))
        accepted = {finding.fingerprint: finding for finding in _accepted(report)}
    except PathSkippedError as skipped:
        return {"error": _WHY_NOT.get(skipped.reason, "it cannot be read")}
    except _NoFingerprint:
        return {
            "error": f"it has results without our fingerprint, {FINGERPRINT}: give a report of this agent"
        }
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError, ValidationError):
        return {"error": "it is neither SARIF nor a JSON report of this agent"}
    return {"lines": "".join(f"{finding.model_dump_json()}\n" for finding in accepted.values())}


_WHY_NOT = {
    "vanished": "there is no such file",
    "oversized": f"it is over {_MAX_BYTES // 1_000_000} MB",
    "special": "it is no file",
}


class _NoFingerprint(Exception):
    pass


def _accepted(report: dict[str, Any]) -> Iterator[AcceptedFinding]:
    if report.get("format") == REPORT_FORMAT:
        for file in report["findings"]:
            record = FileFindings.model_validate(file)
            for finding, fingerprint in zip(record.findings, fingerprints(record), strict=True):
                if finding.rule != FAILED_RULE:
                    yield AcceptedFinding(
                        fingerprint=fingerprint, path=record.path, **finding.model_dump(include=_SHARED)
                    )
        return
    for run in report["runs"]:
        for result in run["results"]:
            fingerprint = result.get("partialFingerprints", {}).get(FINGERPRINT)
            if fingerprint is None:
                raise _NoFingerprint
            place = result["locations"][0]["physicalLocation"]
            yield AcceptedFinding(
                fingerprint=fingerprint,
                analyser=run["tool"]["driver"]["name"],
                rule=result["ruleId"],
                path=unquote(place["artifactLocation"]["uri"]),
                line=place["region"]["startLine"],
                message=result["message"]["text"],
            )


_SHARED = {"analyser", "rule", "line", "message"}
