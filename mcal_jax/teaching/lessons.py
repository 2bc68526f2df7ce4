"""What the teaching notebooks compute and draw beyond ``plots``: learning curves and their noise, the plan of somebody
who knows the curve, and what acquisition functions select. The figures are in the style of ``plots``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcal_jax.algorithm import acquisition, costs, planner, powerlaw
from mcal_jax.algorithm.acquisition import PoolView, Scores
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Law, Plan, Surface
from mcal_jax.algorithm.protocol import Indices, Train, TrainResult, trials
from mcal_jax.data import Dataset
from mcal_jax.plots import run as plots
from mcal_jax.training.kcenter import k_center
from mcal_jax.worlds.simulated import Curve, SimulatedWorld

if TYPE_CHECKING:
    from mcal_jax.training.programs import Model
    from mcal_jax.training.trainer import Trainer

CHOICES = {
    "margin": "#0072B2", "entropy": "#CC79A7", "least_confidence": "#E69F00", "kcenter": "#009E73", "random": "#777777",
}  # fmt: skip
PURPOSES = {"label_price": "price of a label", "epsilon": "bound ε", "test_fraction": "test set |T|, share of |X|"}
SIZES = 200  # points of a known cost surface along |B|
THETAS = np.arange(1, 501) / 500  # and along theta

# ---------------------------------------------------------------------------------------------------------
# Learning curves


def error(curve: Curve, theta: float, sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    """The true eps(S^theta(D(B))) at each of ``sizes``."""
    return np.array([float(curve.wrong_share(np.array(theta), float(size))) for size in sizes]) / theta


def trainings(curve: Curve, sizes: Sequence[int], n_test: int, seed: int = 0) -> list[TrainResult]:
    """What ``n_test`` test images show of classifiers trained on ``sizes`` labels, each time with fresh noise."""
    world, test = SimulatedWorld(n_test, curve, seed=seed, persistence=0), np.arange(n_test)
    # A simulated world only counts the images it trains on, so any will do.
    answers = [world.answer(Train(np.arange(size), test, "any"), number) for number, size in enumerate(sizes)]
    return [answer for answer in answers if isinstance(answer, TrainResult)]


def fit(history: Sequence[TrainResult], theta: float = 1.0, law: str = "truncated") -> Law:
    """The law of one theta alone, from the counts of ``history`` ("truncated" needs five trainings)."""
    tested = [int(trials(theta, training.n_test)) for training in history]
    errors = [int(training.errors(theta)) for training in history]
    return powerlaw.fit(np.array([training.size for training in history]), np.array(errors), np.array(tested), law=law)


def extrapolations(
    curve: Curve, sizes: Sequence[int], points: Sequence[int], n_test: int, far: int, seeds: Sequence[int]
) -> dict[str, list[float]]:
    """The law of theta = 1 fitted again and again, to the first ``points`` of ``sizes``, with the noise of each of
    ``seeds`` -> columns: mean and spread of gamma, and how many times the true error is predicted at ``far``."""
    rows = []
    truth = error(curve, 1.0, [far])[0]
    for count in points:
        laws = [fit(trainings(curve, sizes[:count], n_test, seed)) for seed in seeds]
        gammas = np.array([law.gamma for law in laws])
        ratios = np.array([powerlaw.predict([law], np.array([far]))[0, 0] for law in laws]) / truth
        inside = [low[0] <= truth <= high[0] for low, high in (powerlaw.band(law, np.array([far])) for law in laws)]
        low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9))
        rows.append((count, gammas.mean(), gammas.std(), low, middle, high, np.mean(inside)))
    names = ("points", "gamma", "spread_of_gamma", "ratio_10", "ratio_50", "ratio_90", "truth_in_band")
    return {name: list(map(float, column)) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


@plots.use_style()
def learning_curves(curves: Mapping[str, Curve], sizes: np.ndarray, theta: float = 1.0) -> Figure:
    """True learning curves, once on plain scales and once on logarithmic ones, where a power law is straight."""
    figure, (axes,) = plots._grid(1, 2, (9.6, 4))
    for ax, scale in zip(axes, ("plain scales", "logarithmic scales"), strict=True):
        for (name, curve), colour in zip(curves.items(), plots._shades("plasma", len(curves)), strict=True):
            ax.plot(sizes, error(curve, theta, sizes), color=colour, label=name)
        if scale == "logarithmic scales":
            ax.set_yscale("log")
            plots._log_sizes(ax, int(sizes[0]), int(sizes[-1]))
        else:
            ax.set(ylim=(0, None), xlabel=plots.SIZE)
        ax.set_title(scale)
        plots._finish(ax, y=plots.PERCENT, ylabel="error of the classifier")
    return figure


@plots.use_style()
def noise(curve: Curve, sizes: Sequence[int], n_tests: Sequence[int], draws: int = 20, seed: int = 0) -> Figure:
    """The same trainings measured with ``draws`` different test sets, one panel for each size of T."""
    figure, (axes,) = plots._grid(1, len(n_tests), (4.8 * len(n_tests), 4))
    line = np.geomspace(sizes[0] / 1.1, sizes[-1] * 1.1, 100)
    p = error(curve, 1.0, line)
    lowest = p.min() / 5  # a share of 0 has no place on a logarithmic scale: it is drawn here
    for ax, n_test in zip(axes, n_tests, strict=True):
        for draw in range(draws):
            shares = np.array([int(t.errors(1.0)) / n_test for t in trainings(curve, sizes, n_test, seed + draw)])
            label = f"counted on one of {draws} test sets" if not draw else None
            ax.plot(
                sizes, np.maximum(shares, lowest), "o", color=plots.COLOURS["T"], alpha=0.5, markersize=4, label=label,
                clip_on=False,
            )  # fmt: skip
        sd = np.sqrt(p * (1 - p) / n_test)
        low = np.maximum(p - 2 * sd, lowest)
        ax.fill_between(line, low, p + 2 * sd, color="0.85", label="two standard deviations")
        ax.plot(line, p, ":", color="black", label="truth")
        ax.set(yscale="log", ylim=(lowest, min(2 * p.max(), 1)), title=f"|T| = {n_test:,}")
        plots._log_sizes(ax, sizes[0], round(sizes[-1] * 1.1))
        plots._finish(ax, y=plots.PERCENT, ylabel="error")
    return figure


@plots.use_style()
def few_points(curve: Curve, histories: Sequence[Sequence[TrainResult]], largest: int) -> Figure:
    """The law of theta = 1 with two standard errors, from fewer and from more trainings, carried on to ``largest``."""
    figure, (axes,) = plots._grid(1, len(histories), (3.9 * len(histories), 4.2))
    for ax, history in zip(axes, histories, strict=True):
        size = np.array([training.size for training in history])
        sizes, law = np.geomspace(size[0], largest, 100), fit(history)
        share = np.array([int(training.errors(1.0)) / training.n_test for training in history])
        low, high = powerlaw.band(law, sizes)
        ax.fill_between(sizes, low, high, color=plots.COLOURS["law"], alpha=0.15, linewidth=0)
        ax.plot(sizes, powerlaw.predict([law], sizes)[:, 0], color=plots.COLOURS["law"], label=f"law: {law.form}")
        ax.plot(sizes, error(curve, 1.0, sizes), ":", color="black", label="truth")
        ax.plot(size, share, "o", color=plots.COLOURS["T"], label="counted on T")
        gamma = f"γ = {law.gamma:.2f} ± {np.sqrt(law.covariance[1, 1]):.2f}"
        ax.set(yscale="log", title=f"{len(history)} trainings: {gamma}")
        plots._log_sizes(ax, int(size[0]), largest)
        ax.xaxis.set_major_locator(plots.LogLocator(subs=(1,)))
        plots._finish(ax, y=plots.PERCENT, ylabel="error")
    _same_scale(axes, error(curve, 1.0, [largest])[0] / 1.5)
    return figure


def _same_scale(axes: Sequence[Axes], least: float) -> None:
    """One vertical scale for panels that are to be compared."""
    limits = [ax.get_ylim() for ax in axes]
    for ax in axes:
        ax.set_ylim(max(min(low for low, _ in limits), least), min(max(high for _, high in limits), 1))


# ---------------------------------------------------------------------------------------------------------
# Cost surfaces


def known_plan(n: int, curve: Curve, config: Config, architecture: str = "resnet18") -> Plan:
    """Line 18 for somebody who has labelled T and B_0, trained once, and knows the learning curve.

    As ``planner.search``, with the truth in the place of the laws; so the surface has no noise, and what a setting
    does to the optimum is seen by itself. |T| still counts: it is billed, and ``safety_z`` depends on it.
    """
    tests, size = planner.n_test(n, config), planner.n_seed(n, config)
    planner.check(n, architecture, config)
    spent = costs.expected_training_cost(size, architecture, config)
    rate = (0.0, spent / size)
    sizes = np.unique(np.geomspace(size, n - tests, SIZES).round().astype(int))
    thetas = THETAS
    eps = np.stack([curve.wrong_share(thetas, float(s)) for s in sizes]) / thetas
    rest = n - tests - sizes
    held = planner.constrained_error(n, rest[:, None], thetas, eps, tests, config)
    fixed = costs.labelling_cost(tests, sizes, config) + spent
    fixed = fixed + costs.retraining_cost(rate, size, sizes, np.ones(len(sizes)))
    by_hand = rest[:, None] - planner.machine_images(n, rest[:, None], thetas, config)
    dollars = fixed[:, None] + config.label_price * by_hand
    best = np.where(held < config.epsilon, thetas, 0.0).max(axis=1)
    cost = fixed + config.label_price * (rest - planner.machine_images(n, rest, best, config))
    at = int(np.argmin(cost))
    reached = float(held[at, np.searchsorted(thetas, best[at])]) if best[at] else 0.0
    surface = Surface(sizes, thetas, held, dollars, best, cost)
    return Plan(
        size, spent, rate, (), surface, int(sizes[at]), float(best[at]), float(cost[at]), float(cost[0]),
        float(best[0]), reached, float(cost[at]), 0, True, "known",
    )  # fmt: skip


def machine_share(n: int, plan: Plan, config: Config) -> float:
    """|S| / |X| at the optimum of ``plan``."""
    rest = n - planner.n_test(n, config) - plan.B_opt
    return float(planner.machine_images(n, rest, np.array(plan.theta), config)) / n


def break_even(n: int, plan: Plan, config: Config) -> float:
    """The price of a label, in dollars, at which the best plan costs as much as people alone: the least
    C_t(D(B)) / |S| over |B|. Infinite if the machine may label nothing at any |B|."""
    surface = plan.surface
    rest = n - planner.n_test(n, config) - surface.sizes
    machine = planner.machine_images(n, rest, surface.best_theta, config)
    training = plan.spent + costs.retraining_cost(plan.rate, plan.size, surface.sizes, np.ones(len(rest)))
    return float(np.min(training[machine > 0] / machine[machine > 0], initial=np.inf))


def sweep(n: int, curve: Curve, config: Config, setting: str, values: Sequence[float]) -> dict[str, list[float]]:
    """The optimum of the known cost surface for each value of a field of ``Config``, as columns."""
    rows = []
    for value in values:
        changed = config.model_copy(update={setting: float(value)})
        plan, humans = known_plan(n, curve, changed), n * changed.label_price
        row = (value, plan.B_opt / n, machine_share(n, plan, changed), plan.theta, plan.cost, plan.cost / humans)
        rows.append(row)
    names = (setting, "B_of_X", "S_of_X", "theta", "dollars", "of_people_only")
    return {name: list(map(float, column)) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


@plots.use_style()
def explored(plan: Plan, n: int, config: Config) -> Figure:
    """The cost surface, and beside it the same dollars by part against |B|, each with its largest theta allowed."""
    figure, ((left, right),) = plots._grid(1, 2, (12, 5))
    plots.cost_surface([plan], n, config, ax=left)
    left.set_title("cost surface")
    surface, tests = plan.surface, planner.n_test(n, config)
    rest = n - tests - surface.sizes
    price, humans = config.label_price, n * config.label_price
    residual = price * (rest - planner.machine_images(n, rest, surface.best_theta, config))
    test = np.full(len(rest), price * tests * config.bill_test_set)
    parts = {"test": test, "train": price * surface.sizes, "residual": residual}
    parts["training"] = surface.least_cost - sum(parts.values())
    right.stackplot(
        surface.sizes, *parts.values(), colors=[plots.COLOURS[plots.PARTS[part][0]] for part in parts],
        labels=[plots.PARTS[part][1] for part in parts], alpha=0.85,
    )  # fmt: skip
    plots._humans_only(right, n, config)
    right.plot(plan.B_opt, plan.cost, "o", markersize=13, markerfacecolor="none", markeredgewidth=2.2, zorder=5,
               color="black", label=f"optimum: {plots.money(plan.cost)}")  # fmt: skip
    plots._log_sizes(right, plan.size, int(surface.sizes[-1]))
    right.set(ylim=(0, 1.15 * max(humans, plan.cost)), title="dollars by part, with the largest θ allowed")
    plots._finish(right, y=plots.DOLLARS, ylabel="dollars")
    return figure


@plots.use_style()
def swept(tables: Sequence[Mapping[str, Sequence[float]]]) -> Figure:
    """What ``sweep`` found: a column of panels for each setting; above the sets, below the cost."""
    figure, grid = plots._grid(2, len(tables), (3.9 * len(tables), 6.4))
    for table, (above, below) in zip(tables, grid.T, strict=True):
        setting = next(iter(table))
        above.plot(table[setting], table["B_of_X"], "o-", markersize=4, color=plots.COLOURS["B"], label="|B| of X")
        above.plot(table[setting], table["S_of_X"], "o-", markersize=4, color=plots.COLOURS["S"], label="|S| of X")
        below.plot(table[setting], table["of_people_only"], "o-", markersize=4, color="black", label="best plan")
        below.axhline(1, color=plots.COLOURS["humans only"], linestyle="--", label="people only")
        for ax, top in ((above, 1), (below, 1.08)):
            ax.set(xscale="log", ylim=(0, top))
            form = plots.DOLLARS if setting == "label_price" else plots.PERCENT
            plots._finish(ax, x=form, y=plots.PERCENT, xlabel=PURPOSES[setting])
        above.set_title(PURPOSES[setting])
    grid[0, 0].set_ylabel("share of all images")
    grid[1, 0].set_ylabel("cost, of what people alone cost")
    return figure


# ---------------------------------------------------------------------------------------------------------
# What to label


class ScoredPool(NamedTuple):
    """A pool as one classifier sees it: ``orders`` holds, for each M(.), all positions in ``pool``, the most wanted
    first; ``wrong`` says where the classifier errs."""

    pool: Indices
    scores: Scores
    wrong: np.ndarray
    orders: dict[str, np.ndarray]

    def mean_margin(self, by: str, n: int) -> float:
        """Of the ``n`` images that ``by`` would have people label."""
        return float(self.scores.margin[self.orders[by][:n]].mean())

    def accuracy(self, by: str, theta: np.ndarray | float) -> np.ndarray:
        """Share of right labels among the fraction ``theta`` that ``by`` wants least."""
        right = np.cumsum(~self.wrong[self.orders[by][::-1]])
        count = np.maximum(trials(theta, len(self.pool)), 1)
        return right[count - 1] / count


def look(
    trainer: "Trainer", model: "Model", pool: Indices, labelled: Indices, truth: np.ndarray, seed: int
) -> ScoredPool:
    """Score ``pool`` with ``model`` and rank it by every acquisition function; ``truth`` [images] are true labels."""
    scores, features = trainer.score_with_features(model, pool)
    view = PoolView(
        len(pool),
        scores=scores,
        features=features,
        labelled_features=lambda: trainer.features(model, labelled),
        rng=np.random.default_rng(seed),
        k_center=k_center,
    )
    orders = {by: acquisition.select(by, len(pool), view) for by in acquisition.ACQUISITIONS}
    return ScoredPool(pool, scores, scores.label != truth[pool], orders)


def error_by_theta(scores: Scores, truth: np.ndarray, thetas: np.ndarray) -> np.ndarray:
    """The error among the most confident fraction, by L(.), of images whose true labels are ``truth``; [thetas]."""
    wrong = np.cumsum((scores.label != truth)[acquisition.rank_confident(scores)])
    count = np.maximum(trials(thetas, len(truth)), 1)
    return wrong[count - 1] / count


@plots.use_style()
def selected(dataset: Dataset, seen: ScoredPool, columns: int = 10) -> Figure:
    """The images that each M(.) wants labelled first, with what the classifier takes them for and its margin.

    In red where it errs; the true name is in brackets.
    """
    figure, grid = plots._grid(len(seen.orders), columns, (1.1 * columns + 1.5, 1.62 * len(seen.orders)))
    truth = None if dataset.labels is None else dataset.labels[seen.pool]
    for (by, order), axes in zip(seen.orders.items(), grid, strict=True):
        for ax, i in zip(axes, order[:columns], strict=False):
            plots.show_image(ax, dataset.images[seen.pool[i]])
            name = plots.class_name(dataset, seen.scores.label[i])
            name += f"\n({plots.class_name(dataset, truth[i])})" if truth is not None and seen.wrong[i] else ""
            ax.set_title(name, loc="center", fontsize=7, pad=2, color=plots.COLOURS["training"] if seen.wrong[i]
                         else "black")  # fmt: skip
            ax.set_xlabel(f"{seen.scores.margin[i]:.2f}", fontsize=7, labelpad=1)
            ax.set(xticks=[], yticks=[])
        axes[0].text(-0.15, 0.5, by.replace("_", "\n"), transform=axes[0].transAxes, ha="right", va="center",
                     fontsize=9, color=CHOICES[by], fontweight="bold")  # fmt: skip
    for ax in grid.flat:
        for spine in ax.spines.values():
            spine.set_visible(False)
        if not ax.images:
            ax.axis("off")
    plots.say_channels(figure, dataset)
    return figure


@plots.use_style()
def ranked(seen: ScoredPool, n: int) -> Figure:
    """How right the classifier is on the images that each M(.) wants least (as Fig. 5), and the margins of the ``n``
    images that it wants most (as Fig. 6)."""
    figure, ((left, right),) = plots._grid(1, 2, (10, 4.2))
    thetas = np.arange(2, 101) / 100
    for by in seen.orders:
        style: dict[str, Any] = {"color": CHOICES[by], "linestyle": "--" if by == "random" else "-", "label": by}
        left.plot(thetas, seen.accuracy(by, thetas), **style)
        margins = np.sort(seen.scores.margin[seen.orders[by][:n]])
        right.plot(margins, np.arange(1, len(margins) + 1) / len(margins), **style)
    left.set(xlim=(0, 1), title="images left to the machine")
    plots._finish(left, plots.PERCENT, plots.PERCENT, 3, xlabel="θ, share of the pool, least wanted first",
                  ylabel="accuracy")  # fmt: skip
    right.set(xlim=(0, 1), ylim=(0, 1), title=f"the {n:,} images that people would label")
    plain = plots.FuncFormatter(lambda value, _: f"{value:g}")
    plots._finish(right, plain, plots.PERCENT, 3, xlabel="margin of the classifier", ylabel="share with less margin")
    return figure


@plots.use_style()
def compared(errors: Mapping[str, np.ndarray], thetas: np.ndarray, held_out: int) -> Figure:
    """The error among the most confident theta of ``held_out`` images, for several classifiers, with 95 % bands.

    A classifier named after an M(.) has its colour.
    """
    figure, ax = plots._axes(None, (7.2, 4.4))
    count = np.maximum(trials(thetas, held_out), 1)
    for name, values in errors.items():
        colour = next((c for by, c in CHOICES.items() if by in name), plots.COLOURS["training"])
        ax.fill_between(thetas, *plots._interval(values, count), color=colour, alpha=0.15, linewidth=0)
        ax.plot(thetas, values, color=colour, label=name)
    ax.set(xlim=(0, 1), ylim=(0, None), title=f"{held_out:,} images held out, most confident first")
    plots._finish(ax, plots.PERCENT, plots.PERCENT, 1, xlabel="θ", ylabel="error among the most confident θ")
    return figure
