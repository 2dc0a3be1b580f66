"""Fixes break nothing: what something may need stays, and what breaks a copy of the tree is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from activities.auditor.fix import copies, tree_copy
from activities.auditor.records import PlanRequest
from tests.support.auditor.fix_world import FLAWED, World

RE_EXPORT = b"from os.path import join\nimport os\nprint(os)\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fixed(world: World, **options: str) -> dict[str, bytes]:
    """The files that a plan fixes, with their new contents."""
    listing = world.listing(world.plan(**options))
    return {path: world.store.get(fix.after) for path, fix in listing.items()}


def test_a_name_that_no_other_file_uses_goes(world: World) -> None:
    """Without any of the files below."""
    world.write("a.py", RE_EXPORT)
    world.write("c.py", FLAWED)
    assert list(fixed(world)) == ["a.py", "c.py"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("b.py", b"from a import join\nprint(join)\n"),
        ("b.py", b"from a import *\nprint(join)\n"),
        ("b.py", b"import a\nprint(a.join('x'))\n"),
        ("b.py", b"import a as helper\nx = helper\nprint(x.join('x'))\n"),
        ("b.py", b"import a\n\n\ndef f(name):\n    return getattr(a, name)\n"),
        ("b.py", b"import importlib\nprint(importlib.import_module('a').join('x'))\n"),
        ("b.py", b"from unittest import mock\nmock.patch('a.join')\n"),
        ("b.py", b'def f():\n    """Joins.\n\n    >>> join("a", "b")\n    """\n'),
        ("b.py", b"import lazy\nlazy.attach(__name__, {'a': ['join']})\n"),
        ("setup.cfg", b"[options.entry_points]\nconsole_scripts =\n    tool = a:join\n"),
        ("README.rst", b"Paths::\n\n    >>> join('a', 'b')\n"),
        ("old.py", b"from a import join\nprint join\n"),
        ("b.py", b"import a\nx = 1  # type: a.join\n"),
        ("n.ipynb", b'{"cells": [{"cell_type": "code", "source": ["from a import join\\n"]}]}'),
        ("Procfile", b"web: server a:join\n"),
    ],
    ids=[
        *("from", "star", "attribute", "alias", "getattr", "import_module", "patch", "doctest", "lazy"),
        *("entry point", "doctest in a text", "another Python", "type comment", "notebook", "command"),
    ],
)
def test_a_name_that_another_file_may_use_stays(world: World, path: str, text: bytes) -> None:
    """However the other file comes by it; what nobody else may use goes all the same."""
    world.write("a.py", RE_EXPORT)
    world.write("c.py", FLAWED)
    world.write(path, text)
    found = fixed(world)
    assert "a.py" not in found
    assert "c.py" in found


@pytest.mark.parametrize(
    "text",
    [
        b"import unittest\n\n\nclass T(unittest.TestCase):\n    def test(self):\n"
        b"        with self.assertRaises(ImportError):\n            import ssl\n",
        b"try:\n    import ssl\nfinally:\n    print()\n",
        b"def test_it_loads():\n    import ssl\n",
        b"if __debug__:\n    import ssl\n",
        b"import ssl\nprint(globals()['ssl'])\n",
        b"import ssl\n__all__ = ['s' + 'sl']\n",
        b"import ssl\nprint(eval('ssl'))\n",
        b'"""Text.\n\n>>> ssl.OPENSSL_VERSION\n"""\nimport ssl\n',
        b"import ssl\n\n\ndef test(ssl):\n    print(ssl)\n",
        b"from typing import List\nx = []  # type: List[int]\n",
        b"import readline\n",
        b"import xml.dom\n",
        b"from xml import dom\n",
        b"import pydantic\n",
        b"from . import sibling\n",
        b"import own\n",
    ],
    ids=[
        *(
            "assertRaises",
            "try",
            "loads",
            "block",
            "globals",
            "__all__",
            "eval",
            "doctest",
            "fixture",
            "type comment",
        ),
        *("acts", "submodule", "submodule by from", "foreign", "relative", "own"),
    ],
)
def test_an_import_that_the_file_itself_may_need_stays(world: World, text: bytes) -> None:
    """Its other fixes are made."""
    world.write("own.py", b"print('registered')\n")
    world.write("a.py", text + b"print(f'x')\n")
    assert fixed(world) == {"a.py": text + b"print('x')\n"}


@pytest.mark.parametrize(
    ("kept", "user"),
    [
        ("import asyncio", "import concurrent\n\n\ndef f():\n    return concurrent.futures.Future\n"),
        ("import asyncio", "import concurrent as c\n\n\ndef f():\n    return c.futures.thread\n"),
        (
            "from pydoc import doc",
            "import importlib\n\n\ndef f():\n    return importlib.machinery.FileFinder\n",
        ),
        ("import plistlib", "from xml import parsers\n\n\ndef f():\n    return parsers.expat\n"),
    ],
    ids=["package", "alias", "from", "deeper"],
)
def test_an_import_that_loads_what_others_use_stays(world: World, kept: str, user: str) -> None:
    """A submodule is there for everybody once anybody has imported it; who imports it needs nobody."""
    world.write("a.py", f"{kept}\nimport colorsys\nprint()\n".encode())
    world.write("b.py", user.encode())
    assert fixed(world) == {"a.py": f"{kept}\nprint()\n".encode()}
    world.write(
        "b.py",
        user.replace(
            "\n", "\nimport concurrent.futures.thread, importlib.machinery, xml.parsers.expat\n", 1
        ).encode(),
    )
    assert fixed(world)["a.py"] == b"print()\n"


def test_a_statement_that_stays_keeps_no_other_and_looks_as_before(world: World) -> None:
    """Long statements, comments and Windows' line ends too."""
    kept = b"from collections import (\r\n    abc,  # here\r\n    deque,\r\n)  # there\r\n"
    world.write("a.py", b"import re\r\n" + kept + b"import json\r\n")
    world.write("b.py", b"from a import deque\nprint(deque)\n")
    assert fixed(world) == {"a.py": kept}


def test_ruff_is_told_files_even_where_all_must_be_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any it would lint, and fix, all that is below the folder it runs in."""
    told = list[list[str]]()
    run = copies.run

    def seen(argv: list[str], *rest: Any, **options: Any) -> tuple[int, bytes, str]:
        told.append([each for each in argv if each.endswith(".py")])
        return run(argv, *rest, **options)

    monkeypatch.setattr(copies, "run", seen)
    world.write("a.py", b"import xml.dom  # noqa: E501\n")
    assert fixed(world) == {}
    world.write("b.py")
    assert list(fixed(world)) == ["b.py"]
    assert told
    assert all(told)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", b"[tool.ruff.lint.per-file-ignores]\n'a.py' = ['F401']\n"),
        ("pyproject.toml", b"[tool.ruff.per-file-ignores]\n'pkg/*' = ['F4']\n"),
        ("pkg/.ruff.toml", b"[lint.extend-per-file-ignores]\n'*.py' = ['ALL']\n"),
        ("ruff.toml", b"extend = 'more/base.toml'\n"),
        ("setup.cfg", b"[flake8]\nper-file-ignores =\n    x.py:E501\n    y.py, pkg/a.py: E501, F401\n"),
        (".flake8", b"[flake8]\nper-file-ignores = a.py:F401,E501 b.py:E1\n"),
    ],
    ids=["name", "folder", "nested", "extended", "flake8", "flake8 in one line"],
)
def test_what_the_project_lets_a_file_off_is_honoured(world: World, path: str, text: bytes) -> None:
    """By ruff's settings or flake8's; for that file alone."""
    world.write("pkg/a.py")
    world.write("other.py")
    world.write("more/base.toml", b"[lint.per-file-ignores]\n'../pkg/a.py' = ['F401']\n'a.py' = ['F401']\n")
    assert list(fixed(world)) == ["other.py", "pkg/a.py"]
    world.write(path, text)
    assert list(fixed(world)) == ["other.py"]


@pytest.mark.parametrize("text", [b"extend = '../outside.toml'\n", b"[lint\n", b"extend = 7\n", b"\xff"])
def test_settings_are_followed_nowhere_else(world: World, text: bytes) -> None:
    """Neither out of the tree nor into nonsense."""
    (world.folder / "outside.toml").write_text("[lint.per-file-ignores]\n'a.py' = ['F401']\n")
    world.write("a.py")
    world.write("ruff.toml", text)
    assert list(fixed(world)) == ["a.py"]


def spoil(monkeypatch: pytest.MonkeyPatch, path: str, text: bytes) -> None:
    """Have ruff's fix of a file be `text`."""
    ruff = copies.Copies._ruff

    def spoiling(self: copies.Copies, *options: str, paths: dict[str, bytes]) -> bytes:
        output = ruff(self, *options, paths=paths)
        if "--fix-only" in options:
            (self._folder / path).write_bytes(text)
        return output

    monkeypatch.setattr(copies.Copies, "_ruff", spoiling)


def test_a_fix_that_costs_a_module_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are made, and the plan says what was proven, and what was left out and why."""
    world.write("src/pkg/__init__.py", b"")
    world.write("src/pkg/a.py")
    world.write("src/pkg/b.py")
    world.write("src/pkg/user.py", b"from pkg.a import sys\nprint(sys)\n")
    world.write("never.py", b"import no_such_module\n")
    world.write("odd-name.py", b"print()\n")
    spoil(monkeypatch, "src/pkg/a.py", b"import sys\nsys.nothing\n")
    plan = world.plan()
    assert list(world.listing(plan)) == ["src/pkg/b.py"]
    assert plan.proof[0].startswith("Only imports from the standard library were removed")
    assert plan.proof[1:] == (
        "5 modules can be imported with the fixes as without, 1 neither way.",
        "Left out, because modules could no longer be imported: src/pkg/a.py.",
    )


def test_no_fix_is_blamed_for_an_import_that_failed_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that was too busy for it: what fails is tried again before its fix is left out."""
    failed = list[str]()
    imports = tree_copy.TreeCopy.imports

    def failing_once(
        self: tree_copy.TreeCopy, modules: list[str], alone: int, state: str
    ) -> dict[str, list[str] | None]:
        found = imports(self, modules, alone, state)
        if state == "after" and not failed:
            failed.append("a.py")
            assert found["a.py"] is not None
            found["a.py"] = None
        return found

    monkeypatch.setattr(tree_copy.TreeCopy, "imports", failing_once)
    world.write("a.py")
    world.write("b.py")
    plan = world.plan()
    assert failed
    assert list(world.listing(plan)) == ["a.py", "b.py"]
    assert plan.proof[1:] == ("2 modules can be imported with the fixes as without.",)


def test_every_module_counts_once(world: World) -> None:
    """One that loads only as part of another, and not by itself, fails by itself."""
    world.write("a.py")
    world.write("part.py", b"import sys\nassert 'whole' in sys.modules\n")
    world.write("whole.py", b"import part\nprint(part)\n")
    assert world.plan().proof[1] == "2 modules can be imported with the fixes as without, 1 neither way."


def test_a_folder_that_is_a_package_is_imported_as_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modules import each other by its name."""
    world.write("__init__.py", b"")
    world.write("a.py")
    world.write("b.py", b"from root.a import sys\nprint(sys)\n")
    spoil(monkeypatch, "a.py", b"import os\nos.nothing\n")
    assert fixed(world) == {}


def test_modules_that_misbehave_harm_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One leaves, one kills, one writes and starts programs: the rest is proven, the tree untouched."""
    world.write("a.py")
    world.write("leaves.py", b"import os\nos._exit(0)\n")
    world.write("ends.py", b"raise SystemExit(0)\n")
    world.write("kills.py", b"import os\nimport signal\nos.kill(0, signal.SIGKILL)\n")
    world.write("talks.py", b"import os\nos.write(1, b'[]')\nprint('[]')\n")
    world.write("writes.py", b"open('written', 'w').write('x')\n")
    world.write("starts.py", b"import subprocess\nsubprocess.Popen(['sleep', '600'])\n")
    world.write("sees.py", b"import os\nassert 'SECRET' not in os.environ\n")
    monkeypatch.setenv("SECRET", "x")
    before = world.content()
    plan = world.plan()
    assert list(world.listing(plan)) == ["a.py"]
    assert plan.proof[1] == "5 modules can be imported with the fixes as without, 3 neither way."
    assert world.content() == before


def test_a_fix_that_turns_the_users_own_check_red_is_left_out(world: World) -> None:
    """Found among many by halving; the command runs in the copy, with nothing of the worker's environment."""
    for number in range(9):
        world.write(f"m{number}.py")
    command = (
        'test -z "$HIBERNAUT_SECRET" && touch here && grep -q "import os" m3.py && grep -q "import os" m7.py'
    )
    before = world.content()
    plan = world.plan(verify=command)
    assert list(world.listing(plan)) == [f"m{n}.py" for n in range(9) if n not in (3, 7)]
    assert plan.proof[-2:] == (
        f"`{command}` passes before the fixes and after them.",
        f"Left out, because `{command}` failed with them: m3.py, m7.py.",
    )
    assert world.content() == before


def test_a_check_that_is_red_before_proves_nothing(world: World) -> None:
    """The plan says so."""
    world.write("a.py")
    plan = world.plan(verify="false")
    assert list(world.listing(plan)) == ["a.py"]
    assert plan.proof[-1] == "`false` fails without any fix, so it proves nothing."


def test_a_tree_too_large_to_copy_keeps_its_imports(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs them is unknown then; the other fixes are made."""
    monkeypatch.setattr("activities.auditor.fix.tree_copy.MAX_FILES", 1)
    world.write("a.py", b"import os\nprint(f'x')\n")
    world.write("b.py")
    plan = world.plan()
    assert world.store.get(world.listing(plan)["a.py"].after) == b"import os\nprint('x')\n"
    assert plan.files == 1
    assert plan.proof == ("No import was removed: the folder is too large to copy.",)


def test_digests_from_before_there_was_a_proof_stay_the_same(world: World) -> None:
    """An empty proof and no command leave no trace in a plan or a request."""
    assert "proof" not in world.plan([]).model_dump(mode="json")
    assert list(PlanRequest(root="/", findings=[]).model_dump(mode="json")) == ["root", "findings", "skip"]
