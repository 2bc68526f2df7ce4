"""The small text below the title of a figure: what its marks mean, its data and scale, and the terms that it uses."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

from mcal_jax import plots

RANGE = "range over seeds"
PAPER = "Diamond: the paper's number"
BEYOND = "Arrow, triangle: beyond the panel"
TERMS = {
    r"\bX\b": "X: all images",
    r"\bT\b": "T: the test set, labelled by humans",
    r"\bB\b": "B: the training set, labelled by humans",
    r"\bS\b": "S: the images that the classifier labels",
    r"\bR\b": "R: the rest, labelled by humans",
    r"\bU\b": "U: the images without labels",
    "θ": "top θ: the share θ that the classifier is surest of",
    "δ": "δ: labels bought before the next training",
    "ε": "ε: the bound on the error of all labels",
    r"D\(B\)": "D(B): the classifier trained on B",
    r"M\(\.\)": "M(.): which images humans label next",
    r"L\(\.\)": "L(.): the order in which the classifier's labels are trusted",
    "[Oo]racle AL": "oracle AL: active learning with its best δ, known in hindsight",
    r"(?<!oracle )\bAL\b": "AL: active learning",
    r"\(ours\)": "(ours): a claim that the paper doesn't make",
}
"""What symbols and words mean, each after a pattern that finds it in a text."""


def titled(
    figure: Figure,
    title: str,
    marks: Iterable[str],
    about: str = "",
    key: tuple[Sequence[Any], Sequence[str]] | None = None,
) -> None:
    """Sets the title of a figure that is drawn, and below it what its ``marks`` mean, what it is ``about`` (its data
    and scale), and the terms that can be read in it; "" is no mark."""
    meanings = ". ".join(filter(None, marks))
    blocks = [meanings and f"{meanings.rstrip('.')}.", about]
    names = key[1] if key else ()
    read = " ".join([title, *blocks, *names, *(text.get_text() for text in figure.findobj(Text))])
    blocks.append("; ".join(meaning for term, meaning in TERMS.items() if re.search(term, read)))
    plots.headline(figure, title, "\n".join(filter(None, blocks)), key)


def are_seen(limits: tuple[float, float], low: Any, high: Any, marked: bool = False) -> bool:
    """Whether any span from ``low`` to ``high`` of an axis with these ``limits`` is longer than a line is thick, or,
    ``marked``, than a marker on it."""
    longest = max((b - a for a, b in zip(low, high, strict=True)), default=0)
    return bool(longest > (0.045 if marked else 0.02) * (limits[1] - limits[0]))
