"""A form's fields as edits of a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from common.approval.plan_view import label_of
from common.approval.types import ApprovalRequest

EDIT = "edit."


class EditError(ValueError):
    """A form's field that cannot be read as what it stands for; the message is for a person."""


@dataclass(frozen=True)
class EditField:
    """A field of the plan that may be changed, as a form's: text, number, choice, lines, list, or json."""

    name: str
    label: str
    kind: str
    value: str


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
