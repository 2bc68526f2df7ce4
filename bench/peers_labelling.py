"""MCAL beside other ways to have a pool labelled by humans and a machine: cost, error, and how often epsilon breaks.

    python bench/peers_labelling.py --cases shipped --seeds 8 --runs results/bench/peers_labelling_runs.csv
    python bench/peers_labelling.py --cases drawn logistic recorded --seeds 13 --runs ... --append
    python bench/peers_labelling.py --summary results/bench/peers_labelling.csv --runs ...
    python bench/peers_labelling.py --pac-data FOLDER --out results/bench/peers_pac_data.csv

All methods meet the same images, classifier, acquisition function (margin), prices and seeds; ``labelling_peers`` says
what each does and guarantees. "Equal labels": as many training and validation labels as certified MCAL bought before S
with that seed and price; its own shares else: 25 % and 20 % of X, those of Colander's experiment on CIFAR-10. Training
costs what the paper's ResNet18 does on grey images, 3.3e-6 US dollars for an image and epoch, 200 epochs.

Cases: ``shipped`` are real images, 10,000 of Fashion-MNIST, labelled by a ridge regression on fixed features of
patches, which trains fast enough for many seeds. ``drawn``, ``logistic`` and ``recorded`` are worlds of
bench/simulated_worlds.py with 10,000 to 60,000 images, each of which has a difficulty of its own; without classes, so
that thresholds are one for all, and without logits, so that Colander and confident learning have nothing to learn from.

``broken``: share of runs in which epsilon or more of X is labelled wrongly, with its exact 95 % interval (Clopper and
Pearson); ``broken_on_S``: likewise of the labels that the machine gave. ``more_than_certified``: cost less that of
certified MCAL with the same seed, as a share of humans only, with the 95 % interval of a paired bootstrap.
"""

import argparse
import csv
import itertools
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import simulated_worlds
from labelling_peers import Budget, confident_labels, ground_truth, pac_labels, pac_threshold, tbal, tbal_on_X
from labelling_worlds import Delivered, PeerAlgorithm, RidgeTrainer, deliver, kept_features, ridge_world
from learned_confidence import colander
from scipy.stats import beta

from mcal_jax import data
from mcal_jax.algorithm import baselines, certificate, costs
from mcal_jax.algorithm.config import FIRST, Config, PerImageEpoch
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.worlds.difficulty import DifficultyWorld
from mcal_jax.worlds.trained import TrainedWorld

IMAGES = {"shipped": "fashion_mnist_10k"}
MOST = 60_000
"""Images of a world that is drawn."""
PRICE = PerImageEpoch(dollars=costs.PAPER_PRICES["grey"]["resnet18"])
DELTA = 0.05
"""Batch of plain active learning."""
SHARES = {"training": 0.25, "validation": 0.20}

World = TrainedWorld | DifficultyWorld


class Case(NamedTuple):
    """One seed of one case: a fresh world at each call, its size, and its architecture."""

    name: str
    seed: int
    n: int
    world: Callable[[], World]
    architecture: str
    has_classes: bool


# ---------------------------------------------------------------------------------------------------------
# Worlds


@cache
def images(name: str, folder: Path) -> tuple[data.Dataset, RidgeTrainer]:
    dataset = data.load(IMAGES[name])
    return dataset, RidgeTrainer(kept_features(dataset, folder), len(dataset.classes))


def cases(name: str, seeds: int, folder: Path) -> Iterator[Case]:
    """The first ``seeds`` seeds of a case; of worlds that are drawn, those of at most MOST images."""
    if name in IMAGES:
        dataset, trainer = images(name, folder)
        for seed in range(seeds):
            trainer.fitted.clear()
            yield Case(name, seed, len(dataset.images), partial(ridge_world, dataset, trainer, seed), "ridge", True)
        return
    seed = -1
    for _ in range(seeds):
        while (drawn := simulated_worlds.draw(name, 2027, seed := seed + 1)).n > MOST:
            pass
        world = partial(DifficultyWorld, drawn.n, drawn.curve, seed=drawn.luck)
        yield Case(name, seed, drawn.n, world, "resnet18", False)


# ---------------------------------------------------------------------------------------------------------
# Methods

MCAL: dict[str, Callable[..., Config]] = {
    "MCAL, certified": partial(Config.certified, **FIRST),
    "MCAL": partial(Config, **FIRST),
    "MCAL, T ages": partial(Config, **{**FIRST, "age_test_set": True}),
    "MCAL as printed": Config.paper,
}
"""With the defaults of version 0.1, as the recorded runs of the bench."""


def methods(case: Case, config: Config, certified: Outcome) -> dict[str, PeerAlgorithm]:
    """The peers of MCAL in a case, by name."""
    n, arch = case.n, case.architecture
    shares = Budget(**{kind: round(share * n) for kind, share in SHARES.items()})
    equal = Budget(len(certified.B), len(certified.T) + len(certified.V))
    found: dict[str, PeerAlgorithm] = {
        "active learning to 5 %": baselines.naive_al(n, config, arch, DELTA),
        "TBAL, its own shares": tbal(n, config, arch, shares),
        "TBAL, equal labels": tbal(n, config, arch, equal),
        "TBAL on X, equal labels": tbal_on_X(n, config, arch, equal),
        "Ground Truth": ground_truth(n, config, arch),
        "PAC labels, MCAL's B": pac_labels(n, config, arch, certified, case.seed),
    }
    if case.has_classes:
        found["Colander, its own shares"] = colander(n, config, arch, shares)
        found["Colander, equal labels"] = colander(n, config, arch, equal)
        found["confident learning, MCAL's B"] = confident_labels(n, config, arch, certified)
    return found


def measure(case: Case, service: str) -> Iterator[dict[str, Any]]:
    """What each method does in a case at the prices of a service."""
    prices = {"label_price": costs.label_price(service), "training_price": PRICE}
    certified = None
    for name, reading in MCAL.items():
        done = deliver(mcal(case.n, reading(**prices), case.architecture), case.world())
        certified = certified or done.outcome
        yield row(case, service, name, done)
    assert certified
    for name, algorithm in methods(case, Config(**FIRST, **prices), certified).items():
        yield row(case, service, name, deliver(algorithm, case.world()))


def row(case: Case, service: str, method: str, done: Delivered) -> dict[str, Any]:
    out, bill = done.outcome, done.outcome.ledger
    return {
        "case": case.name, "service": service, "seed": case.seed, "method": method, "n": case.n,
        "cost": f"{bill.total:.6g}", "humans_only": f"{bill.humans_only:.6g}", "training": f"{bill.training:.6g}",
        "T": len(out.T), "B": len(out.B), "V": len(out.V), "S": len(out.S), "R": len(out.R),
        "trainings": len(out.history), "error": f"{done.error:.6g}", "error_on_S": f"{done.error_of_machine:.6g}",
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# Summary


def clopper_pearson(broken: int, runs: int) -> tuple[float, float]:
    """The exact 95 % interval of a share."""
    low = beta.ppf(0.025, broken, runs - broken + 1) if broken else 0.0
    high = beta.ppf(0.975, broken + 1, runs - broken) if broken < runs else 1.0
    return float(low), float(high)


def bootstrap(values: np.ndarray, draws: int = 10_000) -> tuple[float, float]:
    """The 95 % interval of the mean of ``values`` by redrawing them."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def summary(runs: pd.DataFrame, epsilon: float = 0.05) -> pd.DataFrame:
    """A row for each case, service and method; costs are shares of humans only, ``cost`` is in US dollars.

    Case "simulated" is all worlds that are drawn.
    """
    drawn = runs[~runs["case"].isin(list(IMAGES))]
    pooled = drawn.assign(seed=drawn["case"] + drawn["seed"].astype(str), case="simulated")
    runs, rows = pd.concat([runs, pooled]), []
    for (case, service), group in runs.groupby(["case", "service"], sort=False):
        certified = group[group["method"] == "MCAL, certified"].set_index("seed")
        for method, some in group.groupby("method", sort=False):
            one = some.set_index("seed")
            share = one["cost"] / one["humans_only"]
            base = (certified["cost"] / certified["humans_only"]).loc[one.index]
            broken = int((one["error"] >= epsilon).sum())
            before = one["T"] + one["B"] + one["V"]
            more = (share - base).to_numpy()
            rows.append(
                {
                    "case": case, "service": service, "method": method, "runs": len(one),
                    "cost": one["cost"].mean(), "cost_share": share.mean(),
                    "machine": (one["S"] / one["n"]).mean(), "labels_before": (before / one["n"]).mean(),
                    "training_share": (one["training"] / one["humans_only"]).mean(),
                    "error": one["error"].mean(), "error_on_S": one["error_on_S"].mean(),
                    "broken": broken / len(one),
                    **dict(zip(("broken_low", "broken_high"), clopper_pearson(broken, len(one)), strict=True)),
                    "broken_on_S": (one["error_on_S"] > epsilon).mean(), "more_than_certified": more.mean(),
                    **dict(zip(("more_low", "more_high"), bootstrap(more), strict=True)),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


# ---------------------------------------------------------------------------------------------------------
# The data of PAC labels

PAC_DATA = {"stance": 500, "misinfo": 500, "bias": 500, "imagenetv2": None, "imagenet": None}
"""Their data sets with zero-one loss, and their numbers of calibration labels; none: a tenth of the data."""


def on_pac_data(folder: Path, draws: int, epsilon: float = 0.05, risk: float = 0.05) -> list[dict[str, Any]]:
    """PAC labels and MCAL's certificate on given predictions, with as many calibration labels; ties by chance."""
    rows = []
    for name, sample in PAC_DATA.items():
        if not (folder / f"{name}.csv").exists():
            continue
        table = pd.read_csv(folder / f"{name}.csv")
        given = "Yhat" if "Yhat" in table else "Yhat (GPT4o)"
        wrong, confidence = (table["Y"] != table[given]).to_numpy(), table["confidence"].to_numpy()
        m = sample or len(table) // 10
        found = [one_draw(wrong, confidence, m, epsilon, risk, np.random.default_rng([7, i])) for i in range(draws)]
        for method in found[0]:
            saved, error = np.array([one[method] for one in found]).T
            low, high = clopper_pearson(broken := int((error >= epsilon).sum()), draws)
            rows.append(
                {
                    "data": name, "n": len(table), "wrong": wrong.mean(), "calibration": m, "draws": draws,
                    "method": method, "saved": saved.mean(), "error": error.mean(), "broken": broken / draws,
                    "broken_low": low, "broken_high": high,
                }
            )  # fmt: skip
    return rows


def one_draw(
    wrong: np.ndarray, confidence: np.ndarray, m: int, epsilon: float, risk: float, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Share of labels saved, and error of all labels, by method."""
    n = len(wrong)
    surer = confidence + 1e-5 * rng.standard_normal(n)
    draws = rng.integers(0, n, m)
    machine = surer > pac_threshold(surer, draws, wrong[draws], epsilon, risk)
    machine[draws] = False
    found = {"PAC labels": (machine.mean(), (machine & wrong).mean())}
    V = np.zeros(n, bool)
    V[rng.choice(n, m, replace=False)] = True
    order = np.argsort(-surer)
    ahead = np.cumsum(~V[order])[V[order] & wrong[order]]
    machine_size, _ = certificate.largest_certified_prefix(n - m, m, ahead, epsilon * n, risk)
    machine = np.zeros(n, bool)
    machine[order[~V[order]][:machine_size]] = True
    found["MCAL's certificate"] = (machine.mean(), (machine & wrong).mean())
    return found


# ---------------------------------------------------------------------------------------------------------


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=[], choices=[*IMAGES, *simulated_worlds.FAMILIES])
    parser.add_argument("--services", nargs="*", default=["amazon", "satyam"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--runs", type=Path, help="one line for each run, CSV")
    parser.add_argument("--append", action="store_true", help="add to the runs instead of replacing them")
    parser.add_argument("--summary", type=Path, help="one line for each method, CSV, from all of --runs")
    parser.add_argument("--pac-data", type=Path, help="folder of the data sets of PAC labels, CSV")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="table of --pac-data, CSV")
    parser.add_argument("--features", type=Path, default=Path.home() / ".cache/mcal_jax_bench", help="kept features")
    return parser


def main() -> None:
    args = arguments().parse_args()
    if args.cases:
        with args.runs.open("a" if args.append else "w", newline="", encoding="utf-8") as file:
            writer = None
            in_turn = zip(*(cases(name, args.seeds, args.features) for name in args.cases), strict=True)
            for case in itertools.chain.from_iterable(in_turn):
                rows = [one for service in args.services for one in measure(case, service)]
                if writer is None:
                    writer = csv.DictWriter(file, list(rows[0]))
                    if not args.append:
                        writer.writeheader()
                writer.writerows(rows)
                file.flush()
                print(case.name, case.seed, flush=True)
    if args.summary:
        table = summary(pd.read_csv(args.runs))
        table.to_csv(args.summary, index=False, float_format="%.5g")
        print(table.to_string(float_format="%.4f"))
    if args.pac_data:
        table = pd.DataFrame(on_pac_data(args.pac_data, args.draws))
        print(table.to_string(float_format="%.4f"))
        if args.out:
            table.to_csv(args.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
