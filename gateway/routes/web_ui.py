"""Proxies Temporal's Web UI, which has no authentication, to users signed in to the dashboard.

Its codec endpoint has the same origin, so its pages send the session's cookie by themselves.
"""

from __future__ import annotations

from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from common.client.tokens import Scope as TokenScope
from gateway.auth.authentication import unauthorized
from gateway.auth.sessions import SignInNeededError, require_same_site, visitor
from gateway.pages import SIGN_IN
from gateway.problems import Problem, unavailable
from gateway.services import Gateway, Parts

router = APIRouter()

# The Web UI's static files: the same for everybody, and named after their content.
PROGRAM = "/_app/"
CSRF = "_csrf"
SENT = ("accept", "accept-encoding", "content-type", "caller-type", "x-csrf-token", "if-modified-since")
RETURNED = ("content-type", "content-encoding", "content-length", "last-modified")
# The pages bring their own policy for scripts. This one keeps them from sending elsewhere and others from
# framing them; they frame each other to show an agent's Markdown.
POLICY = "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
READ = ("GET", "HEAD")
# Long polls for new events last as long as Temporal lets them, which is under a minute.
TIMEOUT = httpx.Timeout(70, connect=2)


def client() -> httpx.AsyncClient:
    """The client for the Web UI's server. It keeps no cookies: they are each visitor's, for CSRF checks."""
    none = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(trust_env=False, timeout=TIMEOUT, cookies=none)


class ByPort:
    """Routes requests on one port to another application."""

    def __init__(self, app: ASGIApp, other: ASGIApp, port: int) -> None:
        self._app, self._other, self._port = app, other, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_other = scope["type"] == "http" and scope["server"] and scope["server"][1] == self._port
        await (self._other if is_other else self._app)(scope, receive, send)


@router.api_route("/{path:path}", methods=[*READ, "POST", "PUT", "PATCH", "DELETE"])
async def web_ui(request: Request, parts: Parts, path: str) -> Response:
    """Proxy the Web UI: for everyone who has signed in; changes are for operators only."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    http = parts.settings.http
    if f"http://{request.headers['host']}" != http.codec_origin:
        if request.method not in READ:
            raise Problem(HTTPStatus.MISDIRECTED_REQUEST, f"The Web UI is at {http.codec_origin}.")
        # Browsers send the session's cookie only to the host name that people signed in at.
        return RedirectResponse(http.codec_origin + target)
    if not request.url.path.startswith(PROGRAM):
        try:
            await _admit(request, parts)
        except SignInNeededError:
            if "text/html" not in request.headers.get("accept", ""):
                raise unauthorized() from None
            return RedirectResponse(http.public_url + SIGN_IN, HTTPStatus.SEE_OTHER)
    return await _forward(request, http.web_ui + target)


async def _admit(request: Request, parts: Gateway) -> None:
    found = await visitor(request, parts)
    if request.method not in READ:
        require_same_site(request)
        # Operators only: the Web UI does not check whose an agent is.
        found.require(TokenScope.OPERATOR)


async def _forward(request: Request, address: str) -> Response:
    client: httpx.AsyncClient = request.app.state.http
    headers = {name: request.headers[name] for name in SENT if name in request.headers}
    if CSRF in request.cookies:
        headers["cookie"] = f"{CSRF}={request.cookies[CSRF]}"
    sent = client.build_request(request.method, address, headers=headers, content=await request.body())
    try:
        answer = await client.send(sent, stream=True)
    except httpx.HTTPError:
        raise unavailable("The Web UI cannot be reached just now.") from None
    returned: dict[str, Any] = {name: answer.headers[name] for name in RETURNED if name in answer.headers}
    returned["content-security-policy"] = POLICY
    if request.url.path.startswith(PROGRAM):
        returned["cache-control"] = "max-age=31536000, immutable"
    response = StreamingResponse(
        answer.aiter_raw(), answer.status_code, returned, background=BackgroundTask(answer.aclose)
    )
    for cookie in dict.fromkeys(answer.headers.get_list("set-cookie")):
        response.headers.append("set-cookie", cookie)
    return response
