"""Lists the questions of a batch, and decides them together with a signed decision for each."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import ValidationError

from cli.clients import open_client
from cli.output import CommandError, ExitCode, clean, flat, print_document, say
from cli.table import print_table
from common.approval.groups import Directory
from common.approval.signing import Signer
from common.approval.types import GROUP, DecisionStatus, Verdict
from common.approval.values import label_of, plain
from common.client.batch_decisions import MAX_DECIDED, BatchAnswer, BatchDecisions, new_token
from common.client.batch_questions import AllAnswered, Answered, AskedItem, is_item
from common.client.client import AgentClient
from common.hints import command
from common.settings import Settings

PLAN_WIDTH = 160
# For one page of questions; enough for a worker that is busy with much else.
ASKING_PATIENCE = timedelta(seconds=30)


async def list_questions(settings: Settings, batch: str, who: str | None, *, as_json: bool) -> None:
    """Print a batch's open questions: all of them, or those that `who` may decide."""
    gathered = await _open(settings)
    asked, silent = await _asked(gathered, settings, batch, who)
    if silent:
        say(f"{silent} more agents ask something that neither a worker nor their history tells just now.")
    if as_json:
        print_document(asked)
        return
    if not asked:
        say(f"no agent of batch {batch} waits for an approval{f' of {who}' if who else ''}.")
        return
    print_table(
        ["ITEM", "QUESTION", "PLAN", "DIGEST", "GROUP"],
        [[each.key, each.question, _plan(each), each.digest[:12], each.group] for each in asked],
    )
    by = ["--as", who] if who not in (None, settings.user) else []
    say(f"decide all with {command('approve', '--batch', batch, *by)}, without some with --leave-out ITEM,…")


@dataclass(frozen=True)
class Chosen:
    """Which questions of a batch to decide: without some items, of one group, or as a file lists them."""

    batch: str
    leave_out: str = ""
    group: str = ""
    seen: str | None = None


async def decide_all(
    settings: Settings, questions: Chosen, verdict: Verdict, by: str, note: str, *, as_json: bool
) -> ExitCode:
    """Decide like questions of a batch, each on the digest that was shown; print the outcome.

    Raises:
        CommandError: nothing is asked, the questions differ, or an item to leave out has no question.
    """
    gathered, batch = await _open(settings), questions.batch
    if questions.seen is not None:
        asked = _read_seen(questions.seen)
    else:
        asked, silent = await _asked(gathered, settings, batch, None)
        if silent:
            say(f"{silent} agents do not answer just now, and are left as they are.")
    asked = [each for each in asked if questions.group in ("", each.group)]
    chosen = without(asked, questions.leave_out, batch)
    require_alike(chosen, batch)
    if not chosen:
        raise CommandError(f"nothing to decide in batch {batch}.", ExitCode.REFUSED)

    async def sees(id: str) -> bool:
        return True  # anyone with the keys can decide as anybody

    answer = BatchAnswer(
        batch=batch, verdict=verdict, note=note, by=by, through="cli", token=new_token(), sees=sees
    )
    results = list[Answered]()
    for start in range(0, len(chosen), MAX_DECIDED):
        results += await gathered.answer(answer, chosen[start : start + MAX_DECIDED])
        if len(chosen) > MAX_DECIDED:
            say(f"{len(results)} of {len(chosen)} sent …")
    told = AllAnswered.of(batch, verdict, results)
    if as_json:
        print_document(told)
    _say(told, chosen, len(asked) - len(chosen))
    return ExitCode.REFUSED if told.refused else ExitCode.DONE


async def _open(settings: Settings) -> BatchDecisions:
    client = await open_client(settings)
    return BatchDecisions(client, AgentClient(client, settings, Signer.load(settings)))


async def _asked(
    gathered: BatchDecisions, settings: Settings, batch: str, who: str | None
) -> tuple[list[AskedItem], int]:
    """The questions, and the number of agents that did not answer."""
    names = {who, *(GROUP + group for group in Directory.load(settings).groups_of(who))} if who else set()
    pages = await gathered.pages(
        batch, lambda _, deciders: not names or bool(names & deciders), ASKING_PATIENCE
    )
    return [item for page in pages for item in page.items], sum(len(page.silent) for page in pages)


def _read_seen(source: str) -> list[AskedItem]:
    """Read what `inbox --batch B --json` printed."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).expanduser().read_text()
        return [AskedItem.model_validate(each) for each in json.loads(text)]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CommandError(f"--seen {source}: {reason}.") from None
    except (ValueError, TypeError, RecursionError) as error:
        words = f": {flat(error)}" if isinstance(error, ValidationError) else ""
        raise CommandError(f"--seen {source}: not what `inbox --batch B --json` printed{words}.") from None


def without(asked: Sequence[AskedItem], leave_out: str, batch: str) -> list[AskedItem]:
    """The questions, except those of the named items."""
    left = list(asked)
    for key in filter(None, (each.strip() for each in leave_out.split(","))):
        kept = [each for each in left if not is_item(each.id, each.item_of, key)]
        if len(kept) == len(left):
            raise CommandError(f"--leave-out {key}: nothing is asked about such an item of batch {batch}.")
        left = kept
    return left


def require_alike(chosen: Sequence[AskedItem], batch: str) -> None:
    """Refuse to decide different questions at once: a yes to one must not count for another."""
    groups = dict[str, AskedItem]()
    for each in chosen:
        groups.setdefault(each.group, each)
    if len(groups) > 1:
        counts = {group: sum(each.group == group for each in chosen) for group in groups}
        words = "; ".join(
            f"--group {group}: {counts[group]} like {clean(each.question)!r}"
            for group, each in groups.items()
        )
        raise CommandError(f"batch {batch} asks several things, choose one: {words}.")


def _say(told: AllAnswered, chosen: Sequence[AskedItem], left_out: int) -> None:
    parts = [
        f"{told.counted} counted",
        f"{told.refused} refused" if told.refused else "",
        f"{told.waiting} not judged yet, each counts once its agent gets to it" if told.waiting else "",
        f"{left_out} left out" if left_out else "",
    ]
    questions = "1 question" if len(chosen) == 1 else f"{len(chosen)} questions"
    like = f"{told.verdict} of {questions} like {chosen[0].question!r} of batch {told.batch}"
    say(f"{like}: {', '.join(filter(None, parts))}.")
    for each in told.results:
        if each.status is DecisionStatus.REFUSED:
            say(f"  {each.id}: {each.reason}")


def _plan(asked: AskedItem) -> str:
    text = ", ".join(f"{label_of(name)}: {plain(value)}" for name, value in asked.plan.items())
    return text if len(text) <= PLAN_WIDTH else text[: PLAN_WIDTH - 1] + "…"
