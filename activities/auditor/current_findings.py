"""The newest findings of each file, and which lines of source must never be shown.

The scan redacts secrets in the analysers' messages, but source lines may still hold them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from activities.auditor.records import FileFindings, Finding
from common.artifacts import ArtifactRef, ArtifactStore

_SECRET_RULES = frozenset({"S105", "S106", "S107", "hardcoded-container-credentials"})
# What may be the secret in a line: text in quotes, or after `=` or `:`.
_VALUE = re.compile(r"""["'`]([^"'`]{4,})["'`]|[=:]\s*([^\s"'`,;]{4,})""")


def is_secret(finding: Finding) -> bool:
    """Whether `finding` points at a secret, so that its line must never be shown."""
    return "secret" in finding.analyser or finding.rule in _SECRET_RULES


class CurrentFindings:
    """The newest findings of each file over a sequence of artifacts; iterating sorts by path.

    They stay in memory as lines of JSON: 300,000 findings take about 80 MB that way, and four times as much
    as records. `heartbeat`, an activity's heartbeat, is called now and then while they are read.
    """

    def __init__(
        self, store: ArtifactStore, refs: Iterable[ArtifactRef], heartbeat: Callable[[], object]
    ) -> None:
        self._heartbeat = heartbeat
        self._lines: dict[str, bytes] = {}
        self._secrets: dict[tuple[str, str], set[int]] = {}
        for ref in refs:
            heartbeat()
            for line in store.get(ref).splitlines():
                record = FileFindings.model_validate_json(line)
                self._lines[record.path] = line
                if lines := {number for f in record.findings if is_secret(f) for number in f.lines}:
                    self._secrets[record.path, record.sha256] = lines

    def __iter__(self) -> Iterator[FileFindings]:
        """Every file with findings."""
        return self._records(b'"analyser":')

    def lines(self) -> Iterator[bytes]:
        """Every file, including those without findings, as its stored line of JSON."""
        for number, path in enumerate(sorted(self._lines)):
            if number % 500 == 0:
                self._heartbeat()
            yield self._lines[path]

    def with_analyser(self, analyser: str) -> Iterator[FileFindings]:
        """Every file in which an analyser found something, sorted by path."""
        return self._records(f'"analyser":"{analyser}"'.encode())

    def _records(self, mark: bytes) -> Iterator[FileFindings]:
        """The records whose lines contain `mark`; parsing the others would be most of the work."""
        return (FileFindings.model_validate_json(line) for line in self.lines() if mark in line)

    def secret_lines(self, path: str, sha256: str, source: list[str]) -> set[int]:
        """The numbers of the lines of `source`, the file with that digest, that must not be shown.

        These are the reported lines, lines that repeat a value from one of them (scanners report a value once
        per file), and all lines of private keys (scanners report the first).
        """
        hidden = {n for n in self._secrets.get((path, sha256), set()) if n <= len(source)}
        values = {a or b for n in hidden for a, b in _VALUE.findall(source[n - 1])}
        in_key = False
        for number, line in enumerate(source, 1):
            in_key = in_key or ("-----BEGIN" in line and "PRIVATE KEY" in line)
            if in_key or any(value in line for value in values):
                hidden.add(number)
            in_key = in_key and "-----END" not in line
        return hidden


def top_folder(path: str) -> str:
    """The first folder of `path`; `.` for a file at the root."""
    return path.split("/", 1)[0] if "/" in path else "."


def printable(text: str, limit: int = 200) -> str:
    """`text` on one line, cut to `limit`; characters that a terminal or browser would act on are replaced."""
    text = "".join(char if char.isprintable() else "�" for char in text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"
