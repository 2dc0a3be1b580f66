"""Searches agents by their past, live and archived: `starter.py find` as a form."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from common.agents.kinds import KINDS
from common.agents.states import AgentState, RunStatus
from common.archive.search import Findings
from common.client.errors import AgentClientError
from common.client.filters import AgentFilter
from common.client.tokens import Scope
from common.names import UnusableValueError
from common.object_store import StoreUnavailableError
from gateway.auth.sessions import Visiting
from gateway.pages import page
from gateway.services import Gateway, Parts

router = APIRouter()

ROWS = 200
# The form's fields; empty ones do not filter.
FIELDS = (
    "text",
    "kind",
    "node",
    "is",
    "owner",
    "batch",
    "since",
    "until",
    "where",
    "stuck",
    "troubled",
    "zone",
)


@router.get("/ui/search")
async def search(request: Request, parts: Parts, visitor: Visiting) -> Response:
    """The form, with the results below it, or errors next to their fields."""
    visitor.require(Scope.READ)
    given = {name: text for name in FIELDS if (text := request.query_params.get(name, "").strip())}
    asked = bool(given.keys() - {"zone"})
    found, problems = Findings([]), dict[str, str]()
    try:
        wanted = _filter(given)
        if not visitor.subject.operator:
            wanted = wanted.model_copy(update={"owner": visitor.subject.id})
        if asked:
            found = await _find(parts, wanted)
    except ValidationError as error:
        for each in error.errors():
            name = str(each["loc"][0]) if each["loc"] else "troubled"
            problems[name] = str(each["msg"]).removeprefix("Value error, ")
    except (UnusableValueError, AgentClientError) as error:
        problems[""] = str(error)
    return page(
        request,
        "search.html",
        visitor=visitor,
        given=given,
        problems=problems,
        asked=asked and not problems,
        rows=found.agents,
        gaps=found.gaps,
        limit=ROWS,
        command=_command(given) if asked and not problems else "",
        kinds=list(KINDS),
        states=list(AgentState),
        statuses=[each for each in RunStatus if each is not RunStatus.RUNNING],
    )


def _filter(given: Mapping[str, str]) -> AgentFilter:
    """The filter; the form's `is` is a state of running agents or a status."""
    values = {name: text for name, text in given.items() if name != "is"}
    values.setdefault("zone", "UTC")
    if "is" in given:
        is_state = given["is"] in {each.value for each in AgentState}
        values["state" if is_state else "status"] = given["is"]
    return AgentFilter.model_validate(values)


async def _find(parts: Gateway, wanted: AgentFilter) -> Findings:
    """The agents that match; while the archive is unreachable, only live ones, with a note."""
    now = datetime.now(UTC)
    if wanted.state is not None:
        # Only running agents have a state.
        wanted = wanted.model_copy(update={"where": "live"})
    try:
        return await parts.search.find(wanted, now, ROWS)
    except StoreUnavailableError:
        live = await parts.search.find(wanted.model_copy(update={"where": "live"}), now, ROWS)
        live.gaps.append("The archive cannot be reached just now")
        return live


def _command(given: Mapping[str, str]) -> str:
    """The same search in a shell."""
    words = ["starter.py", "find"]
    for name, text in given.items():
        match name:
            case "stuck" | "troubled":
                words.append(f"--{name}")
            case "where":
                words.append(f"--{text}")
            case "is":
                words += ["--status", text] if text in set(RunStatus) else []
            case _:
                words += [f"--{name}", text]
    return shlex.join(words)
