"""The small parts that the report's pages are put together from."""

from __future__ import annotations

from collections.abc import Iterable

from activities.auditor.records import Severity
from activities.html.markup import Child, Html, tag


def table(heads: tuple[str, ...], rows: Iterable[tuple[Child, ...]]) -> Html:
    """A table whose cells know their heads, so that a narrow screen can show rows as cards."""
    body = (
        tag("tr", (tag("td", cell, data_head=head) for head, cell in zip(heads, row, strict=True)))
        for row in rows
    )
    return tag(
        "table", tag("thead", tag("tr", (tag("th", h, scope="col") for h in heads))), tag("tbody", body)
    )


def more(count: int, what: str, where: str = "report.json") -> Html:
    """What the page does not show, and where it is; nothing where `count` is 0 or less."""
    if count <= 0:
        return Html("")
    return tag("p", f"{count:,} more {what} are in {where}.", class_="more")


def badge(severity: Severity, count: int | None = None) -> Html:
    """A severity, with how often it was found."""
    text = severity.value if count is None else f"{count:,} {severity}"
    return tag("span", text, class_=f"badge {severity}")


def rule_link(rule: str, url: str) -> Html:
    """A rule, and where its documentation is if that is known."""
    return tag("a", rule, href=url, rel="noreferrer noopener", class_="rule") if url else tag("b", rule)


def number(count: int, noun: str, plural: str = "s") -> str:
    """Such as `1 file` and `2,000 files`."""
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def size(count: int) -> str:
    """Bytes for people, such as `4.2 MB`."""
    value, unit = float(count), "B"
    for larger in ("KB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
