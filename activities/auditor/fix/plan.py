"""Plans fixes: lets ruff fix copies of the files with fixable findings, and records what would change.

The audited tree is only read. The copies are untrusted: separate processes read them, and a file that
crashes one is left out of the plan.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from threading import Event
from typing import NamedTuple

from temporalio import activity

from activities.auditor.current_findings import CurrentFindings
from activities.auditor.fix.diff import diff_file
from activities.auditor.fix.files import read_file
from activities.auditor.records import FileFindings, PlannedFix, PlanRequest, put_records
from activities.auditor.scan.analysers import RUFF_OPTIONS
from activities.auditor.scan.programs import AnalyserFailed, ProgramLimits, program, run
from activities.safe_files import LeftOut
from common.agents.agent import Progress
from common.agents.auditor import FilePreview, FixPlan
from common.artifacts import ArtifactStore
from common.digest import digest_bytes

BATCH = 100  # files per process: even with the longest paths, well under the limit of an argument list
PREVIEWED = 100
LARGEST = 64_000_000  # bytes; scans stop earlier
LIMITS = ProgramLimits()
BEAT_SECONDS = 1.0

# Prints which of the named files parse. Isolated, so that no copy can shadow a standard module.
PARSE = """
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


class _FixedFile(NamedTuple):
    path: str
    before: bytes
    after: bytes
    rules: dict[str, int]


class FixPlanner:
    """Plans fixes; the contents before and after, the listing and the diff go to `artifacts`."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    @activity.defn(name="plan_fixes")
    def plan_fixes(self, request: PlanRequest) -> FixPlan:
        """The safe fixes for all fixable findings. The same findings and files give the same plan.

        Left out are files that changed since the scan, fixes that would break a file that parsed, and files
        that ruff cannot handle. `rules` counts the findings that are gone when the fixed copy is linted.
        """
        skip = set(request.skip)
        findings = CurrentFindings(self._artifacts, request.findings, lambda: activity.heartbeat(Progress()))
        known = {file.path: file for file in findings if file.path not in skip and _fixable_rules(file)}
        fixable = {path: _fixable_rules(file) for path, file in known.items()}
        fixes, diffs = [], []
        done = 0

        def beat() -> None:
            activity.heartbeat(Progress(done=done, total=len(fixable)))

        with tempfile.TemporaryDirectory(prefix="hibernaut-fix-") as temporary:
            copies = _Copies(Path(temporary).resolve(), sorted(set().union(*fixable.values())), beat)
            paths = iter(fixable)
            while batch := list(islice(paths, BATCH)):
                contents = {path: data for path in batch if (data := _as_scanned(request.root, known[path]))}
                for fixed in copies.fix(contents):
                    diff = diff_file(fixed.path, fixed.before, fixed.after)
                    diffs.append(diff.text)
                    fixes.append(
                        PlannedFix(
                            path=fixed.path,
                            before=self._artifacts.put(fixed.before),
                            after=self._artifacts.put(fixed.after),
                            rules=fixed.rules,
                            lines_added=diff.lines_added,
                            lines_removed=diff.lines_removed,
                        )
                    )
                    beat()
                done += len(batch)
                beat()
        return FixPlan(
            root=request.root,
            files=len(fixes),
            fixes=sum(sum(fix.rules.values()) for fix in fixes),
            preview=tuple(FilePreview.model_validate(fix, from_attributes=True) for fix in fixes[:PREVIEWED]),
            listing=put_records(self._artifacts, fixes),
            diff=self._artifacts.put(b"".join(diffs)),
        )


class _Copies:
    """Copies in a temporary folder, at their relative paths, for ruff to fix.

    ruff runs with the options of the scan and so finds the same; what it may fix is narrower.
    """

    def __init__(self, folder: Path, rules: list[str], beat: Callable[[], None]) -> None:
        self._folder = folder
        self._beat = beat
        self._fixable = f"--fixable={','.join(rules)}"

    def fix(self, contents: dict[str, bytes]) -> Iterator[_FixedFile]:
        """The files of ``contents`` that ruff's safe fixes change, in the order given."""
        if not contents:
            return
        try:
            fixed = self._fix(contents)
        except (AnalyserFailed, ValueError, LookupError):  # it crashed, hung, or printed what cannot be read
            # One file is to blame: halve the batch until it is alone, and leave it out.
            items = list(contents.items())
            half = len(items) // 2
            if not half:
                activity.logger.warning("left out of the plan: ruff cannot handle %r", items[0][0])
                return
            yield from self.fix(dict(items[:half]))
            yield from self.fix(dict(items[half:]))
        else:
            yield from fixed

    def _fix(self, contents: dict[str, bytes]) -> list[_FixedFile]:
        for path, data in contents.items():
            copy = self._folder / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
        found = self._lint(contents)
        parsed = self._parsed(contents)
        self._ruff("--fix-only", "--no-unsafe-fixes", self._fixable, paths=contents)
        after = {path: (self._folder / path).read_bytes() for path in contents}
        changed = {path: data for path, data in after.items() if data != contents[path]}
        if not changed:
            return []
        remaining = self._lint(changed)
        broken = parsed - self._parsed(changed)
        return [
            _FixedFile(path=path, before=contents[path], after=data, rules=dict(sorted(gone.items())))
            for path, data in changed.items()
            if path not in broken and (gone := found[path] - remaining[path])
        ]

    def _lint(self, paths: Iterable[str]) -> dict[str, Counter[str]]:
        """The findings, counted by path and rule."""
        found: dict[str, Counter[str]] = {path: Counter() for path in paths}
        for finding in json.loads(self._ruff("--exit-zero", "--output-format=json", paths=found)):
            found[finding["filename"].removeprefix(f"{self._folder}/")][finding["code"]] += 1
        return found

    def _ruff(self, *options: str, paths: Iterable[str]) -> bytes:
        return self._run([program("ruff", "ruff"), "check", *RUFF_OPTIONS, "--quiet", *options], paths)

    def _parsed(self, paths: Iterable[str]) -> set[str]:
        output = self._run([sys.executable, "-I", "-W", "ignore", "-c", PARSE], paths)
        return {path.removeprefix(f"{self._folder}/") for path in json.loads(output)}

    def _run(self, command: list[str], paths: Iterable[str]) -> bytes:
        # Absolute paths: none can pass for an option, nor (`@x`) for a file of arguments.
        files = [self._folder / path for path in paths]
        seconds = LIMITS.seconds(sum(file.stat().st_size for file in files))
        stop = Event()
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(run, [*command, *map(str, files)], seconds, LIMITS.output_bytes, stop)
            try:
                while wait([job], BEAT_SECONDS).not_done:
                    self._beat()
            finally:
                stop.set()
        status, output, last_line = job.result()
        if status:
            raise AnalyserFailed(f"exit status {status}: {last_line}")
        return output


def _fixable_rules(file: FileFindings) -> set[str]:
    return {finding.rule for finding in file.findings if finding.analyser == "ruff" and finding.fixable}


def _as_scanned(root: str, file: FileFindings) -> bytes | None:
    """The content of ``file`` if it is still the one that was scanned."""
    try:
        data = read_file(root, file.path, LARGEST)
    except LeftOut:
        return None
    return data if digest_bytes(data) == file.sha256 else None
