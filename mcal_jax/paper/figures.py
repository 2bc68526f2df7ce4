"""The figures of active learning against its batch size, and of total costs: from rows of ``tables`` to a Figure."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from mcal_jax import plots
from mcal_jax.paper import tables
from mcal_jax.paper.published import data_set_name
from mcal_jax.paper.tables import HUMANS_ONLY
from mcal_jax.plots import COLOURS, DOLLARS, GREY, PERCENT, ink, money, use_style
from mcal_jax.plots.architectures import APPEARANCES, appearance
from mcal_jax.plots.labels import Label

DELTA = "batch size δ (% of X)"
BARE_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.2g}")
WIDTH = 6.4
"""Inches: wide enough for three panels, narrow enough to be read on a phone."""


class Reference(NamedTuple):
    """US dollars to compare active learning with: humans only, MCAL (lowest, mean and highest of its seeds), and what
    the paper prints for MCAL; None where it is not known or not drawn."""

    humans: float | None = None
    mcal: tuple[float, float, float] | None = None
    paper: float | None = None


@use_style()
def delta_sweep(rows: pd.DataFrame, quantity: str, reference: Reference, title: str, note: str = "") -> Figure:
    """The "dollars" or the "training" dollars of active learning against delta, a panel for each architecture (figures
    8 to 10 and 16 to 21).

    Bars are the range over seeds. The batch size with the lowest total cost is ringed. A band is MCAL's range over
    seeds. Diamonds are the paper's optimum and its MCAL; one outside the panel stands at its edge, with an arrow.
    """
    groups = rows.groupby("architecture", sort=True)
    figure, (axes,) = plots.grid(1, len(groups), (WIDTH, 3.1))
    limits = _limits(rows, quantity, reference)
    deltas = [rows["delta"], rows["paper_delta"]] if quantity == "dollars" else [rows["delta"]]
    for ax, (architecture, own) in zip(axes, groups, strict=True):
        ax.set(xscale="log", xlim=_span(pd.concat(deltas)), ylim=limits)
        ax.set_title(appearance(architecture).name, color=ink(appearance(architecture).colour))
        _series(ax, own, quantity, tables.are_mixed(rows))
        _ring(ax, own, quantity)
        _delta_axis(ax, own["delta"])
        if quantity == "dollars":
            _paper_optimum(ax, own.iloc[0])
        if reference.mcal:
            ax.axhspan(reference.mcal[0], reference.mcal[2], color=COLOURS["MCAL"], alpha=0.25, linewidth=0)
            ax.axhline(reference.mcal[1], color=COLOURS["MCAL"], linewidth=1.2, zorder=1)
        if reference.humans and reference.humans < limits[1]:
            ax.axhline(reference.humans, color=COLOURS["humans only"], linestyle="--", zorder=1)
        ax.yaxis.set_major_formatter(DOLLARS)
        ax.yaxis.set_major_locator(MaxNLocator(5))
        if ax is not axes[0]:
            ax.set_yticklabels([])
    axes[0].set_ylabel({"dollars": "total cost (US dollars)", "training": "training cost (US dollars)"}[quantity])
    plots.headline(figure, title, note)
    _reference_labels(axes[-1], reference)
    return figure


def _limits(rows: pd.DataFrame, quantity: str, reference: Reference) -> tuple[float, float]:
    """The limits of the vertical axis: all of ours, and what else lies within half of their range from them."""
    ours = [*rows[f"{quantity}_low"], *rows[f"{quantity}_high"], *(reference.mcal or ())]
    low, high = min(ours), max(ours)
    printed = list(rows["paper_dollars"].dropna()) if quantity == "dollars" else []
    reach = 0.5 * (high - low)
    near = [y for y in (*printed, reference.humans, reference.paper) if y and low - reach <= y <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.14 * (high - low or 0.1 * high)
    return low - pad, high + pad


def _span(deltas: pd.Series) -> tuple[float, float]:
    """Limits of a logarithmic axis with some room on both sides."""
    low, high = deltas.min(), deltas.max()
    room = (high / low) ** 0.12 * 1.06
    return low / room, high * room


def _delta_axis(ax: Axes, deltas: pd.Series) -> None:
    ax.xaxis.set_major_locator(FixedLocator(sorted(set(deltas))))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(BARE_PERCENT)
    ax.tick_params(axis="x", labelsize=8)
    ax.set_xlabel(DELTA)


def _series(ax: Axes, own: pd.DataFrame, quantity: str, hollow: bool) -> None:
    """A quantity of one architecture against delta, with its range over seeds; two points are not joined by a line.

    Batch sizes whose classifier may not label all remaining images are ``hollow``.
    """
    _, colour, marker = appearance(own["architecture"].iloc[0])
    own = own.sort_values("delta")
    y, low, high = own[quantity], own[f"{quantity}_low"], own[f"{quantity}_high"]
    line = "-" if len(own) > 2 else "none"
    ax.errorbar(own["delta"], y, [y - low, high - y], color=colour, linestyle=line, linewidth=1.6, capsize=2,
                elinewidth=1)  # fmt: skip
    met = (own["met"] == 1) | (not hollow)
    ax.plot(own["delta"][met], y[met], marker, color=colour, markersize=5)
    ax.plot(own["delta"][~met], y[~met], marker, color=colour, markersize=5, markerfacecolor="white")


def _ring(ax: Axes, own: pd.DataFrame, quantity: str) -> None:
    """A ring around the batch size with the lowest total cost, and its quantity above or below."""
    best, colour = own.loc[own["dollars"].idxmin()], appearance(own["architecture"].iloc[0]).colour
    ax.plot(best["delta"], best[quantity], "o", markersize=15, markerfacecolor="none", color=colour,
            markeredgewidth=1.6)  # fmt: skip
    _beside(ax, best["delta"], best[quantity], money(best[quantity]), ink(colour), 12)


def _beside(ax: Axes, x: float, y: float, text: str, colour: object, points: float) -> None:
    """Text ``points`` above a mark, or below it in the upper part of the axes, inside the axes on both sides."""
    across, up = ax.transAxes.inverted().transform(ax.transData.transform((x, y)))
    side, above = "left" if across < 0.25 else "right" if across > 0.75 else "center", up < 0.3
    shift = {"left": -4, "right": 4, "center": 0}[side]
    ax.annotate(text, (x, y), (shift, points if above else -points), textcoords="offset points", ha=side,
                va="bottom" if above else "top", color=colour, fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.95, "pad": 0.6})  # fmt: skip


def _paper_optimum(ax: Axes, row: pd.Series) -> None:
    """The paper's best batch size and its cost as a diamond."""
    if np.isnan(row["paper_dollars"]):
        return
    y, arrow = plots.clipped(row["paper_dollars"], _inner(ax))
    ax.plot(row["paper_delta"], y, "D", color="black", markerfacecolor="white", markersize=6, zorder=5)
    _beside(ax, row["paper_delta"], y, f"{money(round(row['paper_dollars']))}{arrow}", GREY, 6)


def _inner(ax: Axes) -> tuple[float, float]:
    """The limits of the vertical axis less the room of a marker."""
    low, high = ax.get_ylim()
    return low + 0.04 * (high - low), high - 0.04 * (high - low)


def _reference_labels(ax: Axes, reference: Reference) -> None:
    """Labels on the right: MCAL, the paper's MCAL with its diamond, and humans only."""
    labels = []
    if reference.humans:
        y, arrow = plots.clipped(reference.humans, _inner(ax))
        labels.append(Label(y, f"{HUMANS_ONLY}\n{money(reference.humans)}{arrow}", COLOURS["humans only"]))
    if reference.mcal:
        labels.append(Label(reference.mcal[1], f"MCAL\n{money(reference.mcal[1])}", COLOURS["MCAL"]))
    if reference.paper:
        y, arrow = plots.clipped(reference.paper, _inner(ax))
        ax.plot(1, y, "D", color=COLOURS["MCAL"], markerfacecolor="white", markersize=6, clip_on=False, zorder=6,
                transform=ax.get_yaxis_transform())  # fmt: skip
        labels.append(Label(y, f"MCAL, paper\n{money(reference.paper)}{arrow}", COLOURS["MCAL"]))
    if labels:
        plots.end_labels(ax, labels)


@use_style()
def machine_share(
    rows: pd.DataFrame, lost: pd.DataFrame, printed: tuple[float, float], title: str, note: str = ""
) -> Figure:
    """Figure 12, a column for each data set. Above: the share that the machine labels against delta. Below: ``lost``
    between the smallest and the largest delta, with the ``printed`` range of the paper in grey."""
    groups = rows.groupby("data_set", sort=False)
    figure, axes = plots.grid(2, len(groups), (WIDTH, 4.6))
    axes[0, 0].get_gridspec().set_height_ratios([2.2, 1])
    for (above, below), (data_set, own) in zip(axes.T, groups, strict=True):
        above.set(xscale="log", xlim=_span(own["delta"]), title=plots.literal(data_set_name(data_set)))
        for _, each in own.groupby("architecture", sort=True):
            _series(above, each, "machine", tables.are_mixed(rows))
        middle = (own["machine"].min() + own["machine"].max()) / 2
        above.set_ylim(middle - 0.08, middle + 0.08)
        above.yaxis.set_major_formatter(PERCENT)
        _delta_axis(above, own["delta"])
        _lost(below, lost[lost["data_set"] == data_set], printed)
    axes[0, 0].set_ylabel("machine-labelled share of X")
    nets = [appearance(architecture) for architecture in sorted(set(rows["architecture"]))]
    key = [Line2D([], [], color=net.colour, marker=net.marker) for net in nets]
    plots.headline(figure, title, note, (key, [net.name for net in nets]))
    return figure


def _lost(ax: Axes, own: pd.DataFrame, printed: tuple[float, float]) -> None:
    ax.axvspan(*printed, color="0.85", linewidth=0)
    ax.axvline(0, color="0.5", linewidth=1)
    for y, row in enumerate(own.sort_values("architecture").to_dict("records")):
        net = appearance(row["architecture"])
        ax.plot(row["lost"], y, net.marker, color=net.colour, markersize=6)
    ax.set(xlim=(-0.05, printed[1] + 0.02), ylim=(len(own) - 0.5, -0.6), yticks=[], xlabel="lost (points of X)")
    ax.text(sum(printed) / 2, -0.45, "paper", ha="center", va="top", fontsize=8.5)
    ax.xaxis.set_major_formatter(BARE_PERCENT)


@use_style()
def totals(rows: pd.DataFrame, title: str, note: str = "") -> Figure:
    """Figure 7: bars of US dollars, a panel for each data set, with ours and the paper's in figures on the right;
    diamonds are the paper's, lines the range over seeds. Text stands where no run is finished."""
    groups = rows.groupby("data_set", sort=False)
    figure, panels = plots.grid(len(groups), 1, (WIDTH, 0.6 + 1.5 * len(groups)))
    oracles = {f"oracle AL, {net.name}": net.colour for net in map(appearance, APPEARANCES)}
    colours = {HUMANS_ONLY: COLOURS["humans only"], "MCAL": COLOURS["MCAL"], **oracles}
    top = 1.04 * rows[["ours_dollars_high", "paper_dollars"]].max(axis=None)
    for ax, (data_set, own) in zip(panels[:, 0], groups, strict=True):
        known = [name for name in colours if name in set(own["by"])]
        own = own.set_index("by").loc[[*known, *(name for name in own["by"] if name not in colours)]]
        ax.set(xlim=(0, top), ylim=(len(own) - 0.5, -0.5), title=plots.literal(data_set_name(data_set)))
        for y, (name, row) in enumerate(own.iterrows()):
            architecture = name.removeprefix("oracle AL, ")
            _total_bar(ax, y, row, colours.get(name, appearance(architecture).colour))
        ax.set_yticks(range(len(own)), list(own.index))
        ax.xaxis.set_major_formatter(DOLLARS)
        ax.xaxis.set_major_locator(MaxNLocator(6))
        if ax is not panels[-1, 0]:
            ax.set_xticklabels([])
    for column, name in enumerate(("ours", "paper")):
        _in_column(panels[0, 0], -0.9, column, name)
    panels[-1, 0].set_xlabel("total cost (US dollars)")
    plots.headline(figure, title, note)
    return figure


def _total_bar(ax: Axes, y: int, row: pd.Series, colour: str) -> None:
    if np.isnan(row["ours_dollars"]):
        ax.text(0, y, f" not run: {row['seeds']} seeds", va="center", fontsize=8.5, color=GREY)
        return
    ax.barh(y, row["ours_dollars"], 0.62, color=colour)
    ax.plot([row["ours_dollars_low"], row["ours_dollars_high"]], [y, y], color="black", linewidth=1.2)
    _in_column(ax, y, 0, money(round(row["ours_dollars"])))
    if not np.isnan(row["paper_dollars"]):
        ax.plot([row["paper_dollars"]], [y], "D", color="black", markerfacecolor="white", markersize=6, zorder=4)
        _in_column(ax, y, 1, money(round(row["paper_dollars"])))


def _in_column(ax: Axes, y: float, column: int, text: str) -> None:
    """Text in one of the columns to the right of the axes: 0 is ours, 1 the paper's."""
    ax.annotate(text, (1, y), (48 * (column + 1), 0), ax.get_yaxis_transform(), "offset points", ha="right",
                va="center", fontsize=9, color=GREY if column else "black", annotation_clip=False)  # fmt: skip
