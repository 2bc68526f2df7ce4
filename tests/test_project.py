"""What the project promises about itself: its environments agree, its committed logs replay."""

import csv
import itertools
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from mcal_jax.runs.settings import home

ROOT = home()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = [*PYPROJECT["dependencies"], *itertools.chain(*PYPROJECT["optional-dependencies"].values())]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]


def parsed(dependency):
    """Name and bounds of a dependency, as uv.lock writes them; its extras stand elsewhere."""
    name, bounds = re.match(r"([\w.-]+)(?:\[[^]]*\])?(.*?)(?:;|$)", dependency).groups()
    return name.lower().replace("_", "-"), bounds.strip()


def test_environment_yml_agrees_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert f"python{PYPROJECT['requires-python']}" in plain
    (package,) = pip
    extras = package.removeprefix("-e .[").removesuffix("]").split(",")
    assert set(extras) <= set(PYPROJECT["optional-dependencies"])
    assert f"name: {environment['name']}" in (ROOT / "environment.yml").read_text(encoding="utf-8")


def test_lock_file_covers_every_dependency():
    assert {parsed(text)[0] for text in DEPENDENCIES} <= {p["name"] for p in LOCK}


def test_lock_file_was_made_for_these_bounds():
    (package,) = [p for p in LOCK if p["name"] == PYPROJECT["name"]]
    locked = {(d["name"], d.get("specifier", "")) for d in package["metadata"]["requires-dist"]}
    assert locked == {parsed(text) for text in DEPENDENCIES}


def test_every_dependency_has_a_lowest_version():
    """Without one, the tests under the lowest versions would take the first that was ever published."""
    assert [text for text in DEPENDENCIES if ">=" not in text] == []
    assert len(DEPENDENCIES) > 20


def test_the_pythons_that_we_name_are_those_that_are_tested():
    named = [
        c.rpartition(" ")[2] for c in PYPROJECT["classifiers"] if c.startswith("Programming Language :: Python :: 3.")
    ]
    (pythons,) = re.findall(r"^PYTHONS := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert pythons.split() == named
    assert PYPROJECT["requires-python"] == f">={named[0]}"


def test_version_is_told_the_same_everywhere():
    import mcal_jax

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert mcal_jax.__version__ == PYPROJECT["version"] == citation["version"]
    assert f"## {mcal_jax.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_page_on_reproduction_has_the_claims_as_they_were_measured():
    with (ROOT / "results/laptop/claims/data.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 10
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    for row in rows:
        cells = [row[key].replace("|", "\\|") for key in ("paper_says", "ours_measured", "ours_verdict")]
        assert f"| {cells[0]} | {cells[1]} | {cells[2]}" in text, row["claim"]


def test_the_table_of_parameters_is_that_of_the_notebooks():
    sys.path.insert(0, str(ROOT / "bench"))
    import docs_tables

    text = (ROOT / "docs/notebooks.md").read_text(encoding="utf-8")
    table = docs_tables.notebook_parameters()
    assert len(table.splitlines()) > 100
    assert f"<!-- parameters -->\n{table}\n<!-- /parameters -->" in text, "python bench/docs_tables.py writes it"


def test_readme_is_one_page():
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    assert 400 <= len(words) <= 900


def test_committed_results_are_small():
    """A clone should stay light; pictures and logs grow unseen."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("only git knows what is committed")
    listed = subprocess.run(["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=True)
    sizes = [path.stat().st_size for name in listed.stdout.splitlines() if (path := ROOT / name).exists()]
    assert len(sizes) > 300
    assert sum(sizes) < 45e6
