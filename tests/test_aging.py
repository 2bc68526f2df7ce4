"""T ages with the pool: images that acquisition would have chosen leave the estimate, which is then unbiased."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import MIDDLING, assert_partition

from mcal_jax import Config, McalError, plots
from mcal_jax.algorithm.acquisition import ACQUISITIONS, Scores, would_choose
from mcal_jax.algorithm.config import BROKEN_IN_SIMULATIONS
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Label, Labels, Train, remove
from mcal_jax.runs.answers import check_answer
from mcal_jax.runs.driver import drive, replay
from mcal_jax.runs.progress import Reporter
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.report import plan_report
from mcal_jax.runs.runlog import RunLog, seal
from mcal_jax.session import Session
from mcal_jax.testing import check_world
from mcal_jax.training import kcenter
from mcal_jax.worlds.difficulty import DifficultyWorld

N = 6000
AGED, PLAIN = Config(theta_step=0.25), Config(theta_step=0.25, age_test_set=False)


def job(config=AGED):
    return Job(n=N, config=config)


def estimates(seed):
    """Errors of the last classifier: on all of T, on what is left of T, and of the pool; and how much of T is left."""
    world, steps = DifficultyWorld(N, MIDDLING, seed=seed), []
    outcome = drive(job(), world, observe=lambda number, request, answer: steps.append((request, answer))).outcome
    request, fit = next((r, a) for r, a in reversed(steps) if isinstance(r, Train))
    _, label = world.view(fit.model)
    pool = remove(remove(np.arange(N), outcome.T), outcome.B)
    assert len(fit.wrong) == label[request.test].sum()
    return label[outcome.T].mean(), len(fit.wrong) / fit.n_test, label[pool].mean(), fit.n_test / len(outcome.T)


def test_the_aged_estimate_is_unbiased_where_the_plain_one_is_too_high():
    plain, aged, truth, left = np.array([estimates(seed) for seed in range(60)]).T
    for estimate, biased in ((plain, True), (aged, False)):
        difference = estimate - truth
        z = difference.mean() / (difference.std(ddof=1) / np.sqrt(len(difference)))
        assert (z > 6) if biased else (abs(z) < 3.3)
    assert (left < 1).all()


def test_aging_saves_labels_at_the_same_bound():
    plain, aged = (
        [drive(job(config), DifficultyWorld(N, MIDDLING, seed=seed)) for seed in range(12)] for config in (PLAIN, AGED)
    )
    cost = [np.mean([one.outcome.ledger.total for one in group]) for group in (plain, aged)]
    assert cost[1] < cost[0]
    assert np.mean([one.true_error for one in aged]) < 0.05


def test_all_of_T_is_billed_and_the_sets_partition_X():
    outcome = drive(job(), DifficultyWorld(N, MIDDLING)).outcome
    assert_partition(outcome)
    assert outcome.ledger.test == pytest.approx(0.04 * len(outcome.T))
    assert outcome.history[-1].n_test < len(outcome.T)


class AllOfTRetires(DifficultyWorld):
    def retire(self, request, chosen):
        return super().retire(request, chosen) if request.test is None else request.test


@pytest.mark.parametrize("config", [AGED, Config.certified(theta_step=0.25)])
def test_a_run_of_which_nothing_of_T_is_left_ends_told_and_drawn(tmp_path, config):
    """The machine labels only what V vouches for."""
    log, said = RunLog.create(tmp_path / "run.jsonl", job(config), {}), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = drive(
            job(config), AllOfTRetires(N, MIDDLING), log, observe=Reporter(said.append, job(config))
        ).outcome
        log.close()
        assert {fit.n_test for fit in outcome.history[1:]} == {0}
        assert any("nothing of T is left" in line for line in said)
        assert plan_report(RecordedRun(log.path))
        plots.error_by_rank(outcome.history[-1], outcome.plans[-1], N, config).draw_without_rendering()
        plots.fits(outcome.history, outcome.plans[-1], config).draw_without_rendering()
    assert_partition(outcome)
    assert outcome.certificate.bound <= config.epsilon if config.certify else len(outcome.S) == 0


def test_random_acquisition_retires_nothing():
    outcome = drive(job(Config(acquisition="random")), DifficultyWorld(N, MIDDLING)).outcome
    assert {fit.n_test for fit in outcome.history} == {len(outcome.T)}


def test_the_log_and_a_session_keep_who_retired(tmp_path):
    log = RunLog.create(tmp_path / "run.jsonl", job(), {})
    live = drive(job(), DifficultyWorld(N, MIDDLING), log)
    log.close()
    replay(log.path)
    recorded = RecordedRun(log.path)
    assert [fit.n_test for fit in recorded.fits["resnet18"]] == [fit.n_test for fit in live.outcome.history]
    from mcal_jax import from_arrays

    pool = from_arrays(np.zeros((N, 2, 2), np.uint8), None, ["right", "wrong"])
    session = Session.over(DifficultyWorld(N, MIDDLING), job(), pool, tmp_path / "session.jsonl")
    while (batch := session.ask()) is not None:
        session.tell(batch, np.zeros(len(batch), int))
        session.close()
        session = Session.over(DifficultyWorld(N, MIDDLING), job(), pool, tmp_path / "session.jsonl")
    assert session.result().bill == live.outcome.ledger


def test_it_is_a_world_as_the_others():
    check_world(lambda: DifficultyWorld(N, MIDDLING, seed=2), job())


def test_an_answer_that_retires_strange_images_is_refused():
    request = Label(np.arange(10, 20), 2, "margin", "train", 1, None, np.arange(5))
    fine = Labels(np.array([11, 12]), np.zeros(2, np.int32), retired=np.array([0, 3]))
    check_answer(request, fine)
    for retired in ([7], [0, 0]):
        with pytest.raises(McalError, match="retires images"):
            check_answer(request, fine._replace(retired=np.array(retired)))


@pytest.mark.parametrize("by", ["margin", "entropy", "least_confidence"])
def test_what_would_have_been_chosen_is_on_the_chosen_side_of_the_last_of_the_batch(by):
    rng = np.random.default_rng(0)
    p = np.sort(rng.dirichlet(np.ones(3), 100), axis=1)
    scores = Scores(np.zeros(100, int), p[:, 2] - p[:, 1], -(p * np.log(p)).sum(1), p[:, 2])
    wanted = {"margin": -scores.margin, "entropy": scores.entropy, "least_confidence": -scores.confidence}[by]
    order = np.argsort(-wanted)
    batch, others = (Scores(*(column[at] for column in scores)) for at in (order[:30], order))
    indices = rng.permutation(200)
    assert (
        would_choose(by, batch, indices[:30], others, indices[100:]).tolist()
        == [True] * 29 + [bool(indices[129] < indices[29])] + [False] * 70
    )


@pytest.mark.parametrize("by", ["margin", "entropy", "least_confidence"])
def test_of_images_that_no_classifier_tells_apart_the_share_that_was_chosen_retires(by):
    """One score for all, as of a net that has not learned: the batch is the first tenth of the pool."""
    rng = np.random.default_rng(0)
    test = np.sort(rng.choice(1000, 200, replace=False))
    pool = np.setdiff1d(np.arange(1000), test)
    of_pool, of_test = (Scores(np.zeros(n, int), *np.full((3, n), 0.5)) for n in (80, 200))
    retired = would_choose(by, of_pool, pool[:80], of_test, test)
    assert 0 < retired.sum() < 40
    assert test[retired].max() < pool[79]


def test_a_score_is_not_asked_where_nothing_of_T_is_left():
    batch, nothing = (Scores(*[np.linspace(0.1, 0.9, n, dtype=np.float32)] * 4) for n in (3, 0))
    name = ACQUISITIONS.register("far", lambda scores: -scores.margin / scores.margin.max())
    assert would_choose(name, batch, np.arange(3), nothing, np.arange(0)).tolist() == []


def test_k_center_would_choose_no_copy_of_a_centre():
    same = np.ones((30, 3), np.float32)
    assert not kcenter.would_be_chosen(same, same[:4], same[:2]).any()


@pytest.mark.parametrize("labelled", [1, 20])
def test_k_center_would_choose_what_it_chooses_with_that_image_in_the_pool(labelled, monkeypatch):
    monkeypatch.setattr(kcenter, "OTHERS", 7)
    rng = np.random.default_rng(labelled)
    pool, others, centres = (rng.normal(size=(size, 3)).astype(np.float32) for size in (60, 40, labelled))
    chosen = np.sort(kcenter.k_center(pool, 15, centres))
    expected = [60 in kcenter.k_center(np.append(pool, [one], axis=0), 15, centres) for one in others]
    assert 3 < sum(expected) < 37
    assert kcenter.would_be_chosen(others, pool[chosen], centres).tolist() == expected
    assert kcenter.would_be_chosen(others[:0], pool[chosen], centres).tolist() == []


def test_a_log_of_before_keeps_its_T(tmp_path):
    old = job(PLAIN)
    log = RunLog.create(tmp_path / "run.jsonl", old, {})
    log.close()
    head = json.loads(log.path.read_text(encoding="utf-8"))
    del head["checksum"], head["job"]["config"]["age_test_set"]
    log.path.write_bytes(seal(head, "")[0])
    assert RunLog.read(log.path).job == old


def test_the_recommended_T_ages_and_the_paper_keeps_its_own():
    assert Config().age_test_set
    assert Config.certified().age_test_set
    assert not Config.paper().age_test_set
    assert not Config.authors_code().age_test_set


def test_the_share_of_broken_runs_that_summaries_state_was_measured():
    with (Path(__file__).parent.parent / "results/bench/world_runs.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["reading"] == "recommended"]
    assert len({row["family"] for row in rows}) == 3
    assert len(rows) == 3000
    broken = sum(float(row["error"]) >= float(row["epsilon"]) for row in rows)
    assert pytest.approx(broken / len(rows), abs=0.005) == BROKEN_IN_SIMULATIONS
