"""The teaching notebooks: that they run, and that what they tell students is so."""

import base64
import csv
import json
import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from test_notebooks import code_cells, execute, pictures

from mcal_jax.algorithm import planner, powerlaw, stopping
from mcal_jax.algorithm.acquisition import Scores
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import drive
from mcal_jax.runs.settings import home
from mcal_jax.teaching import cost_surfaces, explorer, player, power_laws, replay, what_to_label, widgets
from mcal_jax.teaching.exercises import plan_of
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld, clairvoyant

N = 20_000
CURVE = Analytic(alpha=3.0, gamma=0.4, quality=2.0)
LESSONS = sorted((home() / "notebooks").glob("0*.ipynb"))
SOLVED = {"solutions": True}
SITE_WIDTH = 88
"""Characters of a line of code that a page of the site shows."""


def read(path):
    """A saved table: its columns, as numbers where they are."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name, values in columns.items():
        try:
            columns[name] = np.array(values, float)
        except ValueError:
            continue
    return columns


# ---------------------------------------------------------------------------------------------------------
# The notebooks


def minutes_of_course():
    """The minutes that docs/course.md gives to each notebook; that of exercises has those of its exercises."""
    text = (home() / "docs/course.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d\. [^|]+\| \[(\w+)\]\([^|]+\| (\d+) \| [^|]+\| (\d+) \|$", text, re.MULTILINE)
    minutes = {"05_write_it_yourself": sum(int(writing) for _, _, writing in rows)}
    for name, reading, _ in rows:
        minutes[name] = minutes.get(name, 0) + int(reading)
    return minutes


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_begins_with_what_it_needs_and_ends_with_where_to_go(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    head = "".join(cells[0]["source"])
    assert head.startswith(f"# {int(path.stem[:2])} ")
    assert re.search(r"^\*\*Goals\.\*\* After this notebook you ", head, re.MULTILINE)
    assert re.search(r"^\*\*Before you begin\.\*\* ", head, re.MULTILINE)
    assert "\n| symbol | meaning |\n|---|---|\n| " in head
    (minutes,) = re.findall(r"^\*\*Time\.\*\* (\d+) minutes", head, re.MULTILINE)
    assert int(minutes) == minutes_of_course()[path.stem]
    named = re.findall(r"`(\d\d_\w+)`", "".join(cells[-1]["source"]).partition("**Next.** ")[2])
    assert named
    assert {*named} <= {lesson.stem for lesson in LESSONS}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_code_of_a_lesson_fits_the_site(path):
    lines = [line for cell in code_cells(path) for line in cell.source.splitlines()]
    assert not [line for line in lines if len(line) > SITE_WIDTH]


def test_what_lesson_0_answers_is_so():
    """Its exercises 2 and 3: ten points of theta, and a plan that is stable with the default and not else."""
    assert 0.1 * (50_000 - planner.n_test(50_000, Config()) - 10_000) * Config().label_price == pytest.approx(150)
    before = plan_of(1000, 900, 620.0)
    assert planner.is_stable(580.0, before, 2, Config())
    assert not planner.is_stable(580.0, before, 2, Config.paper())
    assert (Config().stability, Config().max_growth, Config.paper().stability) == (0.1, 3.0, 0.05)


def test_the_default_bound_within_S_refuses_a_useless_classifier():
    """As exercise 6 of lesson 2 says."""
    useless = Analytic(alpha=1e6, gamma=0.0, quality=1e-3, ceiling=0.999)
    run = drive(Job(n=N, config=Config()), SimulatedWorld(N, useless))
    assert len(run.outcome.S) == 0


def test_constants_are_those_of_eqn_3():
    sizes = [200, 400, 800, 1600, 3200, 6400]
    law = power_laws.fit(power_laws.simulate_trainings(Analytic(alpha=3.0, gamma=0.4, k=4000.0), sizes, N))
    alpha, gamma, k = power_laws.constants(law)
    expected = powerlaw.predict([law], np.array(sizes))[:, 0]
    assert alpha * np.array(sizes) ** -gamma * np.exp(-np.array(sizes) / k) == pytest.approx(expected)
    assert power_laws.constants(law._replace(kappa=0.0))[2] == np.inf


@pytest.mark.slow  # `make docs` and `make reproduce` run this notebook too
def test_power_laws_finds_the_law_it_hid(tmp_path):
    texts = execute("01_power_laws", tmp_path, n=20_000, n_test=1000, k=6000.0, gamma=0.5, alpha=5.0, seed=1, **SOLVED)
    assert any(re.search(r"right: .*\nat \|B\| = 19,200: predicted", text) for text in texts)
    assert pictures(tmp_path) == {"learning_curves", "noise", "few_points", "thetas"}
    table = read(tmp_path / "few_points.csv")
    assert abs(table["gamma"][-1] - 0.5) < 3 * table["gamma_sd"][-1]
    assert 0 < table["gamma_sd"][-1] < 0.15
    assert table["low"][-1] < table["truth_at_n"][-1] < table["high"][-1]
    assert table["low"][0] > table["truth_at_n"][0], "three points cannot see the fall-off"
    assert any("γ = 0.5: 4.0 times the labels, 0.500 times the error" in text for text in texts)
    assert any("γ = 0.25: 16.0 times the labels, 0.500 times the error" in text for text in texts)


@pytest.mark.slow  # `make docs` and `make reproduce` run this notebook too
def test_cost_surfaces_moves_the_optimum(tmp_path):
    texts = execute("02_cost_surfaces", tmp_path, n=N, **SOLVED)
    assert any(re.search(r"right: .*\n\|B\| = 400: the machine may label", text) for text in texts)
    assert pictures(tmp_path) == {"surface", "optimum"}
    table = read(tmp_path / "optimum.csv")
    setting = np.array(table["setting"])
    prices, bounds, tests = (
        {key: values[setting == name] for key, values in table.items() if key != "setting"}
        for name in ("label_price", "epsilon", "test_fraction")
    )
    assert (np.diff(prices["B_of_X"]) >= 0).all(), "more expensive labels never make B smaller"
    assert prices["B_of_X"][-1] > 3 * prices["B_of_X"][0]
    assert (np.diff(bounds["cost"]) <= 0).all()
    assert 0 < np.argmin(tests["cost"]) < len(tests["cost"]) - 1
    assert any("on_X: the machine labels 5.0%" in text and "on_S: the machine labels 0.0%" in text for text in texts)


@pytest.mark.slow  # `make docs` and `make reproduce` run this notebook too
def test_label_your_own_goes_from_a_folder_to_a_datasheet(tmp_path):
    texts = execute("04_label_your_own", tmp_path, images=600, width=4, recipe="brief")
    assert pictures(tmp_path) == {"sets", "doubtful"}
    table = read(tmp_path / "labels.csv")
    assert set(table["file"]) == {path.name for path in (tmp_path / "photos").iterdir()}
    who = {(source, person) for source, person in zip(table["source"], table["annotator"], strict=True)}
    assert who == {("human", "scripted annotator"), ("machine", "")}
    assert (tmp_path / "datasheet.html").stat().st_size > 10_000
    assert any("of the labels are wrong; the certificate says: at most" in text for text in texts)


@pytest.mark.slow
def test_what_to_label_compares_selections(tmp_path):
    sizes = {"labels": 150, "more": 150, "held_out": 600, "first": 2400}
    texts = execute("03_what_to_label", tmp_path, width=4, downsample=4, **sizes, **SOLVED)
    assert any(re.search(r"right: [\s\S]*S is larger with B chosen by (margin|random)", text) for text in texts)
    assert pictures(tmp_path) == {"selected", "ranked", "compared"}
    table = read(tmp_path / "selected_by.csv")
    margin, random = (list(table["by"]).index(by) for by in ("margin", "random"))
    assert table["mean_margin"][margin] < 0.5 * table["mean_margin"][random]
    assert table["wrong_among_selected"][margin] > table["wrong_among_selected"][random]
    half = table["accuracy_of_least_wanted_half"]
    assert half[margin] > half[random] + 0.05
    errors = read(tmp_path / "compared.csv")
    assert len(errors) == 4  # theta and three selections
    assert all(0 < errors[name][-1] < 0.8 for name in errors if name != "theta")


# ---------------------------------------------------------------------------------------------------------
# What they compute


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.2])
def test_known_plan_is_the_clairvoyants_where_training_is_free(epsilon):
    config = Config(epsilon=epsilon, safety_z=0.0, training_price=PerImageEpoch(dollars=0.0))
    plan, ideal = cost_surfaces.known_plan(N, CURVE, config), clairvoyant(N, CURVE, config)
    assert plan.cost == pytest.approx(ideal.cost, rel=0.01)
    assert plan.error < epsilon
    assert planner.n_seed(N, config) == plan.size == plan.surface.sizes[0]


def test_best_size_is_the_formula_of_the_exercise():
    config = Config(epsilon=0.02, safety_z=0.0, training_price=PerImageEpoch(dollars=0.0))
    plan = cost_surfaces.known_plan(N, CURVE, config)
    assert plan.B_opt == pytest.approx(0.4 / 2.4 * 0.95 * N, rel=0.1)
    assert plan.theta < 1


def test_break_even_price_is_where_humans_alone_cost_as_much():
    config = Config(training_price=PerImageEpoch(dollars=1e-3))
    price = cost_surfaces.break_even(N, cost_surfaces.known_plan(N, CURVE, config), config)
    for factor, hopeless in ((0.99, True), (1.01, False)):
        changed = config.model_copy(update={"label_price": price * factor})
        assert stopping.hopeless(N, cost_surfaces.known_plan(N, CURVE, changed), changed) is hopeless
    useless = config.model_copy(update={"constraint": "on_S"})
    wrong = Analytic(alpha=1e6, gamma=0.0, quality=1e-3, ceiling=0.999)
    assert cost_surfaces.break_even(N, cost_surfaces.known_plan(N, wrong, useless), useless) == np.inf


def test_trainings_scatter_as_binomial_numbers():
    fixed = Analytic(alpha=0.1, gamma=0, quality=1.0)
    counts = [int(t.errors(1.0)) for t in power_laws.simulate_trainings(fixed, [10] * 400, 500)]
    assert np.mean(counts) == pytest.approx(50, abs=4 * np.sqrt(45 / 400))
    assert np.var(counts) == pytest.approx(45, rel=0.25)


def test_ranks_by_hand():
    margin = np.array([0.9, 0.1, 0.5, 0.3], np.float32)
    scores = Scores(np.array([0, 0, 1, 1], np.int32), margin, 1 - margin, margin)
    truth = np.array([0, 1, 1, 0])
    scored = what_to_label.ScoredPool(np.arange(4), scores, scores.label != truth, {"margin": np.argsort(margin)})
    assert scored.mean_margin("margin", 2) == pytest.approx(0.2)
    assert scored.accuracy("margin", np.array([0.5, 0.75, 1.0])).tolist() == pytest.approx([1, 2 / 3, 0.5])
    assert what_to_label.error_by_theta(scores, truth, np.array([0.5, 0.75, 1.0])).tolist() == pytest.approx(
        [0, 1 / 3, 0.5]
    )


# ---------------------------------------------------------------------------------------------------------
# Sliders


def test_moving_a_slider_moves_the_optimum_and_what_is_shown():
    explorer = widgets.CostExplorer(N, CURVE, Config())
    plan, picture, verdict = explorer.plan, explorer.picture.value, explorer.verdict.value
    assert bytes(picture[:4]) == b"\x89PNG"
    assert f"{plan.B_opt:,}" in verdict
    explorer.prices.value = 0.001
    assert explorer.plan.B_opt < plan.B_opt
    assert explorer.picture.value != picture
    assert f"{explorer.plan.B_opt:,}" in explorer.verdict.value
    explorer.epsilons.value = 0.2
    assert explorer.plan.theta > plan.theta
    explorer.tests.value = 0.1
    assert explorer.config.test_fraction == pytest.approx(0.1)
    explorer.prices.value = 1e-5
    assert "Humans should label everything" in explorer.verdict.value
    assert not plt.get_fignums()


def test_sliders_are_shown_by_every_ipywidgets(monkeypatch):
    """Version 7, that of Google Colab, has no ``_repr_mimebundle_``."""
    explorer = widgets.CostExplorer(N, CURVE, Config())
    own = explorer.box._repr_mimebundle_()
    monkeypatch.delattr("ipywidgets.Widget._repr_mimebundle_")
    shown = explorer._repr_mimebundle_()
    assert shown[widgets.WIDGET_VIEW] == own[widgets.WIDGET_VIEW]
    assert base64.b64decode(shown["image/png"]) == explorer.picture.value


def test_sliders_without_ipywidgets_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(McalError, match="pip install 'mcal-jax\\[notebooks\\]'"):
        widgets.CostExplorer(N, CURVE, Config())


# ---------------------------------------------------------------------------------------------------------
# Frames that sliders choose


def frames_of(shown):
    """The frames and the values of the sliders that a page holds."""
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', shown._repr_html_(), re.DOTALL)
    data = json.loads(text)
    return data["frames"], data["values"]


def test_a_player_holds_a_picture_and_words_for_every_combination():
    frames = [player.Frame(bytes([i]), f"</script> {i} \\$5") for i in range(6)]
    shown = player.Player("name", {"a": ["x", "y"], "b": ["1", "2", "3"]}, frames, [1, 0])
    held, values = frames_of(shown)
    assert [text for _, text in held] == [f"</script> {i} $5" for i in range(6)]
    assert values == [["x", "y"], ["1", "2", "3"]]
    assert shown.first.picture == bytes([3])
    html = shown._repr_html_()
    assert html.count('type="range"') == 2
    assert html.count("<label>") == 2
    assert "Play" not in html.split("<script")[0], "two sliders have no order"
    assert "$" not in html, "Jupyter would take it for mathematics"
    assert html == player.Player("name", shown.sliders, frames, [1, 0])._repr_html_()
    assert shown._repr_mimebundle_()["image/png"] == "Aw=="


def test_a_run_is_replayed_training_by_training():
    config = Config()
    outcome = drive(Job(n=N, config=config), SimulatedWorld(N, CURVE, seed=0)).outcome
    shown = replay.replay(outcome.plans, outcome.history, N, config)
    held, values = frames_of(shown)
    assert len(held) == len(values[0]) == len(outcome.plans)
    assert held[-1][1].endswith("training stops here.")
    assert "more labels are bought" in held[0][1]
    assert len(shown._repr_html_()) < 1e6
    bill = replay.frame(outcome.plans, outcome.history, N, config).axes[2]
    planned = sum(bar.get_width() for bar in bill.patches if abs(bar.get_y() + 0.3 - 1) < 0.1)
    assert planned == pytest.approx(outcome.plans[-1].cost)


def test_better_curves_and_annotators_save_more():
    shown = explorer.explorer(N, CURVE, Config(epsilon=0.02))
    held, (gammas, mistakes, prices) = frames_of(shown)
    assert mistakes == ["0 %", "1 %"], "3 % are more than epsilon allows"
    assert len(held) == len(gammas) * len(mistakes) * len(prices)
    costs = [float(re.findall(r"[$]([0-9,]+(?:[.][0-9]+)?)", text)[0].replace(",", "")) for _, text in held]
    by = np.array(costs).reshape(len(gammas), len(mistakes), len(prices))[:, :, prices.index("$0.04")]
    assert (np.diff(by, axis=0) <= 0).all()
    assert (np.diff(by, axis=1) >= 0).all()
    assert len(shown._repr_html_()) < 1e6
