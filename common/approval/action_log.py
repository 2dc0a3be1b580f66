"""A log of what agents did, kept outside Temporal in case its server is restored from an older copy.

After such a restore, an agent does not know what it did since the copy was made. Under the same plan nothing
is done twice, because the key is the same. Under a new plan, which rests on newer facts, it would be: so
people are told what the agent did, and have to approve once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel

from common.approval.types import Authorization
from common.digest import digest_bytes
from common.object_store import ObjectMissingError, ObjectStore, StoredObject, open_store
from common.settings import Settings

ACTS = "acts/"
RESTORES = "restores/"
TOLD = ".told"
# How far the clocks of workers and of the object store may differ.
CLOCKS_DIFFER = timedelta(minutes=10)
# How long after a restore agents may still go over what they did before it.
RESTORE_WINDOW = timedelta(days=30)


class Act(BaseModel, frozen=True):
    """A destructive action that was about to be done: by which agent, in which node, on whose decisions."""

    agent: str
    node: str
    at: AwareDatetime
    by: tuple[str, ...]


class Restore(BaseModel, frozen=True):
    """At the time `at`, the server was restored to its state at the earlier time `to`."""

    to: AwareDatetime
    at: AwareDatetime


class _Told(BaseModel, frozen=True):
    """The decisions that were made before people were told of an act."""

    decisions: tuple[str, ...]


class ForgottenActError(Exception):
    """The agent did something that the server has forgotten; the message tells people what."""


class ActionLog:
    """The log of acts in the object store. Its methods block, and raise `StoreUnavailableError`."""

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._clock = clock

    @classmethod
    def of(cls, settings: Settings) -> ActionLog:
        """The log of these settings."""
        return cls(open_store(settings))

    def note_restore(self, to: datetime) -> None:
        """Record that the server was just restored to its state at `to`. No worker may run yet."""
        restore = Restore(to=to, at=self._clock())
        self._store.put(f"{RESTORES}{restore.at:%Y%m%dT%H%M%S%f}", restore.model_dump_json().encode())

    def restored_to(self) -> datetime | None:
        """Since when the server may have forgotten acts; None if it was not restored lately."""
        since = self._clock() - RESTORE_WINDOW
        late = [each for each in self._store.list(RESTORES) if each.written_at > since]
        return min((self._restore(each).to for each in late), default=None)

    def record_or_refuse(self, authorization: Authorization, agent: str) -> None:
        """Record that the agent is about to act.

        Raises:
            ForgottenActError: it acted under another plan, and neither it nor those who decided know that.
        """
        own = _place(agent, authorization.key)
        decisions = {vote.decision.id for vote in authorization.votes}
        if restores := [self._restore(each) for each in list(self._store.list(RESTORES))]:
            others = [place for place in self._acts(agent) if place != own]
            for restore in restores:
                for place in others:
                    self._require_known(place, restore, decisions)
        node = authorization.key.removeprefix(f"{agent}:").partition(":")[0]
        by = tuple(vote.decision.by for vote in authorization.votes)
        act = Act(agent=agent, node=node, at=self._clock(), by=by)
        self._store.put(own, act.model_dump_json().encode(), if_absent=True)

    def since(self, time: datetime) -> list[Act]:
        """What all agents did since `time`, in order."""
        listed = [each for each in self._store.list(ACTS) if not each.key.endswith(TOLD)]
        acts = [self._act(each.key) for each in listed if each.written_at >= time - CLOCKS_DIFFER]
        return sorted((act for act in acts if act.at >= time), key=lambda act: act.at)

    def acts_of(self, agent: str) -> list[Act]:
        """What an agent did, or was about to do, in order."""
        return sorted(map(self._act, self._acts(agent)), key=lambda act: act.at)

    def objects_of(self, agents: Iterable[str]) -> list[StoredObject]:
        """All objects that the log holds about these agents."""
        return [each for agent in agents for each in self._store.list(_folder(agent))]

    def _acts(self, agent: str) -> list[str]:
        return [each.key for each in self.objects_of([agent]) if not each.key.endswith(TOLD)]

    def _act(self, place: str) -> Act:
        return Act.model_validate_json(self._store.get(place))

    def _restore(self, stored: StoredObject) -> Restore:
        return Restore.model_validate_json(self._store.get(stored.key))

    def _require_known(self, place: str, restore: Restore, decisions: set[str]) -> None:
        act = self._act(place)
        if not restore.to <= act.at < restore.at:
            return
        try:
            told = _Told.model_validate_json(self._store.get(place + TOLD))
        except ObjectMissingError:
            told = _Told(decisions=tuple(sorted(decisions)))
            self._store.put(place + TOLD, told.model_dump_json().encode())
        if decisions & set(told.decisions):
            raise ForgottenActError(
                f"the server was restored to {_minute(restore.to)}, and has forgotten that this agent acted "
                f"in {act.node} at {_minute(act.at)} by decision of {', '.join(act.by)}: see what came of "
                "it, and approve only what is to be done besides"
            )


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _folder(agent: str) -> str:
    return f"{ACTS}{digest_bytes(agent.encode())[:32]}/"


def _place(agent: str, key: str) -> str:
    return f"{_folder(agent)}{digest_bytes(key.encode())[:32]}"
