"""The front page: one's agents at a glance."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from common.client.tokens import Scope
from gateway.auth.sessions import Visiting
from gateway.overview import overview_of
from gateway.pages import FRONT, page, zone_of
from gateway.services import Parts

router = APIRouter()


@router.get("/")
async def root() -> Response:
    """Redirect to the dashboard, which is what people look for here."""
    return RedirectResponse(FRONT, HTTPStatus.SEE_OTHER)


@router.get(FRONT)
async def overview(request: Request, parts: Parts, visitor: Visiting, mine: bool = False) -> Response:
    """My agents at a glance; for an operator, everybody's."""
    visitor.require(Scope.READ)
    owner = None if visitor.subject.operator and not mine else visitor.subject.id
    now = datetime.now(UTC)
    zone = zone_of(request)
    found = await overview_of(parts, visitor.subject, owner, now, zone)
    return page(request, "overview.html", visitor=visitor, found=found, mine=mine, now=now, zone=zone.key)
