"""Bounds on the error and delivered errors: tables and sentences of simulated and of real runs."""

import csv

import numpy as np
import pytest

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Ledger
from mcal_jax.errors import McalError
from mcal_jax.paper import reliability, reliability_figures
from mcal_jax.paper.records import Labelling, frame
from mcal_jax.runs import settings

WORLDS = 40
BAD = {"certified": 1, "paper": 10}


def world_runs():
    """40 worlds that two readings and three sizes of T met; dollars are known multiples of the clairvoyant's."""
    rows = []
    for world in range(WORLDS):
        base = {"family": "drawn", "seed": 1, "world": world, "n": 10_000 * (1 + world), "label_price": 0.04}
        base |= {"epsilon": 0.05, "promised": 0.045, "humans_only": 1000.0, "B": 1, "V": 2, "S": 3, "trainings": 4}
        base |= {"clairvoyant": 200.0, "clairvoyant_without_T": 100.0}
        for reading, times in (("certified", 1.1), ("paper", 1.5), ("power", 1.2), ("pow3", 1.3)):
            error = 0.06 if world < BAD.get(reading, 0) else 0.03
            rows.append(base | {"reading": reading, "error": error, "dollars": 200.0 * times, "T": base["n"] * 0.05})
        for share, times in ((0.01, 1.0), (0.02, 1.25), (0.05, 2.0)):
            run = {"reading": f"T {100 * share:g}%", "error": 0.03, "dollars": 200.0 * times, "T": base["n"] * share}
            rows.append(base | run)
    return rows


@pytest.fixture
def runs(tmp_path):
    path = tmp_path / "runs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, world_runs()[0])
        writer.writeheader()
        writer.writerows(world_runs())
    return reliability.load(path)


def test_how_often_epsilon_breaks_is_counted_with_its_exact_interval(runs):
    summary = reliability.summary(runs)
    table = {row["reading"]: row for row in summary.to_dict("records")}
    assert table["certified"]["broke"] == pytest.approx(1 / 40)
    assert table["paper"]["broke"] == pytest.approx(10 / 40)
    # Clopper and Pearson for 10 of 40.
    assert (table["paper"]["broke_low"], table["paper"]["broke_high"]) == pytest.approx((0.1269, 0.4120), abs=1e-3)
    assert table["certified"]["median_ratio"] == pytest.approx(1.1)
    assert table["certified"]["bare_ratio"] == pytest.approx(2.2)
    assert table["certified"]["savings"] == pytest.approx(1 - 0.22)
    text = reliability.read_summary(summary, 0.05)
    assert text.startswith("More error than 5 %, worlds of power laws: ")
    assert "certified, 95 % in 2.5 % of 40 (0.1 % to 13.2 %), at 1.10 times the clairvoyant's cost" in text
    assert "pow3" not in text


def test_every_reading_has_its_own_count_of_worlds(runs):
    fewer = runs[(runs["reading"] != "paper") | (runs["world"] < 30)]
    text = reliability.read_summary(reliability.summary(fewer), 0.05)
    assert "certified, 95 % in 2.5 % of 40" in text
    assert "Algorithm 1 as printed in 33.3 % of 30" in text


def test_the_cheapest_law_is_compared_with_the_safest_in_the_same_worlds(runs):
    runs = runs.copy()
    power = runs["reading"] == "power"
    runs.loc[power & (runs["world"] < 4), "error"] = 0.06
    runs.loc[power & (runs["world"] % 2 == 1), "dollars"] += 4.0
    found = reliability.rivals(runs)
    assert (found.cheapest, found.safest, found.broke) == ("power", "pow3", (0.1, 0.0))
    # pow3 costs 0.1 of the clairvoyant's cost more in half of the worlds, 0.08 in the others
    half = 1.96 * np.std([0.1, 0.08] * 20, ddof=1) / np.sqrt(40)
    assert found.saved == pytest.approx((0.09, 0.09 - half, 0.09 + half))
    title = reliability_figures.laws(reliability.summary(runs), runs).get_label()
    assert "“power law” are cheapest, but break ε in 10 % of the worlds" in title
    assert "cost 9.0 % of the clairvoyant's cost more (95 % interval 8.7 % to 9.3 %)" in title


def test_sizes_of_x_and_of_t_are_compared_in_the_same_worlds(runs):
    sizes = reliability.by_size(runs, ["certified"], bins=4)
    assert list(sizes["worlds"]) == [10, 10, 10, 10]
    assert sizes["median_ratio"].to_numpy() == pytest.approx(1.1)
    tests = reliability.sizes_of_T(runs, bins=2)
    assert list(tests["T"][:3]) == [0.01, 0.02, 0.05]
    assert list(tests["times"][:3]) == pytest.approx([1.0, 1.25, 2.0])
    assert len(tests) == 6


@pytest.mark.parametrize("content", [None, "family,reading,n\ndrawn,paper,many\n", "family,reading,n\ndrawn,paper\n"])
def test_runs_that_cannot_be_read_name_the_file(tmp_path, content):
    path = tmp_path / "runs.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(McalError, match=r"runs\.csv"):
        reliability.load(path)


def labelling(seed, certified, error, cost, bound=None):
    run = settings.Run(seed=seed, preset="certified" if certified else "recommended")
    config = Config.certified() if certified else Config()
    bill = Ledger(0, 0, 0, cost, 0, 100.0)
    return Labelling("x", run, None, 100, config, (), 1, 2, 3, 4, 0.5, "stop", "resnet18", bill, error, bound)


def test_real_runs_are_compared_with_and_without_a_certificate():
    runs = [labelling(seed, False, error, 40.0) for seed, error in enumerate((0.04, 0.06))]
    runs += [labelling(seed, True, error, 50.0, 0.049) for seed, error in enumerate((0.03, 0.04))]
    rows = reliability.real(frame(runs))
    assert list(rows["certified"]) == [False, True]
    assert list(rows["broke"]) == [1, 0]
    assert list(rows["bound"]) == pytest.approx([np.nan, 0.049], nan_ok=True)
    assert list(rows["savings"]) == pytest.approx([0.6, 0.5])
    text = reliability.read_real(rows)
    assert "without a certificate 1 delivered more error than 5 %, with one 0" in text
    assert "savings 60 % and 50 %" in text


def test_redrawn_samples_are_summed_up(tmp_path):
    path = tmp_path / "redraw.csv"
    path.write_text("seed,draws,broke,commit\n0,1000,0.02,abc\n1,1000,0.05,abc\n")
    text = reliability.read_redrawn(reliability.load(path))
    assert "2 certified runs of version 0.1" in text
    assert "V was drawn 1,000 times more: 3.5 % of the draws broke ε, 2 % to 5 % by run" in text


def test_the_pictures_show_every_reading_size_and_law(runs):
    figure = reliability_figures.delivered(runs)
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert legend == {reliability.READINGS[name][0] for name in ("certified", "paper")}
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == reliability.READINGS["paper"][0]]
    assert np.interp(1, line.get_xdata(), line.get_ydata()) == pytest.approx(0.75, abs=0.03)
    assert figure.get_figwidth() < 7
    prices = reliability_figures.costs(reliability.by_size(runs, ["certified"]), reliability.sizes_of_T(runs))
    above, below = prices.axes
    assert len(above.lines) == 2
    assert len(below.lines) == 3
    assert prices.get_figwidth() < 7
    rivals = reliability_figures.laws(reliability.summary(runs), runs)
    bars, broken = rivals.axes
    assert [round(bar.get_width(), 3) for bar in bars.patches] == [0.2, 0.3]
    assert list(broken.containers[0].lines[0].get_xdata()) == [0, 0]
    assert rivals.get_figwidth() < 7


def test_readings_side_by_side_differ_in_their_lines():
    lines = [line for _, _, line in reliability.READINGS.values()]
    assert len(set(lines)) == len(lines)


def test_shares_are_rounded_to_a_tenth_of_a_percent_everywhere(runs):
    small = runs[(runs["world"] < 40) & (runs["reading"] == "paper")].copy()
    small["error"] = np.where(np.arange(len(small)) < 3, 0.06, 0.03)  # 7.5 %, which numpy rounds to 8 % or to 7 %
    figure = reliability_figures.delivered(small)
    texts = [text.get_text().replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ") for text in figure.texts]
    assert any("Algorithm 1 as printed, 7.5 % to 7.5 %" in text for text in texts)
