"""The kinds of agents: the one place that names each.

Entry points use it to start, list and find agents without importing a workflow; the worker runs the workflows
named here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from common.agents.agent import AgentInput
from common.agents.auditor import AuditInput, AuditResult, FixPlan
from common.agents.batch_agent import BatchInput, BatchResult
from common.agents.budget import BudgetPlan
from common.agents.buyer import BuyerInput, BuyerResult, BuyPlan
from common.agents.contracts import (
    AcceptPlan,
    ContractReaderInput,
    ContractReaderResult,
    ContractsInput,
    ContractsResult,
)
from common.agents.market import Crossing, MarketInput, MarketResult
from common.agents.recruiter import InvitationPlan, OutreachPlan, RecruiterInput, RecruiterResult, ReplyPlan
from common.agents.researcher import PublishPlan, ResearcherInput, ResearchResult
from common.settings import Settings
from common.shown import fits


@dataclass(frozen=True)
class Kind:
    """A kind of agent.

    Attributes:
        name: its wire name, which never changes.
        summary: what it does, in one line.
        input: the type of its input.
        workflow: its class, as `module:Class`.
        shows: the types of its plans and of its result, whose fields say how people see them.
        activities: the class of its own activities, as `module:Class`, whose `build` takes the settings;
            empty if the worker builds them from parts that several kinds share.
    """

    name: str
    summary: str
    input: type[AgentInput]
    workflow: str
    shows: tuple[type[BaseModel], ...] = ()
    activities: str = ""

    def workflow_class(self) -> type:
        """Its workflow class, imported now."""
        return _load(self.workflow)

    def build_activities(self, settings: Settings) -> list[object]:
        """The object with its own activities; empty if the worker builds them."""
        found: Any = _load(self.activities) if self.activities else None
        return [found.build(settings)] if found else []


def _load(place: str) -> type:
    module, _, name = place.partition(":")
    found: type = getattr(import_module(module), name)
    return found


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "code-auditor",
            "audits a code base, proposes fixes, applies those that people approve",
            AuditInput,
            "workflows.code_auditor:CodeAuditor",
            (FixPlan, AuditResult),
        ),
        Kind(
            "buyer",
            "buys a share once, at no more than people approved, after a last look at the price",
            BuyerInput,
            "workflows.buyer:Buyer",
            (BuyPlan, BuyerResult),
        ),
        Kind(
            "link-researcher",
            "reads the best links on a topic and publishes a report of quotes once people approve",
            ResearcherInput,
            "workflows.link_researcher:LinkResearcher",
            (PublishPlan, ResearchResult),
        ),
        Kind(
            "market-analyst",
            "watches an index while its market is open, reports what its rules notice, and all at the end",
            MarketInput,
            "workflows.market_analyst:MarketAnalyst",
            (Crossing, MarketResult),
        ),
        Kind(
            "recruiter",
            "ranks candidates, writes to those people approve, waits for answers, invites once approved",
            RecruiterInput,
            "workflows.recruiter.recruiter:Recruiter",
            (OutreachPlan, InvitationPlan, ReplyPlan, RecruiterResult),
        ),
        Kind(
            "contract-auditor",
            "checks every contract in a folder against a playbook, asks once about findings that are alike",
            ContractsInput,
            "workflows.contract_auditor:ContractAuditor",
            (AcceptPlan, ContractsResult),
        ),
        Kind(
            "contract-reader",
            "checks one contract against a playbook, and with a language model",
            ContractReaderInput,
            "workflows.contract_auditor:ContractReader",
            (ContractReaderResult,),
        ),
        Kind(
            "batch",
            "runs an agent of one kind for each line of a file, some at a time",
            BatchInput,
            "workflows.batch:Batch",
            (BatchResult,),
        ),
    )
}


def check_kind(name: str) -> str:
    """`name`, if there is such a kind.

    Raises:
        ValueError: there is none; the message lists the kinds.
    """
    if name not in KINDS:
        raise ValueError(f"there is no kind {name[:40]!r}; there are: {', '.join(KINDS)}")
    return name


def shown_as(kind: str, value: Any) -> type[BaseModel] | None:
    """The type that says how people see a plan or a result of that kind of agent; None if none does."""
    known: list[type[BaseModel]] = [*(KINDS[kind].shows if kind in KINDS else ()), BudgetPlan]
    return next((each for each in known if isinstance(value, dict) and fits(each, value)), None)
