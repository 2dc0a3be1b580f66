"""Bar charts of counts, stacked by severity; `parts.html` draws them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from activities.auditor.records import Severity

WIDTH = 420
_BARS, _LABEL = 10, 40


@dataclass(frozen=True)
class Bar:
    """One bar of a chart; the longest bar of that chart stands for `whole` findings."""

    label: str
    counts: Counter[Severity]
    whole: int

    @property
    def short_label(self) -> str:
        """The label, its middle left out if it is too long."""
        long = len(self.label) > _LABEL
        return f"{self.label[: _LABEL // 2]}…{self.label[-_LABEL // 2 + 1 :]}" if long else self.label

    @property
    def words(self) -> str:
        """Its counts in words."""
        return in_words(self.counts)

    @property
    def segments(self) -> Iterator[tuple[Severity, str, str]]:
        """For each severity that was found, where its part of the bar begins and how wide it is."""
        left = 0.0
        for severity in Severity:
            if self.counts[severity]:
                # Even one finding among thousands must be visible.
                wide = max(WIDTH * self.counts[severity] / self.whole, 2.0)
                yield severity, f"{left:.1f}", f"{wide:.1f}"
                left += wide


def bars(rows: Mapping[str, Counter[Severity]]) -> list[Bar]:
    """One bar for each row, longest first; the rows after the tenth share one bar."""
    ordered = sorted(rows.items(), key=lambda row: (-row[1].total(), row[0]))
    shown, rest = ordered[:_BARS], ordered[_BARS:]
    if rest:
        shown.append((f"{len(rest):,} others", sum((counts for _, counts in rest), Counter())))
    longest = max((counts.total() for _, counts in shown), default=1)
    return [Bar(label, counts, longest) for label, counts in shown]


def in_words(counts: Counter[Severity]) -> str:
    """Such as `12 (3 high, 9 low)`."""
    parts = ", ".join(f"{counts[severity]:,} {severity}" for severity in Severity if counts[severity])
    return f"{counts.total():,} ({parts})" if parts else "0"
