"""What the project promises about itself: its environments agree, its committed logs replay."""

import csv
import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from mcal_jax.settings import home

ROOT = home()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOGS = sorted(p for p in (ROOT / "results" / "runs").glob("*/*.jsonl") if p.parent.name != "smoke")


def test_environment_yml_agrees_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert f"python{PYPROJECT['requires-python']}" in plain
    (package,) = pip
    extras = package.removeprefix("-e .[").removesuffix("]").split(",")
    assert set(extras) <= set(PYPROJECT["optional-dependencies"])
    assert f"name: {environment['name']}" in (ROOT / "environment.yml").read_text()


def test_lock_file_covers_every_dependency():
    locked = {p["name"] for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    wanted = [*PYPROJECT["dependencies"], *(d for extra in PYPROJECT["optional-dependencies"].values() for d in extra)]
    names = {d.split(">=")[0].split(";")[0].strip().lower().replace("_", "-") for d in wanted}
    assert names <= locked


def test_version_is_told_the_same_everywhere():
    import mcal_jax

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert mcal_jax.__version__ == PYPROJECT["version"] == citation["version"]
    assert f"## {mcal_jax.__version__}" in (ROOT / "CHANGELOG.md").read_text()


REPLAY = """
import json, sys
sys.modules["jax"] = None  # importing it now fails
from mcal_jax.runlog import replay, end_json
from mcal_jax.types import McalError
for log in sys.argv[1:]:
    try:
        replayed = replay(log)
        told = "" if replayed.finished else "the log is not finished"
        if not told and end_json(replayed.finished) != replayed.log.end:
            told = "another outcome than the recorded one"
    except McalError as error:
        told = str(error)
    print(json.dumps([log, told]))
assert not any(name.startswith("jax.") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def replayed():
    """What became of every committed log, fed back in a process where JAX can't be imported."""
    command = [sys.executable, "-c", REPLAY, *map(str, LOGS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("log", LOGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_committed_logs_replay_to_their_outcome_without_jax(log, replayed):
    assert replayed[str(log)] == ""


def test_readme_tells_the_claims_as_they_were_found():
    with (ROOT / "results/laptop/claims/data.csv").open() as file:
        rows = list(csv.DictReader(file))
    text = (ROOT / "README.md").read_text()
    for row in rows:
        cells = [row[key].replace("|", "\\|") for key in ("paper_says", "ours_measured", "ours_verdict")]
        assert f"| {cells[0]} | {cells[1]} | {cells[2]}" in text, row["claim"]


def test_every_picture_in_the_readme_is_there():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_committed_results_are_small():
    """A clone should stay light; pictures and logs grow unseen."""
    listed = subprocess.run(["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = [ROOT / name for name in listed.stdout.splitlines()]
    assert sum(path.stat().st_size for path in files if path.exists()) < 30e6
