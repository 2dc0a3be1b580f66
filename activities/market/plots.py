"""Draws the plots of a report, in a separate process, so that its memory is freed afterwards.

The x-axis is hours of open market: nights, weekends and breaks take no space. The line is broken where looks
failed. Plots are dark on white and do not rely on colour alone, so that they can be printed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

INK, LINE, ALERT, FAINT = "#1d2126", "#1f4fa3", "#b3261e", "#d5d9de"
SIZE, DPI = (10.0, 3.7), 160
MAX_TICKS, MAX_SESSION_LINES = 8, 45
# Up to this many marks are all numbered; beyond that, at most one per this share of the axis.
FEW_MARKS, NUMBER_WIDTH = 25, 0.03


def draw(data: dict[str, Any]) -> dict[str, str]:
    """The plots by name, each a PNG in Base64; `data` is from `figures.plot_data`."""
    drawers = {"price": _price, "drawdown": _drawdown, "volatility": _volatility}
    return {name: _png(drawer, data) for name, drawer in drawers.items()}


def _png(drawer: Callable[[Any, dict[str, Any]], None], data: dict[str, Any]) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    drawer(axes, data)
    _label_time_axis(axes, data)
    file = io.BytesIO()
    # Omit the library's version, so that the same points give the same bytes.
    figure.savefig(file, format="png", metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode()


def _price(axes: Any, data: dict[str, Any]) -> None:
    axes.plot(*_with_gaps(data, data["prices"]), color=LINE, linewidth=_width(data))
    axes.set_ylabel("Price", color=INK)
    axes.yaxis.set_major_formatter("{x:,.6g}")
    axes.margins(y=0.18)
    low, high = min(data["prices"]), max(data["prices"])
    room = (high - low) or high * 0.01
    for level in data["levels"]:
        if low - room < level < high + room:
            axes.axhline(level, color=ALERT, linewidth=0.9, linestyle=(0, (5, 4)))
    _mark(axes, data)


def _mark(axes: Any, data: dict[str, Any]) -> None:
    """Mark the crossings on the line, and number as many as can be told apart."""
    marks, hours = data["marks"], data["hours"]
    few = len(marks) <= FEW_MARKS
    room, numbered = (hours[-1] - hours[0]) * NUMBER_WIDTH, float("-inf")
    words = {"ha": "center", "fontweight": "bold", "color": ALERT}
    for place, mark in enumerate(marks):
        below, at, price = place % 2, mark["hours"], mark["price"]
        # A circle, because a triangle would read as a rise or a fall.
        axes.plot([at], [price], marker="o", color=ALERT, markersize=5 if few else 3.5)
        if few:
            shift = (0, -15 if below else 8)
            axes.annotate(
                str(mark["number"]), (at, price), shift, textcoords="offset points", fontsize=8.5, **words
            )
        elif at - numbered >= room:
            # Numbers go in a row along the bottom, clear of the line.
            numbered = at
            axes.axvline(at, color=ALERT, linewidth=0.5, alpha=0.35, zorder=0)
            foot = axes.get_xaxis_transform()
            axes.text(at, 0.02, str(mark["number"]), transform=foot, fontsize=7, **words)


def _drawdown(axes: Any, data: dict[str, Any]) -> None:
    across, falls = _with_gaps(data, [100 * each for each in data["drawdowns"]])
    axes.fill_between(across, falls, 0, color=LINE, alpha=0.25, linewidth=0)
    axes.plot(across, falls, color=LINE, linewidth=_width(data))
    axes.set_ylabel("Below the high before", color=INK)
    axes.yaxis.set_major_formatter("{x:.3g}%")
    deepest = min(range(len(data["drawdowns"])), key=data["drawdowns"].__getitem__)
    fall = 100 * data["drawdowns"][deepest]
    if fall < 0:
        axes.set_ylim(fall * 1.3, -fall * 0.04)
        axes.plot([data["hours"][deepest]], [fall], marker="v", color=ALERT, markersize=6)
        axes.annotate(
            f"{fall:.2f}%",
            (data["hours"][deepest], fall),
            xytext=(0, -13),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            fontweight="bold",
            color=ALERT,
        )


def _volatility(axes: Any, data: dict[str, Any]) -> None:
    axes.set_ylabel("Volatility a year", color=INK)
    axes.yaxis.set_major_formatter("{x:.3g}%")
    known = [each for each in data["volatility"] if each is not None]
    if not known:
        told = f"too few prices: it takes {data['window'] + 1}"
        axes.text(0.5, 0.5, told, transform=axes.transAxes, ha="center", color=INK)
        axes.set_yticks([])
        return
    nan = float("nan")
    axes.plot(
        *_with_gaps(data, [nan if each is None else 100 * each for each in data["volatility"]]),
        color=LINE,
        linewidth=_width(data),
    )
    axes.set_ylim(0, 115 * max(known) or 1)
    for level in data["volatility_levels"]:
        if level < 1.2 * max(known):
            axes.axhline(100 * level, color=ALERT, linewidth=0.9, linestyle=(0, (5, 4)))


def _label_time_axis(axes: Any, data: dict[str, Any]) -> None:
    """Label the time axis with dates at session starts, or with times of day if there are few sessions."""
    hours, times, sessions = data["hours"], data["times"], data["sessions"]
    moments = [datetime.fromisoformat(each) for each in times]
    if 1 < len(sessions) <= MAX_SESSION_LINES:
        for place in sessions[1:]:
            axes.axvline(hours[place], color=FAINT, linewidth=0.7, zorder=0)
    if len(sessions) > 3:
        places = _thinned(sessions)
        form = "%a %d %b" if len(sessions) <= 15 else "%d %b %y"
    else:
        places = _thinned(range(len(hours)))
        form = "%a %H:%M" if len(sessions) > 1 else "%H:%M"
    axes.set_xticks([hours[place] for place in places], [f"{moments[place]:{form}}" for place in places])
    pad = (hours[-1] - hours[0]) * 0.02 or 0.5
    axes.set_xlim(hours[0] - pad, hours[-1] + pad)


def _width(data: dict[str, Any]) -> float:
    return 1.4 if len(data["hours"]) < 1000 else 0.8


def _thinned(places: Sequence[int]) -> list[int]:
    step = -(-len(places) // MAX_TICKS)
    return list(places[::step])


def _with_gaps(data: dict[str, Any], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """The line, with a break wherever there was no price for longer than the gap."""
    across: list[float] = []
    up: list[float] = []
    for hour, value in zip(data["hours"], values, strict=True):
        if across and hour - across[-1] > data["gap"]:
            across.append(hour)
            up.append(float("nan"))
        across.append(hour)
        up.append(value)
    return across, up
