"""The paper's arithmetic and readings, recomputed: rows of numbers, sentences made of them, and their picture.

Two checks need only what the paper printed: Table 1 against Eqn 1, and Table 2 solved for what it does not print.
Three need recorded trajectories, whose every pool was measured by the truth: the constraint on S against that on X,
theta of X against theta of U, and the error estimated from T against that of the pool.

Shares are of |X| unless said otherwise, money is US dollars, errors are fractions.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcal_jax import plots
from mcal_jax.algorithm import costs, planner
from mcal_jax.algorithm.protocol import MEASURES, Measurement, TrainResult
from mcal_jax.paper import published
from mcal_jax.paper.records import Trajectory
from mcal_jax.plots import COLOURS, PERCENT, THETAS, percent

Row = dict[str, Any]

EPOCHS = 200
"""Epochs of the paper's recipe."""
BILLED = 0.9
"""Share of X that the released code bills: test and validation images, a tenth, are left out."""
READINGS = {"all": "θ of X", "remaining": "θ of U"}
CONSTRAINTS = {"on_X": "constraint on X (Eqn 2)", "on_S": "constraint on S"}


# ---------------------------------------------------------------------------------------------------------
# What the paper printed


def table_1() -> list[Row]:
    """Table 1 against Eqn 1, a row for each data set and service.

    ``least`` are the dollars of labelling all but S by hand, (1 - S/X) |X| C_h, no training paid; ``least_billed``
    the same with 0.9 |X| billed. ``one_training`` are those of a single training on B for 200 epochs at
    ``costs.PAPER_PRICES``. A printed cost is ``possible`` if the least is not above it, rounded to whole dollars as
    it is printed. ``error_on_S`` is the printed error of all labels divided by S/X: the error of the machine's own,
    people making none.
    """
    rows = []
    for (data_set, service), printed in published.TABLE_1.items():
        n, price = published.SIZES[data_set], costs.SERVICES[service]
        assert printed.dollars
        least = (1 - printed.S) * n * price
        rate = _paper_price(data_set, "resnet18")
        one_training = printed.B * n * EPOCHS * rate
        rows.append({
            "check": "eqn_1", "data_set": data_set, "service": service,
            "S": printed.S, "printed_dollars": printed.dollars,
            "least": least, "least_billed": BILLED * least, "one_training": one_training,
            "possible": _fits(least, printed.dollars),
            "possible_billed": _fits(BILLED * least, printed.dollars),
            "possible_billed_trained": _fits(BILLED * least + one_training, printed.dollars),
            "printed_error": printed.error, "error_on_S": printed.error / printed.S,
        })  # fmt: skip
    return rows


def table_2(test_fraction: float = 0.05) -> list[Row]:
    """Table 2 solved, a row for each data set and net that has one delta for both services.

    Such a net was trained the same way for both, so cost = labels * C_h + training is two equations for two
    unknowns. Batches of delta |X| up to all ``labels`` bought are the most training that fits (people may have
    labelled a rest too), so ``rate``, training dollars by the images of all batches and 200 epochs, is the least
    that the paper can have paid per image and epoch. ``rate_without_T`` takes T (a share ``test_fraction``) off
    the labels first. ``price`` is that of ``costs.PAPER_PRICES``.
    """
    rows = []
    amazon, satyam = costs.SERVICES["amazon"], costs.SERVICES["satyam"]
    for (data_set, service, net), dear in published.TABLE_2.items():
        cheap = published.TABLE_2[data_set, "satyam", net]
        if service != "amazon" or dear.delta != cheap.delta:
            continue
        n = published.SIZES[data_set]
        labels = (dear.dollars - cheap.dollars) / (amazon - satyam)
        training = dear.dollars - amazon * labels
        row = {"check": "table_2", "data_set": data_set, "architecture": net, "delta": dear.delta}
        row |= {"labels": labels, "training": training, "price": _paper_price(data_set, net)}
        for name, bought in (("", labels), ("_without_T", labels - test_fraction * n)):
            batches = int(bought / (dear.delta * n) + 1e-9)
            images = dear.delta * n * batches * (batches + 1) / 2
            row |= {f"batches{name}": batches, f"rate{name}": training / (EPOCHS * images) if batches else float("nan")}
        rows.append(row)
    return rows


def _paper_price(data_set: str, net: str) -> float:
    return costs.PAPER_PRICES["grey" if data_set == "fashion_mnist" else "colour"][net]


def _fits(least: float, printed: float) -> bool:
    return least <= printed + 0.5


# ---------------------------------------------------------------------------------------------------------
# What recorded trajectories show


def constraints(trajectories: Iterable[Trajectory], epsilon: float) -> list[Row]:
    """Eqn 2 against eps(S) < epsilon, at each training of each trajectory.

    ``theta`` of U is the largest that the mistakes on T allow, taken at their word; ``S`` the share of X that the
    machine then labels, ``true_error`` the wrong labels among all delivered.
    """
    rows = []
    for one, fit, measured in _trainings(trajectories):
        for constraint in CONSTRAINTS:
            config = one.config.model_copy(
                update={"constraint": constraint, "theta_of": "remaining", "safety_z": 0.0, "epsilon": epsilon}
            )
            thetas = planner.FINE_THETAS
            eps = planner.eps_on_test(fit, thetas)
            error = planner.constrained_error(one.n, measured.n, thetas, eps, fit.n_test, config)
            theta = _last(thetas, error < epsilon)
            S = int(planner.machine_images(one.n, measured.n, np.array(theta), config)) / one.n
            row = {"constraint": constraint, "theta": theta, "S": S, "true_error": true_error(one.n, measured, S)}
            rows.append({"check": "constraint", **_named(one, fit), **row})
    return rows


def thetas_of(trajectories: Iterable[Trajectory], epsilon: float) -> list[Row]:
    """theta of X against theta of U (line 26), at each training of each trajectory.

    ``promised`` is the |S|/|X| that the mistakes on T allow: the largest theta with theta eps_T(theta) < epsilon,
    or for theta of U (|U|/|X|) theta eps_T(theta) < epsilon. ``possible`` is the largest that keeps the true error
    of all labels below epsilon, ``left`` is |U|/|X|. ``true_error`` is what comes of labelling what was promised,
    or all of U where there is not so much.
    """
    rows = []
    for one, fit, measured in _trainings(trajectories):
        left = measured.n / one.n
        possible = largest_share(one.n, measured, epsilon)
        eps = planner.eps_on_test(fit, planner.FINE_THETAS)
        for reading, of in (("all", 1.0), ("remaining", left)):
            promised = of * _last(planner.FINE_THETAS, of * planner.FINE_THETAS * eps < epsilon)
            row = {"theta_of": reading, "promised": promised, "possible": possible, "left": left}
            row["true_error"] = true_error(one.n, measured, promised)
            rows.append({"check": "theta", **_named(one, fit), **row})
    return rows


def estimates(trajectories: Iterable[Trajectory], thetas: Sequence[float] = THETAS) -> list[Row]:
    """The error among the top ``theta`` of T against that among the top theta of the pool that is left.

    T is a sample of X and holds images of the kind that M(.) took out of U. ``bias`` = eps_T - eps_U in points
    (per cent); ``sampling`` is one standard error of it, if T were drawn from U.
    """
    rows = []
    for one, fit, measured in _trainings(trajectories):
        for theta in thetas:
            eps_T = float(planner.eps_on_test(fit, np.array([theta]))[0])
            eps_U = float(measured.eps(theta))
            error = float(np.sqrt(eps_U * (1 - eps_U) / max(theta * fit.n_test, 1)))
            row = {"theta": theta, "eps_T": eps_T, "eps_U": eps_U, "bias": 100 * (eps_T - eps_U)}
            rows.append({"check": "estimate", **_named(one, fit), **row, "sampling": 100 * error})
    return rows


def true_error(n: int, measured: Measurement, share: float) -> float:
    """Share of all ``n`` labels that is wrong if the machine labels the most confident ``share`` of X, or all of
    the pool if it holds less."""
    theta = min(share * n / measured.n, 1.0)
    return float(measured.eps(theta)) * theta * measured.n / n if theta else 0.0


def largest_share(n: int, measured: Measurement, epsilon: float) -> float:
    """The largest |S|/|X| that keeps the true error of all ``n`` labels below ``epsilon``; between the points that
    were measured, linear in the mistakes."""
    wrong, bound = measured.errors["margin"], epsilon * n
    at = int(np.flatnonzero(wrong < bound)[-1])
    if at < MEASURES:
        return (at + (bound - wrong[at]) / (wrong[at + 1] - wrong[at])) / MEASURES * measured.n / n
    return measured.n / n


def _trainings(trajectories: Iterable[Trajectory]) -> Iterable[tuple[Trajectory, TrainResult, Measurement]]:
    """Every training after which a pool was left."""
    for one in trajectories:
        for fit, measured in zip(one.fits, one.measured, strict=False):
            yield one, fit, measured


def _named(one: Trajectory, fit: TrainResult) -> Row:
    names = {"data_set": one.data_set, "architecture": one.architecture, "delta": one.delta, "seed": one.run.seed}
    return {**names, "size": fit.size, "B": fit.size / one.n}


def _last(thetas: np.ndarray, allowed: np.ndarray) -> float:
    return float(thetas[allowed][-1]) if allowed.any() else 0.0


def averaged(rows: Iterable[Row], by: Sequence[str], values: Sequence[str]) -> list[Row]:
    """Means of ``values`` over the rows that agree in ``by``, in order of appearance; ``rows`` says how many there
    were, ``seeds`` of how many seeds."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    return [
        dict(zip(by, key, strict=True))
        | {value: float(np.mean([row[value] for row in group])) for value in values}
        | {"rows": len(group), "seeds": len({row["seed"] for row in group})}
        for key, group in groups.items()
    ]


def finest(rows: Sequence[Row]) -> list[Row]:
    """The rows of each data set's smallest delta: the most trainings."""
    least: dict[str, float] = {}
    for row in rows:
        least[row["data_set"]] = min(row["delta"], least.get(row["data_set"], 1.0))
    return [row for row in rows if row["delta"] == least[row["data_set"]]]


# ---------------------------------------------------------------------------------------------------------
# In words


def read_table_1(rows: Sequence[Row], epsilon: float = 0.05) -> str:
    """What ``table_1`` shows, in a paragraph."""
    possible, billed, trained = (
        [row for row in rows if row[key]] for key in ("possible", "possible_billed", "possible_billed_trained")
    )
    below = [_row_name(row) for row in rows if not row["possible"]]
    still = [_row_name(row) for row in rows if not row["possible_billed"]]
    printed = sorted(row["printed_error"] for row in rows)
    on_S = sorted(row["error_on_S"] for row in rows)
    text = (
        f"Of {len(rows)} printed costs {len(possible)} can be had by Eqn 1; {len(below)} are below what the labels "
        f"alone cost ({_list(below)}). With {percent(BILLED)} of X billed {len(billed)} can be had"
    )
    text += f", all but {_list(still)}. " if still else ". "
    text += (
        f"If a single training on B is paid too, at the price per image and epoch that Table 2 implies, {len(trained)} "
        f"can. The printed errors are {percent(printed[0])} to {percent(printed[-1])}; divided by S/X they are "
        f"{percent(on_S[0])} to {percent(on_S[-1])}"
    )
    near = on_S[-1] - on_S[0] < printed[-1] - printed[0]
    return text + (f": it was S that was held to ε = {percent(epsilon)}, not X." if near else ".")


def read_table_2(rows: Sequence[Row]) -> str:
    """What ``table_2`` shows, in a paragraph."""
    ratios = [row["rate"] / row["price"] for row in rows]
    without = [row["rate_without_T"] / row["rate"] for row in rows if np.isfinite(row["rate_without_T"])]
    same = {d: [row["labels"] for row in rows if row["data_set"] == d] for d in {row["data_set"]: 0 for row in rows}}
    alike = [published.DATA_SETS[d] for d, labels in same.items() if len(labels) > 1 and np.ptp(labels) < 1]
    text = f"{len(rows)} nets have one δ for both services, which tells how many labels were bought. "
    if alike:
        text += f"For {_list(alike)} it is the same number whatever the net. "
    return text + (
        f"If all labels bought were batches, an image and epoch cost {min(ratios):.2f} to {max(ratios):.2f} times the "
        f"price used here; if T came out of them too, {min(without):.2f} to {max(without):.2f} times more than that."
    )


def read_constraints(rows: Sequence[Row], epsilon: float) -> str:
    """What ``constraints`` shows, in a paragraph."""
    said = []
    for data_set, own in _by_data_set(rows).items():
        S, error = (
            [percent(float(np.mean([row[key] for row in own if row["constraint"] == c]))) for c in CONSTRAINTS]
            for key in ("S", "true_error")
        )
        said.append(f"{data_set}: S is {S[0]} of X and {S[1]}, the true error of all labels {error[0]} and {error[1]}")
    return (
        f"Under Eqn 2 and with the constraint on S, means over all trainings at ε = {percent(epsilon)}. "
        f"{'; '.join(said)}."
    )


def read_thetas(rows: Sequence[Row], epsilon: float) -> str:
    """What ``thetas_of`` shows, in a paragraph."""
    said = []
    for data_set, own in _by_data_set(rows).items():
        parts = []
        for reading, name in READINGS.items():
            group = [row for row in own if row["theta_of"] == reading]
            over = 100 * np.array([row["promised"] - row["possible"] for row in group])
            broken = sum(row["true_error"] >= epsilon for row in group)
            parts.append(
                f"{name} {over.mean():+.1f} points (at most {over.max():+.1f}; ε broken at {broken} of {len(group)} "
                f"trainings)"
            )
        said.append(f"{data_set}: {', '.join(parts)}")
    return (
        f"The share of X promised less what is possible, means over all trainings at ε = {percent(epsilon)}; how often "
        f"labelling what was promised, or all that is left, breaks ε. {'; '.join(said)}."
    )


def read_estimates(rows: Sequence[Row]) -> str:
    """What ``estimates`` shows, in a paragraph."""
    said, ends = [], []
    for data_set, own in _by_data_set(rows).items():
        whole = [row for row in own if row["theta"] == max(r["theta"] for r in own)]
        sizes = sorted({row["B"] for row in whole})
        first, last = (float(np.mean([row["bias"] for row in whole if row["B"] == B])) for B in (sizes[0], sizes[-1]))
        ends.append(last)
        said.append(f"{data_set} {first:+.1f} at |B| = {percent(sizes[0])} of X, {last:+.1f} at {percent(sizes[-1])}")
    error = np.mean([row["sampling"] for row in rows if row["theta"] == max(r["theta"] for r in rows)])
    text = (
        f"The error of the whole of T less that of the whole pool, in points: {'; '.join(said)} (the size of T gives "
        f"one training a standard error of {error:.1f}). "
    )
    if min(ends) > 0:
        text += (
            "Margin sampling takes out of the pool what the classifier is unsure of; T keeps its share: T is careful."
        )
    return text.strip()


def _by_data_set(rows: Sequence[Row]) -> dict[str, list[Row]]:
    names = {row["data_set"]: 0 for row in rows}
    return {published.DATA_SETS.get(d, d): [row for row in rows if row["data_set"] == d] for d in names}


def _row_name(row: Row) -> str:
    return f"{published.DATA_SETS[row['data_set']]} by {published.SERVICES[row['service']]}"


def _list(words: Iterable[str]) -> str:
    listed = list(words)
    return " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)


# ---------------------------------------------------------------------------------------------------------
# The picture


@plots.use_style()
def picture(
    theta_rows: Sequence[Row],
    constraint_rows: Sequence[Row],
    estimate_rows: Sequence[Row],
    epsilon: float,
    note: str = "",
) -> Figure:
    """A column for each data set, at its smallest delta, means over seeds: what was promised and what is possible;
    the true error under either constraint; the bias of T in points, for several theta. All against |B|/|X|. ``note``
    stands above."""
    sets = _by_data_set(theta_rows)
    figure, grid = plots.grid(3, len(sets), (1.6 + 3.0 * len(sets), 8.4))
    if note:
        figure.suptitle(note, x=0.01, ha="left", fontsize=11)
    for column, name in enumerate(sets):
        grid[0, column].set_title(name)
        _promised(grid[0, column], finest(_by_data_set(theta_rows)[name]))
        _delivered(grid[1, column], finest(_by_data_set(constraint_rows)[name]), epsilon)
        _bias(grid[2, column], finest(_by_data_set(estimate_rows)[name]))
    for ax in grid.flat:
        ax.xaxis.set_major_formatter(PERCENT)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    for ax, label in zip(
        grid[:, 0],
        ("|S|, share of X", "true error of all labels", "error on T less error on U\n(points)"),
        strict=True,
    ):
        ax.set_ylabel(label)
    for ax in grid[-1]:
        ax.set_xlabel("|B|, share of X")
    for ax in grid[:, -1]:
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure


def _promised(ax: Axes, rows: Sequence[Row]) -> None:
    means = averaged(rows, ("theta_of", "B"), ("promised", "possible", "left"))
    colours = {"all": COLOURS["training"], "remaining": COLOURS["law"]}
    for reading, name in READINGS.items():
        own = [row for row in means if row["theta_of"] == reading]
        ax.plot(*_series(own, "promised"), "o--", color=colours[reading], markersize=4, label=f"promised, {name}")
    own = [row for row in means if row["theta_of"] == "remaining"]
    ax.plot(*_series(own, "possible"), "o-", color="black", markersize=4, label="possible, by the truth")
    ax.plot(*_series(own, "left"), ":", color=COLOURS["humans only"], label="all that is left, |U|")
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PERCENT)


def _delivered(ax: Axes, rows: Sequence[Row], epsilon: float) -> None:
    means = averaged(rows, ("constraint", "B"), ("true_error",))
    for constraint, colour, mark in (("on_X", COLOURS["S"], "o-"), ("on_S", COLOURS["race"], "s-")):
        own = [row for row in means if row["constraint"] == constraint]
        ax.plot(*_series(own, "true_error"), mark, color=colour, markersize=4, label=CONSTRAINTS[constraint])
    ax.axhline(epsilon, color=COLOURS["epsilon"], linestyle="--", linewidth=1, label=f"ε = {percent(epsilon)}")
    ax.set_ylim(0, max(1.35 * epsilon, 1.1 * max(row["true_error"] for row in means)))
    ax.yaxis.set_major_formatter(PERCENT)


def _bias(ax: Axes, rows: Sequence[Row]) -> None:
    means = averaged(rows, ("theta", "B"), ("bias",))
    thetas = sorted({row["theta"] for row in means})
    for theta, colour in zip(thetas, plots.shades("plasma", len(thetas)), strict=True):
        own = [row for row in means if row["theta"] == theta]
        ax.plot(*_series(own, "bias"), "o-", color=colour, markersize=4, label=f"top {percent(theta)} of each")
    ax.axhline(0, color="black", linewidth=1)


def _series(rows: Sequence[Row], value: str) -> tuple[list[float], list[float]]:
    ordered = sorted(rows, key=lambda row: row["B"])
    return [row["B"] for row in ordered], [row[value] for row in ordered]
