"""`starter.py setup`: the one-time setup of a cluster; it is idempotent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from cli.archive import set_cold
from cli.clients import open_client
from cli.namespace import RETENTION, AttributeOfAnotherTypeError, Namespace
from cli.output import ExitCode, clean, print_document
from cli.rates import set_fetch_rate
from common.archive.anchor import ArchiveAnchor
from common.settings import Settings, SettingsError

# The server is out of reach or overloaded: give up, other steps would fail alike.
AWAY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)


class Outcome(StrEnum):
    """The outcome of a step. Only ``failed`` makes the exit code 1."""

    DONE = "done"
    THERE = "there"
    FAILED = "failed"


@dataclass(frozen=True)
class Step:
    """One line of output: what was set up, whether that changed anything, and the new state."""

    name: str
    outcome: Outcome
    text: str


async def setup(settings: Settings, *, as_json: bool) -> ExitCode:
    """Take every step, and print each outcome.

    Raises:
        CannotConnectError: Temporal is out of reach.
        RPCError: Temporal went out of reach during the setup.
    """
    client = await open_client(settings)
    steps = [await _try(name, step, client, settings) for name, step in STEPS.items()]
    if as_json:
        print_document(steps)
    else:
        for step in steps:
            print(f"{step.outcome:<8} {step.name:<18} {clean(step.text)}")
    failed = any(step.outcome is Outcome.FAILED for step in steps)
    return ExitCode.AGENT_FAILED if failed else ExitCode.DONE


Result = tuple[Outcome, str]


async def _try(
    name: str, step: Callable[[Client, Settings], Awaitable[Result]], client: Client, settings: Settings
) -> Step:
    try:
        return Step(name, *await step(client, settings))
    except (AttributeOfAnotherTypeError, SettingsError) as error:
        return Step(name, Outcome.FAILED, str(error))
    except TimeoutError:
        return Step(name, Outcome.FAILED, "the servers do not know of it yet; run `starter.py setup` again")
    except RPCError as error:
        if error.status in AWAY:
            raise
        return Step(name, Outcome.FAILED, f"Temporal refuses: {error.message}")


async def _namespace(client: Client, _: Settings) -> Result:
    made = await Namespace(client.service_client, client.namespace).create()
    return Outcome.DONE if made else Outcome.THERE, client.namespace


async def _retention(client: Client, _: Settings) -> Result:
    before = await Namespace(client.service_client, client.namespace).keep_closed()
    if before is None:
        return Outcome.THERE, f"closed agents stay {RETENTION.days} days or longer"
    return Outcome.DONE, f"closed agents stay {RETENTION.days} days, no longer {before}"


async def _attributes(client: Client, _: Settings) -> Result:
    made = await Namespace(client.service_client, client.namespace).register_attributes()
    return (Outcome.DONE, ", ".join(made)) if made else (Outcome.THERE, "all of them")


async def _archivist(client: Client, settings: Settings) -> Result:
    changed = await ArchiveAnchor(client, settings).set_up()
    text = f"it runs at `{settings.archive.schedule}` UTC; colder storage: {await set_cold(settings)}"
    return Outcome.DONE if changed else Outcome.THERE, text


async def _fetch_rate(client: Client, settings: Settings) -> Result:
    changed = await set_fetch_rate(client.workflow_service, client.namespace, settings)
    text = f"{settings.fetching.rate:g} a second from each host, on {settings.fetch_queue}"
    return Outcome.DONE if changed else Outcome.THERE, text


STEPS: dict[str, Callable[[Client, Settings], Awaitable[Result]]] = {
    "namespace": _namespace,
    "retention": _retention,
    "search attributes": _attributes,
    "archivist": _archivist,
    "fetch rate": _fetch_rate,
}
