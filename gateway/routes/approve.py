"""The page behind an approval link. Looking decides nothing, however often and by whatever it is done."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.approval.link import ApprovalLink, BadLinkError, decision_id
from common.approval.plan_view import show_plan
from common.approval.types import ApprovalRequest, DecisionRecord, DecisionStatus, judged
from common.client.errors import AgentClientError
from common.client.view import AgentView
from gateway.auth.authentication import address_of
from gateway.auth.sessions import form_token, require_own_form
from gateway.decisions import decide
from gateway.forms import FormError, Wish, form_of, read_wish
from gateway.pages import page
from gateway.plans import edit_fields
from gateway.premises import looked_at
from gateway.problems import Problem
from gateway.services import Gateway, Parts

router = APIRouter()

# A person's mistakes; whoever has more than these has no form in mind.
MAX_ATTEMPTS = 20
THROUGH = "email"


@router.api_route("/approve/{token}", methods=["GET", "HEAD"])
async def look(request: Request, parts: Parts, token: str) -> Response:
    """What is asked, or what has become of it."""
    link = _link(request, parts, token)
    view = await parts.views.view(link.agent)
    if request.method == "GET" and (asked := _request(view, link)) and not _used(view, token)[0]:
        [asked] = await looked_at(parts.agents, link.agent, [asked])
        view = view.model_copy(update={"requests": [asked]})
    return _page(request, parts, token, link, view)


@router.post("/approve/{token}")
async def decide_by_link(request: Request, parts: Parts, token: str) -> Response:
    """Decide, once; a second time tells what became of the first."""
    link = _link(request, parts, token)
    form = await form_of(request)
    require_own_form(request, form.get("form"), token, parts.signer)
    view = await parts.patient.view(link.agent)
    asked = _request(view, link)
    used, attempt = _used(view, token)
    if used or (view.live and not asked):
        return _page(request, parts, token, link, view)
    try:
        if attempt >= MAX_ATTEMPTS:
            raise FormError("This link was tried too often.")
        wish = read_wish(form, asked)
    except FormError as error:
        return _page(request, parts, token, link, view, problem=str(error), given=form)
    return await _decided(request, parts, token, link, view, wish, attempt, form)


async def _decided(
    request: Request,
    parts: Gateway,
    token: str,
    link: ApprovalLink,
    view: AgentView,
    wish: Wish,
    attempt: int,
    form: dict[str, str],
) -> Response:
    try:
        _, record = await decide(
            parts.patient,
            link.agent,
            wish.verdict,
            by=link.approver,
            note=wish.note,
            edits=wish.edits,
            through=THROUGH,
            digest=link.digest,
            decision_id=decision_id(token, attempt),
        )
    except AgentClientError:
        return _page(request, parts, token, link, await parts.patient.view(link.agent))
    parts.forget(link.agent)
    if record and record.status is DecisionStatus.REFUSED and _request(view, link):
        told = f"The agent did not take it: {record.reason}."
        return _page(request, parts, token, link, view, problem=told, given=form)
    after = await parts.views.view(link.agent)
    heading = "Your decision counts" if record else "Your decision is recorded"
    told = {
        "approve": "You said yes.",
        "reject": "You said no; nothing will be done.",
        "revise": "You said yes, with your changes.",
    }[wish.verdict]
    if record is None:
        told += " It is kept safe, and counts as soon as the agent wakes."
    elif _request(after, link):
        told += " Others have to agree, too."
    records = [record] if record else []
    return page(request, "approve.html", asked=None, heading=heading, told=told, records=records, view=after)


def _link(request: Request, parts: Gateway, token: str) -> ApprovalLink:
    try:
        link = ApprovalLink.read(token, parts.signer, datetime.now(UTC))
    except BadLinkError as error:
        parts.buckets.take(f"address {address_of(request)}")
        words = str(error)
        raise Problem(HTTPStatus.NOT_FOUND, words[0].upper() + words[1:]) from None
    parts.buckets.take(f"link {link.agent} {link.approver}")
    return link


def _request(view: AgentView, link: ApprovalLink) -> ApprovalRequest | None:
    """The request the link is for, where it is still open."""
    return next(
        (each for each in view.requests if (each.id, each.digest) == (link.request_id, link.digest)), None
    )


def _used(view: AgentView, token: str) -> tuple[DecisionRecord | None, int]:
    """The decision this link has made, and how many by it were refused before."""
    for attempt in range(MAX_ATTEMPTS):
        record = judged(view.decisions, decision_id(token, attempt))
        if record is None or record.status is not DecisionStatus.REFUSED:
            return record, attempt
    return None, MAX_ATTEMPTS


def _page(
    request: Request,
    parts: Gateway,
    token: str,
    link: ApprovalLink,
    view: AgentView,
    problem: str = "",
    given: dict[str, str] | None = None,
) -> Response:
    asked = _request(view, link)
    if asked is None:
        return _closed(request, link, view)
    context: dict[str, Any] = {
        "asked": asked,
        "shown": show_plan(asked.plan, parts.artifacts),
        "fields": edit_fields(asked),
        "action": request.url.path,
        "guard": form_token(token, parts.signer),
        "used": _used(view, token)[0],
        "given": given or {},
        "problem": problem,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return page(request, "approve.html", status=status, view=view, link=link, **context)


def _closed(request: Request, link: ApprovalLink, view: AgentView) -> Response:
    records = [
        each
        for each in view.decisions
        if each.decision.request_id == link.request_id and each.status is not DecisionStatus.REFUSED
    ]
    status = HTTPStatus.OK
    if view.running and not view.live:
        heading = "The plan cannot be shown just now"
        told = "The agent does not answer at the moment. Nothing was decided here; open the link again later."
        status = HTTPStatus.SERVICE_UNAVAILABLE
    elif records:
        heading, told = "This was decided", "There is nothing left for you to do."
    else:
        heading = "This is not asked any more"
        told = "The agent has gone on or ended without a decision, or asks something else by now."
    return page(
        request,
        "approve.html",
        status=status,
        asked=None,
        heading=heading,
        told=told,
        records=records,
        view=view,
    )
