"""Agents read and write below their owner's roots, on the real path, and never in the data folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.testing import ActivityEnvironment

from activities import safe_files
from activities.documents.documents import Documents, DocumentsRequest
from activities.documents.extract import text_of
from activities.safe_files import (
    FolderReader,
    PathSkippedError,
    current_territory,
    open_folder,
    read_inside,
    read_real,
    write_inside,
)
from common.agents.auditor import AuditInput
from common.agents.fields import LocalPath, PathOrAddress, paths_of
from common.agents.kinds import KINDS
from common.artifacts import ArtifactStore
from common.object_store import FolderStore
from common.roots import PathRefusedError, Roots, check_path
from common.settings import Settings, SettingsError
from common.territory import Territory


class Disk:
    """A home folder with secrets, a project and the data folder in it; a stranger's folder beside it."""

    def __init__(self, folder: Path) -> None:
        self.home, self.strange = folder / "home", folder / "strange"
        self.project, self.data = self.home / "project", self.home / ".hibernaut"
        for place in (self.project, self.data / "letters", self.home / ".ssh", self.strange):
            place.mkdir(parents=True)
            (place / "a.txt").write_text(f"in {place.name}")
        self.file = self.data / "roots.json"

    def roots(self, content: dict[str, list[str]] | None = None) -> Roots:
        if content is not None:
            self.file.write_text(json.dumps(content))
        return Roots.load(Settings.read({"HIBERNAUT_DATA_DIR": str(self.data)}))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Disk(tmp_path)


@pytest.fixture
def territory(disk: Disk) -> Iterator[Territory]:
    """Ann's, who may use the home folder; in force for what is opened."""
    found = disk.roots({"ann": [str(disk.home)]}).of("ann")
    token = current_territory.set(found)
    yield found
    current_territory.reset(token)


def test_without_a_file_nobody_may_use_any_folder(disk: Disk) -> None:
    """Outside `dev` the operator says so first."""
    with pytest.raises(PathRefusedError, match="HIBERNAUT_ROOTS names those"):
        check_path(disk.roots().of("ann"), "path", str(disk.project))


def test_roots_are_an_owners_their_groups_and_everybodys(disk: Disk) -> None:
    """And nobody else's; the file may change at any time."""
    (disk.data / "groups.json").write_text('{"auditors": ["bob"]}')
    one, two, three = (str(disk.home / name) for name in ("one", "two", "three"))
    roots = disk.roots({"ann": [one], "@auditors": [two], "*": [three]})

    def allowed(owner: str) -> list[str]:
        return [path for path in (one, two, three) if roots.of(owner).holds(Path(path, "x"))]

    assert [allowed("ann"), allowed("bob"), allowed("auditors"), allowed("")] == [
        [one, three],
        [two, three],
        [three],
        [three],
    ]
    disk.file.write_text("{}")
    os.utime(disk.file, ns=(1, 1))
    assert allowed("ann") == []


@pytest.mark.parametrize("content", ['{"ann": "/x"}', '{"ann": ["relative"]}', "[]", "{"])
def test_a_file_that_is_none_is_an_error_that_quotes_nothing(disk: Disk, content: str) -> None:
    """Found at the start of worker, gateway and command line."""
    disk.file.write_text(content)
    with pytest.raises(SettingsError, match=r"HIBERNAUT_ROOTS: .* is not a JSON object") as error:
        disk.roots()
    assert "relative" not in str(error.value)


@pytest.mark.parametrize(
    "path",
    [
        "{home}/project/../../strange",
        "{home}/project/out",
        "{home}/.hibernaut",
        "{home}/.hibernaut/letters/a.txt",
        "{home}/project/data",
        "/proc/self/root{home}/.hibernaut",
        "/proc/self/cwd/.hibernaut",
        "/proc/self/environ",
        "/proc/self/fd/0",
        "/dev/stdin",
        "{home}/.ssh",
        "{home}/.ssh/a.txt",
        "{home}/.netrc",
        "{home}x",
        "project",
        "~/project",
        "{home}/a\0b",
        "",
    ],
)
def test_what_is_refused_is_refused_by_its_real_path(
    disk: Disk, territory: Territory, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Links, `..`, second names of the disk, the data folder, and where a home folder keeps its keys."""
    (disk.project / "out").symlink_to(disk.strange)
    (disk.project / "data").symlink_to(disk.data / "letters")
    monkeypatch.chdir(disk.home)
    assert territory.holds(disk.project)
    with pytest.raises(PathRefusedError):
        check_path(territory, "path", path.format(home=disk.home))


def test_a_dotted_folder_of_home_has_to_be_named(disk: Disk) -> None:
    """Then it may be used, like any other; the data folder may not even then."""
    territory = disk.roots({"*": [str(disk.home / ".ssh"), str(disk.data), "/"]}).of("ann")
    assert territory.holds(disk.home / ".ssh" / "a.txt")
    assert territory.holds(disk.project / ".github")
    assert not territory.holds(disk.data / "letters")
    assert not territory.holds(Path("/proc/self"))


def test_a_folder_that_becomes_a_link_after_the_check_is_not_opened(disk: Disk, territory: Territory) -> None:
    """The open folder itself is asked where it is."""
    check_path(territory, "path", str(disk.project))
    disk.project.rename(disk.home / "away")
    disk.project.symlink_to(disk.strange)
    for attempt in (
        lambda: open_folder(disk.project, ""),
        lambda: read_inside(disk.project, "a.txt", 100),
        lambda: read_real(disk.project / "a.txt", 100),
        lambda: write_inside(disk.project, "b.txt", b"b", 0o644),
    ):
        with pytest.raises(PathSkippedError, match="private"):
            attempt()
    assert sorted(each.name for each in disk.strange.iterdir()) == ["a.txt"]


def test_a_walk_through_home_leaves_out_data_and_keys(disk: Disk, territory: Territory) -> None:
    """A root may contain them; nobody has to exclude anything."""
    for private in (".ssh", ".hibernaut/letters"):
        with pytest.raises(PathSkippedError, match="private"):
            read_inside(disk.home, f"{private}/a.txt", 100)
    (disk.home / ".netrc").write_text("login")
    with pytest.raises(PathSkippedError, match="private"):
        read_inside(disk.home, ".netrc", 100)
    assert read_inside(disk.home, "project/a.txt", 100) == b"in project"
    write_inside(disk.home / "new" / "deep", "b.txt", b"b", 0o644)
    assert (disk.home / "new" / "deep" / "b.txt").read_bytes() == b"b"


def test_a_reader_of_many_files_opens_a_folder_once_and_asks_each_anew(
    disk: Disk, territory: Territory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it comes back to a folder; in the home folder each file is asked, in others the folder."""
    (disk.project / "b.txt").write_text("b")
    (disk.home / "notes").write_text("notes")
    (disk.home / ".netrc").write_text("login")
    opened: list[str] = []

    def recorded(root: Path, folder: str) -> int:
        opened.append(folder)
        return open_folder(root, folder)

    monkeypatch.setattr(safe_files, "open_folder", recorded)
    with FolderReader(disk.home) as reader:
        assert reader.read("project/a.txt", 100) == b"in project"
        assert reader.read("project/b.txt", 100) == b"b"
        assert reader.read("notes", 100) == b"notes"
        for private in (".netrc", ".ssh/a.txt"):
            with pytest.raises(PathSkippedError, match="private"):
                reader.read(private, 100)
        assert reader.read("project/b.txt", 100) == b"b"
    assert opened == ["project", "", ".ssh", "project"]


def test_the_data_folder_is_known_under_another_name(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a bind mount, which has the same device and inode."""
    territory = disk.roots({"*": ["/"]}).of("ann")
    real, stat = disk.data, os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: stat(real if path == disk.strange else path, **more))
    assert not territory.holds(disk.strange / "letters")


def test_documents_of_a_folder_swapped_for_the_data_folder_stay_unread(
    disk: Disk, territory: Territory
) -> None:
    """Neither their names nor their text come out."""
    disk.project.rename(disk.home / "away")
    disk.project.symlink_to(disk.data / "letters")
    documents = Documents(ArtifactStore(FolderStore(disk.data / "artifacts")), text_of)
    with pytest.raises(Exception, match="private"):
        ActivityEnvironment().run(documents.read_documents, DocumentsRequest(folder=str(disk.project)))


class _Part(BaseModel):
    folder: LocalPath | None = None
    target: PathOrAddress = ""


class _Whole(BaseModel):
    part: _Part
    parts: tuple[_Part, ...] = ()
    note: str = "/not/a/path"


def test_every_declared_path_is_found_however_deep() -> None:
    """In unions, nested models and lists; an address is none."""
    whole = _Whole(
        part=_Part(folder="/a", target="https://example.com/"),
        parts=(_Part(target="/b"), _Part(folder="/c", target="HTTP://x/")),
    )
    assert list(paths_of((whole,))) == [("folder", "/a"), ("target", "/b"), ("folder", "/c")]
    assert list(paths_of(AuditInput(path="/x", include=["/y"]))) == [("path", "/x")]


def test_no_input_names_a_path_in_a_field_of_another_type() -> None:
    """A new field for a file that were plain text would pass every check."""

    def suspicious(schema: dict[str, Any]) -> list[str]:
        words = ("path", "folder", "file", "director")
        return [
            name
            for name, part in schema["properties"].items()
            if any(word in f"{name} {part.get('description', '')}".lower() for word in words)
            and not any(
                str(each.get("format", "")).startswith("path") for each in (part, *part.get("anyOf", ()))
            )
        ]

    found = {kind.name: suspicious(kind.input.model_json_schema()) for kind in KINDS.values()}
    # Patterns and a bound of the auditor; the names of candidates' files, each below the folder `profiles`.
    assert {kind: names for kind, names in found.items() if names} == {
        "code-auditor": ["include", "exclude", "max_file_bytes"],
        "recruiter": ["candidates"],
    }
