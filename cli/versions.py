"""`starter.py versions` and `wake --for-upgrade`: workers' builds, and moving agents between them."""

from __future__ import annotations

import asyncio

from cli.clients import open_client
from cli.format import moment
from cli.output import CommandError, ExitCode, print_document, say
from cli.table import print_table
from common.approval.signing import Signer
from common.client.builds import Build, Builds, Deployment
from common.client.client import AgentClient
from common.client.errors import AgentClientError
from common.client.moving import Moved, Moves
from common.grammar import counted
from common.hints import command
from common.settings import Settings

# How many agents are moved concurrently.
AT_ONCE = 8


async def versions(
    settings: Settings, set_current: str | None, remove: str | None, *, unversioned: bool, as_json: bool
) -> None:
    """Print the builds and what needs each, after making the change asked for.

    Raises:
        CommandError: more than one change is asked for.
        BuildRefusedError: the change is refused.
    """
    if sum((set_current is not None, remove is not None, unversioned)) > 1:
        raise CommandError("give one of --set-current, --unversioned and --remove.")
    client = await open_client(settings)
    builds = Builds(client, settings)
    if set_current is not None:
        if not set_current:
            raise CommandError("--set-current is empty: name a build, or give --unversioned.")
        await builds.set_current(set_current, say)
        say(f"new agents begin on build {set_current} from now on.")
    elif unversioned:
        await builds.set_current("", say)
        say("no build is current: new agents begin on unversioned workers from now on.")
    elif remove is not None:
        removed = await builds.remove(remove)
        say(f"the server has forgotten build {remove}" + (f"; {removed.reason}." if removed.reason else "."))
    deployment = await builds.read()
    if as_json:
        print_document(deployment)
    else:
        _print(deployment)


async def move(settings: Settings, id: str | None, build: str | None, *, as_json: bool) -> ExitCode:
    """Move an agent, or everything that is pinned to a build, to the current one.

    Raises:
        CommandError: both an agent and a build are given, or neither.
    """
    if (id is None) == (build is None):
        raise CommandError("give the ID of an agent, or --build B for all that are pinned to it.")
    client = await open_client(settings)
    builds, slots = Builds(client, settings), asyncio.Semaphore(AT_ONCE)
    moves = Moves(client, AgentClient(client, settings, Signer.load(settings)), builds)

    async def moved(each: str) -> Moved:
        async with slots:
            try:
                found = await moves.move(each)
            except AgentClientError as error:
                if id is not None:
                    raise
                found = Moved(id=each, moved=False, words=str(error).removesuffix("."))
        if not as_json:
            say(f"{each}: {found.words}.")
        return found

    ids = [id] if id is not None else await builds.pinned_ids(build or "")
    done = await asyncio.gather(*map(moved, ids))
    if as_json:
        print_document(done)
    elif not ids:
        say(f"nothing is pinned to build {build}.")
    return ExitCode.DONE if all(each.moved for each in done) else ExitCode.REFUSED


def _print(deployment: Deployment) -> None:
    """Print the builds as a table, and say what the operator should know."""
    if not deployment.name:
        say(f"no deployment: workers are unversioned, and {len(deployment.workers)} of them poll.")
        return
    print_table(
        ["BUILD", "STATUS", "AGENTS", "ASLEEP", "LAST WAKES", "PAGES", "WORKERS", "CAN GO"],
        map(_cells, deployment.builds),
    )
    say(f"{len(deployment.builds)} of at most {deployment.most} builds in the deployment {deployment.name}.")
    if deployment.agents or deployment.workers:
        workers = counted(len(deployment.workers), "unversioned worker")
        say(f"pinned to no build: {counted(deployment.agents, 'agent')}; polling: {workers}.")
    for each in deployment.builds:
        if each.needed_by and not each.workers:
            say(
                f"WARNING: no worker of build {each.build} polls, and {each.needed_by}: start one, or "
                f"{command('wake', '--for-upgrade', '--build', each.build)}."
            )
    if deployment.elsewhere:
        of, _, build = deployment.elsewhere.partition(":")
        say(f"WARNING: new agents begin on build {build} of another deployment, {of}.")
    elif not deployment.current and not deployment.workers:
        say("WARNING: no build is current, and new agents wait: `starter.py versions --set-current BUILD`.")
    if deployment.is_near_limit:
        say(
            "WARNING: past its most the server takes no workers of another build, and a rollout hangs: "
            "`starter.py versions --remove BUILD`."
        )


def _cells(build: Build) -> list[str]:
    ramp = f" {build.ramp:g} %" if build.ramp is not None else ""
    reason = f"{', but' if build.removable else ':'} {build.reason}" if build.reason else ""
    wakes = [moment(build.asleep_until)] + ([f"{build.open_end} open-ended"] if build.open_end else [])
    return [
        build.build,
        build.status + ramp,
        str(build.agents),
        str(build.asleep),
        ", ".join(filter(None, wakes)),
        str(build.pages),
        str(len(build.workers)),
        ("yes" if build.removable else "no") + reason,
    ]
