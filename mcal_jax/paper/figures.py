"""The figures of costs and savings: from rows of ``tables`` to a Figure, in the style of ``plots``."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcal_jax import plots
from mcal_jax.paper.published import data_set_name
from mcal_jax.paper.tables import HUMANS_ONLY
from mcal_jax.plots import COLOURS, DOLLARS, PERCENT, money, percent, use_style
from mcal_jax.plots.architectures import APPEARANCES, appearance

MCAL = COLOURS["S"]
QUANTITIES = {
    "dollars": ("total cost (US dollars)", DOLLARS), "training": ("training cost (US dollars)", DOLLARS),
    "machine": ("share of X labelled by the machine", PERCENT),
}  # fmt: skip
DELTA = "batch size δ (share of X)"
VERDICTS = {
    "holds": ("#0072B2", "o"), "does not hold": ("#D55E00", "X"),
    "can't tell": ("#7A5A00", "D"), "not tested": ("#767676", "s"),
}  # fmt: skip
"""Colour and marker of each verdict."""


def suptitle(figure: Figure, title: str) -> None:
    """Sets the title of a figure of several panels, at its left edge."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)


@use_style()
def delta_sweep(rows: pd.DataFrame, quantity: str, humans: float | None, mcal: float | None, title: str) -> Figure:
    """A quantity of active learning against delta, a line for each architecture, the best delta ringed (figures 8 to
    10 and 16 to 21); bars are the range over seeds, hollow markers are batch sizes whose classifier was never allowed
    to label all remaining images. ``humans`` and ``mcal``: US dollars for reference."""
    figure, ax = plots.axes(None, (7.2, 4.6))
    _delta_lines(ax, rows, quantity)
    if humans is not None:
        ax.axhline(humans, color=COLOURS["humans only"], linestyle="--", label=f"{HUMANS_ONLY}: {money(humans)}")
    if mcal is not None:
        ax.axhline(mcal, color=MCAL, linestyle="--", linewidth=2.2, label=f"MCAL: {money(mcal)}")
    ax.set(title=title, ylim=(0, None))
    label, form = QUANTITIES[quantity]
    plots.finish(ax, PERCENT, form, xlabel=DELTA, ylabel=label)
    return figure


@use_style()
def machine_share(rows: pd.DataFrame, title: str) -> Figure:
    """Figure 12: the share that the machine labels against delta, a panel for each data set."""
    groups = rows.groupby("data_set", sort=False)
    figure, (axes,) = plots.grid(1, len(groups), (3.6 * len(groups) + 1, 3.9))
    for ax, (data_set, own) in zip(axes, groups, strict=True):
        _delta_lines(ax, own, "machine", ring=False)
        ax.set(title=plots.literal(data_set_name(data_set)), ylim=(-0.02, 1))
        plots.finish(ax, PERCENT, PERCENT, columns=1, xlabel=DELTA, ylabel=QUANTITIES["machine"][0])
    suptitle(figure, title)
    return figure


def _delta_lines(ax: Axes, rows: pd.DataFrame, quantity: str, ring: bool = True) -> None:
    for architecture, own in rows.sort_values("delta").groupby("architecture"):
        name, colour, marker = appearance(architecture)
        y, low, high = own[quantity], own[f"{quantity}_low"], own[f"{quantity}_high"]
        ax.errorbar(own["delta"], y, [y - low, high - y], color=colour, linewidth=1.6, capsize=2, elinewidth=1)
        met = own[own["met"] == 1]
        hollow = own[own["met"] != 1]
        ax.plot(met["delta"], met[quantity], marker, color=colour, label=name if len(met) else None)
        label = f"{name}, not all remaining images" if len(met) else f"{name} (never all remaining images)"
        ax.plot(hollow["delta"], hollow[quantity], marker, color=colour, markerfacecolor="white",
                label=label if len(hollow) else None)  # fmt: skip
        if ring:
            best = own.loc[y.idxmin()]
            ax.plot(best["delta"], best[quantity], "o", markersize=15, markerfacecolor="none", color=colour,
                    markeredgewidth=1.6)  # fmt: skip


@use_style()
def totals(rows: pd.DataFrame, title: str) -> Figure:
    """Figure 7: bars of US dollars for each data set; diamonds are the paper's where it prints them, and text stands
    where no run is finished."""
    groups = rows.groupby("data_set", sort=False)
    figure, (axes,) = plots.grid(1, len(groups), (3.5 * len(groups) + 1.2, 3.4))
    oracles = {f"oracle AL, {net.name}": net.colour for net in map(appearance, APPEARANCES)}
    colours = {HUMANS_ONLY: COLOURS["humans only"], "MCAL": MCAL, **oracles}
    for i, (ax, (data_set, own)) in enumerate(zip(axes, groups, strict=True)):
        known = [name for name in colours if name in set(own["by"])]
        own = own.set_index("by").loc[[*known, *(name for name in own["by"] if name not in colours)]]
        for y, (name, row) in enumerate(own.iterrows()):
            architecture = name.removeprefix("oracle AL, ")
            _total_bar(ax, y, row, colours.get(name, appearance(architecture).colour))
        ax.set_yticks(range(len(own)), list(own.index) if i == 0 else [""] * len(own))
        ax.invert_yaxis()
        ax.set(title=plots.literal(data_set_name(data_set)), xlabel="US dollars")
        ax.xaxis.set_major_formatter(DOLLARS)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    suptitle(figure, title)
    figure.supxlabel("diamonds: the paper; black lines: range over seeds", fontsize=9)
    return figure


def _total_bar(ax: Axes, y: int, row: pd.Series, colour: str) -> None:
    if np.isnan(row["ours_dollars"]):
        ax.barh(y, 0, 0.62)  # it makes room for the text
        ax.text(0, y, f" not run: {row['seeds']} seeds", va="center", fontsize=8.5, color="0.35")
        return
    ax.barh(y, row["ours_dollars"], 0.62, color=colour)
    ax.plot([row["ours_dollars_low"], row["ours_dollars_high"]], [y, y], color="black", linewidth=1.2)
    ax.plot([row["paper_dollars"]], [y], "D", color="black", markerfacecolor="white", markersize=6, zorder=4)


@use_style()
def bars(rows: pd.DataFrame, names: Sequence[str], title: str) -> Figure:
    """MCAL by one setting (figures 11, 13, 14, 15): on the left its cost, with a dashed outline for humans only, on
    the right the share labelled by the machine; black lines are the range over seeds."""
    figure, ((left, right),) = plots.grid(1, 2, (9.6, 1.4 + 0.42 * len(rows)))
    for y, row in enumerate(rows.to_dict("records")):
        for ax, key, colour in ((left, "dollars", COLOURS["B"]), (right, "machine", MCAL)):
            ax.barh(y, row[key], 0.62, color=colour)
            ax.plot([row[f"{key}_low"], row[f"{key}_high"]], [y, y], color="black", linewidth=1.4)
        left.barh(y, row["humans"], 0.74, fill=False, edgecolor=COLOURS["humans only"], linestyle="--")
        left.text(row["humans"], y, f" {percent(round(row['savings'], 3))} saved", va="center", fontsize=8.5)
    left.set_yticks(range(len(rows)), list(names))
    right.set_yticks(range(len(rows)), [""] * len(rows))
    for ax in (left, right):
        ax.invert_yaxis()
    left.set(xlabel=f"total cost (US dollars); dashed: {HUMANS_ONLY}", xlim=(0, 1.3 * rows["humans"].max()))
    right.set(xlabel="share of X labelled by the machine", xlim=(0, 1))
    left.xaxis.set_major_formatter(DOLLARS)
    left.xaxis.set_major_locator(MaxNLocator(5))
    right.xaxis.set_major_formatter(PERCENT)
    suptitle(figure, title)
    return figure


@use_style()
def compared(rows: pd.DataFrame, quantity: str, names: Sequence[str], title: str) -> Figure:
    """A table as a picture: our share (points, with the range over seeds) and the paper's (diamonds)."""
    figure, ax = plots.axes(None, (7.2, 1.3 + 0.34 * len(rows)))
    y = range(len(rows))
    ours, low, high = (rows[f"ours_{quantity}{end}"] for end in ("", "_low", "_high"))
    ax.hlines(y, low, high, color=COLOURS["B"], linewidth=2)
    ax.plot(ours, y, "o", color=COLOURS["B"], label="ours, range over seeds")
    ax.plot(rows[f"paper_{quantity}"], y, "D", color="black", markerfacecolor="white", label="the paper")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.axvline(0, color="0.7", linewidth=1, zorder=0)
    ax.grid(axis="y", color="0.92")
    suptitle(figure, title)
    plots.finish(ax, PERCENT, xlabel=quantity)
    ax.set_yticks(y, list(names))
    return figure


@use_style()
def verdicts(rows: pd.DataFrame, title: str) -> Figure:
    """The claims, one a line, with their verdicts."""
    figure, ax = plots.axes(None, (9.6, 0.5 + 0.3 * len(rows)))
    for y, (claim, verdict) in enumerate(zip(rows["paper_says"], rows["ours_verdict"], strict=True)):
        colour, marker = VERDICTS[verdict]
        ax.plot(0.01, y, marker, color=colour, markersize=8)
        ax.text(0.03, y, verdict, color=colour, va="center", fontsize=9.5)
        ax.text(0.16, y, claim, va="center", fontsize=9.5)
    ax.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), title=title)
    ax.axis("off")
    return figure
