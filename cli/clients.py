"""How commands connect to Temporal."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client

from cli.output import say
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import Target, connect

# Long enough to outlast a hiccup, short enough for somebody who waits at a terminal.
PATIENCE = timedelta(seconds=8)


async def open_client(settings: Settings, patience: timedelta = PATIENCE) -> Client:
    """A client of the configured Temporal service.

    Warns which server answered if none was configured and no stack of ours runs.
    """
    client = await connect(settings, patience=patience)
    target = Target.of(settings)
    if not target.sure:
        say(f"WARNING: this is Temporal at {target.address}, {target.why}.")
    return client


async def open_agents(settings: Settings, patience: timedelta = PATIENCE) -> AgentClient:
    """A client for the agents of the configured Temporal service; it signs with this data folder's keys."""
    return AgentClient(await open_client(settings, patience), settings, Signer.load(settings))
