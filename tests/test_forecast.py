"""How long runs take on an accelerator: arithmetic on their settings, before any is made."""

import math

import numpy as np
import pytest
from test_cli import mcal

from mcal_jax.errors import McalError
from mcal_jax.paper import forecast
from mcal_jax.paper.forecast import START, USUAL, Forecaster
from mcal_jax.runs.settings import describe
from mcal_jax.runs.sweeps import Planned
from mcal_jax.training.recipes import RECIPES


@pytest.fixture
def nothing_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr("mcal_jax.runs.execution.results", lambda: tmp_path)


def trajectory(**changes):
    wanted = {"algorithm": "trajectory", "delta": 0.1, "max_train_fraction": 0.3, **changes}
    return Planned("cifar10", describe("cifar10", profile="paper", **wanted))


def test_a_recipe_in_a_name_counts_its_own_epochs(nothing_recorded):
    seconds = Forecaster("paper", rate=50_000).seconds
    brief, paper = trajectory(architectures=["resnet18@brief"]), trajectory()
    recipe = RECIPES["brief"]
    images = sum(recipe.steps(size) * recipe.batch for size in (6000, 12_000, 18_000))
    assert seconds(brief) == pytest.approx(START + images / 50_000)
    both = trajectory(architectures=["resnet18@brief", "resnet18"])
    assert seconds(both) - START == pytest.approx(seconds(brief) + seconds(paper) - 2 * START)


def test_a_trajectory_trains_at_every_batch_for_200_epochs(nothing_recorded):
    images = 200 * sum(256 * math.ceil(size / 256) for size in (6000, 12_000, 18_000))
    assert Forecaster("paper", rate=50_000).seconds(trajectory()) == pytest.approx(START + images / 50_000)


def test_other_nets_and_widths_take_longer_by_their_price_and_work(nothing_recorded):
    by = Forecaster("paper", rate=1000)
    plain = by.seconds(trajectory()) - START
    assert by.seconds(trajectory(architectures=["resnet50"])) - START == pytest.approx(plain * 6.9 / 3.3)
    assert by.seconds(trajectory(width=32)) - START == pytest.approx(plain / 4)


def test_a_run_that_plans_trains_as_its_like_did_at_laptop_scale():
    by = Forecaster("paper")
    run = describe("cifar10", profile="paper", epsilon=0.05, service="amazon", **{"preset": "recommended"})
    assert by.shares(Planned("cifar10", run)) == USUAL  # today's defaults, priced for no recorded run
    planned = forecast.sweeps.planned("mcal", "paper", data_set="cifar10", service="satyam", seed=2)[0]
    shares = by.shares(planned)
    assert shares[0] == pytest.approx(0.01)
    assert (np.diff(shares) > 0).all()
    assert len(shares) >= 3
    assert tuple(shares) != USUAL


def test_what_is_there_is_not_to_make(nothing_recorded, monkeypatch):
    lines = Forecaster("paper").by_experiment()
    assert all(line.there == 0 and line.left == line.seconds > 0 for line in lines)
    assert lines[-1].runs < sum(line.runs for line in lines[:-1]), "experiments share runs"
    assert len(lines) == 1 + len({line.name for line in lines[:-1]})
    monkeypatch.setattr("mcal_jax.runs.sweeps.is_finished", lambda run, profile: profile == "paper")
    monkeypatch.setattr(forecast, "_recorded", lambda run, profile: [0.01])
    assert all(line.there == line.runs and line.left == 0 for line in Forecaster("paper").by_experiment())


def test_data_of_unknown_size_can_not_be_foretold():
    planned = Planned("svhn", describe("svhn", profile="paper"))
    with pytest.raises(McalError, match="svhn: its number of images is not known"):
        Forecaster("paper").seconds(planned)


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_every_profile_can_be_foretold(nothing_recorded, profile):
    assert all(line.left > 0 for line in Forecaster(profile).by_sweep())


def test_the_command_prints_a_line_for_each_sweep_and_figure(nothing_recorded, capsys):
    code, out, _ = mcal(capsys, "sweep", "--profile", "paper", "--plan", "--rate", "100000")
    assert code == 0
    names = {line.split()[0] for line in out.splitlines() if line}
    assert {"trajectories", "mcal", "tab02"} <= names
    assert "fig01" not in names, "it needs no run"
    _, out, _ = mcal(capsys, "sweep", "mcal", "--profile", "paper", "--plan")
    assert [line.split()[0] for line in out.splitlines() if line] == ["sweep", "mcal"]
    assert "rate: images per second" in mcal(capsys, "sweep", "--plan", "--rate", "0")[2]
    assert "rate: it is for plan" in mcal(capsys, "sweep", "--rate", "5")[2]
