"""A few cases of bench/fuzz.py in every test run, and that it would notice."""

import random
import re
import subprocess
import sys

import pytest

from mcal_jax.algorithm.config import Config
from mcal_jax.runs.settings import home

sys.path.insert(0, str(home() / "bench"))
import fuzz


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    shared = tmp_path_factory.mktemp("fuzz")
    fuzz.logs(shared)
    (shared / "own").mkdir()
    return shared / "own"


def test_random_configurations_are_refused_in_a_line_or_keep_the_invariants(folder):
    ends = [fuzz.one_config(f"test {number}", folder) for number in range(25)]
    assert all(end.startswith(fuzz.GOOD) for end in ends), ends
    assert {end.split(",")[0] for end in ends} >= {"refused", "ran"}


def test_damaged_logs_are_refused_or_give_what_was_written(folder):
    ends = [fuzz.one_log(f"test {number}", folder) for number in range(80)]
    assert set(ends) <= {"refused", "the whole", "its beginning"}, ends
    assert ends.count("refused") > 40


def test_the_command_counts_and_a_killed_run_goes_on_to_the_same_end():
    command = [sys.executable, fuzz.__file__, "--configs", "2", "--logs", "5", "--kills", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^\d+ \w+", done.stdout, re.MULTILINE) == ["2 configs", "5 logs", "2 kills"]
    assert "2 kills: 2 the same end" in done.stdout


def test_each_broken_invariant_is_noticed(folder):
    job = fuzz.Job(n=600, config=Config(theta_step=0.25))
    path = folder / "sound.jsonl"
    log = fuzz.RunLog.create(path, job, {})
    sound = fuzz.drive(job, fuzz.world_of(job, 5), log)
    log.close()
    assert fuzz.broken(job, sound, log.end, path) == ""
    outcome = sound.outcome
    twice = outcome._replace(B=outcome.T)
    assert "partition" in fuzz.broken(job, sound._replace(outcome=twice), log.end, path)
    bill = outcome.ledger._replace(train=outcome.ledger.train + 0.04)
    assert "ledger" in fuzz.broken(job, sound._replace(outcome=outcome._replace(ledger=bill)), log.end, path)
    assert "machine" in fuzz.broken(job, sound._replace(by_machine=~sound.by_machine), log.end, path)
    assert "another end" in fuzz.broken(job, sound, {**log.end, "labels": ""}, path)


def test_damage_is_a_function_of_its_seed():
    content = b'{"a": 1}\n{"b": 2}\n' * 50
    assert fuzz.damage(content, random.Random(3)) == fuzz.damage(content, random.Random(3))
    assert sum(fuzz.damage(content, random.Random(seed)) != content for seed in range(50)) > 40
