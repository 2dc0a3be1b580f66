"""A copy of the audited tree in which fixes are tried out.

Importing runs the project's code, as its own tests do: in processes with limits, without the worker's
environment and, if the system allows it, without a network.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from threading import Event

from activities.auditor.fix import imports_program, uses_program
from activities.auditor.scan.programs import ENVIRONMENT, AnalyserFailed, ProgramLimits, attended, run
from activities.safe_files import PathSkippedError, open_folder, read_inside
from common.programs import scripts_folder

MAX_FILES, MAX_BYTES, MAX_FILE_BYTES = 200_000, 8_000_000_000, 512_000_000
IMPORT_SECONDS, CHECK_SECONDS = 1800.0, 900.0
_OUTPUT_BYTES = 256_000_000
_LIMITS = ProgramLimits()
# Version control, caches and environments.
_SKIPPED = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".tox", ".nox"})


class TreeCopy:
    """The copy of a tree. `heartbeat` is called about once a second during anything slow.

    Args:
        folder: an empty folder; the copy goes into a folder of the tree's own name in it.
        root: the audited tree.
    """

    def __init__(self, folder: Path, root: str, heartbeat: Callable[[], None]) -> None:
        self._outer, self._source, self._heartbeat = folder, Path(root), heartbeat
        self.root = folder / "tree" / (self._source.name or "root")
        self.root.mkdir(parents=True)
        self.files: list[str] = []

    def fill(self) -> bool:
        """Copy the tree, without links and special files; False if it is too large for that."""
        size = 0
        for path in _walk(self._source):
            self._heartbeat()
            try:
                data = read_inside(self._source, path, MAX_FILE_BYTES)
            except PathSkippedError:
                continue
            size += len(data)
            if len(self.files) >= MAX_FILES or size > MAX_BYTES:
                self.files = []
                shutil.rmtree(self.root)
                self.root.mkdir()
                return False
            self.write(path, data)
            with suppress(OSError):
                (self.root / path).chmod(
                    stat.S_IMODE((self._source / path).lstat().st_mode) | stat.S_IRUSR | stat.S_IWUSR
                )
            self.files.append(path)
        return True

    def write(self, path: str, data: bytes) -> None:
        """Give a file of the copy this content."""
        copy = self.root / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)

    def needed_imports(self, fixable: Iterable[str]) -> dict[str, list[int]]:
        """The first lines of the import statements that may be needed, by path.

        Raises:
            AnalyserFailed: they cannot be determined.
        """
        size = sum((self.root / path).stat().st_size for path in self.files)
        request = {
            "folder": str(self.root),
            "fixable": sorted(set(fixable) & set(self.files)),
            "files": self.files,
        }
        output = self._python(uses_program.__file__, request, _LIMITS.seconds(size))
        return {path: list(lines) for path, lines in json.loads(output).items()}

    def imports(self, modules: list[str], alone: int, state: str) -> dict[str, list[str] | None]:
        """For each module tried, by its file: the files loaded with it, None if its import fails.

        The first `alone` are imported in processes of their own. The others are left out if another's import
        loaded them, or if there was no time for them. `state` separates the bytecode of different contents of
        the copy.
        """
        paths = [self.root / "src", self.root]
        prefix: tuple[str, ...] = ()
        if (self.root / "__init__.py").exists():
            paths, prefix = [self.root.parent], (self.root.name,)
        request = {
            "folder": str(self.root),
            "paths": [str(path) for path in paths],
            "modules": [(_dotted(file, prefix), file) for file in modules],
            "alone": alone,
            "seconds": IMPORT_SECONDS,
        }
        bytecode = self._outer / f"bytecode-{state}"
        shutil.rmtree(bytecode, ignore_errors=True)
        options = ("-X", f"pycache_prefix={bytecode}")
        output = self._python(
            imports_program.__file__, request, IMPORT_SECONDS + 60, *options, prefix=sandbox_prefix()
        )
        return dict(map(json.loads, output.splitlines()))

    def passes(self, command: str) -> bool:
        """Whether a shell command, run in the copy, succeeds in time."""
        home = self._outer / "home"
        home.mkdir(exist_ok=True)
        paths = [str(scripts_folder()), ENVIRONMENT["PATH"]]
        environment = ENVIRONMENT | {
            "HOME": str(home),
            "PATH": ":".join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            status, _, _ = attended(
                self._heartbeat,
                lambda stop: run(
                    ["/bin/sh", "-c", command],
                    CHECK_SECONDS,
                    _OUTPUT_BYTES,
                    stop,
                    cwd=self.root,
                    environment=environment,
                ),
            )
        except AnalyserFailed:
            return False
        return status == 0

    def _python(
        self,
        script: str,
        request: Mapping[str, object],
        seconds: float,
        *options: str,
        prefix: tuple[str, ...] = (),
    ) -> bytes:
        file = self._outer / "request.json"
        file.write_text(json.dumps(request))
        command = [*prefix, sys.executable, "-I", "-W", "ignore", *options, script, str(file)]
        status, output, last_line = attended(
            self._heartbeat, lambda stop: run(command, seconds, _OUTPUT_BYTES, stop, cwd=self.root)
        )
        if status:
            raise AnalyserFailed(f"exit status {status}: {last_line}")
        return output


@cache
def sandbox_prefix() -> tuple[str, ...]:
    """A command prefix that cuts off the network and ends stray processes; empty where unsupported."""
    command = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")
    try:
        status, _, _ = run([*command, "true"], 10.0, 1000, Event())
    except Exception:
        return ()
    return command if status == 0 else ()


def _dotted(file: str, prefix: tuple[str, ...]) -> str:
    """The name to import a file by; empty if it has none and must be loaded by its path."""
    pure = PurePosixPath(file)
    parts = pure.parts[:-1] if pure.stem == "__init__" else (*pure.parts[:-1], pure.stem)
    if not prefix and parts[:1] == ("src",):
        parts = parts[1:]
    parts = (*prefix, *parts)
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else ""


def _walk(root: Path) -> Iterator[str]:
    """The paths of the regular files, sorted folder by folder."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            descriptor = open_folder(root, folder)
        except PathSkippedError:
            continue
        try:
            with os.scandir(descriptor) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
                for entry in found:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in _SKIPPED:
                            folders.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        yield path
        except OSError:
            continue
        finally:
            os.close(descriptor)
