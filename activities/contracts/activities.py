"""The contract auditor's activities: list, read and judge, compare, group, check again."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel
from temporalio import activity

from activities.batch.records import ItemResults, ItemsOf
from activities.batch.together import process_items
from activities.contracts.audit import Auditor, in_order, passages_text, verdict_of, weight
from activities.contracts.listing import key_of, list_contracts, media_type_of, why
from activities.contracts.model_verdicts import model_findings
from activities.contracts.playbook import MAX_BYTES as MAX_PLAYBOOK
from activities.contracts.playbook import Playbook, PlaybookError, default_playbook, read_playbook
from activities.contracts.records import (
    Audit,
    Audited,
    AuditRequest,
    Checked,
    CheckRequest,
    CompareRequest,
    Grouped,
    GroupRequest,
    ModelBudget,
    ModelQuestion,
    Opened,
    OpenRequest,
    Pinned,
    PinRequest,
    Unread,
)
from activities.contracts.results import UNREADABLE, Decisions, audit_of, groups_of, read_results
from activities.documents.extract import MAX_BYTES
from activities.documents.structure import UnreadableError
from activities.llm.records import OFFLINE
from activities.safe_files import PathSkippedError, read_inside, read_real
from common.agents.agent import Progress
from common.agents.batch import BatchItem, as_lines
from common.agents.contracts import ContractReaderInput, ContractResult, Severity
from common.artifacts import ArtifactRef, ArtifactStore
from common.digest import digest_bytes
from common.errors import permanent

MAX_NAMED = 200
MAX_WORST = 20


class JudgeContract(Protocol):
    """Reads a contract, which may be hostile, and judges it by the rules."""

    def __call__(
        self,
        auditor: Auditor,
        name: str,
        digest: str,
        data: bytes,
        media_type: str,
        heartbeat: Callable[[], None],
    ) -> Audit:
        """Judge a contract; raise `UnreadableError` if it cannot be read.

        `media_type` is what it claims to be; its first bytes decide what it is. `heartbeat` is called every
        second; whatever it raises ends the reading.
        """
        ...


class Contracts:
    """The activities that read and judge contracts; they only write to `artifacts`.

    Args:
        artifacts: stores listings, playbooks and audits.
        model: the language model in the settings.
        judge: reads a contract and judges it.
    """

    def __init__(self, artifacts: ArtifactStore, model: str, judge: JudgeContract) -> None:
        self._artifacts = artifacts
        self._model = model
        self._judge = judge
        self._auditor = lru_cache(8)(self._make_auditor)

    @activity.defn(name="open_contracts")
    def open_contracts(self, request: OpenRequest) -> Opened:
        """List the documents below the folder, and pin the playbook.

        Raises:
            ApplicationError: `FolderMissing`, `TooManyFiles` or `PlaybookUnusable`; none is retried.
        """
        playbook, name = self._pin(request.playbook)
        found = list_contracts(Path(request.folder), _heartbeat_progress)
        thinks = (request.thinker.model or self._model) != OFFLINE
        thinker = request.thinker if thinks else None
        items = [_item(request.folder, each, playbook, thinker) for each in found.names]
        return Opened(
            listing=self._artifacts.put(as_lines(items)),
            items=len(items),
            playbook=playbook,
            playbook_name=name,
            other=found.other,
            left_out=dict(sorted(found.left_out.items())[:MAX_NAMED]),
            thinks=thinks,
        )

    @activity.defn(name="pin_playbook")
    def pin_playbook(self, request: PinRequest) -> Pinned:
        """Store a playbook as it is now.

        Raises:
            ApplicationError: `PlaybookUnusable`, permanent.
        """
        playbook, name = self._pin(request.playbook)
        return Pinned(playbook=playbook, name=name)

    @activity.defn(name="audit_contract")
    def audit_contract(self, request: AuditRequest) -> Audited:
        """Read one contract and judge it by the rules; the full audit goes to the artifact store.

        Raises:
            ApplicationError: `ContractUnreadable`, permanent, with the reason and an `Unread`.
        """
        name, auditor, digest = request.name, self._auditor(request.playbook), ""
        try:
            data = read_inside(Path(request.folder), name, MAX_BYTES)
            digest = digest_bytes(data)
            audit = self._judge(auditor, name, digest, data, media_type_of(name) or "", _heartbeat)
        except UnreadableError as error:
            reason = f"{error.code}: {error}"
            raise permanent(UNREADABLE, reason, Unread(name=name, digest=digest)) from None
        except PathSkippedError as error:
            reason = f"too_large: over {MAX_BYTES:,} bytes" if error.reason == "oversized" else why(error)
            raise permanent(UNREADABLE, reason, Unread(name=name, digest=digest)) from None
        if not request.asks:
            return Audited(result=self._result(audit))
        return Audited(
            result=self._result(audit),
            questions=self._questions(auditor.playbook, audit),
            worst=_worst(audit),
        )

    @activity.defn(name="audit_contracts")
    def audit_contracts(self, requests: ItemsOf[AuditRequest]) -> ItemResults:
        """Read and judge contracts one after the other; after a short time it starts no further one."""
        return process_items(requests, self.audit_contract)

    @activity.defn(name="compare_opinions")
    def compare_opinions(self, request: CompareRequest) -> Audited:
        """Compare a language model's verdicts with those of the rules; a difference needs a human."""
        audit = audit_of(self._artifacts, request.result)
        findings = in_order([*audit.findings, *model_findings(audit, request.answers)])
        models = sorted({each.model for each in request.answers if each.choice})
        audit = audit.model_copy(
            update={
                "findings": tuple(findings),
                "verdict": verdict_of(findings),
                "model": ", ".join(models),
            }
        )
        return Audited(result=self._result(audit), worst=_worst(audit))

    @activity.defn(name="group_findings")
    def group_findings(self, request: GroupRequest) -> Grouped:
        """The findings to ask people about, without those already decided, like ones grouped."""
        decisions = Decisions(self._artifacts, request.decisions)
        groups, more = groups_of(
            self._artifacts, read_results(self._artifacts, request.results), decisions, _heartbeat
        )
        return Grouped(groups=tuple(groups), more=more)

    @activity.defn(name="check_contracts")
    def check_contracts(self, request: CheckRequest) -> Checked:
        """Look at every document again, to find those that changed since they were read, and those gone."""
        results = read_results(self._artifacts, request.results)
        changed: list[BatchItem] = []
        gone: list[str] = []
        known: list[ContractResult | Unread] = [*results.audited.values(), *results.unread.values()]
        for done, read in enumerate(known, 1):
            digest = ""
            try:
                digest = digest_bytes(read_inside(Path(request.folder), read.name, MAX_BYTES))
            except PathSkippedError as error:
                if error.reason == "vanished" and read.digest:
                    gone.append(read.name)
                    continue
            if digest != read.digest:
                changed.append(_item(request.folder, read.name, request.playbook, request.thinker))
            if not done % 50:
                _heartbeat_progress(done)
        return Checked(
            changed=len(changed),
            listing=self._artifacts.put(as_lines(changed)),
            vanished=len(gone),
            gone=self._artifacts.put("\n".join(gone).encode()),
        )

    def _pin(self, path: str | None) -> tuple[ArtifactRef, str]:
        try:
            if path is None:
                playbook = default_playbook()
            else:
                playbook = read_playbook(read_real(Path(path), MAX_PLAYBOOK))
        except PlaybookError as error:
            raise permanent("PlaybookUnusable", f"{path}: {error}") from None
        except PathSkippedError as error:
            raise permanent("PlaybookUnusable", f"{path}: {why(error)}") from None
        return self._artifacts.put(playbook.model_dump_json(by_alias=True).encode()), playbook.name

    def _make_auditor(self, playbook: ArtifactRef) -> Auditor:
        return Auditor(Playbook.model_validate_json(self._artifacts.get(playbook)))

    def _result(self, audit: Audit) -> ContractResult:
        return ContractResult(
            name=audit.name,
            digest=audit.digest,
            verdict=audit.verdict,
            title=audit.title,
            category=audit.category,
            pages=audit.pages,
            weight=weight(audit.findings),
            findings={
                each: count
                for each in Severity
                if (count := sum(finding.severity is each for finding in audit.findings))
            },
            audit=self._artifacts.put(audit.model_dump_json().encode()),
            model=audit.model,
        )

    def _questions(self, playbook: Playbook, audit: Audit) -> tuple[ModelQuestion, ...]:
        """The questions for a language model: one per clause that is present and has a question."""
        return tuple(
            ModelQuestion(
                clause=clause.id,
                title=clause.title,
                ask=clause.ask,
                passages=self._artifacts.put(text.encode()),
                rules=verdict_of(each for each in audit.findings if each.clause == clause.id),
            )
            for clause in playbook.clauses
            if clause.ask and (text := passages_text(audit, clause.id))
        )


def _item(folder: str, name: str, playbook: ArtifactRef, thinker: ModelBudget | None) -> BatchItem:
    """A contract as a batch item; with a `thinker`, for an agent that also asks a language model."""
    if thinker is None:
        argument: BaseModel = AuditRequest(folder=folder, name=name, playbook=playbook)
    else:
        argument = ContractReaderInput(
            file=f"{folder}/{name}",
            name=name,
            pinned=playbook,
            model=thinker.model,
            budget_tokens=thinker.budget_tokens,
            budget_usd=thinker.budget_usd,
            approvers=list(thinker.approvers),
        )
    return BatchItem(key=key_of(name), argument=argument.model_dump(mode="json"))


def _worst(audit: Audit) -> tuple[str, ...]:
    """The worst findings in words."""
    return tuple(
        f"{each.severity}: {each.title}{f': {each.said}' if each.said else ''}"
        for each in audit.findings[:MAX_WORST]
    )


def _heartbeat() -> None:
    activity.heartbeat()


def _heartbeat_progress(done: int) -> None:
    activity.heartbeat(Progress(done=done))
