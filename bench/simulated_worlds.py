"""How near MCAL comes to the clairvoyant optimum, and how often it breaks its promise, over worlds drawn at random.

    python bench/simulated_worlds.py --worlds 200 --seed 1
    python bench/simulated_worlds.py --readings power truncated pow3 pow4 --families drawn logistic recorded

For each family of worlds and each reading of the paper: median and 90th percentile of (dollars / dollars of the
clairvoyant, who knows the curve and trains once, at the best |B|; he buys the paper's T, 5 % of X, and in ``bare`` none
at all), and the share of runs whose true error is epsilon or more, with its exact 95 % interval. All readings meet the
same worlds. ``--runs`` writes one line for each run as CSV. The notebook ``certificate`` reads
results/bench/world_runs.csv, made with ``--append --runs results/bench/world_runs.csv`` and, as today's presets on
worlds that nobody had seen when they were chosen (the seed was drawn afterwards),

    --seed 727429 --worlds 1000 --families drawn logistic recorded --readings recommended certified

and with ``--seed 2026`` and

    --worlds 1000 --families drawn logistic --readings "certified 0.1" paper
    --worlds 1000 --families recorded --readings "certified 0.1"
    --worlds 200 --families recorded --readings paper "recommended 0.1" authors_code
    --worlds 300 --families drawn logistic --readings "recommended 0.1" authors_code
    --worlds 150 --families drawn --readings "T 0.5%" "T 1%" "T 2%" "T 5%"
    --worlds 150 --families drawn logistic recorded --readings power truncated pow3 pow4

What it saves that V is no larger than its acceptance number needs: ``--seed 2027 --worlds 300 --families drawn logistic
recorded --readings "certified 0.1" trimmed``.

How the next delta is chosen, and how little it matters: ``--seed 77 --worlds 150 --families drawn logistic recorded
--readings "growth 2" "growth 3" "growth 5" "steps 1" "steps 2" "steps 8" "beta 0%" "beta 5%"``.

Families: ``drawn`` has Eqn 3 with and without floor and truncation, on which the defaults were chosen; ``logistic``
has mistakes whose log-odds fall with log |B| and with confidence, and images that nothing learns; ``recorded`` has the
curves of real trainings: the trajectories under results/runs/laptop, and below their first |B|, which is 3 to 20 % of
X, as the trainings of the MCAL runs on the same images, scaled to meet them.
"""

import argparse
import csv
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import logit

from mcal_jax.algorithm.config import FIRST, Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import TrainResult
from mcal_jax.paper import reliability
from mcal_jax.runs import settings
from mcal_jax.runs.codec import answer_from_json
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.difficulty import DifficultyWorld
from mcal_jax.worlds.simulated import THETA_GRID, Analytic, Curve, Recorded, SimulatedWorld, clairvoyant

FIRST_CERTIFIED = partial(Config.certified, **FIRST)
READINGS: dict[str, Callable[..., Config]] = {
    "recommended": Config,
    "certified": Config.certified,
    "recommended 0.1": partial(Config, **FIRST),
    "certified 0.1": FIRST_CERTIFIED,
    "trimmed": partial(Config.certified, **{**FIRST, "certificate": "trimmed"}),
    "paper": Config.paper,
    "authors_code": Config.authors_code,
    **{law: partial(Config, **FIRST, law=law) for law in ("power", "truncated", "pow3", "pow4")},
    **{f"growth {by}": partial(FIRST_CERTIFIED, growth=float(by)) for by in (2, 3, 5)},
    **{f"steps {most}": partial(FIRST_CERTIFIED, max_steps=most) for most in (1, 2, 8)},
    **{f"beta {share}%": partial(FIRST_CERTIFIED, beta=share / 100, max_steps=20) for share in (0, 5)},
    **{f"T {share:g}%": partial(Config, **FIRST, certify=0.95, test_fraction=share / 100) for share in (0.5, 1, 2, 5)},
}
"""The presets are those of today; what varies one setting has the other defaults of version 0.1, as it was recorded."""


PAPERS_T = {"test_fraction": 0.05}
NO_T = {"test_fraction": 1e-9, "bill_test_set": False}


class Logistic(NamedTuple):
    """An image at u is wrong with log-odds ``level`` - ``slope`` log |B| + ``steepness`` (u - 1/2); a share
    ``unlearnable`` of all, anywhere, half of the time."""

    level: float
    slope: float
    steepness: float
    unlearnable: float

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray:
        at_zero = self.level - self.slope * np.log(size) - self.steepness / 2
        area = np.logaddexp(0, at_zero + self.steepness * np.asarray(theta)) - np.logaddexp(0, at_zero)
        return (1 - self.unlearnable) * area / self.steepness + self.unlearnable * np.asarray(theta) / 2


class World(NamedTuple):
    """|X|, dollars a label and per image and epoch, the curve, how much of T's luck lasts, and the luck's seed.

    With a ``stability`` each image has a difficulty of its own, so that acquisition moves the hardest to B.
    """

    n: int
    label_price: float
    training_price: float
    curve: Curve
    persistence: float
    luck: int
    stability: float | None = None

    def simulated(self, noise: float = 0.0) -> SimulatedWorld | DifficultyWorld:
        shared: dict[str, Any] = {"seed": self.luck, "persistence": self.persistence}
        if self.stability is None:
            return SimulatedWorld(self.n, self.curve, noise=noise, **shared)
        return DifficultyWorld(self.n, self.curve, stability=self.stability, **shared)


def drawn(rng: np.random.Generator) -> tuple[int, Curve]:
    n = size(rng)
    gamma, at_one_percent = rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.7)
    curve = Analytic(
        alpha=at_one_percent * (0.01 * n) ** gamma,
        gamma=gamma,
        k=n * rng.uniform(0.2, 2) if rng.random() < 0.5 else 1e9,
        floor=rng.uniform(0, 0.05) if rng.random() < 0.5 else 0.0,
        quality=rng.uniform(0.5, 4),
    )
    return n, curve


def logistic(rng: np.random.Generator) -> tuple[int, Curve]:
    n = size(rng)
    slope, at_one_percent = rng.uniform(0.4, 1.5), rng.uniform(0.15, 0.7)
    level = float(logit(at_one_percent)) + slope * np.log(0.01 * n)
    return n, Logistic(level, slope, rng.uniform(2, 10), rng.uniform(0, 0.05) if rng.random() < 0.5 else 0.0)


def size(rng: np.random.Generator) -> int:
    return round(np.exp(rng.uniform(np.log(1e4), np.log(1e6))))


class Lengthened(NamedTuple):
    """The curve of one run from its ``first`` |B| on, and before it that of ``others``, scaled to meet it."""

    own: Recorded
    first: float
    others: Recorded

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray:
        share = self.own.wrong_share(THETA_GRID, max(size, self.first))
        if size < self.first:
            more = (self.others.wrong_share(THETA_GRID, at) + 1e-4 for at in (size, self.first))
            share = np.minimum(np.maximum.accumulate(share * np.divide(*more)), THETA_GRID)
        return np.interp(theta, THETA_GRID, share)


def pooled(fits: Sequence[TrainResult]) -> TrainResult:
    """Trainings on about as many labels as one, on all their test images together."""
    tests = sum(fit.n_test for fit in fits)
    places = np.sort(np.concatenate([(fit.wrong + 0.5) / fit.n_test for fit in fits]))
    size = round(np.exp(np.mean(np.log([fit.size for fit in fits]))))
    return TrainResult(0, size, tests, (places * tests).astype(int), 0, 0.0)


@cache
def curves() -> list[tuple[int, Lengthened]]:
    """|X| and the learning curve of every trajectory recorded by version 0.1: later ones would change the worlds.

    Before its first |B|, the trainings of MCAL on the same images by the same recipe count whose T did not age: what is
    left of an aged T is no sample of X.
    """
    trajectories, trainings = [], defaultdict(lambda: defaultdict(list))
    for path in sorted((settings.results() / "runs/laptop").glob("*.jsonl")):
        log = RunLog.read(path)
        kind, n = json.dumps([log.run["data"], log.run["recipe"], log.run["width"]]), log.job.n
        fits = [fit for entry in log.entries if isinstance(fit := answer_from_json(entry.answer), TrainResult)]
        if log.job.algorithm == "trajectory" and log.made["versions"]["mcal-jax"].startswith("0.1."):
            trajectories.append((kind, n, tuple(fits)))
        elif log.job.algorithm == "mcal" and not log.job.config.age_test_set:
            for fit in fits:
                trainings[kind][round(4 * np.log2(fit.size / n))].append(fit)
    others = {kind: Recorded(tuple(pooled(at[key]) for key in sorted(at))) for kind, at in trainings.items()}
    return [(n, Lengthened(Recorded(own), own[0].size, others[kind])) for kind, n, own in trajectories]


def recorded(rng: np.random.Generator) -> tuple[int, Curve]:
    return curves()[rng.integers(len(curves()))]


FAMILIES = {"drawn": drawn, "logistic": logistic, "recorded": recorded}


def draw(family: str, seed: int, number: int) -> World:
    """World ``number`` of a seed: sizes over two orders of magnitude, prices of a label over three.

    Worlds of other families, seeds and numbers have nothing in common with it, luck included.
    """
    rng = np.random.default_rng([list(FAMILIES).index(family), seed, number])
    n, curve = FAMILIES[family](rng)
    label, training = np.exp(rng.uniform(np.log([0.001, 2e-6]), np.log([1.0, 1e-5])))
    persistence = rng.uniform() if rng.random() < 0.7 else 0.0
    return World(n, float(label), float(training), curve, persistence, int(rng.integers(2**32)))


def measure(family: str, reading: str, seed: int, number: int) -> dict[str, Any]:
    """What one reading does in one world."""
    world = draw(family, seed, number)
    price = PerImageEpoch(dollars=world.training_price)
    config = READINGS[reading](label_price=world.label_price, training_price=price)
    done = drive(Job(n=world.n, config=config), world.simulated())
    bill, out = done.outcome.ledger, done.outcome
    assert done.true_error is not None
    return {
        "family": family, "reading": reading, "seed": seed, "world": number, "n": world.n,
        "label_price": world.label_price, "error": done.true_error, "epsilon": config.epsilon,
        "promised": out.certificate.bound if out.certificate else out.plans[-1].error,
        "dollars": bill.total, "humans_only": bill.humans_only,
        "clairvoyant": clairvoyant(world.n, world.curve, config.model_copy(update=PAPERS_T)).cost,
        "clairvoyant_without_T": clairvoyant(world.n, world.curve, config.model_copy(update=NO_T)).cost,
        "T": len(out.T), "B": len(out.B), "V": len(out.V), "S": len(out.S), "trainings": len(out.history),
    }  # fmt: skip


def write(path: Path, rows: Sequence[dict[str, Any]], append: bool) -> None:
    lines = [[f"{v:.7g}" if isinstance(v, float) else v for v in row.values()] for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    header = [] if append and path.exists() else [list(rows[0])]
    with path.open("a" if append else "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*header, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", nargs="*", default=["drawn"], choices=list(FAMILIES))
    parser.add_argument("--readings", nargs="*", default=list(READINGS)[:4], choices=list(READINGS))
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--append", action="store_true", help="add to the file instead of replacing it")
    args = parser.parse_args()
    runs: list[dict[str, Any]] = []
    with ProcessPoolExecutor() as pool:
        for family in args.families:
            for reading in args.readings:
                began = time.perf_counter()
                one = partial(measure, family, reading, args.seed)
                found = list(pool.map(one, range(args.worlds), chunksize=5))
                line = reliability.summary(pd.DataFrame(found)).to_dict("records")[0] | {
                    "seconds": time.perf_counter() - began
                }
                if not runs:
                    print(" ".join(f"{name:>13}" for name in line))
                runs += found
                cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in line.values()]
                print(" ".join(f"{cell:>13}" for cell in cells), flush=True)
    if args.runs:
        write(args.runs, runs, args.append)


if __name__ == "__main__":
    main()
