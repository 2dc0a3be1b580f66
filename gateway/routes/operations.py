"""Liveness, readiness and metrics, for whoever runs the gateway. They need no token."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from temporalio.service import RPCError

from gateway.metrics import CONTENT_TYPE
from gateway.problems import unavailable
from gateway.schemas import Health
from gateway.services import Parts

router = APIRouter(tags=["operations"])

PATIENCE = timedelta(seconds=2)


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the process answers at all; says nothing about Temporal."""
    return Health(status="alive")


@router.get("/readyz")
async def readyz(parts: Parts) -> Health:
    """Whether Temporal can be reached; 503 if it cannot."""
    try:
        ready = await parts.client.service_client.check_health(timeout=PATIENCE)
    except (RPCError, RuntimeError):
        ready = False
    if not ready:
        raise unavailable("Temporal cannot be reached just now.")
    return Health(status="ready")


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(parts: Parts) -> PlainTextResponse:
    """Agents by state, open approvals, backlogs, requests and this process, in Prometheus' text format."""
    await parts.agent_gauges.refresh()
    return PlainTextResponse(parts.metrics.text(), media_type=CONTENT_TYPE)
