"""Conversations by reference: each exchange is a segment in the artifact store, linked to the previous one.

A reference to the newest segment stands for the whole conversation, so an agent's history stores the same few
bytes per call, however long the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from activities.llm.prompt import Turn, task_text
from activities.llm.records import Material
from common.artifacts import ArtifactRef, ArtifactStore

# Characters that a compaction keeps of each cut question and answer, and of all of them together.
_ASKED, _ANSWERED, _KEPT = 120, 200, 4000


class Exchange(BaseModel, frozen=True):
    """An instruction with its material, and the answer."""

    instruction: str
    material: tuple[Material, ...] = ()
    answer: str

    def turns(self) -> list[Turn]:
        """The exchange as messages, with its material in full."""
        return [Turn("user", task_text(self.instruction, self.material)), Turn("assistant", self.answer)]


class Segment(BaseModel, frozen=True):
    """A stored segment: an exchange after `previous`, or the summary of `cut_from` made by a compaction."""

    previous: ArtifactRef | None = None
    exchange: Exchange | None = None
    summary: str = ""
    cut_from: ArtifactRef | None = None


class Conversation(BaseModel, frozen=True):
    """A transcript as it is sent: a summary of what was cut, and the exchanges, oldest first."""

    summary: str = ""
    exchanges: tuple[Exchange, ...] = ()

    def turns(self) -> list[Turn]:
        """The conversation as messages."""
        lead = [Turn("user", self.summary), Turn("assistant", "Understood.")] if self.summary else []
        return lead + [turn for exchange in self.exchanges for turn in exchange.turns()]


class Transcripts:
    """Reads and writes segments, which are immutable; a compaction writes new ones."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    def read(self, head: ArtifactRef | None) -> Conversation:
        """The conversation up to `head`, with its material loaded; empty for None."""
        summary, exchanges = "", []
        while head is not None:
            segment = Segment.model_validate_json(self._artifacts.get(head))
            if segment.exchange:
                exchange = segment.exchange
                loaded = self.load(exchange.material)
                exchanges.append(exchange.model_copy(update={"material": loaded}))
            summary = segment.summary
            head = segment.previous
        return Conversation(summary=summary, exchanges=tuple(reversed(exchanges)))

    def append(self, head: ArtifactRef | None, exchange: Exchange) -> ArtifactRef:
        """Store `exchange` after `head`, each material as its own artifact; return the new head."""
        stored = exchange.model_copy(update={"material": self._store(exchange.material)})
        return self._put(Segment(previous=head, exchange=stored))

    def rewrite(self, conversation: Conversation, cut_from: ArtifactRef | None) -> ArtifactRef:
        """Store a compacted conversation; the long one is kept, and `cut_from` refers to it."""
        head = self._put(Segment(summary=conversation.summary, cut_from=cut_from))
        for exchange in conversation.exchanges:
            head = self.append(head, exchange)
        return head

    def load(self, material: Sequence[Material]) -> tuple[Material, ...]:
        """The material with its text loaded."""
        return tuple(
            each
            if each.stored is None
            else each.model_copy(
                update={"text": self._artifacts.get(each.stored).decode(errors="replace"), "stored": None}
            )
            for each in material
        )

    def _store(self, material: Sequence[Material]) -> tuple[Material, ...]:
        return tuple(
            each.model_copy(update={"text": "", "stored": self._artifacts.put(each.text.encode())})
            for each in material
        )

    def _put(self, segment: Segment) -> ArtifactRef:
        return self._artifacts.put(segment.model_dump_json(exclude_defaults=True).encode())


def compacted(conversation: Conversation) -> tuple[Conversation, str]:
    """The conversation with its oldest exchanges cut to a line each, and a note about what was cut.

    The newest exchanges stay whole, up to half of the conversation's length; the others lose their material.
    Deterministic, so a retry compacts the same way.
    """
    sizes = [sum(len(turn.text) for turn in each.turns()) for each in conversation.exchanges]
    kept, room = 0, sum(sizes) // 2
    while kept < len(sizes) and sizes[-1 - kept] <= room:
        room -= sizes[-1 - kept]
        kept += 1
    cut = conversation.exchanges[: len(sizes) - kept]
    lines = [
        f"- asked: {_short(each.instruction, _ASKED)} answered: {_short(each.answer, _ANSWERED)}"
        for each in cut
    ]
    earlier = conversation.summary.splitlines()[1:]
    told = "\n".join(earlier + lines)[-_KEPT:]
    summary = "Earlier in this conversation, in short; the older part was cut:\n" + told
    note = f"the conversation was too long: its oldest {len(cut)} exchanges were cut to a line each"
    return Conversation(summary=summary, exchanges=conversation.exchanges[len(cut) :]), note


def _short(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
