"""The exercises in which learners write the algorithm: a stub is not yet right, a solution is, a mistake is told."""

import json
import re

import numpy as np
import pytest
from test_notebooks import execute, pictures
from test_teaching import read

from mcal_jax import testing
from mcal_jax.algorithm import acquisition, stopping
from mcal_jax.algorithm.acquisition import ACQUISITIONS
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.errors import McalError
from mcal_jax.runs.settings import home
from mcal_jax.teaching import cost_surfaces, exercises
from mcal_jax.worlds.simulated import Analytic

NOTEBOOK = "05_write_it_yourself"
CHECKS = {
    "total_cost": exercises.check_total_cost,
    "error_at_twice": exercises.check_error_at_twice,
    "largest_theta": exercises.check_largest_theta,
    "largest_S": exercises.check_largest_S,
    "margin": exercises.check_margin,
    "fit_power_law": exercises.check_fit,
    "search": exercises.check_search,
    "should_stop": exercises.check_stop,
    "ratio": exercises.check_ratio,
    "plan_my_job": exercises.check_plan,
}
IN_LESSON_5 = 6
"""How many of them are in the notebook of lesson 5."""
PATHS = [home() / "notebooks" / f"{name}.ipynb" for name in exercises.NOTEBOOKS]


def cells(tag):
    known = [cell for path in PATHS for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    return ["".join(cell["source"]) for cell in known if tag in cell["metadata"].get("tags", [])]


@pytest.fixture
def scope(monkeypatch):
    """What the notebooks' cells see, with every stub; names that are registered meanwhile are forgotten."""
    monkeypatch.setattr(ACQUISITIONS, "_entries", dict(ACQUISITIONS._entries))
    names = {"np": np, "acquisition": acquisition}
    for stub in cells("exercise"):
        exec(stub, names)
    return names


def test_every_exercise_has_a_stub_a_check_and_a_solution():
    assert [re.findall(r"def (\w+)", stub) for stub in cells("exercise")] == [[name] for name in CHECKS]
    assert list(exercises.solutions()) == list(CHECKS)
    text = "".join(path.read_text(encoding="utf-8") for path in PATHS)
    for name, check in CHECKS.items():
        assert f"if exercises.{check.__name__}({name}):" in text
        assert f"{name} = exercises.answer({name}, solutions)" in text


def test_every_notebook_with_an_exercise_runs_solutions_on_demand():
    asks = [path for path in sorted(PATHS[0].parent.glob("*.ipynb")) if '"exercise"' in path.read_text("utf-8")]
    assert asks == PATHS
    for path in PATHS:
        assert "solutions = False  # True runs the folded solution" in path.read_text(encoding="utf-8")


def test_the_course_has_every_exercise_in_lessons_of_45_minutes():
    text = (home() / "docs/course.md").read_text(encoding="utf-8")
    lessons = re.findall(r"^\| \d\. .*\| (\d+) \| (\d): .*\| (\d+) \|$", text, re.MULTILINE)
    assert [int(reading) + int(writing) for reading, _, writing in lessons] == [45] * 6
    (times,) = re.findall(r"minutes: ([\d, and]+) for exercises 1 to 6", PATHS[-1].read_text(encoding="utf-8"))
    minutes = {number: writing for _, number, writing in lessons}
    assert [minutes[number] for number in "123456"] == re.findall(r"\d+", times)


@pytest.mark.parametrize("name", CHECKS)
def test_a_stub_is_not_yet_an_answer(name, scope, capsys):
    assert exercises.answer(scope[name]) is scope[name]
    assert not CHECKS[name](scope[name])
    assert capsys.readouterr().out == f"not yet: {name} is still to be written\n"


@pytest.mark.parametrize("name", CHECKS)
def test_the_folded_solution_is_right(name, scope, capsys):
    for each in CHECKS:
        scope[each] = exercises.answer(scope[each], solved=True)
    assert CHECKS[name](scope[name])
    assert capsys.readouterr().out.startswith("right: ")


def test_without_its_parts_the_plan_says_which_is_missing(scope, capsys):
    assert not exercises.check_plan(exercises.answer(scope["plan_my_job"], solved=True))
    assert capsys.readouterr().out == "not yet: fit_power_law is still to be written\n"


def test_an_answer_without_a_solution_is_named(scope):
    def serch():
        raise NotImplementedError

    assert exercises.answer(serch) is serch
    with pytest.raises(McalError, match=r"no solution defines 'serch'; there are total_cost, .*search"):
        exercises.answer(serch, solved=True)


# ---------------------------------------------------------------------------------------------------------
# Usual mistakes: the solution with one change, and what the check says

MISTAKES = [
    ("total_cost", "(T + B + R)", "(B + R)", "labels of T are paid for"),
    ("total_cost", "(T + B + R)", "(T + R)", "labels of B are paid for"),
    ("total_cost", "(T + B + R)", "(T + B)", "labels of R are paid for"),
    ("total_cost", " + C_t", "", "training costs C_t: add it"),
    ("total_cost", " + C_t", " + C_t * B", "not of one image"),
    ("total_cost", "(T + B + R) + C_t", "(T + B + R + C_t)", "is money already"),
    ("total_cost", "C_h * (T + B + R) + C_t", "C_h, C_t", "must return one number"),
    ("error_at_twice", "return alpha", "size = size / 2; return alpha", "not at 2"),
    ("error_at_twice", " * np.exp(-2 * size / k)", "", "last factor of Eqn 3 is missing"),
    ("error_at_twice", "np.exp(-2 * size / k)", "np.exp(-size / k)", "is doubled in the last factor"),
    ("error_at_twice", "np.exp(-2 *", "np.exp(2 *", "last factor is negative"),
    ("error_at_twice", "-gamma", "gamma", "the exponent is -gamma"),
    ("error_at_twice", "return alpha", "return 2 * alpha", "for \\|B\\|"),
    ("largest_theta", "S / job.n * error", "error", "weigh the error by"),
    ("largest_theta", "(job.n - job.n_test - B)", "job.n", "S\\| is theta"),
    ("largest_theta", "max(best, theta)", "best", "that is the smallest"),
    ("largest_theta", "error(B, theta)", "error(B, 1.0)", "the largest theta for which"),
    ("largest_S", "allowed[-1] + 1", "allowed[-1]", "not a number of images"),
    ("largest_S", "np.flatnonzero(errors < bound)", "np.flatnonzero(np.cumprod(errors < bound))", "may fall again"),
    ("largest_S", "np.arange(1, len(wrong) + 1)", "len(wrong)", "divide the mistakes in S by"),
    ("largest_S", "allowed[-1] + 1 if len(allowed) else 0", "np.sum(~wrong)", "S may hold wrong labels"),
    ("largest_S", "return allowed[-1] + 1 if len(allowed) else 0", "return errors < bound", "must return one number"),
    ("margin", "ranked = np.sort(probabilities, axis=1)", "ranked = probabilities[:, ::-1]", "sort each row first"),
    ("margin", "axis=1", "axis=0", "sort along axis 1"),
    ("margin", "ranked[:, -2]", "ranked[:, 0]", "not the lowest"),
    ("margin", " - ranked[:, -2]", "", "subtract the second highest"),
    ("margin", "ranked[:, -1] - ranked[:, -2]", "ranked[:, -2] - ranked[:, -1]", "sign is wrong"),
    ("margin", "ranked[:, -1] - ranked[:, -2]", "(ranked[:, -1] - ranked[:, -2]).mean()", r"must be \(4,\), not \(\)"),
    (
        "margin",
        "ranked = np.sort(probabilities, axis=1)",
        "(ranked := probabilities).sort(axis=1)",
        "changes the array",
    ),
    ("margin", "return ", "", "does its last line begin with return"),
    ("fit_power_law", "np.log(sizes), np.log(errors)", "sizes, errors", "take the logarithm of both"),
    ("fit_power_law", "x, y = np.log(sizes), np.log(errors)", "x, y = np.log(sizes), errors", "logarithm of both"),
    ("fit_power_law", "gamma = -slope", "gamma = slope", "gamma is minus the slope"),
    ("fit_power_law", "np.exp(height)", "height", "undo the logarithm"),
    ("fit_power_law", "x, y = np.log(sizes), np.log(errors)", "x, y = np.log10(sizes), np.log10(errors)", "10\\*\\*"),
    ("fit_power_law", "return alpha, gamma", "return gamma, alpha", "alpha comes first"),
    ("fit_power_law", "return alpha, gamma", "return gamma", "two numbers: alpha, gamma"),
    ("search", "S / job.n * error(B, theta) < job.epsilon and ", "", "breaks the bound: Eqn 2 gives"),
    ("search", "S / job.n * error(B, theta) < job.epsilon", "S / job.n < job.epsilon", "weigh the error"),
    ("search", "S / job.n * error(B, theta)", "error(B, theta)", "weigh the error by"),
    ("search", "and cost < best[2]", "and best[2] == np.inf", "keep the cheapest"),
    ("search", "(job.n - S)", "(job.n - job.n_test - S)", "labels of T"),
    ("search", "(job.n - S)", "(job.n - B - S)", "labels of B"),
    ("search", " + job.training_price * B", "", "training on B costs"),
    ("search", "best = (B, theta, cost)", "best = (theta, B, cost)", "comes first"),
    ("search", "return best", "return best[:2]", "three numbers"),
    ("should_stop", "    if len(plans) < 2:\n        return False\n", "", None),
    ("should_stop", "abs(now.cost - before.cost)", "(before.cost - now.cost)", "size of the change"),
    ("should_stop", "config.stability", "0.05", "which is config.stability"),
    ("should_stop", "stable and ", "", "not stable"),
    ("should_stop", "stable and now.B_opt <= now.size", "stable", "a larger \\|B\\| is cheaper"),
    ("should_stop", "now.B_opt <= now.size", "now.B_opt < now.size", "the present one"),
    ("should_stop", "plans[-2:]", "plans[:2]", "the last two plans"),
    ("should_stop", "before, now = plans[-2:]", "before, now = plans[0], plans[-1]", "not the first and the last"),
    ("should_stop", "return stable and", "return int(stable) and 1 *", "True or False, not"),
    ("ratio", "(scores.confidence - scores.margin) / scores.confidence", "-scores.margin", "confidence - margin"),
    ("ratio", "return (", "return -(", "the more doubtful, the higher"),
    ("ratio", "scores.confidence - scores.margin", "scores.margin", "second highest is confidence - margin"),
    ("ratio", " / scores.confidence", "", "divide it by the highest"),
    ("ratio", 'acquisition.ACQUISITIONS.register("ratio", ratio)', "", "not registered"),
    ("ratio", 'register("ratio", ratio)', 'register("ratio", lambda scores: -scores.margin)', "older function"),
    ("plan_my_job", "plan if plan[2] < humans_only else (0, 0.0, humans_only)", "plan", "compare with humans only"),
    ("plan_my_job", " * theta**quality", "", "is possible"),
    ("plan_my_job", " * theta**quality", " * theta", "is possible"),
    ("plan_my_job", "B**-gamma", "job.n**-gamma", "breaks the bound"),
]


@pytest.mark.parametrize(("name", "right", "wrong", "hint"), MISTAKES)
def test_a_usual_mistake_is_told_with_a_hint(name, right, wrong, hint, scope, capsys):
    for each, text in exercises.solutions().items():
        exec(text, scope)
        if each == name:
            assert right in text
            # A name that is registered before would hide that this answer is not.
            ACQUISITIONS._entries.pop("ratio", None)
            exec(text.replace(right, wrong), scope)
    with pytest.raises(AssertionError if hint else ValueError, match=hint):
        CHECKS[name](scope[name])
    assert not capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------
# That what counts as right is what the package does


@pytest.mark.parametrize(("job", "law"), exercises.JOBS[:2])
def test_the_cheapest_pair_is_the_planners(job, law):
    alpha, gamma, quality = law
    config = Config(
        epsilon=job.epsilon,
        label_price=job.label_price,
        test_fraction=job.n_test / job.n,
        safety_z=0.0,
        training_price=PerImageEpoch(dollars=job.training_price / 200),
    )
    plan = cost_surfaces.known_plan(job.n, Analytic(alpha=alpha, gamma=gamma, quality=quality), config)
    least = exercises.least_cost(job, exercises.power_law(alpha, gamma, quality))
    # The planner has trained once before, on B_0; the exercise has a coarser grid.
    assert least + plan.spent == pytest.approx(plan.cost, rel=0.02)


def test_solutions_are_plug_ins_of_the_package(scope, monkeypatch):
    monkeypatch.setattr(stopping.STOP_RULES, "_entries", dict(stopping.STOP_RULES._entries))
    testing.check_acquisition(exercises.answer(scope["ratio"], solved=True))
    plans = [exercises.plan_of(1000, 900, cost) for cost in (100.0, 99.0)]
    rule = stopping.stop_with(exercises.answer(scope["should_stop"], solved=True))
    assert rule(50_000, [p._replace(size=400, B_opt=300) for p in plans], Config()) in (
        "should_stop",
        "reached_optimum",
    )


# ---------------------------------------------------------------------------------------------------------
# The notebook


@pytest.mark.slow  # `make docs` and `make reproduce` run it so too
def test_the_notebook_runs_before_anything_is_written(tmp_path):
    texts = execute(NOTEBOOK, tmp_path, n=20_000, n_test=1000)
    assert sum(text.startswith("not yet: ") for text in texts) == IN_LESSON_5
    assert not [text for text in texts if text.startswith("right: ")]
    assert pictures(tmp_path) == set()


def test_the_notebook_runs_its_solutions(tmp_path):
    texts = execute(NOTEBOOK, tmp_path, n="2e4", n_test=1000, seed=3, solutions=True)
    assert sum(text.startswith("right: ") for text in texts) == IN_LESSON_5
    assert not [text for text in texts if "not yet" in text]
    table = read(tmp_path / "surface.csv")
    assert table["cost"][0] == pytest.approx(table["cost"][1], rel=0.02), "the learner's and the planner's optimum"
    assert any(re.search(r"\| \d+ \| .* \| stop \|", text) for text in texts)
    assert any("| humans only |" in text for text in texts)
