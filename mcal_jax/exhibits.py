"""What each figure and table of the paper shows, computed from records: rows for data.csv, and how they are drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mcal_jax import plots
from mcal_jax.report import write_atomically

Columns = dict[str, list[Any]]
"""A table: columns of equal length under their names."""


def publish(out: str | Path, figure: Figure, data: Mapping[str, Sequence[Any]], caption: str, *notes: str) -> Figure:
    """Write figure.svg, figure.png, data.csv and summary.txt (the caption, then a paragraph for each note) into
    ``out``; returns the figure. Raises McalError where the folder can't be written."""
    plots.save(figure, out, "figure", data, table="data")
    write_atomically(Path(out) / "summary.txt", "\n\n".join([caption, *notes]) + "\n")
    return figure


def columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Rows as columns: the union of their keys, in order of appearance, "" where a row has none."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return {key: [row.get(key, "") for row in rows] for key in keys}
