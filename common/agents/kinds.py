"""The kinds of agents there are: the one place that names each.

Entry points start, list and find agents by what stands here, without loading a workflow; the worker runs the
workflows named here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from common.agents.agent import AgentInput
from common.agents.auditor import AuditInput
from common.agents.batch_agent import BatchInput
from common.agents.buyer import BuyerInput
from common.agents.contracts import ContractReaderInput, ContractsInput
from common.agents.market import MarketInput
from common.agents.recruiter import RecruiterInput
from common.agents.researcher import ResearcherInput


@dataclass(frozen=True)
class Kind:
    """A kind of agent.

    Attributes:
        name: its wire name, for good.
        summary: what it does, in a line.
        input: the type of what it takes.
        workflow: its class, as `module:Class`.
    """

    name: str
    summary: str
    input: type[AgentInput]
    workflow: str

    def workflow_class(self) -> type:
        """Its workflow, loaded now."""
        module, _, name = self.workflow.partition(":")
        found: type = getattr(import_module(module), name)
        return found


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "code-auditor",
            "audits a code base, proposes fixes, applies them on a human's yes",
            AuditInput,
            "workflows.code_auditor:CodeAuditor",
        ),
        Kind(
            "buyer",
            "buys at no more than people approved, at a price seen seconds before, once",
            BuyerInput,
            "workflows.buyer:Buyer",
        ),
        Kind(
            "link-researcher",
            "reads the best links on a topic and publishes a report of quotes on a human's yes",
            ResearcherInput,
            "workflows.link_researcher:LinkResearcher",
        ),
        Kind(
            "market-analyst",
            "watches an index while its market is open, tells what its rules notice, reports at the end",
            MarketInput,
            "workflows.market_analyst:MarketAnalyst",
        ),
        Kind(
            "recruiter",
            "ranks candidates, writes to those people approve, waits for each answer, invites on a yes",
            RecruiterInput,
            "workflows.recruiter.recruiter:Recruiter",
        ),
        Kind(
            "contract-auditor",
            "judges every contract of a folder by a playbook, asks once about findings that are alike",
            ContractsInput,
            "workflows.contract_auditor:ContractAuditor",
        ),
        Kind(
            "contract-reader",
            "judges one contract by a playbook and with a language model beside it",
            ContractReaderInput,
            "workflows.contract_auditor:ContractReader",
        ),
        Kind(
            "batch",
            "has a file of inputs done, each by an agent of one kind, so many at once",
            BatchInput,
            "workflows.batch:Batch",
        ),
    )
}


def check_kind(name: str) -> str:
    """`name`, if there is such a kind.

    Raises:
        ValueError: there is none; the message names those there are.
    """
    if name not in KINDS:
        raise ValueError(f"there is no kind {name[:40]!r}; there are: {', '.join(KINDS)}")
    return name
