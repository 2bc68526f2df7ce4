"""Milliseconds that the planner takes to decide: lines 13 to 23 of Algorithm 1, over the committed run logs.

    python bench/planner.py --out results/bench/planner.csv

Every iteration of every log in results/runs/larger and results/runs/shipped is planned again, ``--repeats`` times:
a law fitted for each of 20 theta, the cost surface, delta. The plans must be those of the replayed run.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from tables import publish
from tqdm import tqdm

from mcal_jax.algorithm import planner
from mcal_jax.runs.driver import replay
from mcal_jax.runs.settings import results


def plan_again(log: Path, repeats: int) -> list[float]:
    """Milliseconds of each planning of the run; of the winner alone, where architectures raced."""
    replayed = replay(log)
    outcome, config = replayed.outcome, replayed.log.job.config
    took = []
    for number, recorded in enumerate(outcome.plans):
        history = outcome.history[: number + 1]
        previous = outcome.plans[number - 1] if number else None
        for _ in range(repeats):
            began = time.perf_counter()
            plan = planner.search(outcome.n, history, outcome.architecture, previous, config)
            took.append(1e3 * (time.perf_counter() - began))
            assert (plan.cost, plan.B_opt, plan.delta) == (recorded.cost, recorded.B_opt, recorded.delta), log
    return took


def row(name: str, iterations: int, took: list[float]) -> dict:
    low, median, high, most = np.percentile(took, [10, 50, 90, 100])
    return {"log": name, "plans": iterations, "timed": len(took), "median_ms": float(median), "p10_ms": float(low),
            "p90_ms": float(high), "max_ms": float(most)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    logs = [log for folder in ("larger", "shipped") for log in sorted((results() / "runs" / folder).glob("*.jsonl"))]
    rows, every = [], []
    for log in tqdm(logs, desc="logs"):
        took = plan_again(log, args.repeats)
        rows.append(row(f"{log.parent.name}/{log.stem}", len(took) // args.repeats, took))
        every += took
    publish([*rows, row("all", len(every) // args.repeats, every)], args.out)


if __name__ == "__main__":
    main()
