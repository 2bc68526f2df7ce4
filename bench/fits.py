"""Is any fitted law worse than the best constant one, over all recorded runs?

    python bench/fits.py --out results/bench/fits.csv
    python bench/fits.py --laws truncated --folders laptop shipped larger

Every law of every theta is fitted anew to the trainings of every log under results/runs, to all of them and to the
first 1, 2, ... as the planner did, pooled and each theta alone. What a fit minimises is the deviance of the counts and
the priors, so by their sum (``objective``) no fit may be worse than the best constant, which has a slope of 0 and pays
for it by the prior on the slope. By the ``deviance`` alone a fit may be worse by what the priors are worth: where two
or three points rise, they keep the belief that more labels help, and where no mistake was seen, that one may be.
``deviance_worse`` counts excesses over 0.01, ``by_1`` those over 1. Fewer than five points have one law, which is
counted under the first.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from tables import publish
from tqdm import tqdm

from mcal_jax.algorithm import powerlaw
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Law
from mcal_jax.algorithm.protocol import TrainResult, trials
from mcal_jax.runs.codec import answer_from_json
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import results

ROUNDING = 1e-6  # of the objective; least squares end there


def histories(folders: Sequence[str]) -> Iterator[tuple[Config, list[TrainResult]]]:
    """The trainings of every architecture of every log."""
    for folder in folders:
        for path in sorted((results() / "runs" / folder).glob("*.jsonl")):
            log, found = RunLog.read(path), {}
            for entry in log.entries:
                if entry.request["kind"] == "train":
                    found.setdefault(entry.request["architecture"], []).append(answer_from_json(entry.answer))
            yield from ((log.job.config, history) for history in found.values())


def deviance(errors: np.ndarray, n: np.ndarray, eps: np.ndarray) -> float:
    return float((powerlaw.deviance_residuals(errors, n, eps) ** 2).sum())


def level_prior(a: float) -> float:
    return ((a - powerlaw.LEVEL[0]) / powerlaw.LEVEL[1]) ** 2


def excess(law: Law, sizes, errors, n, slope: tuple[float, float]) -> tuple[float, float]:
    """By how much a fit is worse than the best constant: the objective, a share of the constant's, and the deviance."""
    values = {name: getattr(law, name) for name in powerlaw.FREE[law.form]}
    eps = law.floor + np.exp(powerlaw.log_error(law.a, law.gamma, law.kappa, law.B0, sizes, law.shift))
    fitted = deviance(errors, n, np.minimum(eps, 1.0))
    priors = level_prior(law.a) + ((law.gamma - slope[0]) / slope[1]) ** 2
    priors += sum((value / powerlaw.SPREAD[name]) ** 2 for name, value in values.items())

    def constant(a: float) -> float:
        return deviance(errors, n, np.full(len(sizes), np.exp(a))) + level_prior(a)

    best = minimize_scalar(constant, bounds=powerlaw.BOUNDS["a"], method="bounded", options={"xatol": 1e-9})
    objective = best.fun + (slope[0] / slope[1]) ** 2
    mean = np.full(len(sizes), errors.sum() / n.sum())
    return (fitted + priors - objective) / (1 + objective), fitted - deviance(errors, n, mean)


def all_excesses(history: Sequence[TrainResult], config: Config) -> Iterator[tuple[float, float]]:
    """``excess`` of the law of every theta."""
    laws, slope = powerlaw.fit_all(history, config), powerlaw.SLOPE
    sizes = np.array([fit.size for fit in history], float)
    for theta, law in reversed(list(zip(config.thetas, laws, strict=True))):
        errors = np.array([fit.errors(theta) for fit in history], float)
        n = np.array([max(int(trials(theta, fit.n_test)), 1) for fit in history], float)
        yield excess(law, sizes, errors, n, slope)
        slope = (law.gamma, powerlaw.NEIGHBOUR_SLOPE_SD) if config.share_slopes else powerlaw.SLOPE


def row(law: str, pooled: bool, found: np.ndarray) -> dict:
    objective, deviances = found.T
    return {"law": law, "share_slopes": pooled, "fits": len(found),
            "objective_worse": int((objective > ROUNDING).sum()),
            "worst_objective": float(objective.max()), "deviance_worse": int((deviances > 0.01).sum()),
            "by_1": int((deviances > 1).sum()), "worst_deviance": float(deviances.max())}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--laws", nargs="*", default=["truncated", "power", "pow3", "pow4"], choices=powerlaw.FREE)
    parser.add_argument("--folders", nargs="*", help="under results/runs; without it all of them")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    folders = args.folders or sorted(path.name for path in (results() / "runs").iterdir() if path.is_dir())
    runs, rows = list(histories(folders)), []
    for law in args.laws:
        for pooled in (True, False):
            found: list[tuple[float, float]] = []
            for config, history in tqdm(runs, desc=f"{law}, {'pooled' if pooled else 'alone'}"):
                one = config.model_copy(update={"law": law, "share_slopes": pooled})
                least = 1 if law == args.laws[0] else powerlaw.POINTS_FOR_BEND
                for points in range(least, len(history) + 1):
                    found += all_excesses(history[:points], one)
            rows.append(row(law, pooled, np.array(found)))
    publish(rows, args.out)


if __name__ == "__main__":
    main()
