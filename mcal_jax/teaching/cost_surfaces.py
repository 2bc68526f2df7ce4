"""Lesson 2: the cost surface of a known learning curve, and how prices and bounds move its optimum."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcal_jax import plots
from mcal_jax.algorithm import costs, planner, stopping
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Plan, Surface
from mcal_jax.worlds.simulated import Curve

AXIS_LABELS = {
    "label_price": "price of a label (US dollars)",
    "epsilon": "bound ε",
    "test_fraction": "test set |T|, share of |X|",
}
SURFACE_SIZES = 200
"""Points along |B| of a known cost surface."""
SURFACE_THETAS = np.arange(1, 501) / 500


def known_plan(n: int, curve: Curve, config: Config, architecture: str = "resnet18") -> Plan:
    """The best plan (line 18) of a planner that knows the learning curve, has labelled T and B_0, and has trained once.

    The same as ``planner.search`` with the true curve in place of the fitted laws, so the surface has no noise.
    |T| still matters: T is billed, and the margin ``config.safety_z`` depends on it.
    """
    n_test, size = planner.n_test(n, config), planner.n_seed(n, config)
    planner.check(n, architecture, config)
    spent = costs.expected_training_cost(size, architecture, config)
    rate = (0.0, spent / size)
    sizes = np.unique(np.geomspace(size, n - n_test, SURFACE_SIZES).round().astype(int))
    remaining = n - n_test - sizes
    error = np.stack([curve.wrong_share(SURFACE_THETAS, float(s)) for s in sizes]) / SURFACE_THETAS
    constrained = planner.constrained_error(n, remaining[:, None], SURFACE_THETAS, error, n_test, config)
    fixed = costs.labelling_cost(n_test, sizes, config) + spent
    fixed = fixed + costs.retraining_cost(rate, size, sizes, np.ones(len(sizes)))
    residual = remaining[:, None] - planner.machine_images(n, remaining[:, None], SURFACE_THETAS, config)
    cost = fixed[:, None] + config.label_price * residual
    best = np.where(constrained < config.epsilon, SURFACE_THETAS, 0.0).max(axis=1)
    least = fixed + config.label_price * (remaining - planner.machine_images(n, remaining, best, config))
    at = int(np.argmin(least))
    error_at = float(constrained[at, np.searchsorted(SURFACE_THETAS, best[at])]) if best[at] else 0.0
    surface = Surface(sizes, SURFACE_THETAS, constrained, cost, best, least)
    return Plan(
        size, spent, rate, (), surface, int(sizes[at]), float(best[at]), float(least[at]), float(least[0]),
        float(best[0]), error_at, float(least[at]), 0, True, "known",
    )  # fmt: skip


def machine_share(n: int, plan: Plan, config: Config) -> float:
    """|S| / |X| at the optimum of ``plan``."""
    remaining = n - planner.n_test(n, config) - plan.B_opt
    return float(planner.machine_images(n, remaining, np.array(plan.theta), config)) / n


def break_even(n: int, plan: Plan, config: Config) -> float:
    """The label price, in US dollars, at which the best plan costs as much as humans only.

    It is the least C_t(D(B)) / |S| over |B|; infinite if the machine may label nothing at any |B|.
    """
    surface = plan.surface
    remaining = n - planner.n_test(n, config) - surface.sizes
    machine = planner.machine_images(n, remaining, surface.best_theta, config)
    training = plan.spent + costs.retraining_cost(plan.rate, plan.size, surface.sizes, np.ones(len(remaining)))
    return float(np.min(training[machine > 0] / machine[machine > 0], initial=np.inf))


def sweep(n: int, curve: Curve, config: Config, setting: str, values: Sequence[float]) -> dict[str, list[float]]:
    """The optimum of the known cost surface for each of ``values`` of a field of ``Config``, as columns.

    The first column is named ``setting``; then |B| and |S| as shares of |X|, theta, the cost in US dollars, and the
    cost as a share of that of humans only.
    """
    rows = []
    for value in values:
        changed = config.model_copy(update={setting: float(value)})
        plan, humans = known_plan(n, curve, changed), n * changed.label_price
        share = machine_share(n, plan, changed)
        rows.append((value, plan.B_opt / n, share, plan.theta, plan.cost, plan.cost / humans))
    names = (setting, "B_of_X", "S_of_X", "theta", "cost", "of_humans_only")
    return {name: list(map(float, column)) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def verdict(n: int, plan: Plan, config: Config) -> str:
    """What ``plan`` says to do, in a sentence for ``plots.markdown``."""
    humans = n * config.label_price
    if stopping.hopeless(n, plan, config):
        return f"Humans should label everything, for {plots.money(humans)}: no plan is cheaper."
    return (
        f"Train on |B| = {plan.B_opt:,} labels and let the machine label θ = {plots.percent(plan.theta)} of the rest: "
        f"{plots.money(plan.cost)} instead of {plots.money(humans)} ({plots.percent(1 - plan.cost / humans)} saved)."
    )


@plots.use_style()
def surface_and_parts(plan: Plan, n: int, config: Config) -> Figure:
    """A figure of a known plan. Left: the cost surface. Right: the cost by part against |B|, with the best theta."""
    figure, ((left, right),) = plots.grid(1, 2, (12, 5))
    plots.cost_surface([plan], n, config, ax=left)
    left.set_title("cost surface")
    draw_parts(right, plan, n, config)
    return figure


def draw_parts(ax: Axes, plan: Plan, n: int, config: Config) -> None:
    """Draw the cost of a known plan by part against |B|, at the largest theta allowed, with humans only and a ring at
    the optimum."""
    _stack_parts(ax, plan, n, config)
    plots.humans_only_line(ax, n, config)
    ax.plot(plan.B_opt, plan.cost, "o", markersize=13, markerfacecolor="none", markeredgewidth=2.2, zorder=5,
            color="black", label=f"optimum: {plots.money(plan.cost)}")  # fmt: skip
    plots.log_sizes(ax, plan.size, int(plan.surface.sizes[-1]))
    top = 1.15 * max(n * config.label_price, plan.cost)
    ax.set(ylim=(0, top), title="cost by part, with the largest θ allowed")
    plots.finish(ax, y=plots.DOLLARS, columns=3, ylabel="cost (US dollars)")


def _stack_parts(ax: Axes, plan: Plan, n: int, config: Config) -> None:
    """Draw the parts of the cost at the largest theta allowed, one above the other, against |B|."""
    surface, n_test, price = plan.surface, planner.n_test(n, config), config.label_price
    remaining = n - n_test - surface.sizes
    residual = price * (remaining - planner.machine_images(n, remaining, surface.best_theta, config))
    test = np.full(len(remaining), price * n_test * config.bill_test_set)
    parts = {"test": test, "train": price * surface.sizes, "residual": residual}
    parts["training"] = surface.least_cost - sum(parts.values())
    keys, labels = zip(*(plots.PARTS[part] for part in parts), strict=True)
    colours = [plots.COLOURS[key] for key in keys]
    ax.stackplot(surface.sizes, *parts.values(), colors=colours, labels=labels, alpha=0.85)


@plots.use_style()
def optimum_by_setting(tables: Sequence[Mapping[str, Sequence[float]]]) -> Figure:
    """A figure of the ``tables`` of ``sweep``, one column of panels each, against the setting.

    Top: |B| and |S| as shares of |X|. Bottom: the cost as a share of that of humans only.
    """
    figure, panels = plots.grid(2, len(tables), (3.9 * len(tables), 6.4))
    for table, (above, below) in zip(tables, panels.T, strict=True):
        setting = next(iter(table))
        above.plot(table[setting], table["B_of_X"], "o-", markersize=4, color=plots.COLOURS["B"], label="|B| of X")
        above.plot(table[setting], table["S_of_X"], "o-", markersize=4, color=plots.COLOURS["S"], label="|S| of X")
        below.plot(table[setting], table["of_humans_only"], "o-", markersize=4, color="black", label="best plan")
        below.axhline(1, color=plots.COLOURS["humans only"], linestyle="--", label="humans only")
        for ax, top in ((above, 1), (below, 1.08)):
            ax.set(xscale="log", ylim=(0, top))
            form = plots.DOLLARS if setting == "label_price" else plots.PERCENT
            plots.finish(ax, x=form, y=plots.PERCENT, xlabel=AXIS_LABELS[setting])
        above.set_title(AXIS_LABELS[setting])
    panels[0, 0].set_ylabel("share of all images")
    panels[1, 0].set_ylabel("cost, share of humans only")
    return figure
