"""How the paper's figures look: text that can be read, units on the axes, and colours with one meaning each.

The figures are those of the notebooks, drawn from the recorded runs without a kernel and without files.
"""

import itertools
import json
import re
from unittest.mock import patch

import numpy as np
import papermill
import pytest
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from mcal_jax import plots
from mcal_jax.paper import tables
from mcal_jax.paper.published import EXHIBITS
from mcal_jax.runs import settings
from mcal_jax.runs.settings import Experiment, load_settings

UNITS = re.compile(r"US dollars|images|%|points|0 to 1")


def published(name, profile="laptop"):
    """What the notebook of an experiment publishes: the arguments of ``tables.publish``, in two parts."""
    experiment = load_settings(settings.home() / "experiments" / f"{name}.yaml", Experiment)
    notebook = settings.home() / "notebooks" / f"{experiment.notebook}.ipynb"
    given = {**experiment.parameters, "profile": profile, "out": "nowhere"}
    known = papermill.inspect_notebook(str(notebook))
    space, calls = {}, []
    with (
        patch.object(tables, "publish", lambda *values, **more: calls.append((values, more))),
        patch.object(plots, "save"),
        patch("IPython.display.display"),
    ):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), space)
                if "parameters" in cell["metadata"].get("tags", ()):
                    space |= {key: value for key, value in given.items() if key in known}
    (call,) = calls
    return call


def texts_of(figure):
    """The texts that are seen, with their boxes in pixels, without the lines that lead to them.

    A tick outside the limits of its axis is not seen.
    """
    FigureCanvasAgg(figure).draw()
    hidden = {
        tick.label1 for axis in figure.findobj(Axis) for tick in axis.get_major_ticks() if not in_view(axis, tick)
    }
    gone = {text for ax in figure.axes if not ax.axison for axis in (ax.xaxis, ax.yaxis) for text in axis.findobj(Text)}
    seen = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [(text, Text.get_window_extent(text)) for text in seen if text not in hidden | gone]


def in_view(axis, tick):
    low, high = sorted(axis.get_view_interval())
    return low - 1e-9 <= tick.get_loc() <= high + 1e-9


def overlap(a, b):
    """Whether two boxes share more than a pixel in both directions."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return width > 1 and height > 1


def behind(figure, texts):
    """The pixels [height, width, 3] of the picture without letters behind each text, but for its margins."""
    figure.set_layout_engine("none")
    for text, _ in texts:
        text.set_alpha(0)
        if text.get_bbox_patch():
            text.get_bbox_patch().set_visible(False)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255
    insides = [box.padded(0, -0.1 * box.height) for _, box in texts]
    return [pixels[int(box.y0) : int(box.y1) + 1, int(box.x0) : int(box.x1) + 1] for box in insides]


def are_mixed(pixels):
    """Whether a line or a marker lies there; pale lines, and the edge of a pale area, do not count."""
    return float(np.ptp(pixels, axis=(0, 1)).max()) > 0.2


def nearly_touching(figure):
    """Pairs of numbers of a horizontal axis with less room between them than a space takes."""
    pairs = []
    for ax in (ax for ax in figure.axes if ax.axison):
        shown = [tick.label1 for tick in ax.xaxis.get_major_ticks() if in_view(ax.xaxis, tick)]
        boxes = [(text, Text.get_window_extent(text)) for text in shown if text.get_text()]
        for (text, one), (following, other) in itertools.pairwise(boxes):
            if other.x0 - one.x1 < 0.3 * one.height:
                pairs.append((text.get_text(), following.get_text()))
    return pairs


def spans_of(figure):
    """The lengths of our ranges, each as a share of its axis: lines without markers along it, those of black ink or of
    a collection; grey ones are the paper's."""
    shares = [0.0]
    for ax in (ax for ax in figure.axes if ax.axison):
        lines = [line.get_xydata() for line in ax.lines
                 if line.get_marker() == "None" and to_hex(line.get_color()) == "#000000"]  # fmt: skip
        for drawn in ax.collections:
            ours = isinstance(drawn, LineCollection) and to_hex(drawn.get_edgecolor()[0]) != to_hex(plots.GREY)
            if ours and drawn.get_transform() == ax.transData:
                lines += [path.vertices for path in drawn.get_paths()]
        reach = np.abs([np.diff(ax.get_xlim())[0], np.diff(ax.get_ylim())[0]])
        shares += [float((np.ptp(line, axis=0) / reach).max()) for line in lines if np.ptp(line, axis=0).min() == 0]
    return shares


def marked(figure, marker=None, size=None, hollow=False):
    """Whether there is a point with this marker and size on any axes, filled with white if it is to be ``hollow``."""
    return any(
        (marker is None or line.get_marker() in marker)
        and (size is None or line.get_markersize() == size)
        and (not hollow or to_hex(line.get_markerfacecolor()) == "#ffffff")
        and np.isfinite(line.get_xydata().astype(float)).all(axis=1).any()
        for ax in figure.axes
        for line in ax.lines
        if isinstance(line.get_marker(), str) and line.get_marker() != "None"
    )


DRAWN = {
    "Ring:": lambda figure: marked(figure, size=15),
    "Diamond": lambda figure: marked(figure, "D", size=6),
    "[Tt]riangle:": lambda figure: marked(figure, "<>") or marked(figure, "v^", size=4),
    "Arrow": lambda figure: any(re.search("[↑↓]", text.get_text()) for ax in figure.axes for text in ax.texts),
    "Hollow:|held out": lambda figure: marked(figure, "os^", size=5, hollow=True),
    "Band": lambda figure: any(
        patch.get_alpha() == 0.25 and patch.get_extents().height > 3 for patch in figure.findobj(Patch)
    ),
    "Dashed:": lambda figure: any(patch.get_linestyle() == "--" for patch in figure.findobj(Patch)),
}
"""Patterns of what a note explains, and how one sees that it is drawn."""
RANGES = re.compile("Bars: range|[Ll]ines: |Vertical bars:")


def wrongly_explained(figure):
    """What the note explains and nobody sees, or what is seen and not explained."""
    keys = [text for legend in figure.legends for text in legend.get_texts()]
    note = " ".join(" ".join(text.get_text() for text in [*figure.texts, *keys]).split())
    wrong = [word for word, is_drawn in DRAWN.items() if bool(re.search(word, note)) != is_drawn(figure)]
    longest, explained = max(spans_of(figure)), bool(RANGES.search(note))
    return wrong + (["ranges"] if (longest > 0.05 and not explained) or (longest < 0.02 and explained) else [])


def without_units(figure):
    """The axes of numbers that have no unit, neither in their label, nor in all numbers, nor in the label of the axes
    beside them (or below) whose numbers they share."""
    missing = []
    for ax in figure.axes:
        for axis, line in ((ax.xaxis, lambda p: (p.x0, p.x1)), (ax.yaxis, lambda p: (p.y0, p.y1))):
            numbers = [text.get_text() for text in axis.get_ticklabels() if re.search(r"\d", text.get_text())]
            named = any(re.search("[A-Za-z]{3}", number) for number in numbers)
            shared = [
                (other.xaxis if axis is ax.xaxis else other.yaxis).get_label_text()
                for other in figure.axes
                if np.allclose(line(other.get_position()), line(ax.get_position()), atol=0.01)
            ]
            if ax.axison and numbers and not named and not all("%" in n or "$" in n for n in numbers):
                missing += [] if any(UNITS.search(label) for label in shared) else [(ax.get_title(), numbers)]
    return missing


def strange_colours(figure):
    """Colours of lines and areas that are neither of the palette, nor grey, nor shades of an ordered thing."""
    drawn = {to_hex(line.get_color()) for line in figure.findobj(Line2D)}
    drawn |= {to_hex(patch.get_facecolor()) for patch in figure.findobj(Patch)}
    shades = {to_hex(shade) for count in range(2, 7) for shade in plots.shades("plasma", count)}
    allowed = {colour.lower() for colour in plots.PALETTE.values()} | shades
    return {colour for colour in drawn - allowed if not colour[1:3] == colour[3:5] == colour[5:7]}


@pytest.mark.parametrize(
    ("name", "profile"),
    [*((name, "laptop") for name in EXHIBITS), *((name, "paper") for name in ("fig07", "fig11", "tab01", "tab03"))],
)
def test_text_of_a_figure_is_read_and_axes_have_units(name, profile):
    (_, figure, *_), _ = published(name, profile)
    texts = texts_of(figure)
    assert figure.get_label(), "a figure states what it shows"
    page = figure.bbox
    clipped = [t.get_text() for t, b in texts if b.x0 < -1 or b.y0 < -1 or b.x1 > page.x1 + 1 or b.y1 > page.y1 + 1]
    assert not clipped
    pairs = itertools.combinations(texts, 2)
    assert not [(a.get_text(), b.get_text()) for (a, one), (b, other) in pairs if overlap(one, other)]
    assert not without_units(figure)
    assert not nearly_touching(figure)
    assert not wrongly_explained(figure)
    assert figure.get_figwidth() * plots.style.STYLE["savefig.dpi"] < 1000
    assert not strange_colours(figure)
    assert min(text.get_fontsize() for text, _ in texts) >= 8
    backs = behind(figure, texts)
    faint = [
        t.get_text()
        for (t, _), back in zip(texts, backs, strict=True)
        if plots.contrast(to_rgb(t.get_color()), back[len(back) // 2, back.shape[1] // 2]) < 4.5
    ]
    assert not faint
    assert not [t.get_text() for (t, _), back in zip(texts, backs, strict=True) if are_mixed(back)]


def lab(colour):
    """CIE L*a*b* of a colour, for white at 1."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(matrix @ linear / np.array([0.9505, 1, 1.089]), 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_no_two_meanings_share_a_colour():
    assert len(set(plots.PALETTE.values())) == len(plots.PALETTE) > 30
    for (one, a), (other, b) in itertools.combinations(plots.PALETTE.items(), 2):
        assert np.linalg.norm(lab(a) - lab(b)) > 10, (one, other)


@pytest.mark.parametrize("ordered", [("margin", "entropy", "least_confidence"), ("T", "B", "R"), ("cnn18", "resnet18")])
def test_things_side_by_side_differ_in_grey(ordered):
    lightness = sorted(lab(plots.PALETTE[name])[0] for name in ordered)
    assert min(np.diff(lightness)) > 1


@pytest.mark.parametrize("colour", list(plots.PALETTE.values()))
def test_a_colour_as_ink_can_be_read(colour):
    assert plots.contrast(plots.ink(colour)) >= 4.5
    if plots.contrast(to_rgb(colour)) >= 4.5:
        assert to_hex(plots.ink(colour)) == colour.lower()


def test_contrast_is_that_of_the_web():
    assert plots.contrast((0, 0, 0)) == pytest.approx(21)
    assert plots.contrast(to_rgb("#767676")) == pytest.approx(4.54, abs=0.01)
    assert plots.contrast((1, 1, 1), (1, 1, 1)) == 1
