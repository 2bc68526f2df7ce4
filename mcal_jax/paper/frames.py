"""From frames of one row a run to the rows of a table: groups, means and ranges over seeds, the paper's numbers beside.

Every function keeps groups in their order of appearance.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mcal_jax.paper.records import finished


def over_seeds(rows: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Mean, least and greatest of ``values`` in each group, in the columns ``value``, ``value_low``, ``value_high``.

    >>> rows = pd.DataFrame({"net": ["a", "a", "b"], "cost": [1.0, 2.0, 5.0]})
    >>> over_seeds(rows, ["net"], ["cost"])
         cost  cost_low  cost_high
    net
    a     1.5       1.0        2.0
    b     5.0       5.0        5.0
    """
    groups = rows.groupby(list(by), sort=False, dropna=False)[list(values)]
    low, high = groups.min(), groups.max()
    mean = groups.mean().clip(low, high)  # the mean of equal values may differ from them by rounding
    table = pd.concat([mean, low.add_suffix("_low"), high.add_suffix("_high")], axis=1)
    return table[[f"{value}{end}" for value in values for end in ("", "_low", "_high")]]


def seed_count(runs: pd.DataFrame) -> int | str:
    """Of how many seeds a run is finished; "1 of 3" where other seeds were planned too."""
    return _count(finished(runs)["seed"].nunique(), runs["seed"].nunique())


def _count(done: int, planned: int) -> int | str:
    return f"{done} of {planned}" if done < planned else done


def seed_counts(runs: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """The ``seed_count`` of each group."""
    planned = runs.groupby(list(by), sort=False, dropna=False)["seed"].nunique()
    done = finished(runs).groupby(list(by), sort=False, dropna=False)["seed"].nunique()
    pairs = zip(done.reindex(planned.index, fill_value=0), planned, strict=True)
    return pd.Series([_count(*pair) for pair in pairs], index=planned.index, name="seeds", dtype=object)


def replicated(trajectories: pd.DataFrame) -> pd.DataFrame:
    """The finished runs whose delta has as many seeds as any of its data set and architecture: means over fewer seeds
    are not compared with means over more."""
    done = finished(trajectories)
    seeds = done.groupby(["data_set", "architecture", "delta"])["seed"].transform("nunique")
    return done[seeds == seeds.groupby([done["data_set"], done["architecture"]]).transform("max")]


def beside(table: pd.DataFrame, values: Sequence[str], published: Mapping[Any, Any]) -> pd.DataFrame:
    """``table``, whose ``values`` are as from ``over_seeds``, with the paper's numbers: columns paper_value,
    ours_value, ours_value_low, ours_value_high and difference_value for each.

    ``published`` maps the index of a row to a tuple with these fields; a number that was not printed is missing.
    """
    printed = [published.get(key) for key in table.index]
    columns = {}
    for value in values:
        papers = pd.Series([getattr(row, value, None) for row in printed], index=table.index, dtype=float)
        columns[f"paper_{value}"] = papers
        columns |= {f"ours_{value}{end}": table[f"{value}{end}"] for end in ("", "_low", "_high")}
        if papers.notna().any():
            columns[f"difference_{value}"] = table[value] - papers
    return pd.DataFrame(columns, index=table.index)
