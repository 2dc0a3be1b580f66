"""The form by which a person decides a request: its fields, and parsing what is submitted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue
from starlette.requests import Request

from common.approval.types import ApprovalRequest, Verdict
from common.approval.values import label_of

PREFIX = "edit."  # of a form field that edits a field of the plan
MAX_FIELDS = 100
MAX_NOTE = 4000  # characters


class FormError(ValueError):
    """A form that cannot be taken as it is; the message tells the person what to change."""


@dataclass(frozen=True)
class EditField:
    """A form field for a field of the plan; its kind is text, lines, number, choice, list, or json."""

    name: str
    label: str
    kind: str
    value: str


@dataclass(frozen=True)
class FormDecision:
    """What a form decides."""

    verdict: Verdict
    note: str
    edits: dict[str, JsonValue] = field(default_factory=dict)


async def read_form(request: Request, fields: int = MAX_FIELDS) -> dict[str, str]:
    """The text fields of the form in a request's body, at most `fields` of them."""
    form = await request.form(max_files=0, max_fields=fields, max_part_size=MAX_NOTE * 16)
    return {name: value for name, value in form.multi_items() if isinstance(value, str)}


def edit_fields(request: ApprovalRequest, labels: Mapping[str, str] | None = None) -> list[EditField]:
    """Form fields for what the policy lets an approver edit, labelled as in the plan."""
    return [
        EditField(name, (labels or {}).get(name) or label_of(name), *_as_field(request.plan[name]))
        for name in request.policy.editable
        if name in request.plan
    ]


def read_decision(form: Mapping[str, str], request: ApprovalRequest | None) -> FormDecision:
    """The decision about ``request``; without it (no worker answers), edits are ignored.

    Raises:
        FormError: the form decides nothing, contradicts itself, or has a value of the wrong type.
    """
    try:
        verdict = Verdict(form.get("verdict", ""))
    except ValueError:
        raise FormError("Press one of the buttons: approve, or reject.") from None
    edits = _read_edits(form, request) if request else {}
    note = form.get("note", "").replace("\r\n", "\n").strip()
    if len(note) > MAX_NOTE:
        raise FormError(f"The note is too long: {len(note)} characters; {MAX_NOTE} fit.")
    if verdict is Verdict.REJECT:
        if not note:
            raise FormError("Say in the note why not; the agent and others will read it.")
        return FormDecision(verdict, note)
    if verdict is Verdict.APPROVE and edits:
        raise FormError(
            f"You changed {', '.join(map(label_of, edits))}, and pressed plain “Approve”. Press “Approve "
            "with these changes”, or take the changes back."
        )
    if verdict is Verdict.REVISE and not edits:
        raise FormError("Nothing was changed. Change a field, or press plain “Approve”.")
    return FormDecision(verdict, note, edits)


def _read_edits(form: Mapping[str, str], request: ApprovalRequest) -> dict[str, JsonValue]:
    """The fields that the form changes, with their new values."""
    edits: dict[str, JsonValue] = {}
    for each in edit_fields(request):
        # Browsers send CRLF; an untouched field must not count as an edit.
        text = form.get(PREFIX + each.name, each.value).replace("\r\n", "\n")
        if text.strip() != each.value.strip():
            edits[each.name] = _read(each, text)
    return edits


def _as_field(value: JsonValue) -> tuple[str, str]:
    """Kind and text of the form field for a value of the plan."""
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
        value: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        kind = "a number" if field.kind == "number" else "JSON"
        raise FormError(f"{field.label}: {text[:40]!r} is not {kind}.") from None
    if field.kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise FormError(f"{field.label}: {text[:40]!r} is not a number.")
    return value


def _refuse_constant(name: str) -> JsonValue:
    """`NaN` and `Infinity` are not JSON."""
    raise ValueError(name)
