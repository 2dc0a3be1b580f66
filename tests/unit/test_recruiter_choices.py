"""What candidates can answer by a link at each stage, and what their links say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.documents.extract import text_of
from activities.llm.offline import OfflineAnalyst
from activities.recruiting.activities import LINK, RecruitingActivities
from activities.recruiting.candidacy import MAX_PROPOSALS, Candidacy, MailReading, Says, Stage
from activities.recruiting.choices import on_offer, reading_of_choice
from activities.recruiting.records import DraftLetters
from common.agent_files import AgentFiles
from common.agents.recruiter import Slot
from common.artifacts import ArtifactStore
from common.object_store import FolderStore
from common.settings import Settings
from tests.support.recruiting.stage import recruiter_input, slots

SLOTS: Sequence[Slot] = [Slot.model_validate(each) for each in slots(6)]
NOW = datetime.now(UTC)
WITHIN = timedelta(days=2)


def names(candidacy: Candidacy) -> list[str]:
    return [each.name for each in on_offer(candidacy, SLOTS)]


@pytest.mark.parametrize("stage", Stage)
def test_only_what_the_stage_can_take_is_on_offer(stage: Stage) -> None:
    """And taking it needs no person, apart from another time after the invitation."""
    candidacy = Candidacy(stage=stage, offered=(4, 5), proposals=1, invitations=1, slot=3)
    offered = names(candidacy)
    over = candidacy.over and stage is not Stage.SILENT
    assert bool(offered) == (not over and stage not in (Stage.LISTED, Stage.WITH_HUMAN))
    for name in offered:
        after = candidacy.model_copy(deep=True)
        after.apply(reading_of_choice(name, after), "", NOW, WITHIN, slots=SLOTS)
        assert after.stage is not Stage.WITH_HUMAN or name.startswith("move")


def test_a_slot_is_meant_by_its_index_and_not_by_its_place_in_a_letter() -> None:
    """The second slot of an old letter is not the second slot of a new one."""
    candidacy = Candidacy(stage=Stage.PROPOSED, offered=(0, 1), proposals=1)
    old = names(candidacy)
    candidacy.queue()
    candidacy.proposed((4, 5), NOW, WITHIN)
    assert candidacy.proposals == MAX_PROPOSALS
    assert set(old) & set(names(candidacy)) == {"no"}
    assert reading_of_choice("slot-5", candidacy) == MailReading(says=Says.SLOT, slot=2)


def test_while_a_person_answers_the_stage_before_counts() -> None:
    """So a reply carries the links that can still be used."""
    candidacy = Candidacy(stage=Stage.PROPOSED, offered=(2,), proposals=1)
    before = names(candidacy)
    candidacy.ask_human("What does it pay?")
    assert names(candidacy) == before == ["slot-2", "other-1", "no"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, ""),
        ({"HIBERNAUT_HTTP": "127.0.0.1:9000"}, ""),
        ({"HIBERNAUT_HTTP": "10.0.0.5:8080"}, "http://10.0.0.5:8080"),
        ({"HIBERNAUT_PUBLIC_URL": "https://agents.example.com"}, "https://agents.example.com"),
    ],
)
def test_letters_have_links_only_where_their_recipients_can_follow_them(
    given: dict[str, str], address: str
) -> None:
    """The address of this machine is nobody else's."""
    assert Settings.read(given).http.outside_url == address


@pytest.mark.parametrize("links", [True, False])
async def test_drafts_show_the_links_that_letters_will_have(tmp_path: Path, links: bool) -> None:
    """Not their addresses, which only the letter itself has; and none where there will be none."""
    input = recruiter_input(2)
    artifacts = ArtifactStore(FolderStore(tmp_path / "artifacts"))
    files = AgentFiles(FolderStore(tmp_path / "objects"))
    activities = RecruitingActivities(artifacts, OfflineAnalyst(), text_of, files, tmp_path, links)
    request = DraftLetters(
        role=input.role,
        candidates=input.candidates,
        questions=input.questions,
        slots=input.slots,
        answer_within=input.answer_within,
        sender=input.sender,
        opening="we write to you.",
        model="offline",
    )
    environment = ActivityEnvironment()
    drafted = environment.run(activities.draft_letters, request)
    shown = f"Yes, I am interested:\n{LINK}"
    assert (shown in drafted.plan.sample[0].text) == links
    assert (f"{input.slots[0].in_words}:\n{LINK}" in drafted.plan.proposal) == links
    # Two letters for each of two, and the proposal's own.
    letters = b"".join(files.read(environment.info.workflow_id or "", drafted.path)).decode()
    assert letters.count(shown) == (4 if links else 0)
