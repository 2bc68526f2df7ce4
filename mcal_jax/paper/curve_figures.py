"""The figures of errors: laws fitted to learning curves, errors at the same |B|, and rankings of the pool."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mcal_jax import plots
from mcal_jax.algorithm import powerlaw
from mcal_jax.paper import curves
from mcal_jax.paper.figures import suptitle
from mcal_jax.paper.records import Trajectory
from mcal_jax.plots import PERCENT, percent, use_style

ACQUISITIONS = {
    "margin": ("#0072B2", "margin", "-"), "entropy": ("#009E73", "entropy", "--"),
    "least_confidence": ("#CC79A7", "least confidence", "-."), "kcenter": ("#D55E00", "k-center", "-"),
    "random": ("#777777", "random", ":"),
}  # fmt: skip
"""Colour, display name and line style of each acquisition function."""
LAW_STYLES = {"power": ("#D55E00", "--", "power law"), "truncated": ("#0072B2", "-", "truncated power law")}


@use_style()
def laws(
    trajectory: Trajectory, thetas: Sequence[float], used: Sequence[int], forms: Sequence[str], title: str
) -> Figure:
    """Errors counted on T against |B|, with 95 % intervals, and laws fitted to the first points (figures 2, 3 and 22
    to 27): a panel for each theta, colours by law, or by the points used if there are several numbers of them.
    Filled markers were used by the last fit; bands are two standard errors."""
    figure, (axes,) = plots.grid(1, len(thetas), (max(3.7 * len(thetas), 6.4), 4.3))
    for ax, theta in zip(axes, thetas, strict=True):
        errors, tested = curves.counts(trajectory, theta)
        eps = errors / tested
        low, high = plots.interval(eps, tested)
        ax.errorbar(trajectory.sizes, eps, [eps - low, high - eps], fmt="o", color="black", markersize=4,
                    elinewidth=1, markerfacecolor="white", zorder=5, label="counted on T")  # fmt: skip
        ax.plot(trajectory.sizes[: max(used)], eps[: max(used)], "o", color="black", markersize=4, zorder=6)
        for form in forms:
            _law_lines(ax, trajectory, theta, used, form, names_form=len(forms) > 1)
        ax.set(title=f"θ = {percent(theta)}", ylim=(0, min(1.0, 1.35 * float(high.max()))))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        plots.finish(ax, plots.COUNT, PERCENT, columns=2 if len(thetas) == 1 else 1, xlabel="|B| (images)",
                      ylabel="error among the top θ of T")  # fmt: skip
    suptitle(figure, title)
    return figure


def _law_lines(
    ax: Axes, trajectory: Trajectory, theta: float, used: Sequence[int], form: str, names_form: bool
) -> None:
    """The law of one form fitted to each number of points; the band is drawn of a single one."""
    sizes = np.geomspace(trajectory.sizes[0], trajectory.sizes[-1] * 1.1, 120)
    own, style, name = LAW_STYLES[form]
    for points, shade in zip(used, plots.shades("plasma", len(used)), strict=True):
        law = curves.fitted(trajectory, theta, points, form)
        single = len(used) == 1
        label = name if single else f"{points} points" + (f", {name}" if names_form else "")
        ax.plot(sizes, powerlaw.predict([law], sizes)[:, 0], style, color=own if single else shade, label=label)
        if single:
            ax.fill_between(sizes, *powerlaw.band(law, sizes), color=own, alpha=0.13, linewidth=0)


@use_style()
def same_size(rows: pd.DataFrame, title: str) -> Figure:
    """Figure 4: error of the remaining images among the top theta, against delta at the same |B|."""
    figure, ax = plots.axes(None, (7.2, 4.6))
    by_theta = rows.sort_values("delta").groupby("theta")
    for (theta, own), colour in zip(by_theta, plots.shades("plasma", len(by_theta)), strict=True):
        y, low, high = own["eps_left"], own["eps_left_low"], own["eps_left_high"]
        ax.errorbar(own["delta"], y, [y - low, high - y], fmt="o-", color=colour, capsize=2, elinewidth=1,
                    label=f"θ = {percent(theta)}")  # fmt: skip
    ax.set(title=title, ylim=(0, None))
    plots.finish(ax, PERCENT, PERCENT, columns=4, xlabel="batch size δ (share of X)",
                  ylabel="error among the top θ of U")  # fmt: skip
    return figure


@use_style()
def rankings(rows: pd.DataFrame, quantity: str, title: str) -> Figure:
    """Figures 5 and 6: accuracy, or margin, of the remaining images in the order of each acquisition function."""
    figure, ax = plots.axes(None, (7.2, 4.6))
    for acquisition, own in rows.groupby("acquisition", sort=False):
        colour, label, style = ACQUISITIONS[acquisition]
        ax.plot(own["rank"], own[quantity], style, color=colour, label=label)
        low, high = own[f"{quantity}_low"], own[f"{quantity}_high"]
        ax.fill_between(own["rank"], low, high, color=colour, alpha=0.12, linewidth=0)
    ax.set(title=title, ylim=(0, 1.02), xlim=(0, 1))
    label = {"accuracy": "accuracy of machine labels", "margin": "mean margin"}[quantity]
    form = PERCENT if quantity == "accuracy" else FuncFormatter(lambda v, _: f"{v:.1f}")
    plots.finish(ax, PERCENT, form, columns=5, ylabel=label,
                  xlabel="remaining images, from the last to the first choice of M(.)")  # fmt: skip
    return figure
