"""Approval chains against a model of their rules: whatever happens in whatever order, on the real server."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from cli.dev_server import DevServer
from common.approval.signing import Authority
from common.approval.types import ApprovalRequest, Decision
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.chain.model import Rules
from tests.support.chain.player import Desk, DisagreementError, Tally
from tests.support.chain.regressions import REGRESSIONS
from tests.support.chain.scripts import GROUPS, Decide, Move, Script, scripts
from tests.support.limits import QUICK_TASKS, short_histories
from tests.support.seeds import seed
from workflows.core import gate, premises
from workflows.core.approval import Approvals

# So many scripts are played side by side, and drawn together.
DESKS = 16
DRAWN = 2 * DESKS
SEQUENCES = int(os.environ.get("CHAIN_SEQUENCES", "50"))
SOAK_SEQUENCES = int(os.environ.get("CHAIN_SOAK_SEQUENCES", "5000"))
SEED = seed("CHAIN_SEED")
REPLAYED = 30
# Bits of a sequence at most; shorter ones find less each, and many of them are played in the same time.
SHORT, LONG = 6, 12
# A sequence is cut short, and does not count, where real time decides what came first.
SURPLUS = 1.1

# What must have happened in a run, or it proves too little.
EVERYTHING = (
    *("Decide", "AtOnce", "Advance", "Move", "pause", "resume", "restart", "leave", "back", "tell", "lose"),
    *("find", "order", "ended", "counted", "unsigned", "forged", "foreign", "outdated", "unknown key"),
    *("stale", "expired", "stranger", "requester", "edits", "again", "duplicate", "closed", "waiting"),
    *("fresh histories", "overdue without a worker", "look", "looked"),
)


class Machine:
    """A server that soon suggests fresh histories, and the desks where scripts are played."""

    def __init__(self, folder: Path, patience: float = 120) -> None:
        self.settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder), "HIBERNAUT_UNSIGNED": "refuse"})
        self.tally = Tally()
        self.patience = patience
        self.desks: list[Desk] = []
        self.played: list[Any] = []

    async def open(self) -> None:
        """Start everything."""
        self._server = DevServer(
            self.settings, ui_port=None, limits=short_histories(40) | QUICK_TASKS, scratch=True
        )
        await self._server.start()
        os.environ["TEMPORAL_ADDRESS"] = self._server.address
        groups = {name: sorted(members) for name, members in GROUPS.items()}
        (self.settings.data_dir / "groups.json").write_text(json.dumps(groups))
        client = await connect(self.settings)
        for number in range(DESKS):
            desk = Desk(client, self.settings, number, self.tally, self.patience)
            await desk.stage.work()
            self.desks.append(desk)

    async def play(self, batch: Sequence[Script]) -> None:
        """Play scripts, each desk one after the other, each script to its end.

        Raises:
            DisagreementError: one of them found a difference.
        """
        queue = iter(batch)

        async def at(desk: Desk) -> None:
            for script in queue:
                self.played.append(await desk.play(script))

        at_desks = (at(desk) for desk in self.desks)
        ends = await asyncio.gather(*at_desks, return_exceptions=True)
        if error := next((each for each in ends if isinstance(each, BaseException)), None):
            raise error

    async def replay_some(self) -> None:
        """Replay the histories of a sample of the agents played."""
        stage = self.desks[0].stage
        stage.handles = random.Random(SEED).sample(self.played, min(REPLAYED, len(self.played)))
        await stage.replay_all()
        stage.handles = []

    async def close(self) -> None:
        """End everything."""
        for desk in self.desks:
            await desk.stage.rest()
        await self._server.stop()


class Player:
    """Plays sequences with a machine; each method raises `DisagreementError` where agent and model differ."""

    def __init__(self, runner: asyncio.Runner, built: Machine) -> None:
        self._runner, self._built = runner, built

    def these(self, *batch: Script) -> None:
        """Play these."""
        self._runner.run(self._built.play(batch))

    def some(self, sequences: int, seed: int, longest: int, *phases: Phase) -> Tally:
        """Play at least so many, drawn from a seed, and replay some of their histories."""

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=math.ceil(sequences * SURPLUS / DRAWN),
            deadline=None,
            database=None,
            phases=(Phase.generate, *phases),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(scripts(longest), min_size=DRAWN, max_size=DRAWN))
        def together(batch: list[Script]) -> None:
            try:
                self.these(*batch)
            except DisagreementError as error:
                # Now, for the smallest one may be long in coming.
                print(error, flush=True)
                raise
            print(f"{self._built.tally.met['sequences']} sequences", flush=True)

        together()
        self._runner.run(self._built.replay_some())
        return self._built.tally


@contextmanager
def machine(folder: Path, patience: float = 120) -> Iterator[Player]:
    """A player with a machine of its own."""
    with asyncio.Runner() as runner:
        built = Machine(folder, patience)
        runner.run(built.open())
        try:
            yield Player(runner, built)
        finally:
            runner.run(built.close())


def test_agents_do_what_the_model_says_whatever_happens(tmp_path: Path) -> None:
    """After every action the same open requests, votes, fates, state and orders; all of them were met."""
    print(f"CHAIN_SEED={SEED} CHAIN_SEQUENCES={SEQUENCES}")
    with machine(tmp_path) as player:
        tally = player.some(SEQUENCES, SEED, SHORT)
    print(dict(tally.met))
    assert tally.met["sequences"] >= SEQUENCES
    if SEQUENCES >= 100:
        assert tally.missing(*EVERYTHING) == []


@pytest.mark.soak
def test_agents_do_what_the_model_says_for_thousands_of_sequences(tmp_path: Path) -> None:
    """The same, for longer, and to the smallest sequence that shows a difference."""
    print(f"CHAIN_SEED={SEED} CHAIN_SOAK_SEQUENCES={SOAK_SEQUENCES}")
    with machine(tmp_path) as player:
        tally = player.some(SOAK_SEQUENCES, SEED, LONG, Phase.shrink)
    print(dict(tally.met))
    assert tally.met["sequences"] >= SOAK_SEQUENCES


def _accepts_any_digest(patch: pytest.MonkeyPatch) -> None:
    real = gate.refusal

    def refusal(decision: Decision, request: ApprovalRequest, *rest: Any) -> str | None:
        return real(decision.model_copy(update={"digest": request.digest}), request, *rest)

    patch.setattr(gate, "refusal", refusal)


def _counts_a_person_twice(patch: pytest.MonkeyPatch) -> None:
    real = gate.refusal

    def refusal(decision: Decision, request: ApprovalRequest, *rest: Any) -> str | None:
        return real(decision, request.model_copy(update={"votes": ()}), *rest)

    patch.setattr(gate, "refusal", refusal)


def _never_expires(patch: pytest.MonkeyPatch) -> None:
    real = gate.next_step
    patch.setattr(gate, "next_step", lambda request: real(request.model_copy(update={"expires_at": None})))


def _believes_every_envelope(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authority, "flaw", lambda *_: None)


def _loses_votes_with_a_fresh_history(patch: pytest.MonkeyPatch) -> None:
    real = Approvals._resumed

    def resumed(self: Approvals, question: str, plan: Any) -> ApprovalRequest | None:
        request = real(self, question, plan)
        return self._gate.update(request.id, votes=()) if request else None

    patch.setattr(Approvals, "_resumed", resumed)


def _acts_on_old_facts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(premises, "drift", lambda premise, now: None)


def _lets_late_words_wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    def close(self: gate.Gate, request_id: str, how: str, now: Any) -> list[Any]:
        self.memory.open.pop(request_id, None)
        self.memory.closed[request_id] = how
        return []

    patch.setattr(gate.Gate, "close", close)


MUTANTS: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    _accepts_any_digest: r"is counted, should be .*'stale'",
    _counts_a_person_twice: r"is counted, should be .*'again'",
    _never_expires: r"open: is",
    _believes_every_envelope: r"is counted, should be .*'(unsigned|forged|foreign|unknown key)'",
    _loses_votes_with_a_fresh_history: r"open: is .*\[\]",
    _acts_on_old_facts: r"orders: is \[\(",
    _lets_late_words_wait_for_ever: r"is waiting, should be .*'closed'",
}

ANN = Rules(approvers=("ann",))
TWO = Rules(approvers=("ann", "bob"), quorum=2)
# What shows a fault at once, as it cannot be undone.
SHOWN: dict[Callable[[pytest.MonkeyPatch], None], Script] = {
    _accepts_any_digest: Script((ANN,), (Decide(stale=True),)),
    _counts_a_person_twice: Script((TWO,), (Decide(), Decide())),
    _believes_every_envelope: Script((ANN,), (Decide(flaw="forged"),)),
    _acts_on_old_facts: Script((ANN,), (Move(11), Decide())),
}


def _name(mutant: Callable[[pytest.MonkeyPatch], None]) -> str:
    return mutant.__name__.strip("_")


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """One that has patience."""
    with machine(tmp_path_factory.mktemp("shown")) as player:
        yield player


@pytest.mark.parametrize("script", REGRESSIONS.values(), ids=REGRESSIONS)
def test_what_once_went_wrong_goes_well(script: Script, player: Player) -> None:
    """Every script that ever showed a difference, played alone."""
    player.these(script)


@pytest.mark.parametrize("mutant", SHOWN, ids=_name)
def test_a_difference_is_seen(
    mutant: Callable[[pytest.MonkeyPatch], None], player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kit that breaks a rule is found out by what breaks it, which is well with one that does not."""
    player.these(SHOWN[mutant])
    mutant(monkeypatch)
    with pytest.raises(DisagreementError, match=MUTANTS[mutant]):
        player.these(SHOWN[mutant])


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """One that soon takes a difference for one, and looks for the first, not for the smallest."""
    with machine(tmp_path_factory.mktemp("mutants"), patience=10) as player:
        yield player


@pytest.mark.soak
@pytest.mark.parametrize("mutant", MUTANTS, ids=_name)
def test_the_machine_catches(
    mutant: Callable[[pytest.MonkeyPatch], None], impatient: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a few sequences it meets what shows the fault, whatever that is."""
    mutant(monkeypatch)
    with pytest.raises(DisagreementError, match=MUTANTS[mutant]):
        impatient.some(240, 1, LONG)
