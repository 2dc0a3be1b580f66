"""Applying a plan while processes die, disks fill up and folders are closed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.auditor.fix import apply, journal
from activities.auditor.fix.apply import ALREADY_SO, LEFT, WRITTEN, FixApplier
from activities.auditor.fix.journal import SETTLES
from activities.auditor.records import ApplyRequest, ApplyResult
from common.digest import digest_bytes
from tests.support.auditor.fix_world import AGENT, FLAWED, MENDED, World, authority, authorized

NOBODY = 65534


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def open_world() -> Iterator[World]:
    """A world that a process without rights can reach."""
    folder = Path(tempfile.mkdtemp(prefix="hibernaut-test-")).resolve()
    folder.chmod(0o755)
    yield World(folder)
    shutil.rmtree(folder)


def seen(world: World) -> dict[str, tuple[int, int]]:
    """Inode and time of change of each file: both differ after any write."""
    files = (file for file in world.root.rglob("*") if file.is_file())
    return {
        file.relative_to(world.root).as_posix(): (file.stat().st_ino, file.stat().st_mtime_ns)
        for file in files
    }


def test_a_second_attempt_writes_nothing_and_tells_the_same(world: World) -> None:
    """The result of an attempt may be lost; its work is not done again."""
    plan = world.planned({f"m{number}.py": (FLAWED, MENDED) for number in range(5)})
    first = world.apply(plan, authorized(plan))
    before = seen(world)
    second = world.apply(plan, authorized(plan), attempt=2)
    assert second == first
    assert seen(world) == before
    assert Counter(world.done()) == dict.fromkeys(before, 1)


def test_what_was_taken_back_is_not_written_again(world: World) -> None:
    """A retry that comes after somebody's undo leaves it so."""
    plan = world.planned({"a.py": (FLAWED, MENDED)})
    first = world.apply(plan, authorized(plan))
    world.patch(first.undo, "git", "apply")
    assert world.apply(plan, authorized(plan), attempt=2) == first
    assert world.content() == {"a.py": FLAWED}


def test_killed_in_the_middle_the_next_attempt_finishes(world: World) -> None:
    """Each file is written once, by whichever attempt; nothing else stays."""
    total = 200
    plan = world.planned(
        {f"p{n % 7}/m{n}.py": (FLAWED + b"#%d\n" % n, MENDED + b"#%d\n" % n) for n in range(total)}
    )
    process = world.process(plan, stalls_after=150)
    deadline = time.monotonic() + 60
    while len(world.done()) < 20 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    first = set(world.done())
    assert 20 <= len(first) < total, "the kill missed the middle"
    before = seen(world)
    result = world.apply(plan, authorized(plan), attempt=2)
    assert (result.written, result.conflicts) == (total, [])
    assert world.content() == {f"p{n % 7}/m{n}.py": MENDED + b"#%d\n" % n for n in range(total)}
    assert Counter(world.done()) == dict.fromkeys(world.content(), 1)
    assert {path: seen(world)[path] for path in first} == {path: before[path] for path in first}
    attempts = {line.pid: line.attempt for line in world.journal() if line.event == "done"}
    assert attempts == {process.pid: 1, os.getpid(): 2}
    world.patch(result.undo, "git", "apply")
    assert world.content() == {f"p{n % 7}/m{n}.py": FLAWED + b"#%d\n" % n for n in range(total)}


@pytest.mark.parametrize(("die", "left"), [("before rename", 1), ("after rename", 0)])
def test_killed_at_the_rename_the_next_attempt_finishes(world: World, die: str, left: int) -> None:
    """The journal tells our own half-done work: the file written aside goes, the one in place counts."""
    plan = world.planned({"pkg/a.py": (FLAWED, MENDED), "pkg/b.py": (FLAWED, MENDED)})
    process = world.process(plan, die=die)
    assert process.wait() == -signal.SIGKILL
    assert len(world.content()) == 2 + left
    assert [line.event for line in world.journal()] == ["intent"]
    inode = (world.root / "pkg/a.py").stat().st_ino
    result = world.apply(plan, authorized(plan), attempt=2)
    assert (result.written, result.conflicts) == (2, [])
    assert world.content() == {"pkg/a.py": MENDED, "pkg/b.py": MENDED}
    assert ((world.root / "pkg/a.py").stat().st_ino == inode) == (die == "after rename")
    assert Counter(world.done()) == {"pkg/a.py": 1, "pkg/b.py": 1}
    assert world.store.get(result.undo).count(b"--- a/") == 2


def test_killed_at_the_rename_a_file_changed_since_is_left_clean(world: World) -> None:
    """What was written aside goes also where the file itself is left."""
    plan = world.planned({"a.py": (FLAWED, MENDED)})
    assert world.process(plan, die="before rename").wait() == -signal.SIGKILL
    world.write("a.py", b"theirs\n")
    assert world.apply(plan, authorized(plan), attempt=2).conflicts == ["a.py"]
    assert world.content() == {"a.py": b"theirs\n"}


def test_an_attempt_goes_on_from_a_journal_in_the_data_folder(world: World) -> None:
    """As one that was killed before journals were in the object store left it, in the middle of a line."""
    plan = world.planned({"a.py": (FLAWED, MENDED), "b.py": (FLAWED, MENDED), "c.py": (FLAWED, MENDED)})
    word, listing = authorized(plan), world.listing(plan)
    old = world.folder / "old"
    lines = [("intent", "a.py"), ("done", "a.py"), ("intent", "b.py")]
    text = "".join(
        json.dumps(
            {"event": event, "path": path, "after": listing[path].after.sha256, "pid": 1, "attempt": 1}
        )
        + "\n"
        for event, path in lines
    )
    old.mkdir()
    (old / f"{digest_bytes(word.key.encode())}.jsonl").write_text(text + '{"event":"done","path":"b')
    world.write("a.py", b"theirs since\n")
    world.write("b.py", MENDED)
    world.write("c.py", MENDED)
    applier = FixApplier(world.store, authority(), world.objects, old)
    result = ActivityEnvironment().run(applier.apply_fixes, ApplyRequest(plan=plan, authorization=word))
    assert world.details(result) == {"a.py": (WRITTEN, ""), "b.py": (WRITTEN, ""), "c.py": (LEFT, ALREADY_SO)}


def test_two_attempts_do_not_write_at_once(world: World) -> None:
    """The server may start a second attempt while a cut-off first still writes; it has to come back."""
    plan = world.planned({"a.py": (FLAWED, MENDED)})
    first = world.apply(plan, authorized(plan))
    held = os.open(world.root, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(ApplicationError) as caught:
        world.apply(plan, authorized(plan), attempt=2)
    os.close(held)
    assert (caught.value.type, caught.value.non_retryable) == ("ApplyUnderWay", False)
    assert caught.value.next_retry_delay is not None
    assert world.apply(plan, authorized(plan), attempt=3) == first


def test_without_locks_a_file_begun_on_another_machine_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until nobody can be writing it any more; the other's next file is taken, which ends it there."""
    plan = world.planned({"a.py": (FLAWED, MENDED), "b.py": (FLAWED, MENDED)})
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    assert world.process(plan, die="before rename").wait() == -signal.SIGKILL
    with pytest.raises(ApplicationError) as caught:
        world.apply(plan, authorized(plan), attempt=2)
    assert caught.value.type == "ApplyUnderWay"
    assert timedelta() < (caught.value.next_retry_delay or timedelta()) <= SETTLES
    assert world.content()["b.py"] == FLAWED
    # Whoever comes later takes the next file while this attempt, given up on, is still at its first.
    monkeypatch.setattr(journal, "SETTLES", timedelta())
    key, real = authorized(plan).key, apply.swap_content

    def overtaken(*arguments: Any, **more: Any) -> None:
        with journal.open_journal(world.objects, AGENT, key, 3, str(world.root)) as later:
            later.intend(world.listing(plan)["b.py"])
        real(*arguments, **more)

    monkeypatch.setattr(apply, "swap_content", overtaken)
    with pytest.raises(ApplicationError) as caught:
        world.apply(plan, authorized(plan), attempt=2)
    assert caught.value.type == "ApplyUnderWay"
    assert world.content() == {"a.py": MENDED, "b.py": FLAWED}
    monkeypatch.setattr(apply, "swap_content", real)
    assert world.apply(plan, authorized(plan), attempt=4).written == 2
    assert Counter(world.done()) == {"a.py": 1, "b.py": 1}


def _no_locks(*_: object) -> None:
    raise OSError(errno.EBADF, "no locks on folders here")


def test_a_read_only_file_is_left(world: World) -> None:
    """Its owner protected it; a rename would get around that."""
    plan = world.planned({"a.py": (FLAWED, MENDED), "b.py": (FLAWED, MENDED)})
    (world.root / "a.py").chmod(0o444)
    result = world.apply(plan, authorized(plan))
    assert world.details(result) == {"a.py": (LEFT, "Read-only file"), "b.py": (WRITTEN, "")}
    assert world.content() == {"a.py": FLAWED, "b.py": MENDED}


def test_a_read_only_folder_costs_its_files_only(open_world: World) -> None:
    """The others are written, and the reason is told."""
    world = open_world
    plan = world.planned(
        {"a.py": (FLAWED, MENDED), "locked/b.py": (FLAWED, MENDED), "z.py": (FLAWED, MENDED)}
    )
    uid = NOBODY if os.geteuid() == 0 else 0
    if uid:
        for path in (world.folder, *world.folder.rglob("*")):
            os.chown(path, uid, uid)
    (world.root / "locked").chmod(0o555)
    output, _ = world.process(plan, uid=uid).communicate()
    (world.root / "locked").chmod(0o755)
    result = ApplyResult.model_validate_json(output)
    assert world.details(result)["locked/b.py"] == (LEFT, "Permission denied")
    assert (result.written, result.conflicts) == (2, [])
    assert world.content() == {"a.py": MENDED, "locked/b.py": FLAWED, "z.py": MENDED}


def test_a_file_that_does_not_fit_is_left_whole(world: World) -> None:
    """Where the system stops a write in the middle, the old content stays and no piece of the new one."""
    big = b"#" * 200_000 + b"\n"
    plan = world.planned(
        {"a.py": (FLAWED, MENDED), "big.py": (FLAWED + big, MENDED + big), "z.py": (FLAWED, MENDED)}
    )
    output, _ = world.process(plan, file_bytes=100_000).communicate()
    result = ApplyResult.model_validate_json(output)
    assert world.details(result)["big.py"] == (LEFT, "File too large")
    assert (result.written, result.conflicts) == (2, [])
    assert world.content() == {"a.py": MENDED, "big.py": FLAWED + big, "z.py": MENDED}
    assert world.apply(plan, authorized(plan), attempt=2).written == 3  # there is room again
