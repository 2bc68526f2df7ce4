"""Does the certificate hold for real classifiers? V drawn again and again for the last classifier of recorded runs.

    python bench/redraw.py --draws 1000 --out results/bench/redraw.csv

For every recorded certified run of the shipped images at profile laptop: its last net is trained again, then V is drawn
``--draws`` times, S chosen by each, and the true error counted. ``broke`` is the share of draws that deliver epsilon
or more: the confidence is kept if it is at most 5 % on average, and each run alone may differ from that only by luck.
"""

import argparse
from pathlib import Path

import numpy as np
from tables import publish

from mcal_jax import acquisition, certify, runs, sweeps
from mcal_jax.types import Annotate, Verified
from mcal_jax.worlds.trained import TrainedWorld


def redraw(planned: sweeps.Planned, draws: int) -> dict[str, float]:
    result = runs.execute(planned.run, profile="laptop", tell=lambda line: None)
    outcome, job, n = result.outcome, result.job, result.job.n
    world = runs._world(planned.run, result.dataset)
    assert isinstance(world, TrainedWorld)
    assert world.truth is not None
    steps = result.replayed.steps
    for number, (request, answer) in enumerate(steps):
        world.restore(request, number, answer)
    (last,) = [request.model for request, _ in steps if isinstance(request, Annotate)]
    U = np.sort(np.concatenate([outcome.V, outcome.S, outcome.R]))
    scores = world._score_pool(last, U)
    order = acquisition.rank_confident(scores)
    wrong = (scores.label != world.truth[U])[order]  # most confident first
    rng = np.random.default_rng(0)
    errors, machines = [], []
    for _ in range(draws):
        drawn = np.zeros(len(U), bool)
        drawn[rng.choice(len(U), len(outcome.V), replace=False)] = True
        ahead = np.cumsum(~drawn)[drawn]
        seen = Verified(ahead, wrong[drawn], np.zeros(len(ahead), np.int32))
        machine = certify.certificate(n, len(U) - len(ahead), 0, seen, job.config).machine
        errors.append(wrong[~drawn][:machine].sum() / n)
        machines.append(machine / n)
    broke = np.array(errors) >= job.config.epsilon
    return {
        "seed": planned.run.seed, "U": len(U), "V": len(outcome.V), "draws": draws, "broke": float(broke.mean()),
        "mean_error": float(np.mean(errors)), "p95_error": float(np.quantile(errors, 0.95)),
        "mean_S": float(np.mean(machines)), "error_of_the_run": float(result.finished.true_error or 0),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = sweeps.planned("certified", "laptop", data_set="fashion_mnist_10k", preset="certified")
    rows = []
    for one in found[: args.seeds]:
        rows.append(redraw(one, args.draws))
        print(rows[-1], flush=True)
    share = np.array([row["broke"] for row in rows])
    print(f"broke in {share.mean():.4f} of the draws, standard error over runs {share.std() / np.sqrt(len(share)):.4f}")
    publish(rows, args.out)


if __name__ == "__main__":
    main()
