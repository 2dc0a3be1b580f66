"""Applying an approved plan: only what was approved, only where nothing changed, and nothing twice."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.auditor.fix import apply, files
from activities.auditor.fix.apply import ALREADY_SO, CHANGED, LEFT, SKIPPED, WRITTEN
from tests.support.auditor.fix_world import FLAWED, MENDED, World, authorized


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_approved_fixes_are_written_and_can_be_taken_back(world: World) -> None:
    """Every file of the plan, in every encoding and with every line end; the undo restores every byte."""
    world.write("a.py")
    world.write("crlf.py", b"import os\r\nx = 1\r\n")
    world.write("open end.py", b"x = 1\nprint(f'a')")
    world.write("empty/later.py", b"import os")
    world.write("data.bin", b"\x00\xff")
    before = world.content()
    plan = world.plan()
    result = world.apply(plan, authorized(plan))
    after = world.content()
    assert (result.written, result.conflicts) == (4, [])
    assert after == before | {
        "a.py": MENDED,
        "crlf.py": b"x = 1\r\n",
        "open end.py": b"x = 1\nprint('a')",
        "empty/later.py": b"",
    }
    assert set(world.details(result).values()) == {(WRITTEN, "")}
    for program in (["git", "apply"], ["patch", "-p1", "--fuzz=0"]):
        if shutil.which(program[0]):
            world.patch(result.undo, *program)
            assert world.content() == before
            world.patch(plan.diff, *program)
            assert world.content() == after


def test_bytes_that_are_no_utf_8_stay_what_they_are(world: World) -> None:
    """Content is bytes from the plan to the disk, to the undo and back."""
    before = b"import os\r\nx = '\xe9\xff'\ry\x0c\n\n\n"
    plan = world.planned({"latin.py": (before, before[11:])})
    result = world.apply(plan, authorized(plan))
    assert world.content() == {"latin.py": before[11:]}
    world.patch(result.undo, "git", "apply")
    assert world.content() == {"latin.py": before}


@pytest.mark.parametrize("mode", [0o755, 0o600, 0o4750])
def test_mode_and_owner_are_kept(world: World, mode: int) -> None:
    """A program stays a program, and a private file private."""
    file = world.write("tool", mode=mode)
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
        file.chmod(mode)
    seen = file.stat()
    plan = world.plan()
    world.apply(plan, authorized(plan))
    now = file.stat()
    assert file.read_bytes() == MENDED
    assert (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (mode, seen.st_uid, seen.st_gid)


def test_other_names_of_a_file_keep_the_old_content(world: World) -> None:
    """A hard link may lead out of the tree; nothing is written through it."""
    outside = world.folder / "outside.py"
    outside.write_bytes(FLAWED)
    os.link(outside, world.root / "a.py")
    plan = world.plan()
    assert world.apply(plan, authorized(plan)).written == 1
    assert (world.content()["a.py"], outside.read_bytes()) == (MENDED, FLAWED)


def test_what_changed_since_the_plan_is_left(world: World) -> None:
    """Changed, gone, a folder or a pipe now: named before the action, and left by it; others go on."""
    for path in ("a.py", "changed.py", "folder.py", "gone.py", "grown.py", "pipe.py"):
        world.write(path)
    plan = world.plan()
    assert world.changed(plan) == []
    world.write("changed.py", FLAWED.replace(b"sys", b"abc"))
    world.write("grown.py", FLAWED * 1000)
    for path in ("folder.py", "gone.py", "pipe.py"):
        (world.root / path).unlink()
    (world.root / "folder.py").mkdir()
    os.mkfifo(world.root / "pipe.py")
    expected = ["changed.py", "folder.py", "gone.py", "grown.py", "pipe.py"]
    assert world.changed(plan) == expected
    assert world.changed(plan.model_copy(update={"skip": expected[1:]})) == ["changed.py"]
    before = world.content()
    result = world.apply(plan, authorized(plan))
    assert (result.written, result.conflicts) == (1, expected)
    assert world.details(result) == {"a.py": (WRITTEN, "")} | dict.fromkeys(expected, (LEFT, CHANGED))
    assert world.content() == before | {"a.py": MENDED}
    assert {line.path for line in world.journal()} == {"a.py"}  # no intent that could claim their work later


def test_a_long_list_of_changed_files_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lives in history is bounded; the details are complete."""
    monkeypatch.setattr(apply, "MAX_NAMED", 3)
    plan = world.planned({f"m{number}.py": (FLAWED, MENDED) for number in range(5)})
    for file in world.root.iterdir():
        file.write_bytes(b"")
    assert world.changed(plan) == ["m0.py", "m1.py", "m2.py"]
    result = world.apply(plan, authorized(plan))
    assert (result.conflicts, len(world.details(result))) == (["m0.py", "m1.py", "m2.py"], 5)


def test_a_file_is_compared_right_before_it_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody saves while the new content is being written aside stays saved."""
    file = world.write("a.py")
    theirs = FLAWED.replace(b"os", b"re")
    plan = world.plan()
    write = files.write_new

    def slow(*arguments: Any) -> None:
        write(*arguments)
        file.write_bytes(theirs)

    monkeypatch.setattr(files, "write_new", slow)
    result = world.apply(plan, authorized(plan))
    assert (result.written, result.conflicts) == (0, ["a.py"])
    assert world.content() == {"a.py": theirs}
    assert world.store.get(result.undo) == b""


def test_what_is_so_already_is_not_ours(world: World) -> None:
    """A file that somebody else mended is no conflict, is not counted, and is not undone."""
    world.write("a.py")
    world.write("b.py")
    plan = world.plan()
    world.write("a.py", MENDED)
    assert world.changed(plan) == []
    result = world.apply(plan, authorized(plan))
    assert (result.written, result.conflicts) == (1, [])
    assert world.details(result)["a.py"] == (LEFT, ALREADY_SO)
    assert b"a/a.py" not in world.store.get(result.undo)


def test_files_the_approver_left_out_are_left(world: World) -> None:
    """The edit of `skip` is part of the approval."""
    world.write("a.py")
    world.write("b.py")
    shown = world.plan()
    plan = shown.model_copy(update={"skip": ["a.py"]})
    result = world.apply(plan, authorized(shown, {"skip": "a.py"}))
    assert world.details(result) == {"a.py": (LEFT, SKIPPED), "b.py": (WRITTEN, "")}
    assert (result.written, result.conflicts) == (1, [])
    assert world.content() == {"a.py": FLAWED, "b.py": MENDED}


def test_a_misspelt_wish_to_leave_a_file_out_stops_everything(world: World) -> None:
    """The file meant would be written against the approver's word."""
    world.write("a.py")
    shown = world.plan()
    plan = shown.model_copy(update={"skip": ["A.py"]})
    with pytest.raises(ApplicationError, match=r"A\.py") as caught:
        world.apply(plan, authorized(shown, {"skip": ["A.py"]}))
    assert (caught.value.type, caught.value.non_retryable) == ("NotAuthorized", True)
    assert world.content() == {"a.py": FLAWED}


@pytest.mark.parametrize("link", ["root/pkg/sub", "root/pkg", "root"])
def test_no_link_leads_outside(world: World, link: str) -> None:
    """A folder that was swapped for a link to its twin since the plan is not entered."""
    world.write("pkg/sub/a.py")
    plan = world.plan()
    inside, outside = world.folder / link, world.folder / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    twin = next(outside.rglob("a.py"))
    assert world.changed(plan) == ["pkg/sub/a.py"]
    result = world.apply(plan, authorized(plan))
    assert (result.written, result.conflicts) == (0, ["pkg/sub/a.py"])
    assert twin.read_bytes() == FLAWED
    assert [path.name for path in outside.rglob("*") if path.is_file()] == ["a.py"]


def test_a_link_in_place_of_a_file_is_left(world: World) -> None:
    """What it points to has the right content and is still not what was approved."""
    file = world.write("a.py")
    plan = world.plan()
    outside = world.folder / "outside.py"
    file.rename(outside)
    file.symlink_to(outside)
    assert world.changed(plan) == ["a.py"]
    assert world.apply(plan, authorized(plan)).conflicts == ["a.py"]
    assert (file.is_symlink(), outside.read_bytes()) == (True, FLAWED)


def test_a_folder_that_is_swapped_back_and_forth_never_leads_outside(tmp_path: Path) -> None:
    """Whoever wins the race, the twins outside stay as they were; it is run until both have won."""
    outcomes = set[tuple[str, str]]()
    for number in range(50):
        outcomes |= _race(World(tmp_path / str(number)))
        if outcomes == {(WRITTEN, ""), (LEFT, CHANGED)}:
            return
    raise AssertionError(f"the race was never close: {outcomes}")


def _race(world: World) -> set[tuple[str, str]]:
    """What became of files whose folder is swapped for a link meanwhile; nothing outside has changed."""
    plan = world.planned({f"pkg/m{number}.py": (FLAWED, MENDED) for number in range(400)})
    inside, aside, outside = world.root / "pkg", world.root / "aside", world.folder / "outside"
    shutil.copytree(inside, outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            inside.rename(aside)
            inside.symlink_to(outside)
            time.sleep(0.001)
            inside.unlink()
            aside.rename(inside)
            time.sleep(0.004)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        result = world.apply(plan, authorized(plan))
    finally:
        stop.set()
        thread.join()
    assert {file.read_bytes() for file in outside.iterdir()} == {FLAWED}
    assert len(list(outside.iterdir())) == 400
    return set(world.details(result).values())


def test_a_path_in_a_listing_cannot_lead_outside(world: World) -> None:
    """Not even if the plan was approved."""
    plan = world.planned({"../outside.py": (FLAWED, MENDED)})
    result = world.apply(plan, authorized(plan))
    assert (result.written, result.conflicts) == (0, ["../outside.py"])
    assert (world.folder / "outside.py").read_bytes() == FLAWED


def test_a_missing_artifact_costs_its_file_only(world: World) -> None:
    """What could not be undone is not done."""
    plan = world.planned({"a.py": (FLAWED, MENDED), "b.py": (FLAWED + b"\n", MENDED)})
    lost = world.listing(plan)["b.py"].before
    next((world.folder / "artifacts").rglob(lost.sha256)).unlink()
    result = world.apply(plan, authorized(plan))
    assert (result.written, result.conflicts) == (1, [])
    assert "is not in" in world.details(result)["b.py"][1]
    assert world.content()["b.py"] == FLAWED + b"\n"
