"""What Slack sends when a person does something, and the form that asks them why not."""

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
    """What Slack says of something a person did; all but what is needed here is left out."""

    type: Text
    user: _User
    trigger_id: Text = ""
    response_url: Text = ""
    actions: list[_Action] = Field(default_factory=list)
    view: View | None = None


class ReasonForm(BaseModel):
    """What the form for a reason keeps: the button it came from, and where to say what became of it."""

    token: Text
    answer: Text


def reason_form(button: ApprovalButton, kept: str) -> dict[str, Any]:
    """The form that asks for the reason of a rejection; `kept` comes back with it."""

    def words(text: str) -> dict[str, Any]:
        return {"type": "plain_text", "text": text, "emoji": False}

    return {
        "type": "modal",
        "callback_id": REJECT,
        "private_metadata": kept,
        "title": words("Reject the plan"),
        "submit": words("Reject"),
        "close": words("Back"),
        "blocks": [
            {
                "type": "input",
                "block_id": REASON,
                "label": words("Why not?"),
                "hint": words(f"The agent and others will read it. Plan {button.digest[:12]}."),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON,
                    "multiline": True,
                    "max_length": REASON_LENGTH,
                },
            }
        ],
    }
