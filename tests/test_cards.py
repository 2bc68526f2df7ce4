"""Cards by name: their table, and training priced by them."""

import csv
import re

import numpy as np
import pytest
from pydantic import ValidationError

from mcal_jax.algorithm import cards, costs
from mcal_jax.algorithm.config import Config, PerHour, PerImageEpoch
from mcal_jax.algorithm.protocol import TrainResult
from mcal_jax.cli.options import RunOptions
from mcal_jax.errors import McalError
from mcal_jax.runs.settings import Run, check, results

OWN = "ours:\n  description: ours\n  dollars_per_hour: 1.8\n  price_source: a bill\n  price_date: '2026'\n"


@pytest.fixture
def own(tmp_path):
    """The name of a card in a table of one's own."""
    path = tmp_path / "my_cards.yaml"
    path.write_text(OWN, encoding="utf-8")
    return f"{path}:ours"


def test_every_number_of_the_table_has_its_source_and_date():
    for name, card in cards.table().items():
        assert card.price_source, name
        assert re.fullmatch(r"20\d\d(-\d\d-\d\d)?", card.price_date), name
        assert bool(card.images_per_second) == bool(card.throughput_source) == bool(card.throughput_date), name
        assert bool(card.watts) == bool(card.watts_source), name
        assert name in cards.listing()


def test_the_machine_of_the_paper_costs_what_its_table_2_implies():
    assert cards.image_price("paper") == pytest.approx(costs.PAPER_PRICES["colour"]["resnet18"], rel=0.02)


def test_the_throughput_of_the_h200_is_the_measured_one():
    with (results() / "bench" / "throughput.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["device"], row["framework"]) == ("NVIDIA H200", "mcal_jax")]
    assert cards.find("h200").images_per_second == float(rows[0]["train_images_per_s"])
    assert (rows[0]["net"], rows[0]["width"], rows[0]["shape"]) == ("resnet18", "64", "32x32x3")


def test_training_by_the_name_of_a_card_is_billed_by_its_hours():
    fit = TrainResult(0, 1000, 100, np.arange(5), 200_000, 1800.0)
    assert costs.training_cost(fit, "mine", Config(training_price="h100")) == pytest.approx(3.99 / 2)
    with_energy = Config(training_price={"kind": "per_hour", "card": "h100", "dollars_per_kwh": 0.2})
    assert costs.training_cost(fit, "mine", with_energy) == pytest.approx((3.99 + 0.14) / 2)
    own_machine = Config(training_price=PerHour(dollars=0, watts=500, dollars_per_kwh=0.3))
    assert costs.training_cost(fit, "mine", own_machine) == pytest.approx(0.075)


def test_training_by_the_throughput_of_a_card_keeps_the_relative_costs_of_the_paper():
    price = PerImageEpoch(card="h200")
    assert price.dollars["resnet18"] == pytest.approx(4.45 / 3600 / 74342)
    paper = costs.PAPER_PRICES["colour"]
    for name, dollars in price.dollars.items():
        assert dollars / price.dollars["resnet18"] == pytest.approx(paper[name] / paper["resnet18"])


def test_a_run_and_the_command_line_know_cards(own):
    assert Run(training_price="h100").training_price == PerHour(card="h100")
    assert Run(training_price="h100").id != Run().id
    assert RunOptions(training_price="a100").changes() == {"training_price": "a100"}
    assert RunOptions(training_price="1e-6").changes()["training_price"]["dollars"] == 1e-6
    assert Run(training_price=own).training_price.dollars == 1.8


def test_what_was_billed_does_not_follow_the_table(own):
    first = PerHour(card=own)
    cards.table.cache_clear()
    path = own.removesuffix(":ours")
    with open(path, "w", encoding="utf-8") as file:
        file.write(OWN.replace("1.8", "9.9"))
    assert PerHour.model_validate(first.model_dump()) == first
    assert PerHour(card=own).dollars == 9.9


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ("h1000", "unknown card 'h1000'; did you mean 'h100'"),
        ({"kind": "per_image_epoch", "card": "a100"}, "card 'a100' has no images_per_second"),
        ({"kind": "per_hour", "card": "paper", "dollars_per_kwh": 0.1}, "card 'paper' has no watts"),
        ({"kind": "per_hour", "dollars_per_kwh": 0.1}, "energy needs watts"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused_before_anything_is_bought(price, message):
    with pytest.raises(McalError, match=message):
        check(Run, {"training_price": price})
    with pytest.raises((McalError, ValidationError), match=message):
        Config(training_price=price)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OWN.replace("1.8", "-1"), "ours.dollars_per_hour: Input should be greater than 0"),
        (OWN + "  wats: 3\n", "ours.wats: Extra inputs"),
        ("- 1\n", "the table: Input should be a valid dictionary"),
        ("a: [", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_bad_table_is_named_with_its_key(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(McalError, match=message) as caught:
        cards.listing(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(McalError, match="can't read"):
        cards.find(f"{tmp_path}/none.yaml:ours")
