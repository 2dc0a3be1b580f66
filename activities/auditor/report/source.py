"""The lines of code that a report shows: read again, checked by digest, without those that hold a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from activities.auditor.current_findings import CurrentFindings
from activities.auditor.fix.diff import diff_file
from activities.auditor.records import PlannedFix
from activities.safe_files import PathSkippedError, read_inside
from common.artifacts import ArtifactStore
from common.digest import digest_bytes

CONTEXT = 3
_MAX_BYTES = 64_000_000  # scans stop earlier
_WIDEST = 300
_HUNK = re.compile(r"^@@ (.*?) @@.*\n((?:(?!@@ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class SourceLine:
    """A line to show: its number, its text, and its mark: ` `, `+`, `-`, or `*` for a hidden one."""

    number: int
    text: str
    mark: str = " "


def read_lines(root: str, path: str, sha256: str) -> list[str] | None:
    """The lines of an audited file, or None if it is no longer the file that was scanned."""
    try:
        data = read_inside(Path(root), path, _MAX_BYTES)
    except PathSkippedError:
        return None
    return split_lines(data) if digest_bytes(data) == sha256 else None


def split_lines(data: bytes) -> list[str]:
    """The lines of a file as analysers count them, without their line endings."""
    lines = re.split(r"\r\n|\n|\r", data.decode("utf-8-sig", "replace"))
    return lines[:-1] if lines[-1] == "" else lines


def excerpts(source: list[str], wanted: Iterable[int], hidden: set[int]) -> Iterator[list[SourceLine]]:
    """The `wanted` lines, each with three lines of context on either side, as runs of adjacent lines.

    A file with hidden lines is shown without context: scanners find only the secrets they know, and others
    tend to be next to them.
    """
    more = 0 if hidden else CONTEXT
    around = {n for line in wanted for n in range(line - more, line + more + 1) if 1 <= n <= len(source)}
    run: list[SourceLine] = []
    for number in sorted(around):
        if run and number != run[-1].number + 1:
            yield run
            run = []
        run.append(_hidden(number) if number in hidden else SourceLine(number, _cut(source[number - 1])))
    if run:
        yield run


def fix_hunks(store: ArtifactStore, findings: CurrentFindings, fix: PlannedFix) -> Iterator[list[SourceLine]]:
    """The changes of a planned fix, hunk by hunk; in a file with hidden lines only the changed lines.

    A hunk that removes a hidden line shows nothing: its new lines may hold the same secret.
    """
    before = store.get(fix.before)
    source = split_lines(before)
    secrets = {source[n - 1].strip() for n in findings.secret_lines(fix.path, fix.before.sha256, source)} - {
        ""
    }
    text = diff_file(fix.path, before, store.get(fix.after)).text.decode("utf-8", "replace")
    for header, body in _HUNK.findall(text):
        first_old, first_new = (int(number) for number in re.findall(r"[-+](\d+)", header))
        hunk = list(_numbered(body, first_old, first_new))
        if any(secret in line.text for line in hunk if line.mark == "-" for secret in secrets):
            yield [_hidden(first_old)]
        else:
            yield [replace(line, text=_cut(line.text)) for line in hunk if line.mark != " " or not secrets]


def _numbered(body: str, old: int, new: int) -> Iterator[SourceLine]:
    for line in re.split(r"\r?\n", body):
        mark = line[:1]
        if mark in (" ", "-", "+"):
            yield SourceLine(new if mark == "+" else old, line[1:], mark)
            old += mark != "+"
            new += mark != "-"


def _hidden(number: int) -> SourceLine:
    return SourceLine(number, "hidden: a secret is here", "*")


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[:_WIDEST] + " …"
