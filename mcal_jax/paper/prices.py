"""Recorded trajectories at other prices: the savings of active learning over a grid of prices.

A trajectory that stops after a training needs a number of labels by humans and a number of images times epochs of
training, whatever they cost. The cost is linear in both, so savings depend on the two prices only by their ratio.

``rate`` is US dollars per image and epoch of ResNet18; the relative cost of the other architectures is that of the
trajectory's own training prices. A retraining is billed for 200 epochs, the paper's recipe, however many it took.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcal_jax.algorithm import cards, costs
from mcal_jax.algorithm.training_price import PerImageEpoch
from mcal_jax.paper.bills import bill_at
from mcal_jax.paper.published import data_set_name, service_name
from mcal_jax.paper.records import Trajectory
from mcal_jax.paper.tables import HUMANS_ONLY
from mcal_jax.plots import percent
from mcal_jax.plots.architectures import display_name

EPOCHS = 200
"""Epochs that each retraining is billed for."""
UNIT = "resnet18"
"""The architecture whose image and epoch is the unit of training."""
RATIOS = np.geomspace(1e-9, 1.0, 2001)
"""US dollars per image and epoch over US dollars per label, at which regimes are distinguished."""
STOPS = {"hindsight": "stopped where cheapest", "met": "run until the machine may label all remaining images"}
"""When active learning ends: known in hindsight, or as in the paper's Table 2."""
Band = tuple[float, float]


class ResourceUse(NamedTuple):
    """What every stop of a trajectory needs: ``labels`` by humans (T, B and R) and ``work``, images times epochs of
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


def resource_use(trajectory: Trajectory, *, best_stop: bool = True, **changes: Any) -> ResourceUse:
    """The labels and the training of a trajectory at each stop, with ``changes`` to its Config (epsilon, ...): the
    machine labels the largest theta that its errors on T allow.

    Without ``best_stop`` there is one stop, the paper's: the first classifier that may label all remaining
    images, or the last one.
    """
    once = PerImageEpoch(dollars=1.0, epochs=EPOCHS)
    config = trajectory.config.model_copy(update={**changes, "label_price": 1.0, "training_price": once})
    bills = [bill_at(trajectory, i, config) for i in range(len(trajectory.measured))]
    if not best_stop:
        bills = [next((bill for bill in bills if bill.met), bills[-1])]
    labels, work, error = (
        np.array([getattr(b, key) for b in bills]) for key in ("labelling", "training", "true_error")
    )
    name = trajectory.data_set, trajectory.architecture, trajectory.delta, trajectory.run.seed, trajectory.n
    return ResourceUse(*name, labels, work * relative(trajectory), error)


def relative(trajectory: Trajectory) -> float:
    """The cost of an image and epoch relative to ResNet18's, by the training prices of the run."""
    price = trajectory.config.training_price
    rate = price.dollars if isinstance(price, PerImageEpoch) else 1.0
    return rate[trajectory.architecture] / rate[UNIT] if isinstance(rate, dict) and rate.get(UNIT) else 1.0


def training_price(trajectory: Trajectory, rate: float) -> PerImageEpoch:
    """The training price that bills this trajectory at ``rate``, US dollars per image and epoch of ResNet18."""
    return PerImageEpoch(dollars={trajectory.architecture: rate * relative(trajectory)}, epochs=EPOCHS)


def cost(use: ResourceUse, label_prices: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """The least cost over all stops, known in hindsight; [label prices, rates], or the two broadcast if they are not
    vectors of a grid."""
    label_prices, rate = np.asarray(label_prices, float), np.asarray(rate, float)
    if label_prices.ndim == rate.ndim == 1:
        label_prices, rate = label_prices[:, None], rate[None]
    return (label_prices[..., None] * use.labels + rate[..., None] * use.work).min(-1)


class CheapestGrid(NamedTuple):
    """The cheapest architecture and batch size of a data set at each point of a grid.

    ``savings`` is 1 - cost / cost of humans only, negative where humans only are cheaper; ``choice`` is the position
    in ``names``, pairs of architecture and delta; ``seeds`` is the number of seeds of each pair."""

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


def cheapest(group: Sequence[ResourceUse], label_prices: np.ndarray, rate: np.ndarray) -> CheapestGrid:
    """The cheapest architecture and delta of one data set, by the mean over seeds of cost / cost of humans only."""
    label_prices = np.asarray(label_prices, float)
    humans = label_prices[:, None] if label_prices.ndim == 1 == np.ndim(rate) else label_prices
    by_name: dict[tuple[str, float], list[ResourceUse]] = {}
    for use in group:
        by_name.setdefault((use.architecture, use.delta), []).append(use)
    shares = np.stack([
        np.mean([cost(use, label_prices, rate) / (use.n * humans) for use in same], axis=0)
        for same in by_name.values()
    ])  # fmt: skip
    choice = shares.argmin(0)
    return CheapestGrid(1 - shares.min(0), choice, tuple(by_name), tuple(len(same) for same in by_name.values()))


def regimes(group: Sequence[ResourceUse], ratios: np.ndarray = RATIOS) -> pd.DataFrame:
    """Which architecture and delta are cheapest as training becomes more expensive, a row for each: from which
    ``ratio`` on (US dollars per image and epoch of ResNet18 over US dollars per label), up to which, and the savings
    at both ends.

    Where nothing saves, the architecture is called "humans only"."""
    grid = cheapest(group, np.ones_like(ratios)[:, None], ratios[:, None])
    savings, choice = grid.savings[:, 0], grid.choice[:, 0]
    pays = savings > 0
    state = np.where(pays, choice, -1)
    edges = np.flatnonzero(np.diff(state, prepend=state[0] - 1))
    rows = []
    for start, end in zip(edges, [*edges[1:], len(ratios)], strict=True):
        name, delta = grid.names[state[start]] if state[start] >= 0 else (HUMANS_ONLY, None)
        last = min(end, len(ratios) - 1)
        row = {"data_set": group[0].data_set, "architecture": name, "delta": delta}
        row |= {"from_ratio": float(ratios[start]), "to_ratio": float(ratios[last])}
        if delta:
            row |= {"savings_first": float(savings[start]), "savings_last": float(savings[end - 1])}
        rows.append(row)
    return pd.DataFrame(rows)


def break_even(group: Sequence[ResourceUse]) -> float:
    """The ratio of US dollars per image and epoch of ResNet18 to US dollars per label from which humans only are
    cheaper; 0 if they always are, infinite if never. Machine labelling pays from a label price of rate / ratio on."""
    from scipy.optimize import brentq

    def savings(log_ratio: float) -> float:
        return float(cheapest(group, np.array(1.0), np.array(np.exp(log_ratio))).savings)

    low, high = np.log(1e-15), np.log(1e6)
    if savings(low) <= 0:
        return 0.0
    return float(np.exp(brentq(savings, low, high, xtol=1e-9))) if savings(high) < 0 else float("inf")


def on_cards(names: Sequence[str]) -> Band:
    """The range of US dollars per image and epoch of ResNet18 on cards by name: price over throughput.

    Raises McalError for an unknown card, and for one whose throughput is not known.
    """
    rates = [cards.image_price(name) for name in names]
    return min(rates), max(rates)


def paper_rate(trajectory: Trajectory) -> float:
    """US dollars per image and epoch of ResNet18 that Table 2 implies for the images of a trajectory; see
    ``costs.PAPER_PRICES``."""
    price = trajectory.config.training_price
    rate = price.dollars if isinstance(price, PerImageEpoch) else costs.PAPER_PRICES["colour"]
    return rate.get(UNIT, costs.PAPER_PRICES["colour"][UNIT]) if isinstance(rate, dict) else rate


def conclusions(
    group: Sequence[ResourceUse], label_prices: Mapping[str, float], rate: Mapping[str, float]
) -> pd.DataFrame:
    """The cheapest architecture and delta and the savings at each label price by name and each rate by name, a row for
    each pair.

    ``true_error`` is that of all labels there, which may be above epsilon: a choice in hindsight favours trajectories
    whose T under-states the error.
    """
    rows = []
    for service, price in label_prices.items():
        for when, own_rate in rate.items():
            point = cheapest(group, np.array(price), np.array(own_rate))
            name, delta = point.names[int(point.choice)]
            row = {"data_set": group[0].data_set, "labels": service, "label_price": price, "training": when}
            row |= {"rate": own_rate, "architecture": name, "delta": delta, "savings": float(point.savings)}
            same = [use for use in group if (use.architecture, use.delta) == (name, delta)]
            stops = [int(np.argmin(price * use.labels + own_rate * use.work)) for use in same]
            row["true_error"] = float(np.mean([use.error[at] for use, at in zip(same, stops, strict=True)]))
            rows.append(row | {"seeds": len(same)})
    return pd.DataFrame(rows)


def limits(
    break_evens: Mapping[str, Mapping[str, float]], paper_rates: Mapping[str, float], today: Band
) -> pd.DataFrame:
    """The least US dollars per label at which machine labelling pays, a row for each way to stop (a key of STOPS) and
    data set: at the paper's price of training and at both ends of today's. Infinite where it never does."""
    rows = []
    for stop, ratios in break_evens.items():
        for data_set, ratio in ratios.items():
            at = {
                "least_paper": paper_rates[data_set],
                "least_today_expensive": today[1],
                "least_today_cheap": today[0],
            }
            least = {key: rate / ratio if ratio else float("inf") for key, rate in at.items()}
            rows.append({"data_set": data_set, "stop": stop, "ratio": ratio, **least})
    return pd.DataFrame(rows)


def table(data_set: str, grid: CheapestGrid, label_prices: np.ndarray, rate: np.ndarray) -> pd.DataFrame:
    """The grid of one data set as rows."""
    labels, rates = np.meshgrid(label_prices, rate, indexing="ij")
    return pd.DataFrame({
        "data_set": data_set, "label_price": labels.ravel(), "rate": rates.ravel(), "savings": grid.savings.ravel(),
        "architecture": grid.architectures.ravel(), "delta": grid.deltas.ravel(),
        "seeds": np.array(grid.seeds)[grid.choice.ravel()],
    })  # fmt: skip


def read_conclusions(rows: pd.DataFrame, then: str, now: str) -> str:
    """The effect of a change of the training price from ``then`` to ``now``, in a paragraph: for each data set and
    service the savings, the cheapest architecture and the cheapest delta."""
    sentences = []
    for (data_set, service), own in rows.groupby(["data_set", "labels"], sort=False):
        old, new = (own.set_index("training").loc[time] for time in (then, now))
        text = f"{data_set_name(data_set)}, labels by {service_name(service)}: "
        text += f"{percent(old['savings'])} saved then, {percent(new['savings'])} now"
        for key, name, written in (("architecture", "architecture", display_name), ("delta", "δ", percent)):
            before, after = written(old[key]), written(new[key])
            text += f", cheapest {name} " + (f"{before} now {after}" if before != after else f"still {before}")
        sentences.append(text)
    return ". ".join(sentences) + "."
