"""Trajectories and MCAL runs read from their logs, and priced: against the algorithm itself, and by hand."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING, simulate, trajectory
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import MEASURES
from mcal_jax.errors import McalError
from mcal_jax.paper import records
from mcal_jax.runs import execution, settings, sweeps
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run, describe
from mcal_jax.runs.sweeps import Planned
from mcal_jax.worlds.simulated import SimulatedWorld


@pytest.mark.parametrize("price", [0.04, 0.003])
@pytest.mark.parametrize("epsilon", [0.05, 0.15, 0.3])
def test_a_trajectory_priced_is_naive_active_learning_to_the_cent(price, epsilon):
    """One trajectory, made without a price, gives the bill of a live run at every price and bound."""
    one = trajectory(EASY, delta=0.1, max_train_fraction=0.9, config=Config(epsilon=1e-6, interpolate_theta=True))
    bill = records.priced(one, label_price=price, epsilon=epsilon)
    live = simulate(Config(label_price=price, epsilon=epsilon), EASY, algorithm="naive_al", delta=0.1).outcome
    assert bill.dollars == pytest.approx(live.ledger.total)
    assert bill.training == pytest.approx(live.ledger.training)
    assert (len(live.B), len(live.S)) == (bill.B, bill.S)
    assert bill.savings == pytest.approx(live.ledger.savings)


def test_the_true_error_of_a_bill_is_what_the_world_knows():
    one = trajectory(EASY, max_train_fraction=0.9, config=Config(epsilon=1e-6))
    bill = records.priced(one, epsilon=0.1)
    assert bill.met
    assert bill.true_error == pytest.approx(float(EASY.wrong_share(np.array(1.0), bill.B)) * bill.S / one.n, rel=0.02)


@given(label_price=st.floats(1e-4, 1), epsilon=st.floats(0.01, 0.5), seed=st.integers(0, 20))
@hypothesis_settings(max_examples=40)
def test_hindsight_never_costs_more_than_people_and_never_more_than_the_rule(label_price, epsilon, seed):
    one = trajectory(MIDDLING, seed=seed, max_train_fraction=0.6, config=Config(epsilon=1e-6))
    changes = {"label_price": label_price, "epsilon": epsilon}
    rule, best = records.priced(one, **changes), records.priced(one, best_stop=True, **changes)
    assert best.dollars <= rule.dollars + 1e-9
    assert one.n - best.B - one.fits[0].n_test >= best.S


def test_a_trajectory_that_never_may_label_all_the_rest_labels_what_it_may_at_its_end():
    one = trajectory(MIDDLING, max_train_fraction=0.3)
    bill = records.priced(one)
    assert not bill.met
    assert one.sizes[-1] == bill.B
    hopeless = records.priced(trajectory(HOPELESS, max_train_fraction=0.3), epsilon=1e-4)
    assert 0.02 * one.n > hopeless.S
    assert hopeless.savings < 0  # people label nearly all, and the training is paid too


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """A trajectory and an MCAL run as logs of a project, and what plans them."""
    for module in (execution,):
        monkeypatch.setattr(module, "results", lambda: tmp_path)
    made = []
    for name, run, config in (
        ("trajectories", describe("cifar10", algorithm="trajectory", delta=0.1, max_train_fraction=0.3), Config()),
        ("mcal", describe("cifar10", epsilon=0.1), Config(epsilon=0.1)),
    ):
        job = Job(
            algorithm=run.algorithm, n=3000, config=config, delta=run.delta, max_train_fraction=run.max_train_fraction
        )
        log = RunLog.create(execution.log_path(run, "smoke"), job, run.model_dump(mode="json"))
        made.append((name, run, drive(job, SimulatedWorld(3000, MIDDLING), log)))
        log.close()
    plans = {name: [Planned("cifar10", run)] for name, run, _ in made}
    monkeypatch.setattr(records, "planned", lambda sweep, profile, **wanted: plans[sweep])
    return {name: (run, finished) for name, run, finished in made}


def test_logs_come_back_as_records(logged):
    (one,) = records.trajectories("smoke")
    assert list(one.sizes) == [300, 600, 900]
    assert [m.n for m in one.measured] == [3000 - 150 - size for size in (300, 600, 900)]
    assert all(len(m.errors["margin"]) == MEASURES + 1 for m in one.measured)
    (mcal,) = records.labellings("smoke")
    outcome = logged["mcal"][1].outcome
    assert (mcal.B, mcal.S, mcal.stop) == (len(outcome.B), len(outcome.S), outcome.stop)
    assert mcal.ledger == outcome.ledger
    assert mcal.true_error == logged["mcal"][1].true_error
    assert [fit.size for fit in mcal.fits] == [fit.size for fit in outcome.history]


def test_where_no_run_is_finished_the_command_that_makes_them_is_told(logged):
    path = execution.log_path(logged["mcal"][0], "smoke")
    unfinish(path)
    told = "none of the 1 runs is finished, 1 begun; make them with: mcal sweep mcal --profile smoke"
    with pytest.raises(records.NoRuns, match=f"^{told}$"):
        records.labellings("smoke")
    path.unlink()
    with pytest.raises(records.NoRuns, match=r"^none of the 1 runs is finished; make them with: mcal sweep mcal"):
        records.labellings("smoke")
    (one,) = records.labellings("smoke", optional=True).wanted
    assert one.state == "missing"
    curves = records.trajectories("smoke")
    assert records.together(records.labellings("smoke", optional=True), curves) == curves
    nothing = records.labellings("smoke", optional=True)
    with pytest.raises(records.NoRuns, match="none of the 2 runs is finished"):
        records.together(nothing, nothing)


def unfinish(path):
    """Take the end of a log away."""
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.fixture
def incomplete(tmp_path, monkeypatch):
    """A sweep of two data sets and three seeds: of CIFAR-10 one run is finished and one begun, of CIFAR-100 none."""
    monkeypatch.setattr(execution, "results", lambda: tmp_path)
    plan = [Planned(name, describe(name, seed=seed)) for name in ("cifar10", "cifar100") for seed in (0, 1, 2)]
    for one in plan[:2]:
        log = RunLog.create(execution.log_path(one.run, "smoke"), Job(n=2000), one.run.model_dump(mode="json"))
        drive(log.job, SimulatedWorld(2000, EASY, seed=one.run.seed), log)
        log.close()
    unfinish(execution.log_path(plan[1].run, "smoke"))
    monkeypatch.setattr(records, "planned", lambda sweep, profile, **wanted: plan)
    return plan


def test_of_an_incomplete_sweep_the_finished_runs_are_read_and_the_others_counted(incomplete):
    found = records.labellings("smoke")
    assert [(one.data_set, one.run.seed) for one in found] == [("cifar10", 0)]
    assert [one.state for one in found.wanted] == ["finished", "begun", *["missing"] * 4]
    assert found.missing == 5
    assert records.coverage(found) == "1 of 6 runs"
    assert records.scale(found, "smoke").startswith("profile smoke, seed 0, 1 of 6 runs; CIFAR-10: ")
    assert records.short_scale(found, "smoke").endswith(", seed 0\n1 of 6 runs")
    groups = records.grouped(found, "data_set")
    assert {name: records.seeds(group) for name, group in groups.items()} == {"cifar10": "1 of 3"}
    absent = records.not_run(found, "data_set")
    assert {name: (list(group), records.seeds(group)) for name, group in absent.items()} == {"cifar100": ([], "0 of 3")}
    assert set(records.grouped(found, "data_set", "seed", lambda one: one.config.epsilon)) == {("cifar10", 0, 0.05)}


def test_runs_of_several_sweeps_are_counted_by_sweep(incomplete):
    curves = records.trajectories("smoke", optional=True)
    both = records.together(records.labellings("smoke"), curves)
    assert records.coverage(both) == "runs: MCAL 1 of 6, active learning 1 of 6"
    complete = records.Records(both, [one for one in both.wanted if one.state == "finished"])
    assert records.coverage(complete) == ""
    assert records.scale(complete, "smoke") == records.scale(list(both), "smoke")


def test_a_log_that_is_damaged_or_of_another_run_is_refused_by_its_name(incomplete):
    path, other = (execution.log_path(one.run, "smoke") for one in (incomplete[0], incomplete[5]))
    whole = path.read_bytes()
    other.write_bytes(whole)
    with pytest.raises(McalError, match=rf"{other.name}: it is the log of run {incomplete[0].run.id}$"):
        records.labellings("smoke")
    other.unlink()
    path.write_bytes(whole.replace(b'"model": 1', b'"model": 7', 1))
    with pytest.raises(McalError, match=rf"{path.name}: not a run log, or damaged") as told:
        records.labellings("smoke")
    assert "\n" not in str(told.value)


@pytest.fixture
def with_end(incomplete, monkeypatch):
    """Reads the finished run with a changed end, as another version of the package may have written it."""
    path = execution.log_path(incomplete[0].run, "smoke")
    read = RunLog.read

    def labelling(change):
        log = read(path)
        change(log.end)
        monkeypatch.setattr(RunLog, "read", lambda asked: log if asked == path else read(asked))
        return records.labellings("smoke")[0]

    return labelling


def test_an_end_without_what_later_versions_write_is_read(with_end):
    def older(end):
        for key in ("true_error", "race", "labels", "savings"):
            del end[key]
        del end["dollars"]["total"]

    one = with_end(older)
    assert (one.true_error, one.bound, one.other) == (None, None, 0.0)
    assert one.cost == one.ledger.total


def test_an_end_with_more_than_this_version_knows_is_read_and_its_total_holds(with_end):
    def newer(end):
        end["weather"] = {"sun": 1}
        end["certificate"] = {"bound": 0.04, "seal": "wax"}
        end["dollars"] |= {"storage": 12.5, "total": end["dollars"]["total"] + 12.5}

    one = with_end(newer)
    assert one.bound == 0.04
    assert one.cost == pytest.approx(one.ledger.total + 12.5)
    assert one.savings == pytest.approx(1 - one.cost / one.ledger.humans_only)


def test_a_total_that_was_summed_in_another_order_is_the_same(with_end):
    one = with_end(lambda end: end["dollars"].update(total=end["dollars"]["total"] + 1e-12))
    assert one.cost == one.ledger.total


@pytest.mark.parametrize("missing", ["S", "dollars", "stop"])
def test_an_end_without_what_a_record_needs_is_refused_in_a_line(with_end, missing):
    with pytest.raises(McalError, match=rf"not the log of a finished mcal run \(KeyError\('{missing}'\)\)$"):
        with_end(lambda end: end.pop(missing))


# ---------------------------------------------------------------------------------------------------------
# The committed logs

READ = """
import json, sys
sys.modules["jax"] = None  # importing it now fails
from mcal_jax.paper import records
from mcal_jax.runs import driver
driver.replay = driver.drive = None
from mcal_jax.runs.sweeps import sweeps
for profile in ("laptop", "paper"):
    for sweep in sweeps():
        read = records.trajectories if sweep in ("trajectories", "rankings") else records.labellings
        found = read(profile, sweep, optional=True)
        print(json.dumps([profile, sweep, len(found), len(found.wanted)]))
assert not any(name.startswith("jax.") for name in sys.modules)
"""


def test_committed_logs_are_records_without_jax_and_without_replay():
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = {(profile, sweep): counts for profile, sweep, *counts in map(json.loads, done.stdout.splitlines())}
    assert len(counts) == 14
    laptop = [found == wanted for (profile, _), (found, wanted) in counts.items() if profile == "laptop"]
    assert laptop == [True] * 7
    for sweep, least in {"mcal": 7, "acquisition": 8, "certified": 2}.items():
        assert counts["paper", sweep][0] >= least


PAPER_SCALE = {
    ("fashion_mnist", 0.04, 0.05): 0.825, ("fashion_mnist", 0.003, 0.05): 0.807, ("cifar10", 0.04, 0.05): 0.607,
    ("cifar10", 0.003, 0.05): 0.472, ("cifar100", 0.04, 0.05): 0.257, ("cifar100", 0.003, 0.05): 0.062,
    ("fashion_mnist", 0.04, 0.1): 0.911,
}  # fmt: skip
FINISHED = [
    "cifar10-5c77c3f690f3", "cifar10-865009423de8", "cifar10-f140ef3fb563", "cifar10-f6bdfd330504",
    "cifar100-033c78a6654d", "cifar100-0d7809ed9688",
    "fashion_mnist-0add13731758", "fashion_mnist-d4c265e37e52", "fashion_mnist-d532c4764047",
]  # fmt: skip


def test_the_runs_at_the_papers_scale_say_what_they_said():
    found = records.labellings("paper", seed=0)
    savings = {(one.data_set, one.config.label_price, one.config.epsilon): one.savings for one in found}
    assert {key: round(savings[key], 3) for key in PAPER_SCALE} == PAPER_SCALE
    acquisition = records.labellings("paper", "acquisition", seed=0, data_set="cifar10", label_price=0.04)
    by = {one.config.acquisition: round(one.savings, 3) for one in acquisition}
    assert {name: by[name] for name in ("margin", "random", "kcenter")} == {
        "margin": 0.607, "random": 0.6, "kcenter": 0.596,
    }  # fmt: skip
    wanted = {one.run.id for sweep in ("mcal", "acquisition") for one in records.labellings("paper", sweep).wanted}
    assert {name.split("-")[1] for name in FINISHED} <= wanted


def test_the_logs_at_the_papers_scale_are_never_rewritten():
    """They took hours of a GPU: a change of the format has to read them as they are."""
    folder = settings.home() / "results/runs/paper"
    content = b"".join((folder / f"{name}.jsonl").read_bytes() for name in FINISHED)
    assert hashlib.sha256(content).hexdigest() == "6e8b58669dfde1067b47d75c635d2ad22b4153bab8cbd24a90c6e7dfa9a9a372"


def test_scale_says_profile_seeds_images_width_and_recipe():
    several = [trajectory(seed=seed) for seed in (0, 1, 2)]
    text = records.scale(several, "laptop")
    for word in ("profile laptop", "seeds 0 to 2", "CIFAR-10", "28x28", "width 64", "recipe fast"):
        assert word in text


def test_scale_tells_how_many_seeds_where_they_differ():
    curves = [trajectory(seed=seed) for seed in (0, 1, 2)] + [trajectory(seed=0, net="cnn18")]
    assert "1 to 3 seeds" in records.scale(curves, "laptop")
    assert "1 to 3 seeds" in records.short_scale(curves, "laptop")
    other = [trajectory(seed=0), trajectory(seed=1, data_set="cifar100")]
    assert "1 seeds each" not in records.scale(other[:1], "laptop")
    assert "1 seed each" in records.scale(other, "laptop")


def test_grouping_reaches_into_the_run():
    several = [trajectory(seed=seed, delta=delta) for seed in (0, 1) for delta in (0.1, 0.2)]
    groups = records.grouped(several, "delta", "seed")
    assert set(groups) == {(0.1, 0), (0.2, 0), (0.1, 1), (0.2, 1)}
    assert all(
        isinstance(one.run, Run) and sweeps.Planned("cifar10", one.run).matches(delta=one.delta) for one in several
    )


def test_the_mean_of_equal_values_is_that_value():
    assert sum([0.1] * 3) / 3 > 0.1
    assert records.spread([0.1] * 3)[:3] == (0.1, 0.1, 0.1)
