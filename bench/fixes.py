"""Whether the code auditor's fixes cost a module: those of every package that is installed here.

Each package is copied, its fixes are planned as the auditor plans them, and the copy is fixed. A module is
lost if it could be imported from the copy before and cannot be afterwards, also in fresh processes; if those
disagree, it is unclear. The check shares nothing with the auditor's own proof. The largest packages come
last.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path, PurePath
from threading import Event
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from activities.auditor.fix.scratch import apart  # noqa: E402 -- the checkout is no installed package
from activities.auditor.scan.programs import ENVIRONMENT  # noqa: E402
from tests.support.auditor.fix_world import World, authorized  # noqa: E402

MODULE_SECONDS, PACKAGE_SECONDS = 60.0, 900.0
AGAIN = 2
# Imports the given modules one after another, and reports for each why it failed, or an empty string.
PROBE = """
import importlib, json, os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8_000_000_000,) * 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (16_000_000,) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
tree, names = sys.argv[1], sys.argv[2:]
said, null = os.dup(1), os.open(os.devnull, os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(null, descriptor)
sys.path.insert(0, tree)
sys.argv = [""]
for name in names:
    why = ""
    try:
        module = importlib.import_module(name)
        file = getattr(module, "__file__", None) or ""
        why = "" if file.startswith(tree) else f"is not the copy's: {file}"
    except BaseException as error:
        why = f"{type(error).__name__}: {error}"
    os.write(said, json.dumps([name, why[:300]]).encode() + b"\\n")
os._exit(0)
"""


class Package(NamedTuple):
    """An installed package, with its files as paths below `site-packages`."""

    name: str
    site: Path
    files: list[str]

    @property
    def sources(self) -> list[str]:
        """Its Python files."""
        return [file for file in self.files if file.endswith((".py", ".pyi"))]

    @property
    def modules(self) -> list[str]:
        """Its importable modules, by dotted name."""
        paths = [PurePath(file) for file in self.files if file.endswith(".py")]
        parts = [
            path.parent.parts if path.stem == "__init__" else path.with_suffix("").parts for path in paths
        ]
        return sorted(".".join(each) for each in parts if each and all(part.isidentifier() for part in each))


def installed(only: Sequence[str]) -> list[Package]:
    """The packages of this environment, or those of them that are named, the largest last."""
    found = []
    for each in distributions():
        if only and each.name not in only:
            continue
        files = [file.as_posix() for file in each.files or () if ".." not in file.parts]
        files = [file for file in files if ".dist-info/" not in file]
        found.append(Package(each.name, Path(str(each.locate_file(""))), files))
    return sorted((each for each in found if each.modules), key=lambda each: (len(each.files), each.name))


def importable(tree: Path, modules: Sequence[str], alone: bool = False) -> dict[str, str]:
    """Why each module cannot be imported; empty if it can. Modules that time ran out for are left out."""
    found: dict[str, str] = {}
    end = time.monotonic() + PACKAGE_SECONDS
    while len(found) < len(modules) and time.monotonic() < end:
        left = list(modules[len(found) :])
        said = dict(_said(tree, left[:1] if alone else left, end))
        found |= said
        if len(said) < len(left) and not (alone and said) and time.monotonic() < end:
            found[left[len(said)]] = "hung or crashed"
    return found


def _said(tree: Path, modules: Sequence[str], end: float) -> Iterator[tuple[str, str]]:
    """Yield what one process reports before it ends, hangs or runs out of time."""
    command = [*apart(), sys.executable, "-I", "-W", "ignore", "-c", PROBE]
    process = subprocess.Popen(
        [*command, str(tree), *modules],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=tree,
        env=ENVIRONMENT | {"TMPDIR": str(tree.parent)},
        start_new_session=True,
    )
    assert process.stdout
    kept = b""
    try:
        while select.select([process.stdout], [], [], max(0, min(MODULE_SECONDS, end - time.monotonic())))[0]:
            part = os.read(process.stdout.fileno(), 1_000_000)
            *lines, kept = (kept + part).split(b"\n")
            yield from map(json.loads, lines)
            if not part:
                return
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def fixed(package: Package, folder: Path) -> dict[str, Any]:
    """The outcome of fixing one package."""
    world, before = World(folder), folder / "before"
    for file in package.files:
        source = package.site / file
        if source.is_file():
            for tree in (world.root, before):
                (tree / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, tree / file)  # with its mtime, or its bytecode would be stale
    could = importable(before, package.modules)
    plan = world.plan(world.scan(package.sources))
    figures: dict[str, Any] = {
        "modules": sum(not why for why in could.values()),
        "untried": len(package.modules) - len(could),
        "fixes": plan.fixes,
        "files": world.apply(plan, authorized(plan)).written if plan.files else 0,
        "left_out": [words for words in plan.proof if words.startswith("Left out")],
        "lost": {},
        "unclear": {},
    }
    if not figures["files"]:
        return figures
    can = importable(world.root, package.modules)
    # Also alone: a module imported earlier may have imported what this one lacks.
    changed = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in world.listing(plan)
    }
    can |= importable(world.root, [name for name in package.modules if name in changed], alone=True)
    for name in [name for name in could if bool(could[name]) != bool(can.get(name, "no time"))]:
        then, now = (
            [importable(tree, [name]).get(name, "no time") for _ in range(AGAIN)]
            for tree in (before, world.root)
        )
        if not any(then) and all(now):
            figures["lost"][name] = now[0]
        elif len({bool(why) for why in (*then, *now)}) > 1:
            figures["unclear"][name] = " | ".join([could[name], can.get(name, ""), *then, *now])
    return figures


def bench(only: Sequence[str], limit: float, quiet: bool, into: Path | None = None) -> dict[str, Any]:
    """The figures of all packages together; those already in `into` are reused."""
    packages, began, told_to_end = installed(only), time.monotonic(), Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_end.set())
    known = _known(into) if into else {}
    done = list[dict[str, Any]]()
    for package in packages:
        if package.name not in known:
            if told_to_end.is_set() or time.monotonic() - began > limit:
                continue
            known[package.name] = _figures(package)
            if into:
                with into.open("a") as file:
                    file.write(json.dumps(known[package.name]) + "\n")
        done.append(known[package.name])
        if not quiet and (told := _told(done[-1])):
            print(package.name, json.dumps(told), flush=True)
    reached = {each["name"] for each in done}
    return {
        "packages": len(done),
        "packages_left_out": [each.name for each in packages if each.name not in reached],
        **{name: sum(each[name] for each in done) for name in ("modules", "untried", "fixes", "files")},
        "left_out": sum(bool(each["left_out"]) for each in done),
        **{name: sum(len(each[name]) for each in done) for name in ("lost", "unclear")},
        "named": {each["name"]: told for each in done if (told := _told(each))},
        "seconds": round(sum(each["seconds"] for each in done)),
    }


def _known(file: Path) -> dict[str, dict[str, Any]]:
    """The figures written by an earlier run, by package."""
    lines = map(json.loads, file.read_text().splitlines() if file.exists() else ())
    return {figures["name"]: figures for figures in lines}


def _figures(package: Package) -> dict[str, Any]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hibernaut-bench-") as folder:
        figures = fixed(package, Path(folder).resolve())
    return {"name": package.name, **figures, "seconds": round(time.monotonic() - began, 1)}


def _told(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in ("left_out", "lost", "unclear", "untried") if figures[name]}


def main() -> int:
    """Run it; the exit code is 1 if a module was lost. SIGTERM ends it after the current package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="packages, in place of all")
    parser.add_argument("--limit", type=float, default=7200, help="begin no package after so many seconds")
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="keep each package's figures; go on from it"
    )
    parser.add_argument("--json", action="store_true", help="nothing but the line of JSON")
    options = parser.parse_args()
    report = bench(options.only, options.limit, options.json, options.into)
    print(json.dumps(report))
    return 1 if report["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
