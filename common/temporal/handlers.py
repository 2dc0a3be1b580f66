"""Limits what the SDK inspects of a workflow class, by default every name at each start and replay."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable

from temporalio import workflow


class HandlerDirMeta(ABCMeta):
    """Metaclass of a workflow base class whose `_handlers` lists its handlers: `dir` shows only these.

    It also shows the names that a workflow's own class defines. Outside the sandbox, where the SDK checks the
    class when its worker starts, it shows all names. An agent may have further abstract bases.
    """

    _handlers: tuple[str, ...]

    def __dir__(cls) -> Iterable[str]:
        if not workflow.unsafe.in_sandbox():
            return super().__dir__()
        base = next(each for each in cls.__mro__ if "_handlers" in vars(each))
        names = (name for each in cls.__mro__ if each not in base.__mro__ for name in vars(each))
        return {"__init__", *cls._handlers, *(name for name in names if not name.startswith("__"))}
