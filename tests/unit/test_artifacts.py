"""Artifacts: whole or not at all, each agent's own, also where they lay before."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from common.agent_objects import is_artifact, objects_of
from common.artifacts import ArtifactRef, ArtifactStore
from common.digest import digest_bytes
from common.files import write_atomically
from common.legacy_data import LegacyArtifacts, forget_legacy
from common.object_store import FolderStore, ObjectStore
from common.sealed_store import SealedStore
from common.settings import Settings

KEYS = {"HIBERNAUT_PAYLOAD_KEYS": f"one:{'1' * 64}"}


def put_as(agent: str, store: ArtifactStore, data: bytes) -> ArtifactRef:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_id=agent)
    return environment.run(store.put, data)


def keys(objects: ObjectStore) -> list[str]:
    return [each.key for each in objects.list("")]


def test_artifacts_come_back_whole_or_not_at_all(tmp_path: Path) -> None:
    """Content-addressed; the same bytes are one object; a changed byte is noticed."""
    objects = FolderStore(tmp_path)
    store = ArtifactStore(objects)
    ref = store.put(b"abc")
    assert store.put(b"abc") == ref
    assert store.get(ref) == b"abc"
    [key] = keys(objects)
    objects.put(key, b"abd")
    with pytest.raises(ApplicationError, match="changed in the store"):
        store.get(ref)
    objects.delete([key])
    with pytest.raises(ApplicationError, match="is not in the store"):
        store.get(ref)


def test_each_agent_has_its_own(tmp_path: Path) -> None:
    """The same bytes of two agents are two objects, whose references any reader can follow."""
    objects = FolderStore(tmp_path)
    store = ArtifactStore(objects)
    one, two = (put_as(agent, store, b"shared") for agent in ("one", "two"))
    assert (one.sha256, one.agent != two.agent) == (two.sha256, True)
    assert store.put(b"shared", "one") == one
    going = objects_of(objects, ["one"])
    assert all(is_artifact(each.key) for each in going)
    objects.delete([each.key for each in going])
    assert store.get(two) == b"shared"
    with pytest.raises(ApplicationError, match="is not in the store"):
        store.get(one)


def test_a_reference_of_before_is_written_as_it_was_and_still_read(tmp_path: Path) -> None:
    """Digests of what people approved, and of arguments in histories, do not change by an update."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    text = f'{{"sha256":"{digest_bytes(b"old")}","size":3}}'
    ref = ArtifactRef.model_validate_json(text)
    assert ref.model_dump_json() == text
    assert set(put_as("one", ArtifactStore.of(settings), b"new").model_dump()) == {"sha256", "size", "agent"}
    file = tmp_path / "artifacts" / ref.sha256[:2] / ref.sha256
    write_atomically(file, b"old")
    marks = [file.with_suffix(f".{digest_bytes(agent)[:32]}") for agent in (b"one", b"two")]
    for mark in marks:
        mark.touch()
    page = tmp_path / "fetching" / "pages" / digest_bytes(b"one")[:32] / "page.json"
    write_atomically(page, b"{}")
    assert ArtifactStore.of(settings).get(ref) == b"old"
    assert forget_legacy(settings, ["one"]) == []
    assert (page.exists(), ArtifactStore.of(settings).get(ref)) == (False, b"old")
    assert LegacyArtifacts.of(settings).forget(["two", "three"]) == [3]
    with pytest.raises(ApplicationError, match="is not in the store"):
        ArtifactStore.of(settings).get(ref)


def test_with_keys_nobody_reads_or_swaps_objects(tmp_path: Path) -> None:
    """Ciphertext, bound to its key; where encryption is on, what comes in plain is refused."""
    settings = Settings.read({"HIBERNAUT_OBJECTS": str(tmp_path), **KEYS})
    store, beneath = ArtifactStore.of(settings), FolderStore(tmp_path)
    ref, other = store.put(b"a secret", "one"), store.put(b"another", "one")
    assert store.get(ref) == b"a secret"
    bodies = {key: beneath.get(key) for key in keys(beneath)}
    assert not any(b"secret" in body for body in bodies.values())
    SealedStore.open(settings).put("work", b"a journal")
    stolen = beneath.get("work")
    for body in (b"a secret", stolen, bytes(100), b""):
        for key in bodies:
            beneath.put(key, body)
        for each in (ref, other):
            with pytest.raises(ApplicationError) as caught:
                store.get(each)
            assert caught.value.type == "ArtifactDamaged"
    migrating = settings.but(state=settings.state.but(encryption="migrate"))
    beneath.put("plain", b"from before")
    assert SealedStore.open(migrating).get("plain") == b"from before"


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
