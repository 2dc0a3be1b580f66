"""A plan as people see it: values in words, tables as tables, its diff as a diff."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue
from temporalio.exceptions import ApplicationError

from common.artifacts import ArtifactRef, ArtifactStore

# What fits on a page; the artifact has the whole diff.
DIFF_LINES = 1500
DIFF_BYTES = 16_000_000
LINE_LENGTH = 400


@dataclass(frozen=True)
class DiffLine:
    """A line of a diff; its kind is `file`, `hunk`, `added`, `removed` or `same`."""

    kind: str
    text: str


@dataclass(frozen=True)
class Diff:
    """The beginning of a unified diff and how many lines are left out, or why it is `missing`."""

    lines: list[DiffLine] = field(default_factory=list)
    left_out: int = 0
    missing: str = ""


@dataclass(frozen=True)
class ShownPlan:
    """A plan for people: its fields, and its diff if it has one."""

    fields: dict[str, JsonValue]
    diff: Diff | None


def show_plan(plan: Mapping[str, Any], artifacts: ArtifactStore) -> ShownPlan:
    """The plan, with its diff fetched from the artifacts."""
    ref = ref_of(plan.get("diff"))
    fields = {name: value for name, value in plan.items() if not (ref and name == "diff")}
    # Bare references to artifacts come last.
    ordered = dict(sorted(fields.items(), key=lambda pair: ref_of(pair[1]) is not None))
    return ShownPlan(ordered, read_diff(ref, artifacts) if ref else None)


def ref_of(value: object) -> ArtifactRef | None:
    """``value`` as a reference to an artifact; None if it is not one."""
    if not isinstance(value, dict) or set(value) != {"sha256", "size"}:
        return None
    digest, size = value["sha256"], value["size"]
    # The digest becomes part of a path.
    if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) and isinstance(size, int):
        return ArtifactRef(sha256=digest, size=size)
    return None


def read_diff(ref: ArtifactRef, artifacts: ArtifactStore) -> Diff:
    """The diff that ``ref`` names, cut to what fits on a page."""
    if ref.size > DIFF_BYTES:
        return Diff(missing=f"The diff has {ref.size:,} bytes, too many to show here.")
    try:
        text = artifacts.get(ref).decode(errors="replace")
    except (ApplicationError, OSError):
        return Diff(missing="The diff is not where the gateway looks for it, or it was changed on disk.")
    lines = text.splitlines()
    shown = [_diff_line(line) for line in lines[:DIFF_LINES]]
    return Diff(shown, len(lines) - len(shown))


def label_of(name: str) -> str:
    """A field's name as a label."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def shape_of(value: object) -> str:
    """How to draw a value: `artifact`, `fields`, `table`, `list`, or `plain`."""
    if ref_of(value):
        return "artifact"
    if isinstance(value, dict):
        return "fields" if value else "plain"
    if isinstance(value, list | tuple) and value:
        if all(isinstance(each, dict) and set(each) == set(value[0]) for each in value):
            return "table"
        return "list"
    return "plain"


def plain(value: object) -> str:
    """A small value in words."""
    if value is None or value in ([], {}, ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text


def _diff_line(line: str) -> DiffLine:
    text = line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…"
    if line.startswith(("+++", "---", "diff ")):
        return DiffLine("file", text)
    kinds = {"@": "hunk", "+": "added", "-": "removed"}
    return DiffLine(kinds.get(line[:1], "same"), text)
