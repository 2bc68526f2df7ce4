"""What each figure and table of the paper shows, computed from records as rows of data.csv.

Dollars are US dollars, shares are of |X|. A quantity over seeds is its mean, ``low`` and ``high`` their range.
What the paper prints stands beside it in columns that begin with ``paper``, ours in columns that begin with ``ours``.
Rows are of the runs that are there; where a row lacks some, its ``seeds`` read "1 of 3".
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mcal_jax import plots
from mcal_jax.algorithm import costs, powerlaw
from mcal_jax.algorithm.plan import Law
from mcal_jax.algorithm.protocol import MEASURES, trials
from mcal_jax.errors import McalError
from mcal_jax.files import write_atomically
from mcal_jax.paper import published, records
from mcal_jax.paper.records import Labelling, Priced, Records, Trajectory, grouped, not_run, seeds, spread

Row = dict[str, Any]
COMPARED = ("margin", "entropy", "least_confidence", "kcenter", "random")
LAWS = ("power", "truncated")
HOLLOW = (
    "Hollow points: within the trajectory the classifier was never let label all the rest, so it labels as much as it "
    "may at its end."
)


def publish(out: str | Path, figure: Figure, rows: Sequence[Mapping[str, Any]], caption: str, *notes: str) -> Figure:
    """Write figure.svg, figure.png, data.csv and summary.txt (the caption, then a paragraph for each note) into
    ``out``; returns the figure. Raises McalError where the folder can't be written."""
    plots.save(figure, out, "figure", columns(rows), table="data")
    text = "\n\n".join([caption, *filter(None, notes)])
    write_atomically(Path(out) / "summary.txt", plots.plain(text) + "\n")
    return figure


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns: the union of their keys, in order of appearance, "" where a row has none."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return {key: [row.get(key, "") for row in rows] for key in keys}


def _over_seeds(name: str, values: Iterable[float]) -> Row:
    mean, low, high, _ = spread(values)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def beside(name: str, ours: Row, published: float | None) -> Row:
    """Ours beside the paper's: the paper's value, our mean and range, and the difference."""
    difference = {} if published is None else {f"difference_{name}": ours[name] - published}
    return {f"paper_{name}": "" if published is None else published} | {
        f"ours_{key}": value for key, value in ours.items()
    } | difference  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# Active learning against the batch: figures 7 to 10, 12, 16 to 21, table 2


def delta_rows(trajectories: Sequence[Trajectory], service: str) -> list[Row]:
    """What active learning costs by data set, net and delta (figures 8 to 10, 12, 16 to 21).

    ``met`` is the share of seeds in which the classifier was let label all the rest; in the others it labels as
    much as it may at the end of the trajectory. ``hindsight`` dollars are those of the best time to stop, with the
    best theta, known in hindsight: a stronger rival than the paper's.
    """
    price = costs.label_price(service)
    rows = []
    for (data_set, architecture, delta), group in grouped(trajectories, "data_set", "architecture", "delta").items():
        bills = [records.priced(one, label_price=price) for one in group]
        best = [records.priced(one, best_stop=True, label_price=price).dollars for one in group]
        rows.append(
            {
                "data_set": data_set,
                "architecture": architecture,
                "service": service,
                "delta": delta,
                "seeds": seeds(group),
            }
            | _over_seeds("dollars", [bill.dollars for bill in bills])
            | _over_seeds("training", [bill.training for bill in bills])
            | _over_seeds("machine", [bill.S / one.n for bill, one in zip(bills, group, strict=True)])
            | _over_seeds("trained_on", [bill.B / one.n for bill, one in zip(bills, group, strict=True)])
            | _over_seeds("true_error", [bill.true_error for bill in bills])
            | {"met": float(np.mean([bill.met for bill in bills])), "hindsight": float(np.mean(best))}
        )
    return rows


def oracles(trajectories: Sequence[Trajectory], service: str) -> dict[tuple[str, str], list[tuple[Trajectory, Priced]]]:
    """Of each data set and net, for each seed the trajectory of the cheapest delta, and its bill."""
    price = costs.label_price(service)
    found: dict[tuple[str, str], list[tuple[Trajectory, Priced]]] = {}
    for (data_set, architecture, _), group in grouped(trajectories, "data_set", "architecture", "seed").items():
        bills = [(one, records.priced(one, label_price=price)) for one in group]
        best = min(bills, key=lambda pair: pair[1].dollars)
        found.setdefault((data_set, architecture), []).append(best)
    return found


def oracle_rows(trajectories: Sequence[Trajectory], services: Sequence[str]) -> list[Row]:
    """Table 2: active learning with the best delta, beside the paper's.

    ``runs``: how many of how many there are, each another delta or seed, where some are missing.
    """
    rows = []
    groups = grouped(trajectories, "data_set", "architecture")
    for service in services:
        for (data_set, architecture), pairs in oracles(trajectories, service).items():
            printed = published.TABLE_2.get((data_set, service, architecture))
            bills = [bill for _, bill in pairs]
            ours = [_over_seeds("delta", [bill.delta for bill in bills])]
            ours += [_over_seeds("dollars", [bill.dollars for bill in bills])]
            ours += [_over_seeds("savings", [bill.savings for bill in bills])]
            group = groups[data_set, architecture]
            row = {"data_set": data_set, "service": service, "architecture": architecture, "seeds": seeds(group)}
            row |= {"runs": records.coverage(group)} if group.missing else {}
            for name, one in zip(("delta", "dollars", "savings"), ours, strict=True):
                row |= beside(name, one, getattr(printed, name) if printed else None)
            met = float(np.mean([bill.met for bill in bills]))
            rows.append(row | {"ours_met": met} | {"ours_true_error": float(np.mean([b.true_error for b in bills]))})
    return rows


def total_rows(trajectories: Sequence[Trajectory], labellings: Sequence[Labelling], service: str) -> list[Row]:
    """Figure 7: the bill of people only, of MCAL, and of active learning with the best delta for each net.

    What no run tells has a row without dollars, ``seeds`` "0 of 3".
    """
    price = costs.label_price(service)
    bills = _bills(trajectories, labellings, service)
    rows: list[Row] = []
    sizes = {one.data_set: one.n for one in trajectories} | {one.data_set: one.n for one in labellings}
    for data_set, n in sizes.items():
        printed = published.TABLE_1.get((data_set, service))
        base = {"data_set": data_set, "service": service}
        people = _over_seeds("dollars", [n * price])
        rows.append(base | {"by": "people only"} | beside("dollars", people, printed.humans if printed else None))
        for bill in bills:
            if bill.data_set == data_set:
                row = base | {"by": bill.by, "seeds": bill.seeds}
                dollars = beside("dollars", _over_seeds("dollars", bill.dollars), bill.printed) if bill.dollars else {}
                rows.append(row | dollars)
    return rows


class _Bill(NamedTuple):
    """A bar of figure 7: dollars of each seed, none where no run tells, and what the paper printed."""

    data_set: str
    by: str
    seeds: int | str
    dollars: list[float]
    printed: float | None


def _bills(trajectories: Sequence[Trajectory], labellings: Sequence[Labelling], service: str) -> list[_Bill]:
    best, nets = oracles(trajectories, service), grouped(trajectories, "data_set", "architecture")
    bills = []
    for data_set, group in {**grouped(labellings, "data_set"), **not_run(labellings, "data_set")}.items():
        printed = published.TABLE_1.get((data_set, service))
        bills.append(
            _Bill(data_set, "MCAL", seeds(group), [one.cost for one in group], printed.dollars if printed else None)
        )
    for (data_set, net), curves in {**nets, **not_run(trajectories, "data_set", "architecture")}.items():
        cell = published.TABLE_2.get((data_set, service, net))
        dollars = [bill.dollars for _, bill in best.get((data_set, net), [])]
        name = f"oracle AL, {plots.architecture_style(net).label}"
        bills.append(_Bill(data_set, name, seeds(curves), dollars, cell.dollars if cell else None))
    return bills


# ---------------------------------------------------------------------------------------------------------
# MCAL: tables 1 and 3, figures 11 and 13 to 15


def mcal_rows(labellings: Sequence[Labelling]) -> list[Row]:
    """Tables 1 and 3: what MCAL did, by data set, service and epsilon, beside the paper's."""
    rows = []
    for (data_set, service, epsilon), group in grouped(
        labellings, "data_set", service_of, lambda one: one.config.epsilon
    ).items():
        printed = published.TABLE_1.get((data_set, service)) if epsilon == 0.05 else None
        if epsilon == 0.1 and service == "amazon":
            printed = published.TABLE_3.get(data_set)
        chosen = "/".join(sorted({plots.architecture_style(one.architecture).label for one in group}))
        stops = "/".join(sorted({one.stop for one in group}))
        row = {"data_set": data_set, "service": service, "epsilon": epsilon, "seeds": seeds(group), "net": chosen}
        values = {
            "B": [one.B / one.n for one in group],
            "S": [one.S / one.n for one in group],
            "error": [np.nan if one.true_error is None else one.true_error for one in group],
            "humans": [one.ledger.humans_only for one in group],
            "dollars": [one.cost for one in group],
            "savings": [one.savings for one in group],
        }
        for name, listed in values.items():
            row |= beside(name, _over_seeds(name, listed), getattr(printed, name) if printed else None)
        broken = sum(error > epsilon for error in values["error"])
        rows.append(row | {"ours_broke_epsilon": broken, "ours_stop": stops})
    return rows


def mean_costs(labellings: Sequence[Labelling]) -> tuple[float | None, float | None]:
    """Mean dollars of MCAL, and of its training alone; None where there is no run."""
    if not labellings:
        return None, None
    training = [one.ledger.training for one in labellings]
    return float(np.mean([one.cost for one in labellings])), float(np.mean(training))


def service_of(one: Labelling) -> str:
    """The service whose price a run paid, or the price."""
    named = {price: name for name, price in costs.SERVICES.items()}
    return named.get(one.config.label_price, f"{one.config.label_price:g}")


def bar_rows(labellings: Sequence[Labelling], by: str) -> list[Row]:
    """MCAL by data set and acquisition function, or images a class (figures 11, 13, 14 and 15)."""
    keys = {
        "acquisition": lambda one: one.config.acquisition,
        "per_class": lambda one: one.run.data.per_class,
    }
    if by not in keys:
        raise McalError(f"by: {by!r} is not acquisition or per_class")
    rows = []
    groups = grouped(labellings, "data_set", keys[by])
    order = [*published.DATA_SETS, *COMPARED]

    def place(group: tuple[str, Any]) -> tuple:
        return tuple(order.index(part) if part in order else part for part in group)

    for data_set, value in sorted(groups, key=place):
        group = groups[data_set, value]
        rows.append(
            {"data_set": data_set, by: value, "service": service_of(group[0]), "seeds": seeds(group)}
            | {"humans": group[0].ledger.humans_only}
            | _over_seeds("dollars", [one.cost for one in group])
            | _over_seeds("savings", [one.savings for one in group])
            | _over_seeds("machine", [one.S / one.n for one in group])
            | _over_seeds("trained_on", [one.B / one.n for one in group])
            | {"true_error": float(np.mean([np.nan if one.true_error is None else one.true_error for one in group]))}
        )
    return rows


def gain(rows: Sequence[Row], data_set: str, name: str = "random", best: str = "margin") -> float | None:
    """By how much ``best`` costs less than ``name``, a fraction of the cost of ``name``; None without either."""
    dollars = {row["acquisition"]: row["dollars"] for row in rows if row["data_set"] == data_set}
    return 1 - dollars[best] / dollars[name] if {best, name} <= dollars.keys() else None


# ---------------------------------------------------------------------------------------------------------
# Learning curves: figures 2, 3, 4 and 22 to 27


def longest(trajectories: Sequence[Trajectory]) -> Trajectory:
    """The trajectory with the most trainings; of several the first."""
    return max(trajectories, key=lambda one: len(one.fits))


def usable(trajectory: Trajectory, used: Sequence[int]) -> list[int]:
    """The numbers of points that leave a training to predict; half of the trainings if none does.

    Raises McalError for a trajectory of fewer than three trainings.
    """
    trainings = len(trajectory.fits)
    if trainings < 3:
        raise McalError(f"{trajectory.path.name} has {trainings} trainings: too few to predict one from the others")
    return [points for points in used if points < trainings] or [max(trainings // 2, 2)]


def law_rows(trajectory: Trajectory, thetas: Sequence[float], used: Sequence[int]) -> list[Row]:
    """Both laws fitted to the first few trainings of a trajectory, and how well they predict the later ones.

    One row for each theta, law and number of points used: ``miss`` is the mean distance between the predicted
    error and the one counted on T, in points of the error, over the trainings that were not used.
    """
    rows = []
    for theta in thetas:
        errors, tested = counts(trajectory, theta)
        eps = errors / tested
        for points in used:
            for law in LAWS:
                found = fitted(trajectory, theta, points, law)
                predicted = powerlaw.predict([found], trajectory.sizes)[:, 0]
                rows.append(
                    {"theta": theta, "law": law, "points": points, "fitted_as": found.form}
                    | {"alpha": float(np.exp(found.a) * found.B0**found.gamma), "gamma": found.gamma}
                    | {"k": found.B0 / found.kappa if found.kappa > 1e-9 else np.inf}
                    | {"largest_size_used": int(trajectory.sizes[points - 1]), "unused": len(errors) - points}
                    | {"miss": float(np.abs(predicted - eps)[points:].mean())}
                    | {"miss_at_largest": float((predicted - eps)[-1])}
                )
    return rows


def mean_miss(rows: Sequence[Row], law: str) -> float:
    """Mean of ``miss`` over the rows of a law."""
    return float(np.mean([row["miss"] for row in rows if row["law"] == law]))


def counts(trajectory: Trajectory, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Mistakes among the top ``theta`` of T, and how many images that is; each [trainings]."""
    errors = np.array([int(fit.errors(theta)) for fit in trajectory.fits])
    return errors, np.array([max(int(trials(theta, fit.n_test)), 1) for fit in trajectory.fits])


def fitted(trajectory: Trajectory, theta: float, points: int, law: str) -> Law:
    """One law on the first ``points`` trainings."""
    errors, tested = counts(trajectory, theta)
    return powerlaw.fit(trajectory.sizes[:points], errors[:points], tested[:points], law)


def same_size_rows(trajectories: Sequence[Trajectory], thetas: Sequence[float], size: float) -> list[Row]:
    """Figure 4: eps(S^theta) of classifiers trained on the same |B| = ``size`` |X| reached in batches of different
    delta, on the images left (by the truth) and on T. Batches that do not reach the size are left out.
    """
    rows = []
    for (data_set, delta), group in grouped(trajectories, "data_set", "delta").items():
        at = [(one, int(np.argmin(np.abs(one.sizes - size * one.n)))) for one in group]
        at = [(one, i) for one, i in at if abs(one.sizes[i] / one.n - size) < 0.005 and i < len(one.measured)]
        own = Records((one for one, _ in at), group.wanted)
        for theta in thetas if at else ():
            rows.append(
                {"data_set": data_set, "delta": delta, "theta": theta, "seeds": seeds(own)}
                | _over_seeds("trained_on", [float(one.sizes[i]) / one.n for one, i in at])
                | _over_seeds("eps_left", [float(one.measured[i].eps(theta)) for one, i in at])
                | _over_seeds("eps_T", [one.fits[i].errors(theta) / trials(theta, one.fits[i].n_test) for one, i in at])
            )
    if not rows:
        raise McalError(f"size: no trajectory has a classifier trained on {size:.1%} of X")
    return rows


# ---------------------------------------------------------------------------------------------------------
# What acquisition functions rank: figures 5 and 6


def ranking_rows(trajectories: Sequence[Trajectory], bins: int = 20) -> list[Row]:
    """Accuracy and margin of the images left, in the order of each M(.), the least wanted first.

    One row for each M(.) and twentieth of the images; ``rank`` is the middle of it, 0 the least wanted.
    """
    rows = []
    each = MEASURES // bins
    for by in trajectories[0].measured[-1].errors:
        for b in range(bins):
            lasts = [one.measured[-1] for one in trajectories]
            images = [m.n / bins for m in lasts]
            wrong = [m.errors[by][(b + 1) * each] - m.errors[by][b * each] for m in lasts]
            margins = [float(np.nanmean(m.margins[by][b * each : (b + 1) * each])) for m in lasts]
            rows.append(
                {"acquisition": by, "rank": (b + 0.5) / bins, "seeds": seeds(trajectories)}
                | _over_seeds("accuracy", [1 - w / i for w, i in zip(wrong, images, strict=True)])
                | _over_seeds("margin", margins)
            )
    return rows
