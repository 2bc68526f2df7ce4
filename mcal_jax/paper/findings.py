"""What each figure of the paper shows at a scale, in a sentence: its title, computed from its rows."""

from collections.abc import Sequence

import pandas as pd

from mcal_jax.paper.curves import COINCIDE
from mcal_jax.paper.published import (
    ACTIVE_LEARNING_GAINS,
    LARGE_BATCH_LOSS,
    SHARES_PER_CLASS,
    TRAINING_COST_RATIOS,
    UNCERTAINTY_GAIN,
    data_set_name,
    service_name,
)
from mcal_jax.plots import listed, money, percent, tenths
from mcal_jax.plots.architectures import display_name


def laws(rows: pd.DataFrame) -> str:
    """Of ``law_rows``: how far the truncated law is from the errors that were held out, in points, for the fewest and
    the most points used; and the plain law where it is elsewhere."""
    texts: list[str] = []
    for (data_set, net), own in rows.groupby(["data_set", "architecture"], sort=False):
        misses = own.groupby(["points", "law"], sort=True)["miss"].mean().unstack()
        ends = misses.iloc[[0, -1]] if len(misses) > 1 else misses
        each = " and ".join(f"{_points(row)} after {points}" for points, row in ends.iterrows())
        name = f"{data_set_name(data_set)}, {display_name(net)}"
        start = "" if texts else "the truncated law misses later errors by "
        texts.append(f"{name}: {start}{each}{'' if texts else ' trainings'}")
    return "; ".join(texts)


def _points(row: pd.Series) -> str:
    """The miss of the truncated law, with that of the plain one where they differ by a twentieth of a point."""
    plain = "" if abs(row["power"] - row["truncated"]) < COINCIDE else f" (plain law {100 * row['power']:.1f})"
    return f"{100 * row['truncated']:.1f}{plain}"


def same_size(rows: pd.DataFrame) -> str:
    """Of ``same_size_rows``, at the |B| that comes first: how much the batch size changes the error, for the smallest
    and the largest theta."""
    own = rows[rows["size"] == rows["size"].iloc[0]]
    spans = own.groupby("theta")["eps_left"].agg(lambda each: each.max() - each.min())
    return (
        f"At |B| = {round(own['size'].iloc[0], -2):,.0f} the batch size moves the error by "
        f"{100 * spans.iloc[0]:.1f} points at θ = {percent(spans.index[0])} "
        f"and by {100 * spans.iloc[-1]:.1f} at θ = {percent(spans.index[-1])}"
    )


def rankings(rows: pd.DataFrame, quantity: str) -> str:
    """Of ``ranking_rows``: the twentieth of the images that margin and k-center would choose last."""
    first = rows[rows["rank"] == rows["rank"].min()].set_index("acquisition")[quantity]
    form = percent if quantity == "accuracy" else "{:.2f}".format
    ours, core = (form(round(first[name], 2)) if name in first else "?" for name in ("margin", "kcenter"))
    if quantity == "accuracy":
        return f"{ours} of the 5 % ranked last by margin are labelled correctly, {core} of k-center's"
    return f"The 5 % ranked last by margin have a mean margin of {ours}, k-center's {core}"


def totals(rows: pd.DataFrame) -> str:
    """Of ``total_rows``: what MCAL saves on each data set, and in the paper."""
    own = rows.set_index(["data_set", "by"])
    saved = {}
    for data_set in rows["data_set"].unique():
        if (data_set, "MCAL") in own.index and own.loc[(data_set, "MCAL"), "ours_dollars"] > 0:
            mcal, humans = own.loc[(data_set, "MCAL")], own.loc[(data_set, "humans only")]
            ours, paper = (1 - mcal[name] / humans[name] for name in ("ours_dollars", "paper_dollars"))
            saved[data_set_name(data_set)] = (percent(round(ours, 2)), percent(round(paper, 2)))
    texts = [
        ", ".join(f"{ours} on {name}" for name, (ours, _) in saved.items()),
        ", ".join(p for _, p in saved.values()),
    ]
    return f"MCAL saves {texts[0]} (paper: {texts[1]})" if saved else "Total cost of labelling by data set"


def delta_sweep(rows: pd.DataFrame, mcal: tuple[float, float, float] | None, name: str) -> str:
    """Of ``delta_rows``: the cheapest active learning against MCAL."""
    best = rows.loc[rows["dollars"].where(rows["best"]).idxmin()]
    whole = max(best["dollars"], mcal[1] if mcal else 0) >= 100

    def dollars(amount: float) -> str:
        return money(round(amount)) if whole else money(amount)

    rival = f"{dollars(best['dollars'])} ({display_name(best['architecture'])}, δ = {tenths(best['delta'])})"
    if mcal is None:
        return f"{name}: the cheapest active learning costs {rival}"
    return f"{name}: MCAL costs {dollars(mcal[1])}, the cheapest active learning {rival}"


def prices_today(rows: pd.DataFrame, then: str, now: str) -> str:
    """Of ``prices.conclusions``: by how many points a change of the training price changes the savings."""
    savings = rows.pivot_table(index=["data_set", "labels"], columns="training", values="savings")
    more = (savings[now] - savings[then]).groupby("labels").agg(["min", "max"])
    each = [
        f"{_span(100 * low, 100 * high)} points more with labels by {service_name(service)}"
        for service, low, high in more.itertuples()
    ]
    return f"At today's price of training active learning saves {' and '.join(each)} than at the paper's price"


def _span(low: float, high: float) -> str:
    ends = list(dict.fromkeys(f"{end:.1f}" for end in (low, high)))
    return " to ".join(ends)


def least_label_price(rows: pd.DataFrame) -> str:
    """Of ``prices.limits``: from which label price machine labelling pays on every data set, if it is known when to
    stop, at the paper's price of training and at today's."""
    own = rows[rows["stop"] == "hindsight"]
    paper, today = (f"\\${own[key].max():.6f}" for key in ("least_paper", "least_today_expensive"))
    return (
        f"Stopped in time, machine labelling pays on every data set at {paper} per label or more with the paper's "
        f"training price, and at {today} or more with today's"
    )


def same_figure_8(conclusions: pd.DataFrame, best: pd.DataFrame, then: str) -> str:
    """Why active learning saves more in ``prices.conclusions`` than in figures 8 to 10 and table 2: a sentence with the
    savings of both. ``best`` are ``tables.oracle_rows``."""
    here = conclusions[conclusions["training"] == then].set_index(["data_set", "labels"])["savings"]
    there = best.groupby(["data_set", "service"], sort=False)["ours_savings"].max()
    each = [
        f"{data_set_name(data_set)}, {service_name(service)}: {_share(there[data_set, service])} there, "
        f"{_share(saved)} here"
        for (data_set, service), saved in here.items()
    ]
    return (
        "Figures 8 to 10 and 16 to 18 and table 2 bill the same active learning until the classifier may label all "
        "remaining images, or to the end of its trajectory, as the paper does; here it stops where that is cheapest, "
        f"which is known in hindsight only. Saved at the paper's prices: {'; '.join(each)}."
    )


def _share(saved: float) -> str:
    return percent(round(saved, 3)).replace("-", "\N{MINUS SIGN}")


def stopped_in_hindsight(rows: pd.DataFrame) -> str:
    """Of ``delta_rows``: what the cheapest active learning costs as prices_today bills it, which knows when to stop."""
    best = rows.loc[rows["hindsight"].idxmin()]
    return (
        f"If active learning stopped where that is cheapest, known in hindsight, as in prices_today, it would cost "
        f"{money(best['hindsight'])} ({display_name(best['architecture'])}, δ = {tenths(best['delta'])})."
    )


def training(rows: pd.DataFrame, data_set: str) -> str:
    """Of ``delta_rows``: how much the batch size changes the training cost."""
    if not rows.groupby("architecture")["delta"].nunique().gt(1).any():
        return f"{data_set_name(data_set)}: the training cost of active learning by batch"
    spans = rows.groupby("architecture")["training"].agg(["min", "max"])
    ratio, paper = (spans["max"] / spans["min"]).max(), TRAINING_COST_RATIOS.get(data_set)
    printed = f" (paper: {paper}-fold)" if paper else ""
    batches = f"{tenths(rows['delta'].min())} to {tenths(rows['delta'].max())}"
    return f"{data_set_name(data_set)}: batches of {batches} change the training cost {ratio:.1f}-fold{printed}"


def machine_share(lost: pd.DataFrame) -> str:
    """Of ``batch_losses``: how much less the machine labels with the largest batches."""
    if lost.empty:
        return "The share that the machine labels by batch"
    means = lost.groupby("data_set", sort=False)["lost"].mean()
    each = [_fewer(100 * value) + f" on {data_set_name(name)}" for name, value in means.items()]
    low, high = LARGE_BATCH_LOSS
    return (
        f"The largest batches against the smallest: the machine labels {', '.join(each)} (paper: {100 * low:.0f} to "
        f"{100 * high:.0f} points of X less)"
    )


def _fewer(points: float) -> str:
    size = f"{abs(points):.1f}"
    return "as much" if size == "0.0" else f"{size} points {'more' if points < 0 else 'less'}"


def bars(rows: pd.DataFrame, against: str | None) -> str:
    """Of ``bar_rows`` with gains relative to ``against``, or by images per class."""
    if not against:
        return _per_class(rows)
    return _active_learning(rows) if against == "random" else _uncertainty(rows)


def _uncertainty(rows: pd.DataFrame) -> str:
    """Of ``with_gains`` against k-center: what uncertainty costs compared with it."""
    own = rows.set_index("acquisition")
    gains = own["gain"].reindex(["margin", "entropy", "least_confidence"]).dropna()
    if gains.empty:
        return "MCAL by acquisition function"
    cheapest = str(own["dollars"].idxmin()).replace("_", " ")
    margin = f", margin {_less(gains['margin'])}" if "margin" in gains else ""
    return (
        f"{data_set_name(rows['data_set'].iloc[0])}: uncertainty sampling costs {_less(gains.mean())} than k-center on "
        f"average{margin} (paper: {percent(UNCERTAINTY_GAIN)} less); {cheapest} costs least"
    )


def _active_learning(rows: pd.DataFrame) -> str:
    """Of ``with_gains`` against random: what active learning saves on each data set."""
    own, service = rows[rows["gain"].notna()], str(rows["service"].iloc[0])
    if own.empty:
        return f"{service_name(service)}: MCAL by acquisition function"
    each = [f"{_less(gain)} on {data_set_name(name)}" for name, gain in zip(own["data_set"], own["gain"], strict=True)]
    printed: dict[str, list[str]] = {}
    for (data_set, at), span in ACTIVE_LEARNING_GAINS.items():
        if at == service:
            printed.setdefault(" to ".join(sorted({f"{100 * end:.0f}" for end in span})), []).append(data_set)
    papers = [f"{gain} % less on {listed([data_set_name(one) for one in sets])}" for gain, sets in printed.items()]
    return f"{service_name(service)}: with active learning MCAL costs {', '.join(each)} than with random images" + (
        f" (paper: {', '.join(papers)})" if papers else ""
    )


def _less(gain: float) -> str:
    return f"{percent(round(abs(gain), 3))} {'less' if gain > 0 else 'more'}"


def _per_class(rows: pd.DataFrame) -> str:
    """Of ``bar_rows`` by images per class: the machine's share with the fewest and with the most images."""
    own = rows.sort_values("per_class")
    ends = list(dict.fromkeys((int(row["per_class"]), row["machine"]) for _, row in own.iloc[[0, -1]].iterrows()))
    printed = [percent(SHARES_PER_CLASS[count]) for count, _ in ends if count in SHARES_PER_CLASS]
    text = " and ".join(f"{percent(round(share, 2))} of X at {count:,} images per class" for count, share in ends)
    return f"The machine labels {text}" + (f" (paper: {' and '.join(printed)})" if len(printed) == 2 else "")


def mcal_table(rows: pd.DataFrame, epsilon: float) -> str:
    """Of ``mcal_rows``: the range of savings, ours and the paper's."""
    spans = [f"{percent(round(own.min(), 2))} to {percent(round(own.max(), 2))}" for own in _both(rows, "savings")]
    return f"At ε = {percent(epsilon)} MCAL saves {spans[0]}, the paper's {spans[1]}"


def oracle_table(rows: pd.DataFrame) -> str:
    """Of ``oracle_rows``: where active learning saves nothing even with the best batch size."""
    lost = [int((own <= 0).sum()) for own in _both(rows, "savings")]
    saves_nothing = f"active learning saves nothing in {lost[0]} of {len(rows)} cases (paper: {lost[1]})"
    return f"Even with its best batch size {saves_nothing}"


def _both(rows: pd.DataFrame, quantity: str) -> Sequence[pd.Series]:
    return [rows[f"{whose}_{quantity}"].dropna() for whose in ("ours", "paper")]
