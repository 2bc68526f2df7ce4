"""Lesson 4: a folder of pictures without labels, and a scripted annotator who labels what is asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mcal_jax import plots
from mcal_jax.algorithm.protocol import Indices
from mcal_jax.data import Dataset
from mcal_jax.labelling.pictures import save_picture

if TYPE_CHECKING:
    import pandas as pd

Truth = Mapping[str, str]
"""The class of each file."""


def make_folder(dataset: Dataset, count: int, folder: Path, seed: int) -> Truth:
    """Write ``count`` images of ``dataset``, drawn at random, as PNG files whose names say nothing about their class.

    Returns the class of each file, which stands nowhere in the folder. Raises McalError for a folder that can't be
    written.
    """
    assert dataset.labels is not None
    chosen = np.random.default_rng(seed).permutation(len(dataset.images))[:count]
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for number, index in enumerate(chosen):
        file = f"photo-{number:05}.png"
        save_picture(dataset.images[index], folder / file)
        truth[file] = dataset.classes[dataset.labels[index]]
    return truth


def share_wrong(table: "pd.DataFrame", truth: Truth) -> float:
    """Share of the rows, with columns file and label, whose label is not that of ``truth``."""
    return float((table["label"] != table["file"].map(truth)).mean())


@plots.use_style()
def labelled(dataset: Dataset, images: Sequence[int] | Indices, titles: Sequence[str], columns: int = 10) -> Figure:
    """A figure of ``images``, by position, each with its title."""
    rows = max(-(-len(images) // columns), 1)
    figure, panels = plots.grid(rows, columns, (1.02 * columns, 1.32 * rows))
    for ax in panels.flat:
        ax.axis("off")
    for ax, index, title in zip(panels.flat, images, titles, strict=False):
        plots.show_image(ax, dataset.images[index])
        ax.set_title(title, loc="center", fontsize=7, pad=2)
    return figure
