"""A cluster for all tests of this folder; where Go or PostgreSQL is missing they are skipped by name."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cli.cluster.build import built, find_go
from cli.cluster.cluster import Cluster
from cli.cluster.postgres import binaries
from common.approval.signing import Signer
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.limits import QUICK_TASKS
from tests.support.stage import Stage


@pytest.fixture(scope="session")
def programs() -> None:
    if not built() and find_go() is None:
        pytest.skip("go is not installed")
    if binaries() is None:
        pytest.skip("postgresql is not installed")


@pytest.fixture
def folder(programs: None) -> Iterator[Path]:
    """One that the user `postgres` can reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="hibernaut-cluster-") as name:
        os.chmod(name, 0o711)
        yield Path(name)


@pytest.fixture(scope="session")
async def server(programs: None, session_settings: Settings) -> AsyncIterator[Cluster]:
    """In the place of the dev server; its parts are started again when they end."""
    Signer.load(session_settings, create=True)
    with tempfile.TemporaryDirectory(prefix="hibernaut-cluster-") as name:
        os.chmod(name, 0o711)
        async with Cluster(Path(name), limits=QUICK_TASKS) as cluster:
            keeping = asyncio.create_task(cluster.keep())
            await cluster.set_up(
                {**cluster.environment(), "HIBERNAUT_DATA_DIR": str(session_settings.data_dir)}
            )
            yield cluster
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


@pytest.fixture
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """A worker with the agents that tests use."""
    async with Stage(await connect(settings), settings).at_work() as stage:
        yield stage
