"""Does the certificate hold for real classifiers? V drawn again and again for the last classifier of recorded runs.

    python bench/redraw.py --draws 1000 --out results/bench/redraw.csv
    python bench/redraw.py --draws 1000 --class-epsilon 0.15 --out results/bench/redraw_classes.csv

For every recorded certified run of the shipped images at profile laptop: its last net is trained again, then V is drawn
``--draws`` times, S chosen by each, and the true error counted. ``broke`` is the share of draws that deliver epsilon
or more: the confidence is kept if it is at most 5 % on average, and each run alone may differ from that only by luck.
With ``--class-epsilon`` a draw is broken too if any class gets so large a share of wrong labels.
"""

import argparse
from pathlib import Path

import numpy as np
from tables import publish

from mcal_jax.algorithm import acquisition, certificate
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.protocol import MachineLabel, Verification
from mcal_jax.runs import execution, sweeps
from mcal_jax.worlds.trained import TrainedWorld


def last_ranking(planned: sweeps.Planned) -> tuple[execution.LoggedRun, np.ndarray, np.ndarray]:
    """A recorded run, and for U as its last classifier left it, most confident first: its labels, and the truth."""
    result = execution.execute(planned.run, profile="laptop", emit=lambda line: None)
    outcome = result.outcome
    world = execution.world_of(planned.run, result.job, result.dataset)
    assert isinstance(world, TrainedWorld)
    assert world.truth is not None
    steps = result.record.steps
    for number, (request, answer) in enumerate(steps):
        world.restore(request, number, answer)
    (last,) = [request.model for request, _ in steps if isinstance(request, MachineLabel)]
    U = np.sort(np.concatenate([outcome.V, outcome.S, outcome.R]))
    scores = world._score_pool(last, U)
    order = acquisition.rank_confident(scores)
    return result, scores.label[order], world.truth[U][order]


def redraw(planned: sweeps.Planned, draws: int, class_epsilon: float | None) -> dict[str, float]:
    result, label, truth = last_ranking(planned)
    outcome, job, n, pool = result.outcome, result.job, result.job.n, len(label)
    wrong, called = label != truth, np.bincount(label, minlength=len(result.dataset.classes))
    config = Config.model_validate({**job.config.model_dump(), "class_epsilon": class_epsilon})
    rng = np.random.default_rng(0)
    errors, machines, worst = [], [], []
    for _ in range(draws):
        drawn = np.zeros(pool, bool)
        drawn[rng.choice(pool, len(outcome.V), replace=False)] = True
        ahead = acquisition.rank_within_class(np.arange(pool), ~drawn, label)
        left = np.bincount(label[~drawn], minlength=len(called))
        verification = Verification(np.cumsum(~drawn)[drawn], wrong[drawn], label[drawn], ahead[drawn], left)
        certified = certificate.certificate(n, int(left.sum()), 0, verification, config)
        confident = np.arange(certified.machine)
        S = np.flatnonzero(~drawn)[acquisition.apply_class_limits(certified.limits, confident, label[~drawn])]
        mistakes = np.bincount(label[S], weights=wrong[S], minlength=len(called))
        errors.append(mistakes.sum() / n)
        machines.append(len(S) / n)
        worst.append((mistakes / np.maximum(called, 1)).max())
    broke = (np.array(errors) >= config.epsilon) | (np.array(worst) >= (class_epsilon or np.inf))
    return {
        "seed": planned.run.seed, "U": pool, "V": len(outcome.V), "draws": draws, "broke": float(broke.mean()),
        "mean_error": float(np.mean(errors)), "p95_error": float(np.quantile(errors, 0.95)),
        "mean_S": float(np.mean(machines)), "worst_class": float(np.mean(worst)),
        "error_of_the_run": float(result.delivery.true_error or 0),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--class-epsilon", type=float)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = sweeps.planned("certified", "laptop", data_set="fashion_mnist_10k", preset="certified")
    rows = []
    for one in found[: args.seeds]:
        rows.append(redraw(one, args.draws, args.class_epsilon))
        print(rows[-1], flush=True)
    share = np.array([row["broke"] for row in rows])
    print(f"broke in {share.mean():.4f} of the draws, standard error over runs {share.std() / np.sqrt(len(share)):.4f}")
    publish(rows, args.out)


if __name__ == "__main__":
    main()
