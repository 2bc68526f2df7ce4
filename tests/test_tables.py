"""What figures and tables show: known values, ours beside the paper's, and that every exhibit is there."""

import csv
import math

import matplotlib.pyplot as plt
import numpy as np
import papermill
import pytest
from conftest import EASY, HOPELESS, MIDDLING, simulate, trajectory
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mcal_jax.algorithm.config import Config
from mcal_jax.errors import McalError
from mcal_jax.paper import (
    audit,
    claims,
    experiments,
    figures,
    prices,
    published,
    records,
    reliability,
    tables,
)
from mcal_jax.paper.records import Labelling, Records, Wanted
from mcal_jax.runs import settings
from mcal_jax.runs.settings import Experiment, Run, load_settings

NETS = {"cnn18": MIDDLING, "resnet18": EASY, "resnet50": EASY}


def labelling(data_set="cifar10", curve=MIDDLING, seed=0, n=3000, data=None, **config):
    """A run of MCAL in a simulated world, as a record of it."""
    finished = simulate(Config(**config), curve, n, seed)
    o = finished.outcome
    sizes = {name: len(getattr(o, name)) for name in "TBSR"}
    service = config.get("label_price", 0.04)
    changes = {key: value for key, value in config.items() if key != "label_price"}
    run = Run(seed=seed, data=data or {}, service=service, config=changes)
    return Labelling(
        data_set, run, None, n, Config(**config), o.history, **sizes, theta=o.theta, stop=o.stop,
        architecture=o.architecture, ledger=o.ledger, true_error=finished.true_error,
    )  # fmt: skip


@pytest.fixture(scope="module")
def curves():
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
    for name in (*published.EXHIBITS, "claims", "audit", "prices_today", "certificate"):
        experiment = load_settings(settings.home() / "experiments" / f"{name}.yaml", Experiment)
        assert set(experiment.profiles) == {"smoke", "laptop", "paper"}
        notebook = settings.home() / "notebooks" / f"{experiment.notebook}.ipynb"
        assert set(experiment.parameters) <= set(papermill.inspect_notebook(str(notebook))), name
        for profile in experiment.profiles:
            needed = experiments.needed([name], profile)
            assert bool(needed) == bool(experiment.runs), f"{name} at {profile}"
            data_set = experiment.parameters.get("data_set")
            assert not data_set or {one.data_set for one in needed} == {data_set}, name


def test_no_two_exhibits_are_the_same():
    loaded = [
        load_settings(settings.home() / "experiments" / f"{name}.yaml", Experiment) for name in published.EXHIBITS
    ]
    assert len({(one.notebook, str(one.parameters)) for one in loaded}) == len(loaded)
    assert len({one.title for one in loaded}) == len(loaded)


def test_the_papers_numbers_agree_with_each_other():
    for (data_set, service), row in published.TABLE_1.items():
        price = {"amazon": 0.04, "satyam": 0.003}[service]
        assert row.humans == pytest.approx(published.SIZES[data_set] * price)
        assert row.savings == pytest.approx(1 - row.dollars / row.humans, abs=0.01)
    for (data_set, service, _), cell in published.TABLE_2.items():
        humans = published.TABLE_1[data_set, service].humans
        # One cell is printed wrongly by a whole point: CNN18, Fashion-MNIST, Satyam.
        assert cell.savings == pytest.approx(1 - cell.dollars / humans, abs=0.06), cell


def test_delta_rows_are_means_and_ranges_over_seeds(curves):
    (row,) = [
        r
        for r in tables.delta_rows(curves, "amazon")
        if (r["data_set"], r["architecture"], r["delta"]) == ("cifar10", "cnn18", 0.2)
    ]
    own = [c for c in curves if (c.data_set, c.architecture, c.delta) == ("cifar10", "cnn18", 0.2)]
    bills = [records.priced(one).dollars for one in own]
    assert row["seeds"] == 2
    assert (row["dollars_low"], row["dollars"], row["dollars_high"]) == (min(bills), np.mean(bills), max(bills))
    assert row["hindsight"] <= row["dollars"]


def test_table_2_takes_the_cheapest_batch_of_each_seed_beside_the_papers(curves):
    rows = tables.oracle_rows(curves, ["amazon", "satyam"])
    assert len(rows) == 2 * 2 * 3
    row = next(r for r in rows if (r["data_set"], r["service"], r["architecture"]) == ("cifar10", "amazon", "resnet18"))
    own = [c for c in curves if (c.data_set, c.architecture) == ("cifar10", "resnet18")]
    by_seed = [min(records.priced(c).dollars for c in own if c.run.seed == s) for s in (0, 1)]
    assert row["ours_dollars"] == pytest.approx(np.mean(by_seed))
    assert row["paper_dollars"] == 891.06
    assert row["difference_dollars"] == pytest.approx(row["ours_dollars"] - 891.06)


def test_tables_1_and_3_show_the_paper_where_it_prints_a_number(runs):
    rows = {(r["data_set"], r["service"], r["epsilon"]): r for r in tables.mcal_rows(runs)}
    assert len(rows) == 8
    assert rows["cifar10", "satyam", 0.05]["paper_dollars"] == 63
    assert rows["cifar10", "amazon", 0.1]["paper_savings"] == 0.705
    assert rows["cifar10", "amazon", 0.1]["paper_dollars"] == ""
    assert rows["cifar10", "satyam", 0.1]["paper_savings"] == ""
    own = [one for one in runs if (one.data_set, one.config.label_price, one.config.epsilon) == ("cifar10", 0.04, 0.05)]
    row = rows["cifar10", "amazon", 0.05]
    assert row["ours_B"] == pytest.approx(np.mean([one.B / one.n for one in own]))
    assert row["ours_broke_epsilon"] == sum(one.true_error > 0.05 for one in own)


def test_figure_7_has_people_mcal_and_every_net(curves, runs):
    amazon = [one for one in runs if (one.config.label_price, one.config.epsilon) == (0.04, 0.05)]
    rows = tables.total_rows(curves, amazon, "amazon")
    assert [row["by"] for row in rows[:5]] == [
        "people only",
        "MCAL",
        *(f"oracle AL, {n}" for n in ("CNN18", "ResNet18", "ResNet50")),
    ]
    assert rows[0]["ours_dollars"] == 3000 * 0.04
    assert rows[0]["paper_dollars"] == 2800


def test_laws_are_scored_on_points_they_have_not_seen():
    one = trajectory(MIDDLING, delta=0.05, max_train_fraction=0.6, n=20_000, config=Config(epsilon=1e-6))
    rows = tables.law_rows(one, [1.0], [3, 7])
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
    assert tables.usable(one, [3, 5, 7, 9]) == [3, 5]
    assert tables.usable(one, [9]) == [3]
    with pytest.raises(McalError, match="too few"):
        tables.usable(one._replace(fits=one.fits[:2]), [2])


def test_the_same_size_is_reached_by_batches_that_divide_it():
    several = [trajectory(delta=delta, max_train_fraction=0.6) for delta in (0.1, 0.2, 0.3)]
    rows = tables.same_size_rows(several, [0.5], 0.4)
    assert [row["delta"] for row in rows] == [0.1, 0.2]
    assert len({row["eps_left"] for row in rows}) == 1  # in a simulated world only |B| counts
    with pytest.raises(McalError, match="no trajectory has a classifier trained on 55"):
        tables.same_size_rows(several, [0.5], 0.55)


def test_rankings_know_what_the_classifier_knows_and_random_knows_nothing():
    one = trajectory(MIDDLING, n=20_000, delta=0.2, max_train_fraction=0.35, compare=("random",))
    rows = tables.ranking_rows([one])
    assert [row["acquisition"] for row in rows] == ["margin"] * 20 + ["random"] * 20
    margin, chance = rows[:20], rows[20:]
    assert margin[0]["accuracy"] > margin[-1]["accuracy"] + 0.1
    assert np.ptp([row["accuracy"] for row in chance]) < 0.01
    assert np.mean([r["accuracy"] for r in margin]) == pytest.approx(np.mean([r["accuracy"] for r in chance]), abs=0.01)


def test_gain_is_a_share_of_the_cost_of_random():
    rows = [{"data_set": "a", "acquisition": by, "dollars": d} for by, d in (("margin", 80.0), ("random", 100.0))]
    assert tables.gain(rows, "a") == pytest.approx(0.2)
    assert tables.gain(rows[:1], "a") is None
    assert tables.gain(rows, "b") is None


def test_bars_by_an_unknown_thing_are_refused():
    with pytest.raises(McalError, match="by: 'colour' is not acquisition or per_class"):
        tables.bar_rows([], "colour")


def test_publish_writes_picture_data_and_caption(tmp_path):
    figure = tables.publish(tmp_path / "x", figures.schematic(), [{"a": 1}, {"b": 2.5}], "caption", "", "a note")
    assert {p.name for p in (tmp_path / "x").iterdir()} == {"figure.svg", "figure.png", "data.csv", "summary.txt"}
    assert (tmp_path / "x" / "data.csv").read_text() == "a,b\n1,\n,2.5\n"
    assert (tmp_path / "x" / "summary.txt").read_text() == "caption\n\na note\n"
    assert figure.axes
    assert not plt.get_fignums()


# ---------------------------------------------------------------------------------------------------------
# Claims


@pytest.fixture(scope="module")
def evidence(curves, runs):
    acquisition = [
        labelling("cifar10", {"kcenter": MIDDLING}.get(by, EASY), seed, acquisition=by)
        for by in ("margin", "entropy", "least_confidence", "kcenter", "random")
        for seed in (0, 1)
    ]
    subsets = [labelling(n=size * 10, data={"per_class": size}) for size in (200, 800)]
    return claims.Evidence(curves, runs, acquisition, subsets, [])


def verdicts(evidence):
    return {row["claim"]: row["ours_verdict"] for row in claims.judge(evidence)}


def test_claims_are_judged_by_the_data(evidence):
    found = verdicts(evidence)
    assert found["looser_saves_more"] == "holds"
    assert found["harder_saves_less"] == "holds"  # the easy curve is Fashion-MNIST's
    assert found["resnet18_cheapest"] == "holds"
    assert found["hopeless_stops"] == "not tested"
    swapped = {"cnn18": "resnet18", "resnet18": "cnn18", "resnet50": "resnet50"}
    turned = evidence._replace(
        trajectories=[
            one._replace(run=one.run.model_copy(update={"architectures": (swapped[one.architecture],)}))
            for one in evidence.trajectories
        ],
        mcal=[
            one._replace(data_set={"cifar10": "fashion_mnist"}.get(one.data_set, "cifar10")) for one in evidence.mcal
        ],
    )
    assert verdicts(turned)["harder_saves_less"] == "does not hold"
    assert verdicts(turned)["resnet18_cheapest"] == "does not hold"


def test_a_hopeless_run_is_held_against_the_exploration_tax(evidence):
    lost = labelling("cifar100", HOPELESS, epsilon=0.001)
    assert verdicts(evidence._replace(dear=[lost]))["hopeless_stops"] == "holds"
    dear = lost._replace(ledger=lost.ledger._replace(training=0.2 * lost.ledger.humans_only))
    assert verdicts(evidence._replace(dear=[lost, dear]))["hopeless_stops"] == "does not hold"


def test_a_broken_bound_is_told(evidence):
    broken = [one._replace(true_error=0.2) for one in evidence.mcal[:1]]
    assert verdicts(evidence._replace(mcal=[*evidence.mcal, *broken]))["bound_is_kept"] == "does not hold"


def test_without_runs_nothing_is_tested():
    rows = claims.judge(claims.Evidence([], [], [], [], []))
    assert {row["ours_verdict"] for row in rows} == {"not tested"}


def test_a_reason_stands_beside_its_claim(evidence):
    rows = claims.judge(evidence, {"resnet18_cheapest": "because"})
    assert [row["ours_why"] for row in rows if row["claim"] == "resnet18_cheapest"] == ["because"]


def test_every_reason_is_of_a_claim():
    experiment = load_settings(settings.home() / "experiments/claims.yaml", Experiment)
    reasons = [name for each in experiment.parameters["reasons"].values() for name in each]
    assert len(reasons) > 5
    assert set(reasons) <= {claim.name for claim in claims.CLAIMS}


# ---------------------------------------------------------------------------------------------------------
# Incomplete sweeps


def wanted(one, sweep, state="missing"):
    return Wanted(sweep, "paper", one.data_set, one.run, state)


def part(runs, sweep, there):
    """Of some records those with a position in ``there``; all were wanted."""
    states = ["finished" if i in there else "missing" for i in range(len(runs))]
    found = [one for i, one in enumerate(runs) if i in there]
    return Records(found, [wanted(one, sweep, state) for one, state in zip(runs, states, strict=True)])


def test_seeds_that_are_missing_are_told_in_the_row(curves, runs):
    some = part(runs, "mcal", {0, 1, 2})
    rows = tables.mcal_rows(some)
    told = {(r["data_set"], r["service"], r["epsilon"]): r["seeds"] for r in rows}
    assert told == {("fashion_mnist", "amazon", 0.05): 2, ("fashion_mnist", "amazon", 0.1): "1 of 2"}
    two_deltas = part(curves, "trajectories", {0, 1, 2})  # the first delta with both seeds, the second with one
    assert [row["seeds"] for row in tables.delta_rows(two_deltas, "amazon")] == [2, "1 of 2"]
    (row,) = tables.oracle_rows(two_deltas, ["amazon"])
    assert (row["seeds"], row["runs"]) == (2, "3 of 6 runs")
    assert "runs" not in tables.oracle_rows(curves, ["amazon"])[0]


def test_figure_7_says_which_bars_were_not_run(curves, runs):
    amazon = [one for one in runs if (one.config.label_price, one.config.epsilon) == (0.04, 0.05)]
    labellings = part(amazon, "mcal", {0, 2, 3})
    rows = tables.total_rows(part(curves, "trajectories", {}), labellings, "amazon")
    assert [(row["data_set"], row["by"], row.get("seeds", "")) for row in rows[:5]] == [
        ("fashion_mnist", "people only", ""), ("fashion_mnist", "MCAL", "1 of 2"),
        *(("fashion_mnist", f"oracle AL, {net}", "0 of 2") for net in ("CNN18", "ResNet18", "ResNet50")),
    ]  # fmt: skip
    assert [row["by"] for row in rows if "ours_dollars" not in row] == [row["by"] for row in rows[2:5]] * 2
    figure = figures.totals(rows, "t")
    assert [text.get_text() for text in figure.axes[0].texts] == [" not run: 0 of 2 seeds"] * 3
    figure.canvas.draw()
    bottom, top = figure.axes[0].get_ylim()
    assert all(min(bottom, top) < text.get_position()[1] < max(bottom, top) for text in figure.axes[0].texts)
    curves_alone = tables.total_rows(curves, part(amazon, "mcal", {}), "amazon")
    assert curves_alone[0]["ours_dollars"] == 3000 * 0.04 * 2000 / 3000  # these trajectories have 2,000 images
    assert [row["by"] for row in curves_alone if row.get("seeds") == "0 of 2"] == ["MCAL", "MCAL"]


def finite(rows):
    """Every number of rows, of which none is made of nothing."""
    numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
    assert not any(math.isnan(number) for number in numbers)
    return numbers


@given(st.sets(st.integers(0, 35)), st.sets(st.integers(0, 15)))
@example(set(), set())
@example({0}, set())
@example(set(), {0})
@hypothesis_settings(max_examples=12)
def test_whatever_is_missing_rows_are_of_what_is_there(curves, runs, those_curves, those_runs):
    some, own = part(curves, "trajectories", those_curves), part(runs, "mcal", those_runs)
    rows = tables.delta_rows(some, "amazon")
    rows += tables.oracle_rows(some, ["amazon", "satyam"])
    rows += tables.mcal_rows(own)
    rows += tables.bar_rows(own, "acquisition")
    rows += tables.total_rows(some, own, "amazon")
    rows += reliability.real(own)
    rows += [*audit.constraints(some, 0.05), *audit.thetas_of(some, 0.05), *audit.estimates(some)]
    assert bool(finite(rows)) == bool(some or own)
    for group in records.grouped(some, "data_set").values():
        needs = [prices.needs(one) for one in group]
        found = prices.best(needs, np.array([0.003, 0.04]), np.array([1e-7, 5e-6]))
        assert np.isfinite(found.savings).all()
    judged = claims.judge(claims.Evidence(some, own, own, [], []))
    told = {row["ours_verdict"] for row in judged}
    assert told == {"not tested"} if not (some or own) else told
    for row in judged:
        assert "nan" not in row["ours_measured"]
        assert (row["ours_verdict"] == "not tested") == (row["ours_measured"] == "no run tells")
    if some or own:
        assert records.coverage(records.together(some, own)) or len(some) + len(own) == 52
        assert records.short_scale(records.together(some, own), "paper").count("\n") <= 1


def test_mean_costs_of_nothing_are_unknown(runs):
    assert tables.mean_costs([]) == (None, None)
    cost, training = tables.mean_costs(runs[:2])
    assert cost == pytest.approx((runs[0].ledger.total + runs[1].ledger.total) / 2)
    assert training == pytest.approx((runs[0].ledger.training + runs[1].ledger.training) / 2)


@pytest.mark.parametrize("page", ["README.md", "docs/reproduction.md"])
def test_the_documentation_has_the_runs_at_the_papers_scale_as_in_table_1(page):
    with (settings.home() / "results/paper/tab01/data.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    text = (settings.home() / page).read_text(encoding="utf-8")
    for row in rows:
        ours, papers, error = (float(row[key]) for key in ("ours_savings", "paper_savings", "ours_error"))
        name = f"{published.DATA_SETS[row['data_set']]}, {published.SERVICES[row['service']]}"
        assert f"| {name} | {100 * ours:.1f} % | {100 * papers:.0f} % | {100 * error:.2f} % |" in text


# ---------------------------------------------------------------------------------------------------------
# Charts: what is drawn is what was computed


def test_the_best_batch_is_ringed(curves):
    own = [c for c in curves if c.data_set == "cifar10"]
    rows = tables.delta_rows(own, "amazon")
    figure = figures.delta_sweep(rows, "dollars", 120.0, 60.0, "title")
    rings = [line for line in figure.axes[0].lines if line.get_markersize() == 15]
    assert len(rings) == 3
    for net, ring in zip(sorted(NETS), rings, strict=True):
        best = min((r for r in rows if r["architecture"] == net), key=lambda r: r["dollars"])
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best["delta"], best["dollars"])


def test_all_charts_draw_and_leave_nothing_open(curves, runs, evidence):
    drawn = [
        figures.machine_share(tables.delta_rows(curves, "amazon"), "t"),
        figures.totals(tables.total_rows(curves, runs[:2] + runs[8:10], "amazon"), "t"),
        figures.bars(tables.bar_rows(evidence.subsets, "per_class"), ["a", "b"], "t"),
        figures.compared(tables.mcal_rows(runs), "savings", [str(i) for i in range(8)], "t"),
        figures.laws(curves[0], [0.5, 1.0], [3], ["power", "truncated"], "t"),
        figures.laws(curves[0], [0.5], [2, 3], ["power", "truncated"], "t"),
        figures.same_size(tables.same_size_rows(curves[:4], [0.5, 1.0], 0.2), "t"),
        figures.verdicts(claims.judge(evidence), "t"),
    ]
    for figure in drawn:
        figure.canvas.draw()
        assert figure.axes
        assert all(math.isfinite(v) for ax in figure.axes for v in (*ax.get_xlim(), *ax.get_ylim()))
    assert not plt.get_fignums()
