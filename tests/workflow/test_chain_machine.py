"""Approval chains against a model of their rules: whatever happens in whatever order, on the real server."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from cli.dev_server import DevServer
from common.approval import ApprovalRequest, Decision
from common.connect import connect
from common.envelope import Authority
from common.settings import Settings
from tests.workflow.chain_player import Desk, DisagreementError, Tally
from tests.workflow.chain_scripts import GROUPS, Script, scripts
from workflows.core import approval, final_check, gate
from workflows.core.approval import Asker

# Long, and not yet steady: only `make soak` runs it.
pytestmark = pytest.mark.soak

# So many scripts are played side by side.
DESKS = 6
SEQUENCES = int(os.environ.get("CHAIN_SEQUENCES", "300"))
SOAK_SEQUENCES = int(os.environ.get("CHAIN_SOAK_SEQUENCES", "5000"))
SEED = int(os.environ.get("CHAIN_SEED", "0")) or random.randrange(1, 10**9)
REPLAYED = 30

# What must have happened in a run, or it proves too little.
EVERYTHING = (
    *("Decide", "AtOnce", "Advance", "Move", "pause", "resume", "restart", "leave", "back", "tell", "lose"),
    *(
        "find",
        "order",
        "ended",
        "counted",
        "unsigned",
        "forged",
        "foreign",
        "outdated",
        "unknown key",
        "stale",
    ),
    *("expired", "stranger", "requester", "edits", "again", "duplicate", "closed", "waiting"),
)


class Machine:
    """A server that soon suggests fresh histories, and the desks where scripts are played."""

    def __init__(self, folder: Path, patience: float = 40) -> None:
        self.settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder), "HIBERNAUT_UNSIGNED": "refuse"})
        self.tally = Tally()
        self.patience = patience
        self.desks: list[Desk] = []
        self.played: list[Any] = []

    async def open(self) -> None:
        """Start everything."""
        limits = {"limit.historyCount.suggestContinueAsNew": "40"}
        self._server = DevServer(self.settings, ui_port=None, limits=limits)
        await self._server.start()
        os.environ["TEMPORAL_ADDRESS"] = self._server.address
        groups = {name: sorted(members) for name, members in GROUPS.items()}
        (self.settings.data_dir / "groups.json").write_text(json.dumps(groups))
        client = await connect(self.settings)
        for number in range(DESKS):
            desk = Desk(client, self.settings, number, self.tally, self.patience)
            await desk.stage.work()
            self.desks.append(desk)

    async def play(self, batch: list[Script]) -> None:
        """Play scripts side by side, each to its end.

        Raises:
            DisagreementError: one of them found a difference.
        """
        playing = (desk.play(script) for desk, script in zip(self.desks, batch, strict=True))
        played = await asyncio.gather(*playing, return_exceptions=True)
        if error := next((each for each in played if isinstance(each, BaseException)), None):
            raise error
        self.played += played

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


@contextmanager
def machine(folder: Path, patience: float = 40) -> Iterator[Callable[[int, int], Tally]]:
    """Plays so many sequences from a seed; raises `DisagreementError` with the smallest script it finds."""
    before = os.environ.get("TEMPORAL_ADDRESS")
    with asyncio.Runner() as runner:
        built = Machine(folder, patience)
        runner.run(built.open())

        def play(
            sequences: int, seed: int, phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink)
        ) -> Tally:
            @hypothesis.seed(seed)
            @hypothesis.settings(
                max_examples=-(-sequences // DESKS),
                deadline=None,
                database=None,
                phases=phases,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            )
            @given(st.lists(scripts(), min_size=DESKS, max_size=DESKS))
            def together(batch: list[Script]) -> None:
                runner.run(built.play(batch))

            together()
            runner.run(built.replay_some())
            return built.tally

        try:
            yield play
        finally:
            runner.run(built.close())
            if before is None:
                os.environ.pop("TEMPORAL_ADDRESS", None)
            else:
                os.environ["TEMPORAL_ADDRESS"] = before


def test_agents_do_what_the_model_says_whatever_happens(tmp_path: Path) -> None:
    """After every action the same open requests, votes, fates, state and orders; all of them were met."""
    print(f"CHAIN_SEED={SEED} CHAIN_SEQUENCES={SEQUENCES}")
    with machine(tmp_path) as play:
        tally = play(SEQUENCES, SEED)
    print(dict(tally.met))
    assert tally.met["sequences"] >= SEQUENCES
    assert tally.met["cut short"] < SEQUENCES / 20
    if SEQUENCES >= 300:
        assert tally.missing(*EVERYTHING, "fresh histories", "overdue without a worker") == []


@pytest.mark.soak
def test_agents_do_what_the_model_says_for_thousands_of_sequences(tmp_path: Path) -> None:
    """The same, for longer."""
    print(f"CHAIN_SEED={SEED} CHAIN_SOAK_SEQUENCES={SOAK_SEQUENCES}")
    with machine(tmp_path) as play:
        print(dict(play(SOAK_SEQUENCES, SEED).met))


def _accepts_any_digest(patch: pytest.MonkeyPatch) -> None:
    real = approval.refusal

    def refusal(decision: Decision, request: ApprovalRequest, *rest: Any) -> str | None:
        return real(decision.model_copy(update={"digest": request.digest}), request, *rest)

    patch.setattr(approval, "refusal", refusal)


def _counts_a_person_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gate, "_has_voted", lambda by, request: False)


def _never_expires(patch: pytest.MonkeyPatch) -> None:
    real = approval.next_step
    patch.setattr(
        approval, "next_step", lambda request: real(request.model_copy(update={"expires_at": None}))
    )


def _believes_every_envelope(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authority, "flaw", lambda *_: None)


def _loses_votes_with_a_fresh_history(patch: pytest.MonkeyPatch) -> None:
    real = Asker._taken_up

    def taken_up(self: Asker, question: str, plan: Any) -> ApprovalRequest | None:
        request = real(self, question, plan)
        return self._gate.update(request.id, votes=()) if request else None

    patch.setattr(Asker, "_taken_up", taken_up)


def _acts_on_old_facts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(final_check, "drift", lambda premise, now: None)


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


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Tally]]:
    """A machine that soon takes a difference for one; it looks for the first, not for the smallest."""
    with machine(tmp_path_factory.mktemp("mutants"), patience=10) as play:
        yield play


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.__name__.strip("_"))
def test_the_machine_catches(
    mutant: Callable[[pytest.MonkeyPatch], None],
    impatient: Callable[..., Tally],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kit that breaks a rule is found out within a few sequences, and for that very reason."""
    mutant(monkeypatch)
    with pytest.raises(DisagreementError, match=MUTANTS[mutant]):
        impatient(240, 1, (Phase.generate,))
