"""People who err: the error of the delivered labels against the truth, and what becomes of the certificate.

    python bench/noise.py --worlds 100 --seed 1
    python bench/noise.py --worlds 0 --trained 3

For each share of wrong labels and number of votes a label: in how many runs the certificate is about the truth
(``kept``) and in how many it is told to be relative to people (``refused``), how often a kept one breaks epsilon, the
error against the truth, the bound on what people mislabel, and the dollars, in units of one label by one person for
each image. All rows meet the same worlds, those of bench/simulated_worlds.py; in them a majority errs as often as
independent people who all fall for the same wrong class. ``--trained N`` runs N seeds of the images that ship with the
project instead, where people err in favour of any class.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binom
from simulated_worlds import draw
from tables import publish

from mcal_jax.algorithm.config import FIRST, Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.runs import settings
from mcal_jax.runs.driver import Delivery, drive
from mcal_jax.runs.execution import execute

CERTIFIED = {"certify": 0.95, "repeat": 0.999}
"""People label nearly all of T twice: a smaller share can bound no small rate."""


class Ended(NamedTuple):
    """What is kept of a run; ``alone`` is what one person would ask for labelling all, in dollars."""

    kept: bool
    error: float
    bound: float
    dollars: float
    alone: float


def simulated(noise: float, votes: int, number: int, *, seed: int) -> Ended:
    world = draw("drawn", seed, number)
    price = PerImageEpoch(dollars=world.training_price)
    config = Config(label_price=world.label_price * votes, training_price=price, **FIRST, **CERTIFIED)
    slips = float(binom.sf(votes // 2, votes, noise))
    return ended(drive(Job(n=world.n, config=config), world.simulated(slips)), world.n * world.label_price)


def trained(noise: float, votes: int, number: int) -> Ended:
    changes = {"noise": noise, "votes": votes, "seed": number, "config": {**FIRST, **CERTIFIED}}
    run = settings.describe("fashion_mnist_10k", profile="smoke", **changes)
    with tempfile.TemporaryDirectory() as folder:
        result = execute(run, Path(folder) / "run.jsonl", emit=lambda line: None)
        alone = result.job.n * result.job.config.label_price / votes
        return ended(result.delivery, alone)


def ended(delivery: Delivery, alone: float) -> Ended:
    people = delivery.outcome.annotator_error
    assert people
    assert delivery.true_error is not None
    return Ended(people.counted, delivery.true_error, people.bound, delivery.outcome.ledger.total, alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--trained", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", type=float, nargs="*", default=[0.0, 0.02, 0.05, 0.1])
    parser.add_argument("--votes", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cases: list[tuple[str, int, Callable[..., Ended]]] = [
        ("simulated", args.worlds, partial(simulated, seed=args.seed)),
        ("shipped images", args.trained, trained),
    ]
    rows = []
    with ProcessPoolExecutor(2) as pool:
        for (where, count, one), noise, votes in itertools.product(cases, args.noise, args.votes):
            if not count:
                continue
            runs = list(pool.map(partial(one, noise, votes), range(count)))
            kept = np.array([run.kept for run in runs])
            error, bound, dollars, alone = (np.array([run[i] for run in runs]) for i in range(1, 5))
            broke = error >= Config().epsilon
            rows.append(
                {
                    "where": where, "noise": noise, "votes": votes, "runs": count, "kept": int(kept.sum()),
                    "refused": int((~kept).sum()), "kept_and_broken": int((kept & broke).sum()),
                    "median_error": float(np.median(error)), "p95_error": float(np.quantile(error, 0.95)),
                    "people_at_most": float(np.median(bound)), "dollars": float(np.median(dollars / alone)),
                }
            )  # fmt: skip
            print(rows[-1], flush=True)
    publish(rows, args.out)


if __name__ == "__main__":
    main()
