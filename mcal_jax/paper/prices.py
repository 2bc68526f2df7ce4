"""Recorded trajectories priced for other times and people: what active learning saves over a grid of prices.

A trajectory that stops after a training needs so many labels by people and so many images times epochs of training,
whatever they cost. Dollars are linear in both, so savings depend on the two prices only through their ratio.

``rate`` is dollars per image and epoch of ResNet18; the other nets cost as much more or less as the trajectory's own
training prices say. A retraining is billed for 200 epochs, the paper's recipe, whatever the runs really took.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mcal_jax import plots
from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import PerImageEpoch
from mcal_jax.paper import published
from mcal_jax.paper.records import Trajectory, grouped, stopped
from mcal_jax.plots import COLOURS, percent

EPOCHS = 200
"""Epochs that each retraining is billed for."""
UNIT = "resnet18"
"""The net whose image and epoch is the unit of training."""
SET_COLOURS = {"fashion_mnist": "#0072B2", "cifar10": "#D55E00", "cifar100": "#CC79A7"}
RATIOS = np.geomspace(1e-9, 1.0, 2001)
"""Dollars per image and epoch over dollars per label: where regimes are told apart."""
STOPS = {"hindsight": "stopped where cheapest", "met": "run until the machine may label the rest"}
"""When active learning ends: known in hindsight, or as in the paper's Table 2."""
LINES = {"hindsight": "-", "met": "--"}
Band = tuple[float, float]


class ResourceUse(NamedTuple):
    """What every stop of a trajectory needs: ``labels`` by people (T, B and R) and ``work``, images times epochs of
    training in units of a ResNet18's; and the true ``error`` of all labels. Arrays over the trainings after which
    one may stop."""

    data_set: str
    architecture: str
    delta: float
    seed: int
    n: int
    labels: np.ndarray
    work: np.ndarray
    error: np.ndarray


def needs(trajectory: Trajectory, *, best_stop: bool = True, **changes: Any) -> ResourceUse:
    """The labels and the training of a trajectory at each stop, with ``changes`` to its Config (epsilon, ...): the
    machine labels the largest theta that its mistakes on T allow.

    Without ``best_stop`` there is one stop, the paper's: the first classifier that may label all the rest, or the
    last one.
    """
    once = PerImageEpoch(dollars=1.0, epochs=EPOCHS)
    config = trajectory.config.model_copy(update={**changes, "label_price": 1.0, "training_price": once})
    bills = [stopped(trajectory, i, config) for i in range(len(trajectory.measured))]
    if not best_stop:
        bills = [next((bill for bill in bills if bill.met), bills[-1])]
    labels, work, error = (np.array([getattr(b, key) for b in bills]) for key in ("labels", "training", "true_error"))
    name = trajectory.data_set, trajectory.architecture, trajectory.delta, trajectory.run.seed, trajectory.n
    return ResourceUse(*name, labels, work * relative(trajectory), error)


def relative(trajectory: Trajectory) -> float:
    """What an image and epoch costs relative to ResNet18's, by the training prices of the run."""
    price = trajectory.config.training_price
    known = price.dollars if isinstance(price, PerImageEpoch) else 1.0
    return known[trajectory.architecture] / known[UNIT] if isinstance(known, dict) and known.get(UNIT) else 1.0


def rates(trajectory: Trajectory, rate: float) -> PerImageEpoch:
    """The training price that bills this trajectory at ``rate``, dollars per image and epoch of ResNet18."""
    return PerImageEpoch(dollars={trajectory.architecture: rate * relative(trajectory)}, epochs=EPOCHS)


def dollars(need: ResourceUse, label_prices: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """The least over all stops, known in hindsight; [label prices, rates], or the two broadcast if they are not
    vectors of a grid."""
    label_prices, rate = np.asarray(label_prices, float), np.asarray(rate, float)
    if label_prices.ndim == rate.ndim == 1:
        label_prices, rate = label_prices[:, None], rate[None]
    return (label_prices[..., None] * need.labels + rate[..., None] * need.work).min(-1)


class CheapestGrid(NamedTuple):
    """The best of a data set's nets and batches at each point of a grid. ``savings`` is 1 - dollars / humans only,
    negative where people alone are cheaper; ``choice`` is the position in ``names``, pairs of net and delta.

    ``seeds`` is how many seeds each name's dollars are the mean of."""

    savings: np.ndarray
    choice: np.ndarray
    names: tuple[tuple[str, float], ...]
    seeds: tuple[int, ...]

    @property
    def architectures(self) -> np.ndarray:
        return np.array([name for name, _ in self.names])[self.choice]

    @property
    def deltas(self) -> np.ndarray:
        return np.array([delta for _, delta in self.names])[self.choice]


def best(group: Sequence[ResourceUse], label_prices: np.ndarray, rate: np.ndarray) -> CheapestGrid:
    """The cheapest net and delta of one data set, by the mean over seeds of the share of humans' cost."""
    label_prices = np.asarray(label_prices, float)
    humans = label_prices[:, None] if label_prices.ndim == 1 == np.ndim(rate) else label_prices
    by_name: Mapping[Any, list[ResourceUse]] = grouped(group, "architecture", "delta")
    shares = np.stack([
        np.mean([dollars(need, label_prices, rate) / (need.n * humans) for need in same], axis=0)
        for same in by_name.values()
    ])  # fmt: skip
    choice = shares.argmin(0)
    return CheapestGrid(1 - shares.min(0), choice, tuple(by_name), tuple(len(same) for same in by_name.values()))


def regimes(group: Sequence[ResourceUse], ratios: np.ndarray = RATIOS) -> list[dict[str, Any]]:
    """Which net and delta are cheapest as training becomes dearer, a row for each: from which ``ratio`` on (dollars
    per image and epoch of ResNet18 over dollars per label), up to which, and the savings at both ends.

    Where nothing saves, people alone are cheapest, and the net is called "people only"."""
    found = best(group, np.ones_like(ratios)[:, None], ratios[:, None])
    savings, choice = found.savings[:, 0], found.choice[:, 0]
    pays = savings > 0
    state = np.where(pays, choice, -1)
    edges = np.flatnonzero(np.diff(state, prepend=state[0] - 1))
    rows = []
    for start, end in zip(edges, [*edges[1:], len(ratios)], strict=True):
        name, delta = found.names[state[start]] if state[start] >= 0 else ("people only", None)
        last = min(end, len(ratios) - 1)
        row = {"data_set": group[0].data_set, "architecture": name, "delta": delta}
        row |= {"from_ratio": float(ratios[start]), "to_ratio": float(ratios[last])}
        if delta:
            row |= {"savings_first": float(savings[start]), "savings_last": float(savings[end - 1])}
        rows.append(row)
    return rows


def break_even(group: Sequence[ResourceUse]) -> float:
    """The ratio of dollars per image and epoch of ResNet18 to dollars per label from which people alone are
    cheaper; 0 if they always are, infinite if never. A label price of rate / ratio is the least that pays."""
    from scipy.optimize import brentq

    def savings(log_ratio: float) -> float:
        return float(best(group, np.array(1.0), np.array(np.exp(log_ratio))).savings)

    low, high = np.log(1e-15), np.log(1e6)
    if savings(low) <= 0:
        return 0.0
    return float(np.exp(brentq(savings, low, high, xtol=1e-9))) if savings(high) < 0 else float("inf")


def present(dollars_an_hour: Sequence[float], images_a_second: Sequence[float]) -> Band:
    """The range of dollars per image and epoch of an accelerator: its price over its throughput, each from the
    least to the most."""
    return min(dollars_an_hour) / 3600 / max(images_a_second), max(dollars_an_hour) / 3600 / min(images_a_second)


def paper_rate(group: Sequence[Trajectory]) -> float:
    """Dollars per image and epoch of ResNet18 that Table 2 implies for these images; see ``costs.PAPER_PRICES``."""
    price = group[0].config.training_price
    known = price.dollars if isinstance(price, PerImageEpoch) else costs.PAPER_PRICES["colour"]
    return known.get(UNIT, costs.PAPER_PRICES["colour"][UNIT]) if isinstance(known, dict) else known


def conclusions(
    group: Sequence[ResourceUse], label_prices: Mapping[str, float], rate: Mapping[str, float]
) -> list[dict]:
    """The best net, delta and savings at each label price by name and each rate by name, a row for each pair.

    ``true_error`` is that of all labels there: what is best in hindsight had luck with T too.
    """
    rows = []
    for service, price in label_prices.items():
        for when, dollar in rate.items():
            found = best(group, np.array(price), np.array(dollar))
            name, delta = found.names[int(found.choice)]
            row = {"data_set": group[0].data_set, "labels": service, "label_price": price, "training": when}
            row |= {"rate": dollar, "architecture": name, "delta": delta, "savings": float(found.savings)}
            same = [need for need in group if (need.architecture, need.delta) == (name, delta)]
            stops = [int(np.argmin(price * need.labels + dollar * need.work)) for need in same]
            row["true_error"] = float(np.mean([need.error[at] for need, at in zip(same, stops, strict=True)]))
            rows.append(row | {"seeds": len(same)})
    return rows


def limits(
    break_evens: Mapping[str, Mapping[str, float]], paper_rates: Mapping[str, float], today: Band
) -> list[dict[str, Any]]:
    """The least dollars a label at which machine labelling pays, a row for each way to stop (a key of STOPS) and
    data set: at the paper's price of training and at both ends of today's. Infinite where it never does."""
    rows = []
    for stop, ratios in break_evens.items():
        for data_set, ratio in ratios.items():
            at = {"least_paper": paper_rates[data_set], "least_today_dear": today[1], "least_today_cheap": today[0]}
            least = {key: rate / ratio if ratio else float("inf") for key, rate in at.items()}
            rows.append({"data_set": data_set, "stop": stop, "ratio": ratio, **least})
    return rows


def table(data_set: str, found: CheapestGrid, label_prices: np.ndarray, rate: np.ndarray) -> list[dict[str, Any]]:
    """The grid of one data set as rows."""
    return [
        {
            "data_set": data_set, "label_price": float(label), "rate": float(dollar),
            "savings": float(found.savings[i, j]), "architecture": str(found.architectures[i, j]),
            "delta": float(found.deltas[i, j]), "seeds": found.seeds[found.choice[i, j]],
        }
        for i, label in enumerate(label_prices) for j, dollar in enumerate(rate)
    ]  # fmt: skip


def read_conclusions(rows: Sequence[Mapping[str, Any]], then: str, now: str) -> str:
    """What the change of training's price from ``then`` to ``now`` does, in a paragraph: for each data set and
    service, savings, the best net and the best delta."""
    said = []
    for data_set in dict.fromkeys(row["data_set"] for row in rows):
        for service in dict.fromkeys(row["labels"] for row in rows):
            by_time = {r["training"]: r for r in rows if r["data_set"] == data_set and r["labels"] == service}
            old, new = by_time[then], by_time[now]
            text = (
                f"{published.DATA_SETS.get(data_set, data_set)}, labels by {published.SERVICES.get(service, service)}: "
            )
            text += f"{percent(old['savings'])} saved then, {percent(new['savings'])} now"
            for key, name in (("architecture", "best net"), ("delta", "best δ")):
                shown = [
                    plots.architecture_style(r[key]).label if key == "architecture" else percent(r[key])
                    for r in (old, new)
                ]
                text += f", {name} {' now '.join(shown)}" if shown[0] != shown[1] else f", {name} still {shown[0]}"
            said.append(text)
    return ". ".join(said) + "."


# ---------------------------------------------------------------------------------------------------------
# Pictures


@plots.use_style()
def maps(
    found: Mapping[str, CheapestGrid],
    label_prices: np.ndarray,
    rate: np.ndarray,
    paper_rates: Mapping[str, float],
    today: Band,
    break_evens: Mapping[str, Mapping[str, float]],
    note: str = "",
) -> Figure:
    """For each data set over the two prices: savings, the best net, the best delta. Black lines: break-even with
    people alone, who are cheaper on their right, by way to stop (a key of STOPS). Hatched: today's price of
    training. Crosses: the paper's prices. ``note`` stands above."""
    figure, grid = plots.grid(3, len(found), (2.2 + 3.0 * len(found), 9.6))
    if note:
        figure.suptitle(note, x=0.01, ha="left", fontsize=11)
    deltas = sorted({delta for one in found.values() for _, delta in one.names})
    nets = [net for net in plots.ARCHITECTURES if any(net == name for one in found.values() for name, _ in one.names)]
    colours = {net: plots.ARCHITECTURES[net].colour for net in nets}
    shades = plots.shades("plasma", len(deltas))
    for column, (data_set, one) in enumerate(found.items()):
        pays = one.savings > 0
        filled = grid[0, column].pcolormesh(
            rate, label_prices, np.where(pays, one.savings, np.nan), vmin=0, vmax=1, cmap="viridis", rasterized=True
        )
        _categories(grid[1, column], rate, label_prices, one.architectures, pays, nets, colours)
        _categories(
            grid[2, column], rate, label_prices, one.deltas, pays, deltas, dict(zip(deltas, shades, strict=True))
        )
        grid[0, column].set_title(published.DATA_SETS.get(data_set, data_set))
        for ax in grid[:, column]:
            _marks(
                ax, label_prices, rate, paper_rates[data_set], today, {k: v[data_set] for k, v in break_evens.items()}
            )
    bar = figure.colorbar(filled, cax=grid[0, -1].inset_axes((1.06, 0, 0.05, 1)), format=plots.PERCENT)
    bar.set_label("saved, share of\nwhat people only cost")
    handles = [Patch(color=colours[net], label=plots.architecture_style(net).label) for net in nets]
    _beside(grid[1, -1], "cheapest net", handles)
    _beside(grid[2, -1], "cheapest δ", [Patch(color=s, label=percent(d)) for d, s in zip(deltas, shades, strict=True)])
    marks = grid[2, 0].get_legend_handles_labels()
    people = Patch(facecolor="0.85", label="people only are cheaper")
    figure.legend(
        [*marks[0], people],
        [*marks[1], people.get_label()],
        loc="outside lower center",
        ncols=2 if len(found) > 1 else 1,
    )
    for ax in grid[:, 0]:
        ax.set_ylabel("dollars a label")
    for ax in grid[-1]:
        ax.set_xlabel("dollars per image and epoch,\nResNet18")
    return figure


def _categories(
    ax: Axes, x: np.ndarray, y: np.ndarray, names: np.ndarray, pays: np.ndarray, order: Sequence, colours: Mapping
) -> None:
    codes = np.array([[order.index(name) for name in row] for row in names.tolist()], float)
    norm = BoundaryNorm(np.arange(len(order) + 1) - 0.5, len(order))
    palette = ListedColormap([colours[name] for name in order])
    ax.pcolormesh(x, y, np.where(pays, codes, np.nan), cmap=palette, norm=norm, rasterized=True)


def _marks(ax: Axes, y: np.ndarray, x: np.ndarray, paper_rate: float, today: Band, ratios: Mapping) -> None:
    ax.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), facecolor="0.85")
    _today(ax, today)
    for stop, ratio in ratios.items():
        shown = 0 < ratio < float("inf")
        ax.plot(x if shown else [], x / ratio if shown else [], LINES[stop], color="black", linewidth=2,
                label=f"break-even, {STOPS[stop]}")  # fmt: skip
    services = list(costs.SERVICES.values())
    ax.plot([paper_rate] * len(services), services, "X", color="white", markeredgecolor="black", markersize=9,
            label=f"the paper's prices: {' and '.join(published.SERVICES.values())}", linestyle="none")  # fmt: skip


def _today(ax: Axes, today: Band) -> None:
    ax.axvspan(*today, facecolor="none", edgecolor="black", hatch="//", linewidth=0.4, alpha=0.45,
               label="training today, as assumed")  # fmt: skip


def _beside(ax: Axes, title: str, handles: Sequence[Patch]) -> None:
    ax.legend(handles=handles, title=title, loc="upper left", bbox_to_anchor=(1.02, 1.0), alignment="left")


@plots.use_style()
def least_label_price(
    break_evens: Mapping[str, Mapping[str, float]],
    rate: np.ndarray,
    paper_rates: Mapping[str, float],
    today: Band,
    note: str = "",
) -> Figure:
    """The least dollars a label at which machine labelling pays, against dollars per image and epoch of ResNet18: a
    panel for each way to stop (a key of STOPS), a line of slope one for each data set where any saves at all.
    Dotted: what services charge. Crosses: the paper's price of training. ``note`` stands above."""
    figure, grid = plots.grid(1, len(break_evens), (1.4 + 4.0 * len(break_evens), 4.4))
    if note:
        figure.suptitle(note, x=0.01, ha="left", fontsize=11)
    slopes = [ratio for ratios in break_evens.values() for ratio in ratios.values() if 0 < ratio < float("inf")]
    lowest = min([*costs.SERVICES.values(), *(rate[0] / slope for slope in slopes)])
    highest = max([*costs.SERVICES.values(), *(rate[-1] / slope for slope in slopes)])
    for ax, (stop, ratios) in zip(grid[0], break_evens.items(), strict=True):
        ax.set(xscale="log", yscale="log", xlim=(rate[0], rate[-1]), ylim=(lowest / 2, highest * 2))
        ax.set(title=STOPS[stop], xlabel="dollars per image and epoch, ResNet18")
        _today(ax, today)
        for (data_set, ratio), style in zip(ratios.items(), itertools.cycle(("-", "--", "-.")), strict=False):
            colour, name = SET_COLOURS.get(data_set, "black"), published.DATA_SETS.get(data_set, data_set)
            pays = 0 < ratio < float("inf")
            ax.plot(rate if pays else [], rate / ratio if pays else [], style, color=colour,
                    label=name if ratio else f"{name}: never pays")  # fmt: skip
            if pays:
                ax.plot(paper_rates[data_set], paper_rates[data_set] / ratio, "X", color=colour,
                        markeredgecolor="black", markersize=8)  # fmt: skip
        for service, price in costs.SERVICES.items():
            ax.axhline(price, color=COLOURS["humans only"], linestyle=":", linewidth=1.2)
            words = f"{published.SERVICES[service]}, {plots.money(price)}"
            ax.annotate(words, (1.3 * today[1], price), (0, 2), fontsize=8,
                        textcoords="offset points", annotation_clip=True)  # fmt: skip
    grid[0, 0].set_ylabel("least dollars a label at which\na machine pays")
    axes = grid[0, -1]
    axes.plot([], [], "X", color="white", markeredgecolor="black", markersize=8, label="the paper's training price")
    handles = {label: handle for ax in grid[0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    return figure
