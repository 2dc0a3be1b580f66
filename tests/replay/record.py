"""Records histories of the agents: `python -m tests.replay.record`. Renew them only on purpose.

Each is an agent as people use it: approved, revised, rejected, changed in between, failed, and one that still
sleeps at its approval, as agents do when new code is deployed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError

from common.agent_client import AgentClient
from common.agent_view import AgentView
from common.approval import Verdict
from common.audit import AuditInput
from common.connect import connect
from tests.chaos.stack import Stack, until

HERE = Path(__file__).parent
SHOP = HERE.parent / "samples" / "shop"
# The same on every machine, so that a recording tells nothing of where it was made.
FOLDER = Path("/tmp/hibernaut-recording")


async def asked(agents: AgentClient, id: str, after: str = "") -> AgentView:
    async def find() -> AgentView | None:
        view = await agents.view(id)
        return view if view.approval and view.approval.id != after else None

    return await until(find)


async def decide(agents: AgentClient, id: str, verdict: Verdict = Verdict.APPROVE, **more: Any) -> None:
    await agents.decide(id, verdict, by="local", through="cli", **more)


async def approved(agents: AgentClient, id: str) -> None:
    await asked(agents, id)
    await decide(agents, id)


async def revised(agents: AgentClient, id: str) -> None:
    await asked(agents, id)
    await agents.tell(id, "leave the mail alone")
    await agents.pause(id)
    await decide(agents, id, Verdict.REVISE, edits={"skip": ["shop/mail.py"]})
    await agents.resume(id)


async def rejected(agents: AgentClient, id: str) -> None:
    await asked(agents, id)
    await decide(agents, id, Verdict.REJECT, note="not now")


async def changed(agents: AgentClient, id: str) -> None:
    first = await asked(agents, id)
    (FOLDER / id / "shop" / "mail.py").write_text("import os\n\nSENDER = f'shop'\n")
    await decide(agents, id)
    assert first.approval
    await asked(agents, id, after=first.approval.id)
    await decide(agents, id)


async def asleep(agents: AgentClient, id: str) -> None:
    await asked(agents, id)


async def failed(agents: AgentClient, id: str) -> None:
    pass  # its folder was never made


STORIES: tuple[Callable[[AgentClient, str], Awaitable[None]], ...] = (
    approved,
    revised,
    rejected,
    changed,
    asleep,
    failed,
)


async def record() -> None:
    """Play every story and write its history."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    async with Stack(FOLDER / "data") as stack:
        agents = await stack.agents()
        client = await connect(stack.settings)
        for story in STORIES:
            # The file's name is the agent's id: what an agent does depends on its id.
            name = f"code-auditor-{story.__name__}"
            folder = FOLDER / name
            if story is not failed:
                shutil.copytree(SHOP, folder)
            await agents.start(
                "code-auditor", AuditInput(path=str(folder), apply=True), id=name, owner="local"
            )
            await story(agents, name)
            if story is not asleep:
                try:
                    await client.get_workflow_handle(name).result()
                except WorkflowFailureError:
                    assert story is failed
            history = await client.get_workflow_handle(name).fetch_history()
            text = re.sub(r'"identity": "[^"]*"', '"identity": "recorder"', history.to_json())
            text = re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', text)
            text = text.replace(os.uname().nodename, "recorder")
            file = HERE / "histories" / f"{name}.json"
            file.write_text(json.dumps(json.loads(text), indent=1) + "\n")
            print(file.name, len(history.events), "events")
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    asyncio.run(record())
