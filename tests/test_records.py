"""Trajectories and MCAL runs read from their logs, and billed: against the algorithm itself, and by hand."""

import hashlib
import json
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from conftest import EASY, HOPELESS, MIDDLING, simulate, trajectory
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import MEASURES
from mcal_jax.errors import McalError
from mcal_jax.paper import bills, frames, records, scale
from mcal_jax.runs import execution, settings, sweeps
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run, describe
from mcal_jax.runs.sweeps import Planned
from mcal_jax.worlds.simulated import SimulatedWorld


@pytest.mark.parametrize("price", [0.04, 0.003])
@pytest.mark.parametrize("epsilon", [0.05, 0.15, 0.3])
def test_the_bill_of_a_trajectory_is_that_of_naive_active_learning_to_the_cent(price, epsilon):
    """One trajectory, made without a price, gives the bill of a live run at every price and bound."""
    one = trajectory(EASY, delta=0.1, max_train_fraction=0.9, config=Config(epsilon=1e-6, interpolate_theta=True))
    bill = bills.bill(one, label_price=price, epsilon=epsilon)
    live = simulate(Config(label_price=price, epsilon=epsilon), EASY, algorithm="naive_al", delta=0.1).outcome
    assert bill.cost == pytest.approx(live.ledger.total)
    assert bill.training == pytest.approx(live.ledger.training)
    assert (len(live.B), len(live.S)) == (bill.B, bill.S)
    assert bill.savings == pytest.approx(live.ledger.savings)


def test_the_true_error_of_a_bill_is_what_the_world_knows():
    one = trajectory(EASY, max_train_fraction=0.9, config=Config(epsilon=1e-6))
    bill = bills.bill(one, epsilon=0.1)
    assert bill.met
    assert bill.true_error == pytest.approx(float(EASY.wrong_share(np.array(1.0), bill.B)) * bill.S / one.n, rel=0.02)


@given(label_price=st.floats(1e-4, 1), epsilon=st.floats(0.01, 0.5), seed=st.integers(0, 20))
@hypothesis_settings(max_examples=40)
def test_hindsight_never_costs_more_than_the_rule(label_price, epsilon, seed):
    one = trajectory(MIDDLING, seed=seed, max_train_fraction=0.6, config=Config(epsilon=1e-6))
    changes = {"label_price": label_price, "epsilon": epsilon}
    rule, best = bills.bill(one, **changes), bills.bill(one, best_stop=True, **changes)
    assert best.cost <= rule.cost + 1e-9
    assert one.n - best.B - one.fits[0].n_test >= best.S


def test_a_trajectory_that_never_may_label_all_the_rest_labels_what_it_may_at_its_end():
    one = trajectory(MIDDLING, max_train_fraction=0.3)
    bill = bills.bill(one)
    assert not bill.met
    assert one.sizes[-1] == bill.B
    hopeless = bills.bill(trajectory(HOPELESS, max_train_fraction=0.3), epsilon=1e-4)
    assert 0.02 * one.n > hopeless.S
    assert hopeless.savings < 0  # humans label nearly all, and the training is paid too


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
    (one,) = records.trajectories("smoke")["record"]
    assert list(one.sizes) == [300, 600, 900]
    assert [m.n for m in one.measured] == [3000 - 150 - size for size in (300, 600, 900)]
    assert all(len(m.errors["margin"]) == MEASURES + 1 for m in one.measured)
    runs = records.labellings("smoke")
    (mcal,) = runs["record"]
    outcome = logged["mcal"][1].outcome
    assert (mcal.B, mcal.S, mcal.stop) == (len(outcome.B), len(outcome.S), outcome.stop)
    assert mcal.ledger == outcome.ledger
    assert mcal.true_error == logged["mcal"][1].true_error
    assert [fit.size for fit in mcal.fits] == [fit.size for fit in outcome.history]
    (row,) = runs.to_dict("records")
    assert (row["state"], row["data_set"], row["epsilon"], row["n"]) == ("finished", "cifar10", 0.1, 3000)
    assert (row["dollars"], row["savings"]) == pytest.approx((outcome.ledger.total, outcome.ledger.savings))
    assert (row["trained_on"], row["machine"]) == pytest.approx((mcal.B / 3000, mcal.S / 3000))


def test_where_no_run_is_finished_the_message_states_the_command_that_makes_them(logged):
    path = execution.log_path(logged["mcal"][0], "smoke")
    unfinish(path)
    message = "none of the 1 runs is finished, 1 begun; make them with: mcal sweep mcal --profile smoke"
    with pytest.raises(records.NoRuns, match=f"^{message}$"):
        records.labellings("smoke")
    path.unlink()
    with pytest.raises(records.NoRuns, match=r"^none of the 1 runs is finished; make them with: mcal sweep mcal"):
        records.labellings("smoke")
    (state,) = records.labellings("smoke", optional=True)["state"]
    assert state == "missing"
    curves = records.trajectories("smoke")
    both = records.together(records.labellings("smoke", optional=True), curves)
    assert list(records.finished(both)["record"]) == list(curves["record"])
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
    runs = records.labellings("smoke")
    assert [(one.data_set, one.run.seed) for one in records.finished(runs)["record"]] == [("cifar10", 0)]
    assert list(runs["state"]) == ["finished", "begun", *["missing"] * 4]
    assert list(runs["record"].isna()) == [False, *[True] * 5]
    assert scale.coverage(runs) == "1 of 6 runs"
    assert scale.scale(runs, "smoke").startswith("profile smoke, seed 0, 1 of 6 runs; CIFAR-10 images 32x32, ")
    assert scale.short_scale(runs, "smoke").endswith(", seed 0\n1 of 6 runs")
    seeds = frames.seed_counts(runs, ["data_set", "epsilon"])
    assert seeds.to_dict() == {("cifar10", 0.05): "1 of 3", ("cifar100", 0.05): "0 of 3"}


def test_runs_of_several_sweeps_are_counted_by_sweep(incomplete):
    curves = records.trajectories("smoke", optional=True)
    both = records.together(records.labellings("smoke").assign(sweep="mcal"), curves.assign(sweep="trajectories"))
    assert scale.coverage(both) == "runs: MCAL 1 of 6, active learning 1 of 6"
    complete = records.finished(both)
    assert scale.coverage(complete) == ""
    assert scale.scale(both, "smoke", complete) == scale.scale(complete, "smoke")
    assert "1 of 6 runs" in scale.scale(complete, "smoke", curves)


def test_a_log_that_is_damaged_or_of_another_run_is_refused_by_its_name(incomplete):
    path, other = (execution.log_path(one.run, "smoke") for one in (incomplete[0], incomplete[5]))
    whole = path.read_bytes()
    other.write_bytes(whole)
    with pytest.raises(McalError, match=rf"{other.name}: it is the log of run {incomplete[0].run.id}$"):
        records.labellings("smoke")
    other.unlink()
    path.write_bytes(whole.replace(b'"model": 1', b'"model": 7', 1))
    with pytest.raises(McalError, match=rf"{path.name}: not a run log, or damaged") as error:
        records.labellings("smoke")
    assert "\n" not in str(error.value)


@pytest.fixture
def with_end(incomplete, monkeypatch):
    """Reads the finished run with a changed end, as another version of the package may have written it."""
    path = execution.log_path(incomplete[0].run, "smoke")
    read = RunLog.read

    def labelling(change):
        log = read(path)
        change(log.end)
        monkeypatch.setattr(RunLog, "read", lambda asked: log if asked == path else read(asked))
        return records.labellings("smoke")["record"].iloc[0]

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
    for sweep in sweeps(profile):
        read = records.trajectories if sweep in ("trajectories", "rankings") else records.labellings
        runs = read(profile, sweep, optional=True)
        print(json.dumps([profile, sweep, len(records.finished(runs)), len(runs)]))
assert not any(name.startswith("jax.") for name in sys.modules)
"""


def test_committed_logs_are_records_without_jax_and_without_replay():
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = {(profile, sweep): counts for profile, sweep, *counts in map(json.loads, done.stdout.splitlines())}
    assert len(counts) == len(sweeps.sweeps("laptop")) + len(sweeps.sweeps("paper"))
    unfinished = [
        sweep for (profile, sweep), (done, planned) in counts.items() if profile == "laptop" and done < planned
    ]
    assert unfinished == []
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


def test_the_runs_at_the_papers_scale_keep_their_results():
    runs = records.finished(records.labellings("paper", seed=0))["record"]
    savings = {(one.data_set, one.config.label_price, one.config.epsilon): one.savings for one in runs}
    assert {key: round(savings[key], 3) for key in PAPER_SCALE} == PAPER_SCALE
    acquisition = records.labellings("paper", "acquisition", seed=0, data_set="cifar10", label_price=0.04)
    by = records.finished(acquisition).set_index("acquisition")["savings"].round(3)
    assert {name: by[name] for name in ("margin", "random", "kcenter")} == {
        "margin": 0.607, "random": 0.6, "kcenter": 0.596,
    }  # fmt: skip
    planned = {run.id for sweep in ("mcal", "acquisition") for run in records.labellings("paper", sweep)["run"]}
    assert {name.split("-")[1] for name in FINISHED} <= planned


def test_the_logs_at_the_papers_scale_are_never_rewritten():
    """They took hours of a GPU: a change of the format has to read them as they are."""
    folder = settings.home() / "results/runs/paper"
    content = b"".join((folder / f"{name}.jsonl").read_bytes() for name in FINISHED)
    assert hashlib.sha256(content).hexdigest() == "6e8b58669dfde1067b47d75c635d2ad22b4153bab8cbd24a90c6e7dfa9a9a372"


def test_scale_states_profile_seeds_images_width_and_recipe():
    several = [trajectory(seed=seed) for seed in (0, 1, 2)]
    text = scale.scale(records.frame(several), "laptop")
    for word in ("profile laptop", "seeds 0 to 2", "CIFAR-10", "28x28", "width 64", "recipe fast"):
        assert word in text


def test_scale_states_how_many_seeds_where_they_differ():
    curves = [trajectory(seed=seed) for seed in (0, 1, 2)] + [trajectory(seed=0, net="cnn18")]
    assert "1 to 3 seeds" in scale.scale(records.frame(curves), "laptop")
    assert "1 to 3 seeds" in scale.short_scale(records.frame(curves), "laptop")
    other = [trajectory(seed=0), trajectory(seed=1, data_set="cifar100")]
    assert "1 seeds each" not in scale.scale(records.frame(other[:1]), "laptop")
    assert "1 seed each" in scale.scale(records.frame(other), "laptop")


def test_a_frame_has_the_settings_of_each_run():
    several = [trajectory(seed=seed, delta=delta) for seed in (0, 1) for delta in (0.1, 0.2)]
    runs = records.frame(several, sweep="trajectories", profile="smoke")
    assert list(zip(runs["delta"], runs["seed"], strict=True)) == [(0.1, 0), (0.2, 0), (0.1, 1), (0.2, 1)]
    assert all(own is one for own, one in zip(runs["record"], several, strict=True))
    for row in runs.to_dict("records"):
        assert isinstance(row["run"], Run)
        assert sweeps.Planned("cifar10", row["run"]).matches(delta=row["delta"], seed=row["seed"])


def test_the_mean_of_equal_values_is_that_value():
    assert sum([0.1] * 3) / 3 > 0.1
    rows = pd.DataFrame({"net": "a", "cost": [0.1] * 3})
    assert frames.over_seeds(rows, ["net"], ["cost"]).loc["a"].tolist() == [0.1, 0.1, 0.1]


def test_ours_stand_beside_the_papers_numbers_where_it_prints_them():
    class Printed(NamedTuple):
        cost: float | None
        savings: float | None

    ours = frames.over_seeds(
        pd.DataFrame({"net": ["a", "a", "b"], "cost": [1.0, 3.0, 5.0], "savings": 0.5}), ["net"], ["cost", "savings"]
    )
    rows = frames.beside(ours, ["cost", "savings"], {"a": Printed(1.5, None)})
    assert rows.loc["a", "difference_cost"] == 0.5
    assert rows.loc["b", ["paper_cost", "difference_cost"]].isna().all()
    assert "difference_savings" not in rows


def test_the_command_line_answers_without_pandas():
    code = "import sys, mcal_jax.cli; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
