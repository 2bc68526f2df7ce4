"""Lesson 3: which images the acquisition functions choose, and which they leave to the machine."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mcal_jax import plots
from mcal_jax.algorithm import acquisition
from mcal_jax.algorithm.acquisition import PoolView, Scores
from mcal_jax.algorithm.protocol import Indices, trials
from mcal_jax.data import Dataset
from mcal_jax.training.kcenter import k_center

if TYPE_CHECKING:
    from mcal_jax.training.trainer import Model, Trainer


class ScoredPool(NamedTuple):
    """A pool scored by one classifier.

    ``orders`` holds the positions in ``pool`` ranked by each acquisition function, first choice first; ``wrong``
    [images] says where the classifier errs.
    """

    pool: Indices
    scores: Scores
    wrong: np.ndarray
    orders: dict[str, np.ndarray]

    def mean_margin(self, by: str, n: int) -> float:
        """The mean margin of the ``n`` images that ``by`` chooses first."""
        return float(self.scores.margin[self.orders[by][:n]].mean())

    def accuracy(self, by: str, theta: np.ndarray | float) -> np.ndarray:
        """The share of right labels among the fraction ``theta`` of the pool that ``by`` chooses last."""
        right = np.cumsum(~self.wrong[self.orders[by][::-1]])
        count = np.maximum(trials(theta, len(self.pool)), 1)
        return right[count - 1] / count


def score_pool(
    trainer: "Trainer", model: "Model", pool: Indices, labelled: Indices, truth: np.ndarray, seed: int
) -> ScoredPool:
    """``pool`` scored by ``model`` and ranked by every acquisition function.

    ``truth`` [images] holds the true labels of all images; k-center starts from ``labelled``.
    """
    scores, features = trainer.score_with_features(model, pool)
    view = PoolView(
        len(pool),
        scores=scores,
        features=features,
        labelled_features=lambda: trainer.features(model, labelled),
        rng=np.random.default_rng(seed),
        k_center=k_center,
    )
    orders = {by: acquisition.select(by, len(pool), view) for by in acquisition.ACQUISITIONS}
    return ScoredPool(pool, scores, scores.label != truth[pool], orders)


def wrong_by_rank(scores: Scores, truth: np.ndarray) -> np.ndarray:
    """Whether images of true labels ``truth`` are mislabelled, those of the largest margin first; [images]."""
    return (scores.label != truth)[acquisition.rank_confident(scores)]


def error_by_theta(scores: Scores, truth: np.ndarray, thetas: np.ndarray) -> np.ndarray:
    """The error among the most confident fraction (by L(.), the margin) of images with labels ``truth``; [thetas]."""
    wrong = np.cumsum(wrong_by_rank(scores, truth))
    count = np.maximum(trials(thetas, len(truth)), 1)
    return wrong[count - 1] / count


@plots.use_style()
def first_choices(dataset: Dataset, scored: ScoredPool, columns: int = 10) -> Figure:
    """A figure of the ``columns`` images that each acquisition function chooses first, one row for each.

    Above an image: the predicted class, in red with the true class in brackets if it is wrong. Below: the margin.
    """
    figure, panels = plots.grid(len(scored.orders), columns, (1.1 * columns + 1.5, 1.62 * len(scored.orders)))
    predicted = scored.scores.label
    truth = predicted if dataset.labels is None else dataset.labels[scored.pool]
    for (by, order), row in zip(scored.orders.items(), panels, strict=True):
        for ax, i in zip(row, order[:columns], strict=False):
            plots.show_image(ax, dataset.images[scored.pool[i]])
            plots.name_image(ax, dataset, predicted[i], truth[i])
            ax.set_xlabel(f"{scored.scores.margin[i]:.2f}", fontsize=7, labelpad=1)
        plots.name_row(row[0], by.replace("_", "\n"), plots.ACQUISITION_COLOURS[by])
    for ax in panels.flat:
        _remove_frame(ax)
    plots.note_channels(figure, dataset)
    return figure


def _remove_frame(ax: Axes) -> None:
    """Hide the spines and ticks of an image, and all of a panel without one."""
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if not ax.images:
        ax.axis("off")


@plots.use_style()
def rankings(scored: ScoredPool, n: int) -> Figure:
    """A figure that compares the acquisition functions in two panels.

    Left, as Fig. 5 of the paper: accuracy on the fraction theta of the pool chosen last. Right, as Fig. 6: the
    cumulative distribution of the margin over the ``n`` images chosen first.
    """
    figure, ((left, right),) = plots.grid(1, 2, (10, 4.2))
    thetas = np.arange(2, 101) / 100
    for by in scored.orders:
        style: dict[str, Any] = {
            "color": plots.ACQUISITION_COLOURS[by],
            "linestyle": "--" if by == "random" else "-",
            "label": by,
        }
        left.plot(thetas, scored.accuracy(by, thetas), **style)
        margins = np.sort(scored.scores.margin[scored.orders[by][:n]])
        right.plot(margins, np.arange(1, len(margins) + 1) / len(margins), **style)
    left.set(xlim=(0, 1), title="images left to the machine")
    plots.finish(left, plots.PERCENT, plots.PERCENT, 3, xlabel="θ, share of the pool, chosen last", ylabel="accuracy")
    right.set(xlim=(0, 1), ylim=(0, 1), title=f"the {n:,} images that humans would label")
    number = FuncFormatter(lambda value, _: f"{value:g}")
    plots.finish(right, number, plots.PERCENT, 3, xlabel="margin of the classifier",
                 ylabel="share with a smaller margin")  # fmt: skip
    return figure


@plots.use_style()
def error_curves(errors: Mapping[str, np.ndarray], thetas: np.ndarray, n_test: int) -> Figure:
    """A figure of the error among the most confident theta of ``n_test`` images against theta, with 95 % bands.

    ``errors`` [thetas] has one curve for each classifier; one named after an acquisition function has its colour.
    """
    figure, ax = plots.axes(None, (7.2, 4.4))
    count = np.maximum(trials(thetas, n_test), 1)
    for name, values in errors.items():
        colour = next((c for by, c in plots.ACQUISITION_COLOURS.items() if by in name), plots.COLOURS["training"])
        ax.fill_between(thetas, *plots.interval(values, count), color=colour, alpha=0.15, linewidth=0)
        ax.plot(thetas, values, color=colour, label=name)
    ax.set(xlim=(0, 1), ylim=(0, None), title=f"{n_test:,} held-out images, most confident first")
    plots.finish(ax, plots.PERCENT, plots.PERCENT, 1, xlabel="θ", ylabel="error among the most confident θ")
    return figure
