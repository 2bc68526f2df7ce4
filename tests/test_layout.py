"""The rooms of the package: import-linter holds the arrows (pyproject.toml); here, what it can't see."""

import subprocess
import sys
from pathlib import Path

import pytest

import mcal_jax

PACKAGE = Path(mcal_jax.__file__).parent
WITHOUT_JAX = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in [
        *PACKAGE.glob("*.py"),
        *PACKAGE.glob("algorithm/*.py"),
        *PACKAGE.glob("runs/*.py"),
        *PACKAGE.glob("annotators/*.py"),
        PACKAGE / "worlds" / "simulated.py",
    ]
    if path.name not in ("__init__.py", "cli.py")
)
"""Modules that load where JAX and what goes with it can't be imported."""
JAX_SIDE = ("jax", "jaxlib", "flax", "optax", "tensorflow", "tensorflow_datasets", "matplotlib")


@pytest.fixture(scope="module")
def without_jax():
    """What becomes of every one of WITHOUT_JAX, imported on its own where JAX is not to be had."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys({JAX_SIDE!r}))
import importlib
for name in {WITHOUT_JAX!r}:
    for loaded in [m for m in sys.modules if m.partition(".")[0] == "mcal_jax"]:
        del sys.modules[loaded]
    try:
        importlib.import_module("mcal_jax." + name)
        print(name, "loads")
    except Exception as error:
        print(name, repr(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_algorithm_and_the_runs_load_without_jax(without_jax):
    assert len(WITHOUT_JAX) > 25
    assert without_jax == [f"{name} loads" for name in WITHOUT_JAX]


def test_a_run_is_planned_and_replayed_without_jax(tmp_path):
    code = f"""
import sys
sys.modules.update(dict.fromkeys({JAX_SIDE!r}))
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.runs.driver import drive, replay
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld
job = Job(n=300, architectures=("a", "b"), config=Config(theta_step=0.5))
log = RunLog.create({str(tmp_path / "run.jsonl")!r}, job, {{}})
live = drive(job, SimulatedWorld(300, {{"a": Analytic(), "b": Analytic()}}), log)
log.close()
print(live.outcome.ledger.total == replay(log.path).outcome.ledger.total > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
