"""README.md and the other pages: their Python runs, their commands parse, their links lead to files."""

import ast
import functools
import re
import shlex

import numpy as np
import pytest

import mcal_jax
from mcal_jax import testing
from mcal_jax.runs.settings import home

ROOT = home()
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
}
NOT_RUN = "# not run"
"""First line of a Python block that is parsed but not executed."""
OWN_FILE = "# my_net.py"
"""First line of the architecture in CONTRIBUTING.md, which has a test of its own."""


def blocks(text, language):
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def runnable(text):
    return [code for code in blocks(text, "python") if not code.startswith((NOT_RUN, OWN_FILE))]


def commands(text):
    """The mcal commands of a page, in blocks and in sentences, without comments, as lists of words."""
    lines = "".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(mcal [\w -][^`]*)`", text)
    return [words[1:] for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "mcal"]


def names():
    """What the blocks of a page may use without defining it: a tiny pool and a classifier of one's own."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    images = np.clip(rng.normal(60 + 120 * labels[:, None, None], 20, (200, 8, 8)), 0, 255).astype(np.uint8)
    predictions = np.where(rng.random(200) < 0.02, 1 - labels, labels)
    return {"images": images, "labels": labels, "predictions": predictions, "confidence": rng.random(200)}


@pytest.mark.parametrize("page", PAGES)
def test_python_on_a_page_can_be_parsed(page):
    for code in blocks(PAGES[page], "python"):
        ast.parse(code)


ALIKE = ("docs/index.md", "docs/getting-started.md")
"""Pages that label images as README.md does."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in ALIKE else [])
        for page, text in PAGES.items()
        if runnable(text)
    ],
)
def test_python_on_a_page_runs(small_nets, page, tmp_path, monkeypatch):
    code = runnable(PAGES[page])
    if "mcal.label(" in "".join(code) or "mcal.certify(" in "".join(code):
        monkeypatch.setattr(mcal_jax, "load", functools.partial(mcal_jax.load, first=300, downsample=2))
        monkeypatch.setattr("mcal_jax.runs.session_setup.suitable_width", lambda dataset: 4)
    monkeypatch.chdir(tmp_path)
    scope = names()
    for number, block in enumerate(code, 1):
        exec(compile(block, f"{page}, block {number}", "exec"), scope)


def test_the_architecture_of_one_file_fulfils_its_contract(tmp_path):
    testing.check_architecture(f"{write_architecture(tmp_path)}:MyNet")


def test_the_architecture_of_one_file_trains(tmp_path):
    import jax

    from mcal_jax.registry import load
    from mcal_jax.training.trainer import Trainer

    images, labels = names()["images"][..., None], names()["labels"].astype(np.int32)
    trainer = Trainer(images, 2, architecture=load(f"{write_architecture(tmp_path)}:MyNet"), width=4, recipe="brief")
    model = trainer.fit(np.arange(100), labels[:100], jax.random.key(0))
    assert (trainer.score(model, np.arange(100, 200)).label == labels[100:]).mean() > 0.9


def write_architecture(folder):
    (code,) = [code for code in blocks(PAGES["CONTRIBUTING.md"], "python") if code.startswith(OWN_FILE)]
    path = folder / "my_net.py"
    path.write_text(code, encoding="utf-8")
    return path


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if commands(text)])
def test_commands_on_a_page_have_these_options(page):
    from mcal_jax.cli.entry import app

    for words in commands(PAGES[page]):
        app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_of_a_page_lead_to_files(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        path = folder / target
        if path.parent == ROOT / "docs" / "notebooks":  # copied by docs/conf.py
            path = ROOT / "notebooks" / path.name
        if path.parent == ROOT / "docs" / "gallery":  # written by docs/conf.py
            path = ROOT / "results" / "laptop" / path.stem.replace("index", "claims") / "summary.txt"
        assert path.is_file(), target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    folders = "mcal_jax|bench|experiments|results|docs|notebooks|tests"
    for named in re.findall(rf"`((?:{folders})/[\w./-]*)[` ]", PAGES[page]):
        assert (ROOT / named).exists() or named.startswith("docs/_build"), named


def test_modules_that_the_map_names_exist():
    named = re.findall(r"`(\w+/\w+\.py)`", PAGES["ARCHITECTURE.md"])
    assert len(named) > 5
    assert [name for name in named if not (ROOT / "mcal_jax" / name).is_file() and not (ROOT / name).is_file()] == []
