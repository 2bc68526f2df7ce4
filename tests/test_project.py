"""What the project promises about itself: its environments agree, its committed logs replay."""

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
import sys
sys.modules["jax"] = None  # importing it now fails
from mcal_jax.runlog import replay, end_json
replayed = replay(sys.argv[1])
assert replayed.finished is not None, "the log is not finished"
assert end_json(replayed.finished) == replayed.log.end
assert not any(name.startswith("jax.") for name in sys.modules)
"""


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_committed_logs_replay_to_their_outcome_without_jax(log):
    done = subprocess.run([sys.executable, "-c", REPLAY, str(log)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
