"""How exhibits are drawn: rows of ``exhibits`` -> Figure, in the style and the colours of ``plots``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mcal_jax import plots
from mcal_jax.algorithm import powerlaw
from mcal_jax.algorithm.plan import Law
from mcal_jax.paper import published, tables
from mcal_jax.paper.records import Trajectory
from mcal_jax.paper.tables import Row
from mcal_jax.plots import ARCHITECTURES, COLOURS, DOLLARS, PERCENT, money, percent, use_style

MCAL = COLOURS["S"]
MARKERS = {"cnn18": "s", "resnet18": "o", "resnet50": "^"}
ACQUISITIONS = {
    "margin": ("#0072B2", "margin", "-"), "entropy": ("#009E73", "entropy", "--"),
    "least_confidence": ("#CC79A7", "least confidence", "-."), "kcenter": ("#D55E00", "k-center", "-"),
    "random": ("#777777", "random", ":"),
}  # fmt: skip
LAW_STYLES = {"power": ("#D55E00", "--", "power law"), "truncated": ("#0072B2", "-", "truncated power law")}
QUANTITIES = {
    "dollars": ("total cost (dollars)", DOLLARS), "training": ("training cost (dollars)", DOLLARS),
    "machine": ("share of X labelled by the machine", PERCENT),
}  # fmt: skip


@use_style()
def delta_sweep(rows: Sequence[Row], shows: str, humans: float | None, mcal: float | None, title: str) -> Figure:
    """A quantity of active learning against delta, a line for each net, the best delta ringed (figures 8 to 10 and
    16 to 21); bars are the range over seeds, hollow points are batches whose classifier was never let label all
    the rest. ``humans`` and ``mcal``: dollars for reference."""
    figure, ax = plots.axes(None, (7.2, 4.6))
    _sweep_lines(ax, rows, shows)
    if humans is not None:
        ax.axhline(humans, color=COLOURS["humans only"], linestyle="--", label=f"people only: {money(humans)}")
    if mcal is not None:
        ax.axhline(mcal, color=MCAL, linestyle="--", linewidth=2.2, label=f"MCAL: {money(mcal)}")
    ax.set(title=title, ylim=(0, None))
    label, form = QUANTITIES[shows]
    plots.finish(ax, PERCENT, form, xlabel="batch δ (share of X)", ylabel=label)
    return figure


@use_style()
def machine_share(rows: Sequence[Row], title: str) -> Figure:
    """Figure 12: the share that the machine labels against delta, a panel for each data set."""
    sets = list(grouped_rows(rows, "data_set").items())
    figure, (axes,) = plots.grid(1, len(sets), (3.6 * len(sets) + 1, 3.9))
    for ax, (data_set, own) in zip(axes, sets, strict=True):
        _sweep_lines(ax, own, "machine", ring=False)
        ax.set(title=plots.literal(published.DATA_SETS.get(data_set, data_set)), ylim=(-0.02, 1))
        plots.finish(ax, PERCENT, PERCENT, columns=1, xlabel="batch δ (share of X)", ylabel="share of X by the machine")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _sweep_lines(ax: Axes, rows: Sequence[Row], shows: str, ring: bool = True) -> None:
    for architecture, own in sorted(grouped_rows(rows, "architecture").items()):
        own = sorted(own, key=lambda row: row["delta"])
        x, y = (np.array([row[key] for row in own], float) for key in ("delta", shows))
        low, high = (np.array([row[f"{shows}_{end}"] for row in own], float) for end in ("low", "high"))
        colour, marker = ARCHITECTURES[architecture].colour, MARKERS[architecture]
        ax.errorbar(x, y, [y - low, high - y], color=colour, linewidth=1.6, capsize=2, elinewidth=1)
        met = np.array([row["met"] == 1 for row in own])
        label = plots.architecture_style(architecture).label
        ax.plot(x[met], y[met], marker, color=colour, label=label if met.any() else None)
        label = f"{label}, not all the rest" if met.any() else f"{label} (never all the rest)"
        ax.plot(x[~met], y[~met], marker, color=colour, markerfacecolor="white", label=label if not met.all() else None)
        if ring:
            best = int(np.argmin(y))
            ax.plot(x[best], y[best], "o", markersize=15, markerfacecolor="none", color=colour, markeredgewidth=1.6)


@use_style()
def totals(rows: Sequence[Row], title: str) -> Figure:
    """Figure 7: bars of dollars for each data set; diamonds show the paper's where it prints them, words what no run
    tells."""
    sets = list(grouped_rows(rows, "data_set").items())
    figure, (axes,) = plots.grid(1, len(sets), (3.5 * len(sets) + 1.2, 3.4))
    colours = {f"oracle AL, {style.label}": style.colour for style in ARCHITECTURES.values()}
    colours |= {"people only": COLOURS["humans only"], "MCAL": MCAL}
    order = {by: i for i, by in enumerate(dict.fromkeys(["people only", "MCAL", *colours]))}
    for i, (ax, (data_set, own)) in enumerate(zip(axes, sets, strict=True)):
        own = sorted(own, key=lambda row: order[row["by"]])
        for y, row in enumerate(own):
            if "ours_dollars" not in row:
                ax.barh(y, 0, 0.62)  # it makes room for the words
                ax.text(0, y, f" not run: {row['seeds']} seeds", va="center", fontsize=8.5, color="0.35")
                continue
            mean, low, high = (row[f"ours_dollars{end}"] for end in ("", "_low", "_high"))
            ax.barh(y, mean, 0.62, color=colours[row["by"]])
            ax.plot([low, high], [y, y], color="black", linewidth=1.2)
            if row["paper_dollars"] != "":
                ax.plot(
                    [row["paper_dollars"]], [y], "D", color="black", markerfacecolor="white", markersize=6, zorder=4
                )
        ax.set_yticks(range(len(own)), [row["by"] for row in own] if i == 0 else [""] * len(own))
        ax.invert_yaxis()
        ax.set(title=plots.literal(published.DATA_SETS.get(data_set, data_set)), xlabel="dollars")
        ax.xaxis.set_major_formatter(DOLLARS)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.supxlabel("diamonds: the paper; black lines: range over seeds", fontsize=9)
    return figure


@use_style()
def bars(rows: Sequence[Row], names: Sequence[str], title: str) -> Figure:
    """MCAL by one thing (figures 11, 13, 14, 15): on the left dollars, of which a dashed outline is people only, on
    the right the share labelled by the machine; black lines are the range over seeds."""
    figure, ((left, right),) = plots.grid(1, 2, (9.6, 1.4 + 0.42 * len(rows)))
    for y, row in enumerate(rows):
        for ax, key, colour in ((left, "dollars", COLOURS["B"]), (right, "machine", MCAL)):
            ax.barh(y, row[key], 0.62, color=colour)
            ax.plot([row[f"{key}_low"], row[f"{key}_high"]], [y, y], color="black", linewidth=1.4)
        left.barh(y, row["humans"], 0.74, fill=False, edgecolor=COLOURS["humans only"], linestyle="--")
        left.text(row["humans"], y, f" {percent(round(row['savings'], 3))} saved", va="center", fontsize=8.5)
    left.set_yticks(range(len(rows)), list(names))
    right.set_yticks(range(len(rows)), [""] * len(rows))
    for ax in (left, right):
        ax.invert_yaxis()
    left.set(xlabel="total cost (dollars); dashed: people only", xlim=(0, 1.3 * max(row["humans"] for row in rows)))
    right.set(xlabel="share of X labelled by the machine", xlim=(0, 1))
    left.xaxis.set_major_formatter(DOLLARS)
    left.xaxis.set_major_locator(MaxNLocator(5))
    right.xaxis.set_major_formatter(PERCENT)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


@use_style()
def compared(rows: Sequence[Row], quantity: str, names: Sequence[str], title: str) -> Figure:
    """A table as a picture: ours (points, with the range over seeds) and the paper's (diamonds) of a share."""
    figure, ax = plots.axes(None, (7.2, 1.3 + 0.34 * len(rows)))
    for y, row in enumerate(rows):
        mean, low, high = (row[f"ours_{quantity}{end}"] for end in ("", "_low", "_high"))
        ax.plot([low, high], [y, y], color=COLOURS["B"], linewidth=2)
        ax.plot(mean, y, "o", color=COLOURS["B"], label="ours, range over seeds" if y == 0 else None)
        if row[f"paper_{quantity}"] != "":
            ax.plot(row[f"paper_{quantity}"], y, "D", color="black", markerfacecolor="white",
                    label="the paper" if y == 0 else None)  # fmt: skip
    ax.set_yticks(range(len(rows)), list(names))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.axvline(0, color="0.7", linewidth=1, zorder=0)
    ax.grid(axis="y", color="0.92")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    plots.finish(ax, PERCENT, xlabel=quantity)
    ax.set_yticks(range(len(rows)), list(names))
    return figure


# ---------------------------------------------------------------------------------------------------------
# Laws


@use_style()
def laws(
    trajectory: Trajectory, thetas: Sequence[float], used: Sequence[int], forms: Sequence[str], title: str
) -> Figure:
    """Errors counted on T against |B|, with 95 % intervals, and laws fitted to the first points (figures 2, 3 and 22
    to 27): a panel for each theta, colours by law, or by the points used if there are several numbers of them.
    Filled points were used by the last fit; bands are two standard errors."""
    figure, (axes,) = plots.grid(1, len(thetas), (max(3.7 * len(thetas), 6.4), 4.3))
    sizes = np.geomspace(trajectory.sizes[0], trajectory.sizes[-1] * 1.1, 120)
    shades = plots.shades("plasma", len(used))
    for ax, theta in zip(axes, thetas, strict=True):
        errors, tested = tables.counts(trajectory, theta)
        eps = errors / tested
        low, high = plots.interval(eps, tested)
        ax.errorbar(trajectory.sizes, eps, [eps - low, high - eps], fmt="o", color="black", markersize=4,
                    elinewidth=1, markerfacecolor="white", zorder=5, label="counted on T")  # fmt: skip
        ax.plot(trajectory.sizes[: max(used)], eps[: max(used)], "o", color="black", markersize=4, zorder=6)
        for form in forms:
            for points, shade in zip(used, shades, strict=True):
                law: Law = tables.fitted(trajectory, theta, points, form)
                own, style, name = LAW_STYLES[form]
                colour = own if len(used) == 1 else shade
                label = name if len(used) == 1 else f"{points} points" + (f", {name}" if len(forms) > 1 else "")
                ax.plot(sizes, powerlaw.predict([law], sizes)[:, 0], style, color=colour, label=label)
                if len(used) == 1:
                    ax.fill_between(sizes, *powerlaw.band(law, sizes), color=colour, alpha=0.13, linewidth=0)
        ax.set(title=f"θ = {percent(theta)}", ylim=(0, min(1.0, 1.35 * float(high.max()))))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        plots.finish(ax, plots.COUNT, PERCENT, columns=2 if len(thetas) == 1 else 1, xlabel="|B| (images)",
                      ylabel="error among the top θ of T")  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


@use_style()
def same_size(rows: Sequence[Row], title: str) -> Figure:
    """Figure 4: error of the images left among the top theta, against delta at the same |B|."""
    figure, ax = plots.axes(None, (7.2, 4.6))
    thetas = sorted({row["theta"] for row in rows})
    for theta, colour in zip(thetas, plots.shades("plasma", len(thetas)), strict=True):
        own = sorted((row for row in rows if row["theta"] == theta), key=lambda row: row["delta"])
        x, y, low, high = (
            np.array([row[key] for row in own]) for key in ("delta", "eps_left", "eps_left_low", "eps_left_high")
        )
        ax.errorbar(
            x, y, [y - low, high - y], fmt="o-", color=colour, capsize=2, elinewidth=1, label=f"θ = {percent(theta)}"
        )
    ax.set(title=title, ylim=(0, None))
    plots.finish(ax, PERCENT, PERCENT, columns=4, xlabel="batch δ (share of X)", ylabel="error among the top θ of U")
    return figure


@use_style()
def rankings(rows: Sequence[Row], shows: str, title: str) -> Figure:
    """Figures 5 and 6: accuracy, or margin, of the images left in the order of each acquisition function."""
    figure, ax = plots.axes(None, (7.2, 4.6))
    for by, own in grouped_rows(rows, "acquisition").items():
        colour, label, style = ACQUISITIONS[by]
        x, y, low, high = (
            np.array([row[key] for row in own]) for key in ("rank", shows, f"{shows}_low", f"{shows}_high")
        )
        ax.plot(x, y, style, color=colour, label=label)
        ax.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    ax.set(title=title, ylim=(0, 1.02), xlim=(0, 1))
    label = {"accuracy": "accuracy of the machine's labels", "margin": "mean margin"}[shows]
    form = PERCENT if shows == "accuracy" else FuncFormatter(lambda v, _: f"{v:.1f}")
    plots.finish(
        ax,
        PERCENT,
        form,
        columns=5,
        xlabel="images left, from the least wanted to the most wanted by M(.)",
        ylabel=label,
    )
    return figure


# ---------------------------------------------------------------------------------------------------------
# Figure 1


@use_style()
def schematic() -> Figure:
    """Figure 1: who labels what, drawn."""
    figure, ax = plots.axes(None, (8.6, 4.2))
    ax.set(xlim=(0, 10), ylim=(0, 5))
    ax.axis("off")
    boxes = {
        "X": (0.1, 1.5, 1.4, 2.0, "0.92", "X\nimages without\nlabels"),
        "T": (2.8, 3.7, 1.9, 1.0, COLOURS["T"], "T: test set\nat random"),
        "B": (2.8, 2.1, 1.9, 1.0, COLOURS["B"], "B: training set\nby M(.), δ at a time"),
        "U": (2.8, 0.4, 1.9, 1.0, "0.92", "U: all the rest"),
        "D": (5.6, 2.1, 1.7, 1.0, COLOURS["training"], "classifier D(B)"),
        "P": (5.6, 3.7, 1.7, 1.0, "white", "laws of ε and C\n→ |B|, θ, δ"),
        "S": (8.0, 1.5, 1.9, 1.0, COLOURS["S"], "S: machine\ntop θ by L(.)"),
        "R": (8.0, 0.2, 1.9, 1.0, COLOURS["R"], "R: people\nwhat is left"),
    }
    for x, y, w, h, colour, text in boxes.values():
        ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0.06", facecolor=colour, edgecolor="0.2"))
        dark = colour in (COLOURS["B"], COLOURS["training"], COLOURS["R"])
        ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    arrows = [
        ((1.6, 3.0), (2.7, 4.1), "people", (1.95, 3.75)), ((1.6, 2.5), (2.7, 2.6), "people", (2.15, 2.62)),
        ((1.6, 2.0), (2.7, 1.0), "", (0, 0)), ((4.8, 2.6), (5.5, 2.6), "train", (5.15, 2.68)),
        ((4.8, 4.2), (5.5, 4.2), "errors", (5.15, 4.28)), ((6.45, 3.2), (6.45, 3.6), "test", (6.75, 3.3)),
        ((5.5, 3.75), (4.8, 2.95), "next δ", (5.45, 3.2)), ((4.8, 0.8), (7.9, 0.6), "people", (6.35, 0.32)),
        ((4.8, 1.1), (7.9, 1.8), "", (0, 0)), ((7.4, 2.5), (7.9, 2.2), "label", (7.75, 2.62)),
    ]  # fmt: skip
    for start, end, text, (x, y) in arrows:
        ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color="0.25"))
        ax.text(x, y, text, ha="center", va="bottom", fontsize=8.5, color="0.2")
    ax.set_title("MCAL: people label T, B and R, the machine labels S, at the least total cost")
    return figure


def grouped_rows(rows: Sequence[Row], key: str) -> dict[Any, list[Row]]:
    """Rows by the value of a column, in order of appearance."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


VERDICTS = {"holds": "#0072B2", "does not hold": "#D55E00", "not tested": "#999999"}


@use_style()
def verdicts(rows: Sequence[Row], title: str) -> Figure:
    """The claims, one a line, with their verdicts."""
    figure, ax = plots.axes(None, (9.6, 0.5 + 0.3 * len(rows)))
    marks = {"holds": "o", "does not hold": "X", "not tested": "s"}
    for y, row in enumerate(rows):
        verdict = row["ours_verdict"]
        ax.plot(0.01, y, marks[verdict], color=VERDICTS[verdict], markersize=8)
        ax.text(0.03, y, verdict, color=VERDICTS[verdict], va="center", fontsize=9.5)
        ax.text(0.16, y, row["paper_says"], va="center", fontsize=9.5)
    ax.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), title=title)
    ax.axis("off")
    return figure
