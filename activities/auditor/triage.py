"""Ranks the findings: rules decide the order, and a model may only move a group within its severity."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from temporalio import activity

from activities.auditor.baseline import AcceptedFindings
from activities.auditor.current_findings import CurrentFindings, is_secret, printable, top_folder
from activities.auditor.records import (
    FAILED_RULE,
    FileFindings,
    Finding,
    FindingGroup,
    Severity,
    Triage,
    TriageRequest,
    put_records,
)
from activities.llm.records import OFFLINE, LanguageModel, ModelItem, ModelReply, ModelRequest
from common.artifacts import ArtifactStore

# A severity's band is 100 wide. Spread takes up less than 60 of it and instructions at most 40, so whatever
# people or models say, no group leaves its band.
_BAND = {Severity.HIGH: 300, Severity.MEDIUM: 200, Severity.LOW: 100, Severity.NOTE: 0}
_SPREAD, _INSTRUCTIONS = 60, 40
_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_ASKED, _KEPT, _TOP = 500, 100, 5
# Guessed from a word or from a string's entropy: thousands of these are no worse than one private key.
_GUESSES = {"secret-keyword", "base64-high-entropy-string", "hex-high-entropy-string"}


class FindingTriage:
    """Groups the findings of an audit and ranks the groups."""

    def __init__(self, artifacts: ArtifactStore, model: LanguageModel) -> None:
        self._artifacts = artifacts
        self._model = model

    @activity.defn(name="triage")
    def triage(self, request: TriageRequest) -> Triage:
        """Group by rule, analyser and top folder; rank by severity, spread and people's instructions."""
        findings = CurrentFindings(self._artifacts, request.findings, activity.heartbeat)
        accepted = AcceptedFindings(self._artifacts, request.baseline, activity.heartbeat)
        counts = Counter[Severity]()
        groups = _grouped(_not_accepted(findings, accepted, counts))
        by_rule = sorted(groups, key=lambda group: (-group.points, group.name))
        reply = self._model.rank(_question(by_rule[:_ASKED], request.wishes))
        ranked = sorted(_finished(by_rule, reply), key=lambda pair: (-pair[0].score, pair[1].name))
        ranked_count = sum(group.severities.total() for group in groups)
        return Triage(
            groups=put_records(self._artifacts, (finished for finished, _ in ranked)),
            findings=counts.total(),
            by_severity={severity.value: counts[severity] for severity in Severity},
            fixable=sum(group.fixable for group in groups),
            top=[_sentence(group) for _, group in ranked[:_TOP]],
            model=reply.model,
            accepted=counts.total() - ranked_count,
            absent=accepted.absent_count,
            cost=reply.cost,
            note=reply.note,
        )


@dataclass
class _Group:
    """A group that is being counted; `worst` is its first finding of the highest severity."""

    path: str
    worst: Finding
    severities: Counter[Severity] = field(default_factory=Counter)
    fixable: int = 0
    files: int = 0
    last_path: str = ""

    @property
    def name(self) -> tuple[str, str, str]:
        return self.worst.analyser, self.worst.rule, top_folder(self.path)

    @property
    def points(self) -> float:
        guessed = self.worst.rule in _GUESSES
        spread = 0 if guessed else math.log2(self.severities.total() + self.files) / 4
        return _BAND[self.worst.severity] + _SPREAD * (1 - 1 / (1 + spread))

    @property
    def place(self) -> str:
        return f"{printable(self.path)}:{self.worst.line}"

    @property
    def message(self) -> str:
        return printable(self.worst.message)

    def add(self, path: str, finding: Finding) -> None:
        if _RANK[finding.severity] < _RANK[self.worst.severity]:
            self.path, self.worst = path, finding
        self.severities[finding.severity] += 1
        self.fixable += finding.fixable
        self.files += path != self.last_path
        self.last_path = path


def _not_accepted(
    findings: Iterable[FileFindings], accepted: AcceptedFindings, counts: Counter[Severity]
) -> Iterator[FileFindings]:
    """The files with only those findings that are not accepted; `counts` counts all findings."""
    for record in findings:
        counts.update(finding.severity for finding in record.findings)
        states = accepted.states(record)
        remaining = [each for each, known in zip(record.findings, states, strict=True) if not known]
        yield record if len(remaining) == len(states) else record.model_copy(update={"findings": remaining})


def _grouped(records: Iterable[FileFindings]) -> list[_Group]:
    groups: dict[tuple[str, str, str], _Group] = {}
    for record in records:
        for finding in record.findings:
            name = finding.analyser, finding.rule, top_folder(record.path)
            groups.setdefault(name, _Group(record.path, finding)).add(record.path, finding)
    return list(groups.values())


def _question(groups: list[_Group], instructions: list[str]) -> ModelRequest:
    items = [
        ModelItem(
            id=str(number),
            text=f"{'hard-coded secret ' if is_secret(group.worst) else ''}{' '.join(group.name)} "
            f"{group.worst.severity} {group.place} {group.message}",
        )
        for number, group in enumerate(groups)
    ]
    return ModelRequest(task="rank findings", instruction="\n".join(instructions), items=items, keep=_KEPT)


def _finished(groups: list[_Group], reply: ModelReply) -> list[tuple[FindingGroup, _Group]]:
    """Each group with its final score and reason. An untrusted reply moves known groups only."""
    preferred = {item.id: item for item in reply.ranking}
    finished = []
    for number, group in enumerate(groups):
        analyser, rule, folder = group.name
        count = group.severities.total()
        points, reason = group.points, f"{group.worst.severity}: {count:,} in {_number(group.files, 'file')}"
        if (item := preferred.get(str(number))) and math.isfinite(item.score):
            points += _INSTRUCTIONS * min(max(item.score, 0.0), 1.0)
            says = "" if reply.model == OFFLINE else f"{reply.model} says: "
            reason += f"; {says}{printable(item.reason)}"
        entry = FindingGroup(
            rule=rule,
            analyser=analyser,
            severity=group.worst.severity,
            folder=folder,
            count=count,
            fixable=group.fixable,
            example=f"{group.place} {group.message}",
            score=round(points, 2),
            reason=reason,
        )
        finished.append((entry, group))
    return finished


def _sentence(group: _Group) -> str:
    analyser, rule, folder = (printable(part) for part in group.name)
    folder = "the top folder" if folder == "." else folder + "/"
    count = group.severities.total()
    if rule == FAILED_RULE:
        return f"{analyser} failed {_number(count, 'time')} in {folder}, first: {group.place}"
    if is_secret(group.worst):
        return f"{_number(count, 'hard-coded secret')} ({rule}) in {folder}, worst: {group.place}"
    fixable = f", {group.fixable:,} fixable" if group.fixable else ""
    return f"{count:,} × {rule} ({analyser}) in {folder}{fixable}, worst: {group.place} {group.message}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
