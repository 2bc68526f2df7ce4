"""Intervals by a stratified bootstrap over seeds, as in rliable (Agarwal et al., NeurIPS 2021).

The runs of one setting (all columns but the seed) are a stratum. A draw takes as many of its finished runs, with
replacement, as it has; the other strata are drawn independently.
"""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from mcal_jax.paper.records import COLUMNS, finished

DRAWS = 200
"""Bootstrap samples of an interval."""
STRATUM = [name for name in COLUMNS if name not in ("seed", "state", "run", "record")]
T = TypeVar("T")


class Interval(NamedTuple):
    """A percentile interval of the bootstrap; both ends are NaN where no draw gave a number."""

    low: float
    high: float


def interval(values: "list[float] | np.ndarray", confidence: float = 0.95) -> Interval:
    """The central interval that holds a share ``confidence`` of the finite ``values``."""
    numbers = np.asarray(values, float)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return Interval(np.nan, np.nan)
    tail = (1 - confidence) / 2
    low, high = np.quantile(numbers, [tail, 1 - tail])
    return Interval(float(low), float(high))


def resample(runs: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A bootstrap sample of the finished runs of a frame; the place of each keeps its seed."""
    done = finished(runs).reset_index(drop=True)
    if done.empty:
        return done
    drawn = np.arange(len(done))
    for members in done.groupby(STRATUM, dropna=False, sort=False).indices.values():
        drawn[members] = rng.choice(members, len(members))
    return done.iloc[drawn].assign(seed=done["seed"].to_numpy()).reset_index(drop=True)


def once_a_record(function: Callable[..., T]) -> Callable[..., T]:
    """``function`` of a record and hashable settings, computed once for each: every draw asks for the same ones."""
    known: dict[Hashable, tuple[Any, T]] = {}

    @wraps(function)
    def lookup(record: Any, *settings: Hashable) -> T:
        key = (id(record), *settings)
        if key not in known:
            known[key] = record, function(record, *settings)  # with the record, so that its id stays its own
        return known[key][1]

    return lookup
