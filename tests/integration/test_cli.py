"""The command line as a user meets it: real processes against a real server and worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
import uuid
from pathlib import Path

import pytest
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from cli.dev_server import DevServer
from common.settings import Settings
from common.temporal.search_attributes import OWNER
from testing.waiting import eventually
from tests.support.commands import Ran
from tests.support.desk import ROOT, Desk, desk, heard, listed, open_desk

SHOWN_AT_LEAST = {
    *("id", "run_id", "kind", "owner", "state", "node", "waiting_for", "wake_at", "started_at", "closed_at"),
    *("progress", "cost", "approval", "notebook", "result"),
}


async def test_start_prints_the_id_alone_and_show_and_result_know_it(desk: Desk) -> None:
    """An id at once, everything about it later."""
    started = await desk.run("start", "code-auditor", "path=/x/plain", "--owner", "o-1", "--wait")
    id = started.out.strip()
    assert started.code == 0
    assert id.startswith("code-auditor-")
    assert len(id) == len("code-auditor-") + 8
    shown, result = await asyncio.gather(desk.run("show", id, "--json"), desk.run("result", id))
    plain = await desk.run("show", id)
    assert set(shown.json) >= SHOWN_AT_LEAST
    assert shown.json["state"] == shown.json["status"] == "completed"
    assert shown.json["owner"] == "o-1"
    assert shown.json["live"] is True
    assert [entry["text"] for entry in shown.json["notebook"]][:2] == [
        "entered",
        "looked at \x1b[31m[bold]things",
    ]
    assert shown.err == ""
    assert r"looked at \u001b[31m[bold]things" in plain.out
    assert result.json == shown.json["result"] == {"looked": "plain"}


async def test_input_comes_from_a_file_from_stdin_and_from_words(desk: Desk, tmp_path: Path) -> None:
    """All three ways end in the same input, and paths are made absolute."""
    file = tmp_path / "input.json"
    file.write_text('{"path": "from-file"}')
    by_file, by_stdin = await asyncio.gather(
        desk.run("start", "code-auditor", "--input", str(file), "--wait", "--json"),
        desk.run("start", "code-auditor", "--input", "-", "--wait", "--json", say='{"path": "from-stdin"}'),
    )
    assert by_file.json["result"] == {"looked": "from-file"}
    assert by_stdin.json["result"] == {"looked": "from-stdin"}
    assert by_stdin.json["status"] == "completed"


async def test_a_failed_agent_is_exit_code_1_and_one_line(desk: Desk) -> None:
    """Scripts see the code, people the reason; also where nobody waits, if it fails at once."""
    words = ("start", "code-auditor", "path=/x/fails", "--id")
    started, at_once, as_json = await asyncio.gather(
        desk.run(*words, f"f-{uuid.uuid4()}", "--wait"),
        desk.run(*words, f"f-{uuid.uuid4()}"),
        desk.run(*words, f"f-{uuid.uuid4()}", "--json"),
    )
    id = started.out.strip()
    assert [each.code for each in (started, at_once, as_json)] == [1, 1, 1]
    assert (at_once.out.count("\n"), "failed: PathMissing: no folder there" in at_once.err) == (1, True)
    assert as_json.json["status"] == "failed"
    ran = await desk.run("result", id)
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "failed: PathMissing: no folder there" in ran.err
    assert ran.json["failure"] == "PathMissing: no folder\nthere"
    assert (await desk.run("watch", id)).code == 1


async def test_an_id_names_one_agent_for_good(desk: Desk) -> None:
    """Keys are made of it: a second start under an id is refused, also when the first has ended."""
    id = f"once-{uuid.uuid4()}"
    await desk.start("sleeps", "--id", id)
    again = await desk.run("start", "code-auditor", "path=/x/y", "--id", id)
    assert again.code == 2
    assert f"there is already an agent with the id {id}" in again.err
    assert (await desk.run("cancel", id)).code == 0
    assert (await desk.run("result", id, "--wait")).json["status"] == "cancelled"
    ended = await desk.run("start", "code-auditor", "path=/x/y", "--id", id)
    assert ended.code == 2
    assert "running or ended; choose another" in ended.err


async def test_an_unknown_id_is_exit_code_3(desk: Desk) -> None:
    """Whatever the command, one line says that there is no such agent."""
    for command, *more in (("show",), ("result",), ("watch",), ("approve",), ("tell", "hello"), ("cancel",)):
        ran = await desk.run(command, "no'such\x1bagent", *more)
        assert (ran.code, ran.out) == (3, ""), command
        assert ran.err.count("\n") == 1
        assert "there is no agent" in ran.err


async def test_steering_an_agent_that_has_ended_is_exit_code_3(desk: Desk) -> None:
    """A signal to nobody is not a success."""
    id = await desk.start("plain", "--wait")
    for words in (("wake", id), ("cancel", id), ("tell", id, "x")):
        ran = await desk.run(*words)
        assert (ran.code, ran.out) == (3, "")
        assert "it is completed" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "nothing"), "there are: code-auditor"),
        (("start", "code-auditor", "path=x", "--set", "apply=maybe"), "apply"),
        (("start", "code-auditor", "path=/proc/self/environ"), "HIBERNAUT_ROOTS"),
        (("start", "code-auditor", "--input", "/no/such/file"), "No such file"),
        (("frobnicate",), "frobnicate"),
        (("show",), "ID"),
        (("list", "--status", "dead"), "running"),
        (("list", "--state", "dead"), "sleeping"),
        (("wake", "x", "--until", "someday"), "2026-"),
        (("find", "--troubled", "--archived"), "only running agents are in trouble"),
        (("find", "--troubled", "--status", "failed"), "only running agents are in trouble"),
    ],
)
async def test_a_usage_error_is_exit_code_2_and_one_line(
    desk: Desk, words: tuple[str, ...], said: str
) -> None:
    """The line says what would have been right."""
    ran = await desk.run(*words)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert said in ran.err
    assert ran.out == ""


async def test_an_approval_counts_and_says_so(desk: Desk) -> None:
    """`approve` waits for what the agent makes of the decision; edits arrive."""
    id = await desk.asking("me", "you")
    ran = await desk.run("approve", id, "--edit", 'skip=["a"]', "--note", "fine", "--json")
    assert ran.code == 0
    assert ran.json["status"] == "counted"
    assert ran.json["verdict"] == "revise"
    assert ran.json["signed"] is True
    result = await desk.run("result", id, "--wait")
    assert result.json == {"verdict": "approved", "skip": ["a"]}
    decisions = (await desk.run("show", id, "--json")).json["decisions"]
    assert [(each["decision"]["by"], each["decision"]["through"]) for each in decisions] == [("me", "cli")]


async def test_a_rejection_counts_with_its_reason(desk: Desk) -> None:
    """`reject` ends the request and keeps the words."""
    id = await desk.asking("me")
    ran = await desk.run("reject", id, "--reason", "not now")
    assert ran.code == 0
    assert "counted" in ran.err
    assert (await desk.run("result", id, "--wait")).json["verdict"] == "rejected"
    assert "not now" in (await desk.run("show", id)).out


async def test_a_refused_decision_is_exit_code_4_with_the_reason(desk: Desk) -> None:
    """Not an approver, another digest, or nothing asked: nothing changes and the user is told why."""
    id = await desk.asking("me")
    stranger = await desk.run("approve", id, "--as", "stranger", "--json")
    assert stranger.code == 4
    assert stranger.json["status"] == "refused"
    assert "stranger" in stranger.json["reason"]
    digest = await desk.run("approve", id, "--digest", "beef")
    assert digest.code == 4
    assert "beef" in digest.err
    edit = await desk.run("approve", id, "--edit", "files=9")
    assert edit.code == 4
    open_request = (await desk.run("show", id, "--json")).json["approval"]
    good = await desk.run("approve", id, "--digest", open_request["digest"][:8])
    assert good.code == 0
    late = await desk.run("approve", id)
    assert late.code == 4
    assert "nothing to decide" in late.err


async def test_a_decision_is_taken_while_no_worker_runs(server: DevServer, tmp_path: Path) -> None:
    """Temporal keeps it, the CLI says so, and it counts when a worker wakes."""
    async with open_desk(server, tmp_path) as lonely:
        await lonely.work()
        id = await lonely.asking("me")
        await lonely.rest()
        shown = await lonely.run("show", id, "--json")
        assert (shown.json["live"], shown.json["state"]) == (False, "awaiting_approval")
        ran = await lonely.run("approve", id, "--json")
        assert (ran.code, ran.json["status"]) == (0, "recorded")
        await lonely.work()
        assert (await lonely.run("result", id, "--wait")).json["verdict"] == "approved"


async def test_the_inbox_shows_each_approver_what_is_theirs(desk: Desk) -> None:
    """One row a waiting agent, with its question for people and its digest for programs."""
    mine, theirs = await asyncio.gather(desk.asking("ann"), desk.asking("bob", "ann"))
    await desk.run("pause", mine)  # a paused agent takes decisions, so it stays in the inbox
    await desk.until(mine, "paused")
    for_ann, for_bob, table = await asyncio.gather(
        desk.run("inbox", "--for", "ann", "--json"),
        desk.run("inbox", "--for", "bob", "--json"),
        desk.run("inbox", "--for", "bob"),
    )
    # Other tests share the server, and may have agents that wait for people of these names.
    [ours] = [row for row in for_bob.json if row["id"] in (mine, theirs)]
    assert {mine, theirs} <= {row["id"] for row in for_ann.json}
    assert ours["id"] == theirs
    assert len(ours["digest"]) == 64
    assert (ours["question"], ours["decided"], ours["overdue"]) == ("Fix [red]them?", [], False)
    assert "Fix [red]them?" in table.out
    await asyncio.gather(*(desk.run("cancel", id) for id in (mine, theirs)))
    nobody = await desk.run("inbox", "--for", "nobody", "--json")
    assert (nobody.code, nobody.json) == (0, [])


async def test_no_value_can_bend_the_query(desk: Desk) -> None:
    """Odd owners find exactly themselves; what could end a literal is refused, at start and in a search."""
    odd = "team é = 50% (a) OR AgentOwner IS NOT NULL --"
    id = await desk.start("plain", "--owner", odd, "--wait")
    await desk.until(id, "completed")
    rows = (await desk.run("list", "--owner", odd, "--json")).json
    assert [(row["id"], row["subject"]) for row in rows] == [(id, "Audit of plain")]
    evil = "x' OR AgentOwner != '"
    for words in (
        ("list", "--owner", evil, "--json"),
        ("inbox", "--for", evil),
        ("start", "code-auditor", "path=x", "--owner", "back\\slash"),
    ):
        ran = await desk.run(*words)
        assert (ran.code, ran.out) == (2, "")
        assert "cannot be looked for" in ran.err


async def test_an_agent_is_told_paused_resumed_and_woken(desk: Desk) -> None:
    """Each steering command arrives, and says what the agent made of it."""
    id = await desk.until(await desk.start("sleeps"), "sleeping")
    for verb in (("tell", id), ("reject", id, "--reason")):
        for words, flaw in (("x" * 100_000, "100,000 characters"), ("", "is empty"), (" \n", "is empty")):
            refused = await desk.run(*verb, words)
            assert (refused.code, refused.out, refused.err.count("\n"), flaw in refused.err) == (
                2,
                "",
                1,
                True,
            )
    assert (await desk.run("list", "--state", "sleeping", "--json")).json[0]["id"] == id
    assert (await desk.run("tell", id, "be brief")).code == 0
    assert (await desk.run("pause", id)).code == 0
    await desk.until(id, "paused")
    assert (await desk.run("resume", id)).code == 0
    await desk.until(id, "sleeping")
    assert "it was not paused" in (await desk.run("resume", id)).err
    assert (await desk.run("wake", id, "--until", "2031-01-01T00:00:00Z")).code == 0
    running = await desk.run("result", id)
    assert (running.code, running.json["status"]) == (0, "running")
    assert (await desk.run("show", id, "--json")).json["wake_at"] == "2031-01-01T00:00:00Z"
    assert (await desk.run("wake", id)).code == 0
    assert (await desk.run("result", id, "--wait")).json == {"woken": "signal", "wishes": ["be brief"]}


async def test_many_agents_are_steered_and_watched_by_what_they_have_in_common(desk: Desk) -> None:
    """Nobody else's; never all there are; each is counted."""
    ids = [await desk.start("sleeps", "--owner", "many") for _ in range(3)]
    other = await desk.start("sleeps", "--owner", "few")
    for id in (*ids, other):
        await desk.until(id, "sleeping")
    for words in (("pause",), ("cancel", ids[0], "--owner", "many"), ("watch",)):
        ran = await desk.run(*words)
        assert (ran.code, ran.err.count("\n")) == (2, 1), words

    async def listed(state: str) -> bool:
        rows = (await desk.run("list", "--owner", "many", "--state", state, "--json")).json
        return {row["id"] for row in rows} == set(ids)

    assert await eventually(lambda: listed("sleeping"))
    paused = await desk.run("pause", "--owner", "many", "--json")
    assert (paused.code, paused.err) == (0, "pause: 3 taken.\n")
    assert {each["id"]: each["status"] for each in paused.json} == dict.fromkeys(ids, "taken")
    watching = await desk.spawn("watch", "--owner", "many")
    await heard(watching, "paused")
    assert (await desk.run("cancel", "--owner", "many", "--kind", "code-auditor")).err == "cancel: 3 sent.\n"
    out, err = await asyncio.wait_for(watching.communicate(), 120)
    assert (watching.returncode, "3 agents: 3 cancelled" in err.decode()) == (1, True)
    assert out.decode().count("cancelled") == 3
    assert (await desk.run("show", other, "--json")).json["state"] == "sleeping"
    await desk.run("cancel", other)


async def test_who_sits_at_a_terminal_is_asked_first(desk: Desk) -> None:
    """Anything but a yes does nothing: a no, Ctrl-D, and Ctrl-C, which ends the command at once."""
    id = await desk.until(await desk.start("sleeps", "--owner", "asked"), "sleeping")
    cancel = (("cancel", "--owner", "asked"), f"cancel 1 running agent, such as {id}?")
    forget = (
        ("forget", "--owner", "asked"),
        "erase the 1 agents of asked in Temporal and the 0 archived ones",
    )
    for (words, question), answer, code in ((cancel, b"no\n", 4), (forget, b"\x04", 4), (forget, b"", 130)):
        ours, theirs = pty.openpty()
        asking = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "starter.py"), *words),
            env=desk.environment,
            stdin=theirs,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(theirs)
        os.write(ours, answer)
        if not answer:
            assert asking.stderr is not None
            assert question.encode() in await asking.stderr.readline()
            asking.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(asking.communicate(), 120)
        os.close(ours)
        assert (asking.returncode, out) == (code, b""), err
        assert question in err.decode() or not answer
    assert (await desk.run("forget", "--owner", "asked", "--dry-run")).json == {
        "owner": "asked",
        "live": 1,
        "archived": 0,
        "before": [],
    }
    assert (await desk.run("show", id, "--json")).json["state"] == "sleeping"
    await desk.run("cancel", id)


async def test_a_start_can_be_tried_and_repeated(desk: Desk) -> None:
    """Tried, nothing starts and the whole input is told; repeated, it is the same but for what is said."""
    tried = await desk.run("start", "code-auditor", "path=/x/plain", "--id", "tried", "--dry-run")
    assert (tried.code, tried.json["id"], tried.json["input"]["path"]) == (0, "tried", "/x/plain")
    assert (await desk.run("show", "tried")).code == 3
    refused = await desk.run("start", "code-auditor", "path=/proc/self/environ", "--dry-run")
    assert (refused.code, "HIBERNAUT_ROOTS" in refused.err) == (2, True)
    first = await desk.start("plain", "include=a", "--owner", "o-7", "--wait")
    again = await desk.run("rerun", first, "--wait", "--json")
    assert (again.json["owner"], again.json["result"]) == ("o-7", {"looked": "plain"})
    assert again.json["id"] != first
    other = await desk.run("rerun", again.json["id"], "path=/x/fails", "--owner", "me", "--wait", "--json")
    assert (other.code, other.json["owner"], other.json["status"]) == (1, "me", "failed")
    assert (await desk.run("rerun", "nobody")).code == 3
    taken = await desk.run("start", "code-auditor", "path=/x/plain", "--id", first, "--dry-run")
    assert (taken.code, f"already an agent with the id {first}" in taken.err) == (2, True)


async def test_a_chain_of_runs_is_one_agent(desk: Desk) -> None:
    """After a continue-as-new the latest run is shown, with the whole notebook, once in the list."""
    id = await desk.until(await desk.start("chain", "--owner", "chained"), "sleeping")
    shown = (await desk.run("show", id, "--json")).json
    assert (shown["status"], shown["node"]) == ("running", "rest")
    runs = [entry["facts"]["run"] for entry in shown["notebook"] if "looked" in entry["text"]]
    assert runs == [0, 1]
    assert [row["id"] for row in (await desk.run("list", "--owner", "chained", "--json")).json] == [id]
    await desk.run("wake", id)
    assert (await desk.run("result", id, "--wait")).json["woken"] == "signal"


async def test_progress_counts_what_a_running_activity_reports(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long shard shows before it has ended."""
    monkeypatch.setattr(desk, "patient", False)  # it neither ends nor waits
    id = await desk.start("counts")

    async def counted() -> dict[str, int] | None:
        progress: dict[str, int] = (await desk.run("show", id, "--json")).json["progress"]
        return progress if progress["done"] > 10 else None

    assert await eventually(counted) == {"done": 17, "total": 100}
    await desk.run("cancel", id)


async def test_watch_follows_an_agent_through_a_restart_of_the_server(tmp_path: Path, desk: Desk) -> None:
    """It says that it reconnects, goes on, and ends with the agent."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path / "own")})
    async with (
        DevServer(settings, ui_port=None, scratch=True) as own,
        open_desk(own, tmp_path / "own") as watched,
    ):
        await watched.work()
        id = await watched.asking("me")
        watching = await watched.spawn("watch", id)
        said = await heard(watching, f"starter.py approve {id}")
        assert r"looked at \u001b[31m[bold]things" in said
        own.kill()
        said += await heard(watching, "reconnecting…")
        await own.start()
        assert (await watched.run("approve", id)).code == 0
        out, err = await asyncio.wait_for(watching.communicate(), 120)
        said += out.decode()
        assert watching.returncode == 0, err
        assert said.count("looked at") == 1
        assert said.count("reconnecting…") == 1
        assert "completed" in said


async def test_watch_draws_on_a_terminal_and_ctrl_c_leaves_the_agent_running(desk: Desk) -> None:
    """The drawing holds state and notebook; ending the watch ends nothing else."""
    id = await desk.until(await desk.start("sleeps"), "sleeping")
    ours, theirs = pty.openpty()
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "starter.py"), "watch", id),
        env={**desk.environment, "TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    while b"looked at" not in drawn:
        drawn += await asyncio.wait_for(asyncio.to_thread(os.read, ours, 4096), 120)
    assert b"sleeping" in drawn
    assert b"\x1b[31m[bold]" not in drawn
    watching.send_signal(signal.SIGINT)
    # A terminal goes on reading; a program cannot end while what it draws last finds no room.
    with contextlib.suppress(OSError):
        while await asyncio.wait_for(asyncio.to_thread(os.read, ours, 4096), 120):
            pass
    assert await asyncio.wait_for(watching.wait(), 120) == 130
    os.close(ours)
    assert (await desk.run("show", id, "--json")).json["status"] == "running"
    await desk.run("cancel", id)


async def test_watch_json_prints_the_last_view_alone(desk: Desk) -> None:
    """Lines go to stderr, the document to stdout."""
    id = await desk.start("plain", "--wait")
    ran = await desk.run("watch", id, "--json")
    assert (ran.code, ran.json["status"]) == (0, "completed")
    assert "looked at" in ran.err


@pytest.mark.parametrize(
    "words", [("list",), ("start", "code-auditor", "path=x"), ("watch", "x"), ("doctor",), ("setup",)]
)
async def test_no_temporal_is_exit_code_5_and_says_what_to_do(
    desk: Desk, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The address tried is named, and why: a killed stack left it behind. `doctor` checks the rest."""
    (tmp_path / "stack.json").write_text('{"temporal": "127.0.0.1:9", "ui": "", "process": 4194305}')
    ran = await desk.run(*words, TEMPORAL_ADDRESS="", HIBERNAUT_DATA_DIR=str(tmp_path))
    assert ran.code == 5
    assert ran.err.count("\n") == 1
    assert f"127.0.0.1:9 (left behind by the stack on {tmp_path})" in ran.err
    assert (words == ("doctor",)) == ("mend     temporal" in ran.out and "language model" in ran.out)
    assert "starter.py dev" in ran.err


async def test_doctor_finds_all_well_and_says_what_to_mend(desk: Desk, tmp_path: Path) -> None:
    """A worker and keys that are missing are named; exit code 1 says that something is."""
    well = await desk.run("doctor", "--json")
    unwell = [check for check in well.json if check["health"] not in ("ok", "unseen")]
    assert [check["name"] for check in unwell] == ["worker", "archive"], well.out
    assert unwell[0]["text"].endswith("-fetch: fetches wait")
    assert "starter.py setup" in unwell[1]["text"]
    # A cluster that was set up has a schedule, which is signed with keys that are not the desk's.
    assert well.code == (unwell[1]["health"] == "mend")
    ill = await desk.run("doctor", HIBERNAUT_TASK_QUEUE="nobody", HIBERNAUT_DATA_DIR=str(tmp_path / "none"))
    assert ill.code == 1
    assert "no worker polls the task queue nobody" in ill.out
    assert "HIBERNAUT_APPROVAL_KEYS" in ill.out


async def test_an_agent_that_does_not_get_on_says_why_everywhere(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words by each command, what to do, and the exit code of `doctor`; none once it is gone."""
    monkeypatch.setattr(desk, "patient", False)  # it never answers
    id, owner = "misspelt-1", "troubled-owner"
    attributes = TypedSearchAttributes([SearchAttributePair(OWNER, owner)])
    agent = await desk.client.start_workflow(
        "byuer", id=id, task_queue=desk.settings.task_queue, search_attributes=attributes
    )
    said = "no worker has the kind byuer (attempt "

    async def found() -> Ran | None:
        ran = await desk.run("find", "--troubled", "--owner", owner, "--json")
        return ran if ran.json else None

    [row] = (await eventually(found)).json
    [trouble] = row["trouble"]
    assert (row["id"], trouble["cause"]) == (id, "unknown_kind")
    assert trouble["words"].startswith(said)
    commands = (
        ("find", "--troubled", "--owner", owner),
        ("list", "--owner", owner),
        ("show", id),
        ("doctor",),
    )
    ran = await asyncio.gather(*(desk.run(*words) for words in commands))
    assert [said in each.out for each in ran] == [True] * len(commands), ran
    assert [each.code for each in ran] == [0, 0, 0, 1]
    assert "start a worker whose code has it" in ran[0].err
    assert "start a worker whose code has it" in ran[2].out
    for words in (("watch", id), ("watch", "--owner", owner)):
        watching = await desk.spawn(*words)
        assert "in trouble: " + said in await heard(watching, said)
    await agent.terminate("it was misspelt")
    await eventually(lambda: listed(desk.client, id, "terminated"))
    gone = await desk.run("find", "--troubled", "--owner", owner)
    assert (gone.code, gone.err) == (0, "no agent is in trouble.\n")


async def test_a_start_and_a_yes_are_held_against_the_operators_policy(desk: Desk, tmp_path: Path) -> None:
    """A line says what it asks for; while it cannot be read nothing can be approved, and `doctor` says so."""
    policy = tmp_path / "floors.json"
    policy.write_text('{"rules": [{"kind": "buyer", "start": "never"}, {"quorum": 2}]}')
    auditor = ("start", "code-auditor", f"path={tmp_path}/asks", "apply=true", "approvers=ann")
    for words, told in (
        (("start", "buyer", "symbol=A", "quantity=1", "limit=1"), "lets me start no buyer"),
        (auditor, "asks for 2 approvals by others than me, and too few of those named"),
    ):
        ran = await desk.run(*words, HIBERNAUT_POLICY=str(policy))
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert told in ran.err
    id = (await desk.run(*auditor)).out.strip()
    policy.write_text("{")
    for words in (("approve", id, "--as", "ann"), auditor):
        ran = await desk.run(*words, HIBERNAUT_POLICY=str(policy))
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert f"HIBERNAUT_POLICY: {policy} is not a JSON object such as" in ran.err
    ill = await desk.run("doctor", HIBERNAUT_POLICY=str(policy))
    assert (ill.code, "Nothing destructive is done until then" in ill.out) == (1, True)


async def test_a_bad_setting_is_exit_code_2(desk: Desk) -> None:
    """The line names the setting."""
    ran = await desk.run("list", HIBERNAUT_CACHED_AGENTS="many")
    assert ran.code == 2
    assert "HIBERNAUT_CACHED_AGENTS" in ran.err


async def test_the_kinds_are_listed_for_people_and_programs(desk: Desk) -> None:
    """`agents` needs no server."""
    ran = await desk.run("agents", "--json", TEMPORAL_ADDRESS="127.0.0.1:9")
    fields = {each["name"] for each in ran.json[0]["fields"]}
    assert ran.json[0]["kind"] == "code-auditor"
    assert {"path", "apply"} <= fields
    assert "path" in (await desk.run("agents")).out


async def test_the_kinds_are_listed_with_what_the_operator_asks_for(desk: Desk, tmp_path: Path) -> None:
    """For the person who would start them; a policy that cannot be read is said in a line."""
    file = tmp_path / "policy.json"
    asked = {"approvers": ["bob", "eve"], "quorum": 2, "largest_order": 5}
    rules = [{"kind": "buyer", "owners": ["ann"], **asked}, {"kind": "buyer", "start": "never"}]
    file.write_text(json.dumps({"rules": rules}))
    for owner, words in (
        ("ann", "people other than the owner approve (bob, eve), 2 at least"),
        ("bob", "may not be started"),
    ):
        listed = await desk.run("agents", "--owner", owner, HIBERNAUT_POLICY=str(file))
        assert f"policy for {owner}: {words}" in listed.out
    [buyer] = [
        each
        for each in (await desk.run("agents", "--owner", "ann", "--json", HIBERNAUT_POLICY=str(file))).json
        if each["kind"] == "buyer"
    ]
    assert (buyer["policy"]["quorum"], buyer["policy"]["largest_order"]) == (2, "5")
    file.write_text("{")
    unread = await desk.run("agents", HIBERNAUT_POLICY=str(file))
    assert (unread.code, unread.err.count("\n")) == (2, 1)


__all__ = ["desk"]
