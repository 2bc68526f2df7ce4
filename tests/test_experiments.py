"""Experiments: parameters checked, failures reported and contained, nothing made twice or half-made."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import papermill
import pytest
from conftest import EASY

from mcal_jax.algorithm.job import Job
from mcal_jax.errors import McalError
from mcal_jax.paper import experiments, folders
from mcal_jax.runs import execution, settings, sweeps
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.workers import Workers
from mcal_jax.worlds.simulated import SimulatedWorld

PARAMETERS = 'text = "a"\nout = None\nprofile = None'
CELL = 'from pathlib import Path\nassert text != "bad", "this text is bad"\nPath(out, "text.txt").write_text(text)'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with one small notebook and two experiments."""
    for folder in ("experiments/profiles", "notebooks", "results"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "experiments/profiles/smoke.yaml").write_text("description: small\n")
    (tmp_path / "experiments/profiles/laptop.yaml").write_text("description: large\n")
    for name, text in (("good", "fine"), ("ill", "bad")):
        content = f"title: {name}\nnotebook: small\nparameters: {{text: {text}}}\n"
        (tmp_path / f"experiments/{name}.yaml").write_text(content)
    cells = [
        nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(CELL),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks/small.ipynb")
    for module in (settings, experiments):
        monkeypatch.setattr(module, "home", lambda: tmp_path)
    monkeypatch.setattr(experiments, "results", lambda: tmp_path / "results")
    return tmp_path


def died(*args):
    os.kill(os.getpid(), signal.SIGKILL)


def make(*names, **options):
    with ThreadPoolExecutor(1) as executor:
        return {made.name: made for made in experiments.reproduce(names, "smoke", executor=executor, **options)}


def test_results_are_made_once_and_again_only_when_something_changed(project):
    folder = project / "results/smoke/good"
    assert make("good")["good"].state == "made"
    assert (folder / "text.txt").read_text() == "fine"
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["files"] == ["text.txt"]
    assert (folder / "notebook.ipynb").exists()
    assert provenance["versions"]["jax"]
    assert make("good")["good"].state == "up to date"
    assert make("good", again=True)["good"].state == "made"
    (project / "experiments/good.yaml").write_text("title: good\nnotebook: small\nparameters: {text: other}\n")
    assert make("good")["good"].state == "made"
    assert (folder / "text.txt").read_text() == "other"
    (folder / "text.txt").unlink()
    assert make("good")["good"].state == "made"


def test_a_failing_notebook_is_reported_in_a_line_and_the_others_are_made(project):
    made = make("ill", "good")
    assert (made["ill"].state, made["good"].state) == ("failed", "made")
    assert made["ill"].message == "AssertionError: this text is bad"
    assert [path.name for path in (project / "results/smoke").iterdir()] == ["good"]


def test_what_a_killed_process_left_is_swept_up(project):
    left = project / "results/smoke/.good.999999999"
    left.mkdir(parents=True)
    assert make("good")["good"].state == "made"
    assert not left.exists()


SWEEP = "title: runs\ngrids:\n  smoke:\n    - {data_set: fashion_mnist_10k, delta: 0.1, seed: [1, 0]}\n"


@pytest.fixture
def with_runs(project, monkeypatch):
    """An experiment that needs two runs."""
    monkeypatch.setattr(sweeps, "home", lambda: project)
    monkeypatch.setattr(execution, "results", lambda: project / "results")
    (project / "experiments/runs").mkdir()
    (project / "experiments/runs/few.yaml").write_text(SWEEP)
    text = "title: x\nnotebook: small\nparameters: {text: fine}\nruns: {few: {delta: 0.1}}\n"
    (project / "experiments/needy.yaml").write_text(text)
    return project


def test_the_runs_that_are_needed_come_once_and_the_first_seed_first(with_runs):
    (with_runs / "experiments/also.yaml").write_text("title: y\nnotebook: small\nruns: {few: {seed: 1}}\n")
    assert [one.run.seed for one in experiments.needed(["also", "needy"], "smoke")] == [0, 1]
    assert experiments.needed(["good"], "smoke") == []


def test_a_result_knows_its_runs_and_is_made_again_when_one_of_them_changes(with_runs):
    first, second = (one.run for one in experiments.needed(["needy"], "smoke"))
    finish(first)
    assert make("needy")["needy"].state == "made"
    path = with_runs / "results/smoke/needy/provenance.json"
    provenance = json.loads(path.read_text())
    assert provenance["runs"] == [first.id]  # the one that is there
    assert provenance["command"] == "mcal reproduce needy --profile smoke"
    assert make("needy")["needy"].state == "up to date"
    finish(second)
    assert make("needy")["needy"].state == "made"
    assert set(json.loads(path.read_text())["runs"]) == {first.id, second.id}


def finish(run):
    """The log of a run, made in a simulated world."""
    log = RunLog.create(execution.log_path(run, "smoke"), Job(n=300), run.model_dump(mode="json"))
    drive(log.job, SimulatedWorld(300, EASY), log)
    log.close()


def test_without_any_of_its_runs_an_experiment_is_not_begun_and_says_so(with_runs):
    (made,) = make("needy").values()
    assert made.state == "no runs"
    assert made.message == "none of the 2 runs is finished; mcal reproduce needy --profile smoke makes them"
    assert [path for path in (with_runs / "results").rglob("*") if path.is_file()] == []


def test_a_damaged_log_fails_its_experiment_by_its_name_and_no_other(with_runs):
    first, second = (one.run for one in experiments.needed(["needy"], "smoke"))
    finish(first)
    finish(second)
    path = execution.log_path(second, "smoke")
    path.write_bytes(path.read_bytes().replace(b'"stop"', b'"stap"', 1))
    made = make("needy", "good")
    assert (made["needy"].state, made["good"].state) == ("failed", "made")
    assert made["needy"].message.startswith(f"{path}: not a run log, or damaged")
    assert "\n" not in made["needy"].message


def test_a_sweep_that_is_not_there_is_named(with_runs):
    (with_runs / "experiments/needy.yaml").write_text("title: x\nnotebook: small\nruns: {fex: {}}\n")
    with pytest.raises(McalError, match="unknown sweep 'fex'; did you mean 'few'"):
        experiments.needed(["needy"], "smoke")


def test_a_missing_run_fails_its_figures_in_a_line_and_no_others(tmp_path, monkeypatch, capsys):
    """The real project without trajectories: figure 1 needs none and is made, figure 8 says what is missing."""
    monkeypatch.setattr(experiments, "results", lambda: tmp_path)
    named = ["fig01", "fig08"]
    with ThreadPoolExecutor(1) as executor:
        made = {one.name: one for one in experiments.reproduce(named, "paper", executor=executor)}
    assert (made["fig01"].state, made["fig08"].state) == ("made", "no runs")
    message = "none of the 8 runs is finished; make them with: mcal sweep trajectories --profile paper"
    assert made["fig08"].message == message


def test_a_failure_leaves_earlier_results_as_they_were(project):
    make("good")
    before = (project / "results/smoke/good/provenance.json").read_text()
    (project / "experiments/good.yaml").write_text("title: good\nnotebook: small\nparameters: {text: bad}\n")
    assert make("good")["good"].state == "failed"
    assert (project / "results/smoke/good/provenance.json").read_text() == before


@pytest.mark.parametrize(
    ("content", "culprit"),
    [
        ("title: x\nnotebook: small\nparameters: {txet: a}\n", "no parameter 'txet'; did you mean 'text'"),
        ("title: x\nnotebook: smal\n", "there is no notebook 'smal'"),
        ("title: x\nnotebok: small\n", "notebok: unknown key; did you mean 'notebook'"),
        ("title: x\nnotebook: small\nprofiles: [laptop]\n", "odd is for profile laptop, not smoke"),
    ],
)
def test_mistakes_in_an_experiment_are_reported_before_anything_is_made(project, content, culprit):
    (project / "experiments/odd.yaml").write_text(content)
    with pytest.raises(McalError, match=culprit):
        make("odd")
    assert not list((project / "results").iterdir())


def test_experiments_are_those_of_the_profile(project):
    (project / "experiments/odd.yaml").write_text("title: x\nnotebook: small\nprofiles: [laptop]\n")
    assert experiments.experiments("smoke") == ["good", "ill"]
    assert experiments.experiments("laptop") == ["good", "ill", "odd"]


def test_parameters_of_the_real_experiments_are_those_of_their_notebooks():
    for name in experiments.experiments("laptop"):
        experiment = settings.load_settings(settings.home() / "experiments" / f"{name}.yaml", settings.Experiment)
        known = papermill.inspect_notebook(str(settings.home() / "notebooks" / f"{experiment.notebook}.ipynb"))
        assert set(experiment.parameters) <= set(known)


@pytest.mark.parametrize("missing", ["papermill", "ipykernel"])
def test_without_the_programs_for_notebooks_nothing_is_begun(with_runs, monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    message = rf"notebooks can't be executed without {missing}; install: pip install 'mcal-jax\[notebooks\]'"
    for ask in (lambda: experiments.needed(["needy"], "smoke"), lambda: make("needy")):
        with pytest.raises(McalError, match=message):
            ask()
    assert not list((with_runs / "results").iterdir())


def test_where_results_cannot_be_written_nothing_is_begun(with_runs):
    (with_runs / "results").rmdir()
    (with_runs / "results").write_text("a file")
    with pytest.raises(McalError, match=r"can't write .*results/smoke: Not a directory"):
        experiments.needed(["needy"], "smoke")


def test_a_worker_that_dies_fails_its_experiment_alone(project, monkeypatch):
    monkeypatch.setattr(experiments, "_make", died)
    results = list(experiments.reproduce(["good", "ill"], "smoke", jobs=2))
    assert sorted(made.name for made in results) == ["good", "ill"]
    for made in results:
        assert made.state == "failed"
        assert made.message.startswith("its process was ended by signal SIGKILL")


def test_a_kernel_that_dies_and_a_foreign_kernel_named_python3(project, monkeypatch):
    kernel = project / "jupyter/kernels/python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "language": "python"}))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(project / "jupyter"))
    cell = nbformat.v4.new_code_cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    notebook = nbformat.read(project / "notebooks/small.ipynb", as_version=4)
    notebook.cells.append(cell)
    nbformat.write(notebook, project / "notebooks/deadly.ipynb")
    (project / "experiments/deadly.yaml").write_text("title: x\nnotebook: deadly\n")
    made = make("deadly", "good")
    assert made["good"].state == "made"
    assert made["deadly"].message == "its kernel was ended, as the system does when memory runs out"


def test_paths_may_hold_braces_and_the_kernel_works_in_the_present_folder(project, monkeypatch):
    odd = project / "a {b} folder"
    odd.mkdir()
    monkeypatch.chdir(odd)
    monkeypatch.setattr(experiments, "results", lambda: odd / "results")
    notebook = nbformat.read(project / "notebooks/small.ipynb", as_version=4)
    notebook.cells[0].source += "\ndata_dir = None"
    notebook.cells[1].source = "from pathlib import Path\nPath(out, 'text.txt').write_text(f'{Path.cwd()} {data_dir}')"
    nbformat.write(notebook, project / "notebooks/small.ipynb")
    assert make("good", data_dir=Path("sets"))["good"].message == ""
    assert (odd / "results/smoke/good/text.txt").read_text() == f"{odd} sets"


def put_often(folder):
    for i in range(200):
        work = folder.with_name(f".fig.{os.getpid()}")
        work.mkdir()
        (work / "text").write_text(str(i))
        folders.replace(folder, work)


def test_two_that_make_the_same_at_the_same_time_both_succeed(tmp_path):
    with Workers([None, None]) as workers:
        ends = [workers.submit(put_often, tmp_path / "fig").exception for _ in range(2)]
    assert [end() for end in ends] == [None, None]
    assert (tmp_path / "fig/text").read_text() == "199"
    assert [path.name for path in tmp_path.iterdir()] == ["fig"]


@pytest.mark.slow
def test_an_installed_package_writes_under_the_present_folder_alone(tmp_path):
    """As from a wheel: the package with what it carries, and beside it a folder of somebody else's."""
    site, here = tmp_path / "site-packages", tmp_path / "here"
    clone = settings.clone()
    shutil.copytree(settings.PACKAGE, site / "mcal_jax", ignore=shutil.ignore_patterns("__pycache__"))
    carried = tomllib.loads((clone / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert len(carried["force-include"]) == 2
    for source, target in carried["force-include"].items():
        shutil.copytree(clone / source, site / target)
    (site / "experiments").mkdir()
    here.mkdir()
    before = sorted(site.rglob("*"))
    for words, told in (("reproduce fig01", here / "results/smoke/fig01"), ("notebooks", "notebooks in notebooks")):
        done = subprocess.run(
            [sys.executable, "-c", "from mcal_jax.cli import main; main()", *words.split()],
            cwd=here, env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert str(told) in done.stdout
    assert (here / "results/smoke/fig01/figure.svg").exists()
    carried_notebooks = {path.name for path in (site / "mcal_jax/_clone/notebooks").iterdir()}
    assert {path.name for path in (here / "notebooks").iterdir()} == carried_notebooks
    assert sorted(site.rglob("*")) == before
