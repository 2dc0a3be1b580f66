"""Sessions that people ended by signing out, so that a copy of their cookie is worthless at every gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from common.object_store import ObjectStore

LIFETIME = timedelta(hours=12)  # of a session: a working day
PREFIX = "sessions/ended/"


class EndedSessions:
    """Marks in the object store. The methods block, and may raise ``StoreUnavailableError``."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def add(self, id: str) -> None:
        """End a session; the marks of those that are over anyway are deleted."""
        self._objects.put(PREFIX + id, b"")
        over = datetime.now(UTC) - LIFETIME
        self._objects.delete([each.key for each in self._objects.list(PREFIX) if each.written_at < over])

    def has(self, id: str) -> bool:
        """Whether the session was ended."""
        return self._objects.head(PREFIX + id) is not None
