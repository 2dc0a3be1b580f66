"""The parts that the gateway's routes use, built once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import httpx
from fastapi import Depends, Request
from temporalio.client import Client

from common.agent_files import AgentFiles
from common.approval.groups import Directory
from common.approval.signing import Signer
from common.archive.histories import Histories
from common.archive.reader import ArchivedAgents
from common.archive.search import AgentSearch
from common.artifacts import ArtifactStore
from common.client.batch_decisions import BatchDecisions
from common.client.client import AgentClient
from common.client.tokens import TokenFile
from common.model_calls import ModelCosts
from common.notices.people import approvers_in_slack
from common.notices.slack import BRIEF_TIMEOUT, slack_client
from common.object_store import open_store
from common.settings import Settings, SettingsError
from common.temporal.codec import load_codec
from common.temporal.connect import connect, payload_store
from gateway.agent_gauges import AgentGauges
from gateway.auth.authentication import Authenticator
from gateway.auth.ended_sessions import EndedSessions
from gateway.auth.oidc import Issuer
from gateway.codec_service import CodecService
from gateway.limits import Buckets, ReplayGuard, StreamSlots
from gateway.metrics import Metrics
from gateway.slack.interactions import SlackActions
from gateway.views import Views

# A reader can simply retry; somebody who decides or starts something should not have to.
READ_PATIENCE = timedelta(seconds=5)
WRITE_PATIENCE = timedelta(seconds=25)


@dataclass(frozen=True)
class Gateway:
    """The parts that routes use.

    `agents`, `views` and `gathered` give up quickly, for reading. `writing_agents`, `writing_views` and
    `writing_gathered` are for writing, and retry through a restart of Temporal.
    """

    settings: Settings
    client: Client
    agents: AgentClient
    writing_agents: AgentClient
    views: Views
    writing_views: Views
    gathered: BatchDecisions
    writing_gathered: BatchDecisions
    authenticator: Authenticator
    buckets: Buckets
    streams: StreamSlots
    metrics: Metrics
    costs: ModelCosts
    agent_gauges: AgentGauges
    signer: Signer
    artifacts: ArtifactStore
    files: AgentFiles
    search: AgentSearch
    archived: ArchivedAgents
    histories: Histories
    codec: CodecService
    slack: SlackActions
    slack_requests: ReplayGuard
    ended_sessions: EndedSessions

    def forget(self, id: str) -> None:
        """Drop the cache entries of an agent to which something was just sent."""
        self.views.forget(id)
        self.writing_views.forget(id)


async def open_gateway(settings: Settings, http: httpx.AsyncClient) -> Gateway:
    """Build the gateway's parts; Temporal need not run yet.

    Raises:
        SettingsError: there is no signing key, or no way for anybody to sign in.
    """
    # Fail now on missing keys and unreadable files, not at the first decision.
    signer = Signer.load(settings)
    signer.mac("start", b"")
    tokens = TokenFile.of(settings)
    tokens.find("")
    if not settings.http.oidc_issuer and not tokens.file.exists():
        raise SettingsError(
            "nobody could sign in: set HIBERNAUT_OIDC_ISSUER, or make a token by `starter.py tokens add WHO`."
        )
    directory = Directory.load(settings)
    reading = await connect(settings, patience=READ_PATIENCE, lazy=True)
    writing = await connect(settings, patience=WRITE_PATIENCE, lazy=True)
    agents, writing_agents = AgentClient(reading, settings, signer), AgentClient(writing, settings, signer)
    codec, archived = load_codec(settings), ArchivedAgents.open(settings)
    buckets = Buckets(settings.http.rate)
    streams = StreamSlots(settings.http.streams)
    agent_gauges = AgentGauges(reading, settings, agents.diagnosis)
    issuer = Issuer(settings, http) if settings.http.oidc_issuer else None
    return Gateway(
        settings=settings,
        client=reading,
        agents=agents,
        writing_agents=writing_agents,
        views=Views(agents, archived),
        writing_views=Views(writing_agents, archived),
        gathered=BatchDecisions(reading, agents),
        writing_gathered=BatchDecisions(writing, writing_agents),
        authenticator=Authenticator(tokens, issuer, directory, buckets),
        buckets=buckets,
        streams=streams,
        metrics=Metrics(lambda: streams.taken, agent_gauges),
        costs=ModelCosts.of(settings),
        agent_gauges=agent_gauges,
        signer=signer,
        artifacts=ArtifactStore.of(settings),
        files=AgentFiles.of(settings),
        search=AgentSearch(reading, archived, agents.diagnosis),
        archived=archived,
        histories=Histories(reading, archived),
        codec=CodecService(codec, payload_store(settings, codec, writes=False), reading.namespace),
        slack=SlackActions(
            agents,
            slack_client(settings, BRIEF_TIMEOUT),
            http,
            signer,
            approvers_in_slack(settings),
            settings.slack.hooks,
            buckets,
        ),
        slack_requests=ReplayGuard(),
        ended_sessions=EndedSessions(open_store(settings)),
    )


def the_gateway(request: Request) -> Gateway:
    """The dependency that provides a route with the gateway's parts."""
    gateway: Gateway = request.app.state.gateway
    return gateway


Parts = Annotated[Gateway, Depends(the_gateway)]
