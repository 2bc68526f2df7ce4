"""What the figures of errors show, computed from recorded trajectories: learning curves and rankings of the pool."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcal_jax.algorithm import powerlaw
from mcal_jax.algorithm.plan import Law
from mcal_jax.algorithm.protocol import MEASURES, trials
from mcal_jax.errors import McalError
from mcal_jax.paper.frames import over_seeds, seed_count, seed_counts
from mcal_jax.paper.published import data_set_name
from mcal_jax.paper.records import Trajectory, finished

FORMS = ("power", "truncated")
"""The forms of a law that the paper compares."""
COINCIDE = 5e-4
"""Two errors that differ by less, a twentieth of a point, are those of laws that coincide."""


def longest(trajectories: pd.DataFrame) -> Trajectory:
    """The finished trajectory with the most trainings; of several the first."""
    return max(finished(trajectories)["record"], key=lambda one: len(one.fits))


def longest_of_each(trajectories: pd.DataFrame, data_sets: Sequence[str]) -> list[Trajectory]:
    """The ``longest`` trajectory of each of ``data_sets`` that has a finished one."""
    done = finished(trajectories)
    return [longest(done[done["data_set"] == name]) for name in data_sets if name in set(done["data_set"])]


def usable(trajectory: Trajectory, used: Sequence[int]) -> list[int]:
    """The numbers of points that leave a training to predict; half of the trainings if none does.

    Raises McalError for a trajectory of fewer than three trainings.
    """
    trainings = len(trajectory.fits)
    if trainings < 3:
        raise McalError(f"{trajectory.path.name} has {trainings} trainings: too few to predict one from the others")
    return [points for points in used if points < trainings] or [max(trainings // 2, 2)]


def trainings_text(trajectories: Sequence[Trajectory], used: Sequence[int]) -> str:
    """How many trainings were recorded, where that is fewer than the points that were to be used."""
    short = {data_set_name(one.data_set): len(one.fits) for one in trajectories if len(one.fits) <= max(used)}
    each = ", ".join(f"{count} trainings of {name}" for name, count in short.items())
    return f"Recorded: only {each}." if short else ""


def law_rows(trajectory: Trajectory, thetas: Sequence[float], used: Sequence[int]) -> pd.DataFrame:
    """Both laws fitted to the first few trainings of a trajectory, and how well they predict the later ones.

    One row for each theta, law and number of points used: ``miss`` is the mean distance between the predicted error
    and the one counted on T over the trainings that were not used, as a fraction.
    """
    rows = []
    for theta in thetas:
        errors, tested = counts(trajectory, theta)
        for points in used:
            for form in FORMS:
                law = fitted(trajectory, theta, points, form)
                difference = powerlaw.predict([law], trajectory.sizes)[:, 0] - errors / tested
                rows.append(
                    {"data_set": trajectory.data_set, "architecture": trajectory.architecture}
                    | {"theta": theta, "law": form, "points": points, "fitted_as": law.form}
                    | {"alpha": float(np.exp(law.a) * law.B0**law.gamma), "gamma": law.gamma}
                    | {"k": law.B0 / law.kappa if law.kappa > 1e-9 else np.inf}
                    | {"largest_size_used": int(trajectory.sizes[points - 1]), "unused": len(errors) - points}
                    | {"miss": float(np.abs(difference)[points:].mean()), "miss_at_largest": float(difference[-1])}
                )
    return pd.DataFrame(rows)


def mean_miss(rows: pd.DataFrame, law: str) -> float:
    """Mean of ``miss`` over the rows of a law."""
    return float(rows[rows["law"] == law]["miss"].mean())


def counts(trajectory: Trajectory, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors among the top ``theta`` of T, and how many images that is; each [trainings]."""
    errors = np.array([int(fit.errors(theta)) for fit in trajectory.fits])
    return errors, np.array([max(int(trials(theta, fit.n_test)), 1) for fit in trajectory.fits])


def fitted(trajectory: Trajectory, theta: float, points: int, form: str) -> Law:
    """The law of one form fitted to the first ``points`` trainings."""
    errors, tested = counts(trajectory, theta)
    return powerlaw.fit(trajectory.sizes[:points], errors[:points], tested[:points], form)


def same_size_rows(trajectories: pd.DataFrame, thetas: Sequence[float], size: float) -> pd.DataFrame:
    """Figure 4: eps(S^theta) of classifiers trained on the same |B| = ``size`` |X| reached in batches of different
    delta, on the remaining pool (with the true labels) and on T. Batches that do not reach the size are left out.

    ``size`` of a row is |B| in images.
    """
    rows: list[dict[str, Any]] = []
    images: list[int] = []
    for at, one in finished(trajectories)["record"].items():
        i = int(np.argmin(np.abs(one.sizes - size * one.n)))
        if abs(one.sizes[i] / one.n - size) >= 0.005 or i >= len(one.measured):
            continue
        fit, key = one.fits[i], {"run": at, "data_set": one.data_set, "delta": one.delta}
        for theta in thetas:
            eps = {
                "eps_left": float(one.measured[i].eps(theta)),
                "eps_T": fit.errors(theta) / trials(theta, fit.n_test),
            }
            rows.append({**key, "theta": theta, "trained_on": float(one.sizes[i]) / one.n, **eps})
            images.append(int(one.sizes[i]))
    if not rows:
        raise McalError(f"size: no trajectory has a classifier trained on {size:.1%} of X")
    each = pd.DataFrame(rows)
    table = over_seeds(each, ["data_set", "delta", "theta"], ["trained_on", "eps_left", "eps_T"])
    drawn = trajectories[(trajectories["state"] != "finished") | trajectories.index.isin(each["run"])]
    seeds = seed_counts(drawn, ["data_set", "delta"])
    table = table.reset_index().join(seeds, on=["data_set", "delta"])
    table.insert(0, "size", round(float(np.mean(images))))
    return table[["data_set", "size", "delta", "theta", "seeds", *table.columns[4:-1]]]


def nearest_size(trajectories: pd.DataFrame, size: float) -> float:
    """The share |B|/|X| nearest to ``size`` that batches of at least two delta reach; of any if there is none such."""
    reached = [
        (round(float(share), 2), float(share), one.delta)
        for one in finished(trajectories)["record"]
        for share in one.sizes[: len(one.measured)] / one.n
    ]
    deltas = {key: {delta for own, _, delta in reached if own == key} for key, _, _ in reached}
    several = [(key, share) for key, share, _ in reached if len(deltas[key]) > 1 or max(map(len, deltas.values())) < 2]
    return min((share for _, share in several), key=lambda share: abs(share - size))


def ranking_rows(trajectories: pd.DataFrame, bins: int = 20) -> pd.DataFrame:
    """Figures 5 and 6: accuracy and margin of the remaining images, in the order of each M(.), the last choice first.

    One row for each M(.) and twentieth of the images; ``rank`` is the middle of it, 0 the last choice.
    """
    rows, each = [], MEASURES // bins
    for one in finished(trajectories)["record"]:
        last = one.measured[-1]
        for name, wrong in last.errors.items():
            for b in range(bins):
                accuracy = 1 - (wrong[(b + 1) * each] - wrong[b * each]) / (last.n / bins)
                margin = float(np.nanmean(last.margins[name][b * each : (b + 1) * each]))
                rows.append({"acquisition": name, "rank": (b + 0.5) / bins, "accuracy": accuracy, "margin": margin})
    table = over_seeds(pd.DataFrame(rows), ["acquisition", "rank"], ["accuracy", "margin"])
    table.insert(0, "seeds", seed_count(trajectories))
    return table.reset_index()
