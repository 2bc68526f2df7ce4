"""The pictures of a recorded run: they are those of its outcome, and what cannot be drawn is refused in one line."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import MIDDLING

from mcal_jax import plots
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import drive
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.simulated import SimulatedWorld

N = 3000
OF_PLANS = ("cost_surface", "cost_against_size", "plan_path", "fits", "training_cost", "error_by_rank")
DATASET = Dataset("blank", np.zeros((N, 4, 4, 1), np.uint8), np.zeros(N, np.int32), ("right", "wrong"))


def record(path, **job):
    """The log of a simulated run, read."""
    log = RunLog.create(path, Job(n=N, config=Config(), **job), {})
    drive(log.job, SimulatedWorld(N, MIDDLING), log)
    log.close()
    return RecordedRun(path)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return record(tmp_path_factory.mktemp("usual") / "run.jsonl")


def legend(figure):
    return [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]


def test_every_picture_of_a_run_is_that_of_its_outcome(usual):
    outcome, config, plot = usual.outcome, usual.job.config, plots.ResultPlots(usual)
    plan, history = outcome.plans[-1], outcome.history
    expected = {
        "cost_surface": plots.cost_surface(outcome.plans, N, config),
        "cost_against_size": plots.cost_against_size(outcome.plans, N, config),
        "plan_path": plots.plan_path(outcome.plans, N, config),
        "fits": plots.fits(history, plan, config),
        "training_cost": plots.training_cost(history, plan, outcome.architecture, config),
        "error_by_rank": plots.error_by_rank(history[-1], plan, N, config),
        "sets": plots.sets(outcome),
        "bill": plots.ledger(outcome),
    }
    for name, figure in expected.items():
        drawn = getattr(plot, name)()
        assert legend(drawn) == legend(figure) != [], name
        assert [ax.get_title(loc="left") for ax in drawn.axes] == [ax.get_title(loc="left") for ax in figure.axes]
        drawn.draw_without_rendering()
    assert not plt.get_fignums()


def test_a_surface_may_be_that_of_an_earlier_training(usual):
    plot, count = plots.ResultPlots(usual), len(usual.plans)
    assert plot.cost_surface(0).axes[0].get_title(loc="left") == "cost surface after 1 training"
    assert plot.cost_surface(-count).axes[0].get_title(loc="left") == "cost surface after 1 training"
    for training in (count, -count - 1):
        with pytest.raises(McalError, match=f"training: from -{count} to {count - 1}, got {training}"):
            plot.cost_surface(training)


def test_pictures_can_be_drawn_on_given_axes(usual):
    figure, (left, right) = plt.subplots(1, 2)
    plot = plots.ResultPlots(usual)
    assert plot.fits((0.5, 1.0), ax=left) is figure
    assert plot.bill({"again": usual.outcome}, ax=right) is figure
    assert "θ = 50 %" in legend(figure)
    assert [label.get_text() for label in right.get_yticklabels()] == ["MCAL", "again", "humans only"]
    plt.close(figure)


def test_the_gallery_shows_the_images_of_the_run_and_refuses_others(usual):
    figure = plots.ResultPlots(usual).gallery(DATASET, columns=4)
    assert [ax.get_title(loc="center") for ax in figure.axes][-4:] == ["wrong\n(right)"] * 4
    with pytest.raises(McalError, match="blank: 10 images, but the run labelled 3,000"):
        plots.ResultPlots(usual).gallery(Dataset("blank", DATASET.images[:10], DATASET.labels[:10], DATASET.classes))


@pytest.mark.parametrize("algorithm", ["humans_only", "naive_al"])
def test_a_run_without_plans_has_a_bill_and_no_pictures_of_plans(tmp_path, algorithm):
    delta = {"delta": 0.1} if algorithm == "naive_al" else {}
    plot = plots.ResultPlots(record(tmp_path / "run.jsonl", algorithm=algorithm, **delta))
    for draw in (plot.sets, plot.bill):
        draw().draw_without_rendering()
    for name in OF_PLANS:
        with pytest.raises(McalError, match=f"run.jsonl: the algorithm {algorithm} made no plans"):
            getattr(plot, name)()


def test_an_unfinished_run_is_refused_in_one_line(usual, tmp_path):
    lines = usual.path.read_text().splitlines(keepends=True)
    assert "end" in json.loads(lines[-1])
    (path := tmp_path / "run.jsonl").write_text("".join(lines[:-1]))
    plot = plots.ResultPlots(RecordedRun(path))
    for name in (*OF_PLANS, "sets", "bill"):
        with pytest.raises(McalError, match=r"run.jsonl: the run is not finished; resume it first"):
            getattr(plot, name)()
    with pytest.raises(McalError, match="not finished"):
        plot.gallery(DATASET)
