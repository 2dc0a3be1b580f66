"""Puts the gateway together: its parts, its routes, its errors, its outermost layer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from temporalio.service import RPCError

from common.archive.chain import ArchiveDamagedError
from common.client.errors import AgentClientError
from common.client.times import UnreadableTimeError
from common.client.visibility import UnusableValueError
from common.object_store import StoreUnavailableError
from common.settings import Settings, SettingsError
from gateway import problems
from gateway.auth.sessions import SignInNeededError
from gateway.edge import Edge
from gateway.pages import PAGES, error_page
from gateway.problems import ProblemDocument
from gateway.routes import agents, approve, codec, dashboard, docs, operations, slack, starts, steering
from gateway.services import Gateway, open_gateway
from gateway.slack.socket_mode import socket_mode

STATIC = Path(__file__).parent / "static"
DESCRIPTION = (
    "Durable agents that live for days: start them, look at them, decide what they ask, steer them. "
    "All but the routes for operations need a bearer token. Errors are RFC 9457 problem documents. "
    "What is somebody else's answers 404, as what is not there."
)
ERRORS: dict[int | str, dict[str, Any]] = {
    422: {"description": "The request cannot be read; `errors` says where."},
    "default": {"description": "What went wrong."},
}

# Whatever else is raised is a fault, answered as one and logged with its trace.
KNOWN_ERRORS: tuple[type[Exception], ...] = (
    HTTPException, RequestValidationError, ValidationError, AgentClientError, UnusableValueError,
    UnicodeEncodeError, UnreadableTimeError, SettingsError, RPCError, SignInNeededError,
    StoreUnavailableError, ArchiveDamagedError,
)  # fmt: skip


def build(gateway: Gateway, http: httpx.AsyncClient) -> Edge:
    """The application over its parts; ``http`` is closed with it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with http, socket_mode(gateway.settings, gateway.slack):
            yield

    app = FastAPI(
        title="Hibernaut",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # A path is one path: `/agents/` is not `/agents`, and nobody is sent from one to the other.
        redirect_slashes=False,
    )
    app.state.gateway = gateway
    described = {
        status: {
            **words,
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status, words in ERRORS.items()
    }
    # The starts come first: `/agents/{kind}` is theirs by POST alone.
    for each in (starts, agents, steering, operations):
        app.include_router(each.router, responses=described)
    for page in (approve, codec, dashboard, docs, slack):
        app.include_router(page.router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    for kind in (*KNOWN_ERRORS, Exception):
        app.add_exception_handler(kind, _answer)
    _describe_problems(app)
    return Edge(
        app,
        gateway.metrics,
        gateway.settings.http.body_bytes,
        secure=gateway.settings.http.public_url.startswith("https:"),
    )


async def build_from(settings: Settings) -> Edge:
    """The application over what the settings name.

    Raises:
        SettingsError: a setting is missing or cannot be used.
    """
    http = httpx.AsyncClient(follow_redirects=False)
    return build(await open_gateway(settings, http), http)


async def _answer(request: Request, error: Exception) -> Response:
    """The error as a page for who looks at pages, as a problem document for everybody else."""
    if request.url.path.startswith(PAGES):
        return error_page(request, error)
    return problems.respond(error)


def _describe_problems(app: FastAPI) -> None:
    """Name the problem document among the schemas, where every route's errors point to."""
    inner = app.openapi

    def openapi() -> dict[str, Any]:
        document = inner()
        schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        schemas.update(schema.pop("$defs", {}))
        schemas["ProblemDocument"] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]
