"""The pictures of one run: its plans, its fits, its sets and its bill.

Every function takes plain objects of the package and returns the Figure; most draw on ``ax`` if one is given. ``n`` is
|X|, the number of images to label.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcal_jax.algorithm import costs, powerlaw
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import TrainResult, trials
from mcal_jax.plots import style
from mcal_jax.plots.architectures import appearance
from mcal_jax.plots.style import COLOURS, COUNT, DOLLARS, PERCENT, use_style
from mcal_jax.plots.text import money, percent

SETS = {
    "T": "T, humans: test set", "B": "B, humans: training set", "V": "V, humans: certificate", "S": "S, machine",
    "R": "R, humans: the rest",
}  # fmt: skip
"""Legend labels of the sets."""

PARTS = {
    "test": ("T", "labels of T"), "train": ("B", "labels of B"), "certificate": ("V", "labels of V"),
    "residual": ("R", "labels of R"), "repeat": ("repeat", "second labels"),
    "training": ("training", "training"), "race": ("race", "training, lost races"),
}  # fmt: skip
"""Colour and legend label of each part of the bill (a field of ``Ledger``)."""

THETAS = (0.25, 0.5, 0.75, 1.0)
"""The theta whose laws are drawn by default."""

LAWS = {
    "power": "a power law", "truncated": "a truncated power law (Eqn 3)", "pow3": "a power law with a floor",
    "pow4": "a shifted power law with a floor",
}  # fmt: skip
"""What the laws are called, by their form."""

_THETA_LABELS = {"remaining": "share of the images not in T or B", "all": "share of all images"}
_TOTAL = "predicted total cost (US dollars)"


@use_style()
def cost_surface(plans: Sequence[Plan], n: int, config: Config, ax: Axes | None = None) -> Figure:
    """A figure of the cost surface of the last of ``plans`` (line 18): total cost by |B| (across) and theta (up).

    Grey: what the constraint forbids; the black line is its edge. Red ring: the optimum. White dots: |B| of each
    training so far, and the theta that the machine could have labelled then.
    """
    figure, ax = style.axes(ax, (7.2, 4.6))
    plan, surface = plans[-1], plans[-1].surface
    _fill_surface(ax, plans, n, config)
    edge = "largest θ allowed" if config.budget is None else "smallest θ within the budget"
    ax.plot(surface.sizes, surface.best_theta, color="black", linewidth=1.4, label=edge, zorder=3)
    ax.plot([p.size for p in plans], [p.theta_now for p in plans], "o-", color="0.35", linewidth=1,
            markerfacecolor="white", markersize=5, label="trained so far", zorder=4, clip_on=False)  # fmt: skip
    ax.plot(plan.B_opt, plan.theta, "o", markersize=13, markerfacecolor="none", markeredgewidth=2.2, zorder=5,
            color=COLOURS["best"], clip_on=False,
            label=f"optimum: |B| = {plan.B_opt:,}, θ = {percent(plan.theta)}, {money(plan.cost)}")  # fmt: skip
    limit = f"error ≥ ε = {percent(config.epsilon)}" if config.budget is None else f"over {money(config.budget)}"
    ax.plot([], [], "s", color="0.8", markersize=9, label=f"not allowed: {limit}")
    style.log_sizes(ax, plans[0].size, int(surface.sizes[-1]))
    ax.set(ylim=(0, 1), title=f"cost surface after {len(plans)} training{'s' * (len(plans) > 1)}")
    style.finish(ax, y=PERCENT, ylabel=f"θ, {_THETA_LABELS[config.theta_of]}\nthat the machine labels")
    return figure


def _fill_surface(ax: Axes, plans: Sequence[Plan], n: int, config: Config) -> None:
    """Draw total cost in colour, with a colour bar that marks the cost of humans only, and in grey what is forbidden:
    larger theta, or those that cost more than the budget."""
    surface, humans = plans[-1].surface, (n - plans[-1].owned.total) * config.label_price
    levels = MaxNLocator(12).tick_values(surface.cost.min(), max(humans, 1.02 * surface.least_cost.min()))
    sizes, cost, edge = surface.sizes, surface.cost.T, surface.best_theta
    if len(sizes) == 1:  # an area needs two columns
        sizes = np.array([plans[0].size / 1.08, sizes[0]])
        cost, edge = cost.repeat(2, axis=1), edge.repeat(2)
    colours = ax.contourf(sizes, surface.thetas, cost, levels, cmap="viridis_r", extend="max")
    bar = ax.figure.colorbar(colours, ax=ax, format=DOLLARS, label="total cost (US dollars)", pad=0.02)
    bar.ax.axhline(humans, color="white", linewidth=2)
    bar.ax.set_title(f"white line:\nhumans only\n{money(humans)}", fontsize=8)
    ax.fill_between(sizes, edge, 1 if config.budget is None else 0, color="#D9D9D9", zorder=2)


@use_style()
def cost_against_size(plans: Sequence[Plan], n: int, config: Config, ax: Axes | None = None) -> Figure:
    """A figure of C(|B|), the least total cost over theta (Eqn 1 and 4), against |B|, one curve for each plan.

    Dots: each plan's B_opt. Vertical dotted line: |B| of the last training. Dashed: humans label everything.
    """
    figure, ax = style.axes(ax, (7.2, 4.2))
    for i, (plan, colour) in enumerate(zip(plans, style.shades("Blues", len(plans)), strict=True)):
        last = i == len(plans) - 1
        label = "plan after the last training" if last else "earlier plans, from light to dark" if i == 0 else None
        ax.plot(plan.surface.sizes, plan.surface.least_cost, color=colour, linewidth=2.4 if last else 1.2, label=label)
        ax.plot(plan.B_opt, plan.cost, "o", color=colour, markeredgecolor="black", zorder=3,
                label=r"$B_{opt}$ of each plan" if last else None)  # fmt: skip
    style.humans_only_line(ax, n - plans[-1].owned.total, config)
    ax.axvline(plans[-1].size, color="black", linestyle=":", label=f"last training: |B| = {plans[-1].size:,}")
    style.log_sizes(ax, plans[0].size, int(plans[0].surface.sizes[-1]))
    ax.set(ylim=(0, _top(plans, n, config)), title="total cost against the size of the training set")
    style.finish(ax, y=DOLLARS, ylabel=_TOTAL)
    return figure


@use_style()
def plan_path(plans: Sequence[Plan], n: int, config: Config) -> Figure:
    """A figure of what each iteration decided (lines 13 to 23), in two panels over the number of the training.

    Above: |B|, B_opt and delta, in images; nothing is labelled after the last training. Below: C* and the cost of
    stopping now, in US dollars. Green: the iterations in which the plan is stable.
    """
    figure, ((above,), (below,)) = style.grid(2, 1, (6.4, 6.8))
    k = np.arange(1, len(plans) + 1)
    if len(plans) > 1:
        above.bar(k[:-1], [p.delta for p in plans[:-1]], color="0.8", label="δ, images to label next")
    above.plot(k, [p.size for p in plans], "s-", color=COLOURS["B"], label="|B|")
    above.plot(k, [p.B_opt for p in plans], "o--", color=COLOURS["best"], label=r"$B_{opt}$")
    above.set(ylim=(0, None), title="size of the training set")
    style.humans_only_line(below, n - plans[-1].owned.total, config)
    below.plot(k, [p.cost_now for p in plans], "s-", color=COLOURS["B"], label="if training stopped now")
    below.plot(k, [p.cost for p in plans], "o--", color=COLOURS["best"], label=r"$C^*$, if the plan is followed")
    below.set(ylim=(0, _top(plans, n, config)), title="predicted cost")
    stable = [i for i, plan in zip(k, plans, strict=True) if plan.stable]
    for ax, unit, form in ((above, "images", COUNT), (below, _TOTAL, DOLLARS)):
        if stable:
            span = (stable[0] - 0.5, len(plans) + 0.5)
            ax.axvspan(*span, color=COLOURS["stable"], alpha=0.12, zorder=0, label="plan is stable")
        ax.set_xlim(0.5, len(plans) + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.finish(ax, y=form, xlabel="iteration (training)", ylabel=unit)
    return figure


def _top(plans: Sequence[Plan], n: int, config: Config) -> float:
    """The upper end of a scale of dollars that holds every plan and the cost of humans only."""
    humans_only = (n - plans[-1].owned.total) * config.label_price
    return 1.15 * max(humans_only, *(max(plan.cost, plan.cost_now) for plan in plans))


@use_style()
def fits(
    history: Sequence[TrainResult], plan: Plan, config: Config, thetas: Sequence[float] = THETAS, ax: Axes | None = None
) -> Figure:
    """A figure of eps(S^theta(D(B))) against |B| for several theta (Eqn 3), on logarithmic scales.

    Points: errors counted on T after each training of ``history``, with Wilson's 95 % intervals; a triangle is the
    upper end of an interval without errors. Lines: the laws of ``plan`` with two standard errors on each side,
    extrapolated to all of X. ``thetas``, rising, are moved to the nearest values of ``config.thetas``. Each law is
    drawn as it was fitted; the search also makes the laws increase with theta.
    """
    figure, ax = style.axes(ax, (7.2, 4.6))
    size = np.array([fit.size for fit in history])
    sizes = np.geomspace(size.min(), plan.surface.sizes[-1], 100)
    lowest = config.epsilon
    for i, (theta, colour) in enumerate(zip(thetas, style.shades("plasma", len(thetas)), strict=True)):
        t = int(np.argmin(np.abs(config.thetas - theta)))
        offset = 1.015 ** (i - (len(thetas) - 1) / 2)  # otherwise the intervals of the theta hide each other
        label = "no errors: upper limit" if i == 0 else ""
        lowest = min(lowest, _counted_errors(ax, history, config.thetas[t], offset, colour, label))
        law = powerlaw.predict([plan.laws[t]], sizes)[:, 0]
        ax.plot(sizes, law, color=colour, label=f"θ = {percent(config.thetas[t])}")
        ax.fill_between(sizes, *powerlaw.band(plan.laws[t], sizes), color=colour, alpha=0.15, linewidth=0)
    style.epsilon_line(ax, config)
    ax.axvline(plan.size, color="black", linewidth=1, linestyle=":", label="|B| now")
    ax.set(yscale="log", ylim=(lowest / 4, 1), title=f"the error falls as {LAWS[plan.form]} of |B|")
    style.log_sizes(ax, int(size.min()), int(sizes[-1]))
    style.finish(ax, y=PERCENT, columns=4, ylabel="error among the most confident θ of T")
    return figure


def _counted_errors(
    ax: Axes, history: Sequence[TrainResult], theta: float, offset: float, colour: str, label: str
) -> float:
    """Draw the errors of one theta, at |B| times ``offset``; returns the lowest value drawn.

    ``label`` is the legend's for trainings without errors.
    """
    size = offset * np.array([fit.size for fit in history])
    tested = np.array([max(int(trials(theta, fit.n_test)), 1) for fit in history])
    p = np.array([fit.errors(theta) for fit in history]) / tested
    low, high = style.interval(p, tested)
    some = p > 0
    bars = np.abs([low - p, high - p])[:, some]
    ax.errorbar(size[some], p[some], bars, fmt="o", markersize=4, color=colour, elinewidth=1)
    shown = label if label and not some.all() else None
    ax.plot(size[~some], high[~some], "v", markersize=5, color=colour, markerfacecolor="none", label=shown)
    return float(min([*p[some], *high[~some]]))


@use_style()
def training_cost(
    history: Sequence[TrainResult], plan: Plan, architecture: str, config: Config, ax: Axes | None = None
) -> Figure:
    """A figure of the cost of each training against |B| (line 13), in US dollars.

    Dots: the trainings of ``history``. Dashed: the line learned from them. Steps: their sum so far.
    """
    figure, ax = style.axes(ax, (6.4, 3.8))
    size = np.array([fit.size for fit in history])
    cost = np.array([costs.training_cost(fit, architecture, config) for fit in history])
    c0, c1 = plan.rate
    name, colour, _ = appearance(architecture)
    x = np.array([0, size.max() * 1.08])
    ax.plot(x, c0 + c1 * x, color=colour, linewidth=1, linestyle="--",
            label=f"learned: {money(c0) + ' + ' if c0 else ''}{money(c1)} |B|")  # fmt: skip
    ax.plot(size, cost, "o", color=colour, label=f"{name}, each training")
    ax.step(size, cost.cumsum(), where="post", color=COLOURS["training"], label=f"sum so far: {money(cost.sum())}")
    ax.set(xlim=(0, x[1]), ylim=(0, None), title="cost of training")
    style.finish(ax, COUNT, DOLLARS, xlabel=style.SIZE_LABEL, ylabel="cost (US dollars)")
    return figure


@use_style()
def error_by_rank(fit: TrainResult, plan: Plan, n: int, config: Config, ax: Axes | None = None) -> Figure:
    """A figure of the classifier's error among its most confident theta of T (lines 6 and 15), against theta.

    Light blue: counted on T in ``fit``, with a 95 % interval. Dark blue: according to the laws of ``plan``. Orange:
    what the constraint holds below epsilon (Eqn 2). Dotted: the theta taken if training stops here.
    """
    figure, ax = style.axes(ax, (7.2, 4.2))
    ranks = np.arange(1, fit.n_test + 1)
    p, theta = np.searchsorted(fit.wrong, ranks) / ranks, ranks / max(fit.n_test, 1)
    ax.fill_between(theta, *style.interval(p, ranks), color=COLOURS["T"], alpha=0.3, linewidth=0)
    ax.plot(theta, p, color=COLOURS["T"], label=r"$\epsilon(S^\theta)$ counted on T, 95 % interval")
    laws = powerlaw.predict(plan.laws, np.array([plan.size]))[0]
    ax.plot(config.thetas, laws, "o", markersize=4, color=COLOURS["law"], clip_on=False,
            label=r"$\epsilon(S^\theta)$ by the laws (Eqn 3)")  # fmt: skip
    error = r"$|S|\,\epsilon(S)/|X|$" if config.constraint == "on_X" else r"$\epsilon(S)$"
    margin = f" + {config.safety_z:g} standard error{'s' * (config.safety_z != 1)}" if config.safety_z else ""
    ax.plot(plan.surface.thetas, plan.surface.error[0], color=COLOURS["S"], label=f"constrained: {error}{margin}")
    style.epsilon_line(ax, config)
    ax.axvline(plan.theta_now, color=COLOURS["S"], linestyle=":", clip_on=False,
               label=f"θ taken = {percent(plan.theta_now)}")  # fmt: skip
    # Among the first images of T a single error is a large share, so these do not set the scale.
    ax.set_ylim(0, 1.25 * max(config.epsilon, float(p[fit.n_test // 20 :].max(initial=0)), float(laws.max())))
    ax.set(xlim=(0, 1), title=f"error by confidence at |B| = {plan.size:,}")
    style.finish(ax, PERCENT, PERCENT, xlabel="θ, share of T, most confident first", ylabel="error")
    return figure


@use_style()
def sets(outcome: Outcome, ax: Axes | None = None) -> Figure:
    """A figure of how X was divided into T, B, S, R and, where the labels are certified, V: one bar of |X| images."""
    figure, ax = style.axes(ax, (7.2, 1.9))
    for key, name in SETS.items():
        if size := len(getattr(outcome, key)):
            style.stack(ax, [size], COLOURS[key], f"{name}: {size:,} ({percent(size / outcome.n)})")
    ax.set(xlim=(0, outcome.n), yticks=[], title=f"who labelled the {outcome.n:,} images")
    style.finish(ax, COUNT, xlabel="images")
    return figure


@use_style()
def ledger(outcome: Outcome, others: Mapping[str, Outcome] | None = None, ax: Axes | None = None) -> Figure:
    """A figure of the bill by part (Eqn 1), in US dollars, above what humans labelling everything would cost.

    ``others`` are more runs of the same job by name, drawn below; the amounts in the legend are those of ``outcome``.
    """
    bills = {"MCAL": outcome.ledger} | {name: other.ledger for name, other in (others or {}).items()}
    figure, ax = style.axes(ax, (7.2, 1.6 + 0.5 * len(bills)))
    for part, (key, name) in PARTS.items():
        lengths = [getattr(bill, part) for bill in bills.values()]
        if any(lengths):
            style.stack(ax, lengths, COLOURS[key], f"{name}: {money(lengths[0])}")
    for y, bill in enumerate(bills.values()):
        ax.text(bill.total, y, f"  {money(bill.total)}, {percent(bill.savings)} saved", va="center")
    humans = outcome.ledger.humans_only
    ax.barh(len(bills), humans, 0.6, color=COLOURS["humans only"])
    ax.text(humans, len(bills), f"  {money(humans)}", va="center")
    ax.set(xlim=(0, 1.3 * max(humans, *(bill.total for bill in bills.values()))), title="the bill")
    style.finish(ax, DOLLARS, xlabel="cost (US dollars)")
    ax.set_yticks(range(len(bills) + 1), [*bills, "humans only"])
    ax.invert_yaxis()
    return figure
