"""What agents kept in the data folder before there was an object store; older agents still refer to it.

It is only read and erased, and not written any more.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from common.digest import digest_bytes
from common.settings import Settings


class LegacyArtifacts:
    """A folder of artifacts, ``<two digits>/<sha256>``, with marks ``<sha256>.<digest of an agent's id>``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, settings: Settings) -> LegacyArtifacts:
        """The old artifacts in the data folder."""
        return cls(settings.data_dir / "artifacts")

    def get(self, sha256: str) -> bytes | None:
        """The bytes of an artifact; None if it is not there."""
        try:
            return (self._folder / sha256[:2] / sha256).read_bytes()
        except FileNotFoundError:
            return None

    def forget(self, agents: Iterable[str]) -> list[int]:
        """Delete what only these agents stored, and return the sizes in bytes of what was deleted."""
        marks, sizes = {f".{_digest(agent)}" for agent in agents}, list[int]()
        for folder in self._folder.glob("??"):
            marked = [each for each in folder.iterdir() if each.suffix]
            others = {each.stem for each in marked if each.suffix not in marks}
            for each in marked:
                if each.suffix not in marks:
                    continue
                artifact = each.with_suffix("")
                if each.stem not in others and artifact.exists():
                    sizes.append(artifact.stat().st_size)
                    artifact.unlink()
                # Last, so that after a kill the next attempt finds the artifact again.
                each.unlink(missing_ok=True)
        return sizes


def forget_legacy(settings: Settings, agents: Iterable[str]) -> list[int]:
    """Delete what these agents kept in the data folder, and return the sizes of the artifacts deleted."""
    agents = list(agents)
    for agent in agents:
        for what in ("fetching/pages", "journals/scan"):
            shutil.rmtree(settings.data_dir / what / _digest(agent), ignore_errors=True)
    return LegacyArtifacts.of(settings).forget(agents)


def _digest(agent: str) -> str:
    return digest_bytes(agent.encode())[:32]
