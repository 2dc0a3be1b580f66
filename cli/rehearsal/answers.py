"""What people answer in a rehearsal: everybody yes, everybody no, nobody, or as a file says."""

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

# Somebody reads, thinks and answers.
USUALLY_AFTER = timedelta(hours=1)


class Says(StrEnum):
    """What somebody answers. ``nobody`` is no answer at all."""

    APPROVE = "approve"
    REJECT = "reject"
    NOBODY = "nobody"

    @property
    def verdict(self) -> Verdict:
        """As a decision says it."""
        return Verdict.APPROVE if self is Says.APPROVE else Verdict.REJECT


class Answer(BaseModel, frozen=True, extra="forbid"):
    """The answer to questions that `question` fits, in which `*` stands for anything.

    `after` counts from the question. Without `by` it comes of those who may decide, in their order.
    """

    question: str = "*"
    says: Says
    by: str = ""
    after: Span = USUALLY_AFTER
    note: str = ""
    edits: dict[str, JsonValue] = Field(default_factory=dict)


class Word(BaseModel, frozen=True, extra="forbid"):
    """What comes to the agent by itself, `after` the start: words of a person, or mail about a `thread`.

    The thread of a letter is what its agent calls it: of a candidate the id. `agent` is one of those that
    the agent has started; itself where not given.
    """

    after: Span
    text: Annotated[str, Field(min_length=1, max_length=16_000)]
    thread: str = ""
    agent: str = ""


class Script(BaseModel, frozen=True, extra="forbid"):
    """The file of `--answers`.

    Attributes:
        answers: to questions; the first that fits counts, and nobody answers any other.
        tell: words to the agent.
        mail: mail to the agent.
        activities: what activities answer in place of a stand-in, by name, as JSON.
    """

    answers: tuple[Answer, ...] = ()
    tell: tuple[Word, ...] = ()
    mail: tuple[Word, ...] = ()
    activities: dict[str, JsonValue] = Field(default_factory=dict)

    def answer_to(self, request: ApprovalRequest) -> Answer | None:
        """What is answered to a question; None where nobody answers."""
        found = next((each for each in self.answers if fnmatchcase(request.question, each.question)), None)
        return None if found is None or found.says is Says.NOBODY else found


def read_script(given: str) -> Script:
    """The answers that `--answers` names: `approve`, `reject`, `nobody`, or those of a JSON file.

    Raises:
        CommandError: it is none of these; the message says what is wrong with the file.
    """
    if given in set(Says):
        return Script(answers=(Answer(says=Says(given)),))
    try:
        return Script.model_validate(json.loads(Path(given).expanduser().read_text()))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CommandError(f"--answers {given}: {reason}; say approve, reject, nobody or a file.") from None
    except ValidationError as error:
        raise CommandError(f"--answers {given}: {flat(error)}.") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--answers {given}: not JSON: {error}.") from None
