"""The findings that hold, of each file the newest, and which lines of code must be shown to nobody.

Analysers' messages quote no secret: the scan strikes that out. Source lines are another matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from activities.auditor.records import FileFindings, Finding
from common.artifacts import ArtifactRef, ArtifactStore

_SECRET_RULES = frozenset({"S105", "S106", "S107", "hardcoded-container-credentials"})
# What may be the secret of a line: what stands in quotes, or after `=` or `:`.
_VALUE = re.compile(r"""["'`]([^"'`]{4,})["'`]|[=:]\s*([^\s"'`,;]{4,})""")


def is_secret(finding: Finding) -> bool:
    """Does `finding` point at a secret? Then its line is shown to nobody."""
    return "secret" in finding.analyser or finding.rule in _SECRET_RULES


class CurrentFindings:
    """The newest findings of each file over a sequence of artifacts; iterating sorts by path.

    They stay in memory as lines of JSON: 300,000 findings take some 80 MB so, and four times that as records.
    `beat` is called every so often while they are read: an activity's heartbeat.
    """

    def __init__(self, store: ArtifactStore, refs: Iterable[ArtifactRef], beat: Callable[[], object]) -> None:
        self._beat = beat
        self._lines: dict[str, bytes] = {}
        self._secrets: dict[tuple[str, str], set[int]] = {}
        for ref in refs:
            beat()
            for line in store.get(ref).splitlines():
                record = FileFindings.model_validate_json(line)
                self._lines[record.path] = line
                if lines := {number for f in record.findings if is_secret(f) for number in _span(f)}:
                    self._secrets[record.path, record.sha256] = lines

    def __iter__(self) -> Iterator[FileFindings]:
        """Every file, also those without findings."""
        return self._records(b"")

    def of_analyser(self, analyser: str) -> Iterator[tuple[str, Finding]]:
        """The findings of one analyser, each with its path, in the order of paths."""
        for record in self._records(f'"analyser":"{analyser}"'.encode()):
            yield from ((record.path, finding) for finding in record.findings if finding.analyser == analyser)

    def _records(self, mark: bytes) -> Iterator[FileFindings]:
        """The records whose lines contain `mark`; the others are not parsed, which is most of the work."""
        for number, path in enumerate(sorted(self._lines)):
            if number % 500 == 0:
                self._beat()
            if mark in self._lines[path]:
                yield FileFindings.model_validate_json(self._lines[path])

    def secret_lines(self, path: str, sha256: str, source: list[str]) -> set[int]:
        """The numbers of the lines of `source` (that file, with that digest) which must not be shown.

        Besides the lines found: every line that repeats a value of theirs (scanners report a value once a
        file), and whole blocks of private keys (scanners report their first line).
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
    """`text` on one line: what a terminal or a browser would obey or reorder replaced, cut to `limit`."""
    text = "".join(char if char.isprintable() else "�" for char in text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _span(finding: Finding) -> range:
    return range(finding.line, max(finding.line, finding.end_line or 0) + 1)
