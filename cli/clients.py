"""How commands connect to Temporal."""

from __future__ import annotations

from datetime import timedelta

from common.approval.signing import Signer
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import connect

# Long enough to outlast a hiccup, short enough for somebody who waits at a terminal.
PATIENCE = timedelta(seconds=8)


async def open_agents(settings: Settings, patience: timedelta = PATIENCE) -> AgentClient:
    """A client for the agents of the configured Temporal service; it signs with this data folder's keys."""
    return AgentClient(await connect(settings, patience=patience), settings, Signer.load(settings))
