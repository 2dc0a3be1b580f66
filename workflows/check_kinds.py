"""Checks, before a worker takes work, that every kind of agent can run; says in one line why one cannot."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import traceback
from collections.abc import Collection, Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any, get_args

from pydantic import BaseModel
from temporalio import workflow

from common.agents.agent import AgentInput
from common.agents.kinds import KINDS, Kind
from common.failures import code_place
from workflows.core.agent import Agent
from workflows.replayer import sandbox

DEFINED = "__temporal_activity_definition"
# For a module that the sandbox must not load again for each agent.
HOW_TO_IMPORT = "import it within `with workflow.unsafe.imports_passed_through():`, or only in activities"


class KindError(Exception):
    """A kind that cannot run; the message says why, and where."""


def check_kinds(activities: Collection[str]) -> None:
    """Check that each kind can run on a worker with these activities, given by their wire names.

    Call it in a running event loop; the SDK's sandbox needs one.

    Raises:
        KindError: for the first kind that cannot.
    """
    for kind in KINDS.values():
        flaw = next(_flaws(kind, activities), "")
        if flaw:
            raise KindError(f"the kind {kind.name}: {flaw}")


def _flaws(kind: Kind, activities: Collection[str]) -> Iterator[str]:
    try:
        found = kind.workflow_class()
        definition = workflow._Definition.must_from_class(found)
    except Exception as error:
        yield _in_words(error)
        return
    try:
        sandbox().prepare_workflow(definition)
    except Exception as error:
        # It loads outside the sandbox, so one of its imports is the problem.
        yield f"{_in_words(error)}: {HOW_TO_IMPORT}"
        return
    name = found.__name__
    if definition.name != kind.name:
        yield f'{name} has @workflow.defn(name="{definition.name}"); the two names must be the same'
    if not issubclass(found, Agent):
        yield f"{name} is not an Agent: derive it from Agent[Input, Memory]"
        return
    if not issubclass(kind.input, AgentInput):
        yield f"{kind.input.__name__} is not an agent input: derive it from AgentInput or AskingInput"
    if definition.arg_types != [kind.input]:
        yield f"run of {name} must take one argument, `input: {kind.input.__name__}`"
    if not hasattr(found.__init__, "__temporal_workflow_init"):
        yield f"__init__ of {name} lacks @workflow.init"
    yield from _flaws_of_memory(found)
    for owner, method in _activities_used(sys.modules[found.__module__]):
        yield from _flaws_of_activity(owner, method, activities)


def _in_words(error: BaseException) -> str:
    """What keeps a workflow from being loaded, or from running in the sandbox, and where."""
    while error.__cause__:
        error = error.__cause__
    trace = "".join(traceback.format_exception(error))
    words = error.msg if isinstance(error, SyntaxError) else str(error)
    said = re.sub(r"\. If this is code .*", "", " ".join(words.split()))
    return f"{type(error).__name__}: {said}{code_place(trace)}"


def _flaws_of_memory(agent: type) -> Iterator[str]:
    bases = (get_args(each) for each in getattr(agent, "__orig_bases__", ()))
    [memory] = [args[1] for args in bases if len(args) == 2] or [None]
    if isinstance(memory, type) and issubclass(memory, BaseModel):
        try:
            memory().model_dump_json()
        except Exception:
            bare = [name for name, field in memory.model_fields.items() if field.is_required()]
            why = f"give {', '.join(bare)} a default" if bare else "its defaults have no JSON"
            yield f"every field of {memory.__name__} needs a default that can be written as JSON: {why}"
        init: Any = agent.__init__  # type: ignore[misc]
        if not any(init.__globals__.get(each) is memory for each in _names(init.__code__)):
            yield f"__init__ of {agent.__name__} must call `super().__init__(input, {memory.__name__})`"


def _flaws_of_activity(owner: type, method: str, activities: Collection[str]) -> Iterator[str]:
    function, named = getattr(owner, method), f"{owner.__name__}.{method}"
    definition = getattr(function, DEFINED, None)
    if definition is None:
        yield f'{named} is not an activity: decorate it with @activity.defn(name="…")'
        return
    if definition.name not in activities:
        yield f"no worker has {named}: name its class as `activities` of the kind in common/agents/kinds.py"
    if len(definition.arg_types or ()) != 1:
        yield f"{named} must take one argument, a pydantic model, with its type"
        return
    fields = getattr(definition.arg_types[0], "model_fields", {})
    if "authorization" in fields and not _uses(owner, function, "authorization", set()):
        yield f"{named} acts without approval: call self._authority.authorize(request.authorization, …) first"


@cache
def _activities_used(module: Any) -> list[tuple[type, str]]:
    """Each `Class.method` that the file of an agent names, of a class from `activities/`."""
    used = dict[tuple[type, str], None]()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = getattr(module, node.value.id, None)
            if not isinstance(owner, type) or not isinstance(vars(owner).get(node.attr), FunctionType):
                continue
            if any(hasattr(each, DEFINED) for each in vars(owner).values()):
                used[owner, node.attr] = None
    return list(used)


def _uses(owner: type, function: Any, name: str, seen: set[Any]) -> bool:
    """Whether a method, or what it calls of its own class or file, names `name`."""
    if function in seen:
        return False
    seen.add(function)
    names = _names(function.__code__)
    near = (vars(owner).get(each) or function.__globals__.get(each) for each in names)
    return name in names or any(_uses(owner, e, name, seen) for e in near if isinstance(e, FunctionType))


def _names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return {*code.co_names}.union(*map(_names, inner))
