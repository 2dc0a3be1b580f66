"""Builds of the workers: when one can go, what needs it, who serves whom, and how a worker is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from temporalio.api.deployment.v1 import (
    VersionDrainageInfo,
    WorkerDeploymentInfo,
    WorkerDeploymentVersion,
)
from temporalio.api.enums.v1 import VersionDrainageStatus, WorkerDeploymentVersionStatus
from temporalio.common import VersioningBehavior

import worker
from cli import versions
from common.client import builds
from common.client.builds import Build, Deployment
from common.client.pollers import Pollers
from common.client.trouble import no_worker
from common.notices.types import COURIER
from common.settings import Settings, SettingsError
from workflows.replayer import workflow_classes

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
Summary = WorkerDeploymentInfo.WorkerDeploymentVersionSummary


@pytest.mark.parametrize(
    ("build", "can_go", "says"),
    [
        (Build(build="1", status="current"), False, "new agents begin on it, it is current"),
        (Build(build="1", status="ramping", ramp=10), False, "new agents begin on it, it is ramping"),
        (Build(build="1", status="drained", drained=True, agents=1), False, "1 agent needs it"),
        (Build(build="1", status="drained", drained=True, pages=2), False, "2 pages of batches need it"),
        (Build(build="1", status="draining"), False, "the server has not said yet that it has drained"),
        (Build(build="1", status="drained"), False, "the server has not said yet that it has drained"),
        (Build(build="1", status="drained", drained=True), True, ""),
        (Build(build="1", status="drained", drained=True, closed=3), True, "3 agents that ended on it"),
        (Build(build="1", status="inactive"), True, ""),
        (Build(build="1", status="inactive", agents=2), False, "2 agents need it"),
    ],
)
def test_when_a_build_can_go(build: Build, can_go: bool, says: str) -> None:
    """Not while anything open needs it, nor before the server has said that nothing does."""
    found, reason = builds._can_go(build)
    assert found is can_go
    assert reason.startswith(says)
    assert bool(reason) == bool(says)


def test_what_needs_a_build_is_said_with_its_sleepers() -> None:
    """How many sleep, and until when."""
    needed = Build(
        build="1", status="draining", agents=5, asleep=4, asleep_until=NOW, open_end=1, pages=1
    ).needed_by
    assert needed == (
        "5 agents and 1 page of a batch need it (4 asleep, the last until 2026-11-29 12:00 UTC, "
        "1 without an end)"
    )


def test_a_deployment_whose_task_queue_another_took_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own build stays current, and yet no new agent begins there."""
    build = Build(build="1", status="current")
    shop = Deployment(name="shop", current="1", builds=[build], most=100, agents=0, workers=[])
    versions._print(shop.model_copy(update={"elsewhere": "store:2"}))
    assert "WARNING: new agents begin on build 2 of another deployment, store." in capsys.readouterr().err
    versions._print(shop)
    assert "WARNING" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "drain", "is_drained"),
    [
        ("DRAINING", VersionDrainageStatus.VERSION_DRAINAGE_STATUS_UNSPECIFIED, False),
        ("DRAINED", VersionDrainageStatus.VERSION_DRAINAGE_STATUS_UNSPECIFIED, False),
        ("DRAINING", VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINING, False),
        ("DRAINED", VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINED, True),
    ],
)
def test_an_unspecified_drain_state_is_not_drained(
    status: str, drain: VersionDrainageStatus.ValueType, is_drained: bool
) -> None:
    """Whoever takes it for drained takes away the last worker of agents that sleep."""
    found = builds._build_of(
        Summary(
            deployment_version=WorkerDeploymentVersion(deployment_name="d", build_id="1.0:x"),
            status=WorkerDeploymentVersionStatus.Value(f"WORKER_DEPLOYMENT_VERSION_STATUS_{status}"),
            drainage_info=VersionDrainageInfo(status=drain),
        )
    )
    assert (found.build, found.status, found.drained) == ("1.0:x", status.lower(), is_drained)


@pytest.mark.parametrize(("count", "is_near"), [(79, False), (80, True), (101, True)])
def test_the_limit_of_builds_is_watched_from_80_percent_on(count: int, is_near: bool) -> None:
    """Builds that the server has forgotten take none of its room."""
    known = [Build(build=str(number), status="drained") for number in range(count)]
    forgotten = [Build(build="x", status="forgotten")] * 30
    found = Deployment(name="d", current="", builds=known + forgotten, most=100, agents=0, workers=[])
    assert found.is_near_limit is is_near


def test_who_serves_whom() -> None:
    """The pinned are served by their build alone, all others by the current one or by unversioned workers."""
    versioned = Pollers("q", {"d:1": ["a"], "d:2": ["b"]}, "d:2")
    assert [versioned.serve(build) for build in ("d:1", "d:2", "d:3", "")] == [True, True, False, True]
    assert not Pollers("q", {"d:1": ["a"]}, "d:2").serve("")
    assert not Pollers("q", {"d:1": ["a"]}, "").serve("")
    assert Pollers("q", {"": ["a"]}, "").serve("")
    assert versioned.workers == ["a", "b"]


@pytest.mark.parametrize(
    ("workers", "words", "fix"),
    [
        (Pollers("q", {}, ""), "no worker polls q", "start a worker of the task queue q"),
        (
            Pollers("q", {"d:1": ["a"]}, "d:2"),
            "no worker of the current build 2 polls q",
            "start a worker of build 2",
        ),
        (
            Pollers("q", {"d:1": ["a"]}, ""),
            "no build is current",
            "`starter.py versions --set-current BUILD`",
        ),
    ],
)
def test_whose_worker_is_missing(workers: Pollers, words: str, fix: str) -> None:
    """Workers of another build are no help, and a build that nobody made current is a likely mistake."""
    found = no_worker("q", NOW, workers)
    assert words in found.words
    assert found.fix.startswith(fix)


@pytest.mark.parametrize(
    ("arguments", "environment", "version"),
    [
        ([], {}, None),
        (["--deployment-name", "shop", "--build-id", "1.0"], {}, ("shop", "1.0")),
        ([], {"TEMPORAL_DEPLOYMENT_NAME": "shop", "TEMPORAL_WORKER_BUILD_ID": "2"}, ("shop", "2")),
        (
            ["--build-id", "3"],
            {"TEMPORAL_DEPLOYMENT_NAME": "shop", "TEMPORAL_WORKER_BUILD_ID": "2"},
            ("shop", "3"),
        ),
    ],
)
def test_a_worker_is_told_its_build(
    arguments: list[str], environment: dict[str, str], version: tuple[str, str] | None
) -> None:
    """By settings, as Temporal's worker controller does, or by flags, which go first."""
    found = worker.deployment(Settings.read({**environment, **worker.options(arguments)}))
    if version is None:
        assert found is None
        return
    assert found is not None
    assert (found.version.deployment_name, found.version.build_id) == version
    assert found.use_worker_versioning
    assert found.default_versioning_behavior is VersioningBehavior.PINNED


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"TEMPORAL_WORKER_BUILD_ID": "1"}, "TEMPORAL_DEPLOYMENT_NAME is not"),
        ({"TEMPORAL_DEPLOYMENT_NAME": "shop"}, "TEMPORAL_WORKER_BUILD_ID is not"),
        ({"TEMPORAL_DEPLOYMENT_NAME": "a.b", "TEMPORAL_WORKER_BUILD_ID": "1"}, "without dots, colons"),
        ({"TEMPORAL_DEPLOYMENT_NAME": "a", "TEMPORAL_WORKER_BUILD_ID": "a b"}, "without colons"),
        ({"TEMPORAL_DEPLOYMENT_NAME": "a", "TEMPORAL_WORKER_BUILD_ID": "it's"}, "without colons"),
    ],
)
def test_a_build_that_cannot_be_is_refused(environment: dict[str, str], says: str) -> None:
    """By one line that names the setting."""
    with pytest.raises(SettingsError, match=says) as error:
        worker.deployment(Settings.read(environment))
    assert "\n" not in str(error.value)


def test_what_holds_an_only_id_or_lives_for_months_is_pinned_to_no_build() -> None:
    """And agents and pages of batches are, by what a worker says of all others."""
    behaviors = {
        definition.name: definition.versioning_behavior
        for each in workflow_classes()
        if (definition := getattr(each, "__temporal_workflow_definition"))
    }
    unpinned = {name for name, each in behaviors.items() if each is VersioningBehavior.AUTO_UPGRADE}
    assert unpinned == {"archivist", "eraser", COURIER, "mailroom"}
    assert all(not behaviors[name] for name in set(behaviors) - unpinned)
