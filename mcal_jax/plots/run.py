"""The pictures: one style, one colour for one thing, one function for each family of figures.

Every function takes plain objects of the package and returns the Figure; most draw on ``ax`` if one is given.
Fractions are shown in per cent, money in US dollars. ``n`` is |X|.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from mcal_jax.algorithm import costs, planner, powerlaw
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Answer, Label, Labels, Request, TrainResult, trials
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError
from mcal_jax.plots.architectures import appearance
from mcal_jax.runs.runlog import Delivery

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

# Okabe and Ito's colours: people are blue and green, the machine is orange, training is red.
COLOURS = {
    "T": "#56B4E9", "B": "#0072B2", "R": "#009E73", "S": "#E69F00", "training": "#D55E00", "race": "#CC79A7",
    "humans only": "#777777", "best": "#D55E00", "law": "#0072B2", "epsilon": "#000000", "stable": "#009E73",
}  # fmt: skip
SETS = {"T": "T, people: test set", "B": "B, people: training set", "S": "S, machine", "R": "R, people: the rest"}
PARTS = {
    "test": ("T", "labels of T"), "train": ("B", "labels of B"), "residual": ("R", "labels of R"),
    "training": ("training", "training"), "race": ("race", "training, lost races"),
}  # fmt: skip
STYLE: dict[Any, Any] = {
    "figure.dpi": 110, "savefig.dpi": 160, "figure.constrained_layout.use": True,
    "figure.facecolor": "white", "axes.facecolor": "white", "axes.spines.top": False, "axes.spines.right": False,
    "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left", "axes.axisbelow": True,
    "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.8,
    "svg.hashsalt": "mcal", "svg.fonttype": "none",
}  # fmt: skip
COUNT = FuncFormatter(lambda value, _: f"{value:,.0f}")
DOLLARS = FuncFormatter(lambda value, _: money(value))
PERCENT = FuncFormatter(lambda value, _: percent(value))
SHARE_OF = {"remaining": "the images not in T or B", "all": "all images"}
THETAS = (0.25, 0.5, 0.75, 1.0)
SIZE = "training set |B| (images)"


@contextmanager
def use_style() -> Iterator[None]:
    """The style of every picture, for a ``with`` block; the functions below apply it themselves."""
    with mpl.rc_context(STYLE):
        yield


def money(dollars: float) -> str:
    """Dollars as text, with cents below $100. The sign is escaped, or pictures take two for a formula: ``markdown``
    shows it in a notebook, ``plain`` gives it back as it is."""
    sign, size = "-" if dollars < 0 else "", abs(dollars)
    if 0 < size < 0.01:
        return f"{sign}\\${size:.3g}"
    return f"{sign}\\${size:,.2f}" if size < 100 and round(size, 2) % 1 else f"{sign}\\${size:,.0f}"


def literal(name: str, longest: int = 60) -> str:
    """A name as it is, for pictures and ``markdown``: no dollars taken for a formula, in one line, not too long."""
    line = " ".join(name.split())
    return (line if len(line) <= longest else f"{line[: longest - 1]}…").replace("$", "\\$")


def plain(text: str) -> str:
    """Text of ``money`` and ``literal`` as a file or a terminal shows it."""
    return text.replace("\\$", "$")


def html(text: str) -> str:
    """Text of ``money`` and ``literal`` for Markdown and HTML.

    Jupyter's Markdown gives an escaped dollar to MathJax without its backslash, and MathJax sets whatever stands
    between two of them as a formula. It does not look for one across the ends of an element.
    """
    return text.replace("\\$", "<span>&#36;</span>")


def markdown(*paragraphs: str) -> "Markdown":
    """What a notebook shows of text and of ``table``, the dollars of ``money`` as dollars and $...$ as mathematics."""
    from IPython.display import Markdown

    return Markdown(html("\n\n".join(paragraphs)))


def percent(share: float) -> str:
    """A fraction as text in per cent, to three digits."""
    return f"{100 * share:.3g} %"


def table(data: "pd.DataFrame | Mapping[str, Sequence[Any]]") -> str:
    """A frame, or columns of equal length, as a Markdown table, for ``markdown``: numbers to three digits, those from
    1,000 on as whole ones."""
    import pandas as pd

    frame = pd.DataFrame(data)
    rows = [list(frame), ["---:"] * frame.shape[1], *frame.itertuples(index=False)]
    cells = [[" ".join(_cell(cell).replace("|", "\\|").split("\n")) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if 1000 <= abs(value) < math.inf else f"{value:.3g}"


def save(
    figure: Figure,
    folder: str | Path,
    name: str,
    data: "pd.DataFrame | Mapping[str, Sequence[Any]]",
    table: str | None = None,
) -> list[Path]:
    """Write the figure as ``name``.svg and .png and the ``data`` behind it, a frame or columns of equal length, as
    .csv under the same name or that of ``table``, numbers to eight digits.

    All three appear under their names, or none does. Raises McalError where the folder can't be written.
    """
    import pandas as pd

    folder = Path(folder)
    targets = {ending: folder / f"{name}.{ending}" for ending in ("svg", "png")}
    targets["csv"] = folder / f"{table or name}.csv"
    drafts = {ending: folder / f".{os.getpid()}.{name}.{ending}" for ending in targets}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        columns = pd.DataFrame(data).items()  # of objects, or whole numbers beside a missing one would become floats
        rounded = pd.DataFrame({name: pd.Series(map(_rounded, column), dtype=object) for name, column in columns})
        rounded.to_csv(drafts["csv"], index=False, encoding="utf-8", lineterminator="\n")
        with use_style():
            figure.savefig(drafts["svg"], metadata={"Date": None})
            figure.savefig(drafts["png"])
        for ending, target in targets.items():
            os.replace(drafts[ending], target)
    except OSError as error:
        raise McalError(f"can't write {error.filename or folder}: {error.strerror}") from None
    finally:
        for draft in filter(Path.exists, drafts.values()):
            draft.unlink()
    return list(targets.values())


def _rounded(value: Any) -> Any:
    return format(value, ".8g") if isinstance(value, float) and not math.isnan(value) else value


def infeasible(plan: Plan, config: Config) -> np.ndarray:
    """Where the surface breaks the constraint: Eqn 2, or in budget mode the budget; bool [sizes, thetas]."""
    surface = plan.surface
    return surface.error >= config.epsilon if config.budget is None else surface.cost > config.budget


@use_style()
def cost_surface(plans: Sequence[Plan], n: int, config: Config, ax: Axes | None = None) -> Figure:
    """Line 18: dollars of the whole job over |B| and theta, as the last of ``plans`` sees them.

    Shaded: what breaks the constraint; its edge is the feasible frontier. Ringed: the optimum. Dots: |B| of each
    training so far, and the theta that the machine could have labelled then.
    """
    figure, ax = _axes(ax, (7.2, 4.6))
    plan, surface, humans = plans[-1], plans[-1].surface, n * config.label_price
    levels = MaxNLocator(12).tick_values(surface.cost.min(), max(humans, 1.02 * surface.least_cost.min()))
    sizes, dollars, broken = surface.sizes, surface.cost.T, infeasible(plan, config).T
    if len(sizes) == 1:  # B is all that there is: a surface takes two columns
        sizes, dollars, broken = (
            np.array([plans[0].size / 1.08, sizes[0]]),
            dollars.repeat(2, axis=1),
            broken.repeat(2, axis=1),
        )
    filled = ax.contourf(sizes, surface.thetas, dollars, levels, cmap="viridis_r", extend="max")
    bar = ax.figure.colorbar(filled, ax=ax, format=DOLLARS, label="dollars of the whole job", pad=0.02)
    bar.ax.axhline(humans, color="white", linewidth=2)
    bar.ax.set_title(f"white line:\npeople only\n{money(humans)}", fontsize=8)
    shade = np.ma.masked_equal(broken, False)
    grey = ListedColormap(["#D9D9D9"])
    ax.pcolormesh(sizes, surface.thetas, shade, cmap=grey, alpha=0.93, zorder=2, rasterized=True)
    ax.plot(surface.sizes, surface.best_theta, color="black", linewidth=1.4, label="largest θ allowed", zorder=3)
    ax.plot([p.size for p in plans], [p.theta_now for p in plans], "o-", color="0.35", linewidth=1,
            markerfacecolor="white", markersize=5, label="trained so far", zorder=4, clip_on=False)  # fmt: skip
    ax.plot(plan.B_opt, plan.theta, "o", markersize=13, markerfacecolor="none", markeredgewidth=2.2, zorder=5,
            color=COLOURS["best"], clip_on=False,
            label=f"optimum: |B| = {plan.B_opt:,}, θ = {percent(plan.theta)}, {money(plan.cost)}")  # fmt: skip
    reason = f"error ≥ ε = {percent(config.epsilon)}" if config.budget is None else f"over {money(config.budget)}"
    ax.plot([], [], "s", color="0.8", markersize=9, label=f"not allowed: {reason}")
    _log_sizes(ax, plans[0].size, int(surface.sizes[-1]))
    ax.set(ylim=(0, 1), title=f"cost surface after {len(plans)} training{'s' * (len(plans) > 1)}")
    _finish(ax, y=PERCENT, ylabel=f"θ, share of {SHARE_OF[config.theta_of]}\nthat the machine labels")
    return figure


@use_style()
def cost_against_size(plans: Sequence[Plan], n: int, config: Config, ax: Axes | None = None) -> Figure:
    """C(|B|) of every plan, the least over theta (Eqn 1 and 4): predicted dollars if B were grown to |B| at once.

    Dots: each plan's B_opt. Dotted: the |B| where training stopped.
    """
    figure, ax = _axes(ax, (7.2, 4.2))
    for i, (plan, colour) in enumerate(zip(plans, _shades("Blues", len(plans)), strict=True)):
        last = i == len(plans) - 1
        label = "plan after the last training" if last else "earlier plans, from light to dark" if i == 0 else None
        ax.plot(plan.surface.sizes, plan.surface.least_cost, color=colour, linewidth=2.4 if last else 1.2, label=label)
        ax.plot(plan.B_opt, plan.cost, "o", color=colour, markeredgecolor="black", zorder=3,
                label=r"$B_{opt}$ of each plan" if last else None)  # fmt: skip
    _humans_only(ax, n, config)
    ax.axvline(plans[-1].size, color="black", linestyle=":", label=f"last training: |B| = {plans[-1].size:,}")
    _log_sizes(ax, plans[0].size, int(plans[0].surface.sizes[-1]))
    ax.set(ylim=(0, _top(plans, n, config)), title="total cost against the size of the training set")
    _finish(ax, y=DOLLARS, ylabel="predicted dollars of the whole job")
    return figure


@use_style()
def plan_path(plans: Sequence[Plan], n: int, config: Config) -> Figure:
    """What each iteration decided (lines 13 to 23): |B|, B_opt and delta; C* and the cost of stopping now."""
    figure, ((left, right),) = _grid(1, 2, (9.6, 3.8))
    k = np.arange(1, len(plans) + 1)
    left.bar(k, [p.delta for p in plans], color="0.8", label="δ, images to buy next")
    left.plot(k, [p.size for p in plans], "s-", color=COLOURS["B"], label="|B|")
    left.plot(k, [p.B_opt for p in plans], "o--", color=COLOURS["best"], label=r"$B_{opt}$")
    left.set(ylim=(0, None), title="size of the training set")
    _humans_only(right, n, config)
    right.plot(k, [p.cost_now for p in plans], "s-", color=COLOURS["B"], label="if training stopped now")
    right.plot(k, [p.cost for p in plans], "o--", color=COLOURS["best"], label=r"$C^*$, if the plan is followed")
    right.set(ylim=(0, _top(plans, n, config)), title="predicted cost")
    stable = [i for i, plan in zip(k, plans, strict=True) if plan.stable]
    for ax, unit, form in ((left, "images", COUNT), (right, "dollars of the whole job", DOLLARS)):
        if stable:
            ax.axvspan(
                stable[0] - 0.5, len(plans) + 0.5, color=COLOURS["stable"], alpha=0.12, zorder=0, label="plan is stable"
            )
        ax.set_xlim(0.5, len(plans) + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(ax, y=form, xlabel="iteration (training)", ylabel=unit)
    return figure


@use_style()
def fits(
    history: Sequence[TrainResult], plan: Plan, config: Config, thetas: Sequence[float] = THETAS, ax: Axes | None = None
) -> Figure:
    """Eqn 3, eps(S^theta(D(B))) against |B|: points counted on T with 95 % intervals (Wilson), and the laws of
    the plan with two standard errors on each side, extrapolated to all of X.

    ``thetas``, rising, are moved to the nearest point of the grid. No mistakes at all show as a triangle at the
    upper end of their interval. Each law is shown by itself: the search also makes them rise with theta.
    """
    figure, ax = _axes(ax, (7.2, 4.6))
    size = np.array([fit.size for fit in history])
    sizes = np.geomspace(size.min(), plan.surface.sizes[-1], 100)
    lowest = config.epsilon
    for i, (theta, colour) in enumerate(zip(thetas, _shades("plasma", len(thetas)), strict=True)):
        t = int(np.argmin(np.abs(config.thetas - theta)))
        tested = np.array([max(int(trials(config.thetas[t], fit.n_test)), 1) for fit in history])
        p = np.array([fit.errors(config.thetas[t]) for fit in history]) / tested
        low, high = _interval(p, tested)
        x = size * 1.015 ** (i - (len(thetas) - 1) / 2)  # side by side, or the intervals hide each other
        some = p > 0
        bars = np.abs([low - p, high - p])[:, some]
        ax.errorbar(x[some], p[some], bars, fmt="o", markersize=4, color=colour, elinewidth=1)
        label = "no mistakes: upper limit" if i == 0 and not some.all() else None
        ax.plot(x[~some], high[~some], "v", markersize=5, color=colour, markerfacecolor="none", label=label)
        law, label = powerlaw.predict([plan.laws[t]], sizes)[:, 0], f"θ = {percent(config.thetas[t])}"
        ax.plot(sizes, law, color=colour, label=label)
        ax.fill_between(sizes, *powerlaw.band(plan.laws[t], sizes), color=colour, alpha=0.15, linewidth=0)
        lowest = min([lowest, *p[some], *high[~some]])
    _epsilon(ax, config)
    ax.axvline(plan.size, color="black", linewidth=1, linestyle=":", label="|B| now")
    ax.set(yscale="log", ylim=(lowest / 4, 1), title="the error falls as a power law of |B| (Eqn 3)")
    _log_sizes(ax, int(size.min()), int(sizes[-1]))
    _finish(ax, y=PERCENT, columns=4, ylabel="error among the most confident θ of T")
    return figure


@use_style()
def training_cost(
    history: Sequence[TrainResult], plan: Plan, architecture: str, config: Config, ax: Axes | None = None
) -> Figure:
    """Line 13: the dollars of each training against |B|, the line learned from them, and what they add up to."""
    figure, ax = _axes(ax, (6.4, 3.8))
    size = np.array([fit.size for fit in history])
    dollars = np.array([costs.training_cost(fit, architecture, config) for fit in history])
    c0, c1 = plan.rate
    colour = appearance(architecture).colour
    x = np.array([0, size.max() * 1.08])
    ax.plot(x, c0 + c1 * x, color=colour, linewidth=1, linestyle="--",
            label=f"learned: {money(c0) + ' + ' if c0 else ''}{money(c1)} |B|")  # fmt: skip
    ax.plot(size, dollars, "o", color=colour, label=f"{architecture}, each training")
    ax.step(size, dollars.cumsum(), where="post", color=COLOURS["training"],
            label=f"together so far: {money(dollars.sum())}")  # fmt: skip
    ax.set(xlim=(0, x[1]), ylim=(0, None), title="cost of training")
    _finish(ax, COUNT, DOLLARS, xlabel=SIZE, ylabel="dollars")
    return figure


@use_style()
def error_by_rank(fit: TrainResult, plan: Plan, n: int, config: Config, ax: Axes | None = None) -> Figure:
    """The classifier's error among its most confident theta of T (lines 6 and 15), the law's idea of it, and what
    the constraint holds below epsilon (Eqn 2); dotted: the theta that the plan takes if training stops here."""
    figure, ax = _axes(ax, (7.2, 4.2))
    ranks = np.arange(1, fit.n_test + 1)
    p = np.searchsorted(fit.wrong, ranks) / ranks
    ax.fill_between(ranks / fit.n_test, *_interval(p, ranks), color=COLOURS["T"], alpha=0.3, linewidth=0)
    ax.plot(ranks / fit.n_test, p, color=COLOURS["T"], label=r"$\epsilon(S^\theta)$ counted on T, 95 % interval")
    laws = powerlaw.predict(plan.laws, np.array([plan.size]))[0]
    ax.plot(config.thetas, laws, "o", markersize=4, color=COLOURS["law"],
            label=r"$\epsilon(S^\theta)$ by the laws (Eqn 3)")  # fmt: skip
    held = r"$|S|\,\epsilon(S)/|X|$" if config.constraint == "on_X" else r"$\epsilon(S)$"
    margin = f", {config.safety_z:g} standard error{'s' * (config.safety_z != 1)} up" if config.safety_z else ""
    ax.plot(plan.surface.thetas, plan.surface.error[0], color=COLOURS["S"], label=f"constrained: {held}{margin}")
    _epsilon(ax, config)
    ax.axvline(plan.theta_now, color=COLOURS["S"], linestyle=":", clip_on=False,
               label=f"θ taken = {percent(plan.theta_now)}")  # fmt: skip
    # Among the first few images of T one mistake is 20 %: the scale is that of the rest.
    ax.set_ylim(0, 1.25 * max(config.epsilon, float(p[fit.n_test // 20 :].max()), float(laws.max())))
    ax.set(xlim=(0, 1), title=f"error by confidence at |B| = {plan.size:,}")
    _finish(ax, PERCENT, PERCENT, xlabel="θ, share of T, most confident first", ylabel="error")
    return figure


@use_style()
def sets(outcome: Outcome, ax: Axes | None = None) -> Figure:
    """How X was divided into T, B, S and R (Eqn 1)."""
    figure, ax = _axes(ax, (7.2, 1.9))
    for key, name in SETS.items():
        if size := len(getattr(outcome, key)):
            _stack(ax, [size], COLOURS[key], f"{name}: {size:,} ({percent(size / outcome.n)})")
    ax.set(xlim=(0, outcome.n), yticks=[], title=f"who labelled the {outcome.n:,} images")
    _finish(ax, COUNT, xlabel="images")
    return figure


@use_style()
def ledger(outcome: Outcome, others: Mapping[str, Outcome] | None = None, ax: Axes | None = None) -> Figure:
    """Eqn 1, dollars by part, with what training the losers of a race cost, beside people labelling everything.

    ``others`` are more runs of the same job by name; the numbers in the legend are of ``outcome``.
    """
    bars = {"MCAL": outcome.ledger} | {name: other.ledger for name, other in (others or {}).items()}
    figure, ax = _axes(ax, (7.2, 1.6 + 0.5 * len(bars)))
    for part, (key, name) in PARTS.items():
        lengths = [getattr(bill, part) for bill in bars.values()]
        if any(lengths):
            _stack(ax, lengths, COLOURS[key], f"{name}: {money(lengths[0])}")
    for y, bill in enumerate(bars.values()):
        ax.text(bill.total, y, f"  {money(bill.total)}, {percent(bill.savings)} saved", va="center")
    humans = outcome.ledger.humans_only
    ax.barh(len(bars), humans, 0.6, color=COLOURS["humans only"])
    ax.text(humans, len(bars), f"  {money(humans)}", va="center")
    ax.set(xlim=(0, 1.3 * max(humans, *(bill.total for bill in bars.values()))), title="the bill")
    _finish(ax, DOLLARS, xlabel="dollars")
    ax.set_yticks(range(len(bars) + 1), [*bars, "people only"])
    ax.invert_yaxis()
    return figure


@use_style()
def gallery(
    dataset: Dataset, finished: Delivery, steps: Sequence[tuple[Request, Answer]], columns: int = 10, seed: int = 0
) -> Figure:
    """Who labelled what: people at random (B_0), people as chosen by M(.) last, people at the end (R), the machine
    (S), and the machine's mistakes, with the name given and then the true one.

    ``steps`` are the run's requests and answers (``runlog.Replayed.steps``). Each row is a random sample.
    """
    bought = [a.indices for r, a in steps if isinstance(r, Label) and isinstance(a, Labels) and r.purpose == "train"]
    outcome, labels = finished.outcome, finished.labels
    truth = labels if dataset.labels is None else dataset.labels
    mistaken = outcome.S[labels[outcome.S] != truth[outcome.S]]
    rows = {
        "people: B, first,\nat random": (bought[0] if bought else outcome.B, "B"),
        "people: B, bought\nlast": (bought[-1] if len(bought) > 1 else outcome.B[:0], "B"),
        "people: R, too hard\nfor the machine": (outcome.R, "R"),
        "machine: S": (outcome.S, "S"),
        f"machine: its {len(mistaken):,}\nmistakes in S": (mistaken, "S"),
    }
    rows = {name: row for name, row in rows.items() if len(row[0])}
    figure, grid = _grid(len(rows), columns, (1.02 * columns + 1.4, 1.32 * len(rows)))
    rng = np.random.default_rng(seed)
    for ax in grid.flat:
        ax.axis("off")
    for (name, (indices, key)), axes in zip(rows.items(), grid, strict=True):
        for ax, i in zip(axes, rng.choice(indices, min(columns, len(indices)), replace=False), strict=False):
            given, true = (class_name(dataset, label[i]) for label in (labels, truth))
            wrong = labels[i] != truth[i]
            ax.set_title(f"{given}\n({true})" if wrong else given, loc="center", fontsize=7,
                         color=COLOURS["training"] if wrong else "black", pad=2)  # fmt: skip
            show_image(ax, dataset.images[i])
        axes[0].text(-0.15, 0.5, name, transform=axes[0].transAxes, ha="right", va="center", fontsize=9,
                     color=COLOURS[key], fontweight="bold")  # fmt: skip
    say_channels(figure, dataset)
    return figure


def show_image(ax: Axes, image: np.ndarray) -> None:
    """Draw an image [height, width, channels]: grey or in colours, of other numbers of channels their mean."""
    channels = image.shape[-1]
    ax.imshow(image if channels == 3 else image.mean(axis=-1), cmap="gray_r" if channels == 1 else "gray")


def say_channels(figure: Figure, dataset: Dataset) -> None:
    """Say of images that can't be shown as they are what is shown in their place."""
    if (channels := dataset.images.shape[-1]) not in (1, 3):
        figure.suptitle(f"images of {channels} channels: their mean is shown, in grey", fontsize=9)


def class_name(dataset: Dataset, label: int) -> str:
    """The name of a class, for the title of a small picture."""
    return literal(dataset.classes[label], 18)


def _grid(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """A new figure and its axes [rows, columns]. It is closed for pyplot, or notebooks would show it twice."""
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    plt.close(figure)
    return figure, axes


def _axes(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    if ax is None:
        figure, axes = _grid(1, 1, size)
        return figure, axes[0, 0]
    return ax.get_figure(root=True), ax  # type: ignore[return-value]


def _interval(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval for a share ``p`` of ``n`` trials."""
    return 1 - planner.upper_limit(1 - p, n, 1.96), planner.upper_limit(p, n, 1.96)


def _shades(name: str, count: int) -> list[Any]:
    """Colours of things in an order, from light to dark, none too pale to see."""
    span = (0.35, 0.9) if name == "Blues" else (0.85, 0.1)
    return list(mpl.colormaps[name](np.linspace(*span, max(count, 2))))[:count]


def _humans_only(ax: Axes, n: int, config: Config) -> None:
    dollars = n * config.label_price
    ax.axhline(dollars, color=COLOURS["humans only"], linestyle="--", label=f"people only: {money(dollars)}")


def _epsilon(ax: Axes, config: Config) -> None:
    """The bound on the error; a budget has none."""
    if config.budget is None:
        label = f"ε = {percent(config.epsilon)}"
        ax.axhline(config.epsilon, color=COLOURS["epsilon"], linestyle="--", linewidth=1, label=label)


def _top(plans: Sequence[Plan], n: int, config: Config) -> float:
    """A scale of dollars that holds every plan and the cost of people alone."""
    return 1.15 * max(n * config.label_price, *(max(plan.cost, plan.cost_now) for plan in plans))


def _log_sizes(ax: Axes, smallest: int, largest: int) -> None:
    ax.set(xscale="log", xlim=(smallest / 1.08, largest), xlabel=SIZE)
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_formatter(NullFormatter())
    if largest < 2 * smallest:
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))  # less than an octave has too few round numbers


def _stack(ax: Axes, lengths: Sequence[float], colour: str, label: str) -> None:
    """The next part of the bars at 0, 1, ..., from where each ends by now."""
    ends = [sum(part[y].get_width() for part in ax.containers) for y in range(len(lengths))]
    ax.barh(range(len(lengths)), lengths, 0.6, left=ends, color=colour, edgecolor="white", linewidth=0.8, label=label)


def _finish(ax: Axes, x: FuncFormatter = COUNT, y: FuncFormatter = COUNT, columns: int = 2, **labels: str) -> None:
    """Axis labels and how their numbers are written, and a legend half an inch below, where it covers nothing."""
    ax.set(**labels)
    ax.xaxis.set_major_formatter(x)
    ax.yaxis.set_major_formatter(y)
    below = ax.transAxes + ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, ncols=columns)
