"""Runs the analysers over a batch of files and gathers what they find, file by file.

A file that makes an analyser crash or hang loses only the findings of that analyser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from importlib.metadata import version
from pathlib import Path
from threading import Event

from activities.auditor.current_findings import is_secret
from activities.auditor.records import FAILED_RULE, Finding, Severity
from activities.auditor.scan.analysers import ANALYSERS, SECRETS, Analyser
from activities.auditor.scan.programs import AnalyserFailed, ProgramLimits, run
from common.digest import digest_bytes

_SIDE_BY_SIDE = 2
_HEARTBEAT_SECONDS = 1.0
# A failed batch is retried in this many pieces: eight find the culprit among fifty in two rounds.
_PIECES = 8
_MESSAGE_CHARACTERS = 500
_QUOTABLE = re.compile(r"[^\s`'\"(){}\[\],;:]{6,}")


def versions(analysers: Sequence[Analyser] = ANALYSERS) -> dict[str, str]:
    """The installed version of each analyser, by its name."""
    return {analyser.name: version(analyser.package) for analyser in analysers}


def analyse(
    folder: Path,
    languages: Mapping[str, str],
    heartbeat: Callable[[], None],
    *,
    analysers: Sequence[Analyser] = ANALYSERS,
    limits: ProgramLimits | None = None,
) -> dict[str, list[Finding]]:
    """What the analysers find in the files of `languages` (path below `folder` -> language), by path.

    `folder` is trusted: it holds only those files, and nobody else can change them. `heartbeat` is called
    about once a second, in this thread; whatever it raises stops the analysers and propagates.

    Raises:
        ApplicationError: type AnalyserMissing.
    """
    limits = limits or ProgramLimits()
    found: dict[str, list[Finding]] = {path: [] for path in languages}
    stop = Event()
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        try:
            jobs = [
                pool.submit(_findings, analyser, folder, paths, limits, stop)
                for analyser in analysers
                for paths in _together(
                    analyser, folder, [path for path in languages if takes(analyser, languages[path])]
                )
            ]
            while wait(jobs, _HEARTBEAT_SECONDS).not_done:
                heartbeat()
            for job in jobs:
                for path, finding in job.result():
                    found[path].append(finding)
        finally:
            stop.set()
    for path, findings in found.items():
        findings[:] = _marked(folder / path, _without_secrets(folder / path, findings))
        findings.sort(key=lambda one: (one.line, one.column, one.analyser, one.rule, one.message))
    return found


def takes(analyser: Analyser, language: str) -> bool:
    """Whether an analyser checks files of a language."""
    return analyser.languages is None or language in analyser.languages


def _together(analyser: Analyser, folder: Path, paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """`paths` in groups, one for each run of the analyser."""
    alone = {path for path in paths if analyser.alone and analyser.alone in (folder / path).read_bytes()}
    if others := [path for path in paths if path not in alone]:
        yield others
    yield from ([path] for path in paths if path in alone)


def _findings(
    analyser: Analyser, folder: Path, paths: Sequence[str], limits: ProgramLimits, stop: Event
) -> list[tuple[str, Finding]]:
    try:
        return _run(analyser, folder, paths, limits, stop)
    except AnalyserFailed as failure:
        if len(paths) == 1:
            # Findings must not depend on where this machine keeps the files.
            reason = str(failure).replace(f"{folder}/", "").rstrip(": ")
            return [(paths[0], _failed(analyser, reason))]
    size = -(-len(paths) // _PIECES)
    pieces = (paths[first : first + size] for first in range(0, len(paths), size))
    return [found for piece in pieces for found in _findings(analyser, folder, piece, limits, stop)]


def _run(
    analyser: Analyser, folder: Path, paths: Sequence[str], limits: ProgramLimits, stop: Event
) -> list[tuple[str, Finding]]:
    size = sum((folder / path).stat().st_size for path in paths)
    argv = analyser.call(folder, paths)
    status, output, last_line = run(argv, limits.seconds(size), limits.output_bytes, stop)
    if status not in analyser.good_exits:
        raise AnalyserFailed(f"exit status {status}: {last_line}")
    try:
        found = list(_tidied(analyser.read(output), folder, paths))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise AnalyserFailed(f"output that cannot be read: {last_line}") from None
    return list(_in_characters(found, folder)) if analyser.counts_bytes else found


def _in_characters(found: Iterable[tuple[str, Finding]], folder: Path) -> Iterator[tuple[str, Finding]]:
    """The findings with columns that count characters instead of bytes."""
    lines: dict[str, list[bytes]] = {}
    for path, finding in found:
        if path not in lines:
            lines[path] = (folder / path).read_bytes().split(b"\n")
        line = lines[path][finding.line - 1] if finding.line <= len(lines[path]) else b""
        before = line[: finding.column - 1].decode("utf-8", "replace")
        yield path, finding.model_copy(update={"column": len(before) + 1}) if line else finding


def _tidied(
    found: Iterator[tuple[str, Finding]], folder: Path, paths: Sequence[str]
) -> Iterator[tuple[str, Finding]]:
    asked = set(paths)
    for printed, finding in found:
        path = printed.removeprefix(f"{folder}/").removeprefix("./")
        if path not in asked:
            raise ValueError(f"{path} was not among the files asked about")
        # One line, without lone surrogates, which JSON cannot hold.
        message = " ".join(finding.message.encode(errors="replace").decode().split())
        yield path, finding.model_copy(update={"message": message[:_MESSAGE_CHARACTERS]})


def _without_secrets(path: Path, findings: list[Finding]) -> list[Finding]:
    """The findings, their messages redacted wherever they quote from a line that holds a secret."""
    secret_lines = {finding.line for finding in findings if _is_secret(finding)}
    if not secret_lines:
        return findings
    with open(path, encoding="utf-8", errors="replace") as file:
        text = "".join(line for number, line in enumerate(file, start=1) if number in secret_lines)

    def struck(word: re.Match[str]) -> str:
        return "…" if word[0] in text else word[0]

    return [
        finding
        if _is_secret(finding)
        else finding.model_copy(update={"message": _QUOTABLE.sub(struck, finding.message)})
        for finding in findings
    ]


def _marked(path: Path, findings: list[Finding]) -> list[Finding]:
    """The findings, each with a digest of its line, except where the line may hold a secret."""
    if not findings:
        return findings
    secret_lines = {number for finding in findings if is_secret(finding) for number in finding.lines}
    lines = path.read_bytes().split(b"\n")
    return [
        finding
        if finding.line in secret_lines or finding.line > len(lines) or finding.rule == FAILED_RULE
        else finding.model_copy(update={"mark": digest_bytes(lines[finding.line - 1].strip())[:16]})
        for finding in findings
    ]


def _is_secret(finding: Finding) -> bool:
    return finding.analyser == SECRETS and finding.rule != FAILED_RULE


def _failed(analyser: Analyser, reason: str) -> Finding:
    return Finding(
        analyser=analyser.name,
        rule=FAILED_RULE,
        severity=Severity.NOTE,
        message=f"{analyser.name} could not check this file: {reason}",
    )
