"""Pictures that show images of the data set."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcal_jax.algorithm.protocol import Answer, Indices, Label, Labels, Request
from mcal_jax.data import Dataset
from mcal_jax.plots.style import COLOURS, grid, ink, use_style
from mcal_jax.plots.text import literal
from mcal_jax.runs.driver import Delivery


@use_style()
def gallery(
    dataset: Dataset, finished: Delivery, steps: Sequence[tuple[Request, Answer]], columns: int = 10, seed: int = 0
) -> Figure:
    """A figure of who labelled which images, one row for each group that is not empty, ``columns`` images wide.

    The groups: the first, random batch of B; the last batch of B, chosen by M(.); R; S; and the machine's mistakes in
    S, which need true labels in ``dataset``. Each image has the label delivered as its title; a wrong one is orange,
    with the true class in brackets. A row is a random sample of its group, drawn with ``seed``; ``steps`` are the
    requests and answers of the run.
    """
    labels = finished.labels
    truth = labels if dataset.labels is None else dataset.labels
    groups = _groups(finished, truth, steps)
    figure, panels = grid(len(groups), columns, (columns + 1.4, 1.32 * len(groups)))
    rng = np.random.default_rng(seed)
    for ax in panels.flat:
        ax.axis("off")
    for (name, (indices, key)), row in zip(groups.items(), panels, strict=True):
        for ax, i in zip(row, rng.choice(indices, min(columns, len(indices)), replace=False), strict=False):
            show_image(ax, dataset.images[i])
            name_image(ax, dataset, labels[i], truth[i])
        name_row(row[0], name, COLOURS[key])
    note_channels(figure, dataset)
    return figure


def _groups(
    finished: Delivery, truth: np.ndarray, steps: Sequence[tuple[Request, Answer]]
) -> dict[str, tuple[Indices, str]]:
    """The rows of the gallery: the images of each and the set that gives it its colour."""
    outcome, labels = finished.outcome, finished.labels
    batches = [a.indices for r, a in steps if isinstance(r, Label) and isinstance(a, Labels) and r.purpose == "train"]
    mistakes = outcome.S[labels[outcome.S] != truth[outcome.S]]
    groups = {
        "humans: B, first,\nat random": (batches[0] if batches else outcome.B, "B"),
        "humans: B,\nlast batch": (batches[-1] if len(batches) > 1 else outcome.B[:0], "B"),
        "humans: R, too hard\nfor the machine": (outcome.R, "R"),
        "machine: S": (outcome.S, "S"),
        f"machine: its {len(mistakes):,}\nmistakes in S": (mistakes, "S"),
    }
    return {name: group for name, group in groups.items() if len(group[0])}


def show_image(ax: Axes, image: np.ndarray) -> None:
    """Draw an image [height, width, channels]: in grey or in colour; of other numbers of channels, their mean."""
    channels = image.shape[-1]
    ax.imshow(image if channels == 3 else image.mean(axis=-1), cmap="gray_r" if channels == 1 else "gray")


def name_image(ax: Axes, dataset: Dataset, label: int, truth: int) -> None:
    """Write the class ``label`` above an image; if it is wrong, in orange and with the true class in brackets."""
    name = literal(dataset.classes[label], 15)
    if label != truth:
        name += f"\n({literal(dataset.classes[truth], 15)})"
    ax.set_title(name, loc="center", fontsize=8, pad=2, color="black" if label == truth else ink(COLOURS["training"]))


def name_row(ax: Axes, name: str, colour: str) -> None:
    """Write the name of a row of images to the left of its first."""
    ax.text(-0.15, 0.5, name, transform=ax.transAxes, ha="right", va="center", fontsize=9,
            color=ink(colour), fontweight="bold")  # fmt: skip


def note_channels(figure: Figure, dataset: Dataset) -> None:
    """Write above the figure that the mean of the channels is shown, if images have neither one nor three."""
    if (channels := dataset.images.shape[-1]) not in (1, 3):
        figure.suptitle(f"images of {channels} channels: their mean is shown, in grey", fontsize=9)
