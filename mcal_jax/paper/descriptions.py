"""Pictures in words, for those who don't see them: what they state, and the rows that are drawn."""

import re

from mcal_jax.paper.collection import Table
from mcal_jax.paper.published import SERVICES
from mcal_jax.paper.scale import NAMES
from mcal_jax.plots.architectures import APPEARANCES

MOST_VALUES, MOST_NUMBERS = 6, 3
"""Names, and columns of numbers, that are spoken at most."""
ASIDE = re.compile(r"(paper|difference)_.*|.*_(low|high)|seeds?|of_.*|images")
"""Columns that stand beside others: ranges, numbers of the paper, counts."""
SPOKEN = {**NAMES, **SERVICES, **{key: appearance.name for key, appearance in APPEARANCES.items()}}
"""Data sets, services and architectures under the names by which a reader knows them."""


def describe(title: str, table: Table | None) -> str:
    """The title, then the columns of the table that the picture draws: names, and the range of numbers.

    >>> rows = [["cifar10", "5"], ["fashion_mnist", "1200.5"]]
    >>> describe("MCAL saves", Table("data.csv", ["data_set", "dollars"], rows, 2, b""))
    'MCAL saves. Drawn from 2 rows of data.csv; data set: CIFAR-10, Fashion-MNIST; dollars from 5 to 1,200.'
    """
    title = title.rstrip(".")
    if not table or not table.rows:
        return f"{title}."
    parts = [*_names(table), *_ranges(table)]
    return f"{title}. Drawn from {table.total:,} rows of {table.file}; {'; '.join(parts)}."


def _columns(table: Table) -> "list[tuple[str, list[str]]]":
    return [
        (name.removeprefix("ours_"), [value for value in column if value])
        for name, column in zip(table.header, zip(*table.rows, strict=True), strict=True)
        if not ASIDE.fullmatch(name)
    ]


def _names(table: Table) -> list[str]:
    """Columns of text with the different values in them; those with too many, or with sentences, are left out."""
    spoken = []
    for name, values in _columns(table):
        different = list(dict.fromkeys(values))
        if values and _number(values[0]) is None and len(different) <= MOST_VALUES and max(map(len, different)) < 40:
            spoken.append(f"{name.replace('_', ' ')}: {', '.join(SPOKEN.get(value, value) for value in different)}")
    return spoken


def _ranges(table: Table) -> list[str]:
    spoken = []
    for name, values in _columns(table):
        numbers = [number for value in values if (number := _number(value)) is not None]
        if values and len(numbers) == len(values):
            ends = list(dict.fromkeys(_written(end) for end in (min(numbers), max(numbers))))
            spoken.append(
                f"{name.replace('_', ' ')} from {' to '.join(ends)}" if len(ends) > 1 else f"{name} {ends[0]}"
            )
    return spoken[:MOST_NUMBERS]


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _written(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
