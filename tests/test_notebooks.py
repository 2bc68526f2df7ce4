"""The notebooks: one cell of parameters, no outputs, no definitions but stubs that learners fill in; that they run."""

import ast
import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import papermill
import pytest
from conftest import HOPELESS, MIDDLING

from mcal_jax import plots
from mcal_jax.algorithm.job import Job
from mcal_jax.data import Dataset
from mcal_jax.runs import execution, settings
from mcal_jax.runs.driver import drive
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.simulated import SimulatedWorld

NOTEBOOKS = sorted((settings.home() / "notebooks").glob("*.ipynb"))
PICTURES = {"sets", "ledger", "surface_first", "surface_last", "plan_path", "cost_against_size", "fits"}


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def execute(name, out, **parameters):
    """A notebook run by papermill -> each cell's output that is text, whole (a slow kernel sends it in pieces)."""
    executed = papermill.execute_notebook(
        str(settings.home() / "notebooks" / f"{name}.ipynb"),
        str(out / "executed.ipynb"),
        {"out": str(out), **parameters},
        progress_bar=False,
        kernel_name="python3",
        cwd=str(out),
    )
    cells = [cell.get("outputs", []) for cell in executed.cells]
    shown = [
        data[kind] for outputs in cells for o in outputs if (data := o.get("data")) for kind in HTML if kind in data
    ]
    assert not [text for text in shown if stray_dollars(text)]
    assert not [o for outputs in cells for o in outputs if o.get("name") == "stderr"]
    return ["".join(o.get("text") or o["data"].get("text/markdown", "") for o in outputs) for outputs in cells]


HTML = ("text/markdown", "text/html")
MATHS = ("$\\varepsilon$", "$|B|$")  # all that outputs have of it; a dollar anywhere else is money


def stray_dollars(markdown):
    """Whether text has a dollar that Jupyter would give to MathJax, escaped or not."""
    for formula in MATHS:
        markdown = markdown.replace(formula, "")
    return "$" in markdown


def pictures(out):
    return {path.stem for path in out.glob("*.svg")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(path)
    assert [cell.metadata.get("tags", []).count("parameters") for cell in cells].count(1) == 1
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in cells:
        tree = ast.parse(cell.source)
        if "exercise" in cell.metadata.get("tags", []):
            assert [is_stub(node) for node in tree.body] == [True], "one function for the learner to fill in"
        else:
            nodes = [node for node in ast.walk(tree) if isinstance(node, DEFINITIONS)]
            assert not nodes, "logic belongs into the package"


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem[0] == "0"], ids=lambda path: path.stem)
def test_lessons_are_slides(path):
    """A heading begins a slide, and the parameters are none."""
    for cell in nbformat.read(path, as_version=4).cells:
        kind = cell.metadata["slideshow"]["slide_type"]
        if cell.cell_type == "markdown":
            assert kind == ("slide" if cell.source.startswith("#") else "subslide")
        else:
            assert kind == ("skip" if "parameters" in cell.metadata.get("tags", []) else "subslide")


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def is_stub(node):
    """Whether a statement defines a function that has a docstring and raises NotImplementedError, and no more."""
    if not isinstance(node, ast.FunctionDef) or len(node.body) != 2 or not ast.get_docstring(node):
        return False
    raised = node.body[1].exc if isinstance(node.body[1], ast.Raise) else None
    return isinstance(raised, ast.Call) and ast.unparse(raised.func) == "NotImplementedError"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_is_used(path):
    known = papermill.inspect_notebook(str(path))
    rest = "\n".join(c.source for c in code_cells(path) if "parameters" not in c.metadata.get("tags", []))
    used = {node.id for node in ast.walk(ast.parse(rest)) if isinstance(node, ast.Name)}
    assert set(known) <= used


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_notebook_shows_text_but_by_plots_markdown(path):
    """Jupyter's own Markdown would show amounts of money as a formula."""
    source = "\n".join(cell.source for cell in code_cells(path))
    nodes = list(ast.walk(ast.parse(source)))
    imported = {name.name for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names}
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert not {"Markdown", "HTML", "Latex", "Math", "display_markdown"} & imported
    assert not {name for name in called if name.endswith("Markdown") or name.endswith("HTML")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_markdown_cell_takes_money_for_mathematics(path):
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
    assert cells
    for source in cells:
        text = re.sub(r"\$\$.+?\$\$", "", source, flags=re.DOTALL)
        formulas = re.findall(r"\$([^$]+)\$", text)
        assert "$" not in re.sub(r"\$[^$]+\$", "", text)
        assert not [f for f in formulas if f != f.strip() or re.match(r"[\d.,]+ [a-z]", f)]


def test_stray_dollars_are_distinguished_from_mathematics():
    assert stray_dollars(r"\$601 instead of \$2,000")
    assert stray_dollars("it cost $601")
    assert not stray_dollars("with $|B|$ = 5, <span>&#36;</span>601 ($\\varepsilon$ = 5 %)")


@pytest.mark.slow  # `make docs` and `make reproduce` run this notebook too
def test_read_me_first_runs_and_states_the_end(tmp_path):
    # As papermill -p n 4e3 gives it.
    texts = execute("00_read_me_first", tmp_path, n=4e3, epsilon=0.08, seed="3", solutions=True)
    (bill,) = [text for text in texts if text.startswith("right: ")]
    own, of_run = re.findall(r"([\d,.]+\d)(?: US|\n)", bill)
    assert own == of_run
    assert any("<span>&#36;</span>" in text for text in texts)
    assert any("MCAL stopped after" in text and "reached_optimum" in text for text in texts)
    assert pictures(tmp_path) == PICTURES


@pytest.mark.parametrize(
    "kind", ["usual", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("race", "budget", "hopeless"))]
)
def test_mcal_run_describes_every_kind_of_run(kind, tmp_path, monkeypatch):
    """The notebook's cells, run here on a simulated run and blank images."""
    n = 3000
    parameters = {
        "race": {"architectures": ["cnn18", "resnet18"]},
        "budget": {"budget": 60.0},
        "hopeless": {"epsilon": 0.002},
        "usual": {},
    }[kind]

    def simulated(run, profile, data_dir):
        job = Job(n=n, architectures=run.architectures, config=run.resolve(channels=1))
        log = RunLog.create(tmp_path / "run.jsonl", job, run.model_dump(mode="json"))
        drive(job, SimulatedWorld(n, HOPELESS if kind == "hopeless" else MIDDLING), log)
        log.close()
        result = execution.LoggedRun(run, RecordedRun(log.path))
        result.dataset = Dataset("blank", np.zeros((n, 4, 4, 1), np.uint8), np.zeros(n, np.int32), ("no", "yes"))
        return result

    monkeypatch.setattr(execution, "execute", simulated)
    shown = {"out": str(tmp_path), **parameters}
    scope = {}
    for cell in code_cells(settings.home() / "notebooks" / "mcal_run.ipynb"):
        exec(compile(cell.source, "mcal_run", "exec"), scope)
        if "parameters" in cell.metadata.get("tags", []):
            scope |= shown
    assert pictures(tmp_path) == PICTURES | {"error_by_rank", "training_cost", "gallery"}
    words = {
        "race": "lost the race",
        "budget": r"a budget of \$60",
        "hopeless": "No plan with a machine",
        "usual": "reached_optimum",
    }
    assert words[kind] in scope["verdict"]
    assert not stray_dollars(plots.html(scope["verdict"]))
    assert not plt.get_fignums()


@pytest.mark.slow
def test_mcal_run_trains_on_real_images(tmp_path):
    """So loose a bound that the second or third classifier meets it."""
    parameters = dict(data_set="fashion_mnist_10k", profile="smoke", epsilon=0.3, seed=987_654)
    described = {k: v for k, v in parameters.items() if k != "profile"}
    run = settings.describe(
        **described,
        profile="smoke",
        service="amazon",
        architectures=["resnet18"],
        acquisition="margin",
    )
    log = execution.log_path(run, "smoke")
    log.unlink(missing_ok=True)
    try:
        texts = execute("mcal_run", tmp_path, **parameters)
        assert log.exists(), "the notebook describes another run"
    finally:
        log.unlink(missing_ok=True)
    assert any("The 10,000 images of fashion_mnist_10k" in text for text in texts)
    assert "gallery" in pictures(tmp_path)
