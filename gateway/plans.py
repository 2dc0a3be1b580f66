"""A plan as a person wants to see it, and a form's fields as edits of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue
from temporalio.exceptions import ApplicationError

from common.approval import ApprovalRequest
from common.artifacts import ArtifactRef, ArtifactStore

# What a page can hold and a person can read; the whole diff is the plan's artifact.
DIFF_LINES = 1500
DIFF_BYTES = 16_000_000
LINE_LENGTH = 400
EDIT = "edit."


class EditError(ValueError):
    """A form's field that cannot be read as what it stands for; the message is for a person."""


@dataclass(frozen=True)
class DiffLine:
    """A line of a diff: `file`, `hunk`, `added`, `removed` or `same`."""

    kind: str
    text: str


@dataclass(frozen=True)
class Diff:
    """The beginning of a unified diff, and how many lines are left out; or why there is none to show."""

    lines: list[DiffLine] = field(default_factory=list)
    left_out: int = 0
    missing: str = ""


@dataclass(frozen=True)
class EditField:
    """A field of the plan that may be changed, as a form's: text, number, choice, lines, list, or json."""

    name: str
    label: str
    kind: str
    value: str


@dataclass(frozen=True)
class ShownPlan:
    """A plan for people: its own fields, and its diff where it has one."""

    fields: dict[str, JsonValue]
    diff: Diff | None


def show_plan(plan: Mapping[str, Any], artifacts: ArtifactStore) -> ShownPlan:
    """The plan, with what lies among the artifacts fetched where people want to read it."""
    ref = ref_of(plan.get("diff"))
    fields = {name: value for name, value in plan.items() if not (ref and name == "diff")}
    # What a person reads comes first; bare references to bytes last.
    ordered = dict(sorted(fields.items(), key=lambda pair: ref_of(pair[1]) is not None))
    return ShownPlan(ordered, read_diff(ref, artifacts) if ref else None)


def ref_of(value: object) -> ArtifactRef | None:
    """The reference to an artifact that ``value`` is; None where it is none."""
    if not isinstance(value, dict) or set(value) != {"sha256", "size"}:
        return None
    digest, size = value["sha256"], value["size"]
    # The digest becomes a path.
    if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) and isinstance(size, int):
        return ArtifactRef(sha256=digest, size=size)
    return None


def read_diff(ref: ArtifactRef, artifacts: ArtifactStore) -> Diff:
    """The diff that ``ref`` names, cut to what a page can hold."""
    if ref.size > DIFF_BYTES:
        return Diff(missing=f"The diff has {ref.size:,} bytes, too many to show here.")
    try:
        text = artifacts.get(ref).decode(errors="replace")
    except (ApplicationError, OSError):
        return Diff(missing="The diff is not where the gateway looks for it, or it was changed on disk.")
    lines = text.splitlines()
    shown = [_diff_line(line) for line in lines[:DIFF_LINES]]
    return Diff(shown, len(lines) - len(shown))


def edit_fields(request: ApprovalRequest) -> list[EditField]:
    """The form's fields for what the policy lets an approver change."""
    return [
        EditField(name, label_of(name), kind, text)
        for name in request.policy.editable
        if name in request.plan
        for kind, text in [_as_field(request.plan[name])]
    ]


def read_edits(request: ApprovalRequest, form: Mapping[str, Any]) -> dict[str, JsonValue]:
    """The fields that the form changes, with their new values.

    Raises:
        EditError: a value is not of the kind that stands in the plan.
    """
    edits: dict[str, JsonValue] = {}
    for each in edit_fields(request):
        given = form.get(EDIT + each.name)
        # Browsers end lines as letters do; what was not touched must come back the same.
        text = given.replace("\r\n", "\n") if isinstance(given, str) else each.value
        if text.strip() != each.value.strip():
            edits[each.name] = _read(each, text)
    return edits


def label_of(name: str) -> str:
    """A field's name for people."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _diff_line(line: str) -> DiffLine:
    text = line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…"
    if line.startswith(("+++", "---", "diff ")):
        return DiffLine("file", text)
    kinds = {"@": "hunk", "+": "added", "-": "removed"}
    return DiffLine(kinds.get(line[:1], "same"), text)


def _as_field(value: JsonValue) -> tuple[str, str]:
    if isinstance(value, bool):
        return "choice", "yes" if value else "no"
    if isinstance(value, int | float):
        return "number", json.dumps(value)
    if isinstance(value, str):
        return ("lines" if "\n" in value else "text"), value
    if isinstance(value, list) and all(isinstance(each, str) and "\n" not in each for each in value):
        return "list", "\n".join(map(str, value))
    return "json", json.dumps(value, indent=2, ensure_ascii=False)


def _read(field: EditField, text: str) -> JsonValue:
    match field.kind:
        case "choice":
            return text == "yes"
        case "text" | "lines":
            return text
        case "list":
            return [line.strip() for line in text.split("\n") if line.strip()]
    try:
        value: JsonValue = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        kind = "a number" if field.kind == "number" else "JSON"
        raise EditError(f"{field.label}: {text[:40]!r} is not {kind}.") from None
    if field.kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise EditError(f"{field.label}: {text[:40]!r} is not a number.")
    return value


def _no_constant(name: str) -> JsonValue:
    raise ValueError(name)
