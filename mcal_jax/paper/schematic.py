"""Figure 1 of the paper: a diagram of which images humans label and which the machine labels."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mcal_jax import plots
from mcal_jax.plots import COLOURS, use_style

DARK = (COLOURS["B"], COLOURS["training"], COLOURS["R"])
"""Box colours on which text is white."""
BOXES = (
    (0.1, 1.5, 1.4, 2.0, "0.92", "X\nimages without\nlabels"),
    (2.8, 3.7, 1.9, 1.0, COLOURS["T"], "T: test set\nat random"),
    (2.8, 2.1, 1.9, 1.0, COLOURS["B"], "B: training set\nby M(.), δ at a time"),
    (2.8, 0.4, 1.9, 1.0, "0.92", "U: remaining pool"),
    (5.6, 2.1, 1.7, 1.0, COLOURS["training"], "classifier D(B)"),
    (5.6, 3.7, 1.7, 1.0, "white", "laws of ε and C\n→ |B|, θ, δ"),
    (8.0, 1.5, 1.9, 1.0, COLOURS["S"], "S: machine\ntop θ by L(.)"),
    (8.0, 0.2, 1.9, 1.0, COLOURS["R"], "R: humans\nwhat is left"),
)
"""Left, bottom, width, height, colour and text."""
ARROWS = (
    ((1.6, 3.0), (2.7, 4.1), "humans", (1.95, 3.75)), ((1.6, 2.5), (2.7, 2.6), "humans", (2.15, 2.62)),
    ((1.6, 2.0), (2.7, 1.0), "", (0, 0)), ((4.8, 2.6), (5.5, 2.6), "train", (5.15, 2.68)),
    ((4.8, 4.2), (5.5, 4.2), "errors", (5.15, 4.28)), ((6.45, 3.2), (6.45, 3.6), "test", (6.75, 3.3)),
    ((5.5, 3.75), (4.8, 2.95), "next δ", (5.45, 3.2)), ((4.8, 0.8), (7.9, 0.6), "humans", (6.35, 0.32)),
    ((4.8, 1.1), (7.9, 1.8), "", (0, 0)), ((7.4, 2.5), (7.9, 2.2), "label", (7.75, 2.62)),
)  # fmt: skip
"""Start, end, text and where the text stands."""


@use_style()
def schematic() -> Figure:
    """Figure 1: the sets of images, and who labels each."""
    figure, ax = plots.axes(None, (8.6, 4.2))
    ax.set(xlim=(0, 10), ylim=(0, 5))
    ax.axis("off")
    for box in BOXES:
        _box(ax, *box)
    for start, end, text, (x, y) in ARROWS:
        ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color="0.25"))
        ax.text(x, y, text, ha="center", va="bottom", fontsize=8.5, color="0.2")
    ax.set_title("MCAL: humans label T, B and R, the machine labels S, at the least total cost")
    return figure


def _box(ax: Axes, x: float, y: float, width: float, height: float, colour: str, text: str) -> None:
    ax.add_patch(FancyBboxPatch((x, y), width, height, "round,pad=0.06", facecolor=colour, edgecolor="0.2"))
    text_colour = "white" if colour in DARK else "black"
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9, color=text_colour)
