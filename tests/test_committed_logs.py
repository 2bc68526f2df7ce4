"""The logs in results/runs/ are records: every reader takes them at their word, under every Python, without JAX.

An eighth of them is read each time, the others by `make test-slow`: the laws of a log take a second to fit.
"""

import json
import subprocess
import sys

import pytest

from mcal_jax.runs.runlog import RULES, RunLog
from mcal_jax.runs.settings import home

PARTS = [pytest.param(part, marks=[pytest.mark.slow] * (part > 0)) for part in range(8)]
LOGS = sorted(p for p in (home() / "results" / "runs").glob("*/*.jsonl") if p.parent.name != "smoke")
LOGS += sorted((home() / "results" / "bench").glob("*.jsonl"))

READ = """
import contextlib, json, sys, tempfile
from pathlib import Path
sys.modules["jax"] = None  # importing it now fails
from mcal_jax.runs import labels, report
from mcal_jax.runs.codec import differences
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.runlog import RULES
from mcal_jax.runs.driver import end_json
from mcal_jax.errors import McalError
from mcal_jax.worlds.simulated import Recorded
for log in sys.argv[1:]:
    told = ""
    try:
        run = RecordedRun(log)
        assert report.plan_report(run).count("\\n") > 3
        if run.is_finished:
            # Where the rules are today's, the laws are fitted and the plans checked below.
            delivery = run.delivery_without_plans if run.log.rules == RULES else run.delivery
            if found := differences(run.end, end_json(delivery)):
                told = "the outcome read is not the one recorded: " + ", ".join(found)
            assert "savings" in report.summary(delivery, run.job.config)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "labels.csv")
                labels.write_labels(delivery, [str(k) for k in range(1000)], path)
                assert path.read_text(encoding="utf-8").count("\\n") == run.job.n + 1
            Recorded(tuple(run.fits[run.end['architecture']]))
    except McalError as error:
        told = str(error)
    print(json.dumps([log, run.is_finished, told]))
assert not any(name.startswith("jax.") for name in sys.modules)
"""

CHECK = """
import json, sys
sys.modules["jax"] = None
from mcal_jax.runs.driver import replay
from mcal_jax.errors import McalError
for log in sys.argv[1:]:
    try:
        replay(log)
        print(json.dumps([log, ""]))
    except McalError as error:
        print(json.dumps([log, str(error)]))
"""


def in_a_process(code: str, logs: list) -> list:
    done = subprocess.run([sys.executable, "-c", code, *map(str, logs)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("part", PARTS)
def test_every_committed_log_is_read_by_every_reader(part):
    """Reports, labels, outcome, learning curve; figures and tables read them in test_records and make reproduce."""
    logs = LOGS[part::8]
    assert len(logs) > 20
    found = in_a_process(READ, logs)
    assert [log for log, _, _ in found] == [str(log) for log in logs]
    assert [told for _, _, told in found if told] == []
    assert sum(finished for _, finished, _ in found) > 20


@pytest.mark.parametrize("part", PARTS)
def test_todays_rules_decide_as_the_logs_of_these_rules(part):
    """A change that fails here raises RULES; the logs stay as they are."""
    logs = [log for log in LOGS[part::8] if RunLog.read(log).rules == RULES]
    assert len(logs) > 20
    assert [told for _, told in in_a_process(CHECK, logs) if told] == []
