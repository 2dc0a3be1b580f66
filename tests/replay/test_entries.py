"""From every node of a recorded history an agent of its kind could go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from common.agents.kinds import KINDS
from workflows.core.agent import Agent
from workflows.entries import Entries, Entry, NotReplayedError

HISTORIES = Path(__file__).parent / "histories"
RECORDED = {
    "code-auditor-approved": "inventory scan triage plan approval apply report",
    "buyer-approved": "case approval market buy follow",
    "link-researcher-approved": "search links scrape read draft approval publish",
    "market-analyst-approved": "watch report",
    "recruiter-answered": "rank draft approve wait send report",
    "contract-auditor-approved": "list read approval report",
    "contract-reader-completed": "read",
    "batch-gathered": "items batch",
}


class AllEntries(Entries):
    """The agent at the latest entry of each node, and not of one alone."""

    def __init__(self) -> None:
        super().__init__("")
        self.all = dict[str, Entry]()

    def enter(self, agent: Agent[Any, Any], name: str) -> None:
        self.node = name
        super().enter(agent, name)
        assert self.kept is not None
        self.all[name] = self.kept


def read(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(name, (HISTORIES / f"{name}.json").read_text())


def test_there_is_a_history_of_every_kind() -> None:
    """A kind that is added is looked at here, too; one with activities of its own by its own test."""
    assert len({name.rpartition("-")[0] for name in RECORDED}) == len(RECORDED)
    assert {name.rpartition("-")[0] for name in RECORDED} == {
        name for name, kind in KINDS.items() if not kind.activities
    }


@pytest.mark.parametrize("name", RECORDED)
async def test_the_state_at_each_node_begins_an_agent(name: str) -> None:
    """Its memory as the type that the kind has, in the order of the nodes; a kind without one says so."""
    kind = KINDS[name.rpartition("-")[0]]
    entries = AllEntries()
    await entries.replay(kind.workflow_class(), read(name), pydantic_data_converter)
    assert [node for node in entries.all if node in RECORDED[name].split()] == RECORDED[name].split()
    memory = get_args(kind.workflow_class().__orig_bases__[0])[1]  # type: ignore[attr-defined]
    for node, entry in entries.all.items():
        given = entry.input.model_copy(update={"carried": entry.state}).model_dump_json()
        begun = kind.input.model_validate_json(given)
        assert begun.carried == entry.state
        if memory is type(None):
            assert entry.state.memory is None
            assert entry.has_begun == (node != next(iter(entries.all)))
        else:
            remembered = memory.model_validate(entry.state.memory)
            assert remembered.model_dump(mode="json") == entry.state.memory
    assert list(entries.counts) == list(entries.all)


async def test_a_buyer_has_its_plan_when_it_asks_and_its_order_when_it_follows() -> None:
    """The state is that of the node, not that of the beginning or the end."""
    entries = AllEntries()
    await entries.replay(KINDS["buyer"].workflow_class(), read("buyer-approved"), pydantic_data_converter)
    memories = {node: entry.state.memory or {} for node, entry in entries.all.items()}
    known = {node: (bool(each["plan"]), bool(each["order"])) for node, each in memories.items()}
    assert known == {
        "case": (False, False),
        "approval": (True, False),
        "market": (True, False),
        "buy": (True, False),
        "follow": (True, True),
    }
    notes = [entry.text for entry in entries.all["approval"].state.notebook.entries]
    assert "entered" in notes[0]
    assert not any("approved" in note for note in notes)


async def test_right_after_an_answer_it_is_the_state_in_which_the_agent_asked() -> None:
    """It will be asked anew, so that nothing that came of the old answer may be in it, let alone twice."""
    entries = AllEntries()
    kind = KINDS["code-auditor"].workflow_class()
    await entries.replay(kind, read("code-auditor-approved"), pydantic_data_converter)
    memories = {node: entry.state.memory or {} for node, entry in entries.all.items()}
    assert (memories["apply"]["plans"], memories["apply"]["decisions"]) == ([], [])
    assert memories["apply"]["plan"] == memories["approval"]["plan"]
    assert len(memories["report"]["plans"]) == len(memories["report"]["decisions"]) == 1


async def test_a_history_that_goes_another_way_only_later_still_has_its_state(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As where a bug was mended that came after the node; else nothing can be told. Nothing is printed."""
    history = read("buyer-approved")
    for event in history.events:
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == "place_order":
            scheduled.activity_type.name = "something_else"
    kind = KINDS["buyer"].workflow_class()
    entries = Entries("approval")
    await entries.replay(kind, history, pydantic_data_converter)
    assert entries.kept is not None
    assert entries.counts == {"case": 1, "approval": 1}
    with pytest.raises(NotReplayedError, match=r"^\[TMPRL1100\] Nondeterminism error: .*something_else.*'$"):
        await Entries("follow").replay(kind, history, pydantic_data_converter)
    assert capfd.readouterr() == ("", "")
