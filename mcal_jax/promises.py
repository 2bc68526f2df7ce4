"""What is promised and what is delivered: the error of the labels and the dollars over many simulated worlds, as
``bench/simulated_worlds.py`` recorded them.

A reading is a configuration under its name: "recommended", "paper", "authors_code", "certified", a law, or "T 2%" for
a certified run whose T is 2 % of X. A world is met by every reading. ``ratio`` is dollars over those of the
clairvoyant, who knows the curve, trains once and buys the paper's T, 5 % of X.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from mcal_jax import plots
from mcal_jax.charts import grouped_rows
from mcal_jax.exhibits import Row
from mcal_jax.plots import COUNT, PERCENT
from mcal_jax.records import Labelling, grouped, spread
from mcal_jax.types import McalError

READINGS = {
    "paper": ("Algorithm 1 as printed", "#D55E00", "--"),
    "authors_code": ("the released code", "#CC79A7", "-."),
    "recommended": ("recommended", "#0072B2", "-"),
    "certified": ("certified, 95 %", "#009E73", "-"),
}
FAMILIES = {"drawn": "power laws", "logistic": "logistic curves", "recorded": "curves of real trainings"}
LAWS = {"power": "power law", "truncated": "truncated (Eqn 3)", "pow3": "pow3, with a floor", "pow4": "pow4"}
TEXT = ("family", "reading")


def load(path: str | Path) -> list[Row]:
    """The recorded runs, one row each. Raises McalError naming the file."""
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        return [{k: v if k in TEXT else float(v) for k, v in row.items()} for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise McalError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def summary(rows: Sequence[Row]) -> list[Row]:
    """For each family and reading: how often epsilon was broken, with the exact 95 % interval, and what it cost."""
    table = []
    for family, own in grouped_rows(rows, "family").items():
        for reading, runs in grouped_rows(own, "reading").items():
            broke = np.array([run["error"] >= run["epsilon"] for run in runs])
            low, high = binomtest(int(broke.sum()), len(runs)).proportion_ci(method="exact")
            ratio = np.array([run["dollars"] / run["clairvoyant"] for run in runs])
            saved = np.array([1 - run["dollars"] / run["humans_only"] for run in runs])
            table.append(
                {
                    "family": family, "reading": reading, "worlds": len(runs), "broke": float(broke.mean()),
                    "broke_low": float(low), "broke_high": float(high), "median_ratio": float(np.median(ratio)),
                    "p90_ratio": float(np.quantile(ratio, 0.9)), "mean_ratio": float(ratio.mean()),
                    "worst_ratio": float(ratio.max()),
                    "bare_ratio": float(np.median([run["dollars"] / run["clairvoyant_without_T"] for run in runs])),
                    "trainings": float(np.mean([run["trainings"] for run in runs])), "savings": float(saved.mean()),
                }
            )  # fmt: skip
    return table


def by_size(rows: Sequence[Row], readings: Sequence[str], bins: int = 4) -> list[Row]:
    """Median and 90th percentile of the ratio over bins of |X|, equally many worlds in each."""
    n = np.array([row["n"] for row in rows])
    edges = np.quantile(n, np.linspace(0, 1, bins + 1))
    table = []
    for reading in readings:
        for low, high in zip(edges, edges[1:], strict=False):
            runs = [row for row in rows if row["reading"] == reading and low <= row["n"] <= high]
            ratio = np.array([run["dollars"] / run["clairvoyant"] for run in runs])
            if len(ratio):
                table.append(
                    {
                        "reading": reading, "n_from": float(low), "n_to": float(high), "worlds": len(runs),
                        "median_ratio": float(np.median(ratio)), "p90_ratio": float(np.quantile(ratio, 0.9)),
                    }
                )  # fmt: skip
    return table


def sizes_of_T(rows: Sequence[Row], bins: int = 3) -> list[Row]:
    """Dollars of certified runs by the size of T, over those of the cheapest size tried in the same world; geometric
    mean over bins of |X|."""
    worlds: dict[tuple[str, float], dict[tuple[float, str], Row]] = {}
    for row in rows:
        if row["reading"].startswith("T "):
            worlds.setdefault((row["family"], row["world"]), {})[row["T"] / row["n"], row["reading"]] = row
    n = np.array([next(iter(runs.values()))["n"] for runs in worlds.values()])
    edges = np.quantile(n, np.linspace(0, 1, bins + 1)) if len(n) else []
    table = []
    for low, high in zip(edges, edges[1:], strict=False):
        here = [runs for size, runs in zip(n, worlds.values(), strict=True) if low <= size <= high]
        for reading in dict.fromkeys(name for runs in here for _, name in runs):
            times = [
                row["dollars"] / min(other["dollars"] for other in runs.values())
                for runs in here
                for (_, name), row in runs.items()
                if name == reading
            ]
            share = float(reading.removeprefix("T ").removesuffix("%")) / 100
            mean = float(np.exp(np.mean(np.log(times))))
            table.append({"n_from": float(low), "n_to": float(high), "T": share, "worlds": len(times), "times": mean})
    return table
