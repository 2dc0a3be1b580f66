"""Content-addressed bytes for what is too big for a workflow's history: findings, pages, transcripts, diffs.

An activity's argument or result carries an ``ArtifactRef``; the bytes are in the object store, under the
agent that stored them. Storing the same bytes twice gives one object, so a retried activity leaves no orphan.
Each agent has its own, so they can be deleted with it, and no other agent misses them.
"""

from __future__ import annotations

from pydantic import BaseModel, Field
from temporalio import activity

from common.agent_objects import agent_digest, artifacts_prefix
from common.digest import digest_bytes
from common.errors import permanent
from common.legacy_data import LegacyArtifacts
from common.object_store import ObjectMissingError, ObjectStore, ObjectUnreadableError
from common.settings import Settings


class ArtifactRef(BaseModel, frozen=True):
    """Names stored bytes by their SHA-256, their size in bytes, and the digest of their agent's id.

    References from before artifacts were in the object store name no agent, and are written as they were.
    """

    sha256: str
    size: int
    agent: str = Field("", exclude_if=lambda agent: not agent)


class ArtifactStore:
    """The artifacts of all agents.

    Args:
        objects: where they are stored.
        old: where they were stored before; None if there were none.
    """

    def __init__(self, objects: ObjectStore, old: LegacyArtifacts | None = None) -> None:
        self._objects, self._old = objects, old

    @classmethod
    def of(cls, settings: Settings) -> ArtifactStore:
        """The store of these settings, encrypted if payloads are."""
        # Imported here because modules with types of plans and inputs import this one without needing the
        # cipher.
        from common.sealed_store import SealedStore

        return cls(SealedStore.open(settings), LegacyArtifacts.of(settings))

    def put(self, data: bytes, agent: str = "") -> ArtifactRef:
        """Store ``data`` durably and return its reference.

        It belongs to ``agent`` if one is named, else, in an activity, to the activity's agent.

        Raises:
            StoreUnavailableError: the store cannot be written to now.
        """
        if not agent and activity.in_activity():
            agent = activity.info().workflow_id or ""
        ref = ArtifactRef(sha256=digest_bytes(data), size=len(data), agent=agent_digest(agent))
        self._objects.put(_key(ref), data, if_absent=True)
        return ref

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes of ``ref``, checked against its digest.

        Raises:
            ApplicationError: type ``ArtifactMissing`` or ``ArtifactDamaged``, permanent.
            StoreUnavailableError: the store cannot be read now.
        """
        try:
            data = self._objects.get(_key(ref))
        except ObjectUnreadableError as error:
            raise permanent("ArtifactDamaged", f"artifact {ref.sha256}: {error}") from None
        except ObjectMissingError:
            found = self._old.get(ref.sha256) if self._old and not ref.agent else None
            if found is None:
                raise permanent("ArtifactMissing", f"artifact {ref.sha256} is not in the store") from None
            data = found
        if digest_bytes(data) != ref.sha256:
            raise permanent("ArtifactDamaged", f"artifact {ref.sha256} was changed in the store")
        return data


def _key(ref: ArtifactRef) -> str:
    return f"{artifacts_prefix(ref.agent)}{ref.sha256}"
