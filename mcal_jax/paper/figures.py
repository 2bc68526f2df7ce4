"""The figures of active learning against its batch size, and of total costs: from rows of ``tables`` to a Figure."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Transform

from mcal_jax import plots
from mcal_jax.paper import notes, tables
from mcal_jax.paper.published import data_set_name
from mcal_jax.paper.tables import HUMANS_ONLY
from mcal_jax.plots import COLOURS, DOLLARS, GREY, PERCENT, ink, money, tenths, use_style
from mcal_jax.plots.architectures import APPEARANCES, appearance
from mcal_jax.plots.labels import Label

DELTA = "batch size δ (% of X)"
BARE_PERCENT = FuncFormatter(lambda value, _: tenths(value).removesuffix(" %"))
WIDTH = 6.2
"""Inches: wide enough for three panels, narrow enough to be read on a phone."""


class Reference(NamedTuple):
    """US dollars to compare active learning with: humans only, MCAL (lowest, mean and highest of its seeds), and what
    the paper prints for MCAL; None where it is not known or not drawn."""

    humans: float | None = None
    mcal: tuple[float, float, float] | None = None
    paper: float | None = None


@use_style()
def delta_sweep(rows: pd.DataFrame, quantity: str, reference: Reference, title: str, about: str = "") -> Figure:
    """The "dollars" or the "training" dollars of active learning against delta, a panel for each architecture (figures
    8 to 10 and 16 to 21).

    The batch size with the lowest total cost is ringed. A band is MCAL's range over seeds. Diamonds are the paper's
    optimum and its MCAL; one outside the panel stands at its edge, with a triangle. Numbers stand above the panels.
    """
    groups = rows.groupby("architecture", sort=True)
    figure, (axes,) = plots.grid(1, len(groups), (WIDTH, 3.2))
    limits = _limits(rows, quantity, reference)
    deltas = [rows["delta"], rows["paper_delta"]] if quantity == "dollars" else [rows["delta"]]
    for ax, (architecture, own) in zip(axes, groups, strict=True):
        ax.set(xlim=_span(pd.concat(deltas)), ylim=limits)
        _series(ax, own, quantity, tables.are_mixed(rows))
        numbers = [_ring(ax, own, quantity)]
        if quantity == "dollars" and not np.isnan(own["paper_dollars"].iloc[0]):
            numbers.append(_paper_optimum(ax, own.iloc[0]))
        _heading(ax, architecture, numbers)
        delta_axis(ax, own["delta"])
        _reference_lines(ax, reference)
        ax.yaxis.set_major_formatter(DOLLARS)
        ax.yaxis.set_major_locator(MaxNLocator(5))
        if ax is not axes[0]:
            ax.set_yticklabels([])
    axes[0].set_ylabel({"dollars": "total cost (US dollars)", "training": "training cost (US dollars)"}[quantity])
    _reference_labels(axes[-1], reference)
    plots.thin_numbers(axes)
    notes.titled(figure, title, _meanings(axes, rows, quantity, reference), about)
    return figure


def _meanings(axes: Sequence[Axes], rows: pd.DataFrame, quantity: str, reference: Reference) -> Iterator[str]:
    """What the marks of ``delta_sweep`` mean, as far as they are drawn."""
    limits = axes[0].get_ylim()
    yield "Ring: the batch size with the lowest total cost"
    if notes.are_seen(limits, rows[f"{quantity}_low"], rows[f"{quantity}_high"], marked=True):
        yield f"Bars: {notes.RANGE}"
    if _is_band(limits, reference):
        yield f"Band: MCAL's {notes.RANGE}"
    if any(line.get_marker() == "D" for ax in axes for line in ax.lines):
        yield "Diamonds: the paper's best batch size, and its MCAL" if quantity == "dollars" else notes.PAPER
    if any(re.search("[↑↓]", text.get_text()) for ax in axes for text in ax.texts):
        yield notes.BEYOND
    yield tables.not_all(rows)


def _is_band(limits: tuple[float, float], reference: Reference) -> bool:
    """Whether MCAL's range over seeds can be told from a line."""
    return reference.mcal is not None and notes.are_seen(limits, reference.mcal[:1], reference.mcal[2:])


def _limits(rows: pd.DataFrame, quantity: str, reference: Reference) -> tuple[float, float]:
    """The limits of the vertical axis, not below 0: all of ours, and what else lies within half of their range from
    them."""
    ours = [*rows[f"{quantity}_low"], *rows[f"{quantity}_high"], *(reference.mcal or ())]
    low, high = min(ours), max(ours)
    printed = list(rows["paper_dollars"].dropna()) if quantity == "dollars" else []
    reach = 0.5 * (high - low)
    near = [y for y in (*printed, reference.humans, reference.paper) if y and low - reach <= y <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.14 * (high - low or 0.1 * high)
    return max(low - pad, 0), high + pad


def _span(deltas: pd.Series) -> tuple[float, float]:
    """Limits of an axis of batch sizes, with room for a ring on both sides."""
    low, high = deltas.min(), deltas.max()
    room = 0.1 * (high - low or high)
    return low - room, high + room


def delta_axis(ax: Axes, deltas: pd.Series) -> None:
    """A tick at each batch size, and its number where there is room."""
    ax.set_xticks(sorted(set(deltas)))
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


def _ring(ax: Axes, own: pd.DataFrame, quantity: str) -> str:
    """A ring around the best batch size; returns its quantity in words."""
    best, colour = own[own["best"]].iloc[0], appearance(own["architecture"].iloc[0]).colour
    ax.plot(best["delta"], best[quantity], "o", markersize=15, markerfacecolor="none", color=colour,
            markeredgewidth=1.6)  # fmt: skip
    return f"○ {_dollars(ax, best[quantity])} at {tenths(best['delta'])}"


def _paper_optimum(ax: Axes, row: pd.Series) -> str:
    """The paper's best batch size and its cost as a diamond; returns both in words."""
    _, arrow = _diamond(ax, row["paper_delta"], row["paper_dollars"], "black", ax.transData)
    return f"◇ {_dollars(ax, row['paper_dollars'])} at {tenths(row['paper_delta'])}{arrow}"


def _dollars(ax: Axes, value: float) -> str:
    """US dollars beside others on the same vertical axis: with cents on one that ends below $100."""
    return money(value if ax.get_ylim()[1] < 100 else round(value))


def _heading(ax: Axes, architecture: str, numbers: Sequence[str]) -> None:
    """The name of an architecture above its panel, and below the name lines of numbers: ours, then the paper's."""
    colour = ink(appearance(architecture).colour)
    ax.set_title(appearance(architecture).name, color=colour, pad=6 + 12 * len(numbers))
    for line, (text, own) in enumerate(reversed(list(zip(numbers, (colour, GREY), strict=False)))):
        ax.annotate(text, (0, 1), (0, 5 + 12 * line), "axes fraction", "offset points", color=own, fontsize=8.5)


def _diamond(ax: Axes, x: float, y: float, colour: str, where: Transform) -> tuple[float, str]:
    """A number of the paper as a diamond; one beyond the panel stands at its edge, with a triangle that points to it.

    Returns the height at which it stands, and an arrow for its text.
    """
    low, high = ax.get_ylim()
    margin = 0.03 * (high - low)
    at, arrow = plots.clipped(y, (low + margin, high - margin))
    if arrow:
        pointer, inwards = ("^", -margin) if y > at else ("v", margin)
        ax.plot(x, at - 0.5 * inwards, pointer, color=colour, markersize=4, transform=where, clip_on=False, zorder=5)
        at += 1.6 * inwards
    ax.plot(x, at, "D", color=colour, markerfacecolor="white", markersize=6, transform=where, clip_on=False, zorder=6)
    return at, arrow


def _reference_lines(ax: Axes, reference: Reference) -> None:
    """MCAL with its band, and humans only where they are within the panel."""
    limits = ax.get_ylim()
    if reference.mcal:
        low, mean, high = reference.mcal
        if _is_band(limits, reference):
            ax.axhspan(low, high, color=COLOURS["MCAL"], alpha=0.25, linewidth=0)
        ax.axhline(mean, color=COLOURS["MCAL"], linewidth=1.2, zorder=1)
    if reference.humans and reference.humans < limits[1]:
        ax.axhline(reference.humans, color=COLOURS["humans only"], linestyle="--", zorder=1)


def _reference_labels(ax: Axes, reference: Reference) -> None:
    """Labels on the right: MCAL, the paper's MCAL with its diamond, and humans only."""
    labels = []
    if reference.humans:
        y, arrow = plots.clipped(reference.humans, ax.get_ylim())
        labels.append(Label(y, f"{HUMANS_ONLY}\n{_dollars(ax, reference.humans)}{arrow}", COLOURS["humans only"]))
    if reference.mcal:
        labels.append(Label(reference.mcal[1], f"MCAL\n{_dollars(ax, reference.mcal[1])}", COLOURS["MCAL"]))
    if reference.paper:
        y, arrow = _diamond(ax, 1, reference.paper, COLOURS["MCAL"], ax.get_yaxis_transform())
        labels.append(Label(y, f"MCAL, paper\n{_dollars(ax, reference.paper)}{arrow}", COLOURS["MCAL"]))
    if labels:
        plots.end_labels(ax, labels)


@use_style()
def machine_share(
    rows: pd.DataFrame, lost: pd.DataFrame, printed: tuple[float, float], title: str, about: str = ""
) -> Figure:
    """Figure 12, a column for each data set. Above: the share that the machine labels against delta. Below: ``lost``
    between the smallest and the largest delta, with the ``printed`` range of the paper in grey."""
    groups = rows.groupby("data_set", sort=False)
    figure, axes = plots.grid(2, len(groups), (WIDTH, 4.6))
    axes[0, 0].get_gridspec().set_height_ratios([2.2, 1])
    spans = groups.agg(low=("machine_low", "min"), high=("machine_high", "max"))
    reach = max(0.08, 0.55 * (spans["high"] - spans["low"]).max())
    for (above, below), (data_set, own) in zip(axes.T, groups, strict=True):
        above.set(xlim=_span(own["delta"]), title=plots.literal(data_set_name(data_set)))
        for _, each in own.groupby("architecture", sort=True):
            _series(above, each, "machine", tables.are_mixed(rows))
        middle = spans.loc[data_set].mean()
        above.set_ylim(middle - reach, middle + reach)
        above.yaxis.set_major_formatter(PERCENT)
        delta_axis(above, own["delta"])
        _lost(below, lost[lost["data_set"] == data_set], printed)
    axes[0, 0].set_ylabel("machine-labelled share of X")
    plots.thin_numbers(axes[0])
    nets = [appearance(architecture) for architecture in sorted(set(rows["architecture"]))]
    key = [Line2D([], [], color=net.colour, marker=net.marker) for net in nets]
    bars = notes.are_seen((0, 2 * reach), rows["machine_low"], rows["machine_high"], marked=True)
    grey = f"grey: the paper's {100 * printed[0]:.0f} to {100 * printed[1]:.0f} points"
    marks = [
        f"Bars: {notes.RANGE}" if bars else "",
        f"Below: the share at the smallest batch size less that at the largest; {grey}",
        tables.not_all(rows),
    ]
    notes.titled(figure, title, marks, about, (key, [net.name for net in nets]))
    return figure


def _lost(ax: Axes, own: pd.DataFrame, printed: tuple[float, float]) -> None:
    ax.axvspan(*printed, color="0.85", linewidth=0)
    ax.axvline(0, color="0.5", linewidth=1)
    for y, row in enumerate(own.sort_values("architecture").to_dict("records")):
        net = appearance(row["architecture"])
        ax.plot(row["lost"], y, net.marker, color=net.colour, markersize=6)
    left = min(-0.05, own["lost"].min() - 0.02)
    ax.set(xlim=(left, printed[1] + 0.02), ylim=(max(len(own), 1) - 0.5, -0.5), yticks=[], xlabel="lost (points of X)")
    ax.xaxis.set_major_formatter(BARE_PERCENT)


@use_style()
def totals(rows: pd.DataFrame, title: str, about: str = "") -> Figure:
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
        texts = {name: [_whole(value) for value in own[f"{name}_dollars"]] for name in ("ours", "paper")}
        plots.number_columns(ax, texts, headed=ax is panels[0, 0])
        ax.set_yticks(range(len(own)), list(own.index))
        ax.xaxis.set_major_formatter(DOLLARS)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        if ax is not panels[-1, 0]:
            ax.set_xticklabels([])
    panels[-1, 0].set_xlabel("total cost (US dollars)")
    seeds = notes.are_seen((0, top), rows["ours_dollars_low"], rows["ours_dollars_high"])
    notes.titled(figure, title, [notes.PAPER, f"Black lines: {notes.RANGE}" if seeds else ""], about)
    return figure


def _total_bar(ax: Axes, y: int, row: pd.Series, colour: str) -> None:
    if np.isnan(row["ours_dollars"]):
        ax.annotate(f"not run: {row['seeds']} seeds", (0, y), (5, 0), textcoords="offset points", va="center",
                    fontsize=8.5, color=GREY)  # fmt: skip
        return
    ax.barh(y, row["ours_dollars"], 0.62, color=colour)
    ax.plot([row["ours_dollars_low"], row["ours_dollars_high"]], [y, y], color="black", linewidth=1.2)
    ax.plot([row["paper_dollars"]], [y], "D", color="black", markerfacecolor="white", markersize=6, zorder=4)


def _whole(dollars: float) -> str:
    return "" if np.isnan(dollars) else money(round(dollars))
