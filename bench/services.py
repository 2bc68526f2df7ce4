"""Several labelling services under one certificate against each alone, over simulated worlds.

    python bench/services.py --worlds 200 --seed 19 --out results/bench/services.csv

needs: the package alone. Each world (bench/simulated_worlds.py, family drawn) has an expert, who never errs, at the
price of the world, and a crowd that errs with a chance of 0.5 to 10 % at 5 to 50 % of that price. Also on offer are the
majorities of three and of five of the crowd, whose error is taken for that of humans who all fall for the same class.
Who labels T and V, B, and R is chosen before the run, by the law of the world (``choose_services``). A wrong label of B
teaches less: the world takes (1 - 2 error)^p labels for one, p drawn from 0 to 3; the choice supposes 2.

For each way to choose: the cost in units of the expert's, median and quartiles; how often all labels together are wrong
in epsilon |X| images or more, with the exact 95 % interval; and who was chosen.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import beta
from simulated_worlds import World, draw
from tables import publish

from mcal_jax.algorithm.choose_services import choose_services
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.services import PURPOSES, Service, Services
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import drive
from mcal_jax.worlds.simulated import Curve, SimulatedWorld

WAYS = {
    "expert alone": ("expert",),
    "crowd alone, the best number of votes": ("crowd", "crowd x3", "crowd x5"),
    "chosen": ("crowd", "crowd x3", "crowd x5", "expert"),
}
"""The services on offer; alone: one service labels everything."""


class LessTaught(NamedTuple):
    """The curve of a classifier to which a label is worth ``worth`` right ones."""

    curve: Curve
    worth: float

    def wrong_share(self, theta: np.ndarray, size: float) -> np.ndarray:
        return self.curve.wrong_share(theta, max(size * self.worth, 2))


class Ended(NamedTuple):
    """What is kept of a run: US dollars (NaN where no choice keeps epsilon), the true error, and who labelled what."""

    cost: float
    error: float
    chosen: str


def offered(world: World, rng: np.random.Generator) -> dict[str, Service]:
    """The services of a world, by name."""
    price = float(np.exp(rng.uniform(np.log(0.05), np.log(0.5)))) * world.label_price
    crowd = Service(name="crowd", price=price, error=float(np.exp(rng.uniform(np.log(0.005), np.log(0.1)))))
    every = [Service(name="expert", price=world.label_price), crowd, crowd.voting(3), crowd.voting(5)]
    return {one.name: one for one in every}


def one_world(number: int, *, seed: int) -> dict[str, Ended]:
    """How each way of ``WAYS`` ends in world ``number``."""
    world, rng = draw("drawn", seed, number), np.random.default_rng([seed, number, 19])
    services, power = offered(world, rng), rng.uniform(0, 3)
    price = PerImageEpoch(dollars=world.training_price)
    config = Config.certified(label_price=world.label_price, training_price=price)
    chosen = {way: choose(world, config, [services[name] for name in names], way) for way, names in WAYS.items()}
    ended = {who: run(world, config, who, power) for who in set(chosen.values())}  # two ways may choose the same
    return {way: ended[who] for way, who in chosen.items()}


def choose(world: World, config: Config, services: Sequence[Service], way: str) -> Services | None:
    """Who labels what, one service in all roles but in the last of WAYS; None where no choice keeps epsilon."""
    try:
        choice = choose_services(world.n, services, config, world.curve.wrong_share)
    except McalError:  # too many mistakes
        return None
    if way == "chosen":
        return choice.services
    best = next(one for one in services if one.name == min(choice.alone, key=lambda name: choice.alone[name]))
    return Services(test=best, train=best, residual=best)


def run(world: World, config: Config, chosen: Services | None, power: float) -> Ended:
    """How a run with the ``chosen`` services ends."""
    if chosen is None:
        return Ended(float("nan"), 0.0, "none")
    curve = LessTaught(world.curve, (1 - 2 * chosen.train.error) ** power)
    noise = {purpose: chosen.of(purpose).error for purpose in PURPOSES}
    simulated = SimulatedWorld(world.n, curve, noise=noise, seed=world.luck, persistence=world.persistence)
    delivery = drive(Job(n=world.n, config=config.model_copy(update={"services": chosen})), simulated)
    assert delivery.true_error is not None
    names_of = (chosen.test.name, chosen.train.name, chosen.residual.name)
    return Ended(delivery.outcome.ledger.total, delivery.true_error, " / ".join(names_of))


def keep(path: Path, number: int, ended: dict[str, Ended]) -> None:
    """Add how a world ended to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps([number, ended]) + "\n")


def read(path: Path) -> dict[int, dict[str, Ended]]:
    """How worlds ended, by number, in a file of ``keep``."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    worlds = dict(map(json.loads, lines))
    return {number: {way: Ended(*one) for way, one in ended.items()} for number, ended in sorted(worlds.items())}


def interval(broken: int, runs: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    low = float(beta.ppf(0.025, broken, runs - broken + 1)) if broken else 0.0
    return low, float(beta.ppf(0.975, broken + 1, runs - broken)) if broken < runs else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--runs", type=Path, help="a line for each world, JSON; those that it has are not run again")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    worlds = read(args.runs) if args.runs else {}
    todo = [number for number in range(args.worlds) if number not in worlds]
    with ProcessPoolExecutor(args.jobs) as pool:
        for number, ended in zip(todo, pool.map(partial(one_world, seed=args.seed), todo), strict=True):
            worlds[number] = ended
            if args.runs:
                keep(args.runs, number, ended)
    rows = []
    for way in WAYS:
        ended = [world[way] for world in worlds.values()]
        ratio = np.array([world[way].cost / world["expert alone"].cost for world in worlds.values()])
        ran = ~np.isnan(ratio)
        broken = int(sum(one.error >= Config().epsilon for one, kept in zip(ended, ran, strict=True) if kept))
        low, high = interval(broken, int(ran.sum()))
        quartiles = np.quantile(ratio[ran], [0.25, 0.5, 0.75])
        most = Counter(one.chosen for one in ended).most_common(4)
        rows.append({
            "services": way, "worlds": int(ran.sum()), "cost_median": quartiles[1], "cost_q1": quartiles[0],
            "cost_q3": quartiles[2], "cheaper_than_expert": float((ratio[ran] < 1).mean()), "broken": broken,
            "broken_low": low, "broken_high": high,
            "error_median": float(np.median([one.error for one, kept in zip(ended, ran, strict=True) if kept])),
            "T_V/B/R": "; ".join(f"{name}: {count}" for name, count in most),
        })  # fmt: skip
    publish(rows, args.out, worlds_of=f"drawn, seed {args.seed}")


if __name__ == "__main__":
    main()
