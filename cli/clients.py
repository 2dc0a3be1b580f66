"""The commands' way to Temporal."""

from __future__ import annotations

from datetime import timedelta

from common.approval.signing import Signer
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import connect

# A person waits for the answer: long enough for a hiccup, too short to look dead.
PATIENCE = timedelta(seconds=8)


async def open_agents(settings: Settings, patience: timedelta = PATIENCE) -> AgentClient:
    """The agents of the configured Temporal service, decisions signed with this data folder's keys."""
    return AgentClient(await connect(settings, patience=patience), settings, Signer.load(settings))
