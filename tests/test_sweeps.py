"""Sweeps: grids expanded, runs made once, several at once, failures contained."""

import json

import numpy as np
import pytest

from mcal_jax.algorithm.config import Config
from mcal_jax.errors import McalError
from mcal_jax.runs import execution, settings, sweeps

SWEEP = """
title: tiny runs
run: {algorithm: trajectory, width: 4, max_train_fraction: 0.4}
grids:
  smoke:
    - {seed: [0, 1], data_set: tiny.npz, delta: [0.2, 0.4]}
    - {seed: 0, data_set: tiny.npz, delta: 0.2}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a tiny data set and one sweep of four runs over it."""
    for folder in ("experiments/profiles", "experiments/runs", "results"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "experiments/profiles/smoke.yaml").write_text("description: small\n")
    (tmp_path / "experiments/runs/few.yaml").write_text(SWEEP)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    images = rng.integers(0, 60, (300, 8, 8), dtype=np.uint8) + (labels * 120).astype(np.uint8)[:, None, None]
    np.savez(tmp_path / "tiny.npz", images=images, labels=labels)
    for module in (settings, sweeps):
        monkeypatch.setattr(module, "home", lambda: tmp_path)
    monkeypatch.setattr(execution, "results", lambda: tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_grid_is_every_combination_the_first_key_slowest_and_each_run_once(project):
    found = sweeps.planned("few", "smoke")
    assert [(one.run.seed, one.run.delta) for one in found] == [(0, 0.2), (0, 0.4), (1, 0.2), (1, 0.4)]
    assert {one.data_set for one in found} == {"tiny.npz"}


def test_planned_runs_are_chosen_by_their_settings(project):
    assert len(sweeps.planned("few", "smoke", delta=0.2)) == 2
    assert len(sweeps.planned("few", "smoke", delta=[0.2, 0.4], seed=1)) == 2
    assert len(sweeps.planned("few", "smoke", epsilon=0.05, label_price=0.04, architecture="resnet18")) == 4
    assert not sweeps.planned("few", "smoke", data_set="other")


def test_a_sweep_may_keep_the_defaults_of_version_0_1(project):
    """Where it sets nothing else, so that its recorded runs stay runs of the sweep."""
    path = project / "experiments/runs/few.yaml"
    today = Config(**sweeps.planned("few", "smoke")[0].run.config)
    path.write_text(SWEEP.replace("title: tiny runs", 'title: tiny runs\ndefaults: "0.1"'))
    first = sweeps.planned("few", "smoke")[0].run
    changed = {"age_test_set": False, "safety_z": 1.0, "min_points": 3, "stability": 0.05, "machine_epsilon": None}
    changed |= {"ranking": "margin"}
    assert Config(**first.config) == today.model_copy(update=changed)
    assert sweeps.description(first) == "tiny.npz trajectory resnet18 delta 0.2 seed 0"
    path.write_text(path.read_text().replace("width: 4,", "width: 4, safety_z: 2, config: {stability: 0.3},"))
    own = sweeps.planned("few", "smoke")[0].run.resolve(channels=1)
    assert (own.safety_z, own.stability, own.min_points) == (2, 0.3, 3)


@pytest.mark.parametrize(
    ("old", "new", "culprit"),
    [
        (
            "max_train_fraction: 0.4",
            "max_train_fractoin: 0.4",
            "few.yaml: max_train_fractoin: unknown key; did you mean 'max_train_fraction'",
        ),
        ("data_set: tiny.npz, delta: 0.2}", "delta: 0.2}", "few.yaml: grids.smoke: a grid needs its data_set"),
        ("  smoke:", "  laptop:", "sweep few has no runs for profile smoke, only for laptop"),
        ("title: tiny", "titel: tiny", "few.yaml: titel: unknown key"),
    ],
)
def test_mistakes_in_a_sweep_name_the_file_and_the_key(project, old, new, culprit):
    path = project / "experiments/runs/few.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(McalError, match=culprit):
        sweeps.planned("few", "smoke")


def test_stand_ins_take_the_place_of_a_data_set_in_sweeps_alone(project):
    profile = "description: small\nstand_ins: {cifar10: {width: 3, data: {name: tiny.npz}}}\n"
    (project / "experiments/profiles/smoke.yaml").write_text(profile)
    stand_in = settings.describe("cifar10", stand_in=True)
    assert (stand_in.data.name, stand_in.width) == ("tiny.npz", 3)
    assert settings.describe("cifar10").data.name == "cifar10"


def test_a_run_keeps_its_id_when_a_setting_is_written_out_or_not_given():
    plain = settings.describe("cifar10")
    assert settings.describe("cifar10", acquisition="margin", epsilon=0.05).id == plain.id
    assert (
        settings.Run(data=plain.data, recipe=plain.recipe, width=plain.width, max_train_fraction=None, compare=()).id
        == plain.id
    )
    assert settings.describe("cifar10", max_train_fraction=0.5).id != plain.id


@pytest.mark.slow
def test_runs_are_made_once_and_a_failing_one_does_not_stop_the_others(project):
    path = project / "experiments/runs/few.yaml"
    path.write_text(path.read_text() + "    - {seed: 0, data_set: absent.npz, delta: 0.2}\n")
    planned = [one.run for one in sweeps.planned("few", "smoke")]
    told = list(sweeps.make(planned, "smoke", jobs=2))
    assert [p.done for p in told] == [1, 2, 3, 4, 5]
    (failed,) = [p for p in told if p.error]
    assert "absent.npz" in failed.error
    assert all(sweeps.is_finished(run, "smoke") for run in planned[:4])
    before = {log: log.stat().st_mtime_ns for log in (project / "results").rglob("*.jsonl")}
    assert len(before) == 4
    assert len(list(sweeps.make(planned[:4], "smoke"))) == 0
    assert {log: log.stat().st_mtime_ns for log in (project / "results").rglob("*.jsonl")} == before
    made = json.loads(next(iter(before)).read_text().splitlines()[0])["made"]
    assert made["device"].startswith("cpu")


@pytest.mark.slow
def test_what_a_rerun_replaces_is_kept_and_stays_until_the_new_log_is_whole(project, monkeypatch):
    run = sweeps.planned("few", "smoke")[1].run
    path, new = execution.log_path(run, "smoke"), execution.log_path(run, "smoke").with_suffix(".jsonl.new")
    assert [p.error for p in sweeps.make([run], "smoke", jobs=1)] == [""]
    first = path.read_bytes()
    new.write_bytes(first[: len(first) // 2])  # of a rerun that was interrupted
    assert sweeps.is_finished(run, "smoke")
    for kept in ("old", "old1"):
        before = path.read_bytes()
        assert [p.error for p in sweeps.make([run], "smoke", jobs=1, again=True)] == [""]
        assert path.with_suffix(f".jsonl.{kept}").read_bytes() == before
        assert not new.exists()
        assert sweeps.is_finished(run, "smoke")
    assert path.with_suffix(".jsonl.old").read_bytes() == first


def test_a_rerun_that_fails_leaves_the_record_in_its_place(project):
    run = sweeps.planned("few", "smoke")[0].run
    path = execution.log_path(run, "smoke")
    path.parent.mkdir(parents=True)
    path.write_text("a record")
    (project / "tiny.npz").unlink()
    ((error,),) = [[p.error for p in sweeps.make([run], "smoke", jobs=1, again=True)]]
    assert "tiny.npz" in error
    assert path.read_text() == "a record"


def test_a_damaged_log_is_told_and_the_other_runs_go_on(project):
    damaged = sweeps.planned("few", "smoke")[0].run
    other = settings.Run(data={"name": "absent.npz"})
    path = execution.log_path(damaged, "smoke")
    path.parent.mkdir(parents=True)
    path.write_text("no log\n", encoding="utf-8")
    told = list(sweeps.make([damaged, other], "smoke", jobs=1))
    assert [(p.run, p.done, p.of) for p in told] == [(damaged, 1, 2), (other, 2, 2)]
    assert "not a run log" in told[0].error
    assert "absent.npz" in told[1].error
    assert path.read_text(encoding="utf-8") == "no log\n"
