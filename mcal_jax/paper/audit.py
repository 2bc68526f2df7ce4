"""The paper's arithmetic and readings, recomputed as rows of numbers.

Two checks need only the numbers that the paper prints: Table 1 against Eqn 1, and Table 2 solved for what it does not
print. Three need recorded trajectories, in which every pool was measured with the true labels: the constraint on S
against that on X, theta of X against theta of U, and the error estimated from T against that of the pool.

Shares are of |X| unless stated otherwise, costs are US dollars, errors are fractions.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcal_jax.algorithm import costs, planner
from mcal_jax.algorithm.protocol import MEASURES, Measurement, TrainResult
from mcal_jax.paper import published
from mcal_jax.paper.records import Trajectory, finished
from mcal_jax.plots import THETAS

EPOCHS = 200
"""Epochs of the paper's recipe."""
BILLED = 0.9
"""Share of X that the released code bills: it leaves out the test and validation images, a tenth."""
THETA_OF = {"all": "θ of X", "remaining": "θ of U"}
CONSTRAINTS = {"on_X": "constraint on X (Eqn 2)", "on_S": "constraint on S"}


# ---------------------------------------------------------------------------------------------------------
# What the paper prints


def table_1() -> pd.DataFrame:
    """Table 1 against Eqn 1, a row for each data set and service.

    ``least`` is the cost of labelling all but S by hand, (1 - S/X) |X| C_h, without any training; ``least_billed``
    the same with 0.9 |X| billed. ``one_training`` is the cost of a single training on B for 200 epochs at
    ``costs.PAPER_PRICES``. A printed cost is ``possible`` if the least is not above it, rounded to whole dollars as
    it is printed. ``error_on_S`` is the printed error of all labels divided by S/X: the error of the machine's labels
    if humans make no errors.
    """
    rows = []
    for (data_set, service), printed in published.TABLE_1.items():
        n, price = published.IMAGES[data_set], costs.SERVICES[service]
        assert printed.dollars
        least = (1 - printed.S) * n * price
        rate = _paper_price(data_set, "resnet18")
        one_training = printed.B * n * EPOCHS * rate
        rows.append({
            "check": "eqn_1", "data_set": data_set, "service": service,
            "S": printed.S, "printed_dollars": printed.dollars,
            "least": least, "least_billed": BILLED * least, "one_training": one_training,
            "possible": _fits(least, printed.dollars),
            "possible_billed": _fits(BILLED * least, printed.dollars),
            "possible_billed_trained": _fits(BILLED * least + one_training, printed.dollars),
            "printed_error": printed.error, "error_on_S": printed.error / printed.S,
        })  # fmt: skip
    return pd.DataFrame(rows)


def table_2(test_fraction: float = 0.05) -> pd.DataFrame:
    """Table 2 solved, a row for each data set and architecture that has one delta for both services.

    Such an architecture was trained the same way for both, so cost = labels * C_h + training is two equations for two
    unknowns. Batches of delta |X| up to all ``labels`` bought are the most training that fits (humans may have
    labelled R too), so ``rate``, the training cost over the images of all batches and 200 epochs, is the least that
    the paper can have paid per image and epoch. ``rate_without_T`` first subtracts T (a share ``test_fraction``) from
    the labels. ``price`` is that of ``costs.PAPER_PRICES``.
    """
    rows = []
    amazon, satyam = costs.SERVICES["amazon"], costs.SERVICES["satyam"]
    for (data_set, service, architecture), expensive in published.TABLE_2.items():
        cheap = published.TABLE_2[data_set, "satyam", architecture]
        if service != "amazon" or expensive.delta != cheap.delta:
            continue
        n = published.IMAGES[data_set]
        labels = (expensive.dollars - cheap.dollars) / (amazon - satyam)
        training = expensive.dollars - amazon * labels
        row = {"check": "table_2", "data_set": data_set, "architecture": architecture, "delta": expensive.delta}
        row |= {"labels": labels, "training": training, "price": _paper_price(data_set, architecture)}
        for name, bought in (("", labels), ("_without_T", labels - test_fraction * n)):
            batches = int(bought / (expensive.delta * n) + 1e-9)
            images = expensive.delta * n * batches * (batches + 1) / 2
            row |= {f"batches{name}": batches, f"rate{name}": training / (EPOCHS * images) if batches else float("nan")}
        rows.append(row)
    return pd.DataFrame(rows)


def _paper_price(data_set: str, architecture: str) -> float:
    return costs.PAPER_PRICES["grey" if data_set == "fashion_mnist" else "colour"][architecture]


def _fits(least: float, printed: float) -> bool:
    return least <= printed + 0.5


# ---------------------------------------------------------------------------------------------------------
# What recorded trajectories show


def constraints(trajectories: pd.DataFrame, epsilon: float) -> pd.DataFrame:
    """Eqn 2 against eps(S) < epsilon, at each training of each trajectory.

    ``theta`` of U is the largest that the errors on T allow, without a safety margin; ``S`` the share of X that the
    machine then labels, ``true_error`` the wrong labels among all delivered.
    """
    rows = []
    for one, fit, measured in _trainings(trajectories):
        for constraint in CONSTRAINTS:
            config = one.config.model_copy(
                update={"constraint": constraint, "theta_of": "remaining", "safety_z": 0.0, "epsilon": epsilon}
            )
            thetas = planner.FINE_THETAS
            eps = planner.eps_on_test(fit, thetas)
            error = planner.constrained_error(one.n, measured.n, thetas, eps, fit.n_test, config)
            theta = _last(thetas, error < epsilon)
            S = int(planner.machine_images(one.n, measured.n, np.array(theta), config)) / one.n
            row = {"constraint": constraint, "theta": theta, "S": S, "true_error": true_error(one.n, measured, S)}
            rows.append({"check": "constraint", **_named(one, fit), **row})
    return pd.DataFrame(rows)


def thetas_of(trajectories: pd.DataFrame, epsilon: float) -> pd.DataFrame:
    """theta of X against theta of U (line 26), at each training of each trajectory.

    ``promised`` is the |S|/|X| that the errors on T allow: the largest theta with theta eps_T(theta) < epsilon, or for
    theta of U (|U|/|X|) theta eps_T(theta) < epsilon. ``possible`` is the largest that keeps the true error of all
    labels below epsilon, ``left`` is |U|/|X|. ``true_error`` is that of labelling the promised share, or all of U
    where that is smaller.
    """
    rows = []
    for one, fit, measured in _trainings(trajectories):
        left = measured.n / one.n
        possible = largest_share(one.n, measured, epsilon)
        eps = planner.eps_on_test(fit, planner.FINE_THETAS)
        for reading, of in (("all", 1.0), ("remaining", left)):
            promised = of * _last(planner.FINE_THETAS, of * planner.FINE_THETAS * eps < epsilon)
            row = {"theta_of": reading, "promised": promised, "possible": possible, "left": left}
            row["true_error"] = true_error(one.n, measured, promised)
            rows.append({"check": "theta", **_named(one, fit), **row})
    return pd.DataFrame(rows)


def estimates(trajectories: pd.DataFrame, thetas: Sequence[float] = THETAS) -> pd.DataFrame:
    """The error among the top ``theta`` of T against that among the top theta of the pool that is left.

    T is a sample of X, with images of the kind that M(.) takes out of U. ``bias`` = eps_T - eps_U in points
    (per cent); ``sampling`` is one standard error of it, if T were drawn from U.
    """
    rows = []
    for one, fit, measured in _trainings(trajectories):
        for theta in thetas:
            eps_T = float(planner.eps_on_test(fit, np.array([theta]))[0])
            eps_U = float(measured.eps(theta))
            error = float(np.sqrt(eps_U * (1 - eps_U) / max(theta * fit.n_test, 1)))
            row = {"theta": theta, "eps_T": eps_T, "eps_U": eps_U, "bias": 100 * (eps_T - eps_U)}
            rows.append({"check": "estimate", **_named(one, fit), **row, "sampling": 100 * error})
    return pd.DataFrame(rows)


def true_error(n: int, measured: Measurement, share: float) -> float:
    """Share of all ``n`` labels that is wrong if the machine labels the most confident ``share`` of X, or all of
    the pool if it holds less."""
    theta = min(share * n / measured.n, 1.0)
    return float(measured.eps(theta)) * theta * measured.n / n if theta else 0.0


def largest_share(n: int, measured: Measurement, epsilon: float) -> float:
    """The largest |S|/|X| that keeps the true error of all ``n`` labels below ``epsilon``; between the points that
    were measured, linear in the errors."""
    wrong, bound = measured.errors["margin"], epsilon * n
    at = int(np.flatnonzero(wrong < bound)[-1])
    if at < MEASURES:
        return (at + (bound - wrong[at]) / (wrong[at + 1] - wrong[at])) / MEASURES * measured.n / n
    return measured.n / n


def _trainings(trajectories: pd.DataFrame) -> Iterator[tuple[Trajectory, TrainResult, Measurement]]:
    """Every training of a finished trajectory after which a pool was left."""
    for one in finished(trajectories)["record"]:
        for fit, measured in zip(one.fits, one.measured, strict=False):
            yield one, fit, measured


def _named(one: Trajectory, fit: TrainResult) -> dict[str, Any]:
    names = {"data_set": one.data_set, "architecture": one.architecture, "delta": one.delta, "seed": one.run.seed}
    return {**names, "size": fit.size, "B": fit.size / one.n}


def _last(thetas: np.ndarray, allowed: np.ndarray) -> float:
    return float(thetas[allowed][-1]) if allowed.any() else 0.0


def averaged(rows: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Means of ``values`` over the rows that agree in ``by``; ``rows`` is the number of rows, ``seeds`` of seeds."""
    groups = rows.groupby(list(by), sort=False)
    counts = groups["seed"].agg(rows="size", seeds="nunique")
    return groups[list(values)].mean().join(counts).reset_index()


def finest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each data set's smallest delta, that with the most trainings."""
    return rows[rows["delta"] == rows.groupby("data_set")["delta"].transform("min")]
