"""What a log says is taken at its word: every reader, whatever today's decision rules are."""

import json

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING, same
from test_runlog import rewrite

from mcal_jax.algorithm import planner
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Train
from mcal_jax.errors import McalError
from mcal_jax.runs import driver
from mcal_jax.runs.driver import drive, end_json, replay
from mcal_jax.runs.recorded import PLANNED, RecordedRun
from mcal_jax.runs.report import check_line, plan_report, summary
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.simulated import Recorded, SimulatedWorld

RACE = {"cnn18": MIDDLING, "resnet18": EASY, "resnet50": MIDDLING.model_copy(update={"alpha": 4.0})}
KINDS = {
    "mcal": {},
    "race": {"architectures": tuple(RACE)},
    "budget": {"config": Config(budget=30)},
    "certified": {"config": Config.certified()},
    "by class": {"config": Config.certified(class_epsilon=0.2)},
    "second labels": {"config": Config.certified(repeat=0.5)},
    "paper": {"config": Config.paper()},
    "without active learning": {"algorithm": "without_active_learning"},
    "naive": {"algorithm": "naive_al", "delta": 0.1},
    "trajectory": {"algorithm": "trajectory", "delta": 0.1, "max_train_fraction": 0.4, "compare": ("random",)},
    "humans": {"algorithm": "humans_only"},
}


@pytest.fixture(params=KINDS, ids=lambda name: name.replace(" ", "_"))
def made(request, tmp_path):
    """A log of each kind, and its Delivery."""
    job = Job(**{"n": 1500, **KINDS[request.param]})
    log = RunLog.create(tmp_path / "run.jsonl", job, {"data": {"name": "cifar10"}})
    noise = 0.01 if job.config.repeat else 0.0
    curves = RACE if len(job.architectures) > 1 else MIDDLING
    delivery = drive(job, SimulatedWorld(job.n, curves, seed=3, noise=noise), log)
    log.close()
    return log.path, delivery


PLANNING = {name for name, kind in KINDS.items() if kind.get("algorithm", "mcal") in PLANNED}


def test_a_log_tells_what_the_live_run_ended_with(made):
    path, live = made
    run = RecordedRun(path)
    assert run.is_finished
    assert same(run.outcome, live.outcome)
    assert same(tuple(run.delivery)[1:], tuple(live)[1:])
    assert summary(run.delivery, run.job.config) == summary(live, run.job.config)
    assert check_line(path)[1]


def test_steps_are_those_of_a_replay(made):
    path, _ = made
    bare = [(request._replace(plan=None), answer) for request, answer in replay(path).steps]
    assert same(tuple(RecordedRun(path).steps), tuple(bare))


def test_the_record_stands_when_the_rules_have_changed(made, monkeypatch):
    """Rules that decide something else everywhere: the log is still read, reported and drawn, as it was decided."""
    path, live = made
    recorded_plans = [line["plan"] for line in map(json.loads, path.read_text().splitlines()) if "plan" in line]
    monkeypatch.setattr(driver, "RULES", 99)
    monkeypatch.setattr(planner, "next_delta", lambda progress, B_opt, cost, stable, config: 1)
    monkeypatch.setattr(planner, "is_stable", lambda value, previous, points, config: False)
    run = RecordedRun(path)
    assert run.end == end_json(live)
    assert all(np.array_equal(run.sets[name], getattr(live.outcome, name)) for name in "TBSRV")
    assert np.array_equal(run.delivery.labels, live.labels)
    assert summary(run.delivery, run.job.config) == summary(live, run.job.config)
    assert [plan.delta for plan in run.outcome.plans] == [plan.delta for plan in live.outcome.plans]
    assert [plan.stable for plan in run.plans] == [plan.stable for plan in live.outcome.plans]
    assert "finished" in plan_report(run)
    line, agrees = check_line(path)
    assert "\n" not in line
    assert "rules 1" in line
    assert agrees == (not recorded_plans)


def test_most_kinds_plan():
    assert len(PLANNING) == 8


def test_an_unfinished_log_tells_its_plans_and_what_comes_next(made):
    path, _ = made
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines), 1 + len(lines) // 6):
        path.write_bytes(b"".join(lines[:kept]))
        run = RecordedRun(path)
        assert not run.is_finished
        assert len(run.steps) == kept - 1
        with pytest.raises(McalError, match="not finished"):
            _ = run.outcome
        told = plan_report(run).splitlines()
        assert told[-1].startswith("next: ")
        trained = sum(isinstance(request, Train) for request, _ in run.steps)
        assert ("no plan" in told[1]) == (not run.plans)
        assert len(run.plans) <= trained


def test_a_line_about_other_images_is_refused_with_its_number(tmp_path):
    job = Job(n=400, config=Config(theta_step=0.5))
    log = RunLog.create(tmp_path / "run.jsonl", job, {})
    drive(job, SimulatedWorld(job.n, MIDDLING), log)
    log.close()
    rewrite(log.path, 2, lambda line: line["request"].update(pool="0123456789abcdef"))
    with pytest.raises(McalError, match=r"run.jsonl: line 3: .* other images"):
        RecordedRun(log.path)


@pytest.mark.parametrize("figure", ["labels", "T", "dollars", "stop"])
def test_an_outcome_that_does_not_fit_its_log_is_refused(tmp_path, figure):
    job = Job(n=400, config=Config(theta_step=0.5))
    log = RunLog.create(tmp_path / "run.jsonl", job, {})
    drive(job, SimulatedWorld(job.n, MIDDLING), log)
    log.close()
    junk = {"labels": "0" * 16, "T": 7}

    def change(line):
        line["end"].update({figure: junk[figure]}) if figure in junk else line["end"].pop(figure)

    rewrite(log.path, -1, change)
    with pytest.raises(McalError, match=str(log.path)) as caught:
        _ = RecordedRun(log.path).delivery
    assert "\n" not in str(caught.value)


def test_figures_that_this_version_does_not_know_are_ignored(tmp_path):
    job = Job(n=800, config=Config.certified())
    log = RunLog.create(tmp_path / "run.jsonl", job, {})
    live = drive(job, SimulatedWorld(job.n, MIDDLING), log)
    log.close()
    assert live.outcome.certificate

    def later(line):
        line["end"].update(mood="good")
        line["end"]["dollars"].update(coffee=0.0)
        line["end"]["certificate"].update(seal="wax")

    rewrite(log.path, -1, later)
    assert same(RecordedRun(log.path).outcome, live.outcome)


def test_a_trajectory_tells_its_trainings_instead_of_plans(tmp_path):
    job = Job(n=800, algorithm="trajectory", delta=0.1, max_train_fraction=0.3)
    log = RunLog.create(tmp_path / "run.jsonl", job, {})
    live = drive(job, SimulatedWorld(job.n, HOPELESS), log)
    log.close()
    told = plan_report(RecordedRun(log.path))
    assert "no plan: trajectory makes none" in told
    assert "no classifier" not in told
    assert len(live.outcome.history) == 3
    for fit in live.outcome.history:
        assert f" {fit.size:,} " in told


def test_the_curve_of_a_recorded_run_needs_no_decision(tmp_path, monkeypatch):
    job = Job(n=800)
    log = RunLog.create(tmp_path / "run.jsonl", job, {})
    live = drive(job, SimulatedWorld(job.n, MIDDLING), log)
    log.close()
    monkeypatch.setattr(planner, "search", None)
    run = RecordedRun(log.path)
    curve = Recorded(tuple(run.fits[run.end["architecture"]]))
    assert len(curve.log_size) == len(live.outcome.history)
