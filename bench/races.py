"""What a race between two architectures costs beside the better and the worse of them alone, over simulated worlds.

    python bench/races.py --worlds 120 --seed 11 --out results/bench/races.csv

The worlds are those of the family ``drawn`` of simulated_worlds.py, certified. The rival's error at |B| = 1 % of X is
that of the world's curve times exp(N(0, 0.4)), its exponent times exp(N(0, 0.25)), and its training costs a third to
three times as much. In dollars over those of the better one alone: ``race``, of which ``tax`` is the training of the
loser; ``won``, the winner alone; ``worse``, the worse one alone.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from simulated_worlds import draw
from tables import publish

from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.runs.driver import drive
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

SHOWN = {"mean": np.mean, "median": np.median, "p90": partial(np.quantile, q=0.9)}


def rival(curve: Analytic, n: int, rng: np.random.Generator) -> Analytic:
    """A curve that starts a little better or worse, and falls a little faster or slower."""
    first, exponents = 0.01 * n, np.exp(rng.normal(0, [0.25, 0.4]))
    gamma = float(np.clip(curve.gamma * exponents[0], 0.15, 1))
    at_first = curve.alpha * first**-curve.gamma * exponents[1]
    return curve.model_copy(update={"gamma": gamma, "alpha": float(at_first * first**gamma)})


def measure(seed: int, number: int) -> dict[str, float]:
    """The race in one world, and each of the two alone."""
    world, rng = draw("drawn", seed, number), np.random.default_rng([seed, number])
    assert isinstance(world.curve, Analytic)
    curves = {"one": world.curve, "other": rival(world.curve, world.n, rng)}
    prices = {"one": world.training_price, "other": world.training_price * float(np.exp(rng.uniform(-1.1, 1.1)))}
    config = Config.certified(label_price=world.label_price, training_price=PerImageEpoch(dollars=prices))

    def run(*names: str) -> Outcome:
        simulated = SimulatedWorld(world.n, curves, seed=number, persistence=world.persistence)
        return drive(Job(n=world.n, config=config, architectures=names), simulated).outcome

    alone, race = {name: run(name).ledger.total for name in curves}, run(*curves)
    better = min(alone.values())
    return {
        "race": race.ledger.total / better, "tax": race.ledger.race / better,
        "won": alone[race.architecture] / better, "worse": max(alone.values()) / better,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        rows = pd.DataFrame(list(pool.map(partial(measure, args.seed), range(args.worlds), chunksize=4)))
    lines = [{"of": name, **{key: of(rows[name]) for key, of in SHOWN.items()}} for name in rows]
    publish([{"worlds": args.worlds, "seed": args.seed, **line} for line in lines], args.out)


if __name__ == "__main__":
    main()
