"""Bounds on the error and delivered errors: errors and costs over many simulated worlds, as
``bench/simulated_worlds.py`` recorded them, and of real runs.

A reading is a configuration under its name: "recommended", "paper", "authors_code", "certified", a law, or "T 2%" for
a certified run whose T is 2 % of X. Readings of the same seed meet the same worlds. ``ratio`` is the cost over that of
a clairvoyant, who knows the learning curve, trains once, buys the paper's T, 5 % of X, and keeps the reading's bounds.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from mcal_jax.errors import McalError
from mcal_jax.paper.frames import over_seeds, seed_counts
from mcal_jax.paper.records import finished
from mcal_jax.paper.scale import NAMES, images_of
from mcal_jax.plots import READING_COLOURS, percent

READINGS = {
    "paper": ("Algorithm 1 as printed", READING_COLOURS["paper"], "--"),
    "authors_code": ("the released code", READING_COLOURS["authors_code"], "-."),
    "recommended": ("recommended", READING_COLOURS["recommended"], (0, (1, 1))),
    "certified": ("certified, 95 %", READING_COLOURS["certified"], "-"),
}
"""Display name, colour and line style."""
FAMILIES = {"drawn": "power laws", "logistic": "logistic curves", "recorded": "curves of real trainings"}
LAWS = {"power": "power law", "truncated": "truncated (Eqn 3)", "pow3": "pow3", "pow4": "pow4"}
TEXT = ("family", "reading")
PROVENANCE = ("commit", "machine", "device", "versions")


def load(path: str | Path) -> pd.DataFrame:
    """A table of a benchmark, one row for each run, without its provenance. Raises McalError naming the file."""
    try:
        rows = pd.read_csv(path, encoding="utf-8").drop(columns=list(PROVENANCE), errors="ignore")
        rows = rows.astype({name: float for name in rows if name not in TEXT})
    except (OSError, ValueError, TypeError) as error:
        raise McalError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if rows.isna().any(axis=None):
        line = int(np.flatnonzero(rows.isna().any(axis=1))[0]) + 2
        raise McalError(f"{path}: line {line} lacks a value")
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """For each family and reading: how often epsilon was broken, with the exact 95 % interval, and the cost."""
    table = []
    order = {family: place for place, family in enumerate(rows["family"].unique())}
    by_family = rows.sort_values("family", key=lambda own: own.map(order), kind="stable")
    for (family, reading), runs in by_family.groupby(["family", "reading"], sort=False):
        broke, ratio = runs["error"] >= runs["epsilon"], runs["dollars"] / runs["clairvoyant"]
        low, high = binomtest(int(broke.sum()), len(runs)).proportion_ci(method="exact")
        table.append({
            "family": family, "reading": reading, "worlds": len(runs), "broke": broke.mean(),
            "broke_low": float(low), "broke_high": float(high), "median_ratio": ratio.median(),
            "p90_ratio": ratio.quantile(0.9), "mean_ratio": ratio.mean(), "worst_ratio": ratio.max(),
            "bare_ratio": (runs["dollars"] / runs["clairvoyant_without_T"]).median(),
            "trainings": runs["trainings"].mean(), "savings": (1 - runs["dollars"] / runs["humans_only"]).mean(),
        })  # fmt: skip
    return pd.DataFrame(table)


def read_summary(table: pd.DataFrame, epsilon: float) -> str:
    """The ``summary`` in a sentence for each family: how often each reading broke epsilon, with the 95 % interval, and
    its median cost."""
    sentences = []
    for family, own in table[table["reading"].isin(READINGS)].groupby("family", sort=False):
        parts = [
            f"{READINGS[row['reading']][0]} in {percent(round(row['broke'], 3))} of {row['worlds']:,} "
            f"({percent(round(row['broke_low'], 3))} to {percent(round(row['broke_high'], 3))}), at "
            f"{row['median_ratio']:.2f} times the clairvoyant's cost"
            for row in own.to_dict("records")
        ]
        worlds = f"worlds of {FAMILIES[family]}"
        sentences.append(f"More error than {percent(epsilon)}, {worlds}: {'; '.join(parts)}.")
    return "\n\n".join(sentences)


class Rivals(NamedTuple):
    """Two laws in the same worlds: the ``cheapest`` by mean cost over the clairvoyant's, and the ``safest``, which
    broke epsilon in fewest worlds. ``broke`` are their shares of worlds; ``saved`` is what the cheapest costs less
    than the safest, a share of the clairvoyant's cost, with its 95 % interval."""

    cheapest: str
    safest: str
    broke: tuple[float, float]
    saved: tuple[float, float, float]


def rivals(rows: pd.DataFrame) -> Rivals:
    """The cheapest and the safest law over all worlds, which all of them met."""
    own = rows[rows["reading"].isin(LAWS)].assign(
        ratio=lambda runs: runs["dollars"] / runs["clairvoyant"], broke=lambda runs: runs["error"] >= runs["epsilon"]
    )
    means = own.groupby("reading")[["ratio", "broke"]].mean()
    cheapest, safest = str(means["ratio"].idxmin()), str(means["broke"].idxmin())
    by_world = own.pivot_table(index=["family", "seed", "world"], columns="reading", values="ratio")
    saved = by_world[safest] - by_world[cheapest]
    half = 1.96 * saved.std() / np.sqrt(len(saved))
    broke = float(means["broke"][cheapest]), float(means["broke"][safest])
    return Rivals(cheapest, safest, broke, (saved.mean(), saved.mean() - half, saved.mean() + half))


def real(runs: pd.DataFrame) -> pd.DataFrame:
    """Real runs with and without a certificate, by data set and ``recipe``: delivered error and savings, mean and range
    over seeds, ``bound``, the mean of the certified bound, and how many runs ``broke`` epsilon."""
    by = ["data_set", "recipe", "certified"]
    runs = runs.assign(data_set=[run.data.name for run in runs["run"]], recipe=[run.recipe for run in runs["run"]])
    done = finished(runs).rename(columns={"true_error": "error"})
    groups = done.assign(broke=done["error"] >= done["epsilon"]).groupby(by, sort=False)
    table = pd.DataFrame({
        "images": groups["run"].agg(lambda own: images_of(own.iloc[0])),
        "seeds": seed_counts(runs, by),
        "epsilon": groups["epsilon"].first(), "broke": groups["broke"].sum(), "bound": groups["bound"].mean(),
    }, index=groups.size().index)  # fmt: skip
    table = table.join(over_seeds(done, by, ["error", "savings"])).reset_index()
    return table[["data_set", "images", *by[1:], *table.columns[4:]]]


def read_real(rows: pd.DataFrame) -> str:
    """The effect of certificates on real images, in a sentence for each data set and recipe."""
    sentences = []
    for (data_set, recipe), own in rows.groupby(["data_set", "recipe"], sort=False):
        if len(own) == 2:
            row = own.set_index("certified")
            plain, certified = row.loc[False], row.loc[True]
            seeds = "seed" if certified["seeds"] == 1 else "seeds"
            sentences.append(
                f"{NAMES.get(data_set, data_set)}, recipe {recipe}, {certified['seeds']} {seeds}: without a "
                f"certificate {plain['broke']} delivered more error than {percent(plain['epsilon'])}, with one "
                f"{certified['broke']}; savings {percent(plain['savings'])} and {percent(certified['savings'])}, "
                f"error {percent(plain['error'])} and {percent(certified['error'])}."
            )
    return " ".join(sentences)


def read_redrawn(rows: pd.DataFrame) -> str:
    """How often V, drawn again many times for the last classifiers of certified runs (bench/redraw.py), broke
    epsilon."""
    mean, low, high = (percent(round(value, 4)) for value in rows["broke"].agg(["mean", "min", "max"]))
    return (
        f"For the last classifiers of {len(rows)} certified runs of version 0.1, on the images that ship with the "
        f"package, V was drawn {rows['draws'].iloc[0]:,.0f} times more: "
        f"{mean} of the draws broke ε, {low} to {high} by run."
    )


def by_size(rows: pd.DataFrame, readings: Sequence[str], bins: int = 4) -> pd.DataFrame:
    """Median and 90th percentile of the ratio over bins of |X|, with equally many runs in each."""
    table = []
    for low, high, runs in _binned(rows, bins):
        ratio = (runs["dollars"] / runs["clairvoyant"]).groupby(runs["reading"], sort=False)
        for reading, own in ratio:
            if reading in readings:
                counts = {"reading": reading, "n_from": low, "n_to": high, "worlds": len(own)}
                table.append({**counts, "median_ratio": own.median(), "p90_ratio": own.quantile(0.9)})
    return pd.DataFrame(table)


def sizes_of_T(rows: pd.DataFrame, bins: int = 3) -> pd.DataFrame:
    """Cost of certified runs by the size of T, over that of the cheapest size in the same world; geometric mean over
    bins of |X|."""
    table = []
    for low, high, runs in _binned(rows[rows["reading"].str.startswith("T ")], bins):
        times = runs["dollars"] / runs.groupby(["family", "world"])["dollars"].transform("min")
        for reading, own in times.groupby(runs["reading"], sort=False):
            share = float(reading.removeprefix("T ").removesuffix("%")) / 100
            mean = float(np.exp(np.log(own).mean()))
            table.append({"n_from": low, "n_to": high, "T": share, "worlds": len(own), "times": mean})
    return pd.DataFrame(table)


def _binned(rows: pd.DataFrame, bins: int) -> Iterator[tuple[float, float, pd.DataFrame]]:
    """Rows by quantiles of |X|: from, to, and the rows between; a world is in one bin, with all of its runs."""
    if len(rows):
        edges = rows["n"].quantile(np.linspace(0, 1, bins + 1)).to_numpy()
        places = np.searchsorted(edges[1:-1], rows["n"], side="left")
        for i, (low, high) in enumerate(pairwise(edges)):
            yield float(low), float(high), rows[places == i]
