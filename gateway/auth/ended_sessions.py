"""Sessions ended by signing out: a copy of their cookie is worthless at every gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from common.object_store import ObjectStore

LIFETIME = timedelta(hours=12)  # of a session: a working day
PREFIX = "sessions/ended/"


class EndedSessions:
    """Marks sessions as ended in the object store. Methods block, and may raise ``StoreUnavailableError``."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def add(self, id: str) -> None:
        """End a session, and delete marks of sessions that have expired anyway."""
        self._objects.put(PREFIX + id, b"")
        over = datetime.now(UTC) - LIFETIME
        self._objects.delete([each.key for each in self._objects.list(PREFIX) if each.written_at < over])

    def has(self, id: str) -> bool:
        """Whether the session was ended."""
        return self._objects.head(PREFIX + id) is not None
