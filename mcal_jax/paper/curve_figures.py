"""The figures of errors: laws fitted to learning curves, errors at the same |B|, and rankings of the pool."""

from collections.abc import Container, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mcal_jax import plots
from mcal_jax.algorithm import powerlaw
from mcal_jax.paper import curves, notes
from mcal_jax.paper.figures import WIDTH, delta_axis
from mcal_jax.paper.published import data_set_name
from mcal_jax.paper.records import Trajectory
from mcal_jax.plots import ACQUISITION_COLOURS, COLOURS, PERCENT, percent, use_style
from mcal_jax.plots.labels import Label

ACQUISITIONS = {
    "margin": ("margin", "-"), "entropy": ("entropy", "--"), "least_confidence": ("least confidence", "-."),
    "kcenter": ("k-center", "-"), "random": ("random", ":"),
}  # fmt: skip
"""Display name and line style of each acquisition function."""
LAWS: dict[str, tuple[str, Literal["-", "--"], str, str]] = {
    "power": (COLOURS["power law"], "--", "s", "power law"),
    "truncated": (COLOURS["law"], "-", "o", "truncated power law"),
}
"""Colour, line style, marker of residuals and display name of each form of a law."""
THOUSANDS = FuncFormatter(lambda value, _: f"{value / 1000:g}")
POINTS = FuncFormatter(lambda value, _: f"{100 * value:+.2g}".replace("-", "−") if value else "0")
COINCIDE = 0.0005
"""Laws closer than this (a twentieth of a point) all along are drawn as one line."""


class Fit(NamedTuple):
    """A panel of ``laws``: laws fitted to the first ``used`` trainings of a trajectory, for one theta."""

    trajectory: Trajectory
    theta: float
    used: int
    title: str


def panels(trajectories: Sequence[Trajectory], thetas: Sequence[float], used: Sequence[int]) -> list[list[Fit | None]]:
    """The panels of ``laws``: a column for each theta if there is one number of points, else for each number of them
    that any of the trajectories has, with a row for each trajectory and theta."""
    if len(used) == 1:
        return [
            [Fit(one, theta, curves.usable(one, used)[0], f"θ = {percent(theta)}") for theta in thetas]
            for one in trajectories
        ]
    numbers = {
        id(one): [points for points in used if points <= len(one.fits)] or curves.usable(one, used)
        for one in trajectories
    }
    columns = sorted({points for own in numbers.values() for points in own})
    names = {id(one): f"{data_set_name(one.data_set)}\n" if len(trajectories) > 1 else "" for one in trajectories}
    return [
        [
            Fit(one, theta, points, f"{names[id(one)] if i == 0 else ''}{points} points")
            if points in numbers[id(one)]
            else None
            for i, points in enumerate(columns)
        ]
        for one in trajectories
        for theta in thetas
    ]


@use_style()
def laws(panels: Sequence[Sequence[Fit | None]], title: str, about: str = "") -> Figure:
    """Errors observed on T against |B|, with 95 % intervals, and both laws fitted to the first points (figures 2, 3 and
    22 to 27); below each panel, how far the observed errors are from the laws.

    Filled points were used by the fit, hollow ones on grey were held out. ``panels`` is a grid; None leaves a gap.
    """
    rows, columns = len(panels), len(panels[0])
    figure, grid = plots.grid(2 * rows, columns, (WIDTH, 0.5 + 3.3 * rows))
    grid[0, 0].get_gridspec().set_height_ratios([2, 1] * rows)
    forms: set[str] = set()
    for row, fits in enumerate(panels):
        pairs = grid[2 * row], grid[2 * row + 1]
        known = [fit for fit in fits if fit]
        limits = _error_limits(known)
        shown = [(fit, *axes) for fit, *axes in zip(fits, *pairs, strict=True) if fit]
        drawn = [_law_panel(above, below, fit, limits) for fit, above, below in shown]
        forms |= {form for own, _ in drawn for form in own}
        reach = 1.25 * max(largest for _, largest in drawn)
        for _, _, below in shown:
            below.set_ylim(-reach, reach)
        for gap in (ax for fit, *axes in zip(fits, *pairs, strict=True) if not fit for ax in axes):
            gap.axis("off")
        pairs[0][0].set_ylabel("error among\ntop θ of T")
        pairs[1][0].set_ylabel("observed\n− law\n(points)")
    for ax in grid[:, 1:].flat:
        ax.set_yticklabels([])
    notes.titled(figure, title, ["Vertical bars: 95 % intervals"], about, _law_key(forms))
    return figure


def _shares(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Shares of errors among the top theta of T, and of how many images; each [trainings]."""
    errors, tested = curves.counts(fit.trajectory, fit.theta)
    return errors / tested, tested


def _error_limits(fits: Sequence[Fit]) -> tuple[float, float]:
    """Limits that hold all intervals; from 0 where these reach far down."""
    spans = [plots.interval(*_shares(fit)) for fit in fits]
    low, high = min(float(low.min()) for low, _ in spans), max(float(high.max()) for _, high in spans)
    high += 0.35 * (high - low)
    return (0 if low < 0.4 * high else low - 0.1 * (high - low)), high


def _law_panel(above: Axes, below: Axes, fit: Fit, limits: tuple[float, float]) -> tuple[Sequence[str], float]:
    """Draws one fit and its residuals; returns the forms of the laws drawn, and the largest residual."""
    sizes, (eps, tested) = fit.trajectory.sizes, _shares(fit)
    low, high = plots.interval(eps, tested)
    held = np.arange(len(sizes)) >= fit.used
    above.errorbar(sizes, eps, [eps - low, high - eps], fmt="none", ecolor="black", elinewidth=1, zorder=4)
    above.plot(sizes[~held], eps[~held], "o", color="black", markersize=5, zorder=6)
    above.plot(sizes[held], eps[held], "o", color="black", markersize=5, markerfacecolor="white", zorder=6)
    x = np.geomspace(sizes[0], sizes[-1] * 1.06, 100)
    fitted = {form: curves.fitted(fit.trajectory, fit.theta, fit.used, form) for form in LAWS}
    lines = {form: powerlaw.predict([law], x)[:, 0] for form, law in fitted.items()}
    coincide = bool(np.abs(lines["power"] - lines["truncated"]).max() < COINCIDE)
    forms = ("truncated",) if coincide else ("truncated", "power")
    for form in forms:
        colour, style, marker, _ = LAWS[form]
        above.plot(x, lines[form], style, color=colour)
        residuals = eps - powerlaw.predict([fitted[form]], sizes)[:, 0]
        below.plot(sizes[~held], residuals[~held], marker, color=colour, markersize=4.5)
        below.plot(sizes[held], residuals[held], marker, color=colour, markersize=4.5, markerfacecolor="white")
    if coincide:
        above.text(0.97, 0.96, "both laws\ncoincide", transform=above.transAxes, ha="right", va="top", fontsize=8.5)
    below.axhline(0, color="0.5", linewidth=1, zorder=0)
    _held_out(above, below, sizes, fit)
    above.set(ylim=limits, title=fit.title)
    return forms, max(float(np.abs(eps - powerlaw.predict([law], sizes)[:, 0]).max()) for law in fitted.values())


def _held_out(above: Axes, below: Axes, sizes: np.ndarray, fit: Fit) -> None:
    """The axes of both panels, in thousands of images, grey where points were held out."""
    for ax, form in ((above, PERCENT), (below, POINTS)):
        ax.set_xlim(0.5 * sizes[0], sizes[-1] * 1.08)
        if fit.used < len(sizes):
            ax.axvspan(
                (sizes[fit.used - 1] + sizes[fit.used]) / 2, ax.get_xlim()[1], color="0.93", linewidth=0, zorder=-1
            )
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 4, 5, 10]))
        ax.xaxis.set_major_formatter(THOUSANDS)
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_formatter(form)
    above.set_xticklabels([])
    below.set_xlabel("|B| (1,000 images)", fontsize=8.5)


def _law_key(forms: Container[str]) -> tuple[list[Line2D], list[str]]:
    """Handles and labels of the points, and of the laws of these ``forms``."""
    points = [
        Line2D([], [], color="black", marker="o", markersize=5, linestyle="none", markerfacecolor=filling)
        for filling in ("black", "white")
    ]
    known = [law for form, law in LAWS.items() if form in forms]
    laws = [
        Line2D([], [], color=colour, linestyle=style, marker=marker, markersize=4.5)
        for colour, style, marker, _ in known
    ]
    return [*points, *laws], ["used by the fit", "held out (on grey)", *(name for *_, name in known)]


@use_style()
def same_size(rows: pd.DataFrame, title: str, about: str = "") -> Figure:
    """Figure 4: error of the remaining images among the top theta, against delta, a panel for each |B|, and how far
    apart its means are; bars are the range over seeds, and two points are not joined by a line."""
    panels = rows.sort_values("delta").groupby("size")
    figure, grid = plots.grid(len(panels), 1, (WIDTH, 0.6 + 2.3 * len(panels)))
    axes = grid[:, 0]
    top = 1.1 * rows["eps_left_high"].max()
    colours = dict(zip(sorted(set(rows["theta"])), plots.shades("plasma", rows["theta"].nunique()), strict=True))
    for ax, (size, panel) in zip(axes, panels, strict=True):
        labels = []
        for theta, own in panel.groupby("theta"):
            y, low, high = own["eps_left"], own["eps_left_low"], own["eps_left_high"]
            ax.errorbar(own["delta"], y, [y - low, high - y], fmt="o-" if len(own) > 2 else "o", color=colours[theta],
                        capsize=2, elinewidth=1, markersize=5)  # fmt: skip
            apart = f"θ = {percent(theta)}: {100 * (y.max() - y.min()):.1f} points"
            labels.append(Label(float(y.iloc[-1]), apart, "black"))
        ax.set(
            ylim=(0, top),
            xlim=(0.6 * rows["delta"].min(), 1.1 * rows["delta"].max()),
            title=f"|B| = {size:,.0f}",
        )
        delta_axis(ax, panel["delta"])
        ax.yaxis.set_major_formatter(PERCENT)
        plots.end_labels(ax, labels)
        ax.set_ylabel("error among the\ntop θ of U")
    plots.thin_numbers(axes)
    seeds = notes.are_seen((0, top), rows["eps_left_low"], rows["eps_left_high"], marked=True)
    marks = ["Points on the right: from the least to the largest error", f"Bars: {notes.RANGE}" if seeds else ""]
    notes.titled(figure, title, marks, about)
    return figure


@use_style()
def rankings(rows: pd.DataFrame, quantity: str, title: str, about: str = "") -> Figure:
    """Figures 5 and 6: accuracy, or margin, of the remaining images in the order of each acquisition function."""
    figure, ax = plots.axes(None, (WIDTH, 4.2))
    labels = []
    for acquisition, own in rows.groupby("acquisition", sort=False):
        (name, style), colour = ACQUISITIONS[acquisition], ACQUISITION_COLOURS[acquisition]
        ax.plot(own["rank"], own[quantity], style, color=colour)
        low, high = own[f"{quantity}_low"], own[f"{quantity}_high"]
        ax.fill_between(own["rank"], low, high, color=colour, alpha=0.12, linewidth=0)
        labels.append(Label(float(own[quantity].iloc[-1]), name, colour))
    ax.set(ylim=(0, 1.02), xlim=(0, 1), xlabel="remaining images, from the last to the first choice of M(.)")
    ax.set_ylabel({"accuracy": "accuracy of machine labels", "margin": "mean margin (0 to 1)"}[quantity])
    ax.xaxis.set_major_formatter(PERCENT)
    ax.yaxis.set_major_formatter(PERCENT if quantity == "accuracy" else FuncFormatter(lambda v, _: f"{v:.1f}"))
    plots.end_labels(ax, labels)
    seeds = notes.are_seen(ax.get_ylim(), rows[f"{quantity}_low"], rows[f"{quantity}_high"])
    notes.titled(figure, title, [f"Bands: {notes.RANGE}" if seeds else ""], about)
    return figure
