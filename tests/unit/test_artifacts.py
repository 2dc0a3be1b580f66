"""Artifacts: whole or not at all, and forgotten with the last agent that stored them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from common.artifacts import ArtifactRef, ArtifactStore, write_atomically


def test_artifacts_come_back_whole_or_not_at_all(tmp_path: Path) -> None:
    """Content-addressed; the same bytes are one file; a changed byte is noticed."""
    store = ArtifactStore(tmp_path)
    ref = store.put(b"abc")
    assert store.put(b"abc") == ref
    assert store.get(ref) == b"abc"
    [file] = tmp_path.rglob(ref.sha256)
    file.write_bytes(b"abd")
    with pytest.raises(ApplicationError, match="changed on disk"):
        store.get(ref)
    file.unlink()
    with pytest.raises(ApplicationError, match="is not in"):
        store.get(ref)


async def _put_as(agent: str, store: ArtifactStore, data: bytes) -> ArtifactRef:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_id=agent)

    async def put() -> ArtifactRef:
        return await asyncio.to_thread(store.put, data)

    return await environment.run(put)


async def test_an_artifact_is_forgotten_with_the_last_agent_that_stored_it(tmp_path: Path) -> None:
    """What two agents stored stays until both are forgotten, and what nobody's activity stored stays."""
    store = ArtifactStore(tmp_path)
    kept = store.put(b"nobody's")
    for number in range(300):
        await _put_as("one", store, b"%d" % number)
    shared = await _put_as("one", store, b"shared")
    assert await _put_as("two", store, b"shared") == shared
    assert await _put_as("two", store, b"shared") == shared
    assert sum(store.forget(["one"])) == sum(len(str(number)) for number in range(300))
    assert store.get(shared) == b"shared"
    assert store.forget(["one", "three"]) == []
    assert store.forget(["two"]) == [len(b"shared")]
    assert [each.name for each in tmp_path.rglob("*") if each.is_file() and each.name != ".lock"] == [
        kept.sha256
    ]


async def test_what_is_stored_while_another_is_forgotten_is_there(tmp_path: Path) -> None:
    """The same bytes, stored again and again by one agent while the other is forgotten."""
    store = ArtifactStore(tmp_path)
    for _ in range(50):
        await _put_as("one", store, b"shared")
        ref, _ = await asyncio.gather(
            _put_as("two", store, b"shared"), asyncio.to_thread(store.forget, ["one"])
        )
        assert store.get(ref) == b"shared"
        store.forget(["two"])


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it or nothing."""
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"
