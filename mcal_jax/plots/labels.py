"""Text on pictures: what a picture shows as its title, its scale in small grey, and labels beside the ends of lines."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from mcal_jax.plots.style import GREY, ink
from mcal_jax.plots.text import plain

TITLE_SIZE, SMALL_SIZE = 11.5, 8.5
"""Points."""
ROOM = 0.3
"""Between two numbers of an axis, as a share of their height."""


class Label(NamedTuple):
    """A text for the height ``y`` of an axes, in data coordinates."""

    y: float
    text: str
    colour: str


def headline(
    figure: Figure, finding: str, small: str = "", key: tuple[Sequence[Any], Sequence[str]] | None = None
) -> None:
    """Sets what a figure shows as its title, below it ``small`` text in grey, both wrapped at its width, and a line
    with a ``key`` of handles and labels.

    The figure becomes higher by the height of all; what is drawn keeps its size. The finding becomes the label of the
    figure, which ``save`` writes into the file.
    """
    figure.set_label(plain(finding))
    width, height = figure.get_size_inches()
    blocks = [(finding, TITLE_SIZE, "black"), (small, SMALL_SIZE, GREY)]
    wrapped = [(_wrapped(text, width, size), size, colour) for text, size, colour in blocks if text]
    heights = [1.3 * size / 72 * (text.count("\n") + 1) for text, size, _ in wrapped]
    top = height + sum(heights) + (0.36 if key else 0.14)
    figure.set_size_inches(width, top)
    if engine := figure.get_layout_engine():
        engine.set(rect=(0, 0, 1, height / top))  # type: ignore[call-arg]
    y = top - 0.05
    for (text, size, colour), own in zip(wrapped, heights, strict=True):
        figure.text(0.05 / width, y / top, text, fontsize=size, color=colour, va="top", linespacing=1.25)
        y -= own
    if key:
        legend = figure.legend(*key, loc="upper left", bbox_to_anchor=(0, (y - 0.02) / top), ncols=len(key[1]),
                               fontsize=SMALL_SIZE, borderaxespad=0, borderpad=0.3, columnspacing=1.4,
                               handlelength=2.6)  # fmt: skip
        legend.set_in_layout(False)


def _wrapped(text: str, inches: float, size: float) -> str:
    """``text`` in lines that are no wider than ``inches``, with a little room; numbers stay with their units."""
    kept = text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return "\n".join(_fold(line, 70 * inches - 10, FontProperties(size=size)) for line in kept.split("\n"))


def _fold(line: str, points: float, font: FontProperties) -> str:
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if text_to_path.get_text_width_height_descent(plain(longer), font, ismath=False)[0] > points:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def end_labels(ax: Axes, labels: Sequence[Label], size: float = 9) -> None:
    """Writes each text to the right of the axes at its height, and moves them apart where they would overlap; a thin
    line leads to one that had to move."""
    figure = ax.get_figure(root=True)
    assert figure
    figure.draw_without_rendering()  # only then the layout is known
    width, height = ax.get_position().size * figure.get_size_inches()
    at = ax.transAxes.inverted().transform([ax.transData.transform((ax.get_xlim()[1], one.y)) for one in labels])[:, 1]
    room = np.array([1.35 * size / 72 / height * (one.text.count("\n") + 1) for one in labels])
    for one, y, moved in zip(labels, at, spread(at, room), strict=True):
        line = {"arrowstyle": "-", "color": ink(one.colour), "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0,
                "relpos": (0, 0.5)}  # fmt: skip
        ax.annotate(one.text, (1, y), (1 + 0.16 / width, moved), "axes fraction", "axes fraction", va="center",
                    color=ink(one.colour), fontsize=size, arrowprops=line if abs(moved - y) > 0.02 else None,
                    annotation_clip=False)  # fmt: skip


def thin_numbers(axes: Iterable[Axes]) -> None:
    """Leaves out numbers at the fixed ticks of horizontal axes that would nearly touch, from the last to the first."""
    for ax in axes:
        ax.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
        numbers: list[str] = []
        left = np.inf
        for label in reversed(ax.get_xticklabels()):
            box = label.get_window_extent()
            fits = box.x1 + ROOM * box.height < left
            numbers.insert(0, label.get_text() if fits else "")
            left = box.x0 if fits else left
        ax.set_xticks(ax.get_xticks(), numbers)


def number_columns(ax: Axes, texts: Mapping[str, Sequence[str]], headed: bool = True, width: float = 48) -> None:
    """Columns of text to the right of the axes, one text for each row from 0 on, below their headings; what is the
    paper's is grey. ``width`` is in points."""
    for column, (heading, own) in enumerate(texts.items(), 1):
        style: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": 9, "annotation_clip": False}
        style["color"] = GREY if heading == "paper" else "black"
        if headed:
            ax.annotate(heading, (1, 1), (width * column, 6), "axes fraction", **style)
        for y, text in enumerate(own):
            ax.annotate(text, (1, y), (width * column, 0), ax.get_yaxis_transform(), va="center", **style)


def spread(at: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Positions near ``at`` that are at least half of the ``room`` of both neighbours apart, and half of their own
    above 0.

    >>> spread(np.array([0.5, 0.5, 0.0]), np.array([0.2, 0.2, 0.2])).round(2).tolist()
    [0.4, 0.6, 0.1]
    """
    order = np.argsort(at, kind="stable")
    moved = np.array(at, dtype=float)
    for _ in range(500):
        moved = np.maximum(moved, room / 2)
        for low, high in itertools.pairwise(order):
            lack = (room[low] + room[high]) / 2 - (moved[high] - moved[low])
            if lack > 1e-6:
                moved[low] -= lack / 2
                moved[high] += lack / 2
    return moved


def clipped(value: float, limits: tuple[float, float]) -> tuple[float, str]:
    """A value within the limits of an axis, and an arrow that tells whether it lies above or below them.

    >>> clipped(5.0, (0.0, 2.0)), clipped(-1.0, (0.0, 2.0)), clipped(1.0, (0.0, 2.0))
    ((2.0, ' ↑'), (0.0, ' ↓'), (1.0, ''))
    """
    low, high = limits
    return (high, " ↑") if value > high else (low, " ↓") if value < low else (value, "")
