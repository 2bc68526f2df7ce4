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
    """The colour of the picture without letters in the middle of each text."""
    figure.set_layout_engine("none")
    for text, _ in texts:
        text.set_alpha(0)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255
    return [pixels[int((box.y0 + box.y1) / 2), int((box.x0 + box.x1) / 2)] for _, box in texts]


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
    assert figure.get_figwidth() < 7
    assert not strange_colours(figure)
    assert min(text.get_fontsize() for text, _ in texts) >= 8
    backs = behind(figure, texts)
    faint = [
        t.get_text()
        for (t, _), back in zip(texts, backs, strict=True)
        if plots.contrast(to_rgb(t.get_color()), back) < 4.5
    ]
    assert not faint


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
