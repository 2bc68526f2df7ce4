"""What may import what: one direction, and no JAX where decisions are made."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mcal_jax

PACKAGE = Path(mcal_jax.__file__).parent
DECISION_SIDE = (
    "types", "powerlaw", "costs", "certify", "planner", "acquisition", "loop", "baselines", "race", "codec", "files",
    "runlog", "recorded", "worlds.simulated",
)  # fmt: skip
JAX_SIDE = ("jax", "jaxlib", "flax", "optax", "tensorflow", "tensorflow_datasets", "matplotlib")
LAYERS = (
    ("types",),
    ("codec", "files"),
    ("dataset",),
    ("tfds",),
    ("data",),
    ("annotators.ground_truth", "annotators.noisy"),
    ("powerlaw", "costs", "acquisition", "certify"),
    ("planner",),
    ("loop", "baselines", "race"),
    ("runlog", "recorded", "worlds.simulated", "worlds.trained"),
    ("report",),
    ("runs",),
    ("sweeps",),
    ("records", "experiments"),
    ("exhibits", "audit", "prices", "page"),
    ("charts", "claims"),
    ("promises",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(path):
    """Modules of the package that a file needs to be imported itself (what functions import later is not)."""
    later = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes, found = [ast.parse(path.read_text(encoding="utf-8"))], set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        nodes += [child for child in ast.iter_child_nodes(node) if not isinstance(child, later)]
    return {name.removeprefix("mcal_jax.") for name in found if name.startswith("mcal_jax.")} & MODULES.keys()


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}


def test_imports_point_one_way():
    assert LEVEL.keys() <= MODULES.keys()
    imports = [(name, other) for name in LEVEL for other in imported(MODULES[name]) if other in LEVEL]
    assert len(imports) > 40
    assert [f"{name} imports {other}" for name, other in imports if LEVEL[other] > LEVEL[name]] == []


def test_no_modules_import_each_other():
    graph = {name: imported(path) for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > 80
    list(TopologicalSorter(graph).static_order())


def test_the_decision_side_imports_no_other():
    assert set(DECISION_SIDE) <= MODULES.keys()
    for name in DECISION_SIDE:
        assert imported(MODULES[name]) <= set(DECISION_SIDE), name


@pytest.fixture(scope="module")
def without_jax():
    """What becomes of every module of the decision side, imported on its own where JAX is not to be had."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys({JAX_SIDE!r}))
import importlib
for name in {DECISION_SIDE!r}:
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


def test_every_module_of_the_decision_side_loads_without_jax(without_jax):
    assert without_jax == [f"{name} loads" for name in DECISION_SIDE]


def test_a_run_is_planned_and_replayed_without_jax(tmp_path):
    code = f"""
import sys
sys.modules.update(dict.fromkeys({JAX_SIDE!r}))
from mcal_jax.runs.runlog import RunLog, drive, replay
from mcal_jax.algorithm.config import Config; from mcal_jax.algorithm.job import Job
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld
job = Job(n=300, architectures=("a", "b"), config=Config(theta_step=0.5))
log = RunLog.create({str(tmp_path / "run.jsonl")!r}, job, {{}})
live = drive(job, SimulatedWorld(300, {{"a": Analytic(), "b": Analytic()}}), log)
log.close()
print(live.outcome.ledger.total == replay(log.path).outcome.ledger.total > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
