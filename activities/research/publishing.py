"""Publishes approved reports to a folder or an address: the link researcher's only destructive activity."""

from __future__ import annotations

import asyncio
import hashlib
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.calls.retry_header import parse_retry_after
from activities.fetching.guard import AddressRefusedError, guarded_client
from activities.safe_files import PathSkippedError, write_inside
from common.agent_files import AgentFiles
from common.agents.fields import is_address
from common.agents.researcher import Published, PublishPlan
from common.approval.signing import Authority
from common.approval.types import Authorization
from common.artifacts import ArtifactStore
from common.errors import permanent, retry_after
from common.settings import Settings

MAX_SECONDS = 30.0
MAX_ANSWER_BYTES = 2_000_000
# The only headers of an answer that are read.
_READ_HEADERS = ("location", "retry-after")
_USUAL_WAIT = timedelta(minutes=1)


class PublishReport(BaseModel, frozen=True):
    """Asks to publish the report of `plan`; `authorization` is its approval."""

    plan: PublishPlan
    authorization: Authorization | None = None


class Publisher:
    """The activities that publish. A report's name derives from its idempotency key, so its place is fixed.

    Args:
        artifacts: stores reports.
        authority: checks approvals.
        client: from `activities.fetching.guard.guarded_client`.
        files: stores reports without a target.
        own: the folder for these on this machine.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        authority: Authority,
        client: httpx.AsyncClient,
        files: AgentFiles,
        own: Path,
    ) -> None:
        self._artifacts = artifacts
        self._authority = authority
        self._client = client
        self._files = files
        self._own = own

    @classmethod
    def build(
        cls, settings: Settings, artifacts: ArtifactStore, authority: Authority, own: Path
    ) -> Publisher:
        """The publisher for these settings."""
        headers = {"User-Agent": settings.fetching.user_agent}
        client = guarded_client(settings.fetching.allowed_hosts, headers=headers)
        return cls(artifacts, authority, client, AgentFiles.of(settings), own)

    @activity.defn(name="publish_report")
    async def publish_report(self, request: PublishReport) -> Published:
        """Publish the approved report at the plan's target, once, and return where it is.

        Raises:
            ApplicationError: permanent: `NotAuthorized`, `PolicyRefused`, `AddressRefused`,
                `PublishRefused`, `PublishConflict`. Retryable, with unknown outcome: `PublishBusy`,
                `PublishFailing`.
        """
        plan = request.plan
        given, info = request.authorization, activity.info()
        key = (await asyncio.to_thread(self._authority.authorize, given, plan, info)).key
        if not is_address(plan.target):
            return await asyncio.to_thread(self._to_folder, plan, key)
        if plan.target.endswith("/"):
            return await self._put(plan, key)
        return await self._post(plan, key)

    @activity.defn(name="find_published")
    async def find_published(self, request: PublishReport) -> Published | None:
        """The outcome of an attempt whose result was lost; None if nothing is known to be published.

        For a server that takes POSTs it returns None: the post is repeated with the same Idempotency-Key.
        """
        plan = request.plan
        if request.authorization is None:
            return None
        key = request.authorization.key
        if not is_address(plan.target):
            return await asyncio.to_thread(self._in_folder, plan, key)
        if not plan.target.endswith("/"):
            return None
        places = _addresses(plan, key)
        for url, data in zip(places, await asyncio.to_thread(self._bytes, plan), strict=True):
            if (await self._send("GET", url, key)).content != data:
                return None
        return Published(places=places)

    def _is_own(self, plan: PublishPlan) -> bool:
        # Older plans, from before reports were stored as the agent's files, name the folder.
        return plan.target in ("", str(self._own))

    def _places(self, plan: PublishPlan, key: str) -> tuple[Path, Path]:
        folder = self._own if self._is_own(plan) else Path(plan.target)
        return folder / f"{report_name(plan.topic, key)}.html", folder / f"{report_name(plan.topic, key)}.md"

    def _bytes(self, plan: PublishPlan) -> tuple[bytes, bytes]:
        return self._artifacts.get(plan.html), self._artifacts.get(plan.markdown)

    def _in_folder(self, plan: PublishPlan, key: str) -> Published | None:
        """Where the report is in its folder; None if it is missing or incomplete."""
        files = self._places(plan, key)
        if self._is_own(plan):
            # Ask the store: the folder may be on another worker's disk.
            names = self._files.names(activity.info().workflow_id or "")
            there = all(file.name in names for file in files)
        else:
            there = all(file.exists() for file in files)
        return self._published(plan, files) if there else None

    def _to_folder(self, plan: PublishPlan, key: str) -> Published:
        files = self._places(plan, key)
        for file, data in zip(files, self._bytes(plan), strict=True):
            if self._is_own(plan):
                self._files.write(file, data, mode=0o644)
                continue
            # A file of this name is this report, and complete. Keep it: people may have edited it since.
            if file.exists():
                continue
            try:
                write_inside(file.parent, file.name, data, 0o644)
            except PathSkippedError as error:
                raise permanent("PublishRefused", f"{file.parent}: {error.reason}") from None
        return self._published(plan, files)

    def _published(self, plan: PublishPlan, files: tuple[Path, Path]) -> Published:
        # The agent's own files are known by name; in a folder that people chose, give the full path.
        return Published(places=tuple(each.name if self._is_own(plan) else str(each) for each in files))

    async def _put(self, plan: PublishPlan, key: str) -> Published:
        places = _addresses(plan, key)
        kinds = ("text/html; charset=utf-8", "text/markdown; charset=utf-8")
        reports = await asyncio.to_thread(self._bytes, plan)
        for url, kind, data in zip(places, kinds, reports, strict=True):
            headers = {"Content-Type": kind, "If-None-Match": "*"}
            answer = await self._send("PUT", url, key, headers, data)
            if answer.status_code == 412 and (await self._send("GET", url, key)).content != data:
                raise permanent("PublishConflict", f"{url}: something else is there already")
            if answer.status_code != 412:
                _check(answer)
        return Published(places=places)

    async def _post(self, plan: PublishPlan, key: str) -> Published:
        html, markdown = await asyncio.to_thread(self._bytes, plan)
        report = _Posted(
            topic=plan.topic,
            model=plan.model,
            html=html.decode(),
            markdown=markdown.decode(),
            sources=[source.url for source in plan.sources],
        )
        headers = {"Content-Type": "application/json"}
        answer = await self._send("POST", plan.target, key, headers, report.model_dump_json().encode())
        _check(answer)
        where = answer.headers.get("location", "")[:500]
        return Published(places=(str(answer.url.join(where)) if where else plan.target,))

    async def _send(
        self, method: str, url: str, key: str, headers: dict[str, str] | None = None, data: bytes = b""
    ) -> httpx.Response:
        """One exchange, limited in time and bytes; follows no redirects, as only one address was approved."""
        # The draft standard for Idempotency-Key requires a quoted string.
        sent = {"Idempotency-Key": f'"{idempotency_key(key)}"', "Accept-Encoding": "identity"}
        if method == "GET":
            sent["Cache-Control"] = "no-cache"
        try:
            async with (
                asyncio.timeout(MAX_SECONDS),
                self._client.stream(
                    method, url, headers={**sent, **(headers or {})}, content=data
                ) as response,
            ):
                body = bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        break
                read = {n: response.headers[n] for n in _READ_HEADERS if n in response.headers}
                return httpx.Response(
                    response.status_code,
                    headers=read,
                    content=bytes(body),
                    request=response.request,
                )
        except (AddressRefusedError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise permanent("AddressRefused", str(error)) from error
        except (TimeoutError, httpx.TransportError) as error:
            raise ApplicationError(
                f"{url}: {type(error).__name__}: {error}", type="PublishFailing"
            ) from error


class _Posted(BaseModel):
    """The JSON document to post to an address."""

    topic: str
    model: str
    html: str
    markdown: str
    sources: list[str]


def idempotency_key(key: str) -> str:
    """The key as sent to servers: a digest, which reveals nothing about the agent."""
    return hashlib.sha256(key.encode()).hexdigest()


def report_name(topic: str, key: str) -> str:
    """The name of a report without suffix: words of the topic, and 16 digits of its key's digest."""
    plain = unicodedata.normalize("NFKD", topic).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    return f"{words or 'report'}-{idempotency_key(key)[:16]}"


def _addresses(plan: PublishPlan, key: str) -> tuple[str, str]:
    name = report_name(plan.topic, key)
    return f"{plan.target}{name}.html", f"{plan.target}{name}.md"


def _check(answer: httpx.Response) -> None:
    """Raise the classified error unless the answer is a success."""
    status, what = answer.status_code, f"{answer.url}: status {answer.status_code}"
    if answer.is_success:
        return
    if status in (409, 425, 429, 503):
        # 409: the server is still handling another attempt with this key.
        wait = parse_retry_after(answer.headers.get("retry-after"), datetime.now(UTC)) or _USUAL_WAIT
        raise retry_after("PublishBusy", what, wait)
    if status in (408,) or status >= 500:
        raise ApplicationError(what, type="PublishFailing")
    if answer.has_redirect_location:
        what += f", a redirect to {answer.headers['location'][:200]!r}, which nobody approved"
    raise permanent("PublishRefused", what)
