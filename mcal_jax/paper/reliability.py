"""What is promised and what is delivered: the error of the labels and the dollars over many simulated worlds, as
``bench/simulated_worlds.py`` recorded them.

A reading is a configuration under its name: "recommended", "paper", "authors_code", "certified", a law, or "T 2%" for
a certified run whose T is 2 % of X. A world is met by every reading. ``ratio`` is dollars over those of the
clairvoyant, who knows the curve, trains once and buys the paper's T, 5 % of X.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy.stats import binomtest

from mcal_jax import plots
from mcal_jax.errors import McalError
from mcal_jax.paper.figures import grouped_rows
from mcal_jax.paper.published import DATA_SETS
from mcal_jax.paper.records import Labelling, grouped, picture, seeds, spread
from mcal_jax.paper.tables import Row
from mcal_jax.plots import PERCENT, percent

READINGS = {
    "paper": ("Algorithm 1 as printed", "#D55E00", "--"),
    "authors_code": ("the released code", "#CC79A7", "-."),
    "recommended": ("recommended", "#0072B2", "-"),
    "certified": ("certified, 95 %", "#009E73", "-"),
}
FAMILIES = {"drawn": "power laws", "logistic": "logistic curves", "recorded": "curves of real trainings"}
LAWS = {"power": "power law", "truncated": "truncated (Eqn 3)", "pow3": "pow3, with a floor", "pow4": "pow4"}
TEXT = ("family", "reading")
MADE = ("commit", "machine", "device", "versions")


def load(path: str | Path) -> list[Row]:
    """A table of a benchmark, numbers as numbers, one row for each run. Raises McalError naming the file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [{k: v if k in TEXT else float(v) for k, v in row.items() if k not in MADE} for row in rows]
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


def read_summary(table: Sequence[Row], epsilon: float) -> str:
    """What the table says, in a sentence for each family."""
    sentences = []
    for family, own in grouped_rows(table, "family").items():
        told = [
            f"{READINGS[row['reading']][0]} {percent(round(row['broke'], 3))} ({percent(round(row['broke_low'], 3))} "
            f"to {percent(round(row['broke_high'], 3))}) at {row['median_ratio']:.2f} times the clairvoyant's dollars"
            for row in own
            if row["reading"] in READINGS
        ]
        if told:
            worlds = f"{own[0]['worlds']:,} worlds of {FAMILIES[family]}"
            sentences.append(f"More error than {percent(epsilon)} in {worlds}: {'; '.join(told)}.")
    return "\n\n".join(sentences)


def real(runs: Sequence[Labelling]) -> list[Row]:
    """Real runs with and without a certificate: delivered error, and dollars, mean and range over seeds."""
    rows = []
    certified = (lambda one: one.run.data.name, lambda one: bool(one.config.certify))
    for (data_set, sure), own in grouped(runs, *certified).items():
        errors = [one.true_error for one in own if one.true_error is not None]
        row: Row = {"data_set": data_set, "images": picture(own[0].run), "certified": sure, "seeds": seeds(own)}
        row |= {"epsilon": own[0].config.epsilon, "broke": sum(e >= own[0].config.epsilon for e in errors)}
        bounds = [one.bound for one in own if one.bound is not None]
        row["bound"] = spread(bounds).mean if bounds else ""
        for name, values in (("error", errors), ("savings", [one.savings for one in own])):
            mean, low, high, _ = spread(values)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return rows


def read_real(rows: Sequence[Row]) -> str:
    """What certificates cost on real images, a sentence for each data set."""
    sentences = []
    for data_set, own in grouped_rows(rows, "data_set").items():
        plain, sure = ({row["certified"]: row for row in own}.get(key) for key in (False, True))
        if plain and sure:
            sentences.append(
                f"{DATA_SETS.get(data_set, data_set)}, {sure['seeds']} seeds: without a certificate "
                f"{plain['broke']} delivered more error than {percent(plain['epsilon'])}, with one {sure['broke']}; "
                f"savings {percent(plain['savings'])} and {percent(sure['savings'])}, "
                f"error {percent(plain['error'])} and {percent(sure['error'])}."
            )
    return " ".join(sentences)


def read_redrawn(rows: Sequence[Row], real: Sequence[Row]) -> str:
    """How often V, drawn again and again for the last classifiers of certified runs (bench/redraw.py), broke epsilon;
    "" where no row of ``real`` is of just so many seeds."""
    if not any(row["certified"] and row["seeds"] == len(rows) for row in real):
        return ""
    broke = np.array([row["broke"] for row in rows])
    return (
        f"For the last classifiers of {len(rows)} of these runs V was drawn {rows[0]['draws']:,.0f} times more: "
        f"{percent(round(broke.mean(), 4))} of the draws broke ε, {percent(round(broke.min(), 4))} to "
        f"{percent(round(broke.max(), 4))} by run."
    )


def by_size(rows: Sequence[Row], readings: Sequence[str], bins: int = 4) -> list[Row]:
    """Median and 90th percentile of the ratio over bins of |X|, equally many runs in each."""
    table = []
    for low, high, here in _binned(rows, bins):
        for reading, runs in grouped_rows(here, "reading").items():
            if reading in readings:
                ratio = np.array([run["dollars"] / run["clairvoyant"] for run in runs])
                table.append(
                    {
                        "reading": reading, "n_from": low, "n_to": high, "worlds": len(runs),
                        "median_ratio": float(np.median(ratio)), "p90_ratio": float(np.quantile(ratio, 0.9)),
                    }
                )  # fmt: skip
    return table


def sizes_of_T(rows: Sequence[Row], bins: int = 3) -> list[Row]:
    """Dollars of certified runs by the size of T, over those of the cheapest size tried in the same world; geometric
    mean over bins of |X|."""
    table = []
    for low, high, here in _binned([row for row in rows if row["reading"].startswith("T ")], bins):
        worlds: dict[tuple[str, float], list[Row]] = {}
        for row in here:
            worlds.setdefault((row["family"], row["world"]), []).append(row)
        least = {key: min(row["dollars"] for row in own) for key, own in worlds.items()}
        for reading, runs in grouped_rows(here, "reading").items():
            times = [run["dollars"] / least[run["family"], run["world"]] for run in runs]
            share = float(reading.removeprefix("T ").removesuffix("%")) / 100
            mean = float(np.exp(np.mean(np.log(times))))
            table.append({"n_from": low, "n_to": high, "T": share, "worlds": len(times), "times": mean})
    return table


def _binned(rows: Sequence[Row], bins: int) -> Iterator[tuple[float, float, list[Row]]]:
    """Rows by quantiles of |X|: from, to, and what lies between; a world is in one bin, with all of its runs."""
    if rows:
        edges = np.quantile([row["n"] for row in rows], np.linspace(0, 1, bins + 1))
        at = np.searchsorted(edges[1:-1], [row["n"] for row in rows], side="left")
        for i, (low, high) in enumerate(pairwise(edges)):
            yield float(low), float(high), [row for row, own in zip(rows, at, strict=True) if own == i]


# ---------------------------------------------------------------------------------------------------------
# Pictures


@plots.use_style()
def delivered(rows: Sequence[Row]) -> Figure:
    """How much of epsilon the delivered error comes to, as shares of worlds; a panel for each family."""
    families = grouped_rows([row for row in rows if row["reading"] in READINGS], "family")
    figure, (axes,) = plots.grid(1, len(families), (3.5 * len(families) + 1.2, 4.3))
    for ax, (family, own) in zip(axes, families.items(), strict=True):
        for reading, runs in grouped_rows(own, "reading").items():
            label, colour, line = READINGS[reading]
            ratio = np.sort([run["error"] / run["epsilon"] for run in runs])
            ax.step(ratio, np.arange(1, len(ratio) + 1) / len(ratio), color=colour, linestyle=line, label=label)
        ax.axvline(1, color="black", linewidth=1)
        ax.set(xlim=(0, 1.8), ylim=(0, 1), title=FAMILIES[family])
        plots.finish(ax, FuncFormatter(lambda value, _: f"{value:g}"), PERCENT, columns=1,
                      xlabel="delivered error / ε", ylabel="share of worlds")  # fmt: skip
    return figure


@plots.use_style()
def prices(sizes: Sequence[Row], tests: Sequence[Row]) -> Figure:
    """Left, dollars over the clairvoyant's against |X|, median and 90th percentile; right, how dollars of certified
    runs depend on the size of T."""
    figure, ((left, right),) = plots.grid(1, 2, (10.2, 4.4))
    for reading, own in grouped_rows(sizes, "reading").items():
        label, colour, line = READINGS[reading]
        x = np.sqrt([row["n_from"] * row["n_to"] for row in own])
        left.plot(x, [row["median_ratio"] for row in own], "o", color=colour, linestyle=line, label=f"{label}, median")
        left.plot(x, [row["p90_ratio"] for row in own], "^", color=colour, linestyle=":", label="90th percentile")
    left.set(xscale="log", ylim=(1, None), title="the price of certainty")
    left.xaxis.set_minor_formatter(NullFormatter())
    ratio = FuncFormatter(lambda value, _: f"{value:.2f}")
    plots.finish(left, y=ratio, xlabel="|X| (images)", ylabel="dollars / clairvoyant's")
    bins = grouped_rows(tests, "n_from")
    for (_, own), colour in zip(bins.items(), plots.shades("Blues", len(bins)), strict=True):
        label = f"|X| = {own[0]['n_from']:,.0f} to {own[0]['n_to']:,.0f}"
        right.plot([row["T"] for row in own], [row["times"] for row in own], "o-", color=colour, label=label)
    right.set(xscale="log", ylim=(1, None), title="how many test labels pay, certified")
    right.xaxis.set_minor_formatter(NullFormatter())
    plots.finish(
        right, PERCENT, ratio, columns=1, xlabel="|T|, share of X", ylabel="dollars / those of the best T tried"
    )
    right.set_xticks(sorted({row["T"] for row in tests}))
    return figure


@plots.use_style()
def regrets(table: Sequence[Row]) -> Figure:
    """Rival laws by dollars: mean and 90th percentile of the ratio, a panel for each family."""
    families = grouped_rows([row for row in table if row["reading"] in LAWS], "family")
    figure, (axes,) = plots.grid(1, len(families), (3.2 * len(families) + 2, 2.9))
    for i, (ax, (family, own)) in enumerate(zip(axes, families.items(), strict=True)):
        for y, row in enumerate(own):
            ax.barh(y, row["mean_ratio"] - 1, 0.62, left=1, color=plots.COLOURS["law"])
            ax.plot([row["p90_ratio"]], [y], "D", color="black", markerfacecolor="white", markersize=6)
            ax.text(row["mean_ratio"], y, f" {row['mean_ratio']:.3f}", va="center", fontsize=9)
        ax.set_yticks(range(len(own)), [LAWS[row["reading"]] for row in own] if i == 0 else [""] * len(own))
        ax.invert_yaxis()
        ax.set(title=FAMILIES[family], xlim=(1, None), xlabel="dollars / clairvoyant's")
    figure.supxlabel("bars: mean; diamonds: 90th percentile", fontsize=9)
    return figure
