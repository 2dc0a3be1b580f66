"""Prepares a Temporal namespace for agents, for `starter.py setup` and the embedded server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from common.temporal.search_attributes import REGISTRY

# The server's default is 24 hours; agents are archived 30 days after they close.
RETENTION = timedelta(days=90)
# A cluster's servers reload namespaces about every ten seconds.
KNOWN_WITHIN = 60.0
CALL_TIMEOUT = timedelta(seconds=10)


class Namespace:
    """A namespace, made ready for agents. Every method may raise ``RPCError`` and can be repeated."""

    def __init__(self, service: ServiceClient, name: str) -> None:
        self._service, self.name = service, name

    async def create(self) -> bool:
        """Create it if it is missing, and return once it is usable; whether it was missing."""
        workflows = self._service.workflow_service
        try:
            await workflows.describe_namespace(
                DescribeNamespaceRequest(namespace=self.name), retry=True, timeout=CALL_TIMEOUT
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            return False
        await workflows.register_namespace(
            RegisterNamespaceRequest(
                namespace=self.name, workflow_execution_retention_period=_duration(RETENTION)
            ),
            retry=True,
            timeout=CALL_TIMEOUT,
        )
        async with asyncio.timeout(KNOWN_WITHIN):
            while not await self._is_known():  # noqa: ASYNC110 -- only the server could tell
                await asyncio.sleep(0.5)
        return True

    async def keep_closed(self) -> timedelta | None:
        """Raise its retention of closed workflows to `RETENTION`; return the old one if it was less."""
        workflows = self._service.workflow_service
        found = await workflows.describe_namespace(
            DescribeNamespaceRequest(namespace=self.name), timeout=CALL_TIMEOUT
        )
        kept: timedelta = found.config.workflow_execution_retention_ttl.ToTimedelta()
        if kept >= RETENTION:
            return None
        config = NamespaceConfig(workflow_execution_retention_ttl=_duration(RETENTION))
        await workflows.update_namespace(
            UpdateNamespaceRequest(namespace=self.name, config=config), timeout=CALL_TIMEOUT
        )
        return kept

    async def register_attributes(self) -> list[str]:
        """Register missing search attributes, and return their names once they are usable.

        Raises:
            AttributeOfAnotherTypeError: some exist with another type, and none was registered.
        """
        missing = await missing_attributes(self._service, self.name)
        if not missing:
            return []
        types = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in missing}
        await self._service.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=self.name, search_attributes=types),
            timeout=CALL_TIMEOUT,
        )
        async with asyncio.timeout(KNOWN_WITHIN):
            # They are listed before workflows can use them, so query them too.
            query = " OR ".join(f"{name} IS NOT NULL" for name in types)
            while (  # noqa: ASYNC110 -- likewise
                await missing_attributes(self._service, self.name) or not await self._is_known(query)
            ):
                await asyncio.sleep(0.5)  # visibility takes ten queries a second by default
        return list(types)

    async def _is_known(self, query: str = "") -> bool:
        try:
            await self._service.workflow_service.count_workflow_executions(
                CountWorkflowExecutionsRequest(namespace=self.name, query=query), timeout=CALL_TIMEOUT
            )
        except RPCError as error:
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise
            return False
        return True


class AttributeOfAnotherTypeError(Exception):
    """Search attributes that agents need have another type; the message names them."""


async def missing_attributes(service: ServiceClient, namespace: str) -> list[SearchAttributeKey[Any]]:
    """The search attributes that `namespace` lacks.

    Raises:
        AttributeOfAnotherTypeError: some exist, but with another type.
        RPCError: the server does not answer, or does not show them.
    """
    found = await service.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace), timeout=CALL_TIMEOUT
    )
    there = found.custom_attributes
    taken = [key.name for key in REGISTRY if there.get(key.name, 0) not in (0, int(key.indexed_value_type))]
    if taken:
        raise AttributeOfAnotherTypeError(
            f"of another type: {', '.join(taken)}; remove them or use another namespace"
        )
    return [key for key in REGISTRY if key.name not in there]


def _duration(span: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(span)
    return duration
