"""Ranking by a language model from within an activity, as the triage does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.llm.activities import ModelActivities
from activities.llm.offline import OfflineAnalyst
from activities.llm.prompt import Completion, Prompt
from activities.llm.ranking import ranker
from activities.llm.records import Grant, ModelItem, ModelReply, ModelRequest
from activities.llm.runner import ModelRunner
from common.agents.agent import Cost
from common.agents.budget import BudgetPlan
from common.approval.floors import write_alone
from common.approval.signing import Authority
from common.artifacts import ArtifactStore
from common.object_store import FolderStore
from common.settings import Settings

REQUEST = ModelRequest(
    task="rank findings",
    instruction="secrets first",
    items=[ModelItem(id="0", text="a long line"), ModelItem(id="1", text="a secret in a file")],
    keep=5,
)


class Says:
    """A model that gives the answers it was made with, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = [json.dumps(each) for each in answers]

    def complete(self, prompt: Prompt, attempt: int) -> Completion:
        return Completion(text=self.answers.pop(0), input_tokens=60, output_tokens=10)


def rank(tmp_path: Path, model: Says, **more: str) -> ModelReply:
    environment = {
        "HIBERNAUT_DATA_DIR": str(tmp_path),
        "HIBERNAUT_MODEL": "openai:x",
        "HIBERNAUT_OPENAI_KEY": "k",
    }
    settings = Settings.read(environment | more)
    runner = ModelRunner(
        settings, ArtifactStore(FolderStore(tmp_path / "artifacts")), providers=lambda _: model
    )
    return ActivityEnvironment().run(ranker(runner, settings).rank, REQUEST)


def item(id: str, score: float, quote: str) -> dict[str, Any]:
    return {"id": id, "score": score, "reason": "it fits", "quote": quote}


def test_a_ranking_holds_known_items_with_their_own_words(tmp_path: Path) -> None:
    """The best has the score 1; a quote that stands nowhere is left empty."""
    reply = rank(tmp_path, Says({"items": [item("0", 0.1, "made up"), item("1", 0.5, "a secret")]}))
    assert [(each.id, each.score, each.quote.text) for each in reply.ranking] == [
        ("1", 1.0, "a secret"),
        ("0", 0.2, ""),
    ]
    assert (reply.model, reply.cost.input_tokens) == ("openai:x", 60)


@pytest.mark.parametrize("items", [[item("9", 1, "x")], [item("1", 1, "x")] * 2, [item("1", 7, "x")]])
def test_an_item_that_is_not_there_is_bad_output(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    """Unknown ids, one named twice, a score out of range: repaired once; then rules rank, and say so."""
    assert rank(tmp_path, Says({"items": items}, {"items": []})).model == "openai:x"
    refused = rank(tmp_path / "other", Says({"items": items}, {"items": items}))
    assert refused.ranking == OfflineAnalyst().rank(REQUEST).ranking
    assert (refused.model, refused.cost) == ("offline", Cost(input_tokens=120, output_tokens=20))
    assert "cannot be used, rules rank: BadModelOutput: openai:x" in refused.note


def test_a_model_that_cannot_be_asked_at_all_ranks_nothing(tmp_path: Path) -> None:
    """What the operator has to set is not passed over in silence."""
    with pytest.raises(ApplicationError) as caught:
        rank(tmp_path, Says(), HIBERNAUT_AGENT_USD="1")
    assert caught.value.type == "PriceUnknown"


def test_a_spent_budget_ranks_offline_and_says_so(tmp_path: Path) -> None:
    """Ranking only moves things; it is not worth a question to a human."""
    # The first answer is bad, and with it the budget is spent.
    reply = rank(tmp_path, Says({"items": [item("9", 1, "x")]}), HIBERNAUT_AGENT_TOKENS="50")
    assert reply == OfflineAnalyst().rank(REQUEST)
    assert reply.model == "offline"


def test_the_model_of_the_settings_ranks(tmp_path: Path) -> None:
    """Offline needs no runner."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    assert isinstance(
        ranker(ModelRunner(settings, ArtifactStore(FolderStore(tmp_path))), settings), OfflineAnalyst
    )


def test_a_budget_is_raised_by_a_signed_approval_alone(tmp_path: Path) -> None:
    """What raises a limit checks the approval itself; without one nothing is granted."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    write_alone(settings)
    authority = Authority.load(settings, create=True)
    thinking = ModelActivities(ModelRunner(settings, ArtifactStore(FolderStore(tmp_path))), authority)
    plan = BudgetPlan(
        tokens=1,
        usd=0,
        scope="agent:a",
        spent_tokens=1,
        spent_usd=0,
        tokens_limit=1,
        usd_limit=None,
    )
    with pytest.raises(ApplicationError) as caught:
        ActivityEnvironment().run(thinking.grant_budget, Grant(plan=plan))
    assert caught.value.type == "NotAuthorized"
