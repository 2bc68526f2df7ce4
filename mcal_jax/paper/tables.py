"""What the figures and tables of costs and savings show, computed from recorded runs as the rows of data.csv.

Costs are US dollars, shares are of |X|. A quantity over seeds is its mean, ``low`` and ``high`` are its range.
The paper's numbers are in columns that begin with ``paper``, ours beside them in columns that begin with ``ours``.
Rows are computed from the finished runs; where some of a row's runs are missing, its ``seeds`` read "1 of 3".
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mcal_jax import plots
from mcal_jax.algorithm import costs
from mcal_jax.errors import McalError
from mcal_jax.files import write_atomically
from mcal_jax.paper import published
from mcal_jax.paper.bills import billed
from mcal_jax.paper.frames import beside, over_seeds, replicated, seed_count, seed_counts
from mcal_jax.paper.records import finished
from mcal_jax.paper.scale import coverage
from mcal_jax.plots.architectures import display_name

COMPARED = ("margin", "entropy", "least_confidence", "kcenter", "random")
HUMANS_ONLY = "humans only"
Bar = tuple[str, list[float], int | str, float | None]
"""A bar of figure 7: name, dollars of each seed, seeds, and the paper's dollars."""


def publish(
    out: str | Path,
    figure: Figure,
    rows: pd.DataFrame,
    caption: str,
    *notes: str,
    printed: pd.DataFrame | None = None,
) -> Figure:
    """Write figure.svg, figure.png, data.csv and summary.txt (what the figure shows, the caption, then a paragraph for
    each note) into ``out``, and ``printed``, a table as the paper prints it, as table.csv; returns the figure. Raises
    McalError where the folder can't be written."""
    plots.save(figure, out, "figure", rows, table="data")
    if printed is not None:
        write_atomically(Path(out) / "table.csv", printed.to_csv(index=False, lineterminator="\n"))
    finding = str(figure.get_label())
    text = "\n\n".join(filter(None, [finding and f"{finding}.", caption, *notes]))
    write_atomically(Path(out) / "summary.txt", plots.plain(text) + "\n")
    return figure


# ---------------------------------------------------------------------------------------------------------
# Active learning against the batch size: figures 7 to 10, 12, 16 to 21, table 2


def delta_rows(trajectories: pd.DataFrame, service: str) -> pd.DataFrame:
    """The cost of active learning by data set, architecture and delta (figures 8 to 10, 12, 16 to 21).

    ``met`` is the share of seeds in which the classifier was allowed to label all remaining images; the others are
    billed at one |B|, see ``billed``. ``hindsight`` are the dollars if training stops at the best time, with the best
    theta, known in hindsight: a stronger rival than the paper's. ``best`` marks the batch size of ``oracles``,
    ``paper_delta`` and ``paper_dollars`` are the paper's, from its Table 2.
    """
    by = ["data_set", "architecture", "delta"]
    bills = billed(trajectories, service)
    done = finished(bills)
    table = over_seeds(done, by, ["dollars", "training", "machine", "trained_on", "true_error"])
    table.insert(0, "service", service)
    table.insert(1, "seeds", seed_counts(bills, by).reindex(table.index))
    means = done.groupby(by, sort=False)[["met", "hindsight"]].mean()
    table = table.join(means).reset_index()
    best = set(_keys(_cheapest(bills)))
    table["best"] = [key in best for key in _keys(table)]
    cells = [published.TABLE_2.get((row.data_set, service, row.architecture)) for row in table.itertuples()]
    for name in ("delta", "dollars"):
        table[f"paper_{name}"] = pd.Series([getattr(cell, name, None) for cell in cells], table.index, dtype=float)
    return table[["data_set", "architecture", "service", "delta", *table.columns[4:]]]


def batch_losses(rows: pd.DataFrame) -> pd.DataFrame:
    """How much less of X the machine labels with the largest delta than with the smallest, as a fraction: of rows of
    ``delta_rows`` one row for each data set and architecture that has several delta."""
    curves = rows.sort_values("delta").groupby(["data_set", "architecture"], sort=False)["machine"]
    several = curves.count() > 1
    return (curves.first() - curves.last())[several].rename("lost").reset_index()


def are_mixed(rows: pd.DataFrame) -> bool:
    """Whether some of ``delta_rows`` have a classifier that was allowed to label all remaining images, and some not."""
    return 0 < (rows["met"] == 1).sum() < len(rows)


def not_all(rows: pd.DataFrame) -> str:
    """Which of ``delta_rows`` have a classifier that was never allowed to label all remaining images, in a sentence."""
    if (rows["met"] == 1).all():
        return ""
    which = "Hollow: the classifier never" if are_mixed(rows) else "No classifier"
    return (
        f"{which} became accurate enough to label all remaining images; each labels as many as ε allows, at the "
        "largest |B| that all batch sizes reach."
    )


def oracles(trajectories: pd.DataFrame, service: str) -> pd.DataFrame:
    """The bills of active learning with the best delta in hindsight: of each data set and architecture the rows of
    ``billed`` with the delta that is cheapest on average, among those with the most seeds."""
    return _cheapest(billed(trajectories, service))


def _cheapest(bills: pd.DataFrame) -> pd.DataFrame:
    done = replicated(bills)
    means = done.groupby(["data_set", "architecture", "delta"])["dollars"].transform("mean")
    return done[means == means.groupby([done["data_set"], done["architecture"]]).transform("min")]


def _keys(rows: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    """Data set, architecture and delta of each row."""
    return zip(rows["data_set"], rows["architecture"], rows["delta"], strict=True)


def oracle_rows(trajectories: pd.DataFrame, services: list[str]) -> pd.DataFrame:
    """Table 2: active learning with the best delta, beside the paper's.

    ``runs``: how many of how many are finished, each another delta or seed, where some are missing.
    """
    by = ["data_set", "architecture"]
    seeds = seed_counts(trajectories, by)
    runs = pd.Series({key: coverage(own) for key, own in trajectories.groupby(by, sort=False)}, dtype=object)
    tables = []
    for service in services:
        best = oracles(trajectories, service)
        table = over_seeds(best, by, ["delta", "dollars", "savings"])
        own = {(d, net): row for (d, of, net), row in published.TABLE_2.items() if of == service}
        rows = beside(table, ["delta", "dollars", "savings"], own)
        rows.insert(0, "service", service)
        rows.insert(1, "seeds", seeds.reindex(rows.index))
        if runs.astype(bool).any():
            rows.insert(2, "runs", runs.reindex(rows.index))
        groups = best.groupby(by, sort=False)
        rows["ours_met"], rows["ours_true_error"] = groups["met"].mean(), groups["true_error"].mean()
        tables.append(rows.reset_index())
    table = pd.concat(tables, ignore_index=True)
    return table[["data_set", "service", "architecture", *table.columns[3:]]]


def total_rows(trajectories: pd.DataFrame, labellings: pd.DataFrame, service: str) -> pd.DataFrame:
    """Figure 7: the cost of humans only, of MCAL, and of active learning with the best delta for each architecture.

    A bar of which no run is finished has a row without dollars, with ``seeds`` "0 of 3".
    """
    done = pd.concat([finished(trajectories), finished(labellings)], ignore_index=True)
    best = oracles(trajectories, service)
    tables = []
    for data_set, own in done.groupby("data_set", sort=False):
        price, table_1 = costs.label_price(service), published.TABLE_1.get((data_set, service))
        bars: list[Bar] = [(HUMANS_ONLY, [own["n"].iloc[-1] * price], "", table_1 and table_1.humans)]
        runs = labellings[labellings["data_set"] == data_set]
        if len(runs):
            bars.append(("MCAL", list(finished(runs)["dollars"]), seed_count(runs), table_1 and table_1.dollars))
        for net, curves in trajectories[trajectories["data_set"] == data_set].groupby("architecture", sort=False):
            cheapest = best[(best["data_set"] == data_set) & (best["architecture"] == net)]["dollars"]
            cell = published.TABLE_2.get((data_set, service, net))
            name = f"oracle AL, {display_name(net)}"
            bars.append((name, list(cheapest), seed_count(curves), cell and cell.dollars))
        tables.append(_bars_of(bars).assign(data_set=data_set, service=service))
    if not tables:
        return pd.DataFrame(columns=["data_set", "service", "by", "ours_dollars", "seeds"])
    table = pd.concat(tables, ignore_index=True)
    dollars = [f"{name}_dollars{end}" for name, end in (("paper", ""), *(("ours", e) for e in ("", "_low", "_high")))]
    return table[["data_set", "service", "by", *dollars, "difference_dollars", "seeds"]]


def _bars_of(bars: list[Bar]) -> pd.DataFrame:
    """Rows of figure 7; the paper's dollars stand beside ours only."""
    dollars = pd.DataFrame([(name, one) for name, each, _, _ in bars for one in each], columns=["by", "dollars"])
    table = over_seeds(dollars, ["by"], ["dollars"]).reindex([name for name, *_ in bars])
    papers = pd.Series([printed if dollars else None for _, dollars, _, printed in bars], table.index, dtype=float)
    table.columns = ["ours_" + name for name in table.columns]
    table["paper_dollars"], table["difference_dollars"] = papers, table["ours_dollars"] - papers
    table["seeds"] = [seeds for _, _, seeds, _ in bars]
    return table.rename_axis("by").reset_index()


# ---------------------------------------------------------------------------------------------------------
# MCAL: tables 1 and 3, figures 11 and 13 to 15


def mcal_rows(labellings: pd.DataFrame) -> pd.DataFrame:
    """Tables 1 and 3: the runs of MCAL by data set, service and epsilon, beside the paper's."""
    by, values = ["data_set", "service", "epsilon"], ["B", "S", "error", "humans", "dollars", "savings"]
    renamed = labellings.rename(columns={"trained_on": "B", "machine": "S", "true_error": "error"})
    done = finished(renamed)
    printed = {(data_set, service, 0.05): row for (data_set, service), row in published.TABLE_1.items()}
    printed |= {(data_set, "amazon", 0.1): row for data_set, row in published.TABLE_3.items()}
    table = beside(over_seeds(done, by, values), values, printed)
    table.insert(0, "seeds", seed_counts(labellings, by).reindex(table.index))
    groups = done.assign(broke=done["error"] > done["epsilon"]).groupby(by, sort=False)
    table.insert(1, "net", groups["chosen"].agg(lambda own: "/".join(sorted({display_name(net) for net in own}))))
    table["ours_broke_epsilon"] = groups["broke"].sum()
    table["ours_stop"] = groups["stop"].agg(lambda own: "/".join(sorted(set(own))))
    return table.reset_index()


def bar_rows(labellings: pd.DataFrame, by: str) -> pd.DataFrame:
    """MCAL by data set and acquisition function, or images per class (figures 11, 13, 14 and 15)."""
    if by not in ("acquisition", "per_class"):
        raise McalError(f"by: {by!r} is not acquisition or per_class")
    keys, done = ["data_set", by], finished(labellings)
    table = over_seeds(done, keys, ["dollars", "savings", "machine", "trained_on"])
    table.insert(0, "service", done.groupby(keys, sort=False, dropna=False)["service"].first())
    table.insert(1, "seeds", seed_counts(labellings, keys).reindex(table.index))
    groups = done.groupby(keys, sort=False, dropna=False)
    table.insert(2, "humans", groups["humans"].first())
    table["true_error"] = groups["true_error"].mean()
    order = [*published.DATA_SETS, *COMPARED]
    rank = {value: place for place, value in enumerate(order)}
    return table.reset_index().sort_values(keys, key=lambda own: own.map(lambda value: rank.get(value, value)))


def gain(rows: pd.DataFrame, data_set: str, name: str = "random", best: str = "margin") -> float | None:
    """How much less ``best`` costs than ``name``, as a fraction of the cost of ``name``; None without either."""
    dollars = rows[rows["data_set"] == data_set].set_index("acquisition")["dollars"]
    return float(1 - dollars[best] / dollars[name]) if {best, name} <= set(dollars.index) else None


def with_gains(rows: pd.DataFrame, labellings: pd.DataFrame, against: str) -> pd.DataFrame:
    """``rows`` of ``bar_rows`` by acquisition with ``gain``, how much less each costs than ``against`` as a fraction:
    that of the means, and the range over seeds that both have; ``paper_gain_low`` and ``_high`` beside it."""
    columns: dict[str, list[float | None]] = {
        name: [] for name in ("gain", "gain_low", "gain_high", "paper_gain_low", "paper_gain_high")
    }
    done = finished(labellings)
    costs_of = {key: own.set_index("seed")["dollars"] for key, own in done.groupby(["data_set", "acquisition"])}
    nothing = pd.Series(dtype=float)
    for row in rows.itertuples():
        own, base = (costs_of.get((row.data_set, by), nothing) for by in (row.acquisition, against))
        each = (1 - own / base).dropna()
        known = row.acquisition != against and len(each) > 0
        values = (gain(rows, row.data_set, against, row.acquisition), each.min(), each.max()) if known else [None] * 3
        printed = _printed_gain(row.data_set, str(row.service), row.acquisition, against) if known else None
        for name, value in zip(columns, (*values, *(printed or (None, None))), strict=True):
            columns[name].append(value)
    return rows.assign(**{name: pd.Series(values, rows.index, dtype=float) for name, values in columns.items()})


def _printed_gain(data_set: str, service: str, acquisition: str, against: str) -> tuple[float, float] | None:
    if against == "random" and acquisition == "margin":
        return published.ACTIVE_LEARNING_GAINS.get((data_set, service))
    uncertain = acquisition in ("margin", "entropy", "least_confidence") and (data_set, service) == (
        "cifar10",
        "amazon",
    )
    return (published.UNCERTAINTY_GAIN,) * 2 if against == "kcenter" and uncertain else None


def with_printed_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` of ``bar_rows`` by images per class with the paper's |S|/|X| in the column ``paper_machine``."""
    return rows.assign(paper_machine=rows["per_class"].map(published.SHARES_PER_CLASS).astype(float))


def cost_range(labellings: pd.DataFrame, quantity: str) -> tuple[float, float, float] | None:
    """The lowest, mean and highest "dollars" of MCAL, or of its "training" alone; None where no run is finished."""
    done = finished(labellings)[quantity]
    return None if done.empty else (float(done.min()), float(done.mean()), float(done.max()))
