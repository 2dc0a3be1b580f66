"""Starts agents by a form, with the same checks as `POST /agents/{kind}`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.responses import RedirectResponse, Response

from common.agents.kinds import KINDS, Kind
from common.client.batch_decisions import new_token
from common.client.errors import NoSuchAgentError, StartRefusedError, TooManyAgentsError
from common.client.tokens import Scope
from common.digest import digest
from common.names import UnusableValueError
from gateway.auth.authorization import require_steerable
from gateway.auth.sessions import Visiting, Visitor, session_form
from gateway.pages import page
from gateway.problems import Problem
from gateway.routes.starts import read_input, start_agent
from gateway.services import Gateway, Parts
from gateway.start_form import StartForm, empty_form, form_like, given_form, read_values

router = APIRouter()

NOT_ALLOWED = "The token you signed in with does not allow starting agents."


@router.get("/ui/start")
async def kinds(request: Request, parts: Parts, visitor: Visiting) -> Response:
    """The kinds of agents."""
    visitor.require(Scope.READ)
    bars = {kind.name: _bars(parts, visitor, kind) for kind in KINDS.values()}
    return page(request, "start.html", visitor=visitor, kinds=list(KINDS.values()), bars=bars)


@router.get("/ui/start/{name}")
async def form(
    request: Request,
    parts: Parts,
    visitor: Visiting,
    name: str,
    like: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The form of a kind, with its defaults or the input of the agent `like`."""
    visitor.require(Scope.READ)
    kind = _kind(name)
    filled = empty_form(kind)
    if like:
        # An agent's input is only for those who may steer it.
        await require_steerable(parts.views, visitor.subject, like)
        agent = await parts.histories.runs(like)
        if agent.kind != kind.name:
            raise NoSuchAgentError(like)
        filled = form_like(kind, await parts.histories.input(agent, kind.input))
    return _page(request, parts, visitor, kind, filled, like=like)


@router.post("/ui/start/{name}")
async def start(request: Request, parts: Parts, visitor: Visiting, name: str) -> Response:
    """Start an agent. The same form sent again starts no second one, unless its values changed."""
    sent = await session_form(request, parts)
    visitor.require(Scope.WRITE)
    kind = _kind(name)
    try:
        input = read_input(kind, to_json(read_values(kind, sent)))
        key = f"form {sent.get('once', '')} {digest(input)}"
        id = await start_agent(parts, kind, input, visitor.subject.id, key)
    except (RequestValidationError, UnusableValueError, StartRefusedError, TooManyAgentsError) as error:
        filled = given_form(kind, sent, error)
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return _page(request, parts, visitor, kind, filled, once=sent.get("once", ""), status=status)
    return RedirectResponse(f"/ui/agents/{quote(id, safe='')}?told=started", HTTPStatus.SEE_OTHER)


def _page(
    request: Request,
    parts: Gateway,
    visitor: Visitor,
    kind: Kind,
    form: StartForm,
    *,
    like: str = "",
    once: str = "",
    status: int = HTTPStatus.OK,
) -> Response:
    return page(
        request,
        "start_form.html",
        status=status,
        visitor=visitor,
        kind=kind,
        form=form,
        like=like,
        once=once or new_token(),
        bars=_bars(parts, visitor, kind),
        policy=parts.agents.start_rule(kind.name, visitor.subject.id).in_words,
    )


def _bars(parts: Gateway, visitor: Visitor, kind: Kind) -> str:
    """Why the visitor can start no such agent, whatever the input; empty if they can."""
    if not visitor.subject.may(Scope.WRITE):
        return NOT_ALLOWED
    if parts.agents.start_rule(kind.name, visitor.subject.id).start == "never":
        return f"The operator's policy lets {visitor.subject.id} start no {kind.name}."
    return ""


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise Problem(HTTPStatus.NOT_FOUND, f"There is no kind of that name; there are: {', '.join(KINDS)}.")
    return KINDS[name]
