"""The results of ``audit`` in sentences."""

import numpy as np
import pandas as pd

from mcal_jax.paper.audit import BILLED, CONSTRAINTS, THETA_OF, finest
from mcal_jax.paper.published import DATA_SETS, SERVICES, data_set_name
from mcal_jax.plots import listed, percent


def read_table_1(rows: pd.DataFrame, epsilon: float = 0.05) -> str:
    """The result of ``audit.table_1`` in a paragraph."""
    names = rows["data_set"].map(DATA_SETS) + " by " + rows["service"].map(SERVICES)
    impossible, still_impossible = names[~rows["possible"]], names[~rows["possible_billed"]]
    printed, on_S = np.sort(rows["printed_error"]), np.sort(rows["error_on_S"])
    text = (
        f"Eqn 1 allows {rows['possible'].sum()} of the {len(rows)} printed costs; {len(impossible)} are below the cost "
        f"of the labels alone ({listed(impossible)}). With {percent(BILLED)} of X billed it allows "
        f"{rows['possible_billed'].sum()}"
    )
    text += f", all but {listed(still_impossible)}. " if len(still_impossible) else ". "
    text += (
        f"If a single training on B is paid too, at the price per image and epoch that Table 2 implies, it allows "
        f"{rows['possible_billed_trained'].sum()}. The printed errors are {percent(printed[0])} to "
        f"{percent(printed[-1])}; divided by S/X they are {percent(on_S[0])} to {percent(on_S[-1])}"
    )
    if np.ptp(on_S) < np.ptp(printed):
        text += f": it was S that was held to ε = {percent(epsilon)}, not X"
    return text + "."


def read_table_2(rows: pd.DataFrame) -> str:
    """The result of ``audit.table_2`` in a paragraph."""
    ratio = rows["rate"] / rows["price"]
    without_T = (rows["rate_without_T"] / rows["rate"]).dropna()
    labels = rows.groupby("data_set", sort=False)["labels"].agg(["min", "max", "size"])
    alike = labels[(labels["size"] > 1) & (labels["max"] - labels["min"] < 1)].index
    text = f"{len(rows)} architectures have one δ for both services, which determines the number of labels bought. "
    if len(alike):
        text += f"For {listed(map(data_set_name, alike))} it is the same number for every architecture. "
    return text + (
        f"If all labels bought were batches, an image and epoch cost {ratio.min():.2f} to {ratio.max():.2f} times the "
        f"price used here; if T came out of them too, {without_T.min():.2f} to {without_T.max():.2f} times "
        f"that."
    )


def read_constraints(rows: pd.DataFrame, epsilon: float) -> str:
    """The result of ``audit.constraints`` in a paragraph."""
    parts = []
    for data_set, own in rows.groupby("data_set", sort=False):
        means = own.groupby("constraint")[["S", "true_error"]].mean().loc[list(CONSTRAINTS)]
        S, error = (list(map(percent, means[name])) for name in means)
        parts.append(
            f"{data_set_name(data_set)}: S is {S[0]} of X and {S[1]}, the true error of all labels {error[0]} and "
            f"{error[1]}"
        )
    return (
        f"Under Eqn 2 and with the constraint on S, means over all trainings of all δ at ε = {percent(epsilon)}. "
        f"{'; '.join(parts)}."
    )


def read_thetas(rows: pd.DataFrame, epsilon: float) -> str:
    """The result of ``audit.thetas_of`` in a paragraph."""
    parts = []
    for data_set, own in rows.groupby("data_set", sort=False):
        readings = []
        for reading, name in THETA_OF.items():
            group = own[own["theta_of"] == reading]
            over = 100 * (group["promised"] - group["possible"])
            broken = sum(group["true_error"] >= epsilon)
            readings.append(
                f"{name} {_signed(over.mean())} points (at most {_signed(over.max())}; ε broken at {broken} of "
                f"{len(group)} trainings)"
            )
        parts.append(f"{data_set_name(data_set)}: {', '.join(readings)}")
    return (
        f"The share of X promised less the share possible, means over all trainings of all δ at ε = "
        f"{percent(epsilon)}; and how often labelling the promised share, or all of U, breaks ε. {'; '.join(parts)}."
    )


def read_estimates(rows: pd.DataFrame) -> str:
    """The result of ``audit.estimates`` in a paragraph, at the smallest delta of each data set, as in the picture."""
    rows = finest(rows)
    whole = rows[rows["theta"] == rows.groupby("data_set")["theta"].transform("max")]
    parts, ends = [], []
    for data_set, own in whole.groupby("data_set", sort=False):
        bias = own.groupby("B")["bias"].mean()
        first, last = bias.iloc[0], bias.iloc[-1]
        ends.append(last)
        name, sizes = data_set_name(data_set), [percent(B) for B in bias.index]
        delta = percent(own["delta"].iloc[0])
        parts.append(f"{name} (δ = {delta}) {_signed(first)} at |B| = {sizes[0]} of X, {_signed(last)} at {sizes[-1]}")
    error = rows[rows["theta"] == rows["theta"].max()]["sampling"].mean()
    text = (
        f"The error of the whole of T less that of the whole pool, in points: {'; '.join(parts)} (the size of T gives "
        f"one training a standard error of {error:.1f})."
    )
    if min(ends) > 0:
        text += (
            " Margin sampling takes the images of which the classifier is unsure out of the pool, and T keeps its "
            "share of them, so T overstates the error of the pool."
        )
    return text


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "\N{MINUS SIGN}")
