"""The picture of ``audit``: promised and possible shares, true errors, and the bias of T."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcal_jax import plots
from mcal_jax.paper.audit import CONSTRAINTS, THETA_OF, averaged, finest
from mcal_jax.paper.panel_rows import legend_below, panel_rows
from mcal_jax.paper.published import data_set_name
from mcal_jax.plots import COLOURS, PERCENT, READING_COLOURS, percent

NOTE = (
    "X: all images; T: test set; B: training set; U: the images that remain; S: those that the machine labels. "
    "Top: the largest S for which the errors on T promise an error below ε, if θ, the share that the machine labels, "
    "is one of X or of U; and the largest S by the true labels. Middle: the error of all labels if ε bounds that of X "
    "or that of S. Bottom: how much larger the error is on the most confident images of T than on that share of U."
)


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
    is the largest bias; ``note`` stands below it."""
    sets = list(theta_rows["data_set"].unique())
    figure, rows = panel_rows(len(sets), (3.1, 2.8, 2.9))
    for column, data_set in enumerate(sets):
        thetas, constraints, estimates = (
            finest(rows[rows["data_set"] == data_set]) for rows in (theta_rows, constraint_rows, estimate_rows)
        )
        above, middle, below = (axes[column] for _, axes in rows)
        above.set_title(data_set_name(data_set))
        _promised(above, thetas)
        _delivered(middle, constraints, epsilon)
        _bias(below, estimates)
    labels = ("|S|, share of X", "true error of all labels", "error on T less\nerror on U (points)")
    for (row, axes), label in zip(rows, labels, strict=True):
        axes[0].set_ylabel(label)
        for ax in axes:
            ax.xaxis.set_major_formatter(PERCENT)
            ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
            ax.tick_params(axis="x", labelsize=8.5)
        legend_below(row, axes[-1])
    for ax in rows[-1][1]:
        ax.set_xlabel("|B|, share of X")
    plots.headline(figure, _finding(estimate_rows), "\n".join(filter(None, [f"{NOTE} {_batches(theta_rows)}", note])))
    return figure


def _finding(estimate_rows: pd.DataFrame) -> str:
    """By how much T overstates the error of all the images that remain, at most."""
    whole = averaged(finest(estimate_rows[estimate_rows["theta"] == 1]), ("data_set", "B"), ("bias",))
    each = ", ".join(
        f"{bias:.1f} points on {data_set_name(data_set)}"
        for data_set, bias in whole.groupby("data_set", sort=False)["bias"].max().items()
    )
    return f"T overstates the error of all the remaining images by up to {each}"


def _batches(rows: pd.DataFrame) -> str:
    """The batch size that is drawn of each data set."""
    deltas = dict.fromkeys(map(percent, finest(rows)["delta"]))
    return f"Batches of {' or '.join(deltas)} of X, means over seeds."


def _promised(ax: Axes, rows: pd.DataFrame) -> None:
    means = averaged(rows, ("theta_of", "B"), ("promised", "possible", "left")).sort_values("B")
    colours = {reading: READING_COLOURS[f"theta of {reading}"] for reading in THETA_OF}
    for (reading, name), mark in zip(THETA_OF.items(), ("o--", "s:"), strict=True):
        own = means[means["theta_of"] == reading]
        ax.plot(own["B"], own["promised"], mark, color=colours[reading], markersize=4, label=f"promised, {name}")
    own = means[means["theta_of"] == "remaining"]
    ax.plot(own["B"], own["possible"], "D-", color="black", markersize=3, label="possible, by the true labels")
    ax.plot(own["B"], own["left"], color=COLOURS["humans only"], linewidth=1, label="all of U")
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
        ax.plot(own["B"], own["bias"], "o-", color=colour, markersize=4, label=_most_confident(theta))
    ax.axhline(0, color="black", linewidth=1)


def _most_confident(theta: float) -> str:
    return "all of T and U" if theta == 1 else f"most confident {percent(theta)}"
