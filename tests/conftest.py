"""Shared by all tests: a real Temporal dev server, and settings of their own."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import signal
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis.internal.conjecture import providers
from sqlalchemy import URL

from cli.cluster.postgres import Postgres
from testing.fixtures import EXTERNAL_SERVER, server, session_settings, settings, stage
from tests.support.databases import emptied, running_postgres

__all__ = ["server", "session_settings", "settings", "stage"]

# A shell starts background processes with Ctrl-C ignored, and children inherit that; but tests send Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The real stderr of the process: while a test runs, its output is captured.
STDERR = pytest.StashKey[int]()


def environment() -> dict[str, str]:
    """The environment variables that this program reads."""
    return {name: value for name, value in os.environ.items() if name.startswith(("HIBERNAUT_", "TEMPORAL_"))}


def set_environment(wanted: Mapping[str, str]) -> None:
    for name in environment():
        del os.environ[name]
    os.environ.update(wanted)


def pytest_configure(config: pytest.Config) -> None:
    set_environment({})
    # Modules and tests are never freed: garbage collection starts after they are loaded, and skips them.
    gc.disable()
    config.stash[STDERR] = os.dup(2)
    # Hypothesis also draws constants from loaded modules; which modules are loaded differs between runs.
    if config.getoption("--hypothesis-profile") == "ci":
        providers._get_local_constants = lambda: providers._local_constants


# The time limit raises in the main thread, which does not end a test that hangs in another thread or catches
# all exceptions. After twice that time the process itself ends: it prints all stacks, and the run names the
# test.
def end_later(test: pytest.Item | pytest.Collector) -> None:
    config, marker = test.config, test.get_closest_marker("timeout")
    given = marker.args[0] if marker else config.getoption("timeout")
    if limit := 2 * float(config.getini("timeout") if given is None else given):
        faulthandler.dump_traceback_later(limit, exit=True, file=config.stash[STDERR])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    end_later(item)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Restart the timer that pytest's own plugin has just cancelled: the test's teardown may hang, too."""
    end_later(node)


# Each file runs on one worker. Files that take minutes start first and unit tests come last, so that no
# worker still runs a long file alone at the end.
SLOWEST_FIRST = (
    *("chaos/test_chaos", "integration/test_readme", "chaos/test_code_auditor_kills", "chaos/test_archive"),
    *("workflow/test_drift", "chaos/test_contract_auditor_kills", "chaos/test_recruiter"),
    *("workflow/test_archive", "workflow/test_chain_machine", "integration/test_gateway_schema"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """With several workers, each compiles a share of all modules first, and the others reuse the result."""
    name, count = (os.environ.get(f"PYTEST_XDIST_WORKER{end}", "") for end in ("", "_COUNT"))
    if not name or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    modules = sorted(Path(__file__).parent.glob("*/test_*.py"))
    for module in modules[int(name.removeprefix("gw")) :: int(count)]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collection reports it
            importlib.import_module(f"tests.{module.parent.name}.{module.stem}")


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if EXTERNAL_SERVER:  # by `make cluster-test`
        chosen = [item for item in items if "server" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=list({*items} - {*chosen}))
        items[:] = chosen

    def place(item: pytest.Item) -> int:
        folder, name = item.path.with_suffix("").parts[-2:]
        long = f"{folder}/{name}" in SLOWEST_FIRST
        return SLOWEST_FIRST.index(f"{folder}/{name}") if long else len(SLOWEST_FIRST) + (folder == "unit")

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def _environment_of_a_file() -> Iterator[None]:
    """What a file sets (for example, where clients connect) does not apply to the next file."""
    yield
    set_environment({})


@pytest.fixture(autouse=True)
def _environment_of_a_test() -> Iterator[None]:
    """After each test, restore the environment that the file's fixtures made."""
    before = environment()
    yield
    set_environment(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for the whole session; a test that stops it starts it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | URL:
    """An empty database; the test runs once for each kind of database."""
    if request.param == "sqlite":
        return tmp_path / "new" / "database.db"
    return emptied(request.getfixturevalue("postgres"))
