"""The picture of ``audit``: promised and possible shares, true errors, and the bias of T."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcal_jax import plots
from mcal_jax.paper.audit import CONSTRAINTS, THETA_OF, averaged, finest
from mcal_jax.paper.published import data_set_name
from mcal_jax.plots import COLOURS, PERCENT, READING_COLOURS, percent


@plots.use_style()
def picture(
    theta_rows: pd.DataFrame,
    constraint_rows: pd.DataFrame,
    estimate_rows: pd.DataFrame,
    epsilon: float,
    note: str = "",
) -> Figure:
    """A column for each data set, at its smallest delta, means over seeds: the promised and the possible share; the
    true error under either constraint; the bias of T in points, for several theta. All against |B|/|X|. The title
    is the largest bias; ``note`` stands below."""
    sets = list(theta_rows["data_set"].unique())
    figure, grid = plots.grid(3, len(sets), (1.6 + 3.0 * len(sets), 8.4))
    for column, data_set in enumerate(sets):
        thetas, constraints, estimates = (
            finest(rows[rows["data_set"] == data_set]) for rows in (theta_rows, constraint_rows, estimate_rows)
        )
        grid[0, column].set_title(data_set_name(data_set))
        _promised(grid[0, column], thetas)
        _delivered(grid[1, column], constraints, epsilon)
        _bias(grid[2, column], estimates)
    for ax in grid.flat:
        ax.xaxis.set_major_formatter(PERCENT)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    labels = ("|S|, share of X", "true error of all labels", "error on T less error on U\n(points)")
    for ax, label in zip(grid[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    for ax in grid[-1]:
        ax.set_xlabel("|B|, share of X")
    for ax in grid[:, -1]:
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    plots.headline(figure, _finding(estimate_rows), note)
    return figure


def _finding(estimate_rows: pd.DataFrame) -> str:
    """By how much T overestimates the error of the pool, all of either, at most."""
    whole = averaged(finest(estimate_rows[estimate_rows["theta"] == 1]), ("data_set", "B"), ("bias",))
    each = ", ".join(
        f"{bias:.1f} points on {data_set_name(data_set)}"
        for data_set, bias in whole.groupby("data_set", sort=False)["bias"].max().items()
    )
    return f"T overestimates the error of the remaining pool by up to {each}"


def _promised(ax: Axes, rows: pd.DataFrame) -> None:
    means = averaged(rows, ("theta_of", "B"), ("promised", "possible", "left")).sort_values("B")
    colours = {reading: READING_COLOURS[f"theta of {reading}"] for reading in THETA_OF}
    for reading, name in THETA_OF.items():
        own = means[means["theta_of"] == reading]
        ax.plot(own["B"], own["promised"], "o--", color=colours[reading], markersize=4, label=f"promised, {name}")
    own = means[means["theta_of"] == "remaining"]
    ax.plot(own["B"], own["possible"], "o-", color="black", markersize=4, label="possible, with the true labels")
    ax.plot(own["B"], own["left"], ":", color=COLOURS["humans only"], label="the remaining pool, |U|")
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PERCENT)


def _delivered(ax: Axes, rows: pd.DataFrame, epsilon: float) -> None:
    means = averaged(rows, ("constraint", "B"), ("true_error",)).sort_values("B")
    for constraint, mark in (("on_X", "o-"), ("on_S", "s-")):
        own = means[means["constraint"] == constraint]
        ax.plot(own["B"], own["true_error"], mark, color=READING_COLOURS[constraint], markersize=4,
                label=CONSTRAINTS[constraint])  # fmt: skip
    ax.axhline(epsilon, color=COLOURS["epsilon"], linestyle="--", linewidth=1, label=f"ε = {percent(epsilon)}")
    ax.set_ylim(0, max(1.35 * epsilon, 1.1 * means["true_error"].max()))
    ax.yaxis.set_major_formatter(PERCENT)


def _bias(ax: Axes, rows: pd.DataFrame) -> None:
    by_theta = averaged(rows, ("theta", "B"), ("bias",)).sort_values("B").groupby("theta")
    for (theta, own), colour in zip(by_theta, plots.shades("plasma", len(by_theta)), strict=True):
        ax.plot(own["B"], own["bias"], "o-", color=colour, markersize=4, label=f"top {percent(theta)} of each")
    ax.axhline(0, color="black", linewidth=1)
