"""Every error the gateway answers with, as an RFC 9457 problem document; classified in one place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import to_jsonable_python
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from temporalio.service import RPCError, RPCStatusCode

from common.archive.chain import ArchiveDamagedError
from common.client.errors import AgentClientError, NoSuchAgentError, StartRefusedError, TooManyAgentsError
from common.grammar import UnreadableTimeError
from common.names import UnusableValueError
from common.object_store import StoreUnavailableError
from common.settings import SettingsError
from common.temporal.search_attributes import unregistered

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 5  # seconds; about as long as a server takes to restart
# The same text whether there is no such agent or it is somebody else's.
NO_SUCH_AGENT = "There is no such agent, or it is not yours to see."


class Flaw(BaseModel):
    """What is wrong in one place of a request."""

    at: str
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457. `errors` names the places of a request that are not valid."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    errors: list[Flaw] = Field(default_factory=list)


class Problem(HTTPException):
    """An error to answer with; `more` are additional members of the document."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.more = more


class ProblemResponse(JSONResponse):
    """A response that holds a problem document."""

    media_type = MEDIA_TYPE


def no_such_agent() -> Problem:
    """The one answer for agents that do not exist and agents that may not be seen."""
    return Problem(HTTPStatus.NOT_FOUND, NO_SUCH_AGENT)


def problem_of(error: Exception) -> Problem:
    """Convert any ``error`` to a problem that shows only what the client may know."""
    match error:
        case Problem():
            return error
        case HTTPException():
            phrase = HTTPStatus(error.status_code).description or error.detail
            return Problem(HTTPStatus(error.status_code), phrase, headers=error.headers)
        case RequestValidationError():
            return invalid(error.errors())
        case ValidationError():
            return invalid(error.errors(include_url=False, include_context=False))
        case NoSuchAgentError():
            return no_such_agent()
        case StartRefusedError():
            return Problem(HTTPStatus.FORBIDDEN, str(error))
        case TooManyAgentsError():
            headers = {"Retry-After": str(RETRY_AFTER)}
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers)
        case AgentClientError():
            return Problem(HTTPStatus.CONFLICT, str(error))
        case UnusableValueError() | UnreadableTimeError():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        case UnicodeEncodeError():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "A text is not valid Unicode.")
        case SettingsError():
            return unavailable("The gateway's own settings cannot be read just now.")
        case StoreUnavailableError():
            return unavailable("The object store cannot be reached just now.")
        case ArchiveDamagedError():
            return Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "Its copy in the archive is damaged; `starter.py archive verify` says where.",
            )
        case RPCError() if error.status in _TRANSIENT:
            return unavailable("Temporal cannot be reached just now.")
        case RPCError() if unregistered(error):
            return unavailable("Temporal is not set up for agents yet; `starter.py setup` does that.")
        case RPCError() if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Temporal does not accept such a value.")
        case RuntimeError() if "client connect" in str(error):
            return unavailable("Temporal cannot be reached just now.")
        case RPCError():
            # Log it here; other unexpected errors are unhandled, and the server logs them.
            _log.error("a call of Temporal has failed: %s: %s", error.status.name, error)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The gateway has failed; its log says why.")


def unavailable(detail: str) -> Problem:
    """503: something the gateway needs is out of reach for now."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER)})


def invalid(errors: Sequence[Any]) -> Problem:
    """422: an invalid request, with each place where it is."""
    flaws = [
        {"at": ".".join(str(part) for part in each["loc"]), "detail": str(each["msg"])} for each in errors
    ]
    detail = "; ".join(": ".join(filter(None, flaw.values())) for flaw in flaws[:5])
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=flaws[:50])


def respond(error: Exception) -> ProblemResponse:
    """``error`` as a response."""
    problem = problem_of(error)
    status = HTTPStatus(problem.status_code)
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": problem.detail,
        **to_jsonable_python(problem.more),
    }
    return ProblemResponse(_valid_unicode(document), status_code=status.value, headers=problem.headers)


def _valid_unicode(value: Any) -> Any:
    """``value`` with invalid Unicode replaced; an error may quote what was sent."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_valid_unicode(key): _valid_unicode(each) for key, each in value.items()}
    return [_valid_unicode(each) for each in value] if isinstance(value, list) else value


_TRANSIENT = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.ABORTED,
)
