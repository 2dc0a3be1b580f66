"""Recorded histories replay with the code as it is, and it does with them what it did when last looked at."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from tests.replay import fingerprints, releases
from tests.replay.fingerprints import HERE, NEWEST, RELEASES, difference, histories, new_replayer, read
from tests.replay.releases import frozen_sums, released, sums
from workflows.replayer import RecordingReplayer, workflow_classes

HISTORIES = histories()
OWN = [file for file in HISTORIES if file.parent == NEWEST]
# Releases whose agents have all ended everywhere, so that their recordings are no longer kept.
RETIRED: set[str] = set()


@pytest.fixture(scope="module")
async def replayer() -> AsyncIterator[RecordingReplayer]:
    async with new_replayer() as replayer:
        yield replayer


def name_of(file: Path) -> str:
    return str(file.relative_to(HERE).with_suffix("")).removeprefix("histories/")


def test_there_are_histories_of_every_workflow() -> None:
    """An agent, or what serves agents, without a recording could be broken unseen."""
    names = {getattr(each, "__temporal_workflow_definition").name for each in workflow_classes()}
    assert {file.name.rsplit("-", 1)[0] for file in OWN} == names


@pytest.mark.parametrize("file", HISTORIES, ids=name_of)
async def test_a_recorded_history_replays_to_its_fingerprint(file: Path, replayer: RecordingReplayer) -> None:
    """Today's code takes the same steps, and every command says what it said."""
    found = await difference(file, replayer)
    assert found == "", f"meant? `python -m tests.replay.fingerprints`, and look at the difference\n{found}"


@pytest.mark.parametrize("file", [each for each in OWN if each.stem.endswith("-approved")], ids=name_of)
async def test_a_history_that_does_not_fit_the_code_is_noticed(
    file: Path, replayer: RecordingReplayer
) -> None:
    """The test above can fail: an activity of another name does not replay."""
    text, count = re.subn(r'("activityType": \{\s+"name": ")', r"\1something_else_", file.read_text())
    assert count
    _, failure = await replayer.replay(WorkflowHistory.from_json(read(file).workflow_id, text))
    assert re.search("[Nn]ondeterminism", str(failure))


def test_what_was_recorded_of_a_release_stays_as_it_was() -> None:
    """Whose agents sleep on: nothing is recorded anew, left out or added."""
    for folder in RELEASES.glob("*"):
        assert sums(folder) == frozen_sums(folder), folder.name


def test_every_release_in_the_changelog_has_its_recordings_frozen() -> None:
    """`RETIRED` names those whose agents have all ended; see docs/upgrades.md."""
    assert set(released()) - RETIRED == {folder.name for folder in RELEASES.glob("*")}


def test_a_release_is_frozen_whole_and_a_changed_recording_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the first tagged release: every history with its fingerprint, under checksums."""
    for module in (releases, fingerprints):
        monkeypatch.setattr(module, "RELEASES", tmp_path)
    folder = releases.freeze("9.9.9")
    assert {file.name for file in folder.glob("*.json")} == {file.name for file in OWN}
    assert sums(folder) == frozen_sums(folder)
    # As long as nothing is recorded anew, nothing is replayed twice.
    assert fingerprints.histories() == OWN
    changed = next(folder.glob("*.json"))
    changed.write_text(changed.read_text().replace("recorder", "somebody"))
    assert sums(folder) != frozen_sums(folder)
    assert fingerprints.histories() == [*OWN, changed]
