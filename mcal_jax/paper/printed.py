"""Tables 1 to 3 as the paper prints them, with four lines for each of its rows: ours, the range of ours over seeds, the
paper's, and the difference; and the order of their rows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcal_jax.paper.published import NETS, data_set_name, service_name
from mcal_jax.plots import percent
from mcal_jax.plots.architectures import display_name

LINES = ("ours", "range", "paper", "difference")
Row = dict[Any, Any]


class Column(NamedTuple):
    """A column of a table: its heading, the quantity in the columns of ``rows``, and how a number is written."""

    heading: str
    quantity: str
    form: Callable[[float], str]


def _percent(value: float) -> str:
    return percent(value, 1)


def _dollars(value: float) -> str:
    text = f"${abs(value):,.0f}" if abs(value) >= 100 else f"${abs(value):,.2f}"
    return f"−{text}" if value < 0 else text


B, S = Column("|B|/|X|", "B", _percent), Column("|S|/|X|", "S", _percent)
ERROR = Column("error", "error", _percent)
HUMANS, COST = Column("humans only", "humans", _dollars), Column("MCAL", "dollars", _dollars)
SAVINGS = Column("savings", "savings", _percent)


def mcal_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 1, or 3, of ``tables.mcal_rows``; text in every cell."""
    lines: list[list[str]] = []
    for row in rows.to_dict("records"):
        numbers = [_cells(row, column) for column in (B, S, ERROR, HUMANS, COST, SAVINGS)]
        nets = [row["net"], "", "" if numbers[0][2] == "" else display_name("resnet18"), ""]
        lines += _lines(row, [*numbers[:2], nets, *numbers[2:]])
    headings = [B.heading, S.heading, "DNN", ERROR.heading, HUMANS.heading, COST.heading, SAVINGS.heading]
    return pd.DataFrame(lines, columns=["data set", "service", "", *headings])


def oracle_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 2 of ``tables.oracle_rows``, with the columns of the architectures side by side; text in every cell."""
    columns = [Column("δ", "delta", _percent), Column("cost", "dollars", _dollars), SAVINGS]
    nets = in_order(rows)["architecture"].unique()
    lines: list[list[str]] = []
    for _, own in rows.groupby(["data_set", "service"], sort=False):
        by_net = {row["architecture"]: row for row in own.to_dict("records")}
        cells = [_cells(by_net.get(net, {}), column) for net in nets for column in columns]
        lines += _lines(own.iloc[0].to_dict(), cells)
    headings = [f"{display_name(net)} {column.heading}" for net in nets for column in columns]
    return pd.DataFrame(lines, columns=["data set", "service", "", *headings])


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``tables.oracle_rows`` with the architectures of each data set and service in the paper's order."""
    nets = rows["architecture"].map(lambda net: (*NETS, net).index(net))
    cases = rows.groupby(["data_set", "service"], sort=False).ngroup()
    return rows.iloc[np.lexsort((nets, cases))]


def _lines(row: Row, cells: Sequence[Sequence[str]]) -> Iterable[list[str]]:
    """The lines of one row of the paper; the names stand in the first of them only."""
    names = [data_set_name(row["data_set"]), service_name(row["service"])]
    return [[*(names if i == 0 else ["", ""]), LINES[i], *(own[i] for own in cells)] for i in range(len(LINES))]


def _cells(row: Row, column: Column) -> list[str]:
    """One quantity in the lines: "" where a number is not known; a range of a single value says why it is one."""
    quantity, form = column.quantity, column.form
    ours, low, high = (row.get(f"ours_{quantity}{end}") for end in ("", "_low", "_high"))
    paper, difference = row.get(f"paper_{quantity}"), row.get(f"difference_{quantity}")
    texts = ["" if value is None or pd.isna(value) else form(value) for value in (ours, low, high, paper)]
    span = _range(texts[1], texts[2], str(row.get("seeds", "")).split(" ")[0] == "1")
    signed = "" if difference is None or pd.isna(difference) else _signed(form, difference)
    return [texts[0], span, texts[3], signed]


def _range(low: str, high: str, one_seed: bool) -> str:
    """The range over seeds of a number in words."""
    if low == high:
        return low and ("one seed" if one_seed else "all equal")
    ends = [_bare(low), _bare(high)]
    return (" to " if any("−" in end for end in ends) else "–").join(ends)


def _bare(text: str) -> str:
    return text.strip("$ %")


def _signed(form: Callable[[float], str], difference: float) -> str:
    """A difference with its sign; that of shares is in points."""
    text = form(abs(difference)).removesuffix(" %")
    if not _bare(text).strip("0.,"):
        return "0"
    return ("−" if difference < 0 else "+") + text
