"""The inventory of a folder nobody vouches for."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain
from dulwich.repo import Repo
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.auditor.records import FileEntry, Inventory, InventoryRequest, SkippedFile, get_records
from activities.auditor.scan import git_rules, inventory
from activities.auditor.scan import listing as listing_module
from activities.auditor.scan.inventory import CodeInventory, Lister
from activities.auditor.scan.listing import list_files
from common.artifacts import ArtifactStore
from common.digest import digest_bytes
from common.object_store import FolderStore


@dataclass
class Taken:
    """An inventory with its two lists read back."""

    inventory: Inventory
    entries: list[FileEntry]
    left_out: dict[str, str]
    beats: int

    @property
    def paths(self) -> list[str]:
        return [entry.path for entry in self.entries]


class Taker:
    """Takes inventories in this process, where a test can see what is opened, unless told another way."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self.lister: Lister = list_files

    def __call__(self, root: Path | str, **options: Any) -> Taken:
        beats: list[object] = []
        environment = ActivityEnvironment()
        environment.on_heartbeat = beats.append
        request = InventoryRequest(root=str(root), **{"max_file_bytes": 1_000_000, **options})
        inventory = environment.run(CodeInventory(self.store, self.lister).take_inventory, request)
        left_out = get_records(self.store, inventory.left_out, SkippedFile)
        return Taken(
            inventory,
            list(get_records(self.store, inventory.listing, FileEntry)),
            {one.path: one.reason for one in left_out},
            len(beats),
        )


@pytest.fixture
def take(tmp_path: Path) -> Taker:
    return Taker(ArtifactStore(FolderStore(tmp_path / "artifacts")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def checkout(root: Path, tracked: tuple[str, ...] = ()) -> Repo:
    repo = porcelain.init(root)
    if tracked:
        porcelain.add(repo, [str(root / name) for name in tracked])
    return repo


def test_plain_folder(take: Taker, root: Path) -> None:
    """Outside a checkout everything is listed by path bytes, with size, digest and language."""
    write(
        root,
        {
            "b/deep/x.py": "x = 1\n",
            "b.sh": "echo\n",
            "a b.txt": "ümlaut",
            "-dash.js": "1",
            ".gitignore": "*.py\n",
            "é.ts": "",
            "tool": "#!/usr/bin/env -S python3 -u\n",
            "zsh.sh": "#!/bin/zsh\n",
            "docker/Dockerfile.dev": "FROM scratch\n",
            ".github/workflows/ci.yml": "on: push\n",
        },
    )
    taken = take(root)
    assert taken.paths == sorted(taken.paths, key=str.encode)
    assert {entry.path: entry.language for entry in taken.entries} == {
        "-dash.js": "javascript",
        ".github/workflows/ci.yml": "github-workflow",
        ".gitignore": "text",
        "a b.txt": "text",
        "b.sh": "shell",
        "b/deep/x.py": "python",
        "docker/Dockerfile.dev": "dockerfile",
        "tool": "python",
        "zsh.sh": "text",
        "é.ts": "typescript",
    }
    assert next(entry.size for entry in taken.entries if entry.path == "a b.txt") == 7
    assert taken.inventory.files == 10
    assert taken.inventory.languages["python"] == 2
    assert taken.inventory.skipped == {}


def test_empty_folder(take: Taker, root: Path) -> None:
    """An empty folder is an inventory of nothing."""
    assert take(root).inventory.files == 0


def test_same_tree_same_listing(take: Taker, root: Path, tmp_path: Path) -> None:
    """Two copies of a tree, made in different orders, give the same listing."""
    files: dict[str, str | bytes] = {f"d{n % 3}/{n}.py": str(n) for n in range(30)}
    write(root, files)
    write(tmp_path / "other", dict(reversed(files.items())))
    assert take(root).inventory.listing == take(tmp_path / "other").inventory.listing


def test_roots_that_cannot_be(take: Taker, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root that is missing, a file, relative or unreadable is a permanent error of one line."""
    write(root, {"file": "x"})

    def kind(path: Path | str) -> str:
        with pytest.raises(ApplicationError) as caught:
            take(path)
        assert caught.value.non_retryable
        assert "\n" not in caught.value.message
        return str(caught.value.type)

    assert kind(root / "none") == "PathMissing"
    assert kind(root / "file" / "below") == "PathMissing"
    assert kind("relative") == "PathMissing"
    assert kind(f"{root}/\0") == "PathUnreadable"
    assert kind(root / "file") == "NotAFolder"

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert kind(root) == "PathUnreadable"


def test_what_is_left_out(take: Taker, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binary, oversized, unreadable, special, linked, oddly named: counted by reason, and named."""
    write(
        root, {"nul": b"a\0b", "noise": bytes(range(160, 250)), "latin.txt": "caf\xe9 noir".encode("latin-1")}
    )
    write(root, {"locked": "x", "big": "x" * 101, "just": "x" * 100})
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(root)
        listener.bind("socket")
    (root / "link").symlink_to("/etc/passwd")
    bad = os.fsencode(root) + b"/bad\xff"
    os.mkdir(bad)
    Path(os.fsdecode(bad + b"/in.py")).write_text("x")
    real_open = os.open

    def guarded(path: Any, *args: Any, **options: Any) -> int:
        if path == "locked":
            raise PermissionError(13, "Permission denied")
        assert path not in ("pipe", "socket", "link"), f"{path} was opened"
        return real_open(path, *args, **options)

    monkeypatch.setattr(os, "open", guarded)
    taken = take(root, max_file_bytes=100)
    assert taken.paths == ["just", "latin.txt"]
    assert taken.left_out == {
        "bad\\xff/in.py": "name",
        "big": "oversized",
        "link": "link",
        "locked": "unreadable",
        "noise": "binary",
        "nul": "binary",
        "pipe": "special",
        "socket": "special",
    }
    assert taken.inventory.skipped["special"] == 2


def test_links_are_never_followed(take: Taker, root: Path, tmp_path: Path) -> None:
    """Links out of the root and loops of links are counted, not followed."""
    write(tmp_path / "outside", {"secret.py": "x"})
    write(root, {"a/x.py": "x"})
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "a" / "loop").symlink_to("..")
    (root / "self").symlink_to("self")
    taken = take(root)
    assert taken.paths == ["a/x.py"]
    assert taken.left_out == {"a/loop": "link", "out": "link", "self": "link"}


def test_a_huge_file_costs_nothing(take: Taker, root: Path) -> None:
    """A 200 MB file is named and never read into memory."""
    with open(root / "huge.txt", "wb") as file:
        file.truncate(200_000_000)
    tracemalloc.start()
    taken = take(root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken.left_out == {"huge.txt": "oversized"}
    assert peak < 5_000_000


@pytest.mark.parametrize(("name", "depth"), [("d", 300), ("d" * 250, 16)])
def test_deep_tree(take: Taker, root: Path, name: str, depth: int) -> None:
    """A tree deeper than programs can name is left out by its folder, and the rest is listed."""
    write(root, {"d.py": ""})
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        deeper = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    taken = take(root)
    assert taken.paths == ["d.py"]
    assert list(taken.left_out.values()) == ["name"]


def test_git_ignored_files(take: Taker, root: Path) -> None:
    """In a checkout, ignored files are left out as git does, through nested files and negations."""
    write(
        root,
        {
            ".gitignore": "*.log\nbuild/\n/top.txt\n*.tmp\n[bad\n",
            "x.log": "",
            "top.txt": "",
            "build/x.py": "",
            "sub/top.txt": "",
            "sub/.gitignore": "!keep.log\nlocal.py\nexact/*.md\n",
            "sub/keep.log": "",
            "sub/drop.log": "",
            "sub/local.py": "",
            "sub/exact/a.md": "",
            "sub/other/exact/a.md": "",
            "sub/deep/local.py": "",
            "local.py": "",
            "excluded.py": "",
        },
    )
    checkout(root)
    write(root, {".git/info/exclude": "excluded.py\n"})
    assert take(root).paths == [
        ".gitignore",
        "local.py",
        "sub/.gitignore",
        "sub/keep.log",
        "sub/other/exact/a.md",
        "sub/top.txt",
    ]


def test_tracked_files_are_never_ignored(take: Taker, root: Path) -> None:
    """A tracked file is listed though its pattern or its folder is ignored; its neighbours are not."""
    write(root, {"a.log": "", "b.log": "", "build/kept/x.py": "", "build/kept/y.py": "", "build/z.py": ""})
    checkout(root, tracked=("a.log", "build/kept/x.py"))
    write(root, {".gitignore": "*.log\nbuild/\n"})
    assert take(root).paths == [".gitignore", "a.log", "build/kept/x.py"]


def test_damaged_index(take: Taker, root: Path) -> None:
    """A damaged index is no failure: the ignore rules alone hold."""
    write(root, {"a.log": "", "x.py": ""})
    checkout(root, tracked=("a.log",))
    write(root, {".gitignore": "*.log\n", ".git/index": b"DIRC\0\0\0\2\0\0\1\0garbage"})
    assert take(root).paths == [".gitignore", "x.py"]


def test_folder_of_a_checkout(take: Taker, root: Path) -> None:
    """A root inside a checkout obeys the rules above it; a root that is itself ignored is listed whole."""
    write(root, {"sub/x.py": "", "sub/x.log": "", "sub/kept.log": "", "venv/lib/a.log": "", "venv/b.py": ""})
    checkout(root, tracked=("sub/kept.log",))
    write(root, {".gitignore": "*.log\nvenv/\n"})
    assert take(root / "sub").paths == ["kept.log", "x.py"]
    assert take(root / "venv").paths == ["b.py", "lib/a.log"]


def test_linked_worktree_and_nested_checkout(take: Taker, root: Path) -> None:
    """A linked worktree has its own index and shared excludes; a checkout below goes by its own rules."""
    main, linked = root / "main", root / "linked"
    write(main, {"kept.log": "x"})
    repo = checkout(main, tracked=("kept.log",))
    porcelain.commit(repo, b"x", author=b"a <a@b>", committer=b"a <a@b>")
    write(main, {".git/info/exclude": "*.log\n"})
    porcelain.worktree_add(repo, str(linked), branch=b"other")
    write(linked, {"new.log": "", "x.py": ""})
    write(linked / "inner", {"y.log": "", "z.py": "", ".gitignore": "z.py"})
    checkout(linked / "inner")
    assert (linked / ".git").is_file()
    assert take(linked).paths == ["inner/.gitignore", "inner/y.log", "kept.log", "x.py"]


def test_hostile_repository(take: Taker, root: Path, tmp_path: Path) -> None:
    """Configuration that names programs, pipes or other folders does nothing; pipes for rules neither."""
    write(root, {"x.py": "", "sub/y.log": ""})
    checkout(root)
    witness = tmp_path / "ran"
    os.mkfifo(tmp_path / "pipe")
    write(
        root,
        {
            ".git/config": f"[core]\nfsmonitor = touch {witness}\nworktree = /\n"
            f"excludesFile = {tmp_path}/pipe\nsshCommand = touch {witness}\n"
            f'[include]\npath = {tmp_path}/pipe\n[filter "x"]\nclean = touch {witness}\n',
            ".gitattributes": "* filter=x\n",
        },
    )
    os.mkfifo(root / ".gitignore")
    (root / "sub" / ".gitignore").symlink_to(tmp_path / "pipe")
    (root / ".git" / "index").unlink(missing_ok=True)
    os.mkfifo(root / ".git" / "index")
    taken = take(root)
    assert taken.paths == [".gitattributes", "sub/y.log", "x.py"]
    assert taken.left_out == {".gitignore": "special", "sub/.gitignore": "link"}
    assert not witness.exists()


@pytest.mark.parametrize("pattern", ["*a" * 40 + "b", "a*" * 12 + "/x*b*c*d", "**/a*" * 10 + "b"])
def test_patterns_that_never_end(take: Taker, root: Path, pattern: str) -> None:
    """A pattern made to keep the matcher busy for ever is passed over."""
    write(
        root,
        {"a" * 250: "", "a" * 200 + "/" + "a" * 200: "", ".gitignore": pattern + "\n*.log\n", "x.log": ""},
    )
    checkout(root)
    assert take(root).inventory.files == 3


def test_usual_patterns_with_stars_count(root: Path) -> None:
    """The guard against endless patterns lets those through that people write."""
    checkout(root)
    write(root, {".gitignore": "**/build/**/tmp-*-*.log*\n"})
    rules = git_rules.open_checkout(root)
    assert rules is not None
    inner = rules.enter("packages").enter("application").enter("build").enter("x")
    assert inner.ignores("tmp-2026-11-22.log.gz", is_folder=False)


def test_include_and_exclude(take: Taker, root: Path) -> None:
    """`include` and `exclude` are gitignore patterns: folders, negations, and exclude has the last word."""
    write(root, {"src/a.py": "", "src/b.txt": "", "src/gen/c.py": "", "d.py": "", "d.js": ""})
    assert take(root, include=["src/"]).paths == ["src/a.py", "src/b.txt", "src/gen/c.py"]
    assert take(root, include=["*.py"], exclude=["gen/"]).paths == ["d.py", "src/a.py"]
    assert take(root, exclude=["*", "!*.js"]).paths == ["d.js"]
    with pytest.raises(ApplicationError) as caught:
        take(root, include=["[a"])
    assert caught.value.type == "PatternMalformed"


def test_only_some_paths(take: Taker, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`only` looks at just those paths; nothing outside the root and nothing through a link is read."""
    write(tmp_path / "outside", {"x.py": "secret"})
    write(root, {"a.py": "1", "b.py": "2", "d/e.py": "3"})
    (root / "way").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe")
    real_open = os.open

    def guarded(path: Any, *args: Any, **options: Any) -> int:
        assert path != "pipe", "a special file was opened"
        return real_open(path, *args, **options)

    monkeypatch.setattr(os, "open", guarded)
    only = [
        "pipe",
        "d/e.py",
        "a.py",
        "a.py",
        "gone.py",
        "a.py/x",
        "../outside/x.py",
        "/etc/passwd",
        "way/x.py",
        "d",
        "",
    ]
    taken = take(root, only=only)
    assert taken.paths == ["a.py", "d/e.py"]
    assert taken.left_out == {
        "": "name",
        "../outside/x.py": "name",
        "/etc/passwd": "name",
        "a.py/x": "special",
        "d": "special",
        "gone.py": "vanished",
        "pipe": "special",
        "way/x.py": "link",
    }


def test_vanished_meanwhile(take: Taker, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that goes between listing and reading counts as vanished."""
    write(root, {"a.py": "", "b.py": ""})
    real_stat = os.stat

    def stat(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if path == "b.py":
            (root / "b.py").unlink(missing_ok=True)
        return real_stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", stat)
    taken = take(root)
    assert taken.paths == ["a.py"]
    assert taken.left_out == {"b.py": "vanished"}


def test_heartbeats(take: Taker, root: Path) -> None:
    """A long inventory heartbeats every 200 files."""
    write(root, {f"{n}.py": "" for n in range(401)})
    assert take(root).beats == 3


def kind_of_failure(take: Taker, root: Path, **options: Any) -> str:
    with pytest.raises(ApplicationError) as caught:
        take(root, **options)
    assert caught.value.non_retryable
    assert "\n" not in caught.value.message
    return str(caught.value.type)


def test_apart_it_is_the_same_inventory(take: Taker, root: Path) -> None:
    """As a worker takes it: in a process of its own, failures included."""
    write(root, {"a.py": "x", ".gitignore": "*.log\n", "b.log": "", "nul": b"\0"})
    checkout(root)
    here = take(root)
    take.lister = inventory.list_isolated
    apart = take(root)
    assert (apart.inventory, apart.entries, apart.left_out) == (here.inventory, here.entries, here.left_out)
    assert apart.paths == [".gitignore", "a.py"]
    assert kind_of_failure(take, root / "none") == "PathMissing"
    assert kind_of_failure(take, root, include=["[a"]) == "PatternMalformed"


def test_a_tree_that_would_take_for_ever_is_one_clear_failure(
    take: Taker, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else in the worker waits for it, and it ends with what its limits allow."""
    monkeypatch.setattr(inventory, "LIMITS", replace(inventory.LIMITS, cpu_seconds=1))
    write(root, {"a" * 250: ""})
    take.lister = inventory.list_isolated
    assert kind_of_failure(take, root, exclude=["*a" * 40 + "b"]) == "TreeTooCostly"


def test_rules_of_git_are_held_to_a_budget(take: Taker, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of rules that no project has is passed over; and so many names for so many rules are refused."""
    checkout(root)
    write(root, {".gitignore": "x.py\n" + "".join(f"{n}*\n" for n in range(90_000)), "x.py": ""})
    assert take(root).paths == [".gitignore", "x.py"]
    write(root, {".gitignore": "".join(f"{n}.log\n" for n in range(60)), **{f"{n}.py": "" for n in range(9)}})
    assert take(root).inventory.files == 11
    monkeypatch.setattr(git_rules.Budget, "__init__", lambda self: setattr(self, "left", 500))
    assert kind_of_failure(take, root) == "TooManyRules"


def test_an_index_that_names_more_than_a_checkout_holds_is_damaged(take: Taker, root: Path) -> None:
    """In version 4 each name takes over the one before: a few megabytes name gigabytes."""
    checkout(root)
    write(root, {".gitignore": "*.log\n", "x.log": "", "y.py": ""})
    entry = bytes(60) + (1).to_bytes(2, "big")
    count = 6000
    data = b"DIRC" + (4).to_bytes(4, "big") + count.to_bytes(4, "big")
    data += (entry + b"\0" + b"d/\0") * count
    (root / ".git" / "index").write_bytes(data + hashlib.sha1(data, usedforsecurity=False).digest())
    assert take(root).paths == [".gitignore", "y.py"]
    assert max(map(len, git_rules.open_checkout(root).tracked)) <= 4096  # type: ignore[union-attr]


def test_a_listing_that_was_killed_reads_no_file_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands as it did is taken from the journal, torn or not; what was changed or replaced is read."""
    root = tmp_path / "code"
    root.mkdir()
    for number in range(450):
        (root / f"{number:03}.py").write_text(f"x = {number}\n")
    journal = tmp_path / "journals" / "a.listing"
    request = {
        "root": str(root), "include": [], "exclude": [], "max_file_bytes": 1000, "only": None,
        "journal": str(journal),
    }  # fmt: skip
    first = list_files(request, lambda done: None)
    assert len(journal.read_text().splitlines()) == 400
    with journal.open("a") as file:
        file.write('[[1, 2], ["torn.py", "')
    read: list[str] = []
    real = listing_module._entry

    def entry(root: Path, path: str, *rest: Any) -> Any:
        read.append(path)
        return real(root, path, *rest)

    monkeypatch.setattr(listing_module, "_entry", entry)
    kept = [json.loads(line)[1][0] for line in journal.read_text().splitlines()[:400]]
    changed, replaced = kept[0], kept[1]
    (root / changed).write_text("x = 'other'\n")
    (root / replaced).unlink()
    (root / replaced).write_bytes(b"x = 'new'\n")
    again = list_files(request, lambda done: None)
    assert set(read) == {changed, replaced, *(each[0] for each in first.entries if each[0] not in kept)}
    digests = {each[0]: each[1] for each in again.entries}
    assert digests[changed] == digest_bytes(b"x = 'other'\n")
    assert digests[replaced] == digest_bytes(b"x = 'new'\n")
    assert [each for each in again.entries if each[0] not in (changed, replaced)] == [
        each for each in first.entries if each[0] not in (changed, replaced)
    ]
