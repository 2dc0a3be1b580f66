"""The page behind an approval link. Opening it decides nothing, however often and whatever opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.approval.link import ApprovalLink, BadLinkError, decision_id
from common.approval.signing import Signer
from common.approval.types import ApprovalRequest, DecisionRecord, DecisionStatus, Verdict, judged
from common.client.errors import AgentClientError
from common.client.view import AgentView
from gateway.auth.authentication import address_of
from gateway.auth.sessions import form_token, require_own_form
from gateway.decision_form import FormDecision, FormError, read_decision, read_form
from gateway.decisions import decide
from gateway.file_responses import open_file, open_ref
from gateway.pages import page
from gateway.problems import Problem
from gateway.request_view import RequestView, refresh_premises
from gateway.services import Gateway, Parts
from gateway.views import PAGE_PATIENCE

router = APIRouter()

# Limit of forms that the agent refused; a person who mistypes needs few.
MAX_ATTEMPTS = 20
THROUGH = "email"
SAID = {
    Verdict.APPROVE: "You said yes.",
    Verdict.REJECT: "You said no; nothing will be done.",
    Verdict.REVISE: "You said yes, with your changes.",
}


@router.api_route("/approve/{token}", methods=["GET", "HEAD"])
async def show(request: Request, parts: Parts, token: str) -> Response:
    """Show the question or its outcome; the outcome even after the link has expired."""
    link = _read_link(request, parts, token, ApprovalLink.read_even_expired)
    visit = _Visit(request, parts, token, link, await parts.views.view(link.agent, PAGE_PATIENCE))
    if visit.asked:
        _read_link(request, parts, token)
    if request.method == "GET" and visit.view.live and visit.asked and not visit.used[0]:
        asked = await refresh_premises(parts.agents, link.agent, [visit.asked])
        visit = replace(visit, view=visit.view.model_copy(update={"requests": asked}))
    return await visit.page()


@router.post("/approve/{token}")
async def decide_by_link(request: Request, parts: Parts, token: str) -> Response:
    """Decide, once; a second time shows the outcome of the first."""
    link = _read_link(request, parts, token)
    form = await read_form(request)
    require_own_form(request, form.get("form"), token, parts.signer)
    visit = _Visit(request, parts, token, link, await parts.writing_agents.view(link.agent))
    used, attempt = visit.used
    if used or (visit.view.live and not visit.asked):
        return await visit.page()
    try:
        if attempt >= MAX_ATTEMPTS:
            raise FormError("This link was tried too often.")
        decision = read_decision(form, visit.asked)
    except FormError as error:
        return await visit.page(str(error), form)
    return await _decide(visit, decision, attempt, form)


@router.get("/approve/{token}/artifacts/{sha256}/{name}")
async def artifact(
    request: Request, parts: Parts, token: str, sha256: str, name: str, save: bool = False
) -> Response:
    """An artifact that the plan refers to, and nothing else of its agent."""
    link = _read_link(request, parts, token)
    visit = _Visit(request, parts, token, link, await parts.views.view(link.agent, PAGE_PATIENCE))
    plan = visit.asked.plan if visit.asked else {}
    return await open_ref(parts, plan, sha256, name, save=save)


@router.get("/approve/{token}/files/{name}")
async def file(request: Request, parts: Parts, token: str, name: str, save: bool = False) -> Response:
    """A file of the agent that the evidence names, and no other."""
    link = _read_link(request, parts, token)
    visit = _Visit(request, parts, token, link, await parts.views.view(link.agent, PAGE_PATIENCE))
    if name not in await visit.files():
        raise Problem(HTTPStatus.NOT_FOUND, "What is asked names no such file.")
    return await open_file(parts, link.agent, name, save=save)


@dataclass(frozen=True)
class _Visit:
    """An opened link, and its agent as it is now."""

    request: Request
    parts: Gateway
    token: str
    link: ApprovalLink
    view: AgentView

    @property
    def asked(self) -> ApprovalRequest | None:
        """The request the link is for, if it is still open."""
        wanted = self.link.request_id, self.link.digest
        return next((each for each in self.view.requests if (each.id, each.digest) == wanted), None)

    @property
    def used(self) -> tuple[DecisionRecord | None, int]:
        """The decision made with this link, and how many made with it the agent refused before."""
        for attempt in range(MAX_ATTEMPTS):
            record = judged(self.view.decisions, decision_id(self.token, attempt))
            if record is None or record.status is not DecisionStatus.REFUSED:
                return record, attempt
        return None, MAX_ATTEMPTS

    @property
    def address(self) -> str:
        """The page's own address."""
        return f"/approve/{self.token}"

    async def files(self) -> list[str]:
        """Those of the agent's files that the request's evidence names."""
        words = {word for line in (self.asked.evidence if self.asked else ()) for word in line.split()}
        return [name for name in await self.parts.files.listed(self.view.id) if name in words]

    async def page(self, problem: str = "", given: dict[str, str] | None = None) -> Response:
        """The question with the form to answer it, or why it is closed."""
        if self.asked is None:
            return self._closed_page()
        return page(
            self.request,
            "approve.html",
            status=HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK,
            view=self.view,
            link=self.link,
            asked=await RequestView.of(
                self.asked,
                self.view.kind,
                self.parts.artifacts,
                self.address,
                await self.files(),
                problem,
                given,
            ),
            action=self.address,
            guard=form_token(self.token, self.parts.signer),
            used=self.used[0],
        )

    def message_page(
        self, heading: str, told: str, records: list[DecisionRecord], status: int = HTTPStatus.OK
    ) -> Response:
        """A page without a question."""
        context: dict[str, Any] = {"heading": heading, "told": told, "records": records, "view": self.view}
        return page(self.request, "approve.html", status=status, asked=None, **context)

    def _closed_page(self) -> Response:
        records = [
            each
            for each in self.view.decisions
            if each.decision.request_id == self.link.request_id and each.status is not DecisionStatus.REFUSED
        ]
        if self.view.running and not self.view.live:
            return self.message_page(
                "The plan cannot be shown just now",
                "The agent does not answer now. Nothing was decided here; open the link again later.",
                [],
                HTTPStatus.SERVICE_UNAVAILABLE,
            )
        if records:
            return self.message_page("This was decided", "There is nothing left for you to do.", records)
        how = self.view.closed_requests.get(self.link.request_id)
        told = "The agent has gone on or ended without a decision, or asks something else by now."
        return self.message_page("This is not asked any more", f"How it ended: {how}." if how else told, [])


async def _decide(visit: _Visit, wanted: FormDecision, attempt: int, form: dict[str, str]) -> Response:
    parts, link = visit.parts, visit.link
    try:
        _, record = await decide(
            parts.writing_agents,
            link.agent,
            wanted.verdict,
            by=link.approver,
            note=wanted.note,
            edits=wanted.edits,
            through=THROUGH,
            digest=link.digest,
            request_id=link.request_id,
            known=True,
            decision_id=decision_id(visit.token, attempt),
        )
    except AgentClientError:
        return await replace(visit, view=await parts.writing_agents.view(link.agent)).page()
    parts.forget(link.agent)
    after = replace(visit, view=await parts.views.view(link.agent, PAGE_PATIENCE))
    if record and record.status is DecisionStatus.REFUSED:
        return await after.page(f"The agent did not take it: {record.reason}.", form)
    told = SAID[wanted.verdict]
    if record is None:
        told += " It is kept safe, and counts as soon as the agent wakes."
        return after.message_page("Your decision is recorded", told, [])
    if after.asked:
        told += " Others have to agree, too."
    return after.message_page("Your decision counts", told, [record])


def _read_valid(token: str, signer: Signer) -> ApprovalLink:
    return ApprovalLink.read(token, signer, datetime.now(UTC))


def _read_link(
    request: Request,
    parts: Gateway,
    token: str,
    read: Callable[[str, Signer], ApprovalLink] = _read_valid,
) -> ApprovalLink:
    try:
        link = read(token, parts.signer)
    except BadLinkError as error:
        parts.buckets.take(f"address {address_of(request)}")
        text = str(error)
        raise Problem(HTTPStatus.NOT_FOUND, text[0].upper() + text[1:]) from None
    parts.buckets.take(f"link {link.agent} {link.approver}")
    return link
