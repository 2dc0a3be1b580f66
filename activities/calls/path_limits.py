"""Wraps every activity: its paths, given or opened, must lie under roots that the agent's owner may use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.calls.owner import owner_of_caller
from activities.safe_files import current_territory
from common.agents.fields import paths_of
from common.errors import permanent
from common.roots import PathRefusedError, Roots, check_path
from common.territory import NOWHERE, Territory


class PathLimits(Interceptor):
    """A worker interceptor.

    Args:
        client: asks Temporal for the agent's owner.
        roots: where the agents of each owner may read and write.
        own: one of the program's own folders, which a plan may name.
    """

    def __init__(self, client: Client, roots: Roots, own: Path) -> None:
        self.client, self.roots, self.own = client, roots, own

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap one activity execution."""
        return _PathLimitsInbound(next, self)


class _PathLimitsInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, limits: PathLimits) -> None:
        super().__init__(next)
        self._limits = limits

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        # The activity runs in a copy of this context, even if it runs in a thread.
        current_territory.set(await self._territory(input.args))
        return await super().execute_activity(input)

    async def _territory(self, arguments: Sequence[Any]) -> Territory:
        named = [(field, path) for field, path in paths_of(arguments) if path != str(self._limits.own)]
        if not named:
            return NOWHERE
        territory = self._limits.roots.of(await owner_of_caller(self._limits.client))
        for field, path in named:
            try:
                check_path(territory, field, path)
            except PathRefusedError as error:
                raise permanent("PathRefused", str(error)) from None
        return territory
