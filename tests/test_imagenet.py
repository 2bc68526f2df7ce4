"""The paper's ImageNet decision: runs that end by the exploration tax and say so, and the price from which they do."""

import numpy as np
import pandas as pd
import pytest
from conftest import EASY, simulate

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.paper import imagenet
from mcal_jax.paper.forecast import Forecaster
from mcal_jax.paper.published import IMAGENET
from mcal_jax.paper.records import Labelling, frame
from mcal_jax.runs import sweeps
from mcal_jax.runs.report import summary
from mcal_jax.runs.settings import Run
from mcal_jax.worlds.simulated import Analytic

UNIT = costs.PAPER_PRICES["colour"]["resnet18"]
HARD = Analytic(alpha=1.0, gamma=0.02, quality=0.3)
SLOW = Analytic(alpha=6.6, gamma=0.5, quality=0.05)


def priced(ratio):
    return Config(training_price=PerImageEpoch(dollars=ratio * UNIT))


def labelling(curve, ratio, n=6000, net="efficientnet_b0"):
    """A run in a simulated world, as a record of it."""
    config = priced(ratio)
    delivery = simulate(config, curve, n, 0)
    o = delivery.outcome
    sizes = {name: len(getattr(o, name)) for name in "TBSR"}
    run = Run(architectures=(net,), training_price=config.training_price)
    return Labelling(
        "cifar100", run, None, n, config, o.history, **sizes, theta=o.theta, stop=o.stop, architecture=net,
        ledger=o.ledger, true_error=delivery.true_error,
    )  # fmt: skip


@pytest.mark.parametrize("ratio", [20, 60, 200])
def test_a_run_that_ends_by_the_tax_says_so_and_leaves_everything_to_humans(ratio):
    delivery = simulate(priced(ratio), HARD, 6000, 0)
    outcome = delivery.outcome
    bill = outcome.ledger
    assert outcome.stop == "exploration_tax"
    assert not len(outcome.S)
    assert bill.training <= 0.1 * bill.humans_only
    assert bill.total == pytest.approx(bill.humans_only + bill.training)
    text = summary(delivery, priced(ratio))
    assert "stopped by exploration_tax: training has used up the exploration tax" in text
    # and it stopped no earlier than it had to: the next training would have gone beyond the tax
    last = outcome.plans[-1]
    assert bill.training + 200 * ratio * UNIT * (last.size + last.delta) > 0.1 * bill.humans_only


def test_the_tax_is_what_the_configuration_says():
    config = priced(20).model_copy(update={"exploration_tax": 0.3})
    small, large = (simulate(one, HARD, 6000, 0).outcome.ledger for one in (priced(20), config))
    assert small.training < large.training <= 0.3 * large.humans_only


def test_what_the_printed_numbers_imply_by_hand():
    humans = IMAGENET.images * 0.04
    implied = imagenet.affordable()
    once = 200 * UNIT * 454_000
    assert implied.one_training == pytest.approx((60 * once / humans, 200 * once / humans))
    assert implied.one_training[0] > 5 * IMAGENET.tax
    sizes = 454_000 / 2.0 ** np.arange(6)  # down to 14,188; half of it is below 1 %
    assert implied.ratio * 200 * UNIT * sizes.sum() == pytest.approx(0.1 * humans)
    assert "55" in imagenet.consistency()


def test_the_price_from_which_humans_label_everything():
    rows = imagenet.decisions(labelling(SLOW, 1), [0.1, 1, 1000], seeds=(0,))
    assert len(rows) == 3
    assert (rows["machine"][rows["ratio"] <= 1] > 0).all()
    assert (rows["machine"][rows["ratio"] > 1] == 0).all()
    assert imagenet.threshold(rows) == 1000
    assert imagenet.threshold(rows[rows["ratio"] < 2]) == float("inf")


def test_rows_finding_and_picture_are_those_of_the_runs():
    records = [labelling(HARD, ratio) for ratio in (200, 60)]
    rows = imagenet.run_rows(frame(records))
    assert rows["ratio"].round(6).tolist() == [60, 200]
    assert rows["cost"].to_numpy() == pytest.approx(1 + rows["tax"].to_numpy())
    text = imagenet.finding(rows)
    assert text.startswith("At 60 and 200 times the price of ResNet18 2 of 2 runs leave everything to humans")
    assert "stopped by exploration_tax" in text
    assert "454,000 of 1,281,167 images (35.4 %)" in text
    curve = imagenet.decisions(records[1], [20, 60], seeds=(0,))
    figure = imagenet.picture(rows, [curve])
    crosses = [line for ax in figure.axes for line in ax.lines if line.get_marker() == "X"]
    assert [list(line.get_ydata()) for line in crosses] == [rows["tax"].tolist(), rows["cost"].tolist()]
    drawn = [line for ax in figure.axes for line in ax.lines if "curve" in line.get_label()]
    assert [line.get_marker() for line in drawn] == ["v", "v"]
    assert figure.get_figwidth() < 7
    (legend,) = figure.legends
    names = [entry.get_text() for entry in legend.get_texts()]
    assert names == [
        "the paper's range for EfficientNetB0",
        "EfficientNetB0's curve, CIFAR-100",
        "runs of EfficientNetB0",
    ]


def test_the_title_says_what_the_runs_spent_and_whether_it_was_within_the_tax():
    rows = pd.DataFrame({
        "architecture": "efficientnet_b0", "ratio": [60.0, 60.0, 200.0], "tax": [0.09, 0.0972, 0.052],
    })  # fmt: skip
    assert imagenet.headline(rows) == (
        "At 60 to 200 times ResNet18's price EfficientNetB0 stops within the 10 % tax (9.4 % and 5.2 %)"
    )
    more = rows.assign(tax=[0.09, 0.0972, 0.156])
    assert "does not stop within the 10 % tax (9.4 % and 15.6 %)" in imagenet.headline(more)
    assert imagenet.headline(rows[-1:]).startswith("At 200 times ResNet18's price")


def test_the_sweep_is_of_imagenet_at_the_scale_of_the_paper_and_its_time_can_be_foretold():
    runs = sweeps.planned("imagenet", "paper")
    assert {one.data_set for one in runs} == {"imagenet_resized/64x64"}
    assert {one.run.architectures for one in runs} == {("efficientnet_b0",)}
    assert all(Forecaster("paper").seconds(one) > 1000 for one in runs[:1])


def test_efficientnet_is_priced_and_races():
    config = Run(architectures=("resnet18", "efficientnet_b0")).resolve(channels=3)
    ratio = config.training_price.dollars["efficientnet_b0"] / config.training_price.dollars["resnet18"]
    assert ratio == pytest.approx(1.99, rel=0.05)  # 3,482 over 1,752 images/s
    delivery = simulate(config, EASY, 6000, 0, architectures=("resnet18", "efficientnet_b0"))
    raced = {one.architecture: one for one in delivery.outcome.race}
    assert set(raced) == {"resnet18", "efficientnet_b0"}
    assert raced["resnet18"].won  # on one curve the cheaper one
