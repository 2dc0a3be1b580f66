"""`make demo`: audits a code base from start to report on a stack of its own, then stops the stack."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax

from cli.children import end_child, last_line, start_child, text_of
from cli.clients import open_agents
from cli.confirm import confirmed
from cli.dev import READY
from cli.dev_server import free_port
from cli.output import CommandError, ExitCode, clean, say
from cli.watch import PATIENCE, LiveScreen, PlainScreen, views
from common.agents.auditor import AuditInput, AuditResult, FixPlan
from common.agents.states import RunStatus
from common.approval.types import Verdict
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from common.client.tokens import operator_token
from common.client.view import AgentView
from common.files import write_atomically
from common.lifecycle import exit_now
from common.roots import EVERYBODY
from common.settings import Settings, SettingsError
from common.temporal.connect import StackAddress

CHECKOUT = Path(__file__).parent.parent
STACK_WITHIN = 90.0
STACK_ENDS_WITHIN = 60.0
DIFF_LINES = 80
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", ".hibernaut", "__pycache__", ".*_cache", ".hypothesis")


async def demo(settings: Settings, target: Path | None, *, keep: bool) -> ExitCode:
    """Audit and fix `target`, or a copy of this checkout if None; asks on the terminal before fixing.

    Args:
        settings: those of the demo's own data folder.
        target: the folder to audit and, on a yes, to fix.
        keep: leave the stack running.
    """
    async with AsyncExitStack() as ending:
        folder = target or _copy_of_checkout(ending, keep=keep)
        _allow(settings, folder)
        stack = await _start_stack(settings, ending, keep=keep)
        agents = await open_agents(settings, PATIENCE)
        audit = AuditInput(path=str(folder), apply=True)
        id = await agents.start("code-auditor", audit, owner=settings.user)
        say(f"agent {id} audits {folder}")
        say(f"see it in the Web UI: {stack.ui}/namespaces/default/workflows/{id}")
        say(f"sign in for it at {stack.http}/ui with the token {operator_token(settings)}")
        view = await _follow(agents, id, settings)
        if view.status is not RunStatus.COMPLETED:
            raise CommandError(f"the audit ended {view.status}: {view.failure}", ExitCode.AGENT_FAILED)
        result = AuditResult.model_validate(view.result)
        print(f"{result.findings} findings in {result.files} files; {result.files_fixed} files fixed")
        print(f"report: {result.report['html']}")
        print(
            f"Web UI: {stack.ui}/namespaces/default/workflows/{id}"
            + ("" if keep else " (ends now; KEEP=1 keeps it)")
        )
    return ExitCode.DONE


def _copy_of_checkout(ending: AsyncExitStack, *, keep: bool) -> Path:
    # Outside the checkout: inside, git would ignore the copy, and so would the audit.
    scratch = Path(tempfile.mkdtemp(prefix="hibernaut-demo-"))
    if not keep:
        ending.callback(shutil.rmtree, scratch, ignore_errors=True)
    shutil.copytree(CHECKOUT, scratch / "checkout", ignore=LEFT_OUT)
    return scratch / "checkout"


def _allow(settings: Settings, folder: Path) -> None:
    """Let agents of the demo's stack use `folder`, and nothing else."""
    roots = settings.data_dir / "roots.json"
    write_atomically(roots, json.dumps({EVERYBODY: [str(folder)]}).encode())


async def _start_stack(settings: Settings, ending: AsyncExitStack, *, keep: bool) -> StackAddress:
    """Start `starter.py dev` on free ports; ``ending`` stops it unless ``keep`` is set."""
    log = settings.data_dir / "logs" / "dev.log"
    program = [sys.executable, str(CHECKOUT / "starter.py"), "dev", "--no-reload"]
    ports = ["--port", str(free_port()), "--ui-port", str(free_port()), "--http-port", str(free_port())]
    StackAddress.file(settings).unlink(missing_ok=True)
    begins = len(text_of(log))
    # No copy, and no shared database.
    environment = {
        **os.environ,
        "HIBERNAUT_DATA_DIR": str(settings.data_dir),
        "HIBERNAUT_COPY_TO": "",
        "HIBERNAUT_DATABASE": "",
    }
    process = await start_child([*program, *ports], environment=environment, log=log, outlive=keep)
    if keep:
        say(f"the stack stays: end it with `kill {process.pid}`")
    else:
        ending.push_async_callback(end_child, process, STACK_ENDS_WITHIN)
    for _ in range(int(STACK_WITHIN * 10)):
        stack = StackAddress.find(settings)
        # Wait for its worker: without one the agent would look stuck.
        if stack and READY in text_of(log, begins):
            return stack
        if process.returncode is not None:
            break
        await asyncio.sleep(0.1)
    raise CommandError(f"the stack did not start: {last_line(log)} (log: {log})", ExitCode.NO_TEMPORAL)


async def _follow(agents: AgentClient, id: str, settings: Settings) -> AgentView:
    """Show the agent's progress until it ends, and put its questions to the user."""
    answered = ""
    screen = LiveScreen() if sys.stdout.isatty() else PlainScreen(sys.stdout)
    while True:
        with screen:
            async for view in views(agents, id, screen):
                screen.draw(view)
                if view.approval and view.approval.id != answered:
                    break
        if view.approval is None:
            return view
        answered = view.approval.id
        plan = FixPlan.model_validate(view.approval.plan)
        _show(plan, settings)
        verdict, note = await _answer(plan)
        await agents.decide(
            id, verdict, by=settings.user, note=note, through="cli", digest=view.approval.digest
        )


def _show(plan: FixPlan, settings: Settings) -> None:
    print(f"\n{plan.fixes} fixes in {plan.files} files:")
    for file in plan.preview:
        rules = ", ".join(f"{rule} {count}" for rule, count in file.rules.items())
        print(f"  {clean(file.path)}  +{file.lines_added} -{file.lines_removed}  ({rules})")
    diff = ArtifactStore.of(settings).get(plan.diff).decode(errors="replace").splitlines()
    shown = "\n".join(clean(line) for line in diff[:DIFF_LINES])
    if sys.stdout.isatty():
        Console().print(Syntax(shown, "diff", background_color="default"))
    else:
        print(shown)
    if len(diff) > DIFF_LINES:
        print(f"… {len(diff) - DIFF_LINES} more lines of diff")


async def _answer(plan: FixPlan) -> tuple[Verdict, str]:
    if not sys.stdin.isatty():
        print("no terminal to ask on: approving by itself")
        return Verdict.APPROVE, "approved by the demo: no terminal to ask on"
    yes = await confirmed(f"Apply these {plan.fixes} fixes to {plan.files} files?")
    return (Verdict.APPROVE, "") if yes else (Verdict.REJECT, "no")


def main() -> int:
    """Run the demo and return its exit code."""
    try:
        found = Settings.at_start(os.environ)
        # Keep the demo apart from the user's own stack, agents and data.
        own = found.but(data_dir=found.data_dir / "demo")
        own.data_dir.mkdir(parents=True, exist_ok=True)
        # The demo must use its own stack, wherever these point.
        for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
            del os.environ[name]
        target = os.environ.get("TARGET", "")
        folder = Path(target).expanduser().absolute() if target else None
        return asyncio.run(demo(own, folder, keep=bool(os.environ.get("KEEP"))))
    except (CommandError, SettingsError) as error:
        say(f"error: {error}")
        return error.code if isinstance(error, CommandError) else ExitCode.USAGE
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    exit_now(main())
