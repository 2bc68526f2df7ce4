"""Lesson 1: learning curves, the noise of a test set, and fits of power laws to few points."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from mcal_jax import plots
from mcal_jax.algorithm import powerlaw
from mcal_jax.algorithm.plan import Law
from mcal_jax.algorithm.protocol import Train, TrainResult, trials
from mcal_jax.worlds.simulated import Curve, SimulatedWorld


def true_error(curve: Curve, theta: float, sizes: Sequence[float] | np.ndarray) -> np.ndarray:
    """eps(S^theta(D(B))) of ``curve`` at each |B| in ``sizes``; [sizes]."""
    return np.array([float(curve.wrong_share(np.array(theta), float(size))) for size in sizes]) / theta


def simulate_trainings(curve: Curve, sizes: Sequence[int], n_test: int, seed: int = 0) -> list[TrainResult]:
    """The results of training on ``sizes`` labels, each measured on a fresh test set of ``n_test`` images."""
    world, test = SimulatedWorld(n_test, curve, seed=seed, persistence=0), np.arange(n_test)
    # A simulated world only counts the images that it trains on, so any indices will do.
    answers = [world.answer(Train(np.arange(size), test, "any"), number) for number, size in enumerate(sizes)]
    return [answer for answer in answers if isinstance(answer, TrainResult)]


def fit(history: Sequence[TrainResult], theta: float = 1.0, law: str = "truncated") -> Law:
    """The law (Eqn 3) of one theta, fitted to the counts of ``history`` alone.

    "truncated" needs five trainings; with fewer, the plain power law is fitted.
    """
    tested = [int(trials(theta, training.n_test)) for training in history]
    errors = [int(training.errors(theta)) for training in history]
    return powerlaw.fit(np.array([training.size for training in history]), np.array(errors), np.array(tested), law=law)


def constants(law: Law) -> tuple[float, float, float]:
    """alpha, gamma and k of Eqn 3; k is infinite where ``law`` does not bend."""
    return float(np.exp(law.a) * law.B0**law.gamma), law.gamma, law.B0 / law.kappa if law.kappa else np.inf


def extrapolations(
    curve: Curve, sizes: Sequence[int], points: Sequence[int], n_test: int, target: int, seeds: Sequence[int]
) -> dict[str, list[float]]:
    """How well laws predict the error at |B| = ``target``, as columns with one row for each number of ``points``.

    For each seed a law of theta = 1 is fitted to the first ``points`` of ``sizes``. Columns: mean and spread of gamma
    over the seeds; the 10, 50 and 90 % quantiles of predicted / true error; the share of bands that hold the truth.
    """
    rows = []
    truth, at = true_error(curve, 1.0, [target])[0], np.array([target])
    for count in points:
        laws = [fit(simulate_trainings(curve, sizes[:count], n_test, seed)) for seed in seeds]
        gammas = np.array([law.gamma for law in laws])
        ratios = np.array([powerlaw.predict([law], at)[0, 0] for law in laws]) / truth
        in_band = [low[0] <= truth <= high[0] for low, high in (powerlaw.band(law, at) for law in laws)]
        quantiles = np.quantile(ratios, (0.1, 0.5, 0.9))
        rows.append((count, gammas.mean(), gammas.std(), *quantiles, np.mean(in_band)))
    names = ("points", "gamma", "spread_of_gamma", "ratio_10", "ratio_50", "ratio_90", "truth_in_band")
    return {name: list(map(float, column)) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


@plots.use_style()
def learning_curves(curves: Mapping[str, Curve], sizes: np.ndarray, theta: float = 1.0) -> Figure:
    """A figure of the true error of ``curves`` against |B|: on linear scales, and on logarithmic ones."""
    figure, (panels,) = plots.grid(1, 2, (9.6, 4))
    for ax, scale in zip(panels, ("linear scales", "logarithmic scales"), strict=True):
        for (name, curve), colour in zip(curves.items(), plots.shades("plasma", len(curves)), strict=True):
            ax.plot(sizes, true_error(curve, theta, sizes), color=colour, label=name)
        if scale == "logarithmic scales":
            ax.set_yscale("log")
            plots.log_sizes(ax, int(sizes[0]), int(sizes[-1]))
        else:
            ax.set(ylim=(0, None), xlabel=plots.SIZE_LABEL)
            ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.set_title(scale)
        plots.finish(ax, y=plots.PERCENT, ylabel="error of the classifier")
    return figure


@plots.use_style()
def noise(curve: Curve, sizes: Sequence[int], n_tests: Sequence[int], draws: int = 20, seed: int = 0) -> Figure:
    """A figure of errors counted on ``draws`` test sets against |B|, with the truth; one panel for each |T|."""
    figure, (panels,) = plots.grid(1, len(n_tests), (4.8 * len(n_tests), 4))
    line = np.geomspace(sizes[0] / 1.1, sizes[-1] * 1.1, 100)
    p = true_error(curve, 1.0, line)
    lowest = p.min() / 5  # where 0 errors are drawn, which have no place on a logarithmic scale
    for ax, n_test in zip(panels, n_tests, strict=True):
        for draw in range(draws):
            history = simulate_trainings(curve, sizes, n_test, seed + draw)
            shares = np.maximum([int(training.errors(1.0)) / n_test for training in history], lowest)
            label = f"counted on one of {draws} test sets" if not draw else None
            ax.plot(sizes, shares, "o", color=plots.COLOURS["T"], alpha=0.5, markersize=4, label=label, clip_on=False)
        sd = np.sqrt(p * (1 - p) / n_test)
        low = np.maximum(p - 2 * sd, lowest)
        ax.fill_between(line, low, p + 2 * sd, color="0.85", label="two standard deviations")
        ax.plot(line, p, ":", color="black", label="truth")
        ax.set(yscale="log", ylim=(lowest, min(2 * p.max(), 1)), title=f"|T| = {n_test:,}")
        plots.log_sizes(ax, sizes[0], round(sizes[-1] * 1.1))
        plots.finish(ax, y=plots.PERCENT, ylabel="error")
    return figure


@plots.use_style()
def few_points(curve: Curve, histories: Sequence[Sequence[TrainResult]], largest: int) -> Figure:
    """A figure of the law of theta = 1 and the truth against |B| up to ``largest``; one panel for each history.

    Dots: errors counted on T. Band: two standard errors of the law on each side.
    """
    figure, (panels,) = plots.grid(1, len(histories), (3.9 * len(histories), 4.2))
    for ax, history in zip(panels, histories, strict=True):
        size = np.array([training.size for training in history])
        sizes, law = np.geomspace(size[0], largest, 100), fit(history)
        share = np.array([int(training.errors(1.0)) / training.n_test for training in history])
        low, high = powerlaw.band(law, sizes)
        ax.fill_between(sizes, low, high, color=plots.COLOURS["law"], alpha=0.15, linewidth=0)
        ax.plot(sizes, powerlaw.predict([law], sizes)[:, 0], color=plots.COLOURS["law"], label=f"law: {law.form}")
        ax.plot(sizes, true_error(curve, 1.0, sizes), ":", color="black", label="truth")
        ax.plot(size, share, "o", color=plots.COLOURS["T"], label="counted on T")
        gamma = f"γ = {law.gamma:.2f} ± {np.sqrt(law.covariance[1, 1]):.2f}"
        ax.set(yscale="log", title=f"{len(history)} trainings: {gamma}")
        plots.log_sizes(ax, int(size[0]), largest)
        ax.xaxis.set_major_locator(LogLocator(subs=(1,)))
        plots.finish(ax, y=plots.PERCENT, ylabel="error")
    _share_scale(panels, true_error(curve, 1.0, [largest])[0] / 1.5)
    return figure


def _share_scale(panels: Sequence[Axes], lowest: float) -> None:
    """Give all panels the same vertical scale, from ``lowest`` or above up to 1 at most."""
    limits = [ax.get_ylim() for ax in panels]
    for ax in panels:
        ax.set_ylim(max(min(low for low, _ in limits), lowest), min(max(high for _, high in limits), 1))
