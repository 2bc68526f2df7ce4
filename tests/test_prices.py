"""Repricing: the grid against the bill of a single trajectory, and what must hold at any prices."""

import numpy as np
import pandas as pd
import pytest
from conftest import EASY, MIDDLING, trajectory
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.paper import bills, findings, price_figures, prices, records
from mcal_jax.plots import appearance
from mcal_jax.runs.settings import Run

NOTHING = prices.ResourceUse(
    "cifar100", "resnet18", 0.1, 0, 1000, np.full(2, 1000.0), np.array([2e4, 6e4]), np.zeros(2)
)
LABELS, RATES = np.geomspace(5e-4, 1, 5), np.geomspace(5e-9, 2e-5, 6)
PRICE = PerImageEpoch(dollars=costs.PAPER_PRICES["colour"])


def of_net(net, **settings):
    """A trajectory at the paper's prices, by another net."""
    one = trajectory(config=Config(training_price=PRICE), **settings)
    run = Run(
        algorithm="trajectory",
        architectures=(net,),
        delta=one.run.delta,
        max_train_fraction=one.run.max_train_fraction,
        seed=one.run.seed,
    )
    return one._replace(run=run)


@pytest.fixture(scope="module")
def several():
    """Two seeds of two nets and two deltas."""
    return [
        of_net(net, curve=curve, delta=delta, seed=seed)
        for net, curve in (("resnet18", MIDDLING), ("resnet50", EASY)) for delta in (0.05, 0.2) for seed in (0, 1)
    ]  # fmt: skip


@pytest.mark.parametrize("net", ["cnn18", "resnet18", "resnet50"])
@pytest.mark.parametrize("best_stop", [True, False])
def test_the_grid_agrees_with_the_bill_of_a_single_trajectory(net, best_stop):
    one = of_net(net, delta=0.05)
    use = prices.resource_use(one, best_stop=best_stop, epsilon=0.08)
    grid = prices.cost(use, LABELS, RATES)
    assert grid.shape == (5, 6)
    for i, j in ((0, 0), (0, 5), (2, 3), (4, 0), (4, 5)):
        price = prices.training_price(one, RATES[j])
        bill = bills.bill(one, best_stop=best_stop, epsilon=0.08, label_price=LABELS[i], training_price=price)
        assert grid[i, j] == pytest.approx(bill.cost)


def test_nets_cost_what_they_do_relative_to_each_other():
    assert prices.relative(of_net("resnet18")) == 1
    assert prices.relative(of_net("resnet50")) == pytest.approx(9.8 / 5.2)
    assert prices.relative(trajectory()) == 1  # one price for all nets
    assert prices.paper_rate(of_net("cnn18")) == 5.2e-6


def test_a_retraining_is_billed_for_200_epochs():
    one = of_net("resnet18", delta=0.2)
    use = prices.resource_use(one)
    assert use.work == pytest.approx(200 * np.cumsum(one.sizes[: len(one.measured)]))
    assert np.all(use.labels <= one.n)


def test_the_best_is_the_least_over_nets_and_deltas_of_the_mean_over_seeds(several):
    uses = [prices.resource_use(one) for one in several]
    grid = prices.cheapest(uses, LABELS, RATES)
    assert grid.names == (("resnet18", 0.05), ("resnet18", 0.2), ("resnet50", 0.05), ("resnet50", 0.2))
    assert grid.seeds == (2, 2, 2, 2)
    groups = records.frame(several).groupby(["architecture", "delta"])["record"]
    for i, j in ((0, 5), (3, 1)):
        means = {}
        for name, group in groups:
            prices_there = [(LABELS[i], prices.training_price(one, RATES[j])) for one in group]
            own = [
                bills.bill(one, best_stop=True, label_price=label, training_price=training).savings
                for one, (label, training) in zip(group, prices_there, strict=True)
            ]
            means[name] = np.mean(own)
        assert grid.savings[i, j] == pytest.approx(max(means.values()))
        assert (grid.architectures[i, j], grid.deltas[i, j]) == max(means, key=means.get)


@given(st.floats(1e-4, 1), st.floats(1e-9, 1e-4), st.floats(1.01, 100))
@settings(max_examples=30)
def test_only_the_ratio_counts_and_expensive_labels_or_cheap_training_never_favour_humans(several, label, rate, more):
    uses = [prices.resource_use(one) for one in several]

    def savings(label, rate):
        return float(prices.cheapest(uses, np.array(label), np.array(rate)).savings)

    assert savings(label * more, rate * more) == pytest.approx(savings(label, rate), abs=1e-9)
    assert savings(label * more, rate) >= savings(label, rate) - 1e-12
    assert savings(label, rate * more) <= savings(label, rate) + 1e-12


def test_hindsight_never_costs_more_than_going_on(several):
    for one in several:
        best, met = (prices.cost(prices.resource_use(one, best_stop=b), LABELS, RATES) for b in (True, False))
        assert np.all(best <= met + 1e-12)


def test_break_even_is_where_nothing_is_saved(several):
    for best_stop in (True, False):
        uses = [prices.resource_use(one, best_stop=best_stop) for one in several]
        ratio = prices.break_even(uses)
        at = [float(prices.cheapest(uses, np.array(0.04), np.array(0.04 * ratio * f)).savings) for f in (0.99, 1, 1.01)]
        assert at[0] > 0 > at[2]
        assert at[1] == pytest.approx(0, abs=1e-6)


def test_break_even_of_a_single_stop_by_hand():
    use = prices.ResourceUse(
        "cifar10", "resnet18", 0.1, 0, 1000, np.array([400.0]), np.array([20_000.0]), np.array([0.0])
    )
    # 600 labels saved for 20,000 images times epochs.
    assert prices.break_even([use]) == pytest.approx(600 / 20_000)
    row = prices.limits({"hindsight": {"cifar10": 0.03}}, {"cifar10": 6e-6}, (3e-9, 3e-8)).iloc[0]
    assert row["least_paper"] == pytest.approx(2e-4)
    assert (row["least_today_cheap"], row["least_today_expensive"]) == (pytest.approx(1e-7), pytest.approx(1e-6))


def test_the_least_label_price_in_words():
    rows = prices.limits(
        {"hindsight": {"a": 0.01, "b": 0.02}, "met": {"a": 0.001}}, {"a": 5e-6, "b": 5e-6}, (3e-9, 3e-8)
    )
    assert findings.least_label_price(rows) == (
        "Stopped in time, machine labelling pays on every data set at \\$0.000500 per label or more with the paper's "
        "training price, and at \\$0.000003 or more with today's"
    )


def test_a_loss_has_a_minus_sign_and_names_keep_their_hyphen():
    here = pd.DataFrame({"data_set": ["cifar100"], "labels": ["satyam"], "training": ["then"], "savings": [0.0673]})
    best = pd.DataFrame({"data_set": ["cifar100"], "service": ["satyam"], "ours_savings": [-0.058]})
    text = findings.same_figure_8(here, best, "then")
    assert text.endswith("CIFAR-100, Satyam: −5.8 % there, 6.7 % here.")


def test_where_the_machine_may_label_nothing_it_never_pays():
    assert prices.break_even([NOTHING]) == 0
    assert prices.limits({"met": {"a": 0.0}}, {"a": 1e-6}, (1e-9, 1e-8))["least_paper"].tolist() == [float("inf")]
    assert list(prices.regimes([NOTHING])["architecture"]) == ["humans only"]


def test_regimes_follow_each_other_and_end_with_humans(several):
    uses = [prices.resource_use(one) for one in several]
    rows = prices.regimes(uses).to_dict("records")
    assert len(rows) > 2
    assert rows[0]["architecture"] == "resnet50"  # the better net, while training costs next to nothing
    assert rows[-1]["architecture"] == "humans only"
    assert [row["to_ratio"] for row in rows[:-1]] == [row["from_ratio"] for row in rows[1:]]
    assert rows[-1]["from_ratio"] == pytest.approx(prices.break_even(uses), rel=0.02)


def test_the_present_price_by_hand():
    low, high = prices.on_cards(["h200"])
    assert low == high == pytest.approx(4.45 / 3600 / 74342)
    low, high = prices.on_cards(["h200", "rtx3090", "paper"])
    assert (low, high) == (pytest.approx(0.18 / 3600 / 11_360), pytest.approx(3.6 / 3600 / 190))


def test_conclusions_in_rows_and_words(several):
    uses = [prices.resource_use(one) for one in several]
    rows = prices.conclusions(uses, costs.SERVICES, {"then": 5.2e-6, "now": 5e-8})
    assert len(rows) == 4
    assert set(rows["seeds"]) == {2}
    assert rows["true_error"].between(0, 0.2, inclusive="left").all()
    text = prices.read_conclusions(rows, "then", "now")
    assert "CIFAR-10, labels by Amazon: " in text
    assert "labels by Satyam" in text
    title = findings.prices_today(rows, "then", "now")
    assert title.startswith("At today's price of training active learning saves ")
    assert title.endswith(" points more with labels by Satyam than at the paper's price")
    old, new = rows.iloc[0], rows.iloc[1]
    assert (old["training"], new["training"]) == ("then", "now")
    assert new["savings"] >= old["savings"]


def test_pictures_and_rows(several):
    uses = [prices.resource_use(one) for one in several]
    groups = {"cifar10": uses, "cifar100": [NOTHING]}
    grids = {name: prices.cheapest(group, LABELS, RATES) for name, group in groups.items()}
    ratios = {"hindsight": {name: prices.break_even(group) for name, group in groups.items()}}
    rates = dict.fromkeys(groups, 5.2e-6)
    figure = price_figures.maps(grids, LABELS, RATES, rates, (1e-8, 1e-7), ratios)
    figure.draw_without_rendering()
    assert [ax.get_title("left") for ax in figure.axes[:2]] == ["CIFAR-10", "CIFAR-100"]
    assert figure.get_figwidth() < 7
    drawn = {appearance(net).name for net in set(grids["cifar10"].architectures[grids["cifar10"].savings > 0])}
    (legend,) = figure.subfigs[1].legends
    assert {entry.get_text() for entry in legend.get_texts()} == drawn
    regions = {text.get_text() for ax in figure.subfigs[1].axes for text in ax.texts}
    assert regions == drawn, "colours that are alike in grey have names"
    figure = price_figures.least_label_price(ratios, RATES, rates, (1e-8, 1e-7))
    figure.draw_without_rendering()
    assert "CIFAR-100: never pays" in [text.get_text() for text in figure.legends[0].texts]
    assert figure.get_figwidth() < 7
    both = price_figures.least_label_price({**ratios, "met": ratios["hindsight"]}, RATES, rates, (1e-8, 1e-7))
    both.draw_without_rendering()
    for ax in both.axes:
        assert ax._left_title.get_window_extent().x1 <= both.bbox.x1, "the title is clipped"
    rows = prices.table("cifar10", grids["cifar10"], LABELS, RATES)
    assert len(rows) == LABELS.size * RATES.size
    assert rows["savings"].iloc[1] == pytest.approx(grids["cifar10"].savings[0, 1])
