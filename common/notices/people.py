"""People's addresses and the routes of notices, as the file of the setting `HIBERNAUT_NOTICES` says them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from common.notices.types import NoticeEvent
from common.settings import Settings
from common.watched_file import WatchedFile, file_of

TERMINAL = "terminal"
EXAMPLE = (
    'a JSON object such as {"people": {"ann": {"email": "ann@example.com"}}, "routes": [{"ways": ["email"]}]}'
)

Email = Annotated[str, StringConstraints(pattern=r"^[^\s@<>,]{1,64}@[^\s@<>,]{1,250}$")]
Slack = Annotated[str, StringConstraints(pattern=r"^[#@]?[\w.-]{1,80}$")]
Webhook = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]{1,2000}$")]
# A person's way by its name, or an address of one's own behind it.
Way = Annotated[
    str,
    StringConstraints(
        pattern=r"^(terminal|email|slack|webhook"
        r"|email:[^\s@<>,]{1,64}@[^\s@<>,]{1,250}|slack:[#@]?[\w.-]{1,80}|webhook:https?://[^\s]{1,2000})$"
    ),
]


class Person(BaseModel, frozen=True, extra="forbid"):
    """Where one person is reached. `slack` is a user's id, `U…`."""

    email: Email | None = None
    slack: Slack | None = None
    webhook: Webhook | None = None


class Route(BaseModel, frozen=True, extra="forbid"):
    """By which ways people hear of what fits; a condition that is not given fits everything.

    `events` empty means every event but `decided`. A way is `terminal`, or `email`, `slack` or `webhook` for
    the people whom a notice is for, or one of these three with an address of its own behind it, `slack:#ops`.
    """

    agent: str | None = None
    owner: str | None = None
    kind: str | None = None
    events: frozenset[NoticeEvent] = frozenset()
    ways: tuple[Way, ...]


class NoticesFile(BaseModel, frozen=True, extra="forbid"):
    """The file of the setting `HIBERNAUT_NOTICES`. The first route that fits says the ways."""

    people: dict[str, Person] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()


def notices_file(settings: Settings) -> WatchedFile[NoticesFile]:
    """The file of the setting, else `notices.json` in the data folder.

    Raises:
        SettingsError: the file that was named is missing.
    """
    file = file_of("HIBERNAUT_NOTICES", settings.notices.file, settings.data_dir / "notices.json")
    return WatchedFile("HIBERNAUT_NOTICES", file, NoticesFile.model_validate_json, NoticesFile(), EXAMPLE)


def approvers_in_slack(settings: Settings) -> Callable[[str], str | None]:
    """Whom a Slack user is, an opaque id; None for strangers, and where two people claim to be the user.

    Raises:
        SettingsError: the file that was named is missing; by the function that is returned, where the file
            has become unreadable.
    """
    file = notices_file(settings)

    def approver_of(user: str) -> str | None:
        found = [id for id, person in file.content().people.items() if person.slack == user]
        return found[0] if len(found) == 1 else None

    return approver_of
