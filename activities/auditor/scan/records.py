"""The records for results that one audit keeps for the next."""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.agents.fields import LocalPath
from common.artifacts import ArtifactRef


class Tree(BaseModel, frozen=True):
    """What an audit looks at: the owner, the folder and the patterns. Results are kept per tree."""

    owner: str
    root: LocalPath
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)


class RecallRequest(BaseModel, frozen=True):
    """Asks what earlier audits of `tree` found in the files of a `listing`, as they are now."""

    tree: Tree
    listing: ArtifactRef


class Recalled(BaseModel, frozen=True):
    """The `findings` in `known` files, and `rest`, the listing of the `left` files still to be scanned."""

    findings: list[ArtifactRef]
    known: int
    rest: ArtifactRef
    left: int


class KeepRequest(BaseModel, frozen=True):
    """What was found in the files of a `listing`, to be kept for the next audit of `tree`."""

    tree: Tree
    listing: ArtifactRef
    findings: list[ArtifactRef]


class Kept(BaseModel, frozen=True):
    """How many files' results were kept, and in how many bytes."""

    files: int
    bytes: int
