"""The figures that compare runs of MCAL with each other, tables as pictures, and the verdicts on the claims."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcal_jax import plots
from mcal_jax.paper.bootstrap import Interval
from mcal_jax.paper.curve_figures import ACQUISITIONS
from mcal_jax.paper.figures import WIDTH
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
        names = [f"{data_set_name(one)}, {name}" for one, name in zip(rows["data_set"], names, strict=True)]
    return names, colours


@use_style()
def bars(rows: pd.DataFrame, by: str, against: str | None, title: str, note: str = "") -> Figure:
    """MCAL by acquisition function or images per class (figures 11, 13, 14, 15), a line for each of ``bar_rows``.

    From the left: its cost in US dollars, with a dashed outline for humans only; the share labelled by the machine;
    and ``gain`` relative to the acquisition function ``against``, if there is one. Diamonds are the paper's, from
    columns that begin with ``paper``; black lines are the range over seeds.
    """
    names, colours = _names_and_colours(rows, by)
    gained = f"cheaper than\n{ACQUISITIONS[against][0]} (%)" if against else ""
    columns = 3 if gained else 2
    figure, (axes,) = plots.grid(1, columns, (WIDTH, 0.7 + 0.36 * len(rows)))
    axes[0].get_gridspec().set_width_ratios([1.5, 1, 1.2][:columns])
    y = np.arange(len(rows))
    _bars(axes[0], rows, "dollars", colours)
    axes[0].barh(y, rows["humans"], 0.78, color="none", edgecolor=COLOURS["humans only"], linestyle="--", linewidth=1)
    for at, row in zip(y, rows.to_dict("records"), strict=True):
        axes[0].text(row["humans"], at, f" {percent(round(row['savings'], 2))} saved", va="center", fontsize=8.5)
    axes[0].set(xlabel="total cost (US dollars)", xlim=(0, 1.5 * rows["humans"].max()))
    axes[0].xaxis.set_major_formatter(DOLLARS)
    _bars(axes[1], rows, "machine", [COLOURS["S"]] * len(rows))
    axes[1].set(
        xlabel="labelled by the\nmachine (% of X)",
        xlim=(0, 1.1 * max(_top(rows, "machine"), _top(rows, "paper_machine"))),
    )
    if "paper_machine" in rows:
        _diamonds(axes[1], rows["paper_machine"])
    if gained:
        _gains(axes[2], rows, gained)
    for ax in axes:
        ax.set(ylim=(len(rows) - 0.5, -0.5), yticks=y)
        ax.set_yticklabels(list(names) if ax is axes[0] else [])
        ax.tick_params(axis="y", left=ax is axes[0])
        ax.xaxis.set_major_locator(MaxNLocator(4 if ax is axes[0] else 2))
        if ax is not axes[0]:
            ax.xaxis.set_major_formatter(PERCENT)
    plots.headline(figure, title, note)
    return figure


def _top(rows: pd.DataFrame, column: str) -> float:
    return 0.0 if column not in rows else float(rows[column].fillna(0).max())


def _bars(ax: Axes, rows: pd.DataFrame, key: str, colours: Sequence[str]) -> None:
    for y, (row, colour) in enumerate(zip(rows.to_dict("records"), colours, strict=True)):
        ax.barh(y, row[key], 0.62, color=colour)
        ax.plot([row[f"{key}_low"], row[f"{key}_high"]], [y, y], color="black", linewidth=1.4)


def _diamonds(ax: Axes, values: pd.Series) -> None:
    ax.plot(values, range(len(values)), "D", color="black", markerfacecolor="white", markersize=6, linestyle="none",
            zorder=5)  # fmt: skip


def _gains(ax: Axes, rows: pd.DataFrame, gained: str) -> None:
    """Gains as points with their range over seeds, and the paper's as a diamond, or as two of a range."""
    y = range(len(rows))
    ax.axvline(0, color="0.5", linewidth=1, zorder=0)
    ax.hlines(y, rows["gain_low"], rows["gain_high"], color="black", linewidth=1.4)
    ax.plot(rows["gain"], y, "o", color="black", markersize=6)
    ax.hlines(y, rows["paper_gain_low"], rows["paper_gain_high"], color=GREY, linewidth=1)
    for end in ("low", "high"):
        _diamonds(ax, rows[f"paper_gain_{end}"])
    for at, (value, low, high) in enumerate(rows[["gain", "gain_low", "gain_high"]].itertuples(index=False)):
        if not np.isnan(value):
            side, end, shift = ("left", high, 6) if value > 0 else ("right", low, -6)
            ax.annotate(percent(round(value, 3)), (end, at), (shift, 0), textcoords="offset points", ha=side,
                        va="center", fontsize=8.5)  # fmt: skip
    lowest, highest = (
        rows[["gain_low", "paper_gain_low"]].min(axis=None),
        rows[["gain_high", "paper_gain_high"]].max(axis=None),
    )
    room = 0.12 * (max(highest, 0) - min(lowest, 0))
    ax.set(xlabel=gained, xlim=(min(lowest, 0) - 5.5 * room * (lowest < 0) - room, max(highest, 0) + room))


@use_style()
def compared(
    rows: pd.DataFrame, quantity: str, names: Sequence[str], colours: Sequence[str], title: str, note: str = ""
) -> Figure:
    """A table as a picture: our share (points, with the range over seeds) and the paper's (diamonds); one of the
    paper's that lies far from all of ours stands at the edge, with its number."""
    figure, ax = plots.axes(None, (WIDTH, 0.7 + 0.27 * len(rows)))
    y = np.arange(len(rows))
    ours, low, high = (rows[f"ours_{quantity}{end}"] for end in ("", "_low", "_high"))
    ends = min(low.min(), 0), max(high.max(), rows[f"paper_{quantity}"].max())
    left, right = ends[0] - 0.6 * (ends[1] - ends[0]), ends[1] + 0.06 * (ends[1] - ends[0])
    left = max(left, min(ends[0], rows[f"paper_{quantity}"].min()) - 0.06 * (ends[1] - ends[0]))
    ax.axvline(0, color="0.5", linewidth=1, zorder=0)
    ax.hlines(y, 0, 1, color="0.9", linewidth=0.8, transform=ax.get_yaxis_transform(), zorder=0)
    ax.hlines(y, low, high, color=list(colours), linewidth=2)
    ax.scatter(ours, y, color=list(colours), s=36, zorder=4)
    for at, value in zip(y, rows[f"paper_{quantity}"], strict=True):
        ax.plot(max(value, left), at, "D", color="black", markerfacecolor="white", markersize=6, clip_on=False)
        if value < left:
            ax.annotate(
                f"← {percent(value)}", (left, at), (9, 0), textcoords="offset points", va="center", fontsize=8.5
            )
    ax.set(xlim=(left, right), ylim=(len(rows) - 0.5, -0.5), xlabel=f"{quantity} (% of the cost of humans only)")
    ax.set_yticks(y, list(names))
    ax.xaxis.set_major_formatter(PERCENT)
    plots.headline(figure, title, note)
    return figure


@use_style()
def verdicts(rows: pd.DataFrame, title: str, note: str = "") -> Figure:
    """The claims, one a line, with their verdicts; on the right, by how much the rule of each is met (``ours_margin``
    of ``claims.judge``, in points), with the interval over seeds where there is one."""
    figure, ((left, right),) = plots.grid(1, 2, (WIDTH, 0.6 + 0.39 * len(rows)))
    left.get_gridspec().set_width_ratios([4.3, 1.7])
    right.axvline(0, color="0.5", linewidth=1, zorder=0)
    for y, row in enumerate(rows.to_dict("records")):
        marker, filling = VERDICTS[row["ours_verdict"]]
        left.plot(0.02, y, marker, color="black", markerfacecolor=filling, markersize=7)
        left.text(0.06, y, row["ours_verdict"], va="center", fontsize=9, weight="bold" if filling == "black" else None)
        left.text(0.33, y, textwrap.fill(row["paper_says"], 44), va="center", fontsize=9, linespacing=1.1)
        span = Interval(row["ours_margin_low"], row["ours_margin_high"])
        _margin(right, y, row["ours_margin"], span, VERDICTS[row["ours_verdict"]])
    for ax in (left, right):
        ax.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlim(0, 1)
    left.axis("off")
    right.set(xlim=(-1.15 * FARTHEST, 1.15 * FARTHEST), yticks=[], xlabel="margin of the rule\n(points)")
    right.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}".replace("-", "−"))
    right.spines["left"].set_visible(False)
    plots.headline(figure, title, note)
    return figure


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
