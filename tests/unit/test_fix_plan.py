"""Planning fixes: real ruff on copies of real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.auditor.fix import copies as fix_copies
from activities.auditor.fix import plan as fix_plan
from activities.auditor.fix.plan import FixPlanner
from activities.auditor.records import FileFindings, Finding, PlanRequest, Severity, put_records
from activities.auditor.scan import programs
from activities.auditor.scan.programs import AnalyserFailed
from common.agents.agent import Progress
from common.digest import digest, digest_bytes
from tests.support.auditor.fix_world import FLAWED, MENDED, World
from tests.support.floors import floors


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def told(world: World, path: str, *rules: str) -> FileFindings:
    """Findings as a scan might have told them, without one."""
    findings = [
        Finding(analyser="ruff", rule=rule, severity=Severity.LOW, message="", fixable=True) for rule in rules
    ]
    return FileFindings.model_validate(
        {
            "path": path,
            "sha256": digest_bytes((world.root / path).read_bytes()),
            "findings": findings,
        }
    )


def test_a_plan_binds_what_changes_and_touches_nothing(world: World) -> None:
    """Contents, counts and one diff over all files in the order of paths; the tree is only read."""
    world.write("b.py")
    world.write("a/c.py", b"import os\nimport re\nprint(f'x')\n")
    world.write("clean.py", MENDED)
    before = world.content()
    plan = world.plan()
    listing = world.listing(plan)
    assert list(listing) == ["a/c.py", "b.py"]
    assert (plan.files, plan.fixes, plan.root) == (2, 4, str(world.root))
    assert listing["a/c.py"].rules == {"F401": 2, "F541": 1}
    assert (listing["a/c.py"].lines_added, listing["a/c.py"].lines_removed) == (1, 3)
    assert world.store.get(listing["b.py"].before) == FLAWED
    assert world.store.get(listing["b.py"].after) == MENDED
    assert [each.path for each in plan.preview] == list(listing)
    assert world.content() == before
    world.patch(plan.diff, "git", "apply")
    assert world.content() == {**before, "b.py": MENDED, "a/c.py": b"print('x')\n"}


def test_the_same_input_gives_the_same_plan(world: World) -> None:
    """A second attempt offers the approver nothing new."""
    for number in range(fix_plan.BATCH + 5):  # more than one batch
        world.write(f"m{number}.py")
    scanned = world.scan()
    first, second = world.plan(scanned), world.plan(scanned[::-1])
    assert first.files == fix_plan.BATCH + 5
    assert digest(first) == digest(second)
    assert len(first.preview) == 100


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"import os\r\nx = 1\r\n", b"x = 1\r\n"),
        (b"x = 1\nprint(f'a')", b"x = 1\nprint('a')"),
        (b"\xef\xbb\xbfx = 1\nprint(f'a')\n", b"\xef\xbb\xbfx = 1\nprint('a')\n"),
        (b"import os\n", b""),
    ],
    ids=["crlf", "no newline at the end", "byte order mark", "emptied"],
)
def test_a_fix_keeps_what_it_does_not_mend(world: World, before: bytes, after: bytes) -> None:
    """Line ends, the missing newline and the mark at the start are as they were, in file and diff."""
    file = world.write("a.py", before)
    plan = world.plan()
    assert world.store.get(world.listing(plan)["a.py"].after) == after
    world.patch(plan.diff, "git", "apply")
    assert file.read_bytes() == after


@pytest.mark.parametrize(
    "path", ["-x.py", "@x.py", "ünï code.py", 'quo"te.py', ".venv/x.py", "tests/__init__.py"]
)
def test_a_path_is_a_path(world: World, path: str) -> None:
    """No file name passes for an option, and no folder is left out by its name."""
    world.write(path, b"print(f'x')\n")
    assert list(world.listing(world.plan())) == [path]


def test_only_safe_fixes_of_rules_found_fixable_are_made(world: World) -> None:
    """What was not found fixable stays, also where ruff could mend it."""
    world.write("a.py", b"import os\nprint(f'x')\nif x == None is 'a': pass\n")
    world.write("pkg/__init__.py", b"from os import path\n")  # mending it may change what the package exports
    plan = world.plan([told(world, "a.py", "F541"), told(world, "pkg/__init__.py", "F541")])
    listing = world.listing(plan)
    assert list(listing) == ["a.py"]
    assert listing["a.py"].rules == {"F541": 1}
    assert world.store.get(listing["a.py"].after) == b"import os\nprint('x')\nif x == None is 'a': pass\n"


def test_rules_count_what_is_gone_not_what_was_promised(world: World) -> None:
    """A finding that the scan called fixable and that is not there is no fix."""
    world.write("a.py", b"import os\n")
    plan = world.plan([told(world, "a.py", "F401", "F401", "F541")])
    assert world.listing(plan)["a.py"].rules == {"F401": 1}
    assert plan.fixes == 1


def test_files_that_changed_since_the_scan_are_left_out(world: World) -> None:
    """Also the missing one, the one that is a link now, and those behind a link."""
    for path in ("changed.py", "gone.py", "link.py", "pkg/a.py", "same.py"):
        world.write(path)
    scanned = world.scan()
    world.write("changed.py", FLAWED + b"\n")
    (world.root / "gone.py").unlink()
    (world.root / "link.py").rename(world.folder / "link.py")
    (world.root / "link.py").symlink_to(world.folder / "link.py")
    (world.root / "pkg").rename(world.folder / "pkg")
    (world.root / "pkg").symlink_to(world.folder / "pkg")
    assert list(world.listing(world.plan(scanned))) == ["same.py"]


def test_skipped_files_are_not_planned(world: World) -> None:
    """What an approver left out of an earlier plan is not offered again."""
    world.write("a.py")
    world.write("b.py")
    assert list(world.listing(world.plan(skip=["a.py"]))) == ["b.py"]


def test_a_root_that_became_a_link_has_nothing_to_mend(world: World) -> None:
    """What lies behind the link is not what was audited."""
    world.write("a.py")
    scanned = world.scan()
    world.root.rename(world.folder / "elsewhere")
    world.root.symlink_to(world.folder / "elsewhere")
    assert world.plan(scanned).files == 0


def test_a_fix_that_breaks_a_file_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that parsed must parse afterwards."""
    world.write("a.py")
    world.write("b.py")
    scanned = world.scan()
    ruff = fix_copies.Copies._ruff

    def breaking(self: fix_copies.Copies, *options: str, paths: dict[str, bytes]) -> bytes:
        output = ruff(self, *options, paths=paths)
        if "--fix-only" in options:
            (self._folder / "a.py").write_bytes(b"import sys\nprint(sys.path\n")
        return output

    monkeypatch.setattr(fix_copies.Copies, "_ruff", breaking)
    assert list(world.listing(world.plan(scanned))) == ["b.py"]


def test_what_ruff_cannot_read_is_left_alone(world: World) -> None:
    """A file that is no UTF-8, or no Python, stays out of the plan and harms no other."""
    world.write("latin.py", b"# -*- coding: latin-1 -*-\nimport os\nx = '\xe9'\n")
    world.write("broken.py", b"import os\ndef f(:\n")
    world.write("a.py")
    rules = {"latin.py": "F401", "broken.py": "F401", "a.py": "F401"}
    before = world.content()
    plan = world.plan([told(world, path, rule) for path, rule in rules.items()])
    assert list(world.listing(plan)) == ["a.py"]
    assert world.content() == before


def test_a_file_that_brings_ruff_down_costs_itself_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch goes on without it."""
    for number in range(7):
        world.write(f"m{number}.py")
    scanned = world.scan()

    def crashing(argv: list[str], *rest: object) -> tuple[int, bytes, str]:
        if "--fix-only" in argv and any(word.endswith("m3.py") for word in argv):
            raise AnalyserFailed("ended by signal 11")
        return programs.run(argv, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fix_copies, "run", crashing)
    assert list(world.listing(world.plan(scanned))) == [f"m{n}.py" for n in range(7) if n != 3]


def test_a_project_cannot_configure_its_repair(world: World) -> None:
    """Neither a configuration file nor a module of ruff's name in the tree takes part."""
    world.write("ruff.toml", b"exclude = ['*.py']\n")
    world.write("pyproject.toml", b"[tool.ruff.lint]\nignore = ['F401']\n")
    world.write("ruff.py", b"raise SystemExit(7)\n")
    world.write("json.py", b"raise SystemExit(7)\n")
    world.write("a.py")
    scanned = [told(world, path, "F401") for path in ("ruff.py", "json.py", "ruff.toml", "a.py")]
    assert list(world.listing(world.plan(scanned))) == ["a.py"]


def test_planning_tells_how_far_it_is(world: World) -> None:
    """Heartbeats carry the progress in files."""
    world.write("a.py")
    world.write("b.py")
    beats: list[object] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = beats.append
    request = PlanRequest(root=str(world.root), findings=[put_records(world.store, world.scan())])
    environment.run(FixPlanner(world.store, floors()).plan_fixes, request)
    assert beats[-1] == Progress(done=2, total=2)


def test_no_copies_stay_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder goes with the activity."""
    temporary = world.folder / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(temporary))
    world.write("a.py")
    assert world.plan().files == 1
    assert list(temporary.iterdir()) == []
