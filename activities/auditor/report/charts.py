"""Bar charts as inline SVG: counts stacked by severity, readable by eye, by ear and on paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from activities.auditor.records import Severity
from activities.html.markup import Html, tag

_WIDTH, _ROW, _BAR, _LABEL = 420, 38, 9, 40


def bar_chart(key: str, title: str, rows: Mapping[str, Counter[Severity]], most: int = 10) -> Html:
    """One bar for each row, longest first; rows past `most` are one bar. `key` is unique in the page."""
    ordered = sorted(rows.items(), key=lambda row: (-row[1].total(), row[0]))
    shown, rest = ordered[:most], ordered[most:]
    if rest:
        shown.append((f"{len(rest):,} others", sum((counts for _, counts in rest), Counter())))
    longest = max((counts.total() for _, counts in shown), default=1)
    bars = [_bar(index * _ROW, label, counts, longest) for index, (label, counts) in enumerate(shown)]
    described = "; ".join(f"{label}: {in_words(counts)}" for label, counts in shown)
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", described, id=f"{key}-desc"),
        bars,
        role="img",
        class_="chart",
        viewBox=f"0 0 {_WIDTH} {max(len(shown), 1) * _ROW}",
        aria_labelledby=f"{key}-title {key}-desc",
    )


def severity_strip(counts: Counter[Severity]) -> Html:
    """All findings as one bar. It repeats the numbers beside it, so it is not read out."""
    segments = _segments(0, 0, _WIDTH, 8, counts, max(counts.total(), 1))
    return tag(
        "svg",
        segments,
        class_="strip",
        viewBox=f"0 0 {_WIDTH} 8",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def in_words(counts: Counter[Severity]) -> str:
    """Such as `12 (3 high, 9 low)`."""
    parts = ", ".join(f"{counts[severity]:,} {severity}" for severity in Severity if counts[severity])
    return f"{counts.total():,} ({parts})" if parts else "0"


def _bar(top: int, label: str, counts: Counter[Severity], longest: int) -> Html:
    shown = label if len(label) <= _LABEL else f"{label[: _LABEL // 2]}…{label[-_LABEL // 2 + 1 :]}"
    return tag(
        "g",
        tag("title", f"{label}: {in_words(counts)}"),
        tag("text", shown, x=0, y=top + 14, class_="label"),
        tag("text", f"{counts.total():,}", x=_WIDTH, y=top + 14, text_anchor="end", class_="count"),
        tag("rect", x=0, y=top + 21, width=_WIDTH, height=_BAR, rx=2, class_="track"),
        _segments(0, top + 21, _WIDTH, _BAR, counts, longest),
    )


def _segments(
    left: float, top: int, width: float, height: int, counts: Counter[Severity], whole: int
) -> Iterable[Html]:
    for severity in Severity:
        if counts[severity]:
            # A count of one among thousands still shows.
            long = max(width * counts[severity] / whole, 2.0)
            yield tag(
                "rect", x=f"{left:.1f}", y=top, width=f"{long:.1f}", height=height, class_=f"fill-{severity}"
            )
            left += long
