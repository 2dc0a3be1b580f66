"""What agents wrote for people: their reports, drafts and letters, from the object store."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from common.client.tokens import Scope
from gateway.auth.authentication import Reader
from gateway.auth.authorization import require_visible
from gateway.auth.sessions import Visiting
from gateway.file_responses import ANY_TYPE, open_artifact, open_file
from gateway.services import Parts
from gateway.views import PAGE_PATIENCE

router = APIRouter(tags=["looking at agents"])
pages = APIRouter()

BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {ANY_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


class FileNames(BaseModel):
    """The names of an agent's files."""

    files: list[str]


@router.get("/agents/{id}/files")
async def list_files(parts: Parts, subject: Reader, id: str) -> FileNames:
    """The names of what an agent wrote for people: reports, drafts, letters."""
    await require_visible(parts.views, subject, id)
    return FileNames(files=await asyncio.to_thread(parts.files.names, id))


@router.get("/agents/{id}/files/{name}", response_class=Response, responses=BYTES)
async def get_file(parts: Parts, subject: Reader, id: str, name: str) -> Response:
    """One of an agent's files."""
    await require_visible(parts.views, subject, id)
    return await open_file(parts, id, name, save=True)


@router.get("/agents/{id}/artifacts/{sha256}", response_class=Response, responses=BYTES)
async def get_artifact(parts: Parts, subject: Reader, id: str, sha256: str) -> Response:
    """What an open plan or the result of an agent refers to by its SHA-256: a diff, a draft, letters."""
    await require_visible(parts.views, subject, id)
    return await open_artifact(parts, await parts.views.view(id, PAGE_PATIENCE), sha256, sha256, save=True)


@pages.get("/ui/agents/{id}/files/{name}")
async def show_file(parts: Parts, visitor: Visiting, id: str, name: str, save: bool = False) -> Response:
    """One of an agent's files, for display."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    return await open_file(parts, id, name, save=save)


@pages.get("/ui/agents/{id}/artifacts/{sha256}/{name}")
async def show_artifact(
    parts: Parts, visitor: Visiting, id: str, sha256: str, name: str, save: bool = False
) -> Response:
    """An artifact that an agent's page refers to, for display."""
    visitor.require(Scope.READ)
    await require_visible(parts.views, visitor.subject, id)
    return await open_artifact(parts, await parts.views.view(id, PAGE_PATIENCE), sha256, name, save=save)
