"""How near MCAL comes to the clairvoyant optimum, over worlds drawn at random.

    python bench/simulated_worlds.py --worlds 200 --seed 1

For each reading of the paper: median and 90th percentile of (dollars / dollars of the clairvoyant, who knows the
curve and trains once, at the best |B|), and the share of runs whose true error is epsilon or more. All readings
meet the same worlds. ``--out`` writes the table as CSV.
"""

import argparse
import csv
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcal_jax.runlog import drive
from mcal_jax.types import Config, Job, PerImageEpoch
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld, clairvoyant

READINGS = {
    "recommended": Config,
    "certified": partial(Config, certify=0.95),
    "paper": Config.paper,
    "authors_code": Config.authors_code,
}


class World(NamedTuple):
    """|X|, dollars a label and per image and epoch, the curve, and how much of T's luck lasts."""

    n: int
    label_price: float
    training_price: float
    curve: Analytic
    persistence: float


def draw(seed: int, number: int) -> World:
    """World ``number`` of a seed: sizes and prices over more than an order of magnitude, curves steep to flat."""
    rng = np.random.default_rng([seed, number])
    n = round(np.exp(rng.uniform(np.log(5e3), np.log(2e5))))
    gamma, at_one_percent = rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.7)
    curve = Analytic(
        alpha=at_one_percent * (0.01 * n) ** gamma,
        gamma=gamma,
        k=n * rng.uniform(0.2, 2) if rng.random() < 0.5 else 1e9,
        floor=rng.uniform(0, 0.05) if rng.random() < 0.5 else 0.0,
        quality=rng.uniform(0.5, 4),
    )
    label, training = np.exp(rng.uniform(np.log([0.003, 2e-6]), np.log([0.04, 1e-5])))
    return World(n, float(label), float(training), curve, rng.uniform())


def measure(reading: str, seed: int, number: int) -> tuple[float, bool, int, float]:
    """(cost / clairvoyant cost, whether epsilon broke, trainings, savings) in one world."""
    world = draw(seed, number)
    price = PerImageEpoch(dollars=world.training_price)
    config = READINGS[reading](label_price=world.label_price, training_price=price)
    simulated = SimulatedWorld(world.n, world.curve, seed=number, persistence=world.persistence)
    done = drive(Job(n=world.n, config=config), simulated)
    best = clairvoyant(world.n, world.curve, config)
    assert done.true_error is not None
    bill = done.outcome.ledger
    return bill.total / best.cost, done.true_error >= config.epsilon, len(done.outcome.history), bill.savings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readings", nargs="*", default=list(READINGS), choices=list(READINGS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    columns = ("reading", "worlds", "seed", "median", "p90", "worst", "broke_epsilon", "standard_error",
               "trainings", "mean_savings", "seconds")  # fmt: skip
    rows = []
    print(" ".join(f"{c:>14}" for c in columns))
    with ProcessPoolExecutor() as pool:
        for reading in args.readings:
            began = time.perf_counter()
            numbers = range(args.worlds)
            seeds = [args.seed] * args.worlds
            found = np.array(list(pool.map(measure, [reading] * args.worlds, seeds, numbers, chunksize=5)))
            ratio, broke, trainings, savings = found.T
            share = broke.mean()
            row = (
                reading, args.worlds, args.seed, np.median(ratio), np.percentile(ratio, 90), ratio.max(), share,
                np.sqrt(share * (1 - share) / args.worlds), trainings.mean(), savings.mean(),
                time.perf_counter() - began,
            )  # fmt: skip
            rows.append([f"{v:.3f}" if isinstance(v, float) else v for v in row])
            print(" ".join(f"{v:>14}" for v in rows[-1]), flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with args.out.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])


if __name__ == "__main__":
    main()
