"""Every committed data.csv is what its notebook computes from the recorded runs today."""

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from mcal_jax.paper import experiments
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Experiment, load_settings

HOME = Path(__file__).parent.parent
SLOW = {"imagenet", "claims"}
"""Exhibits that simulate whole runs, or draw thousands of samples."""
COMMITTED = [
    pytest.param(profile, name, marks=[pytest.mark.slow] if name in SLOW else [])
    for profile in ("laptop", "paper")
    for name in experiments.experiments(profile, recorded=True)
    if (HOME / "results" / profile / name / "data.csv").exists()
]


@pytest.fixture(autouse=True, scope="module")
def read_once():
    """Logs are read once, and a single pixel is written for each picture: neither changes a number."""
    pixel = Image.new("RGB", (1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "read", cache(RunLog.read))
        patch.setattr(Figure, "savefig", lambda figure, path, **_: pixel.save(path, format="PNG"))
        yield


def run_notebook(name: str, parameters: dict[str, Any]) -> None:
    """Runs the code of a notebook as papermill does: ``parameters`` are set after the cell that is tagged so."""
    notebook = json.loads((HOME / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    namespace: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), name, "exec"), namespace)
            if "parameters" in cell["metadata"].get("tags", []):
                namespace |= {key: value for key, value in parameters.items() if key in namespace}


def read(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def same(text: str, other: str) -> bool:
    """A k of more than 1e9 labels bends no law, and its digits are rounding."""
    try:
        was, now = float(text), float(other)
    except ValueError:
        return text == other
    return min(was, now) > 1e9 or was == pytest.approx(now, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(("profile", "name"), COMMITTED)
def test_rows_are_those_committed(profile, name, tmp_path):
    experiment = load_settings(HOME / "experiments" / f"{name}.yaml", Experiment)
    run_notebook(experiment.notebook, {**experiment.parameters, "profile": profile, "out": str(tmp_path)})
    for committed in sorted((HOME / "results" / profile / name).glob("*.csv")):
        old, new = read(committed), read(tmp_path / committed.name)
        assert new[0] == old[0]
        assert len(new) == len(old)
        different = [(i, was, now) for i, (a, b) in enumerate(zip(old, new, strict=True))
                     for was, now in zip(a, b, strict=True) if not same(was, now)]  # fmt: skip
        assert not different
