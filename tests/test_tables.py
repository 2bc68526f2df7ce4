"""What figures and tables show: known values, ours beside the paper's, and that every figure and table is there."""

import csv
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import papermill
import pytest
from conftest import EASY, HOPELESS, MIDDLING, simulate, trajectory
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mcal_jax.algorithm.config import Config, PerHour
from mcal_jax.errors import McalError
from mcal_jax.paper import (
    audit,
    bar_figures,
    bills,
    claims,
    curve_figures,
    curves,
    experiments,
    figures,
    findings,
    prices,
    printed,
    published,
    records,
    reliability,
    scale,
    schematic,
    tables,
)
from mcal_jax.paper.evidence import Evidence
from mcal_jax.paper.records import COLUMNS, Labelling, frame
from mcal_jax.runs import settings
from mcal_jax.runs.settings import Experiment, Run, load_settings
from mcal_jax.runs.sweeps import Planned

NETS = {"cnn18": MIDDLING, "resnet18": EASY, "resnet50": EASY}


def labelling(data_set="cifar10", curve=MIDDLING, seed=0, n=3000, data=None, **config):
    """A run of MCAL in a simulated world, as a record of it."""
    full = Config(**{"theta_step": 0.25, **config})
    finished = simulate(full, curve, n, seed)
    o = finished.outcome
    sizes = {name: len(getattr(o, name)) for name in "TBSR"}
    service = config.get("label_price", 0.04)
    changes = {key: value for key, value in config.items() if key != "label_price"}
    run = Run(seed=seed, data=data or {}, service=service, config=changes)
    return Labelling(
        data_set, run, None, n, full, o.history, **sizes, theta=o.theta, stop=o.stop,
        architecture=o.architecture, ledger=o.ledger, true_error=finished.true_error,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trajectories():
    """Two seeds of two data sets, three nets and three batches."""
    return [
        trajectory(NETS[net], delta=delta, max_train_fraction=0.6, seed=seed, data_set=data_set, net=net)
        for data_set in ("fashion_mnist", "cifar10")
        for net in NETS
        for delta in (0.1, 0.2, 0.3)
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def runs():
    return [
        labelling(
            data_set, {"fashion_mnist": EASY, "cifar10": MIDDLING}[data_set], seed, label_price=price, epsilon=eps
        )
        for data_set in ("fashion_mnist", "cifar10")
        for price in (0.04, 0.003)
        for eps in (0.05, 0.1)
        for seed in (0, 1)
    ]


def test_every_figure_and_table_has_its_experiment_notebook_parameters_and_runs():
    """The map of the project: a file for each, whose notebook knows its parameters and whose runs are in a sweep."""
    assert len(published.EXHIBITS) == 30
    for name in (*published.EXHIBITS, "claims", "audit", "imagenet", "prices_today", "certificate"):
        experiment = load_settings(settings.home() / "experiments" / f"{name}.yaml", Experiment)
        assert set(experiment.profiles) == {"smoke", "laptop", "paper"}
        notebook = settings.home() / "notebooks" / f"{experiment.notebook}.ipynb"
        assert set(experiment.parameters) <= set(papermill.inspect_notebook(str(notebook))), name
        for profile in experiment.profiles:
            needed = experiments.needed([name], profile)
            assert bool(needed) == bool(experiment.runs), f"{name} at {profile}"
            data_set = experiment.parameters.get("data_set")
            assert not data_set or {one.data_set for one in needed} == {data_set}, name


def test_no_two_figures_or_tables_are_the_same():
    loaded = [
        load_settings(settings.home() / "experiments" / f"{name}.yaml", Experiment) for name in published.EXHIBITS
    ]
    assert len({(one.notebook, str(one.parameters)) for one in loaded}) == len(loaded)
    assert len({one.title for one in loaded}) == len(loaded)


def test_the_papers_numbers_agree_with_each_other():
    for (data_set, service), row in published.TABLE_1.items():
        price = {"amazon": 0.04, "satyam": 0.003}[service]
        assert row.humans == pytest.approx(published.IMAGES[data_set] * price)
        assert row.savings == pytest.approx(1 - row.dollars / row.humans, abs=0.01)
    for (data_set, service, _), cell in published.TABLE_2.items():
        humans = published.TABLE_1[data_set, service].humans
        # One cell is printed wrongly by a whole point: CNN18, Fashion-MNIST, Satyam.
        assert cell.savings == pytest.approx(1 - cell.dollars / humans, abs=0.06), cell


def test_a_batch_size_with_fewer_seeds_is_shown_but_never_the_best(trajectories):
    runs = [c for c in trajectories if (c.data_set, c.architecture) == ("cifar10", "resnet18")]
    (best,) = tables.oracles(frame(runs), "amazon")["delta"].unique()
    fewer = frame([c for c in runs if (c.delta, c.run.seed) != (best, 1)])
    rows = tables.delta_rows(fewer, "amazon").set_index("delta")
    assert (rows.loc[best, "seeds"], rows["best"].sum()) == (1, 1)
    assert rows["dollars"].idxmin() == best
    assert not rows.loc[best, "best"]
    assert list(tables.oracles(fewer, "amazon")["delta"].unique()) == list(rows.index[rows["best"]])


PRINTED_TABLE_2 = """
fashion_mnist amazon  1.7   438.37   84.3   6.7  429.27  84.6   3.3  452.36    83.8
fashion_mnist satyam  1.7    49.87   76.3   6.7   40.77  75.3   3.3   63.86    69.6
cifar10       amazon 10    1577.24   34.3   6.7  891.06  62.9  10   1128.65    53.0
cifar10       satyam 16.7   235.81  -31.0   6.7  129.60  28.0  10    149.63    16.9
cifar100      amazon 13.3  2520.79   -5    16.7 2184.60   9.0  13.3 2915.80   -21.5
cifar100      satyam 16.7   407.04 -126.1  16.7  297.60 -65.3  16.7  805.76  -347.6
"""
"""As the paper has it: delta and savings in percent, US dollars between them, for CNN18, ResNet18 and ResNet50."""


def test_table_2_of_the_paper_is_as_printed():
    cells = {}
    for data_set, service, *numbers in map(str.split, PRINTED_TABLE_2.strip().splitlines()):
        for place, net in enumerate(NETS):
            delta, dollars, savings = map(float, numbers[3 * place : 3 * place + 3])
            cells[data_set, service, net] = (delta / 100, dollars, savings / 100)
    assert {key: tuple(cell) for key, cell in published.TABLE_2.items()} == {
        key: pytest.approx(cell) for key, cell in cells.items()
    }


def test_batches_whose_classifier_never_may_label_all_the_rest_are_billed_at_the_same_size_of_B():
    """Else the one whose last batch is far too large looks cheap or dear for its end, not for its batches."""
    runs = [
        trajectory(MIDDLING, delta=delta, max_train_fraction=0.3, config=Config(epsilon=1e-6))
        for delta in (0.2, 0.1, 0.05)
    ]
    assert [one.sizes[-1] / one.n for one in runs] == pytest.approx([0.4, 0.3, 0.3], abs=0.001)
    rows = tables.delta_rows(frame(runs), "amazon")
    assert list(rows["trained_on"]) == pytest.approx([0.2] * 3, abs=0.001)
    assert list(rows["machine"]) == [bills.bill(one, until=0.2).S / one.n for one in runs]


def test_a_classifier_that_may_label_all_the_rest_ends_there_whatever_the_others_do():
    met = trajectory(EASY, delta=0.1, max_train_fraction=0.9, config=Config(epsilon=0.2))
    never = trajectory(MIDDLING, delta=0.2, max_train_fraction=0.6, config=Config(epsilon=1e-6))
    assert bills.bill(met).met
    rows = tables.delta_rows(frame([met, never]), "amazon").set_index("delta")
    assert rows.loc[0.1, "trained_on"] == pytest.approx(bills.bill(met).B / met.n)
    assert rows.loc[0.2, "trained_on"] == pytest.approx(never.sizes[-1] / never.n)


def test_delta_rows_are_means_and_ranges_over_seeds(trajectories):
    (row,) = [
        r
        for r in tables.delta_rows(frame(trajectories), "amazon").to_dict("records")
        if (r["data_set"], r["architecture"], r["delta"]) == ("cifar10", "cnn18", 0.2)
    ]
    own = [c for c in trajectories if (c.data_set, c.architecture, c.delta) == ("cifar10", "cnn18", 0.2)]
    until = bills.last_common([c for c in trajectories if (c.data_set, c.architecture) == ("cifar10", "cnn18")])
    costs = [bills.bill(one, until=until).cost for one in own]
    assert row["seeds"] == 2
    assert (row["dollars_low"], row["dollars"], row["dollars_high"]) == (min(costs), np.mean(costs), max(costs))
    assert row["hindsight"] <= row["dollars"]


def test_table_2_takes_the_batch_that_is_cheapest_on_average_beside_the_papers(trajectories):
    rows = tables.oracle_rows(frame(trajectories), ["amazon", "satyam"])
    assert len(rows) == 2 * 2 * 3
    row = rows.set_index(["data_set", "service", "architecture"]).loc[("cifar10", "amazon", "resnet18")]
    own = [c for c in trajectories if (c.data_set, c.architecture) == ("cifar10", "resnet18")]
    until = bills.last_common(own)
    mean = {d: np.mean([bills.bill(c, until=until).cost for c in own if c.delta == d]) for d in (0.1, 0.2, 0.3)}
    assert row["ours_dollars"] == pytest.approx(min(mean.values()))
    assert row["ours_delta"] == row["ours_delta_low"] == row["ours_delta_high"] == min(mean, key=mean.get)
    assert row["paper_dollars"] == 891.06
    assert row["difference_dollars"] == pytest.approx(row["ours_dollars"] - 891.06)


def test_tables_1_and_3_show_the_paper_where_it_prints_a_number(runs):
    rows = {(r["data_set"], r["service"], r["epsilon"]): r for r in tables.mcal_rows(frame(runs)).to_dict("records")}
    assert len(rows) == 8
    assert rows["cifar10", "satyam", 0.05]["paper_dollars"] == 63
    assert rows["cifar10", "amazon", 0.1]["paper_savings"] == 0.705
    assert (
        rows["cifar10", "amazon", 0.1]["paper_dollars"] != rows["cifar10", "amazon", 0.1]["paper_dollars"]
    )  # not a number
    assert rows["cifar10", "satyam", 0.1]["paper_savings"] != rows["cifar10", "satyam", 0.1]["paper_savings"]
    own = [one for one in runs if (one.data_set, one.config.label_price, one.config.epsilon) == ("cifar10", 0.04, 0.05)]
    row = rows["cifar10", "amazon", 0.05]
    assert row["ours_B"] == pytest.approx(np.mean([one.B / one.n for one in own]))
    assert row["ours_broke_epsilon"] == sum(one.true_error > 0.05 for one in own)


def test_figure_7_has_humans_mcal_and_every_architecture(trajectories, runs):
    amazon = [one for one in runs if (one.config.label_price, one.config.epsilon) == (0.04, 0.05)]
    rows = tables.total_rows(frame(trajectories), frame(amazon), "amazon")
    assert list(rows["by"][:5]) == [
        "humans only",
        "MCAL",
        *(f"oracle AL, {n}" for n in ("CNN18", "ResNet18", "ResNet50")),
    ]
    assert rows["ours_dollars"][0] == 3000 * 0.04
    assert rows["paper_dollars"][0] == 2800


def test_laws_are_scored_on_points_that_they_were_not_fitted_to():
    one = trajectory(MIDDLING, delta=0.05, max_train_fraction=0.6, n=20_000, config=Config(epsilon=1e-6))
    rows = curves.law_rows(one, [1.0], [3, 7]).to_dict("records")
    assert [(row["law"], row["points"], row["fitted_as"]) for row in rows] == [
        ("power", 3, "power"), ("truncated", 3, "power"), ("power", 7, "power"), ("truncated", 7, "truncated"),
    ]  # fmt: skip
    assert rows[0]["miss"] == rows[1]["miss"]  # three points are too few for three parameters
    assert rows[2]["unused"] == len(one.fits) - 7
    assert rows[2]["gamma"] == pytest.approx(MIDDLING.gamma, abs=0.2)
    assert all(row["miss"] < 0.02 for row in rows)


def test_points_used_leave_some_to_predict():
    one = trajectory(delta=0.1, max_train_fraction=0.6)
    assert len(one.fits) == 6
    assert curves.usable(one, [3, 5, 7, 9]) == [3, 5]
    assert curves.usable(one, [9]) == [3]
    with pytest.raises(McalError, match="too few"):
        curves.usable(one._replace(fits=one.fits[:2]), [2])


def test_the_same_size_is_reached_by_batches_that_divide_it():
    several = [trajectory(delta=delta, max_train_fraction=0.6) for delta in (0.1, 0.2, 0.3)]
    rows = curves.same_size_rows(frame(several), [0.5], 0.4)
    assert list(rows["delta"]) == [0.1, 0.2]
    assert rows["eps_left"].nunique() == 1  # in a simulated world only |B| counts
    with pytest.raises(McalError, match="no trajectory has a classifier trained on 55"):
        curves.same_size_rows(frame(several), [0.5], 0.55)


def test_rankings_know_what_the_classifier_knows_and_random_knows_nothing():
    one = trajectory(MIDDLING, n=20_000, delta=0.2, max_train_fraction=0.35, compare=("random",))
    rows = curves.ranking_rows(frame([one]))
    assert list(rows["acquisition"]) == ["margin"] * 20 + ["random"] * 20
    margin, chance = rows["accuracy"][:20].to_numpy(), rows["accuracy"][20:].to_numpy()
    assert margin[0] > margin[-1] + 0.1
    assert np.ptp(chance) < 0.01
    assert margin.mean() == pytest.approx(chance.mean(), abs=0.01)


def test_gain_is_a_share_of_the_cost_of_random():
    rows = pd.DataFrame({"data_set": "a", "acquisition": ["margin", "random"], "dollars": [80.0, 100.0]})
    assert tables.gain(rows, "a") == pytest.approx(0.2)
    assert tables.gain(rows[:1], "a") is None
    assert tables.gain(rows, "b") is None


def test_gains_are_those_of_the_means_with_the_range_over_common_seeds():
    costs = {"margin": [80.0, 90.0], "random": [100.0, 100.0, 120.0], "kcenter": [100.0]}
    keys = [(by, seed, value) for by, values in costs.items() for seed, value in enumerate(values)]
    runs = pd.DataFrame(keys, columns=["acquisition", "seed", "dollars"]).assign(data_set="cifar10", state="finished")
    rows = runs.groupby(["data_set", "acquisition"], as_index=False)["dollars"].mean().assign(service="amazon")
    gains = tables.with_gains(rows, runs, "random").set_index("acquisition")
    assert gains.loc["margin", ["gain", "gain_low", "gain_high"]].tolist() == pytest.approx(
        [1 - 85 / 320 * 3, 0.1, 0.2]
    )
    assert gains.loc["margin", ["paper_gain_low", "paper_gain_high"]].tolist() == [0.2, 0.2]
    assert np.isnan(gains.loc["random", "gain"])
    assert np.isnan(gains.loc["kcenter", "paper_gain_low"])
    against = tables.with_gains(rows, runs, "kcenter").set_index("acquisition")
    assert against.loc["margin", "paper_gain_low"] == published.UNCERTAINTY_GAIN


def test_hollow_markers_tell_apart_only_where_there_are_both(trajectories):
    rows = tables.delta_rows(frame(trajectories), "amazon")
    rows = rows[rows["data_set"] == "cifar10"].reset_index(drop=True)
    for met, hollow, text in (
        (1, 0, ""),
        (0, 0, "No classifier became"),
        (rows.index % 2, 5, "Hollow: the classifier"),
    ):
        figure = figures.delta_sweep(rows.assign(met=met), "dollars", figures.Reference(), "t")
        markers = [line for ax in figure.axes for line in ax.lines if line.get_markersize() == 5]
        drawn = sum(len(line.get_xdata()) for line in markers if line.get_markerfacecolor() == "white")
        assert (drawn, tables.not_all(rows.assign(met=met))[:20]) == (hollow, text[:20])


def test_what_large_batches_take_from_the_machine(trajectories):
    rows = tables.delta_rows(frame(trajectories), "amazon")
    lost = tables.batch_losses(rows).set_index(["data_set", "architecture"])["lost"]
    own = rows[(rows["data_set"] == "cifar10") & (rows["architecture"] == "cnn18")].set_index("delta")["machine"]
    assert lost["cifar10", "cnn18"] == pytest.approx(own[0.1] - own[0.3])
    assert len(lost) == 6
    assert tables.batch_losses(rows[rows["delta"] == 0.1]).empty


def test_the_nearest_size_is_one_that_several_batch_sizes_reach():
    several = frame([trajectory(delta=delta, max_train_fraction=0.6) for delta in (0.1, 0.2, 0.3)])
    assert curves.nearest_size(several, 0.33) == pytest.approx(0.3)
    assert curves.nearest_size(several, 0.52) == pytest.approx(0.6)  # 0.5 is reached in batches of 0.1 alone
    assert curves.nearest_size(several[several["delta"] == 0.1], 0.52) == pytest.approx(0.5)


def test_tables_are_printed_as_the_papers(trajectories, runs):
    first = printed.mcal_table(tables.mcal_rows(frame(runs))).iloc[:4]
    assert list(first[""]) == ["ours", "range", "paper", "difference"]
    assert list(first["data set"]) == ["Fashion-MNIST", "", "", ""]
    assert list(first["humans only"][[0, 2, 3]]) == ["$120", "$2,800", "−$2,680"]
    assert first["savings"][2] == "86.0 %"
    assert first["DNN"][2] == "ResNet18"
    second = printed.oracle_table(tables.oracle_rows(frame(trajectories), ["satyam"]))
    assert list(second.columns[3:6]) == ["CNN18 δ", "CNN18 cost", "CNN18 savings"]
    assert second["CNN18 savings"][6] == "−31.0 %"  # CIFAR-10
    assert not second.isna().any(axis=None)


def test_a_range_of_one_number_says_why():
    row = {"ours_B": 0.2, "ours_B_low": 0.2, "ours_B_high": 0.2, "seeds": 3}
    ranges = [printed._cells(row | changes, printed.B)[1] for changes in ({}, {"seeds": 1}, {"seeds": "1 of 3"})]
    assert ranges == ["all equal", "one seed", "one seed"]
    assert printed._cells(row | {"ours_B_low": 0.1}, printed.B)[1] == "10.0–20.0"
    assert printed._cells({}, printed.B) == ["", "", "", ""]


def test_architectures_stand_in_the_papers_order(trajectories):
    rows = printed.in_order(tables.oracle_rows(frame(trajectories[::-1]), ["amazon", "satyam"]))
    assert list(rows["architecture"]) == list(published.NETS) * 4
    assert rows["data_set"].tolist() == (["cifar10"] * 3 + ["fashion_mnist"] * 3) * 2


def test_bars_by_an_unknown_setting_are_refused():
    with pytest.raises(McalError, match="by: 'colour' is not acquisition or per_class"):
        tables.bar_rows(frame([]), "colour")


def test_publish_writes_picture_data_and_caption(tmp_path):
    figure = tables.publish(
        tmp_path / "x", schematic.schematic(), pd.DataFrame([{"a": 1}, {"b": 2.5}]), "caption", "", "a note"
    )
    assert {p.name for p in (tmp_path / "x").iterdir()} == {"figure.svg", "figure.png", "data.csv", "summary.txt"}
    assert (tmp_path / "x" / "data.csv").read_text() == "a,b\n1,\n,2.5\n"
    finding = "Active learning delivers a classifier; MCAL delivers the whole data set, labelled"
    assert (tmp_path / "x" / "summary.txt").read_text() == f"{finding}.\n\ncaption\n\na note\n"
    assert f"<title>{finding}</title>" in (tmp_path / "x" / "figure.svg").read_text()
    assert figure.axes
    assert not plt.get_fignums()
    svg = (tmp_path / "x" / "figure.svg").read_text()
    assert all(f">{word}</text>" in svg for word in ("Active learning", "MCAL", "train"))  # text, not its outlines


def test_publish_writes_a_table_as_printed(tmp_path, runs):
    rows = tables.mcal_rows(frame(runs))
    tables.publish(tmp_path, schematic.schematic(), rows, "caption", printed=printed.mcal_table(rows))
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines[0][:5] == ["data set", "service", "", "|B|/|X|", "|S|/|X|"]
    assert len(lines) == 1 + 4 * len(rows)


# ---------------------------------------------------------------------------------------------------------
# Claims


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Intervals need fewer draws here than where they are reported."""
    monkeypatch.setattr(claims, "DRAWS", 20)


@pytest.fixture(scope="module")
def evidence(trajectories, runs):
    acquisition = [
        labelling("cifar10", {"kcenter": MIDDLING}.get(by, EASY), seed, acquisition=by)
        for by in ("margin", "entropy", "least_confidence", "kcenter", "random")
        for seed in (0, 1)
    ]
    subsets = [labelling(n=size * 10, data={"per_class": size}) for size in (200, 800)]
    return Evidence(*map(frame, (trajectories, runs, acquisition, subsets, [])))


def verdicts(evidence, *names):
    """The verdict of each of these claims."""
    return claims.judge(evidence, names=names).set_index("claim")["ours_verdict"].to_dict()


def test_claims_are_judged_by_the_data(evidence):
    verdict = verdicts(evidence, "looser_saves_more", "harder_saves_less", "resnet18_cheapest", "hopeless_stops")
    assert verdict["looser_saves_more"] == "holds"
    assert verdict["harder_saves_less"] == "holds"  # the easy curve is Fashion-MNIST's
    assert verdict["resnet18_cheapest"] == "holds"
    assert verdict["hopeless_stops"] == "not tested"
    swapped = {"cnn18": "resnet18", "resnet18": "cnn18", "resnet50": "resnet50"}
    turned = evidence._replace(
        trajectories=evidence.trajectories.replace({"architecture": swapped}),
        mcal=evidence.mcal.replace({"data_set": {"cifar10": "fashion_mnist", "fashion_mnist": "cifar10"}}),
    )
    turned_names = ("harder_saves_less", "resnet18_cheapest")
    assert verdicts(turned, *turned_names) == dict.fromkeys(turned_names, "does not hold")


def test_a_hopeless_run_is_held_against_the_exploration_tax(evidence):
    def hopeless(runs):
        return verdicts(evidence._replace(expensive=frame(runs)), "hopeless_stops")["hopeless_stops"]

    lost, again = (labelling("cifar100", HOPELESS, seed, epsilon=0.001) for seed in (0, 1))
    assert hopeless([lost]) == "can't tell"  # one seed
    assert hopeless([lost, again]) == "holds"
    expensive = lost._replace(ledger=lost.ledger._replace(training=0.2 * lost.ledger.humans_only))
    assert hopeless([lost, expensive]) == "does not hold"


def test_what_chance_may_have_done_is_left_open(evidence):
    """Two seeds of three on one side: the bootstrap has draws on both."""
    cost = {"margin": [60, 75, 110], "entropy": [60, 75, 110], "least_confidence": [60, 75, 110], "kcenter": [100] * 3}
    rows = [
        {**dict.fromkeys(COLUMNS, ""), "data_set": "cifar10", "service": "amazon", "acquisition": by, "seed": seed}
        | {"state": "finished", "dollars": value}
        for by, values in cost.items()
        for seed, value in enumerate(values)
    ]
    claim = next(claim for claim in claims.CLAIMS if claim.name == "uncertainty_beats_kcenter")
    runs = evidence._replace(acquisition=pd.DataFrame(rows))
    span = claims.margin_intervals(runs, [claim])[claim.name]
    finding = claim.measure(runs)
    assert span.low < claims.deciding_margin(claim, finding) < span.high
    assert claims.verdict_of(claim, finding, span) == "can't tell"


def test_a_broken_bound_is_reported(evidence):
    broken = evidence.mcal[:1].assign(true_error=0.2)
    both = pd.concat([evidence.mcal, broken], ignore_index=True)
    assert verdicts(evidence._replace(mcal=both), "bound_is_kept") == {"bound_is_kept": "does not hold"}


def test_without_runs_nothing_is_tested():
    rows = claims.judge(Evidence(*(frame([]) for _ in Evidence._fields)))
    assert set(rows["ours_verdict"]) == {"not tested"}


def test_a_reason_stands_beside_its_claim(evidence):
    names = ["more_a_class", "resnet18_cheapest"]
    rows = claims.judge(evidence, {"resnet18_cheapest": "because"}, names).set_index("claim")
    assert rows["ours_why"].to_dict() == {"resnet18_cheapest": "because", "more_a_class": ""}


def test_every_reason_is_of_a_claim():
    experiment = load_settings(settings.home() / "experiments/claims.yaml", Experiment)
    reasons = [name for each in experiment.parameters["reasons"].values() for name in each]
    assert len(reasons) > 5
    assert set(reasons) <= {claim.name for claim in claims.CLAIMS}


# ---------------------------------------------------------------------------------------------------------
# Incomplete sweeps


def part(runs, sweep, there):
    """Of some records those with a position in ``there``, as a frame; all were planned."""
    missing = [(Planned(one.data_set, one.run), "missing") for i, one in enumerate(runs) if i not in there]
    return frame([one for i, one in enumerate(runs) if i in there], missing, sweep=sweep, profile="paper")


def test_a_row_states_which_seeds_are_missing(trajectories, runs):
    some = part(runs, "mcal", {0, 1, 2})
    seeds = tables.mcal_rows(some).set_index(["data_set", "service", "epsilon"])["seeds"]
    assert seeds.to_dict() == {("fashion_mnist", "amazon", 0.05): 2, ("fashion_mnist", "amazon", 0.1): "1 of 2"}
    two_deltas = part(trajectories, "trajectories", {0, 1, 2})  # the first delta with both seeds, the second with one
    assert list(tables.delta_rows(two_deltas, "amazon")["seeds"]) == [2, "1 of 2"]
    (row,) = tables.oracle_rows(two_deltas, ["amazon"]).to_dict("records")
    assert (row["seeds"], row["runs"]) == (2, "3 of 6 runs")
    assert "runs" not in tables.oracle_rows(frame(trajectories), ["amazon"])


def test_figure_7_states_which_bars_were_not_run(trajectories, runs):
    amazon = [one for one in runs if (one.config.label_price, one.config.epsilon) == (0.04, 0.05)]
    labellings = part(amazon, "mcal", {0, 2, 3})
    rows = tables.total_rows(part(trajectories, "trajectories", {}), labellings, "amazon")
    assert rows[["data_set", "by", "seeds"]][:5].to_numpy().tolist() == [
        ["fashion_mnist", "humans only", ""], ["fashion_mnist", "MCAL", "1 of 2"],
        *(["fashion_mnist", f"oracle AL, {net}", "0 of 2"] for net in ("CNN18", "ResNet18", "ResNet50")),
    ]  # fmt: skip
    assert list(rows[rows["ours_dollars"].isna()]["by"]) == list(rows["by"][2:5]) * 2
    figure = figures.totals(rows, "t")
    not_run = [text for text in figure.axes[0].texts if "not run" in text.get_text()]
    assert [text.get_text() for text in not_run] == ["not run: 0 of 2 seeds"] * 3
    figure.draw_without_rendering()
    bottom, top = figure.axes[0].get_ylim()
    assert all(min(bottom, top) < text.xy[1] < max(bottom, top) for text in not_run)
    curves_alone = tables.total_rows(frame(trajectories), part(amazon, "mcal", {}), "amazon")
    assert curves_alone["ours_dollars"][0] == 2000 * 0.04  # these trajectories have 2,000 images
    assert list(curves_alone[curves_alone["seeds"] == "0 of 2"]["by"]) == ["MCAL", "MCAL"]


def finite(*tables):
    """Whether there is any number in the tables; asserts that none of ours is missing where runs are finished."""
    for table in tables:
        ours = table[table["ours_dollars"].notna()] if "ours_dollars" in table else table
        columns = [
            name for name in ours.select_dtypes("number") if not name.startswith(("paper", "difference", "bound"))
        ]
        assert ours[columns].notna().all(axis=None)
    return any(len(table) for table in tables)


@given(st.sets(st.integers(0, 35)), st.sets(st.integers(0, 15)))
@example(set(), set())
@example({0}, set())
@example(set(), {0})
@hypothesis_settings(max_examples=6)
def test_whatever_is_missing_rows_are_of_what_is_there(trajectories, runs, those_curves, those_runs):
    some, own = part(trajectories, "trajectories", those_curves), part(runs, "mcal", those_runs)
    drawn = (
        tables.delta_rows(some, "amazon"), tables.oracle_rows(some, ["amazon", "satyam"]), tables.mcal_rows(own),
        tables.bar_rows(own, "acquisition"), tables.total_rows(some, own, "amazon"), reliability.real(own),
        audit.constraints(some, 0.05), audit.thetas_of(some, 0.05), audit.estimates(some),
    )  # fmt: skip
    any_there = bool(those_curves or those_runs)
    assert finite(*drawn) == any_there
    for _, group in records.finished(some).groupby("data_set")["record"]:
        grid = prices.cheapest(list(map(prices.resource_use, group)), np.array([0.003, 0.04]), np.array([1e-7, 5e-6]))
        assert np.isfinite(grid.savings).all()
    rows = claims.judge(Evidence(some, own, own, frame([]), frame([])))
    if not any_there:
        assert set(rows["ours_verdict"]) == {"not tested"}
    assert not rows["ours_measured"].str.contains("nan").any()
    assert ((rows["ours_verdict"] == "not tested") == (rows["ours_measured"] == "no finished runs")).all()
    if any_there:
        assert scale.coverage(records.together(some, own)) or len(those_curves) + len(those_runs) == 52
        assert scale.short_scale(records.together(some, own), "paper").count("\n") <= 1


def test_the_cost_of_nothing_is_unknown(runs):
    assert tables.cost_range(frame([]), "dollars") is None
    low, mean, high = tables.cost_range(frame(runs[:2]), "training")
    each = sorted(one.ledger.training for one in runs[:2])
    assert (low, high) == tuple(each)
    assert mean == pytest.approx(sum(each) / 2)


def test_readme_has_the_runs_at_the_papers_scale_as_table_1_has_them():
    with (settings.home() / "results/paper/tab01/data.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    text = (settings.home() / "README.md").read_text(encoding="utf-8")
    for row in rows:
        ours, papers, error = (float(row[key]) for key in ("ours_savings", "paper_savings", "ours_error"))
        name = f"{published.DATA_SETS[row['data_set']]}, {published.SERVICES[row['service']]}"
        assert f"| {name} | {100 * ours:.1f} % | {100 * papers:.0f} % | {100 * error:.2f} % |" in text


# ---------------------------------------------------------------------------------------------------------
# Pictures: what is drawn is what was computed


@pytest.mark.parametrize("quantity", ["dollars", "training"])
def test_the_batch_size_with_the_lowest_total_cost_is_ringed(trajectories, quantity):
    own = [c for c in trajectories if c.data_set == "cifar10"]
    rows = tables.delta_rows(frame(own), "amazon")
    figure = figures.delta_sweep(rows, quantity, figures.Reference(120.0, (55.0, 60.0, 70.0), 40.0), "title")
    rings = [line for ax in figure.axes for line in ax.lines if line.get_markersize() == 15]
    assert len(rings) == 3
    for net, ring in zip(sorted(NETS), rings, strict=True):
        best = rows.loc[rows[rows["architecture"] == net]["dollars"].idxmin()]
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best["delta"], best[quantity])


@pytest.mark.parametrize(("against", "kept"), [("random", "margin"), ("kcenter", "entropy"), ("kcenter", "kcenter")])
def test_bars_are_drawn_without_the_runs_that_they_are_compared_with(evidence, against, kept):
    runs = evidence.acquisition[evidence.acquisition["acquisition"] == kept]
    rows = tables.with_gains(tables.bar_rows(runs, "acquisition"), runs, against)
    title = findings.bars(rows, against)
    assert title.endswith("MCAL by acquisition function")
    figure = bar_figures.bars(rows, "acquisition", against, title)
    figure.draw_without_rendering()
    assert not any("cheaper than" in ax.get_xlabel() for ax in figure.axes)


def test_titles_of_bars_name_only_the_runs_that_are_there(evidence):
    runs = evidence.acquisition[evidence.acquisition["acquisition"].isin(["entropy", "kcenter"])]
    rows = tables.with_gains(tables.bar_rows(runs, "acquisition"), runs, "kcenter")
    assert ", margin" not in findings.bars(rows, "kcenter")
    one = tables.bar_rows(evidence.subsets[:1], "per_class")
    assert findings.bars(one, None).count("images per class") == 1


@pytest.mark.filterwarnings("error:Attempting to set identical low and high ylims")
def test_one_batch_size_says_nothing_about_the_others(trajectories):
    rows = tables.delta_rows(frame(trajectories[:1]), "amazon")
    lost = tables.batch_losses(rows)
    assert findings.machine_share(lost) == "The share that the machine labels by batch"
    assert findings.training(rows, "cifar10").endswith("the training cost of active learning by batch")
    figures.machine_share(rows, lost, (0.1, 0.15), "t").draw_without_rendering()


def test_all_pictures_draw_and_leave_nothing_open(trajectories, runs, evidence):
    delta_rows = tables.delta_rows(frame(trajectories), "amazon")
    drawn = [
        figures.machine_share(delta_rows, tables.batch_losses(delta_rows), (0.1, 0.15), "t"),
        figures.totals(tables.total_rows(frame(trajectories), frame(runs[:2] + runs[8:10]), "amazon"), "t"),
        bar_figures.bars(tables.bar_rows(evidence.subsets, "per_class"), "per_class", None, "t"),
        bar_figures.compared(tables.mcal_rows(frame(runs)), "savings", [str(i) for i in range(8)], ["C0"] * 8, "t"),
        curve_figures.laws(curve_figures.panels(trajectories[:1], [0.5, 1.0], [3]), "t"),
        curve_figures.laws(curve_figures.panels(trajectories[:2], [0.5], [2, 3]), "t"),
        curve_figures.same_size(curves.same_size_rows(frame(trajectories[:4]), [0.5, 1.0], 0.2), "t"),
        bar_figures.verdicts(claims.judge(evidence, names=[claim.name for claim in claims.CLAIMS[:4]]), "t"),
    ]
    for figure in drawn:
        figure.draw_without_rendering()
        assert figure.axes
        assert all(math.isfinite(v) for ax in figure.axes for v in (*ax.get_xlim(), *ax.get_ylim()))
    assert not plt.get_fignums()


def test_a_fourth_architecture_is_drawn_and_named_everywhere():
    records_of_it = []
    for delta in (0.1, 0.2):
        one = trajectory(delta=delta)
        run = one.run.model_copy(update={"architectures": ("my_net",)})
        records_of_it.append(one._replace(run=run, config=Config(training_price=PerHour(dollars=1.0))))
    several = frame(records_of_it)
    rows = tables.delta_rows(several, "amazon")
    (panel,) = figures.delta_sweep(rows, "dollars", figures.Reference(), "t").axes
    assert panel.get_title(loc="left") == "my_net"
    totals = tables.total_rows(several, frame([]), "amazon")
    assert list(totals["by"]) == ["humans only", "oracle AL, my_net"]
    assert len(figures.totals(totals, "t").axes[0].patches) == 2
    ((table, *_),) = [printed.oracle_table(tables.oracle_rows(several, ["amazon"])).to_dict("records")]
    assert "my_net cost" in table
