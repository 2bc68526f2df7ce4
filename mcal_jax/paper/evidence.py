"""What recorded runs measure of each claim of the paper: a ``Finding``, or None where the runs are missing."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mcal_jax.errors import McalError
from mcal_jax.paper import curves, tables
from mcal_jax.paper.bootstrap import once_a_record
from mcal_jax.paper.frames import replicated
from mcal_jax.paper.published import DATA_SETS, NETS, SAME_SIZE, SERVICES, data_set_name, service_name
from mcal_jax.paper.records import Trajectory, finished
from mcal_jax.plots import percent
from mcal_jax.plots.architectures import display_name


class Evidence(NamedTuple):
    """The frames of runs that claims are judged by; in the ``expensive`` ones training costs far too much."""

    trajectories: pd.DataFrame
    mcal: pd.DataFrame
    acquisition: pd.DataFrame
    subsets: pd.DataFrame
    expensive: pd.DataFrame


class Finding(NamedTuple):
    """What was measured: in words, and for each case (a data set, a service, ...) the margin by which the rule of the
    claim is met, a share, positive where the case agrees with it. ``seeds`` is the least number of seeds of a case.
    """

    measured: str
    margins: list[float]
    seeds: int


def signed(share: float) -> str:
    """
    >>> signed(0.0312), signed(-0.5)
    ('+3.1 %', '−50.0 %')
    """
    return f"{'+' if share > 0 else ''}{percent(share, 1)}"


def inside(value: float, low: float, high: float) -> float:
    """The margin of a value that is to lie between ``low`` and ``high``: its distance from the nearer end."""
    return min(value - low, high - value)


Measure = Callable[[Evidence], Finding | None]
CASE = ["data_set", "service"]
CURVE = ["data_set", "architecture"]
TIE = 1e-9
"""Added to a margin where a value at the limit agrees."""
POINTS = 5
"""Trainings from which the laws of a curve are fitted."""


def least_seeds(runs: pd.DataFrame, by: str | Sequence[str]) -> int:
    """The least number of seeds of a group of finished runs; 0 without any."""
    counts = finished(runs).groupby(by, dropna=False)["seed"].nunique()
    return int(counts.min()) if len(counts) else 0


def mcal_at(e: Evidence, epsilon: float = 0.05) -> pd.DataFrame:
    """The finished MCAL runs at one epsilon."""
    return finished(e.mcal)[finished(e.mcal)["epsilon"] == epsilon]


def case_name(data_set: str, service: str) -> str:
    return f"{data_set_name(data_set)}, {service_name(service)}"


def _seeds_of_both(e: Evidence) -> int:
    """The seeds of MCAL and of the active learning that it is compared with."""
    both = (least_seeds(mcal_at(e), CASE), least_seeds(e.trajectories, CURVE))
    return min((count for count in both if count), default=0)


def _mcal_beside(
    e: Evidence, table: Callable[[pd.DataFrame, str], pd.DataFrame]
) -> Iterator[tuple[str, str, float, pd.DataFrame]]:
    """Data set, service, the mean cost of MCAL, and ``table`` of active learning at that service, for each case."""
    dollars = mcal_at(e).groupby(CASE, sort=False)["dollars"].mean()
    rivals = {service: table(replicated(e.trajectories), service) for service in dollars.index.unique("service")}
    for (data_set, service), ours in dollars.items():
        yield data_set, service, ours, rivals[service]


def mcal_against_oracle(e: Evidence) -> Finding | None:
    cases, margins = [], []
    for data_set, service, ours, best in _mcal_beside(e, tables.oracles):
        rivals = best[best["data_set"] == data_set].groupby("architecture", sort=False)["dollars"].mean()
        if len(rivals):
            margins.append(1 - ours / rivals.min())
            saved = f"{signed(margins[-1])} against {display_name(rivals.idxmin())}"
            cases.append(f"{case_name(data_set, service)}: {saved}")
    return Finding("saved against the best AL: " + "; ".join(cases), margins, _seeds_of_both(e))


def mcal_against_hindsight(e: Evidence) -> Finding | None:
    cases, margins = [], []
    for data_set, service, ours, al in _mcal_beside(e, tables.delta_rows):
        best = al.loc[al["data_set"] == data_set, "hindsight"].min()
        if best > 0:
            margins.append(1 - ours / best)
            cases.append(f"{case_name(data_set, service)}: {signed(margins[-1])}")
    return Finding("saved against it: " + "; ".join(cases), margins, _seeds_of_both(e))


def harder_saves_less(e: Evidence) -> Finding | None:
    runs = mcal_at(e)[mcal_at(e)["service"] == "amazon"]
    means = runs.groupby("data_set")["savings"].mean()
    savings = {data_set: means[data_set] for data_set in DATA_SETS if data_set in means}
    text = ", ".join(f"{DATA_SETS[data_set]} {percent(round(value, 3))}" for data_set, value in savings.items())
    falls = [a - b for a, b in itertools.pairwise(savings.values())]
    return Finding(text, falls, least_seeds(runs, "data_set"))


def uncertainty_beats_kcenter(e: Evidence) -> Finding | None:
    runs = finished(e.acquisition)
    runs = runs[(runs["data_set"] == "cifar10") & (runs["service"] == "amazon")]
    cost, uncertainty = runs.groupby("acquisition")["dollars"].mean(), ["margin", "entropy", "least_confidence"]
    if not {*uncertainty, "kcenter"} <= set(cost.index):
        return None
    less = 1 - cost[uncertainty].mean() / cost["kcenter"]
    text = f"cheaper than k-center: {signed(less)} (CIFAR-10, Amazon, ResNet18)"
    return Finding(text, [inside(less, 0.15, 0.35)], least_seeds(runs, "acquisition"))


def machine_share(e: Evidence) -> Finding | None:
    cases, margins = [], []
    for (data_set, net), own in tables.delta_rows(replicated(e.trajectories), "amazon").groupby(CURVE, sort=False):
        shares = own.sort_values("delta")["machine"]
        if len(shares) > 1:
            more = shares.iloc[0] - shares.iloc[-1]
            margins.append(more)
            cases.append(f"{data_set_name(data_set)} {display_name(net)} {signed(more)}")
    text = "machine labels with the smallest batches less those with the largest, of X: " + ", ".join(cases)
    return Finding(text, margins, least_seeds(e.trajectories, CURVE))


def resnet18_cheapest(e: Evidence) -> Finding | None:
    cases, margins = [], []
    for service in SERVICES:
        means = tables.oracles(e.trajectories, service).groupby(CURVE, sort=False)["dollars"].mean()
        for data_set, cost in means.groupby("data_set", sort=False):
            by_net = cost.droplevel("data_set")
            if set(NETS) <= set(by_net.index):
                others = by_net.drop("resnet18").min()
                margins.append(1 - by_net["resnet18"] / others + TIE)
                cases.append(f"{case_name(data_set, service)}: {display_name(by_net.idxmin())}")
    return Finding("cheapest: " + "; ".join(cases), margins, least_seeds(e.trajectories, "data_set"))


def gain_of_active_learning(service: str, low: float, high: float) -> Measure:
    """The measure of how much cheaper margin is than random images; it agrees between ``low`` and ``high``."""

    def measure(e: Evidence) -> Finding | None:
        runs = finished(e.acquisition)
        runs = runs[(runs["service"] == service) & runs["acquisition"].isin(["margin", "random"])]
        rows, gains = tables.bar_rows(runs, "acquisition"), {}
        for data_set in ("fashion_mnist", "cifar10"):
            gain = tables.gain(rows, data_set)
            if gain is not None:
                gains[data_set] = gain
        if not gains:
            return None
        text = ", ".join(f"{DATA_SETS[data_set]} {signed(gain)}" for data_set, gain in gains.items())
        seeds = least_seeds(runs[runs["data_set"].isin(gains)], ["data_set", "acquisition"])
        return Finding(f"cheaper than random: {text}", [inside(gain, low, high) for gain in gains.values()], seeds)

    return measure


def cheaper_labels_larger_b(e: Evidence) -> Finding | None:
    cases, margins = [], []
    shares = mcal_at(e).groupby(CASE)["trained_on"].mean()
    for data_set in DATA_SETS:
        if {(data_set, "amazon"), (data_set, "satyam")} <= set(shares.index):
            expensive, cheap = shares[data_set, "amazon"], shares[data_set, "satyam"]
            margins.append(cheap - expensive)
            cases.append(f"{DATA_SETS[data_set]} {percent(round(expensive, 3))} and {percent(round(cheap, 3))}")
    text = "|B|/|X| at Amazon's and Satyam's price: " + "; ".join(cases)
    return Finding(text, margins, least_seeds(mcal_at(e), CASE))


def more_per_class(e: Evidence) -> Finding | None:
    shares = finished(e.subsets).groupby("per_class", dropna=False)["machine"].mean()
    if len(shares) < 2:
        return None
    text = ", ".join(f"{size:,.0f}: {percent(round(share, 3))}" for size, share in shares.items())
    margins = [shares.iloc[-1] - shares.iloc[0]]
    return Finding(f"|S|/|X| by images per class: {text}", margins, least_seeds(e.subsets, "per_class"))


def looser_saves_more(e: Evidence) -> Finding | None:
    tight, loose = (mcal_at(e, epsilon).groupby(CASE)["savings"].mean() for epsilon in (0.05, 0.1))
    gains = (loose - tight).dropna()
    cases = sorted(f"{case_name(*case)} {signed(gain)}" for case, gain in gains.items())
    both = [seeds for epsilon in (0.05, 0.1) if (seeds := least_seeds(mcal_at(e, epsilon), CASE))]
    return Finding("more is saved, of the cost of humans only: " + "; ".join(cases), list(gains), min(both, default=0))


def truncated_better(e: Evidence) -> Finding | None:
    runs = finished(e.trajectories)
    long = runs[np.array([len(one.fits) > POINTS for one in runs["record"]], bool)]
    misses = [miss_of_laws(one) for one in long["record"]]
    if not misses:
        return None
    power, truncated = 100 * np.mean(misses, axis=0)
    margins = [p - t for p, t in misses if abs(p - t) >= curves.COINCIDE]
    text = (
        f"miss at the largest |B|, θ = 50 %, 5 points used: {truncated:.2f} points truncated, {power:.2f} plain; "
        f"truncated is nearer in {sum(margin > 0 for margin in margins)} of {len(misses)} curves, farther in "
        f"{sum(margin < 0 for margin in margins)}"
    )
    return Finding(text, margins, long["seed"].nunique())


@once_a_record
def miss_of_laws(one: Trajectory) -> tuple[float, float]:
    """How far the plain and the truncated law, from the first POINTS trainings, are off at the largest |B|."""
    rows = curves.law_rows(one, [0.5], [POINTS]).set_index("law")["miss_at_largest"].abs()
    return float(rows["power"]), float(rows["truncated"])


def batch_hardly_matters(e: Evidence) -> Finding | None:
    runs = replicated(e.trajectories)
    runs = runs[(runs["data_set"] == "cifar10") & (runs["architecture"] == "resnet18")]
    try:
        by_theta = curves.same_size_rows(runs, [0.25, 0.5], SAME_SIZE).groupby("theta")["eps_left"]
    except McalError:
        return None
    ranges = {theta: eps.max() - eps.min() for theta, eps in by_theta if len(eps) > 1}
    text = ", ".join(f"θ = {percent(theta)}: {100 * width:.2f} points" for theta, width in ranges.items())
    margins = [0.01 - width for width in ranges.values()]
    measured = f"range over batches at |B| = {percent(round(SAME_SIZE, 3))} of X: {text}"
    return Finding(measured, margins, runs["seed"].nunique())


def hopeless_stops(e: Evidence) -> Finding | None:
    runs = finished(e.expensive)
    if runs.empty:
        return None
    tax, cost = runs["training"] / runs["humans"], runs["dollars"] / runs["humans"]
    limit = np.array([one.config.exploration_tax for one in runs["record"]])
    text = (
        f"training at 100 times the price: {tax.max():.1%} of the cost of humans only went into it, "
        f"{cost.max():.1%} in all; stopped by {'/'.join(sorted(set(runs['stop'])))}"
    )
    margins = np.minimum(limit - tax, 1 + tax - cost) + TIE
    return Finding(text, list(margins), runs["seed"].nunique())


def bound_holds(e: Evidence) -> Finding | None:
    runs = pd.concat([finished(own) for own in (e.mcal, e.acquisition, e.subsets)], ignore_index=True)
    runs = runs[runs["true_error"].notna()]
    margins = list(runs["epsilon"] - runs["true_error"] + TIE)
    kept = sum(margin > 0 for margin in margins)
    return Finding(f"kept in {kept} of {len(margins)} runs", margins, runs["seed"].nunique()) if margins else None


def training_varies(e: Evidence) -> Finding | None:
    cases, margins = [], []
    rows = tables.delta_rows(e.trajectories, "amazon")
    costs = rows.groupby(CURVE, sort=False)["training"].agg(["min", "max", "count"])
    costs = costs[costs["count"] > 1]
    ratios = (costs["max"] / costs["min"]).groupby("data_set").max()
    for data_set, printed in (("fashion_mnist", 2.0), ("cifar10", 5.0), ("cifar100", 5.0)):
        if data_set in ratios:
            cases.append(f"{DATA_SETS[data_set]} {ratios[data_set]:.1f}")
            margins.append(ratios[data_set] / (printed / 1.5) - 1 + TIE)
    text = "largest ratio over batches: " + ", ".join(cases)
    # The price of a training depends on |B| alone, so that it is the same for every seed.
    return Finding(text, margins, finished(e.trajectories)["seed"].nunique())
