"""The data behind the pictures of a run as columns by name, for ``save`` and ``table``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import TrainResult
from mcal_jax.plots.run import THETAS

PLAN_COLUMNS = ("size", "B_opt", "theta", "cost", "cost_now", "error", "delta", "stable", "form")

Columns = dict[str, Any]


def set_columns(outcome: Outcome) -> Columns:
    """The number of images in each set; V is listed only where the labels are certified."""
    names = "TBSRV" if len(outcome.V) else "TBSR"
    return {"set": list(names), "images": [len(getattr(outcome, name)) for name in names]}


def surface_columns(plan: Plan) -> Columns:
    """The cost surface of a plan: one row for each pair of |B| and theta, at most 100 theta; the cost in US dollars."""
    surface = plan.surface
    step = -(-len(surface.thetas) // 100)
    some = slice(step - 1, None, step)
    size, theta = np.meshgrid(surface.sizes, surface.thetas[some], indexing="ij")
    grids = {"size": size, "theta": theta, "error": surface.error[:, some], "cost": surface.cost[:, some]}
    return {name: grid.ravel() for name, grid in grids.items()}


def size_columns(plan: Plan) -> Columns:
    """C(|B|) of a plan in US dollars, and the theta that reaches it: one row for each |B|."""
    surface = plan.surface
    return {"size": surface.sizes, "cost": surface.least_cost, "theta": surface.best_theta}


def plan_columns(plans: Sequence[Plan]) -> Columns:
    """What each plan decided: one row for each; costs are in US dollars."""
    return {name: [getattr(plan, name) for plan in plans] for name in PLAN_COLUMNS}


def error_columns(history: Sequence[TrainResult], thetas: Sequence[float] = THETAS) -> Columns:
    """The errors counted on T among the most confident theta: one row for each training."""
    columns: Columns = {"size": [fit.size for fit in history], "tested": [fit.n_test for fit in history]}
    return columns | {f"errors_theta_{theta}": [int(fit.errors(theta)) for fit in history] for theta in thetas}
