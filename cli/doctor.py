"""`starter.py doctor`: checks everything an agent needs, and says how to fix what is wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, datetime, timedelta

from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeNamespaceResponse,
    GetSystemInfoRequest,
)
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.mail.imap import ImapSession
from activities.mail.sending import smtp_server
from cli.check_agents import agents_check, builds_check, kinds_check, slots_check, worker_check
from cli.checks import Check, Health
from cli.copying.state import describe_copy
from cli.namespace import AttributeOfAnotherTypeError, missing_attributes
from cli.output import ExitCode, clean, pasteable, print_document
from common.approval.floors import Floors, policy_file
from common.approval.groups import Directory
from common.approval.signing import Signer
from common.approval.types import GROUP
from common.archive.anchor import ArchiveAnchor
from common.database import check_database
from common.notices.routes import Routes
from common.object_store import StoreUnavailableError, objects_folder, open_store
from common.s3_store import S3Store
from common.settings import Settings, SettingsError
from common.temporal.codec import DATABASE
from common.temporal.connect import CannotConnectError, Target, connect
from common.temporal.search_attributes import REGISTRY

PATIENCE = timedelta(seconds=5)
# Agents are archived after 30 days; allow one more for the archiving.
LEAST_RETENTION = timedelta(days=31)
LEAST_DISK = 1_000_000_000


async def doctor(settings: Settings, *, as_json: bool) -> ExitCode:
    """Check everything and print the results; without Temporal, whatever can be checked.

    Raises:
        CannotConnectError: Temporal is out of reach; the rest is printed.
    """
    unreachable: CannotConnectError | None = None
    try:
        client = await connect(settings, patience=PATIENCE)
    except CannotConnectError as error:
        unreachable, checks = error, [Check("temporal", Health.NEEDS_FIX, str(error).removesuffix("."))]
    else:
        checks = [check async for check in _of_server(client, Target.of(settings))]
        of_agents = (worker_check, kinds_check, slots_check, builds_check, agents_check, _archivist)
        checks += [await look(client, settings) for look in of_agents]
    checks += [await _objects(settings), await _database(settings)]
    checks += [check async for check in _mail(settings)]
    checks += _of_machine(settings)
    if as_json:
        print_document(checks)
    else:
        for check in checks:
            print(f"{check.health:<8} {check.name:<18} {pasteable(clean(check.text))}")
    if unreachable:
        raise unreachable
    broken = any(check.health is Health.NEEDS_FIX for check in checks)
    return ExitCode.AGENT_FAILED if broken else ExitCode.DONE


async def _of_server(client: Client, target: Target) -> AsyncIterator[Check]:
    info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    health = Health.OK if target.sure else Health.WARNING
    yield Check("temporal", health, f"server {info.server_version} at {target.address}, {target.why}")
    try:
        namespace = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        named = f"there is no namespace {client.namespace}"
        fix = f"{named}: set TEMPORAL_NAMESPACE, or `starter.py setup` creates it"
        yield Check("namespace", Health.NEEDS_FIX, fix)
        return
    yield Check("namespace", Health.OK, client.namespace)
    yield _retention(namespace)
    yield await _search_attributes(client)
    yield _pause(namespace)
    yield Check(
        "dynamic config",
        Health.UNSEEN,
        "time skipping, fairness and partitions cannot be seen from outside; `starter.py dev` sets them",
    )


def _retention(namespace: DescribeNamespaceResponse) -> Check:
    kept = namespace.config.workflow_execution_retention_ttl.ToTimedelta()
    if kept >= LEAST_RETENTION:
        return Check("retention", Health.OK, f"closed agents stay {kept.days} days")
    return Check(
        "retention", Health.NEEDS_FIX, f"closed agents vanish after {kept}: `starter.py setup` sets more"
    )


async def _search_attributes(client: Client) -> Check:
    try:
        missing = await missing_attributes(client.service_client, client.namespace)
    except RPCError as error:
        return Check("search attributes", Health.UNSEEN, f"not shown: {error.message}")
    except AttributeOfAnotherTypeError as error:
        return Check("search attributes", Health.NEEDS_FIX, str(error))
    if not missing:
        return Check("search attributes", Health.OK, f"all {len(REGISTRY)} are there")
    text = f"missing: {', '.join(key.name for key in missing)}: `starter.py setup` registers them"
    return Check("search attributes", Health.NEEDS_FIX, text)


def _pause(namespace: DescribeNamespaceResponse) -> Check:
    if namespace.namespace_info.capabilities.workflow_pause:
        return Check("workflow pause", Health.OK, "the server can pause workflows")
    return Check(
        "workflow pause",
        Health.WARNING,
        "the server cannot pause workflows (frontend.WorkflowPauseEnabled); `starter.py pause` works",
    )


async def _objects(settings: Settings) -> Check:
    store = open_store(settings)
    if not isinstance(store, S3Store):
        return Check("object store", Health.OK, f"the folder {objects_folder(settings)}")
    try:
        await asyncio.to_thread(store.look)
    except StoreUnavailableError as error:
        return Check("object store", Health.NEEDS_FIX, f"{error}: {error.mend or 'see its log'}")
    where = settings.state.s3_endpoint or "Amazon S3"
    text = f"the bucket {settings.state.s3_bucket} at {where} can be listed"
    return Check("object store", Health.OK, text)


async def _database(settings: Settings) -> Check:
    try:
        return Check("database", Health.OK, await asyncio.to_thread(check_database, settings))
    except SettingsError as error:
        return Check("database", Health.NEEDS_FIX, str(error))


async def _mail(settings: Settings) -> AsyncIterator[Check]:
    server, smtp, imap = smtp_server(settings.mail), settings.mail.smtp, settings.mail.imap
    if server is None or smtp is None:
        yield Check("mail out", Health.OK, "no mail is sent; set HIBERNAUT_SMTP to a server")
    else:
        yield await _reached("mail out", f"{smtp.host}:{smtp.port} takes mail", server.check_login())
    if imap is not None:
        opening = asyncio.to_thread(lambda: ImapSession(imap, settings.mail.imap_prefix).close())
        yield await _reached("mail in", f"the mailbox at {imap.host}:{imap.port} can be read", opening)


async def _reached(name: str, well: str, look: Awaitable[None]) -> Check:
    try:
        await asyncio.wait_for(look, PATIENCE.total_seconds())
    except ApplicationError as error:
        return Check(name, Health.NEEDS_FIX, f"{error.message}")
    except TimeoutError:
        return Check(name, Health.NEEDS_FIX, f"not within {PATIENCE.seconds} s: {well}")
    return Check(name, Health.OK, well)


async def _archivist(client: Client, settings: Settings) -> Check:
    anchor = ArchiveAnchor(client, settings)
    try:
        found = await anchor.describe()
    except RPCError as error:
        return Check("archive", Health.UNSEEN, f"not shown: {error.message}")
    if found is None or found.schedule.state.paused:
        how = "is not scheduled" if found is None else "is paused"
        fix = f"the archivist {how}; without, closed agents are lost: `starter.py setup`"
        return Check("archive", Health.WARNING, fix)
    if not await anchor.is_signed(found):
        fix = "the schedule is not signed, so the archivist refuses its starts: `starter.py setup`"
        return Check("archive", Health.NEEDS_FIX, fix)
    return Check("archive", Health.OK, f"the archivist runs at `{settings.archive.schedule}` UTC")


def _of_machine(settings: Settings) -> Iterator[Check]:
    folder = settings.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    roomy = free >= LEAST_DISK
    yield Check(
        "disk",
        Health.OK if roomy else Health.NEEDS_FIX,
        f"{free / 1e9:.1f} GB free for {folder}" + ("" if roomy else ": make room"),
    )
    if (folder / DATABASE).exists():
        level, words = describe_copy(settings, datetime.now(UTC))
        yield Check("copy", Health(level), words)
    yield _keys(settings)
    yield _notices(settings)
    yield _policy(settings)
    yield Check(
        "language model",
        Health.OK,
        f"{settings.model}" + (" (built in: no key, no network)" if settings.model == "offline" else ""),
    )


def _notices(settings: Settings) -> Check:
    try:
        ways = Routes.load(settings).ways()
    except SettingsError as error:
        return Check("notices", Health.NEEDS_FIX, str(error))
    where = (
        f"by {', '.join(ways)}" if ways else "to the worker's terminal; HIBERNAUT_NOTICES names other ways"
    )
    return Check("notices", Health.OK, where)


def _policy(settings: Settings) -> Check:
    try:
        floors, directory = Floors.load(settings), Directory.load(settings)
        rules = floors.check().rules
        named = {name for rule in rules for name in (*(rule.owners or ()), *rule.approvers)}
        empty = sorted(name for name in named if name.startswith(GROUP) and not directory.people([name]))
    except SettingsError as error:
        return Check("policy", Health.NEEDS_FIX, f"{error} Nothing destructive is done until then.")
    if empty:
        told = f"nobody is in {', '.join(empty)}, which the policy names: add them to HIBERNAUT_GROUPS"
        return Check("policy", Health.NEEDS_FIX, told)
    if not rules:
        told = "no file: nobody approves their own plans, nothing is sent or ordered (docs/policy.md)"
        return Check("policy", Health.OK, told)
    file = settings.policy or policy_file(settings)
    alone = (
        ", which lets some owners decide alone" if any(rule.requester == "allowed" for rule in rules) else ""
    )
    return Check("policy", Health.OK, f"{len(rules)} rule{'s' if len(rules) > 1 else ''} in {file}{alone}")


def _keys(settings: Settings) -> Check:
    try:
        Signer.load(settings)
    except SettingsError as error:
        return Check("approval keys", Health.NEEDS_FIX, str(error))
    if settings.approval_keys or (settings.data_dir / "approval.keys").exists():
        return Check("approval keys", Health.OK, "decisions made here are signed")
    return Check(
        "approval keys",
        Health.NEEDS_FIX,
        "none: decisions made here are unsigned and count only under `starter.py dev`: "
        "set HIBERNAUT_APPROVAL_KEYS, or HIBERNAUT_DATA_DIR to the folder of the stack",
    )
