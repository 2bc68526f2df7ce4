"""The paper's ImageNet decision (section 5.1, footnote 5): at which price of training humans label everything.

Prices are given as a ratio: US dollars per image and epoch over those of the paper's ResNet18. The runs of the sweep
``imagenet`` train; between and below their prices the algorithm runs on the learning curve of a recorded run, which is
constant beyond its first and last |B|.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mcal_jax import plots
from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.paper.figures import WIDTH
from mcal_jax.paper.published import IMAGENET, Decision, data_set_name
from mcal_jax.paper.records import Labelling, finished
from mcal_jax.plots import COLOURS, listed, percent
from mcal_jax.plots.architectures import appearance, display_name
from mcal_jax.plots.labels import Label
from mcal_jax.runs.driver import drive
from mcal_jax.worlds.simulated import Recorded, SimulatedWorld

EPOCHS = 200
"""Epochs that each training is billed for."""
RATIO = FuncFormatter(lambda value, _: f"{value:g}")


class Affordable(NamedTuple):
    """What the tax pays for: the ratio at which B may double from 1 % of X up to the paper's, and the share of the cost
    of humans only that one training on the paper's B costs at both ends of its range of ratios."""

    ratio: float
    one_training: tuple[float, float]


def affordable(paper: Decision = IMAGENET, label_price: float = costs.SERVICES["amazon"]) -> Affordable:
    """What the printed numbers imply together, if a training is billed for 200 epochs.

    >>> round(affordable().ratio, 1)
    5.5
    """
    unit, humans = costs.PAPER_PRICES["colour"]["resnet18"] * EPOCHS, paper.images * label_price
    sizes = [float(paper.trained_on)]
    while sizes[-1] / 2 >= 0.01 * paper.images:
        sizes.append(sizes[-1] / 2)
    once = [ratio * unit * paper.trained_on / humans for ratio in paper.ratios]
    return Affordable(paper.tax * humans / (unit * sum(sizes)), (once[0], once[1]))


def ratio_of(run: Labelling) -> float:
    """The training price of a run over that of the paper's ResNet18, for images of its kind."""
    price = run.config.training_price
    assert isinstance(price, PerImageEpoch)
    dollars = price.dollars[run.architecture] if isinstance(price.dollars, dict) else price.dollars
    return dollars / costs.PAPER_PRICES["colour"]["resnet18"]


def run_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each finished run, the cheapest training first: its price, what it trained, decided and cost."""
    rows = []
    for record in sorted(finished(runs)["record"], key=ratio_of):
        bill, last = record.ledger, record.fits[-1]
        rows.append({
            "data_set": record.data_set, "architecture": record.architecture, "seed": record.run.seed,
            "ratio": ratio_of(record), "trainings": len(record.fits), "trained_on": record.B / record.n,
            "error_on_T": len(last.wrong) / last.n_test if last.n_test else math.nan,
            "machine": record.S / record.n, "stop": record.stop,
            "tax": bill.training / bill.humans_only, "cost": record.cost / bill.humans_only,
        })  # fmt: skip
    return pd.DataFrame(rows)


def decisions(record: Labelling, ratios: Sequence[float], seeds: Sequence[int] = (0, 1, 2)) -> pd.DataFrame:
    """What MCAL decides on the learning curve of a recorded run, a row for each seed and price of training: ``ratios``
    times that of the paper's ResNet18."""
    rows, unit = [], costs.PAPER_PRICES["colour"]["resnet18"]
    for ratio in ratios:
        price = PerImageEpoch(dollars=ratio * unit, epochs=EPOCHS)
        config = record.config.model_copy(update={"training_price": price})
        job = Job(n=record.n, architectures=(record.architecture,), config=config)
        for seed in seeds:
            outcome = drive(job, SimulatedWorld(record.n, Recorded(record.fits), seed=seed)).outcome
            bill = outcome.ledger
            rows.append({
                "data_set": record.data_set, "architecture": record.architecture, "seed": seed, "ratio": ratio,
                "trainings": len(outcome.history), "trained_on": len(outcome.B) / record.n,
                "machine": len(outcome.S) / record.n, "stop": outcome.stop,
                "tax": bill.training / bill.humans_only, "cost": bill.total / bill.humans_only,
            })  # fmt: skip
    return pd.DataFrame(rows)


def threshold(rows: pd.DataFrame) -> float:
    """The least ratio from which on humans label everything in all seeds; infinite if they never do."""
    machine = rows.groupby("ratio")["machine"].max().sort_index()
    used = np.flatnonzero(machine.to_numpy() > 0)
    first = used[-1] + 1 if len(used) else 0
    return float(machine.index[first]) if first < len(machine) else float("inf")


def finding(runs: pd.DataFrame) -> str:
    """What the runs decided, and at what tax, beside the paper, in a sentence each."""
    stops = "/".join(sorted(set(runs["stop"])))
    humans = int((runs["machine"] == 0).sum())
    ratios = listed(dict.fromkeys(f"{ratio:.0f}" for ratio in runs["ratio"]))
    low, high = (percent(value) for value in (runs["tax"].min(), runs["tax"].max()))
    ours = (
        f"At {ratios} times the price of ResNet18 {humans} of {len(runs)} runs leave everything to humans, stopped by "
        f"{stops}, after training on {percent(runs['trained_on'].min())} to {percent(runs['trained_on'].max())} of X; "
        f"the tax is {low} to {high} of the cost of humans only, all costs {percent(runs['cost'].max())} at most."
    )
    paper = (
        f"The paper: {IMAGENET.trained_on:,} of {IMAGENET.images:,} images ({percent(IMAGENET.share)}), then humans "
        f"label everything; the tax is {percent(IMAGENET.tax)}, and training costs {IMAGENET.ratios[0]} to "
        f"{IMAGENET.ratios[1]} times that of ResNet18."
    )
    return f"{ours} {paper}"


def consistency() -> str:
    """Whether the paper's printed numbers fit each other, in a sentence."""
    implied = affordable()
    once = " to ".join(percent(share) for share in implied.one_training)
    return (
        f"Per image and epoch the printed range can't be meant: with {EPOCHS} epochs one training on "
        f"{IMAGENET.trained_on:,} images would cost {once} of what humans only cost, and the tax is "
        f"{percent(IMAGENET.tax)}. B doubles up to there within the tax at {implied.ratio:.1f} times the price of "
        f"ResNet18."
    )


def headline(runs: pd.DataFrame) -> str:
    """What the runs spent on training at each price, beside the limit of the tax."""
    taxes = runs.groupby("ratio")["tax"].mean()
    spent = listed(percent(round(tax, 3)) for tax in taxes)
    ratios = " to ".join(dict.fromkeys(f"{ratio:.0f}" for ratio in (taxes.index[0], taxes.index[-1])))
    within = "stops within" if taxes.max() <= IMAGENET.tax else "does not stop within"
    name = display_name(runs["architecture"].iloc[0])
    return f"At {ratios} times ResNet18's price {name} {within} the {percent(IMAGENET.tax)} tax ({spent})"


NOTE = (
    f"Exploration tax (the paper's footnote 5): no training begins that would bring the cost of training above "
    f"{percent(IMAGENET.tax)} of the cost of humans only, as long as no plan is cheaper than humans only. While a plan "
    f"is cheaper, training may cost more. Crosses: runs that trained. Lines: the algorithm on the recorded learning "
    f"curve of a run, at other prices of training."
)


@plots.use_style()
def picture(runs: pd.DataFrame, curves: Sequence[pd.DataFrame], note: str = "") -> Figure:
    """The cost of training and the whole cost against the price of training, with what the runs and ``curves``, rows of
    ``decisions``, cost. ``note`` stands below the title."""
    figure, panels = plots.grid(2, 1, (WIDTH, 6.0))
    for ax, key, label in zip(panels[:, 0], ("tax", "cost"), ("training", "all costs"), strict=True):
        ax.axvspan(*IMAGENET.ratios, color="0.9", label="the paper's range for EfficientNetB0")
        for rows in curves:
            line = rows.groupby("ratio")[key].mean()
            net, data_set = rows["architecture"].iloc[0], data_set_name(rows["data_set"].iloc[0])
            name, colour, marker = appearance(net)
            ax.plot(line.index, line, marker=marker, color=colour, markersize=5, label=f"{name}'s curve, {data_set}")
        if len(runs):
            ax.plot(runs["ratio"], runs[key], "X", color=COLOURS["MCAL"], markeredgecolor="black", markersize=9,
                    label=f"runs of {display_name(runs['architecture'].iloc[0])}")  # fmt: skip
        ax.set(xscale="log", ylabel=f"{label}, share of\nthe cost of humans only")
        ax.xaxis.set_major_formatter(RATIO)
        ax.yaxis.set_major_formatter(plots.PERCENT)
    panels[-1, 0].set_xlabel("price of training, times ResNet18's in the paper")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    title = headline(runs) if len(runs) else "The cost of training against its price"
    plots.headline(figure, title, "\n".join(filter(None, [NOTE, note])))
    for ax, level, name in zip(panels[:, 0], (IMAGENET.tax, 1.0), ("limit of\nthe tax", "humans\nonly"), strict=True):
        ax.axhline(level, color=COLOURS["humans only"], linestyle="--")
        plots.end_labels(ax, [Label(level, name, COLOURS["humans only"])])
    return figure
