"""The records of the results that are kept from one audit to the next."""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.agents.fields import LocalPath
from common.artifacts import ArtifactRef


class Tree(BaseModel, frozen=True):
    """What an audit looks at, by which its results are kept: whose it is, the folder, and what of it."""

    owner: str
    root: LocalPath
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)


class RecallRequest(BaseModel, frozen=True):
    """Asks what earlier audits of `tree` found in the files of a `listing`, as they are now."""

    tree: Tree
    listing: ArtifactRef


class Recalled(BaseModel, frozen=True):
    """Of `known` files the `findings`, and `rest`, the listing of the `left` files that are to be scanned."""

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
    """Of how many files the results were kept, in how many bytes."""

    files: int
    bytes: int
