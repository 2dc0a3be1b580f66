"""The Web UI's codec endpoint: decodes payloads for people who may see their agents.

Only pages of one configured origin may call it. A payload names the agent it was encrypted for; only those
who may see that agent get it decrypted.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from temporalio.api.common.v1 import Payload, Payloads

from common.client.errors import AgentClientError
from common.object_store import ObjectMissingError, StoreUnavailableError
from common.temporal.payload_store import PayloadDamagedError
from gateway.auth.authentication import Subject, address_of, unauthorized
from gateway.auth.authorization import require_visible
from gateway.auth.sessions import SignInNeededError, visitor
from gateway.codec_service import MayRead
from gateway.problems import Problem, unavailable
from gateway.services import Gateway, Parts

router = APIRouter(prefix="/codec", tags=["codec"], include_in_schema=False)

_bearer = HTTPBearer(auto_error=False)


async def reader(
    request: Request,
    parts: Parts,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Subject:
    """The caller: by bearer token, or by the dashboard's session if a page of the Web UI calls.

    Raises:
        Problem: 401, nobody has authenticated; 403, the page is of another origin.
    """
    allow_origin(request, parts)
    if credentials is not None:
        return await parts.authenticator.subject_of(credentials.credentials, address_of(request))
    if "origin" not in request.headers:
        raise unauthorized()
    try:
        return (await visitor(request, parts)).subject
    except SignInNeededError:
        raise unauthorized() from None


Viewer = Annotated[Subject, Depends(reader)]


def allow_origin(request: Request, parts: Gateway) -> dict[str, str]:
    """CORS headers that let the Web UI's pages read the answer; none if no page calls.

    Raises:
        Problem: 403, the page is of another origin.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return {}
    if origin != parts.settings.http.codec_origin:
        raise Problem(HTTPStatus.FORBIDDEN, "Pages of this origin may not have payloads decoded.")
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


@router.options("/{what}")
async def preflight(request: Request, parts: Parts, what: str) -> Response:
    """Answer a browser's CORS preflight for the Web UI's pages."""
    headers = allow_origin(request, parts)
    headers["Access-Control-Allow-Methods"] = "POST"
    headers["Access-Control-Allow-Headers"] = "authorization, content-type, x-namespace"
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


@router.post("/decode")
async def decode(request: Request, parts: Parts, viewer: Viewer) -> Response:
    """Decode each payload that the viewer may read; references stay references."""
    payloads = await _payloads(request)
    return _answer(request, parts, await parts.codec.decode(payloads, _may_read(parts, viewer)))


@router.post("/download")
async def download(request: Request, parts: Parts, viewer: Viewer) -> Response:
    """Like `decode`, but fetch referenced payloads from the store."""
    payloads = await _payloads(request)
    try:
        found = await parts.codec.download(payloads, _may_read(parts, viewer))
    except StoreUnavailableError:
        raise unavailable("The store of large payloads cannot be reached just now.") from None
    except ObjectMissingError:
        raise Problem(HTTPStatus.NOT_FOUND, "What the payload refers to is not in the store.") from None
    except PayloadDamagedError as error:
        raise Problem(HTTPStatus.NOT_FOUND, f"What the payload refers to is damaged: {error}.") from None
    return _answer(request, parts, found)


@router.post("/encode")
async def encode(request: Request, parts: Parts, viewer: Viewer) -> Response:
    """Encrypt each payload, for a signal that an operator types."""
    if not viewer.operator:
        raise Problem(HTTPStatus.FORBIDDEN, "Only operators may have payloads encrypted.")
    return _answer(request, parts, await parts.codec.encode(await _payloads(request)))


async def _payloads(request: Request) -> list[Payload]:
    try:
        body: Any = json.loads(await request.body())
        # `{**body}` rejects a list, which `ParseDict` would take for an empty message.
        return list(ParseDict({**body}, Payloads()).payloads)
    except (TypeError, ValueError, ParseError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "Send Temporal payloads as JSON.") from None


def _answer(request: Request, parts: Gateway, payloads: list[Payload]) -> Response:
    text = json.dumps(MessageToDict(Payloads(payloads=payloads)))
    return Response(text, media_type="application/json", headers=allow_origin(request, parts))


def _may_read(parts: Gateway, viewer: Subject) -> MayRead:
    """A cached check that the viewer may see an agent; only operators may read payloads of no agent."""
    seen: dict[str, bool] = {"": False}

    async def may_read(agent: str) -> bool:
        if viewer.operator:
            return True
        if agent not in seen:
            try:
                await require_visible(parts.views, viewer, agent)
                seen[agent] = True
            except AgentClientError:
                seen[agent] = False
        return seen[agent]

    return may_read
