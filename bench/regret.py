"""Where the cost above that of a clairvoyant comes from, cause by cause, over worlds drawn at random.

    python bench/regret.py --worlds 200 --seed 1
    python bench/regret.py --readings "certified" "certified growth=2" "recommended age_test_set=true safety_z=1.5"

A reading is a preset and what differs from it; "before" in place of a preset's changes stands for the defaults before
T aged. The clairvoyant knows the learning curve, buys T of 5 % of X, trains once on the best |B|, labels without V and
goes just up to epsilon. One decision after the other is replaced by his, in this order, so that the causes add up:

    theta        S is the largest that keeps epsilon; negative where the run broke it
    V            no V is bought
    pool         the images left are as hard as the law of the world says; luck, and the order in which B was chosen
    exploration  only the last training is paid
    T            T is 5 % of X; negative where a run buys less
    over, under  |B| is the best one; the run's was larger, or smaller

All are shares of the clairvoyant's cost, means over worlds. ``broke`` is the share of runs whose true error is epsilon
or more, with its exact 95 % interval; all readings meet the same worlds. Pools hold 2,000 to 60,000 images, a label
costs 0.003 or 0.04 US dollars. In the families that end in "moving" each image has a difficulty of its own, and
acquisition moves the hardest to B (``worlds/difficulty.py``); in the others the pool stays as T is.
"""

import argparse
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from scipy.special import expit, ndtr, ndtri
from scipy.stats import binomtest
from simulated_worlds import Logistic
from simulated_worlds import World as SimplerWorld
from tables import publish
from tqdm import tqdm

from mcal_jax.algorithm import costs, planner
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.protocol import remove
from mcal_jax.runs.driver import drive
from mcal_jax.worlds.difficulty import DifficultyWorld
from mcal_jax.worlds.simulated import THETA_GRID, Analytic, Clairvoyant, Curve, SimulatedWorld, chance, clairvoyant

PRESETS = {"recommended": Config, "certified": Config.certified, "paper": Config.paper}
CAUSES = ("theta", "V", "pool", "exploration", "T", "over", "under")
BEFORE = {"age_test_set": False, "safety_z": 1.0, "min_points": 3, "stability": 0.05}
"""Defaults before T aged."""
PAPERS_T = {"test_fraction": 0.05, "machine_epsilon": None}


# ---------------------------------------------------------------------------------------------------------
# Worlds


class Regimes(NamedTuple):
    """A power law whose slope changes from ``before`` to ``after`` at |B| = ``knee``."""

    error_at_knee: float
    knee: float
    before: float
    after: float
    quality: float

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray:
        slope = self.before if size < self.knee else self.after
        error = self.error_at_knee * (size / self.knee) ** -slope
        return Analytic(alpha=error, gamma=0.0, quality=self.quality).wrong_share(theta, size)


class Plateau(NamedTuple):
    """Little is learned before |B| = ``middle``, then much, then little: log-odds between two levels of the error."""

    high: float
    low: float
    middle: float
    steepness: float
    quality: float

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray:
        learned = expit(self.steepness * np.log(size / self.middle))
        error = self.high * (self.low / self.high) ** learned
        return Analytic(alpha=error, gamma=0.0, quality=self.quality).wrong_share(theta, size)


class Moved(NamedTuple):
    """``curve`` over what is left of ``pool`` images when the |B| hardest have gone.

    An image's rank at choosing and its rank at labelling are correlated by ``stability``, as in DifficultyWorld.
    """

    curve: Curve
    pool: int
    stability: float

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray:
        u = (THETA_GRID[1:] + THETA_GRID[:-1]) / 2
        kept = ndtri(np.clip(1 - size / self.pool, 1e-9, 1 - 1e-9)) - self.stability * ndtri(u)
        left = ndtr(kept / np.sqrt(1 - self.stability**2))
        at = np.concatenate([[0], np.cumsum(left)]) / left.sum()
        wrong = np.concatenate([[0], np.cumsum(left * chance(self.curve, u, size))]) / left.sum()
        return np.interp(theta, at, wrong)


def power(rng: np.random.Generator, n: int, at_one_percent: float) -> Curve:
    gamma, truncated = rng.uniform(0.2, 0.8), rng.random() < 0.5
    k = n * rng.uniform(0.2, 2) if truncated else 1e9
    return Analytic(alpha=at_one_percent * (0.01 * n) ** gamma, gamma=gamma, k=k, quality=rng.uniform(0.5, 4))


def floor(rng: np.random.Generator, n: int, at_one_percent: float) -> Curve:
    gamma = rng.uniform(0.3, 0.9)
    alpha = at_one_percent * (0.01 * n) ** gamma
    return Analytic(alpha=alpha, gamma=gamma, floor=rng.uniform(0.01, 0.08), quality=rng.uniform(0.5, 4))


def logistic(rng: np.random.Generator, n: int, at_one_percent: float) -> Curve:
    slope = rng.uniform(0.4, 1.5)
    level = float(np.log(at_one_percent / (1 - at_one_percent))) + slope * np.log(0.01 * n)
    return Logistic(level, slope, rng.uniform(2, 10), rng.uniform(0, 0.05) if rng.random() < 0.5 else 0.0)


def regimes(rng: np.random.Generator, n: int, at_one_percent: float) -> Curve:
    before, after, knee = rng.uniform(0.1, 0.8), rng.uniform(0.1, 0.8), n * rng.uniform(0.03, 0.2)
    return Regimes(at_one_percent * (knee / (0.01 * n)) ** -before, knee, before, after, rng.uniform(0.5, 4))


def plateau(rng: np.random.Generator, n: int, at_one_percent: float) -> Curve:
    middle, steepness = n * rng.uniform(0.01, 0.15), rng.uniform(1, 3)
    return Plateau(at_one_percent, rng.uniform(0.02, 0.12), middle, steepness, rng.uniform(0.5, 4))


SHAPES = {"power": power, "floor": floor, "logistic": logistic, "regimes": regimes, "plateau": plateau}
FAMILIES = [f"{shape}{moving}" for shape in SHAPES for moving in ("", " moving")]
HELD_OUT = ("plateau", "plateau moving")
"""Families on which no default was chosen."""


class World(SimplerWorld):
    """A world with the curve of what B leaves in its pool."""

    def left(self, tests: int) -> Curve:
        """The curve of what B leaves in the pool."""
        return self.curve if self.stability is None else Moved(self.curve, self.n - tests, self.stability)


def draw(family: str, seed: int, number: int) -> World:
    """World ``number`` of a seed; those of other families, seeds and numbers have nothing in common with it."""
    rng = np.random.default_rng([FAMILIES.index(family), seed, number])
    n = round(np.exp(rng.uniform(np.log(2000), np.log(60_000))))
    curve = SHAPES[family.split()[0]](rng, n, rng.uniform(0.15, 0.7))
    training = float(np.exp(rng.uniform(*np.log([2e-6, 1e-5]))))
    stability = float(rng.uniform(0.5, 0.95)) if family.endswith("moving") else None
    return World(n, rng.choice([0.003, 0.04]), training, curve, rng.uniform(), int(rng.integers(2**32)), stability)


# ---------------------------------------------------------------------------------------------------------
# Regret


def cost_with(world: World, tests: int, size: int, config: Config) -> float:
    """US dollars of the job with these |T| and |B|, one training, and the largest S that keeps epsilon."""
    rest = world.n - tests - size
    machine = largest_machine(world, tests, size, rest, config)
    training = costs.expected_training_cost(size, "resnet18", config)
    return config.label_price * (world.n - machine) + training


def largest_machine(world: World, tests: int, size: int, rest: int, config: Config) -> int:
    """The largest |S| of ``rest`` images that keeps epsilon by the curve."""
    machine = planner.machine_images(world.n, rest, THETA_GRID, config)
    wrong = rest * world.left(tests).wrong_share(THETA_GRID, size)
    return int(machine[wrong < config.epsilon * world.n].max(initial=0))


def largest_by_count(world: DifficultyWorld, outcome: Outcome, rest: np.ndarray, config: Config) -> int:
    """The largest |S| of the images ``rest`` that keeps epsilon with the last classifier's labels."""
    rank, label = world.view(outcome.history[-1].model)
    wrong = np.cumsum(label[rest][np.argsort(rank[rest])])
    return int(np.searchsorted(wrong, config.epsilon * outcome.n))


def regret(
    world: World, simulated: SimulatedWorld | DifficultyWorld, outcome: Outcome, config: Config, best: Clairvoyant
) -> dict[str, float]:
    """By how much each cause raises the cost of the run above that of ``best``, US dollars."""
    n, T, B, V = world.n, len(outcome.T), len(outcome.B), len(outcome.V)
    rest = remove(remove(np.arange(n), outcome.T), outcome.B)
    if isinstance(simulated, DifficultyWorld):
        with_V = largest_by_count(simulated, outcome, remove(rest, outcome.V), config)
        without = largest_by_count(simulated, outcome, rest, config)
    else:
        with_V = largest_machine(world, T, B, len(rest) - V, config)
        without = largest_machine(world, T, B, len(rest), config)
    price, spent = config.label_price, outcome.ledger.training
    once = costs.training_cost(outcome.history[-1], "resnet18", config)
    papers_T = planner.n_test(n, config.model_copy(update=PAPERS_T))
    stages = [
        outcome.ledger.total,
        price * (n - with_V) + spent,
        price * (n - without) + spent,
        cost_with(world, T, B, config) - once + spent,
        cost_with(world, T, B, config),
        cost_with(world, papers_T, min(B, n - papers_T), config),
        best.cost,
    ]
    *causes, size = -np.diff(stages)
    causes += [size, 0.0] if best.size < B else [0.0, size]
    return dict(zip(CAUSES, causes, strict=True))


def config_of(reading: str, **prices: Any) -> Config:
    """The configuration of a reading: a preset, "before" or not, and what differs."""
    preset, *changes = reading.split()
    given: dict[str, Any] = dict(BEFORE) if "before" in changes else {}
    for change in changes:
        if change != "before":
            key, value = change.split("=")
            given[key] = yaml.safe_load(value)
    return PRESETS[preset](**given, **prices)


def measure(readings: list[str], family: str, seed: int, number: int) -> list[dict[str, Any]]:
    """What each reading does in one world."""
    warnings.simplefilter("ignore", RuntimeWarning)
    world = draw(family, seed, number)
    prices = {"label_price": world.label_price, "training_price": PerImageEpoch(dollars=world.training_price)}
    papers = Config(**prices, **PAPERS_T)
    best = clairvoyant(world.n, world.left(planner.n_test(world.n, papers)), papers)
    rows = []
    for reading in readings:
        config = config_of(reading, **prices)
        simulated = world.simulated()
        done = drive(Job(n=world.n, config=config), simulated)
        assert done.true_error is not None
        row = {"family": family, "reading": reading, "broke": done.true_error >= config.epsilon}
        row |= {"dollars": done.outcome.ledger.total, "clairvoyant": best.cost, "hopeless": not best.size}
        rows.append(row | regret(world, simulated, done.outcome, config, best))
    return rows


def summary(rows: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    """One line for each family and reading, and for all tuned and all held-out families together."""
    groups = list(rows.groupby("family", sort=False))
    held = rows["family"].isin(HELD_OUT)
    groups += [(name, own) for name, own in (("all tuned", rows[~held]), ("all held out", rows[held])) if len(own)]
    lines = []
    for family, own in groups:
        for reading, runs in own.groupby("reading", sort=False):
            ratio, broke = runs["dollars"] / runs["clairvoyant"], int(runs["broke"].sum())
            low, high = binomtest(broke, len(runs)).proportion_ci(method="exact")
            line = {"family": family, "reading": reading, "seed": seed, "worlds": len(runs), "median": ratio.median(),
                    "p90": ratio.quantile(0.9), "mean": ratio.mean(), "broke": broke / len(runs), "low": float(low),
                    "high": float(high)}  # fmt: skip
            lines.append(line | {cause: float((runs[cause] / runs["clairvoyant"]).mean()) for cause in CAUSES})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", nargs="*", default=FAMILIES, choices=FAMILIES)
    both = ["recommended before", "certified before", "recommended", "certified"]
    parser.add_argument("--readings", nargs="*", default=both)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0, help="no further worlds after these")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    end = time.monotonic() + 60 * args.minutes
    with ProcessPoolExecutor(args.processes) as pool:
        for number in tqdm(range(args.worlds), desc="worlds of each family"):
            if time.monotonic() > end:
                break
            one = [pool.submit(measure, args.readings, family, args.seed, number) for family in args.families]
            rows += [row for future in one for row in future.result()]
    publish(summary(pd.DataFrame(rows), args.seed), args.out)


if __name__ == "__main__":
    main()
