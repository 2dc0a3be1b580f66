"""Starting agents: one route for each kind, so that the API document shows what each takes."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from common.agents.agent import AgentInput
from common.agents.fields import holds_path
from common.agents.kinds import KINDS, Kind
from common.client.errors import AgentExistsError
from common.digest import digest
from gateway.auth.authentication import Writer
from gateway.problems import Problem
from gateway.schemas import Started
from gateway.services import Gateway, Parts

# Paths must be absolute: a worker has its own working directory.
ABSOLUTE = {"path": r"^/[^\u0000]*$", "path-or-address": r"^(/[^\u0000]*$|https?://|$)"}
router = APIRouter(tags=["starting agents"])

Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        description="The same key by the same person starts one agent, however often it is sent.",
    ),
]


def agent_id(kind: str, owner: str, key: str) -> str:
    """The id of the agent that ``owner`` starts under an idempotency key; depends on these three only."""
    return f"{kind}-{hashlib.sha256(f'{len(owner)} {owner}{key}'.encode()).hexdigest()[:16]}"


def read_input(kind: Kind, body: bytes) -> AgentInput:
    """An agent's input from a JSON object; types are strict, and paths must be absolute.

    Raises:
        RequestValidationError: a field is unknown, missing or not valid.
    """
    schema = kind.input.model_json_schema()["properties"]
    try:
        values = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _flaw("body", f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise _flaw("body", "give one JSON object")
    for name, value in values.items():
        # Check the schema, not the type: the type's `carried` holds an agent's approvals and is not in the
        # schema.
        if name not in schema:
            raise _flaw(name, f"{kind.name} has no such field; its fields: {', '.join(schema)}")
        # The type also takes `a,b` from a command line; JSON has lists.
        if schema[name].get("type") == "array" and not isinstance(value, list):
            raise _flaw(name, "give a list")
        is_path = isinstance(value, str) and holds_path(schema[name], value)
        if is_path and not PurePosixPath(value).is_absolute():
            raise _flaw(name, "give an absolute path; a worker has a working folder of its own")
        if schema[name].get("type") == "integer" and isinstance(value, float) and value.is_integer():
            values[name] = int(value)  # JSON Schema counts 5.0 as an integer; pydantic does not
    try:
        return kind.input.model_validate_json(to_json(values), strict=True)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_context=False)) from None


def _flaw(place: str, words: str) -> RequestValidationError:
    return RequestValidationError([{"loc": (place,), "msg": words}])


def _start(kind: Kind) -> Callable[..., Awaitable[Started]]:
    async def start(
        parts: Parts, subject: Writer, request: Request, response: Response, key: Key = ""
    ) -> Started:
        body = await request.body()
        input = read_input(kind, body)
        id = await start_agent(parts, kind, input, subject.id, key)
        at = parts.settings.http.public_url
        response.headers["Location"] = f"{at}/agents/{id}"
        return Started(id=id, status_url=f"{at}/agents/{id}", ui_url=f"{at}/ui/agents/{id}")

    start.__doc__ = f"Start an agent that {kind.summary}. The caller owns it, and gets its id at once."
    return start


async def start_agent(parts: Gateway, kind: Kind, input: AgentInput, owner: str, key: str) -> str:
    """Start an agent of `owner`, only one for each non-empty `key`, and return its id.

    Raises:
        Problem: 422, the key was used with another input; 409, the agent it started is archived.
        AgentClientError, UnusableValueError: as for `AgentClient.start`.
    """
    id = agent_id(kind.name, owner, key) if key else None
    if id:
        await _refuse_archived(parts, id)
    try:
        return await parts.writing_agents.start(
            kind.name, input, id=id, owner=owner, request=digest(input) if key else ""
        )
    except AgentExistsError:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "This Idempotency-Key was used with another body."
        ) from None


async def _refuse_archived(parts: Gateway, id: str) -> None:
    try:
        await parts.archived.refuse(parts.writing_agents, id)
    except AgentExistsError:
        raise Problem(
            HTTPStatus.CONFLICT, f"This Idempotency-Key started {id}, which is archived since; use another."
        ) from None


def _inline(part: Any, named: dict[str, Any]) -> Any:
    """A part of a schema with its references inlined; no input type is recursive."""
    if isinstance(part, list):
        return [_inline(each, named) for each in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("$ref"), str):
        part = {**named[part["$ref"].rpartition("/")[2]], **{k: v for k, v in part.items() if k != "$ref"}}
    return {name: _inline(value, named) for name, value in part.items()}


def _body_of(kind: Kind) -> dict[str, Any]:
    schema = {**kind.input.model_json_schema(), "additionalProperties": False}
    # An OpenAPI operation has no place for its body's definitions.
    schema = _inline(schema, schema.pop("$defs", {}))
    for field in schema["properties"].values():
        for part in (field, *field.get("anyOf", ())):
            if part.get("format") in ABSOLUTE:
                part["pattern"] = ABSOLUTE[part["format"]]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


for each in KINDS.values():
    router.add_api_route(
        f"/agents/{each.name}",
        _start(each),
        methods=["POST"],
        status_code=HTTPStatus.ACCEPTED,
        name=f"start_{each.name}",
        operation_id=f"start_{each.name.replace('-', '_')}",
        summary=f"Start: {each.name}",
        openapi_extra=_body_of(each),
        responses={409: {"description": "What this Idempotency-Key started is archived."}},
    )


@router.post("/agents/{kind}", include_in_schema=False)
async def no_such_kind(subject: Writer, kind: str) -> None:
    """Answer a start of an unknown kind with the list of kinds."""
    # 405, not 404: the path is an agent's, which can be read.
    raise Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"There is no kind of that name to start; the kinds are: {', '.join(KINDS)}.",
        headers={"Allow": "GET"},
    )
