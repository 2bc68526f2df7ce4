"""The pictures of ``reliability``: delivered errors, costs by |X| and |T|, and costs by law."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from mcal_jax import plots
from mcal_jax.paper.figures import WIDTH
from mcal_jax.paper.reliability import FAMILIES, LAWS, READINGS, rivals
from mcal_jax.plots import COUNT, PERCENT, percent

RATIO = FuncFormatter(lambda value, _: f"{value:.2f}")
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
SIZES = (10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
"""Numbers of images on an axis."""
WORLDS = "A world is a simulated data set whose learning curve is known. "
CLAIRVOYANT = "The clairvoyant knows the learning curve and trains once. "
SETTINGS = (
    "Recommended: the settings that this package proposes. Certified: labels of a further sample bound the error with "
    "95 % confidence. "
)


@plots.use_style()
def delivered(rows: pd.DataFrame) -> Figure:
    """The delivered error over epsilon, as shares of worlds; a panel for each family."""
    families = rows[rows["reading"].isin(READINGS)].groupby("family", sort=False)
    figure, (axes,) = plots.grid(1, len(families), (WIDTH, 3.4))
    for ax, (family, own) in zip(axes, families, strict=True):
        for reading, runs in own.groupby("reading", sort=False):
            label, colour, line = READINGS[reading]
            ratio = np.sort(runs["error"] / runs["epsilon"])
            ax.step(ratio, np.arange(1, len(ratio) + 1) / len(ratio), color=colour, linestyle=line, label=label)
        ax.axvline(1, color="black", linewidth=1)
        ax.set(xlim=(0, 1.8), ylim=(0, 1), xlabel="delivered error / ε")
        ax.set_title(FAMILIES[family], fontsize=9.5)
        ax.xaxis.set_major_formatter(PLAIN)
        ax.yaxis.set_major_formatter(PERCENT)
        if ax is not axes[0]:
            ax.set_yticklabels([])
    axes[0].set_ylabel("share of worlds with\nat most this error")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    counts = rows[rows["reading"].isin(READINGS)].groupby(["family", "reading"]).size()
    small = (
        f"{WORLDS}{SETTINGS}The released code: that of the paper's authors. ε: the share of wrong labels allowed; it "
        f"is broken on the right of the black line."
    )
    plots.headline(figure, _broken(rows), f"{small} {_shares_broken(rows)}\n{_scale(counts)}")
    return figure


def _scale(counts: pd.Series) -> str:
    """How many worlds stand behind a line or a mark."""
    ends = " to ".join(dict.fromkeys(f"{count:,}" for count in (counts.min(), counts.max())))
    return f"{ends} simulated worlds for each line or mark"


def _broken(rows: pd.DataFrame) -> str:
    """The kinds of world in which certified labels break epsilon no more often than in 5 % of the worlds."""
    certified = rows[rows["reading"] == "certified"]
    if certified.empty:
        return "Delivered errors in simulated worlds"
    shares = (certified["error"] >= certified["epsilon"]).groupby(certified["family"]).mean()
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
        shares = (own["error"] >= own["epsilon"]).groupby(own["family"]).mean()
        if len(shares):
            texts.append(f"{name}, {percent(round(shares.min(), 3))} to {percent(round(shares.max(), 3))}")
    return f"Worlds with more error than ε: {'; '.join(texts)}."


@plots.use_style()
def costs(sizes: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Above, cost over the clairvoyant's against |X|, median and 90th percentile; below, the cost of certified runs by
    the size of T."""
    figure, ((above,), (below,)) = plots.grid(2, 1, (WIDTH, 7.2))
    for reading, own in sizes.groupby("reading", sort=False):
        label, colour, line = READINGS[reading]
        x = np.sqrt(own["n_from"] * own["n_to"])
        above.plot(x, own["median_ratio"], "o", color=colour, linestyle=line, label=f"{label}, median")
        above.plot(x, own["p90_ratio"], "^", color=colour, linestyle=line, linewidth=1,
                   label=f"{label}, 90th percentile")  # fmt: skip
    above.set(xscale="log", ylim=(1, None), title="the cost of a certificate")
    plots.finish(above, y=RATIO, xlabel="|X|, images to label", ylabel="cost / clairvoyant's")
    _count_axis(above)
    bins = tests.groupby(["n_from", "n_to"], sort=False)
    for ((low, high), own), colour in zip(bins, plots.shades("Blues", len(bins)), strict=True):
        below.plot(own["T"], own["times"], "o-", color=colour, label=f"|X| = {low:,.0f} to {high:,.0f}")
    below.set(xscale="log", ylim=(1, None), title="the best number of test labels, certified")
    plots.finish(below, PERCENT, RATIO, columns=1, xlabel="|T|, test labels, share of X",
                 ylabel="cost / that of the best T tried,\ngeometric mean")  # fmt: skip
    below.xaxis.set_minor_formatter(NullFormatter())
    below.set_xticks(sorted(set(tests["T"])))
    counts = pd.concat([sizes["worlds"], tests["worlds"]])
    plots.headline(figure, _cost_of_certificate(sizes), f"{WORLDS}{SETTINGS}{CLAIRVOYANT}\n{_scale(counts)}")
    return figure


def _count_axis(ax: Axes) -> None:
    """Round numbers of images on a logarithmic horizontal axis."""
    ax.xaxis.set_major_locator(FixedLocator(SIZES))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(COUNT)


def _cost_of_certificate(sizes: pd.DataFrame) -> str:
    """What a certificate adds to the median cost, for the smallest and the largest |X|."""
    medians = sizes.pivot_table(index="n_from", columns="reading", values="median_ratio")
    if not {"certified", "recommended"} <= set(medians):
        return "Cost over the clairvoyant's, by the size of X"
    more = medians["certified"] / medians["recommended"] - 1
    smallest, largest = (f"{100 * abs(own):.1f} % {'more' if own > 0 else 'less'}" for own in more.iloc[[0, -1]])
    return (
        f"Certified labels cost {smallest} than those of the recommended settings where X is smallest and {largest} "
        f"where it is largest (medians)"
    )


@plots.use_style()
def laws(table: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Rival laws, a row of panels for each family: their cost over the clairvoyant's, and how often they broke epsilon.
    ``table`` is the ``summary`` of ``rows``."""
    table = table[table["reading"].isin(LAWS)]
    families = table.groupby("family", sort=False)
    figure, panels = plots.grid(len(families), 2, (WIDTH, 0.5 + 1.7 * len(families)))
    for (left, right), (family, own) in zip(panels, families, strict=True):
        y = range(len(own))
        left.barh(y, own["mean_ratio"] - 1, 0.62, left=1, color=plots.COLOURS["law"])
        left.plot(own["p90_ratio"], y, "D", color="black", markerfacecolor="white", markersize=6)
        for at, mean in zip(y, own["mean_ratio"], strict=True):
            left.text(mean, at, f" {mean:.3f}", va="center", fontsize=9)
        left.set_yticks(y, [LAWS[reading] for reading in own["reading"]])
        left.set(title=FAMILIES[family], xlim=(1, 1.02 * table["p90_ratio"].max()))
        ends = np.abs(own[["broke_low", "broke_high"]].to_numpy().T - own["broke"].to_numpy())
        right.errorbar(own["broke"], y, xerr=ends, fmt="o", color="black", capsize=3, linewidth=1)
        right.set_yticks(y, [""] * len(own))
        right.set(xlim=(0, 1.1 * table["broke_high"].max()))
        right.xaxis.set_major_formatter(PERCENT)
        for ax in (left, right):
            ax.set_ylim(len(own) - 0.5, -0.5)
            ax.xaxis.set_major_locator(MaxNLocator(5))
    panels[-1, 0].set_xlabel("cost / clairvoyant's")
    panels[-1, 1].set_xlabel("worlds with more error than ε")
    small = (
        f"{WORLDS}{CLAIRVOYANT}Left: mean (bars) and 90th percentile (diamonds) of the cost. Right: the share of "
        f"worlds that break ε, the share of wrong labels allowed, with 95 % intervals. Truncated: a power law of the "
        f"training set's size that falls off exponentially; pow3: one that ends at a floor; pow4: also shifted in size."
    )
    plots.headline(figure, _rival_laws(rows), f"{small}\n{_scale(table['worlds'])}")
    return figure


def _rival_laws(rows: pd.DataFrame) -> str:
    """What the cheapest law saves against the one that breaks epsilon least often, and how often both break it."""
    two = rivals(rows)
    if two.cheapest == two.safest:
        return f"Plans by the law “{LAWS[two.cheapest]}” are the cheapest and break ε least often"
    saved, low, high = (f"{100 * share:.1f}".replace("-", "\N{MINUS SIGN}") for share in two.saved)
    broke = [percent(round(share, 3)) for share in two.broke]
    return (
        f"Plans by the law “{LAWS[two.cheapest]}” are cheapest, but break ε in {broke[0]} of the worlds; by "
        f"“{LAWS[two.safest]}” they break it in {broke[1]} and cost {saved} % of the clairvoyant's cost more "
        f"(95 % interval {low} % to {high} %)"
    )
