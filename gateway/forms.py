"""What a person's form says about a request for approval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue
from starlette.requests import Request

from common.approval.plan_view import label_of
from common.approval.types import ApprovalRequest, Verdict
from gateway.plans import EditError, read_edits

MAX_FIELDS = 100
NOTE_BYTES = 4000


class FormError(ValueError):
    """What has to be said otherwise; the message is for the person who filled the form in."""


@dataclass(frozen=True)
class Wish:
    """A verdict as a form gives it."""

    verdict: Verdict
    note: str
    edits: dict[str, JsonValue] = field(default_factory=dict)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form as text."""
    form = await request.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=NOTE_BYTES * 16)
    return {name: value for name, value in form.multi_items() if isinstance(value, str)}


def read_wish(form: Mapping[str, Any], request: ApprovalRequest | None) -> Wish:
    """What the form says of ``request``; where that cannot be seen now, edits cannot be read either.

    Raises:
        FormError: it says nothing, or two things.
    """
    try:
        verdict = Verdict(form.get("verdict", ""))
        edits = read_edits(request, form) if request else {}
    except EditError as error:
        raise FormError(str(error)) from None
    except ValueError:
        raise FormError("Press one of the buttons: approve, or reject.") from None
    note = str(form.get("note", "")).replace("\r\n", "\n").strip()
    if len(note) > NOTE_BYTES:
        raise FormError(f"The note is too long: {len(note)} characters; {NOTE_BYTES} fit.")
    if verdict is Verdict.REJECT:
        if not note:
            raise FormError("Say in the note why not; the agent and others will read it.")
        return Wish(verdict, note)
    changed = ", ".join(map(label_of, edits))
    if verdict is Verdict.APPROVE and edits:
        raise FormError(
            f"You changed {changed}, and pressed plain “Approve”. Press “Approve with these changes”, "
            "or take the changes back."
        )
    if verdict is Verdict.REVISE and not edits:
        raise FormError("Nothing was changed. Change a field, or press plain “Approve”.")
    return Wish(verdict, note, edits)
