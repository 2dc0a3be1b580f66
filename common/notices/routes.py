"""Who is told what, and how: turns a notice and the routes into the places it goes to."""

from __future__ import annotations

from dataclasses import dataclass

from common.approval.groups import Directory
from common.notices.people import TERMINAL, NoticesFile, Route, notices_file
from common.notices.types import ASKS, Destination, Notice, NoticeEvent
from common.settings import Settings, SettingsError
from common.watched_file import WatchedFile

# A large group is better reached through a channel.
MAX_PLACES = 100


@dataclass(frozen=True)
class Outlets:
    """Where a notice goes. `gap` names who is not reached; if anyone, it goes to the terminal, too."""

    places: tuple[Destination, ...] = ()
    terminal: bool = False
    gap: str = ""


class Routes:
    """The routes in a file that may change at any time.

    Args:
        file: people and routes.
        directory: who is in which group.
        missing: the ways that are not set up, each with the setting it needs.
    """

    def __init__(
        self, file: WatchedFile[NoticesFile], directory: Directory, missing: dict[str, str] | None = None
    ) -> None:
        self._file, self._directory, self._missing = file, directory, missing or {}

    @classmethod
    def load(cls, settings: Settings) -> Routes:
        """The routes of these settings.

        Raises:
            SettingsError: the file cannot be used, or names a way that is not set up.
        """
        needs = {
            "webhook": (settings.notices.webhook_secrets, "HIBERNAUT_WEBHOOK_SECRETS"),
            "slack": (settings.slack.bot_token, "HIBERNAUT_SLACK_BOT_TOKEN"),
            "email": (settings.mail.smtp, "HIBERNAUT_SMTP"),
        }
        missing = {way: variable for way, (value, variable) in needs.items() if not value}
        routes = cls(notices_file(settings), Directory.load(settings), missing)
        routes.ways()  # raises
        return routes

    def ways(self) -> list[str]:
        """The ways that the routes name, other than the terminal, sorted.

        Raises:
            SettingsError: the file cannot be used, or names a way that is not set up.
        """
        named = {way.partition(":")[0] for route in self._file.content().routes for way in route.ways}
        found = sorted(named - {TERMINAL})
        for way in found:
            if way in self._missing:
                raise SettingsError(
                    f"HIBERNAUT_NOTICES: a route names {way}, which needs {self._missing[way]}: set it."
                )
        return found

    def outlets(self, notice: Notice) -> Outlets:
        """Where a notice goes.

        Raises:
            SettingsError: the file cannot be used.
        """
        self.ways()  # raises
        route = next((each for each in self._file.content().routes if _fits(each, notice)), None)
        if route is None:
            # On the terminal, a decision shows in what follows from it.
            return Outlets(terminal=notice.event is not NoticeEvent.DECIDED)
        people = self._recipients(notice) if {"email", "slack", "webhook"} & set(route.ways) else []
        places: dict[tuple[str, str], Destination] = {}
        for way in route.ways:
            kind, _, address = way.partition(":")
            found = [Destination(way=kind, address=address)] if address else self._of_people(kind, people)
            for place in found:
                places.setdefault((place.way, place.address), place)
        gap = ", ".join(who for who in people if who not in {place.person for place in places.values()})
        if len(places) > MAX_PLACES:
            gap = f"{len(places) - MAX_PLACES} of {len(places)} places: name a channel instead of people"
        return Outlets(tuple(places.values())[:MAX_PLACES], TERMINAL in route.ways or bool(gap), gap)

    def _of_people(self, way: str, people: list[str]) -> list[Destination]:
        known = self._file.content().people
        return [
            Destination(way=way, address=address, person=who)
            for who in people
            if who in known and (address := getattr(known[who], way, None))
        ]

    def _recipients(self, notice: Notice) -> list[str]:
        """Those who may decide and have not yet; those named; or the agent's owner."""
        request = notice.request
        if request is None or notice.event not in ASKS:
            named = self._directory.people(notice.people)
            return named or ([notice.owner] if notice.owner else [])
        voted = {vote.decision.by for vote in request.votes}
        if not request.policy.requester_may_approve:
            voted.add(request.requester)
        return [who for who in self._directory.people(request.deciders) if who not in voted]


def _fits(route: Route, notice: Notice) -> bool:
    return (
        route.agent in (None, notice.agent)
        and route.owner in (None, notice.owner)
        and route.kind in (None, notice.kind)
        # Decisions are only reported on request: whoever decided knows, and messages are updated.
        and (notice.event in route.events if route.events else notice.event is not NoticeEvent.DECIDED)
    )
