"""Combines the results of a batch of contracts: the newest result of each, like findings grouped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from activities.batch.listing import read_verdicts
from activities.contracts.audit import verdict_of
from activities.contracts.records import OTHER, Audit, Finding, Unread
from common.agents.batch import ItemResult
from common.agents.batch import Verdict as ItemVerdict
from common.agents.contracts import (
    MAX_NAMED,
    MAX_QUESTIONS,
    ContractResult,
    FindingGroup,
    GroupDecision,
    Severity,
    Verdict,
)
from common.artifacts import ArtifactRef, ArtifactStore

# The type of the failure of a contract that cannot be read; its message says why.
UNREADABLE = "ContractUnreadable"
_MAX_SAID = 5
_VERDICTS = list(Verdict)
_SEVERITIES = list(Severity)


class ContractVersion(BaseModel, frozen=True):
    """One line of a group's listing: a contract, and the digest of what was judged."""

    name: str
    digest: str


@dataclass
class Results:
    """The newest result of each contract by key, and the contracts set aside, with the reasons.

    Of the latter, `unread` has those that could not be read, with their digests.
    """

    audited: dict[str, ContractResult] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)
    unread: dict[str, Unread] = field(default_factory=dict)


def read_results(store: ArtifactStore, refs: Iterable[ArtifactRef]) -> Results:
    """The results in artifacts of item results; a contract's later result replaces an earlier one."""
    found = Results()
    for ref in refs:
        for item in read_verdicts(store, ref):
            found.audited.pop(item.key, None)
            found.set_aside.pop(item.key, None)
            found.unread.pop(item.key, None)
            result = _result_in(item)
            if result is not None:
                found.audited[item.key] = result
                continue
            found.set_aside[item.key] = item.reason.removeprefix(f"{UNREADABLE}: ") or "no result"
            if item.reason.startswith(UNREADABLE):
                # Results from before `Unread` existed have none.
                with suppress(ValidationError):
                    found.unread[item.key] = Unread.model_validate(item.result)
    return found


def _result_in(item: ItemResult) -> ContractResult | None:
    if item.verdict is not ItemVerdict.DONE or not isinstance(item.result, dict):
        return None
    try:
        return ContractResult.model_validate(item.result.get("result"))
    except ValidationError:
        return None


def audit_of(store: ArtifactStore, result: ContractResult) -> Audit:
    """A contract's audit in full."""
    return Audit.model_validate_json(store.get(result.audit))


@dataclass(frozen=True)
class Decided:
    """A finding and the decision on it, in words (empty if there is none), and whether it was accepted."""

    finding: Finding
    words: str = ""
    accepted: bool | None = None


class Decisions:
    """What people decided, looked up for each finding."""

    def __init__(self, store: ArtifactStore, decisions: Iterable[GroupDecision]) -> None:
        self._of: dict[tuple[str, str], list[tuple[GroupDecision, frozenset[tuple[str, str]]]]] = {}
        for each in decisions:
            bound = frozenset((one.name, one.digest) for one in read_versions(store, each.listing))
            self._of.setdefault((each.clause, each.rule), []).append((each, bound))

    def about(self, audit: Audit) -> list[Decided]:
        """The findings of a contract, each with the newest decision on exactly the bytes that were judged."""
        return [self._about(audit, finding) for finding in audit.findings]

    def _about(self, audit: Audit, finding: Finding) -> Decided:
        for decision, bound in reversed(self._of.get((finding.clause, finding.rule), [])):
            if (audit.name, audit.digest) not in bound:
                continue
            if audit.name in decision.leave_out:
                return Decided(finding, f"left out, {decision.words}")
            return Decided(finding, decision.words, decision.accepted)
        return Decided(finding)


def groups_of(
    store: ArtifactStore, results: Results, decisions: Decisions, heartbeat: Callable[[], None]
) -> tuple[list[FindingGroup], int]:
    """The findings to ask people about, grouped, worst first; and how many groups are over the limit.

    Findings of low severity are only reported, and people are not asked again about what they decided. If a
    rule's verdict differs between contracts (such as for a refused law), the worst counts.
    """
    heads: dict[tuple[str, str], list[Finding]] = {}
    versions: dict[tuple[str, str], list[ContractVersion]] = {}
    for result in results.audited.values():
        heartbeat()
        seen: set[tuple[str, str]] = set()
        for each in decisions.about(audit_of(store, result)):
            finding = each.finding
            key = (finding.clause, finding.rule)
            if finding.severity is Severity.LOW or key in seen or each.words:
                continue
            seen.add(key)
            heads.setdefault(key, [])
            if len(heads[key]) < _MAX_SAID:
                heads[key].append(finding)
            versions.setdefault(key, []).append(ContractVersion(name=result.name, digest=result.digest))
    groups = []
    for key, findings in heads.items():
        listed = sorted(versions[key], key=lambda each: each.name)
        groups.append(
            FindingGroup(
                clause=key[0],
                rule=key[1],
                title=findings[0].title,
                severity=findings[0].severity,
                verdict=min((each.verdict for each in findings), key=_VERDICTS.index),
                contracts=len(listed),
                named=tuple(each.name for each in listed[:MAX_NAMED]),
                said=tuple(dict.fromkeys(each.said for each in findings if each.said)),
                listing=store.put(b"".join(each.model_dump_json().encode() + b"\n" for each in listed)),
            )
        )
    groups.sort(
        key=lambda each: (
            _VERDICTS.index(each.verdict),
            _SEVERITIES.index(each.severity),
            -each.contracts,
            each.key,
        )
    )
    return groups[:MAX_QUESTIONS], max(0, len(groups) - MAX_QUESTIONS)


def read_versions(store: ArtifactStore, ref: ArtifactRef) -> Iterator[ContractVersion]:
    """The contracts of a group's listing."""
    for line in store.get(ref).splitlines():
        yield ContractVersion.model_validate_json(line)


def verdict_after(decided: Iterable[Decided]) -> Verdict:
    """The verdict after people have decided: accepted findings do not count, refused ones are final."""
    left = [each for each in decided if not each.accepted]
    if any(each.accepted is False for each in left):
        return Verdict.NOT_ACCEPTABLE
    return verdict_of(each.finding for each in left)


def clause_title(clause: str, titles: dict[str, str]) -> str:
    """The title of a clause in words."""
    return "Whole contract" if clause == OTHER else titles.get(clause, clause)
