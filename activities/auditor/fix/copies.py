"""Applies ruff's safe fixes to copies of files, except to imports that something may need."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from temporalio import activity

from activities.auditor.scan.analysers import RUFF_OPTIONS
from activities.auditor.scan.programs import AnalyserFailed, ProgramLimits, attended, program, run

LIMITS = ProgramLimits()
# The rules whose fixes remove imports.
IMPORT_RULES = frozenset({"F401", "F811"})
# Appended to an import that has to stay, while ruff runs.
_MARK = b"  # noqa: F401,F811 # kept"

# Prints which of the named files parse. Isolated, so that no copy can shadow a standard module.
_PARSE = """
import json, sys
parsed = []
for path in sys.argv[1:]:
    try:
        with open(path, "rb") as file:
            compile(file.read(), path, "exec", dont_inherit=True)
    except Exception:
        continue
    parsed.append(path)
print(json.dumps(parsed))
"""


class FixedFile(NamedTuple):
    """A file that ruff changed: both contents, and how many findings of each rule are gone."""

    path: str
    before: bytes
    after: bytes
    rules: dict[str, int]


class Copies:
    """Copies of files below a folder, for ruff to fix in place.

    ruff runs with the options of the scan and so finds the same, but it may fix only part of that.

    Args:
        folder: where the copies are.
        rules: what may be fixed.
        needed: the first lines of imports to keep, by path.
        ignores: rules that the project ignores, by file pattern.
        heartbeat: called about once a second.
    """

    def __init__(
        self,
        folder: Path,
        rules: Iterable[str],
        needed: Mapping[str, list[int]],
        ignores: Mapping[str, list[str]],
        heartbeat: Callable[[], None],
    ) -> None:
        self._folder, self._needed, self._heartbeat = folder, needed, heartbeat
        table = ",".join(f"{json.dumps(pattern)}={json.dumps(names)}" for pattern, names in ignores.items())
        self._fixing = [
            *("--fix-only", "--no-unsafe-fixes", f"--fixable={','.join(sorted(rules))}"),
            f"--config=lint.per-file-ignores={{{table}}}",
        ]

    def fix(self, contents: Mapping[str, bytes]) -> Iterator[FixedFile]:
        """The files of ``contents`` that ruff's safe fixes change, in the order given, fixed in place."""
        if not contents:
            return
        try:
            fixed = self._fix(contents)
        except (AnalyserFailed, ValueError, LookupError):  # it crashed, hung, or printed what cannot be read
            for path, data in contents.items():
                self._write(path, data)
            # Find the file that is to blame by halving the batch, and leave it out.
            items = list(contents.items())
            half = len(items) // 2
            if not half:
                activity.logger.warning("left out of the plan: ruff cannot handle %r", items[0][0])
                return
            yield from self.fix(dict(items[:half]))
            yield from self.fix(dict(items[half:]))
        else:
            yield from fixed

    def _fix(self, contents: Mapping[str, bytes]) -> list[FixedFile]:
        marked = {
            path: marks
            for path, data in contents.items()
            if (marks := _marked(data, self._needed.get(path, ()))) is not None
        }
        if not marked:
            return []  # without a path, ruff would check its whole working folder
        for path, data in marked.items():
            self._write(path, data)
        found = self._lint(marked)
        parsed = self._parsed(marked)
        self._ruff(*self._fixing, paths=marked)
        after = {path: (self._folder / path).read_bytes() for path in marked}
        changed = {path: data for path, data in after.items() if data != marked[path]}
        remaining = self._lint(changed) if changed else {}
        broken = parsed - self._parsed(changed) if changed else parsed
        fixed = []
        for path, data in contents.items():
            gone = found[path] - remaining[path] if path in changed and path not in broken else None
            new = changed[path].replace(_MARK, b"") if gone else data
            self._write(path, new)
            if gone:
                fixed.append(FixedFile(path, data, new, dict(sorted(gone.items()))))
        return fixed

    def _write(self, path: str, data: bytes) -> None:
        copy = self._folder / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)

    def _lint(self, paths: Iterable[str]) -> dict[str, Counter[str]]:
        """The findings, counted by path and rule."""
        found: dict[str, Counter[str]] = {path: Counter() for path in paths}
        for finding in json.loads(self._ruff("--exit-zero", "--output-format=json", paths=found)):
            found[finding["filename"].removeprefix(f"{self._folder}/")][finding["code"]] += 1
        return found

    def _ruff(self, *options: str, paths: Iterable[str]) -> bytes:
        return self._run([program("ruff", "ruff"), "check", *RUFF_OPTIONS, "--quiet", *options], paths)

    def _parsed(self, paths: Iterable[str]) -> set[str]:
        output = self._run([sys.executable, "-I", "-W", "ignore", "-c", _PARSE], paths)
        return {path.removeprefix(f"{self._folder}/") for path in json.loads(output)}

    def _run(self, command: list[str], paths: Iterable[str]) -> bytes:
        # Absolute paths: none can pass for an option or (`@x`) for a file of arguments.
        files = [self._folder / path for path in paths]
        argv = [*command, *map(str, files)]
        seconds = LIMITS.seconds(sum(file.stat().st_size for file in files))
        status, output, last_line = attended(
            self._heartbeat, lambda stop: run(argv, seconds, LIMITS.output_bytes, stop)
        )
        if status:
            raise AnalyserFailed(f"exit status {status}: {last_line}")
        return output


def _marked(data: bytes, lines: Iterable[int]) -> bytes | None:
    """The content with a mark after these lines; None if a line takes none: then leave the file alone."""
    if not lines:
        return data
    rows = data.split(b"\n")
    if _MARK in data or b"\r" in data.replace(b"\r\n", b"\n"):
        return None
    for number in lines:
        row = rows[number - 1].removesuffix(b"\r")
        if row.endswith(b"\\") or b"noqa" in row.lower():
            return None
        rows[number - 1] = row + _MARK + rows[number - 1][len(row) :]
    return b"\n".join(rows)
