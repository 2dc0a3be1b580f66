"""Serves what an agent wrote to a browser: shown if that is safe, downloaded otherwise.

It may contain text by strangers, so it opens in a sandbox apart from this origin, and loads nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import PurePath
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from temporalio.exceptions import ApplicationError

from common.approval.plan_view import refs_in
from common.client.view import AgentView
from common.object_store import ObjectMissingError
from gateway.problems import Problem
from gateway.services import Gateway

ANY_TYPE = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
# What a browser shows. All text types are shown as plain text; a report is a page with its own script.
SHOWN = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp",
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    **dict.fromkeys((".txt", ".md", ".csv", ".json", ".jsonl", ".sarif", ".diff", ".patch", ".log"), TEXT),
}  # fmt: skip
NOTHING = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
REPORT = NOTHING.replace("sandbox;", "sandbox allow-scripts;") + "; script-src 'unsafe-inline'"


async def open_file(parts: Gateway, id: str, name: str, *, save: bool) -> Response:
    """A file of an agent.

    Raises:
        Problem: 404, it has no file of that name.
    """
    try:
        data = await asyncio.to_thread(parts.files.read, id, name)
    except ObjectMissingError:
        raise Problem(HTTPStatus.NOT_FOUND, "The agent has no such file.") from None
    return file_response(data, name, save=save)


async def open_artifact(parts: Gateway, view: AgentView, sha256: str, name: str, *, save: bool) -> Response:
    """An artifact that an agent's open plans or its result refer to, under the name they give it.

    Raises:
        Problem: 404, neither plans nor result refer to the artifact, or it no longer exists.
    """
    shown = [*(each.plan for each in view.requests), view.result]
    return await open_ref(parts, shown, sha256, name, save=save)


async def open_ref(parts: Gateway, shown: object, sha256: str, name: str, *, save: bool) -> Response:
    """An artifact that `shown` refers to; raises like `open_artifact`."""
    ref = next((each for each in refs_in(shown) if each.sha256 == sha256), None)
    try:
        if ref is not None:
            data = await asyncio.to_thread(parts.artifacts.get, ref)
            return file_response(iter([data]), name, save=save)
    except ApplicationError:
        pass
    raise Problem(HTTPStatus.NOT_FOUND, "There is no such thing to open; what it was part of may be over.")


def file_response(data: Iterator[bytes], name: str, *, save: bool) -> Response:
    """A response for a file: displayed if a browser can, and downloaded otherwise or with `save`."""
    kind = SHOWN.get(PurePath(name).suffix.lower())
    headers = {"Content-Security-Policy": REPORT if kind and kind.startswith("text/html") else NOTHING}
    if save or kind is None:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return StreamingResponse(data, media_type=kind or ANY_TYPE, headers=headers)
