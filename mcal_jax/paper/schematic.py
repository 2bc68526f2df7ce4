"""Figure 1 of the paper: active learning and MCAL in two lanes of the same symbols."""

import itertools

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle, Wedge

from mcal_jax import plots
from mcal_jax.paper import notes
from mcal_jax.paper.figures import WIDTH
from mcal_jax.plots import COLOURS, use_style

POOL, HUMANS, LABELLED, CLASSIFIER, OUTPUT = 0.75, 2.75, 4.5, 6.5, 8.85
"""Where the symbols of a lane stand, from the left."""
SETS = ("T", "B", "R", "S")
TITLE = "Active learning delivers a classifier; MCAL delivers the whole data set, labelled"
MARKS = ["Red: the step that MCAL adds, labels by the classifier"]


@use_style()
def schematic() -> Figure:
    """Figure 1: what active learning and MCAL do, and what each delivers."""
    figure, ax = plots.axes(None, (WIDTH, 4.22))
    ax.set(xlim=(0, 10), ylim=(0, 6.8), aspect="equal")
    ax.axis("off")
    _lane(ax, 5.3, "Active learning")
    ax.axhline(3.55, color="0.8", linewidth=1)
    _lane(ax, 1.8, "MCAL")
    _arrow(ax, (CLASSIFIER + 0.62, 5.3), (OUTPUT - 0.62, 5.3))
    _classifier(ax, OUTPUT, 5.3)
    _below(ax, OUTPUT, 5.3, "output:\nthe classifier")
    _machine_labelling(ax, 1.8)
    notes.titled(figure, TITLE, MARKS)
    return figure


def _lane(ax: Axes, y: float, name: str) -> None:
    """The symbols that both have: images, humans, labelled images, the classifier, and the loop back to the images."""
    ax.text(0, y + 1.45, name, fontsize=11, weight="bold", va="top")
    _stack(ax, POOL, y, ["0.88"] * 4)
    _below(ax, POOL, y, "images X\nwithout labels")
    _person(ax, HUMANS, y)
    _below(ax, HUMANS, y, "humans\nlabel them")
    _stack(ax, LABELLED, y, [COLOURS["B"]] * 2)
    _below(ax, LABELLED, y, "training\nset B")
    _classifier(ax, CLASSIFIER, y)
    _below(ax, CLASSIFIER, y, "classifier\nD(B)")
    _arrow(ax, (POOL + 0.6, y), (HUMANS - 0.4, y))
    _arrow(ax, (HUMANS + 0.4, y), (LABELLED - 0.6, y))
    _arrow(ax, (LABELLED + 0.6, y), (CLASSIFIER - 0.62, y))
    ax.text((LABELLED + CLASSIFIER) / 2 - 0.02, y + 0.1, "train", ha="center", va="bottom", fontsize=8.5)
    _arrow(ax, (CLASSIFIER, y + 0.45), (POOL, y + 0.62), bend=0.14)
    ax.text((POOL + CLASSIFIER) / 2 + 0.3, y + 1.28, "M(.) chooses the next δ images", ha="center", va="center",
            fontsize=8.5)  # fmt: skip


def _machine_labelling(ax: Axes, y: float) -> None:
    """What MCAL adds: the classifier labels the images that L(.) finds easiest, and all labels are delivered."""
    _arrow(ax, (CLASSIFIER + 0.62, y), (OUTPUT - 0.6, y), colour=COLOURS["MCAL"], width=2.6)
    ax.text((CLASSIFIER + OUTPUT) / 2, y + 0.14, "labels S,\nby L(.)", ha="center", va="bottom", fontsize=8.5,
            color=COLOURS["MCAL"])  # fmt: skip
    _stack(ax, OUTPUT, y, [COLOURS[key] for key in SETS], SETS)
    _below(ax, OUTPUT, y, "output: all of X,\nlabelled")
    _labels_by_humans(ax, y - 1.45, y - 1.2)


def _labels_by_humans(ax: Axes, down: float, up: float) -> None:
    """The way of the labels by humans to the output: a line at the height ``down``, from ``up`` below the humans and
    below B to ``up`` below the output."""
    for start in (HUMANS, LABELLED):
        ax.plot([start, start, OUTPUT], [up, down, down], color="0.25", linewidth=1.2, solid_joinstyle="miter")
    _arrow(ax, (OUTPUT, down), (OUTPUT, up))
    ax.text((LABELLED + OUTPUT) / 2, down - 0.08, "labels by humans: B, a test set T, and the rest R", ha="center",
            va="top", fontsize=8.5)  # fmt: skip


def _stack(ax: Axes, x: float, y: float, colours: list[str], names: tuple[str, ...] = ()) -> None:
    """A set of images: cards, one behind the other, or side by side with names."""
    count = len(colours)
    for i, colour in enumerate(colours):
        left, bottom = (x - 0.5 + 0.07 * (count - 1 - i), y - 0.42 + 0.07 * (count - 1 - i))
        if names:
            left, bottom = x - 0.5 + 0.5 * (i % 2), y + (0 if i < 2 else -0.45)
        size = (0.47, 0.42) if names else (0.75, 0.62)
        ax.add_patch(Rectangle((left, bottom), *size, facecolor=colour, edgecolor="0.2", linewidth=0.8))
        if names:
            ax.text(left + 0.235, bottom + 0.21, names[i], ha="center", va="center", fontsize=9,
                    color=plots.ink_on(colour))  # fmt: skip


def _person(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Circle((x, y + 0.22), 0.17, facecolor="0.25"))
    ax.add_patch(Wedge((x, y - 0.38), 0.34, 0, 180, facecolor="0.25"))


def _classifier(ax: Axes, x: float, y: float) -> None:
    """A box with layers of a network."""
    ax.add_patch(FancyBboxPatch((x - 0.48, y - 0.34), 0.96, 0.68, "round,pad=0.06", facecolor="white", edgecolor="0.2"))
    layers = [(x - 0.3, (-0.2, 0, 0.2)), (x, (-0.12, 0.12)), (x + 0.3, (0,))]
    for (left, own), (right, following) in itertools.pairwise(layers):
        for a, b in itertools.product(own, following):
            ax.plot([left, right], [y + a, y + b], color="0.5", linewidth=0.7, zorder=3)
    for at, own in layers:
        ax.plot([at] * len(own), [y + a for a in own], "o", color="0.25", markersize=4, zorder=4)


def _below(ax: Axes, x: float, y: float, text: str) -> None:
    ax.text(x, y - 0.55, text, ha="center", va="top", fontsize=9)


def _arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    bend: float = 0,
    colour: str = "0.25",
    width: float = 1.2,
) -> None:
    arrow = FancyArrowPatch(start, end, color=colour, linewidth=width, shrinkA=0, shrinkB=0)
    arrow.set_arrowstyle("-|>")
    arrow.set_connectionstyle("arc3", rad=bend)
    arrow.set_mutation_scale(12 + 2 * width)
    ax.add_patch(arrow)
