"""The documents of a folder: what is read, what is left out and why, and when their digest changes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.documents import documents as module
from activities.documents.documents import Documents, DocumentSet, DocumentsRequest
from common.artifacts import ArtifactStore
from common.digest import digest_bytes
from common.object_store import FolderStore


@dataclass
class Text:
    title: str
    text: str
    cut: bool = False


def text_of(data: bytes, media_type: str) -> Text:
    """Stands in for the reader of documents, which has tests of its own."""
    if media_type == "application/pdf" and not data.startswith(b"%PDF"):
        raise ValueError("not a PDF")
    return Text(title=media_type, text=data.decode(errors="replace"))


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "documents"
        self.folder.mkdir()
        self.artifacts = ArtifactStore(FolderStore(folder / "artifacts"))
        self.documents = Documents(self.artifacts, text_of)
        self.request = DocumentsRequest(folder=str(self.folder))

    def write(self, name: str, data: bytes = b"words") -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def read(self) -> DocumentSet:
        found: DocumentSet = ActivityEnvironment().run(self.documents.read_documents, self.request)
        return found

    def digest(self) -> str:
        return ActivityEnvironment().run(self.documents.documents_digest, self.request).digest


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_documents_are_read_by_kind_and_their_texts_kept_out_of_history(world: World) -> None:
    """Text, Markdown, HTML and PDF at any depth, in the order of their names; the rest is counted."""
    for name in ("b.txt", "a.MD", "deep/er/c.html", "d.pdf", "picture.png", ".hidden.txt", ".git/x.txt"):
        world.write(name, b"%PDF " + name.encode())
    found = world.read()
    assert [(each.name, each.media_type) for each in found.documents] == [
        ("a.MD", "text/markdown"),
        ("b.txt", "text/plain"),
        ("d.pdf", "application/pdf"),
        ("deep/er/c.html", "text/html"),
    ]
    first = found.documents[0]
    assert world.artifacts.get(first.text) == b"%PDF a.MD"
    assert (first.digest, first.characters) == (digest_bytes(b"%PDF a.MD"), 9)
    assert (found.other, found.unnamed, found.unreadable) == (1, 0, {})


def test_a_document_without_a_text_is_named_with_the_reason(world: World) -> None:
    """The others are read all the same, and its bytes count in the digest."""
    world.write("good.txt")
    bad = world.write("bad.pdf", b"no pdf")
    found = world.read()
    assert [each.name for each in found.documents] == ["good.txt"]
    assert found.unreadable == {"bad.pdf": "not a PDF"}
    bad.write_bytes(b"another")
    assert world.digest() != found.digest


def test_the_digest_changes_with_any_document_and_with_nothing_else(world: World) -> None:
    """Content, name, one more, one less; not time stamps or files of other kinds."""
    file = world.write("a.txt", b"one")
    world.write("sub/b.txt", b"two")
    before = world.read().digest
    assert world.digest() == before
    world.write("picture.png")
    os.utime(file, (1, 1))
    assert world.digest() == before
    seen = {before}
    file.write_bytes(b"other")
    seen.add(world.digest())
    file.rename(world.folder / "c.txt")
    seen.add(world.digest())
    (world.folder / "c.txt").unlink()
    seen.add(world.digest())
    world.write("sub/b.txt", b"tw")
    seen.add(world.digest())
    assert len(seen) == 5


def test_links_lead_nowhere(world: World, tmp_path: Path) -> None:
    """Neither a linked file nor a linked folder is read, nor a pipe waited for."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (world.folder / "file.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (world.folder / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(world.folder / "pipe.txt")
    found = world.read()
    assert found.documents == []
    assert found.unreadable == {"file.txt": "a link", "pipe.txt": "no regular file"}


def test_names_that_are_no_utf8_are_counted(world: World) -> None:
    """They could be written neither to history nor to a notebook."""
    Path(os.fsdecode(os.fsencode(world.folder) + b"/caf\xe9.txt")).write_text("x")
    world.write("café.txt")
    found = world.read()
    assert [each.name for each in found.documents] == ["café.txt"]
    assert found.unnamed == 1


def test_number_size_and_depth_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is past a limit is named with the limit, and its being there counts in the digest."""
    monkeypatch.setattr(module, "MAX_DOCUMENTS", 3)
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    monkeypatch.setattr(module, "MAX_BYTES_IN_ALL", 12)
    monkeypatch.setattr(module, "MAX_DEPTH", 2)
    world.write("a.txt", b"x" * 11)
    world.write("b.txt", b"x" * 10)
    world.write("c.txt", b"x" * 3)
    world.write("d.txt", b"x")
    world.write("e/f.txt", b"x")
    world.write("e/g/h.txt", b"x")
    world.write("i.txt", b"x")
    found = world.read()
    assert [each.name for each in found.documents] == ["b.txt", "d.txt", "e/f.txt"]
    assert {name: reason.split()[0] for name, reason in found.unreadable.items()} == {
        "a.txt": "over",
        "c.txt": "past",
        "e/g": "deeper",
        "i.txt": "past",
    }
    (world.folder / "i.txt").unlink()
    assert world.digest() != found.digest
    monkeypatch.setattr(module, "MAX_NAMED", 1)
    found = world.read()
    assert (len(found.unreadable), found.unread) == (1, 3)


def test_a_folder_of_too_many_files_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody named the wrong one."""
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    for number in range(4):
        world.write(f"{number}.png")
    with pytest.raises(ApplicationError) as caught:
        world.read()
    assert (caught.value.type, caught.value.non_retryable) == ("TooManyFiles", True)


def test_a_missing_folder_is_permanent(world: World) -> None:
    """As a premise that is a drift."""
    world.folder.rmdir()
    with pytest.raises(ApplicationError) as caught:
        world.digest()
    assert (caught.value.type, caught.value.non_retryable) == ("FolderMissing", True)


def test_an_empty_folder_has_a_digest(world: World) -> None:
    """A case may rest on there being nothing."""
    assert world.read().digest == world.digest()
    assert world.read().documents == []
