"""Slack's interaction payloads, and the form that asks for the reason of a rejection."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from common.approval.link import ApprovalButton
from common.notices.slack import REASON, REJECT

REASON_LENGTH = 3000

Text = Annotated[str, Field(max_length=4000)]


class _User(BaseModel):
    id: Text


class _Action(BaseModel):
    action_id: Text
    value: Text = ""


class _Typed(BaseModel):
    value: Text | None = None


class _State(BaseModel):
    values: dict[str, dict[str, _Typed]] = Field(default_factory=dict)


class View(BaseModel):
    callback_id: Text = ""
    private_metadata: Text = ""
    state: _State = Field(default_factory=_State)


class Interaction(BaseModel):
    """Slack's report of something a person did; fields not needed here are ignored."""

    type: Text
    user: _User
    trigger_id: Text = ""
    response_url: Text = ""
    actions: list[_Action] = Field(default_factory=list)
    view: View | None = None


class ReasonForm(BaseModel):
    """The reason form's metadata: the button it came from, and where to post the outcome."""

    token: Text
    answer: Text


def reason_form(button: ApprovalButton, metadata: str) -> dict[str, Any]:
    """The form that asks for the reason of a rejection; Slack returns `metadata` on submission."""

    def plain_text(text: str) -> dict[str, Any]:
        return {"type": "plain_text", "text": text, "emoji": False}

    return {
        "type": "modal",
        "callback_id": REJECT,
        "private_metadata": metadata,
        "title": plain_text("Reject the plan"),
        "submit": plain_text("Reject"),
        "close": plain_text("Back"),
        "blocks": [
            {
                "type": "input",
                "block_id": REASON,
                "label": plain_text("Why not?"),
                "hint": plain_text(f"The agent and others will read it. Plan {button.digest[:12]}."),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON,
                    "multiline": True,
                    "max_length": REASON_LENGTH,
                },
            }
        ],
    }
