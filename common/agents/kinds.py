"""The kinds of agents there are, by wire name: what a door needs to start one without its workflow."""

from __future__ import annotations

from dataclasses import dataclass

from common.agents.agent import AgentInput
from common.agents.auditor import AuditInput
from common.agents.buyer import BuyerInput
from common.agents.recruiter import RecruiterInput
from common.agents.researcher import ResearcherInput


@dataclass(frozen=True)
class Kind:
    """A kind of agent: its wire name, what it does in a line, and its input type."""

    name: str
    summary: str
    input: type[AgentInput]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("code-auditor", "audits a code base, proposes fixes, applies them on a human's yes", AuditInput),
        Kind(
            "buyer", "buys at no more than people approved, at a price seen seconds before, once", BuyerInput
        ),
        Kind(
            "link-researcher",
            "reads the best links on a topic and publishes a report of quotes on a human's yes",
            ResearcherInput,
        ),
        Kind(
            "recruiter",
            "ranks candidates, writes to those people approve, waits for each answer, invites on a yes",
            RecruiterInput,
        ),
    )
}
