"""Experiments: parameters checked, failures told and contained, nothing made twice or half-made."""

import json
from concurrent.futures import ThreadPoolExecutor

import nbformat
import papermill
import pytest

from mcal_jax import experiments, settings
from mcal_jax.types import McalError

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


def test_a_failing_notebook_is_told_in_a_line_and_the_others_are_made(project):
    made = make("ill", "good")
    assert (made["ill"].state, made["good"].state) == ("failed", "made")
    assert made["ill"].message == "AssertionError: this text is bad"
    assert [path.name for path in (project / "results/smoke").iterdir()] == ["good"]


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
def test_mistakes_in_an_experiment_are_told_before_anything_is_made(project, content, culprit):
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
