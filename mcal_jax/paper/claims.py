"""The paper's claims, each computed from recorded runs: what it says, what was measured, and whether it holds.

A verdict is a rule fixed beforehand, stated in ``rule``; where the runs cannot tell, the claim is "not tested".
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mcal_jax.errors import McalError
from mcal_jax.paper import records, tables
from mcal_jax.paper.published import DATA_SETS, SERVICES
from mcal_jax.paper.records import Labelling, Records, Trajectory, grouped
from mcal_jax.paper.tables import Row
from mcal_jax.plots import ARCHITECTURES, architecture_style, percent

Verdict = Literal["holds", "does not hold", "not tested"]


class Evidence(NamedTuple):
    """All the runs that claims are judged by."""

    trajectories: Sequence[Trajectory]
    mcal: Sequence[Labelling]
    acquisition: Sequence[Labelling]
    subsets: Sequence[Labelling]
    dear: Sequence[Labelling]
    """Runs in which training costs far too much."""


def gather(profile: str) -> tuple[Evidence, Records[Any]]:
    """The evidence at a profile as far as its runs are there, and the records that tell its scale.

    Raises NoRuns where no run is there.
    """
    curves = records.trajectories(profile, optional=True)
    sweeps = ("mcal", "acquisition", "subsets", "expensive_training")
    runs = [records.labellings(profile, sweep, optional=True) for sweep in sweeps]
    every = records.together(curves, *runs)
    return Evidence(curves, *runs), Records([*curves, *runs[0]] or every, every.wanted)


class Finding(NamedTuple):
    """What was measured: in words, and for each case (a data set, a service, ...) whether it agrees."""

    measured: str
    agrees: list[bool]
    seeds: int


class Claim(NamedTuple):
    """A claim of the paper. ``rule`` says when it counts as holding; ``share`` of the cases must agree."""

    name: str
    says: str
    where: str
    rule: str
    measure: Callable[[Evidence], Finding | None]
    share: float = 1.0


def judge(evidence: Evidence, reasons: dict[str, str] | None = None) -> list[Row]:
    """Every claim with its verdict. ``reasons`` explain, by the name of the claim, why one fails."""
    rows = []
    for claim in CLAIMS:
        found = claim.measure(evidence)
        if found and not found.agrees:  # no case has the runs that it takes
            found = None
        verdict: Verdict = "not tested"
        if found:
            verdict = "holds" if np.mean(found.agrees) >= claim.share - 1e-9 else "does not hold"
        rows.append(
            {"claim": claim.name, "paper_says": claim.says, "paper_where": claim.where, "rule": claim.rule}
            | {"ours_measured": found.measured if found else "no run tells", "ours_seeds": found.seeds if found else 0}
            | {"ours_verdict": verdict, "ours_why": (reasons or {}).get(claim.name, "")}
        )
    return rows


def _mean(runs: Sequence[Labelling], what: Callable[[Labelling], float]) -> float:
    return float(np.mean([what(one) for one in runs]))


def _by(runs: Sequence[Labelling], *, epsilon: float = 0.05) -> dict[tuple[str, str], Records[Labelling]]:
    """MCAL runs at one epsilon, by data set and service."""
    own = [one for one in runs if one.config.epsilon == epsilon]
    return grouped(own, "data_set", tables.service_of)


def _seeds(*groups: Sequence[Any]) -> int:
    """The least number of seeds of several groups."""
    return min((len({one.run.seed for one in group}) for group in groups if group), default=0)


def _seeds_of_both(e: Evidence) -> int:
    """Of MCAL and of the active learning that it is compared with."""
    return _seeds(*_by(e.mcal).values(), *grouped(e.trajectories, "data_set", "architecture").values())


def _name(data_set: str, service: str) -> str:
    return f"{DATA_SETS[data_set]}, {SERVICES.get(service, service)}"


def _mcal_against_oracle(e: Evidence) -> Finding | None:
    told, agrees = [], []
    for (data_set, service), group in _by(e.mcal).items():
        found = tables.oracles(e.trajectories, service)
        rivals = {net: pairs for (of, net), pairs in found.items() if of == data_set}
        if not rivals:
            continue
        cost = {net: float(np.mean([bill.dollars for _, bill in pairs])) for net, pairs in rivals.items()}
        best = min(cost, key=lambda net: cost[net])
        ours = _mean(group, lambda one: one.cost)
        agrees.append(ours < cost[best])
        told.append(
            f"{_name(data_set, service)}: {1 - ours / cost[best]:+.1%} against {architecture_style(best).label}"
        )
    return Finding("saved against the best AL: " + "; ".join(told), agrees, _seeds_of_both(e))


def _mcal_against_hindsight(e: Evidence) -> Finding | None:
    told, agrees = [], []
    for (data_set, service), group in _by(e.mcal).items():
        rows = [r for r in tables.delta_rows(e.trajectories, service) if r["data_set"] == data_set]
        if rows:
            best = min(row["hindsight"] for row in rows)
            ours = _mean(group, lambda one: one.cost)
            agrees.append(ours < best)
            told.append(f"{_name(data_set, service)}: {1 - ours / best:+.1%}")
    return Finding("saved against it: " + "; ".join(told), agrees, _seeds_of_both(e))


def _harder_saves_less(e: Evidence) -> Finding | None:
    groups = {d: g for (d, service), g in _by(e.mcal).items() if service == "amazon"}
    savings = {d: _mean(groups[d], lambda one: one.savings) for d in DATA_SETS if d in groups}
    listed = list(savings.values())
    told = ", ".join(f"{DATA_SETS[d]} {percent(round(s, 3))}" for d, s in savings.items())
    return Finding(told, [a > b for a, b in itertools.pairwise(listed)], _seeds(*groups.values()))


def _acquisition_costs(e: Evidence) -> dict[str, Records[Labelling]]:
    own = [one for one in e.acquisition if one.data_set == "cifar10" and tables.service_of(one) == "amazon"]
    return grouped(own, lambda one: one.config.acquisition)


def _uncertainty_beats_kcenter(e: Evidence) -> Finding | None:
    groups = _acquisition_costs(e)
    if not {"margin", "entropy", "least_confidence", "kcenter"} <= groups.keys():
        return None
    cost = {by: _mean(group, lambda one: one.cost) for by, group in groups.items()}
    gain = 1 - np.mean([cost[by] for by in ("margin", "entropy", "least_confidence")]) / cost["kcenter"]
    told = f"{gain:+.1%} cheaper than k-center (CIFAR-10, Amazon, ResNet18)"
    return Finding(told, [bool(0.15 <= gain <= 0.35)], _seeds(*groups.values()))


def _machine_share(e: Evidence) -> Finding | None:
    told, agrees, groups = [], [], grouped(e.trajectories, "data_set", "architecture")
    for (data_set, net), group in groups.items():
        rows = sorted(tables.delta_rows(group, "amazon"), key=lambda row: row["delta"])
        if len(rows) > 1:
            more = rows[0]["machine"] - rows[-1]["machine"]
            agrees.append(more > 0)
            told.append(f"{DATA_SETS[data_set]} {architecture_style(net).label} {100 * more:+.1f}")
    return Finding("least less largest batch, points of X: " + ", ".join(told), agrees, _seeds(*groups.values()))


def _resnet18_cheapest(e: Evidence) -> Finding | None:
    told, agrees = [], []
    for service in SERVICES:
        for data_set, group in grouped(e.trajectories, "data_set").items():
            found = tables.oracles(group, service)
            cost = {net: float(np.mean([bill.dollars for _, bill in pairs])) for (_, net), pairs in found.items()}
            if len(cost) == len(ARCHITECTURES):
                best = min(cost, key=lambda net: cost[net])
                agrees.append(best == "resnet18")
                told.append(f"{_name(data_set, service)}: {architecture_style(best).label}")
    return Finding("cheapest: " + "; ".join(told), agrees, _seeds(*grouped(e.trajectories, "data_set").values()))


def _al_gain(service: str, low: float, high: float) -> Callable[[Evidence], Finding | None]:
    def measure(e: Evidence) -> Finding | None:
        told, agrees, groups = [], [], []
        for data_set in ("fashion_mnist", "cifar10"):
            own = [one for one in e.acquisition if one.data_set == data_set and tables.service_of(one) == service]
            by = grouped(own, lambda one: one.config.acquisition)
            gain = tables.gain(tables.bar_rows(own, "acquisition"), data_set)
            if gain is not None:
                told.append(f"{DATA_SETS[data_set]} {gain:+.1%}")
                agrees.append(low <= gain <= high)
                groups += [by["margin"], by["random"]]
        return Finding("cheaper than random: " + ", ".join(told), agrees, _seeds(*groups)) if told else None

    return measure


def _cheaper_labels_larger_b(e: Evidence) -> Finding | None:
    told, agrees, groups = [], [], _by(e.mcal)
    for data_set in DATA_SETS:
        if (data_set, "amazon") in groups and (data_set, "satyam") in groups:
            dear, cheap = (_mean(groups[data_set, s], lambda one: one.B / one.n) for s in ("amazon", "satyam"))
            agrees.append(cheap > dear)
            told.append(f"{DATA_SETS[data_set]} {percent(round(dear, 3))} and {percent(round(cheap, 3))}")
    return Finding("|B|/|X| at Amazon's and Satyam's price: " + "; ".join(told), agrees, _seeds(*groups.values()))


def _more_a_class(e: Evidence) -> Finding | None:
    groups = grouped(e.subsets, lambda one: one.run.data.per_class)
    if len(groups) < 2:
        return None
    shares = {size: _mean(group, lambda one: one.S / one.n) for size, group in sorted(groups.items())}
    told = ", ".join(f"{size:,}: {percent(round(share, 3))}" for size, share in shares.items())
    listed = list(shares.values())
    return Finding(f"|S|/|X| by images a class: {told}", [listed[-1] > listed[0]], _seeds(*groups.values()))


def _looser_saves_more(e: Evidence) -> Finding | None:
    told, agrees, tight, loose = [], [], _by(e.mcal), _by(e.mcal, epsilon=0.1)
    for key in tight.keys() & loose.keys():
        gain = _mean(loose[key], lambda one: one.savings) - _mean(tight[key], lambda one: one.savings)
        agrees.append(gain > 0)
        told.append(f"{_name(*key)} {100 * gain:+.1f}")
    return Finding("points of savings: " + "; ".join(sorted(told)), agrees, _seeds(*tight.values(), *loose.values()))


def _truncated_better(e: Evidence) -> Finding | None:
    theta, points, misses = 0.5, 5, []
    long = [one for one in e.trajectories if len(one.fits) > points]
    for one in long:
        rows = {row["law"]: abs(row["miss_at_largest"]) for row in tables.law_rows(one, [theta], [points])}
        misses.append((rows["power"], rows["truncated"]))
    if not misses:
        return None
    power, truncated = 100 * np.mean(misses, axis=0)
    told = f"miss at the largest |B|, theta 50 %, 5 points used: {truncated:.2f} points truncated, {power:.2f} plain"
    return Finding(f"{told} ({len(misses)} curves)", [t < p for p, t in misses], _seeds(long))


def _batch_hardly_matters(e: Evidence) -> Finding | None:
    worst = []
    own = [one for one in e.trajectories if one.data_set == "cifar10" and one.architecture == "resnet18"]
    try:
        rows = tables.same_size_rows(own, [0.25, 0.5], 0.4)
    except McalError:
        return None
    for theta in (0.25, 0.5):
        eps = [row["eps_left"] for row in rows if row["theta"] == theta]
        if len(eps) > 1:
            worst.append(max(eps) - min(eps))
    told = ", ".join(f"theta {t:.0%}: {100 * w:.2f} points" for t, w in zip((0.25, 0.5), worst, strict=False))
    return Finding(f"range over batches at |B| = 40 % of X: {told}", [w < 0.01 for w in worst], _seeds(own))


def _hopeless_stops(e: Evidence) -> Finding | None:
    if not e.dear:
        return None
    tax = [one.ledger.training / one.ledger.humans_only for one in e.dear]
    paid = [one.cost / one.ledger.humans_only for one in e.dear]
    stops = "/".join(sorted({one.stop for one in e.dear}))
    told = f"training at 100 times the price: {max(tax):.1%} of the cost of people only went into it, "
    told += f"{max(paid):.1%} in all; stopped by {stops}"
    kept = [t <= one.config.exploration_tax and p <= 1 + t for t, p, one in zip(tax, paid, e.dear, strict=True)]
    return Finding(told, kept, _seeds(e.dear))


def _bound_is_kept(e: Evidence) -> Finding | None:
    runs = [one for one in [*e.mcal, *e.acquisition, *e.subsets] if one.true_error is not None]
    kept = [one.true_error <= one.config.epsilon for one in runs if one.true_error is not None]
    return Finding(f"kept in {sum(kept)} of {len(kept)} runs", kept, _seeds(runs)) if runs else None


def _training_varies(e: Evidence) -> Finding | None:
    told, agrees, groups = [], [], grouped(e.trajectories, "data_set")
    for data_set, wanted in (("fashion_mnist", 2.0), ("cifar10", 5.0), ("cifar100", 5.0)):
        nets = grouped(groups.get(data_set, []), "architecture")
        rows = [tables.delta_rows(own, "amazon") for own in nets.values()]
        ratios = [max(r["training"] for r in own) / min(r["training"] for r in own) for own in rows if len(own) > 1]
        if ratios:
            told.append(f"{DATA_SETS[data_set]} {max(ratios):.1f}")
            agrees.append(max(ratios) >= wanted / 1.5)
    return Finding("largest ratio over batches: " + ", ".join(told), agrees, _seeds(*groups.values()))


CLAIMS = (
    Claim("mcal_beats_al", "MCAL costs less than active learning with its best batch", "section 5.1, tables 1 and 2",
          "mean over seeds, every data set and service", _mcal_against_oracle),
    Claim("mcal_beats_hindsight", "(ours) MCAL costs less than AL that also stops and takes theta in hindsight", "",
          "mean over seeds, every data set and service", _mcal_against_hindsight),
    Claim("harder_saves_less", "Savings fall from Fashion-MNIST (86 %) to CIFAR-10 (67 %) to CIFAR-100 (29 %)",
          "section 5.1, table 1", "each above the next, Amazon", _harder_saves_less),
    Claim("uncertainty_beats_kcenter", "Uncertainty acquisition is about 25 % cheaper than k-center", "figure 11",
          "15 to 35 % cheaper", _uncertainty_beats_kcenter),
    Claim("smaller_batch_more_machine", "Smaller batches let the machine label more (10 to 15 % of X)", "figure 12",
          "least above largest batch, in two thirds of the curves", _machine_share, 2 / 3),
    Claim("resnet18_cheapest", "ResNet18 is the cheapest net", "section 5.1, table 2",
          "cheapest AL on every data set and service with all three nets", _resnet18_cheapest),
    Claim("al_gain_amazon", "Active learning saves about 20 % (Amazon; Fashion-MNIST, CIFAR-10)", "figure 14",
          "10 to 30 % on both", _al_gain("amazon", 0.1, 0.3)),
    Claim("al_gain_satyam", "Active learning saves 25 to 31 % (Satyam; Fashion-MNIST, CIFAR-10)", "figure 15",
          "20 to 36 % on both", _al_gain("satyam", 0.2, 0.36)),
    Claim("cheaper_labels_larger_b", "Cheaper labels mean a larger B", "section 5.3, table 1",
          "every data set", _cheaper_labels_larger_b),
    Claim("more_a_class", "5,000 images a class are machine-labelled more (65 %) than 1,000 (30 %)", "figure 13",
          "largest above smallest subset", _more_a_class),
    Claim("looser_saves_more", "Epsilon 10 % saves more than 5 %", "table 3", "every data set and service",
          _looser_saves_more),
    Claim("truncated_better", "The truncated law predicts better at large |B|", "section 3.2, figure 2",
          "nearer at the largest |B| in more than half of the curves", _truncated_better, 0.5),
    Claim("batch_hardly_matters", "At the same |B| the batch changes the error by less than 1 point for small theta",
          "figure 4", "range below 1 point for theta 25 and 50 %", _batch_hardly_matters),
    Claim("hopeless_stops", "Where training can't pay, it stops within the exploration tax, 10 % of people only",
          "footnote 5", "every such run, and no more than the tax above people only", _hopeless_stops),
    Claim("bound_is_kept", "The error of the labels delivered stays below epsilon", "tables 1 and 3",
          "every run", _bound_is_kept),
    Claim("training_varies", "The batch changes the training cost 2 times (Fashion-MNIST), 5 times (CIFAR)",
          "figures 19 to 21", "at least two thirds of that", _training_varies),
)  # fmt: skip
