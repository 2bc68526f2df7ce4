"""The paper's numbers beside ours, as a small table, for figures whose data.csv has them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mcal_jax.paper.collection import Table
from mcal_jax.paper.curve_figures import ACQUISITIONS
from mcal_jax.paper.published import data_set_name, service_name
from mcal_jax.plots import money, percent, plain
from mcal_jax.plots.architectures import display_name

Cells = dict[str, str]
Form = Callable[[float], str]

CASES: dict[str, tuple[str, Callable[[str], str]]] = {
    "data_set": ("data set", data_set_name),
    "service": ("labels by", service_name),
    "by": ("labelled by", str),
    "architecture": ("architecture", display_name),
    "acquisition": ("acquisition function", lambda name: ACQUISITIONS[name][0] if name in ACQUISITIONS else name),
    "per_class": ("images per class", lambda count: f"{float(count):,.0f}"),
}
"""Columns that say what a row is about: their headings, and how a value is written."""
QUANTITIES: dict[str, tuple[str, Form]] = {
    "delta": ("best δ", percent),
    "dollars": ("cost", lambda value: plain(money(round(value)))),
    "machine": ("labelled by the machine", lambda value: percent(round(value, 3))),
    "gain": ("cheaper", lambda value: percent(round(value, 3))),
}
"""Columns that the paper has numbers for."""


class Comparison(NamedTuple):
    """A table in text: the heading of each column, and its rows."""

    header: list[str]
    rows: list[list[str]]


def compare(table: Table) -> Comparison | None:
    """Each quantity of data.csv that the paper has, ours and then the paper's, for the rows where it has one; of rows
    by batch size the cheapest of each architecture. None where the paper has no number."""
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    if {"delta", "paper_delta", "dollars"} <= set(table.header):
        rows = _cheapest(rows)
    known = {name: form for name, form in QUANTITIES.items() if any(_printed(row, name, form[1]) for row in rows)}
    if not known:
        return None
    cases = {name: form for name, form in CASES.items() if name in table.header}
    header = [heading for heading, _ in cases.values()]
    header += [f"{heading}, {whose}" for heading, _ in known.values() for whose in ("ours", "paper")]
    lines = []
    for row in rows:
        if any(_printed(row, name, form) for name, (_, form) in known.items()):
            line = [form(row[name]) for name, (_, form) in cases.items()]
            for name, (_, form) in known.items():
                line += [_ours(row, name, form), _printed(row, name, form)]
            lines.append(line)
    return Comparison(header, lines)


def _cheapest(rows: Sequence[Cells]) -> list[Cells]:
    best: dict[tuple[str, ...], Cells] = {}
    for row in rows:
        case = tuple(row.get(name, "") for name in CASES)
        if case not in best or float(row["dollars"]) < float(best[case]["dollars"]):
            best[case] = row
    return list(best.values())


def _ours(row: Cells, name: str, form: Form) -> str:
    value = row.get(f"ours_{name}", row.get(name, ""))
    return form(float(value)) if value else ""


def _printed(row: Cells, name: str, form: Form) -> str:
    """The paper's number, or both ends of its range; "" where it has none."""
    values = [row.get(f"paper_{name}{end}", "") for end in ("", "_low", "_high")]
    return " to ".join(dict.fromkeys(form(float(value)) for value in values if value))
