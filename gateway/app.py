"""Assembles the gateway from its parts, routes, error handlers and middleware."""

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
from common.grammar import UnreadableTimeError
from common.names import UnusableValueError
from common.object_store import StoreUnavailableError
from common.settings import Settings, SettingsError
from gateway import problems
from gateway.auth.sessions import SignInNeededError
from gateway.edge import EdgeMiddleware
from gateway.pages import PAGES, error_page
from gateway.problems import ProblemDocument
from gateway.routes import (
    agents,
    answer,
    approve,
    batch_pages,
    batches,
    codec,
    dashboard,
    docs,
    files,
    inbox_page,
    operations,
    overview_page,
    question_pages,
    search_page,
    sign_in,
    slack,
    start_pages,
    starts,
    steering,
    web_ui,
)
from gateway.services import Gateway, open_gateway
from gateway.slack.socket_mode import socket_mode

STATIC = Path(__file__).parent / "static"
DESCRIPTION = (
    "Durable agents that live for days: start them, watch them, decide what they ask, steer them. "
    "All routes except those for operations need a bearer token. Errors are RFC 9457 problem documents. "
    "An agent that is somebody else's answers 404, like one that does not exist."
)
USER_PAGES = (
    answer, approve, batch_pages, codec, dashboard, docs, inbox_page, overview_page, question_pages,
    search_page, sign_in, slack, start_pages,
)  # fmt: skip
ERRORS: dict[int | str, dict[str, Any]] = {
    422: {"description": "The request is not valid; `errors` says where."},
    "default": {"description": "What went wrong."},
}

# Any other exception is a bug, answered with 500 and logged with its traceback.
KNOWN_ERRORS: tuple[type[Exception], ...] = (
    HTTPException, RequestValidationError, ValidationError, AgentClientError, UnusableValueError,
    UnicodeEncodeError, UnreadableTimeError, SettingsError, RPCError, SignInNeededError,
    StoreUnavailableError, ArchiveDamagedError,
)  # fmt: skip


def build(gateway: Gateway, http: httpx.AsyncClient) -> EdgeMiddleware:
    """Build the application from its parts; it closes ``http`` on shutdown."""
    at = gateway.settings.http
    ui_http = web_ui.client()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with http, ui_http, socket_mode(gateway.settings, gateway.slack):
            yield

    app = FastAPI(
        title="Hibernaut",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # Serve `/agents` only; do not redirect `/agents/` to it.
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
    # Starts come first: they own POST `/agents/{kind}`.
    for each in (starts, agents, files, steering, batches, operations):
        app.include_router(each.router, responses=described)
    for page in USER_PAGES:
        app.include_router(page.router, include_in_schema=False)
    app.include_router(files.pages, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    ui = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.state.gateway, ui.state.http = gateway, ui_http
    for each in (codec, web_ui):
        ui.include_router(each.router)
    for kind in (*KNOWN_ERRORS, Exception):
        app.add_exception_handler(kind, _answer)
        ui.add_exception_handler(kind, _answer)
    _describe_problems(app)
    return EdgeMiddleware(
        web_ui.ByPort(app, ui, at.web_ui_address[1]) if at.web_ui else app,
        gateway.metrics,
        at.body_bytes,
        names=at.names,
        secure=at.public_url.startswith("https:"),
    )


async def build_from(settings: Settings) -> EdgeMiddleware:
    """The application as the settings describe it.

    Raises:
        SettingsError: a setting is missing or not valid.
    """
    http = httpx.AsyncClient(follow_redirects=False)
    return build(await open_gateway(settings, http), http)


async def _answer(request: Request, error: Exception) -> Response:
    """The error, as a page under the pages' paths and as a problem document everywhere else."""
    if request.url.path.startswith(PAGES):
        return error_page(request, error)
    return problems.respond(error)


def _describe_problems(app: FastAPI) -> None:
    """Add the problem document, which every route's errors refer to, to the OpenAPI schemas."""
    inner = app.openapi

    def openapi() -> dict[str, Any]:
        document = inner()
        schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        schemas.update(schema.pop("$defs", {}))
        schemas["ProblemDocument"] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]
