"""What a bound on the error within S costs, and what it avoids: ``machine_epsilon``.

    python bench/junk.py --recorded --families drawn logistic recorded unlearnable --worlds 40 --out junk.csv

Eqn 2 lets the machine label epsilon |X| images however badly. For each bound: in how many runs the machine labels
anything (``with_S``), in how many of these most of its labels are wrong (``junk``), the largest share of them that is
wrong, and the savings; ``lost`` is what they are less than without a bound, in the same runs, and ``lost_sd`` the
standard error of that mean.

results/bench/junk.csv: ``--recorded --families unlearnable --worlds 8``, seed 1.

Simulated runs meet the worlds of bench/simulated_worlds.py, and those of ``unlearnable``: between half and 95 % of the
labels are wrong, whatever |B| is, and confidence tells little of which. Recorded runs are those in results/runs/: S is
chosen again for the last classifier of each, by today's laws or by its recorded certificate; their share that is wrong
is that of the S that they delivered, which a bound can only make smaller.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from simulated_worlds import World, draw
from tables import publish

from mcal_jax.algorithm import planner, powerlaw
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.machine_epsilon import without_junk
from mcal_jax.algorithm.plan import Law
from mcal_jax.algorithm.protocol import TrainResult, Verification
from mcal_jax.runs import settings
from mcal_jax.runs.driver import drive
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.worlds.simulated import Analytic

BOUNDS = (None, 0.5, 0.3, 0.2, 0.1)
READINGS = {"recommended": Config, "certified": Config.certified}
DATA_SETS = ("fashion_mnist_10k", "fashion_mnist", "cifar10", "cifar100")
FAMILIES = ("drawn", "logistic", "recorded", "unlearnable")


class Ended(NamedTuple):
    """|S| / |X|, the share of S that is wrong (0 without S), savings, and whether epsilon was broken."""

    machine: float
    wrong: float
    savings: float
    broke: bool


def remembering(fit_all: Callable[..., tuple[Law, ...]]) -> Callable[..., tuple[Law, ...]]:
    """``fit_all``, which fits the same trainings once for all bounds: its laws do not depend on them."""
    laws: dict[tuple, tuple[Law, ...]] = {}

    def fit(history: Sequence[TrainResult], config: Config) -> tuple[Law, ...]:
        trainings = tuple((one.size, one.n_test, one.wrong.tobytes()) for one in history)
        key = config.model_dump_json(exclude={"machine_epsilon"}), trainings
        if key not in laws:
            laws[key] = fit_all(history, config)
        return laws[key]

    return fit


powerlaw.fit_all = remembering(powerlaw.fit_all)


def unlearnable(seed: int, number: int) -> World:
    rng = np.random.default_rng([99, seed, number])
    n, error = round(np.exp(rng.uniform(np.log(1e4), np.log(1e6)))), rng.uniform(0.5, 0.95)
    label, training = np.exp(rng.uniform(np.log([0.001, 2e-6]), np.log([1.0, 1e-5])))
    curve = Analytic(alpha=error, gamma=0.0, quality=rng.uniform(0.01, 0.2), ceiling=0.99)
    return World(n, float(label), float(training), curve, rng.uniform(), int(rng.integers(2**32)))


def simulated(family: str, reading: str, seed: int, number: int) -> list[Ended]:
    """What becomes of one world, by bound."""
    world = unlearnable(seed, number) if family == "unlearnable" else draw(family, seed, number)
    price = PerImageEpoch(dollars=world.training_price)
    ended = []
    for bound in BOUNDS:
        config = READINGS[reading](label_price=world.label_price, training_price=price, machine_epsilon=bound)
        done = drive(Job(n=world.n, config=config), world.simulated())
        S = done.outcome.S
        assert done.true_error is not None
        wrong = float((done.labels[S] != 0).mean()) if len(S) else 0.0
        broke = done.true_error >= config.epsilon
        ended.append(Ended(len(S) / world.n, wrong, done.outcome.ledger.savings, broke))
    return ended


def recorded(path: Path) -> list[Ended] | None:
    """What becomes of the last classifier of a recorded run, by bound; None where the machine labelled nothing."""
    run = RecordedRun(path)
    if run.job.algorithm != "mcal" or not run.is_finished or not run.end["S"] or run.job.config.budget:
        return None
    n, outcome = run.job.n, run.delivery_without_plans.outcome
    true_error = run.end["true_error"]
    ended = []
    for bound in BOUNDS:
        machine = machine_of(run, run.job.config.model_copy(update={"machine_epsilon": bound})) / n
        wrong = true_error * n / len(outcome.S) if machine else 0.0
        savings = outcome.ledger.savings - (len(outcome.S) / n - machine)
        ended.append(Ended(machine, wrong, savings, bool(machine and true_error >= run.job.config.epsilon)))
    return ended


def machine_of(run: RecordedRun, config: Config) -> int:
    """|S| that the last classifier of a run gets: by its certificate, or by the laws, but no more than it got."""
    outcome = run.delivery_without_plans.outcome
    if outcome.certificate:
        (verification,) = [answer for _, answer in run.steps if isinstance(answer, Verification)]
        certified, _ = without_junk(run.job.n, outcome.certificate, verification, config)
        return len(outcome.S) if certified.machine else 0
    history = run.fits[outcome.architecture]
    plan = planner.search(run.job.n, history, outcome.architecture, None, config)
    return min(planner.n_machine(run.job.n, len(outcome.S) + len(outcome.R), plan, config), len(outcome.S))


def rows_of(worlds: str, reading: str, runs: list[list[Ended]]) -> Iterator[dict]:
    """A row for each bound."""
    savings = np.array([[one.savings for one in run] for run in runs])
    for i, bound in enumerate(BOUNDS):
        ended = [run[i] for run in runs]
        lost = savings[:, 0] - savings[:, i]
        yield {
            "worlds": worlds, "reading": reading, "machine_epsilon": "none" if bound is None else bound,
            "runs": len(runs), "with_S": sum(one.machine > 0 for one in ended),
            "junk": sum(one.wrong > 0.5 for one in ended), "largest": max(one.wrong for one in ended),
            "savings": float(savings[:, i].mean()), "lost": float(lost.mean()),
            "lost_sd": float(lost.std() / np.sqrt(len(runs))), "broke": sum(one.broke for one in ended),
        }  # fmt: skip


def of_recorded_runs() -> Iterator[list[dict]]:
    """Rows of the recorded runs, by profile, images and reading."""
    for profile, data_set in itertools.product(("laptop", "paper"), DATA_SETS):
        logs = sorted((settings.results() / "runs" / profile).glob(f"{data_set}-*.jsonl"))
        found = [(log, run) for log in logs if (run := recorded(log))]
        for reading in READINGS:
            if own := [run for log, run in found if is_certified(log) == (reading == "certified")]:
                yield list(rows_of(f"{profile}: {data_set}", reading, own))


def of_simulated_worlds(families: Sequence[str], seed: int, worlds: int) -> Iterator[list[dict]]:
    """Rows of the simulated worlds, by family and reading."""
    for family, reading in itertools.product(families, READINGS):
        yield list(rows_of(family, reading, [simulated(family, reading, seed, number) for number in range(worlds)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", nargs="*", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--recorded", action="store_true", help="the recorded runs, too")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict] = []
    recorded_runs = of_recorded_runs() if args.recorded else iter(())
    for block in itertools.chain(recorded_runs, of_simulated_worlds(args.families, args.seed, args.worlds)):
        print(*block, sep="\n", flush=True)
        rows += block
    publish(rows, args.out)


def is_certified(log: Path) -> bool:
    return bool(RecordedRun(log).job.config.certify)


if __name__ == "__main__":
    main()
