"""What the SDK looks at of a workflow class: every name, at each start and replay, unless told less."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable

from temporalio import workflow


class ShowsHandlers(ABCMeta):
    """The type of a base class of workflows whose `_handlers` names its own: in the sandbox it shows no more.

    With them go the names of what a workflow's class defines itself. Outside of the sandbox, where the SDK
    checks the class when its worker starts, all are there. An agent may have abstract bases beside it.
    """

    _handlers: tuple[str, ...]

    def __dir__(cls) -> Iterable[str]:
        if not workflow.unsafe.in_sandbox():
            return super().__dir__()
        base = next(each for each in cls.__mro__ if "_handlers" in vars(each))
        names = (name for each in cls.__mro__ if each not in base.__mro__ for name in vars(each))
        return {"__init__", *cls._handlers, *(name for name in names if not name.startswith("__"))}
