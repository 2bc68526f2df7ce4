"""The figures that compare runs of MCAL with each other, tables as pictures, and the verdicts on the claims."""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcal_jax import plots
from mcal_jax.paper import notes
from mcal_jax.paper.bootstrap import Interval
from mcal_jax.paper.curve_figures import ACQUISITIONS
from mcal_jax.paper.figures import BARE_PERCENT, WIDTH
from mcal_jax.paper.published import data_set_name
from mcal_jax.plots import ACQUISITION_COLOURS, COLOURS, DOLLARS, GREY, PERCENT, percent, use_style

VERDICTS = {
    "holds": ("o", "black"), "does not hold": ("X", "black"),
    "can't tell": ("D", "white"), "not tested": ("s", "white"),
}  # fmt: skip
"""Marker and its filling of each verdict."""
FARTHEST = 0.3
"""The margin of a claim at which its axis ends, a share."""


def _names_and_colours(rows: pd.DataFrame, by: str) -> tuple[list[str], list[str]]:
    """What the rows of ``bar_rows`` are called, and their colours."""
    if by == "acquisition":
        names = [ACQUISITIONS[value][0] for value in rows[by]]
        colours = [ACQUISITION_COLOURS[value] for value in rows[by]]
    else:
        names, colours = [f"{value:,.0f} per class" for value in rows[by]], [COLOURS["MCAL"]] * len(rows)
    if rows["data_set"].nunique() > 1:
        names = [f"{data_set_name(one)}\n{name}" for one, name in zip(rows["data_set"], names, strict=True)]
    return names, colours


@use_style()
def bars(rows: pd.DataFrame, by: str, against: str | None, title: str, about: str = "") -> Figure:
    """MCAL by acquisition function or images per class (figures 11, 13, 14, 15), a line for each of ``bar_rows``.

    From the left: its cost in US dollars, with a dashed outline for humans only; the share labelled by the machine;
    and ``gain`` relative to the acquisition function ``against``, if any is known; each with its numbers on the right.
    Diamonds are the paper's, from columns that begin with ``paper``; black lines are the range over seeds.
    """
    names, colours = _names_and_colours(rows, by)
    base = against if against and rows["gain"].notna().any() else None
    panels = 3 if base else 2
    figure, (axes,) = plots.grid(
        1, panels, (WIDTH, 0.7 + (0.36 if rows["data_set"].nunique() < 2 else 0.42) * len(rows))
    )
    axes[0].get_gridspec().set_width_ratios([1.3, 1, 1.2][:panels])
    ranges = [_costs(axes[0], rows, colours), _shares(axes[1], rows)]
    if base:
        ranges.append(_gains(axes[2], rows))
        axes[2].set_xlabel(f"cheaper than\n{ACQUISITIONS[base][0]} (%)")
    for ax in axes:
        ax.set(ylim=(len(rows) - 0.5, -0.5), yticks=range(len(rows)))
        ax.set_yticklabels(list(names) if ax is axes[0] else [], fontsize=9)
        ax.tick_params(axis="y", left=ax is axes[0])
    marks = [
        f"Black lines: {notes.RANGE}" if any(ranges) else "",
        "Dashed: humans only",
        *_papers(rows.filter(regex="^paper_(machine|gain)").dropna(how="all")),
    ]
    notes.titled(figure, title, marks, about)
    return figure


def _papers(printed: pd.DataFrame) -> Iterator[str]:
    """What the diamonds of ``bars`` mean, as far as there are any."""
    if printed.size:
        yield notes.PAPER
    if "paper_gain_low" in printed and (printed["paper_gain_low"] < printed["paper_gain_high"]).any():
        yield "Two of them: the ends of its range"


def _costs(ax: Axes, rows: pd.DataFrame, colours: Sequence[str]) -> bool:
    """Bars of costs in the outline of humans only, and what is saved; returns whether ranges over seeds are seen."""
    ax.set(xlabel="total cost\n(US dollars)", xlim=(0, 1.05 * rows["humans"].max()))
    ax.barh(range(len(rows)), rows["humans"], 0.78, color="none", edgecolor=COLOURS["humans only"], linestyle="--",
            linewidth=1)  # fmt: skip
    ax.xaxis.set_major_formatter(DOLLARS)
    ax.xaxis.set_major_locator(MaxNLocator(2))
    plots.number_columns(ax, {"saved": [percent(value, 0) for value in rows["savings"]]}, width=38)
    return _bars(ax, rows, "dollars", colours)


def _shares(ax: Axes, rows: pd.DataFrame) -> bool:
    """Bars of the shares that the machine labels; returns whether ranges over seeds are seen."""
    numbers = {"ours": [percent(value, 0) for value in rows["machine"]]}
    top = rows["machine_high"].max()
    if "paper_machine" in rows and rows["paper_machine"].notna().any():
        _diamonds(ax, rows["paper_machine"])
        numbers["paper"] = [_printed(value, value) for value in rows["paper_machine"]]
        top = max(top, rows["paper_machine"].max())
    ax.set(xlabel="labelled by the\nmachine (% of X)", xlim=(0, 1.08 * top))
    ax.xaxis.set_major_formatter(PERCENT)
    ax.xaxis.set_major_locator(MaxNLocator(2))
    plots.number_columns(ax, numbers, width=36)
    return _bars(ax, rows, "machine", [COLOURS["S"]] * len(rows))


def _bars(ax: Axes, rows: pd.DataFrame, key: str, colours: Sequence[str]) -> bool:
    """Bars with their ranges over seeds; returns whether any of these is seen."""
    low, high = rows[f"{key}_low"], rows[f"{key}_high"]
    ax.barh(range(len(rows)), rows[key], 0.62, color=list(colours))
    ax.hlines(np.flatnonzero(high > low), low[high > low], high[high > low], color="black", linewidth=1.4)
    return notes.are_seen(ax.get_xlim(), low, high)


def _diamonds(ax: Axes, values: pd.Series) -> None:
    ax.plot(values, range(len(values)), "D", color="black", markerfacecolor="white", markersize=6, linestyle="none",
            zorder=5)  # fmt: skip


def _gains(ax: Axes, rows: pd.DataFrame) -> bool:
    """Gains as points with their range over seeds, and the paper's as a diamond, or as two of a range; returns whether
    ranges over seeds are seen."""
    y = range(len(rows))
    ends = rows[["gain_low", "gain_high", "paper_gain_low", "paper_gain_high"]]
    lowest, highest = min(ends.min(axis=None), 0), max(ends.max(axis=None), 0)
    room = 0.12 * (highest - lowest)
    ax.set_xlim(lowest - room, highest + room)
    ax.axvline(0, color="0.5", linewidth=1, zorder=0)
    ax.hlines(y, rows["gain_low"], rows["gain_high"], color="black", linewidth=1.4)
    ax.plot(rows["gain"], y, "o", color="black", markersize=6)
    ax.hlines(y, rows["paper_gain_low"], rows["paper_gain_high"], color=GREY, linewidth=1)
    for end in ("low", "high"):
        _diamonds(ax, rows[f"paper_gain_{end}"])
    ax.xaxis.set_major_formatter(PERCENT)
    ax.xaxis.set_major_locator(MaxNLocator(2))
    numbers = {"ours": ["" if np.isnan(value) else percent(value, 1) for value in rows["gain"]]}
    pairs = zip(rows["paper_gain_low"], rows["paper_gain_high"], strict=True)
    plots.number_columns(ax, numbers | {"paper": [_printed(*pair) for pair in pairs]}, width=44)
    return notes.are_seen(ax.get_xlim(), rows["gain_low"].fillna(0), rows["gain_high"].fillna(0), marked=True)


def _printed(low: float, high: float) -> str:
    """What the paper prints: a share, a range, or nothing."""
    if np.isnan(low):
        return ""
    return percent(low, 0) if low == high else f"{100 * low:.0f}–{percent(high, 0)}"


@use_style()
def compared(
    rows: pd.DataFrame, quantity: str, names: Sequence[str], colours: Sequence[str], title: str, about: str = ""
) -> Figure:
    """A table as a picture: our share (points, with the range over seeds) and the paper's (diamonds), with both numbers
    on the right; one of the paper's that lies far from all of ours stands at the edge, with a triangle."""
    figure, ax = plots.axes(None, (WIDTH, 1 + 0.27 * len(rows)))
    y = range(len(rows))
    ours, low, high = (rows[f"ours_{quantity}{end}"] for end in ("", "_low", "_high"))
    paper = rows[f"paper_{quantity}"]
    limits = _reach(low.min(), max(high.max(), paper.max()), paper.min())
    ax.set(xlim=limits, ylim=(len(rows) - 0.5, -0.5), xlabel=f"{quantity} (% of the cost of humans only)")
    ax.axvline(0, color="0.5", linewidth=1, zorder=0)
    ax.hlines(y, 0, 1, color="0.9", linewidth=0.8, transform=ax.get_yaxis_transform(), zorder=0)
    ax.hlines(y, low, high, color=list(colours), linewidth=2)
    ax.scatter(ours, y, color=list(colours), s=36, zorder=4)
    is_beyond = _paper_shares(ax, paper)
    ax.set_yticks(y, list(names))
    ax.xaxis.set_major_formatter(PERCENT)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    plots.number_columns(ax, {"ours": list(map(_share, ours)), "paper": list(map(_share, paper))}, width=52)
    marks = [
        "Points: ours",
        f"Lines: {notes.RANGE}" if notes.are_seen(limits, low, high, marked=True) else "",
        notes.PAPER if paper.notna().any() else "",
        "Triangle: beyond the panel" if is_beyond else "",
    ]
    notes.titled(figure, title, marks, about)
    return figure


def _paper_shares(ax: Axes, paper: pd.Series) -> bool:
    """The paper's shares as diamonds, those on the left of the panel at its edge, with triangles; returns whether there
    are any of these."""
    left, right = ax.get_xlim()
    beyond = paper < left
    edge = 0.01 * (right - left)
    ax.plot(paper.where(~beyond, left + 6 * edge), range(len(paper)), "D", color="black", markerfacecolor="white",
            markersize=6)  # fmt: skip
    ax.plot(np.full(beyond.sum(), left + 2 * edge), np.flatnonzero(beyond), "<", color="black", markersize=4)
    return bool(beyond.any())


def _reach(low: float, high: float, lowest: float) -> tuple[float, float]:
    """The limits of the axis of ``compared``: ours from ``low`` and all up to ``high``; and the paper's ``lowest``, if
    it isn't far from ours."""
    low = min(low, 0)
    length = high - low
    return max(low - 0.6 * length, min(low, lowest) - 0.06 * length), high + 0.06 * length


def _share(value: float) -> str:
    return "" if np.isnan(value) else percent(value, 1)


@use_style()
def verdicts(rows: pd.DataFrame, title: str, about: str = "") -> Figure:
    """The claims, one a line, with their verdicts; on the right, by how much the rule of each is met (``ours_margin``
    of ``claims.judge``, a share), with the interval over seeds where there is one."""
    figure, ((left, right),) = plots.grid(1, 2, (WIDTH, 0.6 + 0.39 * len(rows)))
    left.get_gridspec().set_width_ratios([4.3, 1.7])
    right.axvline(0, color="0.5", linewidth=1, zorder=0)
    for y, row in enumerate(rows.to_dict("records")):
        marker, filling = VERDICTS[row["ours_verdict"]]
        left.plot(0.02, y, marker, color="black", markerfacecolor=filling, markersize=7)
        left.text(0.06, y, row["ours_verdict"], va="center", fontsize=9, weight="bold" if filling == "black" else None)
        left.text(0.35, y, textwrap.fill(row["paper_says"], 44), va="center", fontsize=9, linespacing=1.1)
        span = Interval(row["ours_margin_low"], row["ours_margin_high"])
        _margin(right, y, row["ours_margin"], span, VERDICTS[row["ours_verdict"]])
    for ax in (left, right):
        ax.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlim(0, 1)
    left.axis("off")
    right.set(xlim=(-1.15 * FARTHEST, 1.15 * FARTHEST), yticks=[], xlabel="margin of the rule (%)")
    right.xaxis.set_major_formatter(BARE_PERCENT)
    right.spines["left"].set_visible(False)
    notes.titled(figure, title, _meanings(*(rows[f"ours_margin{end}"] for end in ("", "_low", "_high"))), about)
    return figure


def _meanings(margins: pd.Series, low: pd.Series, high: pd.Series) -> Iterator[str]:
    """What the right side of ``verdicts`` means, as far as it is drawn."""
    yield "Right: by how much the rule of the claim is met, in points of a share or in % of a cost or ratio"
    known = low.notna()
    if notes.are_seen((-FARTHEST, FARTHEST), low[known], high[known], marked=True):
        yield "Lines: 95 % intervals over seeds"
    if (margins.notna() & ~known).any():
        yield "No line: a case has one seed"
    if (margins.abs() > FARTHEST).any():
        yield "Triangle: beyond the axis"


def _margin(ax: Axes, y: int, margin: float, span: Interval, appearance: tuple[str, str]) -> None:
    """A margin and its interval, none for NaN; one beyond the axis stands at its end, as an arrow."""
    if np.isnan(margin):
        return
    at, arrow = plots.clipped(margin, (-FARTHEST, FARTHEST))
    marker, filling = appearance
    if arrow:
        marker = "<" if at < 0 else ">"
    ax.plot(np.clip(span, -FARTHEST, FARTHEST), [y, y], color="black", linewidth=1.6)
    ax.plot(at, y, marker, color="black", markerfacecolor=filling, markersize=7)
