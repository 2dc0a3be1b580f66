"""What people answer in a rehearsal: always yes, always no, nothing, or what a file says."""

from __future__ import annotations

import json
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, JsonValue, ValidationError

from cli.output import CommandError, flat
from common.agents.fields import Span
from common.approval.types import ApprovalRequest, Verdict

# The time somebody takes to read, think and answer.
USUALLY_AFTER = timedelta(hours=1)


class AnswerKind(StrEnum):
    """An answer. ``nobody`` is no answer at all."""

    APPROVE = "approve"
    REJECT = "reject"
    NOBODY = "nobody"

    @property
    def verdict(self) -> Verdict:
        """The verdict of the decision."""
        return Verdict.APPROVE if self is AnswerKind.APPROVE else Verdict.REJECT


class Answer(BaseModel, frozen=True, extra="forbid"):
    """The answer to questions that match `question`, a pattern in which `*` stands for anything.

    `after` counts from the question. Without `by`, those who may decide answer, in order.
    """

    question: str = "*"
    says: AnswerKind
    by: str = ""
    after: Span = USUALLY_AFTER
    note: str = ""
    edits: dict[str, JsonValue] = Field(default_factory=dict)


class UnpromptedMessage(BaseModel, frozen=True, extra="forbid"):
    """An unprompted message to the agent, `after` the start: a person's words, or mail in a `thread`.

    A thread has the name its agent gave it, such as a candidate's id. `agent` is one that the agent has
    started, or the agent itself if not given.
    """

    after: Span
    text: Annotated[str, Field(min_length=1, max_length=16_000)]
    thread: str = ""
    agent: str = ""


class AnswerScript(BaseModel, frozen=True, extra="forbid"):
    """The file of `--answers`.

    Attributes:
        answers: to questions; the first match counts, other questions stay unanswered.
        tell: words to the agent.
        mail: mail to the agent.
        activities: what activities return instead of a stand-in's value, by name, as JSON.
    """

    answers: tuple[Answer, ...] = ()
    tell: tuple[UnpromptedMessage, ...] = ()
    mail: tuple[UnpromptedMessage, ...] = ()
    activities: dict[str, JsonValue] = Field(default_factory=dict)

    def answer_to(self, request: ApprovalRequest) -> Answer | None:
        """The answer to a question; None if nobody answers."""
        found = next((each for each in self.answers if fnmatchcase(request.question, each.question)), None)
        return None if found is None or found.says is AnswerKind.NOBODY else found


def read_script(given: str) -> AnswerScript:
    """The script that `--answers` names: `approve`, `reject`, `nobody`, or a JSON file.

    Raises:
        CommandError: ``given`` is none of these; the message says what is wrong with the file.
    """
    if given in set(AnswerKind):
        return AnswerScript(answers=(Answer(says=AnswerKind(given)),))
    try:
        return AnswerScript.model_validate(json.loads(Path(given).expanduser().read_text()))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CommandError(f"--answers {given}: {reason}; say approve, reject, nobody or a file.") from None
    except ValidationError as error:
        raise CommandError(f"--answers {given}: {flat(error)}.") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--answers {given}: not JSON: {error}.") from None
