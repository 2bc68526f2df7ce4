"""Figures of several rows of panels, each with a legend of its own."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure, SubFigure

from mcal_jax.paper.figures import WIDTH


def panel_rows(columns: int, heights: Sequence[float]) -> tuple[Figure, list[tuple[SubFigure, np.ndarray]]]:
    """A new figure, closed for pyplot, and its rows with their axes [columns]; ``heights`` are the rows' in inches."""
    figure = plt.figure(figsize=(WIDTH, sum(heights)))
    plt.close(figure)
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    return figure, [(row, row.subplots(1, columns, squeeze=False)[0]) for row in rows]


def legend_below(row: SubFigure, ax: plt.Axes, columns: int = 2) -> None:
    """A legend below a row of panels of what is drawn on ``ax``."""
    row.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
