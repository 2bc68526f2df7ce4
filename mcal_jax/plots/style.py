"""The style of all pictures: one palette by meaning, number formats of axes, and helpers that draw on axes.

Fractions are shown in per cent and money in US dollars.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from mcal_jax.algorithm import planner
from mcal_jax.algorithm.config import Config
from mcal_jax.plots.text import money, percent

# Sets and the bill are Okabe and Ito's colours. Things that appear in one picture differ in lightness, too.
COLOURS = {
    "T": "#56B4E9", "B": "#0072B2", "R": "#009E73", "S": "#E69F00", "V": "#F0E442", "repeat": "#A6761D",
    "training": "#D55E00", "race": "#CC79A7", "humans only": "#6B6B6B", "MCAL": "#C8102E", "best": "#7A0019",
    "law": "#22577A", "power law": "#B0413E", "epsilon": "#000000", "stable": "#9BC53D",
}  # fmt: skip
"""Colours by meaning: sets, parts of the bill, ways to label, and what lines and areas stand for."""
ARCHITECTURE_COLOURS = {
    "cnn18": "#A3195B", "resnet18": "#332288", "resnet50": "#117733", "efficientnet_b0": "#7D4FA8",
}  # fmt: skip
OTHER_ARCHITECTURE_COLOURS = ("#999933", "#661100", "#44AA99", "#6699CC")
ACQUISITION_COLOURS = {
    "margin": "#003F47", "entropy": "#2E8C99", "least_confidence": "#7FBCC4", "kcenter": "#8A4B12", "random": "#7C7A1F",
}  # fmt: skip
"""The three that ask how uncertain the classifier is have one hue."""
DATA_SET_COLOURS = {"fashion_mnist": "#55506E", "cifar10": "#BF8F6B", "cifar100": "#8E6C8A"}
READING_COLOURS = {
    "paper": "#E4706B", "authors_code": "#B59BC8", "recommended": "#3B5BDB", "certified": "#0B6E4F",
    "theta of all": "#C77D4F", "theta of remaining": "#5C7AEA", "on_X": "#6A8D1F", "on_S": "#D36BD0",
}  # fmt: skip
"""Readings of the paper's algorithm, of its theta and of its constraint."""
PALETTE = {
    **COLOURS, **ARCHITECTURE_COLOURS, **ACQUISITION_COLOURS, **DATA_SET_COLOURS, **READING_COLOURS,
    **{f"other architecture {i}": colour for i, colour in enumerate(OTHER_ARCHITECTURE_COLOURS)},
}  # fmt: skip
"""Every colour by its meaning; no two meanings share one."""
GREY = "0.4"
"""Small text: scales, notes, and numbers of the paper."""


STYLE: dict[Any, Any] = {
    "figure.dpi": 110, "savefig.dpi": 160, "figure.constrained_layout.use": True,
    "figure.facecolor": "white", "axes.facecolor": "white", "axes.spines.top": False, "axes.spines.right": False,
    "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left", "axes.axisbelow": True,
    "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.8,
    "svg.hashsalt": "mcal", "svg.fonttype": "none",
}  # fmt: skip

COUNT = FuncFormatter(lambda value, _: f"{value:,.0f}")
DOLLARS = FuncFormatter(lambda value, _: money(value))
PERCENT = FuncFormatter(lambda value, _: percent(value))

SIZE_LABEL = "training set |B| (images)"


@contextmanager
def use_style() -> Iterator[None]:
    """A context, or a decorator, in which figures are drawn in the style of the package."""
    with mpl.rc_context(STYLE):
        yield


def ink(colour: str) -> tuple[float, float, float]:
    """``colour`` for text on white: as it is, or darkened until its contrast is 4.5 (WCAG 2, level AA)."""
    rgb = np.array(to_rgb(colour))
    while contrast(rgb) < 4.5:
        rgb = 0.95 * rgb
    return tuple(rgb)


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read better on ``colour``."""
    return max(("black", "white"), key=lambda one: contrast(to_rgb(one), to_rgb(colour)))


def contrast(rgb: Sequence[float] | np.ndarray, back: Sequence[float] | np.ndarray = (1.0, 1.0, 1.0)) -> float:
    """The contrast of two colours [3] from 0 to 1, as WCAG 2 defines it: from 1 to 21."""
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in np.array([rgb, back])]
    low, high = sorted(float(c @ (0.2126, 0.7152, 0.0722)) for c in linear)
    return (high + 0.05) / (low + 0.05)


def grid(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """A new figure of ``size`` inches and its axes [rows, columns].

    It is closed for pyplot, because a notebook would show an open figure twice.
    """
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False)
    plt.close(figure)
    return figure, panels


def axes(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """``ax`` and its figure, or those of a new figure of ``size`` inches if ``ax`` is None."""
    if ax is None:
        figure, panels = grid(1, 1, size)
        return figure, panels[0, 0]
    return ax.get_figure(root=True), ax  # type: ignore[return-value]


def finish(ax: Axes, x: FuncFormatter = COUNT, y: FuncFormatter = COUNT, columns: int = 2, **labels: str) -> None:
    """Set the axis labels and number formats, and place the legend half an inch below, where it covers nothing.

    ``columns`` is the number of columns of the legend; ``labels`` go to ``Axes.set``.
    """
    ax.set(**labels)
    ax.xaxis.set_major_formatter(x)
    ax.yaxis.set_major_formatter(y)
    below = ax.transAxes + ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, ncols=columns)


def log_sizes(ax: Axes, smallest: int, largest: int) -> None:
    """Make the horizontal axis a logarithmic scale of |B| from ``smallest`` to ``largest`` images."""
    ax.set(xscale="log", xlim=(smallest / 1.08, largest), xlabel=SIZE_LABEL)
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_formatter(NullFormatter())
    if largest < 2 * smallest:  # too narrow for round numbers on a logarithmic scale
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def humans_only_line(ax: Axes, n: int, config: Config) -> None:
    """Draw what humans labelling ``n`` images cost, as a horizontal line."""
    cost = n * config.label_price
    ax.axhline(cost, color=COLOURS["humans only"], linestyle="--", label=f"humans only: {money(cost)}")


def epsilon_line(ax: Axes, config: Config) -> None:
    """Draw the bound on the error as a horizontal line; nothing in budget mode, which has no bound."""
    if config.budget is None:
        label = f"ε = {percent(config.epsilon)}"
        ax.axhline(config.epsilon, color=COLOURS["epsilon"], linestyle="--", linewidth=1, label=label)


def stack(ax: Axes, lengths: Sequence[float], colour: str, label: str) -> None:
    """Append a part to the horizontal bars at 0, 1, ...: ``lengths`` holds its length in each bar."""
    ends = [sum(part[y].get_width() for part in ax.containers) for y in range(len(lengths))]
    ax.barh(range(len(lengths)), lengths, 0.6, left=ends, color=colour, edgecolor="white", linewidth=0.8, label=label)


def shades(name: str, count: int) -> list[Any]:
    """``count`` colours of the colour map ``name`` for ordered things, from light to dark, none too pale to see."""
    span = (0.35, 0.9) if name == "Blues" else (0.85, 0.1)
    return list(mpl.colormaps[name](np.linspace(*span, max(count, 2))))[:count]


def interval(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper ends of Wilson's 95 % interval for a share ``p`` of ``n`` trials."""
    return 1 - planner.upper_limit(1 - p, n, 1.96), planner.upper_limit(p, n, 1.96)
