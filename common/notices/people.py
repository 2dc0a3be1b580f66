"""People's addresses and the routes of notices, as given in the file `HIBERNAUT_NOTICES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from common.error_message import ErrorMessage
from common.notices.types import NoticeEvent
from common.settings import Settings
from common.watched_file import WatchedFile, file_of

TERMINAL = "terminal"
EXAMPLE = (
    'a JSON object such as {"people": {"ann": {"email": "ann@example.com"}}, "routes": [{"ways": ["email"]}]}'
)

# The form of an address of each way, alone and after the way's name.
_EMAIL = r"[^\s@<>,]{1,64}@[^\s@<>,]{1,250}"
_SLACK = r"[#@]?[\w.-]{1,80}"
_WEBHOOK = r"https?://[^\s]{1,2000}"
Email = Annotated[
    str,
    StringConstraints(pattern=f"^{_EMAIL}$"),
    ErrorMessage("must be an e-mail address such as ann@example.com"),
]
Slack = Annotated[
    str,
    StringConstraints(pattern=f"^{_SLACK}$"),
    ErrorMessage("must be a user's id or a channel such as U0123ABCD or #approvals"),
]
Webhook = Annotated[
    str,
    StringConstraints(pattern=f"^{_WEBHOOK}$"),
    ErrorMessage("must be an address, http:// or https://"),
]
# A way by its name, for the people concerned, or followed by an address of its own.
Way = Annotated[
    str,
    StringConstraints(
        pattern=f"^(terminal|email|slack|webhook|email:{_EMAIL}|slack:{_SLACK}|webhook:{_WEBHOOK})$"
    ),
    ErrorMessage(
        "must be terminal, email, slack or webhook, or one of these with an address, as email:ann@example.com"
    ),
]


# Compiling their patterns takes a tenth of a worker's start; deferred, because many have no such file.
class Person(BaseModel, frozen=True, extra="forbid", defer_build=True):
    """How to reach one person. `slack` is a user's id, `U…`."""

    email: Email | None = None
    slack: Slack | None = None
    webhook: Webhook | None = None


class Route(BaseModel, frozen=True, extra="forbid", defer_build=True):
    """The ways for notices that match; a condition that is not given matches everything.

    `events` empty means every event except `decided`. A way is `terminal`; `email`, `slack` or `webhook` for
    the people a notice is for; or one of these three followed by an address of its own, `slack:#ops`.
    """

    agent: str | None = None
    owner: str | None = None
    kind: str | None = None
    events: frozenset[NoticeEvent] = frozenset()
    ways: tuple[Way, ...]


class NoticesFile(BaseModel, frozen=True, extra="forbid", defer_build=True):
    """The content of the file `HIBERNAUT_NOTICES`. The first route that matches decides the ways."""

    people: dict[str, Person] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()


def notices_file(settings: Settings) -> WatchedFile[NoticesFile]:
    """The file that the setting names, by default `notices.json` in the data folder.

    Raises:
        SettingsError: the setting names a file that is missing.
    """
    file = file_of("HIBERNAUT_NOTICES", settings.notices.file, settings.data_dir / "notices.json")
    return WatchedFile("HIBERNAUT_NOTICES", file, NoticesFile.model_validate_json, NoticesFile(), EXAMPLE)


def approvers_in_slack(settings: Settings) -> Callable[[str], str | None]:
    """A function from a Slack user to an opaque id; None for strangers, and if two people claim the user.

    Raises:
        SettingsError: the setting names a file that is missing. The returned function raises it if the file
            has become unreadable.
    """
    file = notices_file(settings)

    def approver_of(user: str) -> str | None:
        found = [id for id, person in file.content().people.items() if person.slack == user]
        return found[0] if len(found) == 1 else None

    return approver_of
