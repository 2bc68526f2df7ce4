"""The pictures of ``reliability``: delivered errors, costs by |X| and |T|, and costs by law."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from mcal_jax import plots
from mcal_jax.paper.reliability import FAMILIES, LAWS, READINGS
from mcal_jax.plots import PERCENT, percent

RATIO = FuncFormatter(lambda value, _: f"{value:.2f}")


@plots.use_style()
def delivered(rows: pd.DataFrame) -> Figure:
    """The delivered error over epsilon, as shares of worlds; a panel for each family."""
    families = rows[rows["reading"].isin(READINGS)].groupby("family", sort=False)
    figure, (axes,) = plots.grid(1, len(families), (3.5 * len(families) + 1.2, 4.3))
    for ax, (family, own) in zip(axes, families, strict=True):
        for reading, runs in own.groupby("reading", sort=False):
            label, colour, line = READINGS[reading]
            ratio = np.sort(runs["error"] / runs["epsilon"])
            ax.step(ratio, np.arange(1, len(ratio) + 1) / len(ratio), color=colour, linestyle=line, label=label)
        ax.axvline(1, color="black", linewidth=1)
        ax.set(xlim=(0, 1.8), ylim=(0, 1), title=FAMILIES[family])
        plots.finish(ax, FuncFormatter(lambda value, _: f"{value:g}"), PERCENT, columns=1,
                      xlabel="delivered error / ε", ylabel="share of worlds")  # fmt: skip
        ax.get_legend().remove()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    plots.headline(figure, _broken(rows), _shares_broken(rows))
    return figure


def _broken(rows: pd.DataFrame) -> str:
    """The kinds of world in which certified labels break epsilon no more often than in 5 % of the worlds."""
    certified = rows[rows["reading"] == "certified"]
    if certified.empty:
        return "Delivered errors in simulated worlds"
    shares = (certified["error"] > certified["epsilon"]).groupby(certified["family"]).mean()
    kept = sum(share <= 0.05 for share in shares)
    return (
        f"With a certificate of 95 %, at most {percent(round(shares.max(), 3))} of the worlds deliver more error than "
        f"ε, within the 5 % that it allows in {kept} of {len(shares)} kinds of world"
    )


def _shares_broken(rows: pd.DataFrame) -> str:
    """In which share of the worlds of a family each reading delivers more error than epsilon, at least and at most."""
    texts = []
    for reading, (name, *_) in READINGS.items():
        own = rows[rows["reading"] == reading]
        shares = (own["error"] > own["epsilon"]).groupby(own["family"]).mean()
        if len(shares):
            texts.append(f"{name}: {percent(round(shares.min(), 2))} to {percent(round(shares.max(), 2))}")
    return f"More error than ε, share of worlds. {'; '.join(texts)}"


@plots.use_style()
def costs(sizes: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Left, cost over the clairvoyant's against |X|, median and 90th percentile; right, the cost of certified runs by
    the size of T."""
    figure, ((left, right),) = plots.grid(1, 2, (10.2, 4.4))
    for reading, own in sizes.groupby("reading", sort=False):
        label, colour, line = READINGS[reading]
        x = np.sqrt(own["n_from"] * own["n_to"])
        left.plot(x, own["median_ratio"], "o", color=colour, linestyle=line, label=f"{label}, median")
        left.plot(x, own["p90_ratio"], "^", color=colour, linestyle=":", label="90th percentile")
    left.set(xscale="log", ylim=(1, None), title="the cost of a certificate")
    left.xaxis.set_minor_formatter(NullFormatter())
    plots.finish(left, y=RATIO, xlabel="|X| (images)", ylabel="cost / clairvoyant's")
    bins = tests.groupby(["n_from", "n_to"], sort=False)
    for ((low, high), own), colour in zip(bins, plots.shades("Blues", len(bins)), strict=True):
        right.plot(own["T"], own["times"], "o-", color=colour, label=f"|X| = {low:,.0f} to {high:,.0f}")
    right.set(xscale="log", ylim=(1, None), title="the best number of test labels, certified")
    right.xaxis.set_minor_formatter(NullFormatter())
    plots.finish(right, PERCENT, RATIO, columns=1, xlabel="|T|, share of X", ylabel="cost / that of the best T tried")
    right.set_xticks(sorted(set(tests["T"])))
    plots.headline(figure, _cost_of_certificate(sizes))
    return figure


def _cost_of_certificate(sizes: pd.DataFrame) -> str:
    """What a certificate adds to the median cost, for the smallest and the largest |X|."""
    medians = sizes.pivot_table(index="n_from", columns="reading", values="median_ratio")
    if not {"certified", "recommended"} <= set(medians):
        return "Cost over the clairvoyant's, by the size of X"
    more = medians["certified"] / medians["recommended"] - 1
    return (
        f"A certificate changes the median cost by {100 * more.iloc[0]:+.1f} % where X is smallest and by "
        f"{100 * more.iloc[-1]:+.1f} % where it is largest"
    )


@plots.use_style()
def laws(table: pd.DataFrame) -> Figure:
    """Rival laws by cost: mean and 90th percentile of the ratio, a panel for each family."""
    families = table[table["reading"].isin(LAWS)].groupby("family", sort=False)
    figure, (axes,) = plots.grid(1, len(families), (3.2 * len(families) + 2, 2.9))
    for i, (ax, (family, own)) in enumerate(zip(axes, families, strict=True)):
        y = range(len(own))
        ax.barh(y, own["mean_ratio"] - 1, 0.62, left=1, color=plots.COLOURS["law"])
        ax.plot(own["p90_ratio"], y, "D", color="black", markerfacecolor="white", markersize=6)
        for at, mean in zip(y, own["mean_ratio"], strict=True):
            ax.text(mean, at, f" {mean:.3f}", va="center", fontsize=9)
        ax.set_yticks(y, [LAWS[reading] for reading in own["reading"]] if i == 0 else [""] * len(own))
        ax.invert_yaxis()
        ax.set(title=FAMILIES[family], xlim=(1, None), xlabel="cost / clairvoyant's")
    means = table[table["reading"].isin(LAWS)].groupby("reading")["mean_ratio"].mean()
    plots.headline(
        figure,
        f"Plans are cheapest by the law “{LAWS[means.idxmin()]}”, {means.min():.3f} times the clairvoyant's cost; by "
        f"“{LAWS[means.idxmax()]}” it is {means.max():.3f} times",
        "Bars: mean. Diamonds: 90th percentile. The title has means over the panels.",
    )
    return figure
