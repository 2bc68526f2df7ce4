"""Variants of a notebook: what a YAML file asks for, mistakes in it before anything runs, and what is made of it."""

import csv
import json
import random
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
import yaml

from mcal_jax.cli import main
from mcal_jax.errors import McalError
from mcal_jax.paper import notebooks, variant_table, variants

PARAMETERS = "seed = 0\ngamma = 0.4\nname_of = 'x'\nsizes = [1, 2]\nsure = False\nout = None\ndata_dir = None"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with small.ipynb, which is the present one."""
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell("print(seed)"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "small.ipynb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def kernels(monkeypatch):
    """The parameters of what was executed, without a kernel; a variant of gamma 13 fails."""
    executed = []

    def execute(path, target, given, cwd):
        if given.get("gamma") == 13:
            raise McalError("ValueError: unlucky")
        executed.append(given)
        cell = nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("stream", text=f"seed {given['seed']}\n")])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), target)

    monkeypatch.setattr(notebooks, "execute", execute)
    return executed


def ask(folder, **request):
    path = folder / "class.yaml"
    path.write_text(yaml.safe_dump({"notebook": "small.ipynb", **request}))
    return variants.read(path)


def make(plan, folder, **given):
    with ThreadPoolExecutor(2) as executor:
        results = list(variants.make(plan, folder, executor=executor, **given))
    return {result.variant.name: result for result in results}


def test_a_grid_is_every_combination_on_top_of_what_all_share(folder):
    plan = ask(folder, parameters={"gamma": 0.3}, grid={"seed": [1, 2], "sure": [True, False]})
    assert [one.name for one in plan.variants] == [f"seed-{s}_sure-{b}" for s in (1, 2) for b in (True, False)]
    assert plan.variants[0].parameters == {"gamma": 0.3, "seed": 1, "sure": True}
    assert plan.variants[0].own == {"seed": 1, "sure": True}


def test_a_list_has_names_and_a_grid_varies_each_of_it(folder):
    plan = ask(folder, variants=[{"name": "ada", "gamma": 0.2}, {"name": "bob"}], grid={"seed": [1, 2]})
    assert [one.name for one in plan.variants] == ["ada_seed-1", "ada_seed-2", "bob_seed-1", "bob_seed-2"]
    assert plan.variants[1].parameters == {"gamma": 0.2, "seed": 2}


def test_a_notebook_of_the_package_is_known_by_its_name(tmp_path):
    path = tmp_path / "class.yaml"
    path.write_text("notebook: 02_cost_surfaces\ngrid: {label_price: [4e-2, '0.003']}\n")
    assert variants.read(path).notebook.name == "02_cost_surfaces.ipynb"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("notebook: small.ipynb\ngrid: {sed: [1]}", "'small' has no parameter 'sed'; did you mean 'seed'"),
        ("notebook: small.ipynb\nparameters: {gama: 1}\ngrid: {seed: [1]}", "did you mean 'gamma'"),
        ("notebook: small.ipynb\ngrid: {gamma: [high]}", "gamma: expected a number, like its default 0.4, got 'high'"),
        ("notebook: small.ipynb\ngrid: {gamma: [true]}", "gamma: expected a number"),
        ("notebook: small.ipynb\ngrid: {gamma: [.nan]}", "gamma: expected a number"),
        ("notebook: small.ipynb\ngrid: {gamma: [{a: 1}]}", "gamma: expected text, a number"),
        ("notebook: small.ipynb\ngrid: {name_of: [2026-01-01]}", "name_of: expected text, a number"),
        ("notebook: small.ipynb\ngrid: {seed: []}", "grid.seed: the list is empty"),
        ("notebook: small.ipynb\ngrid: {seed: 3}", "grid.seed: Input should be a valid list"),
        ("notebook: small.ipynb\nvariants: []", "nothing to vary"),
        ("notebook: small.ipynb\nvariants: [3]", "variants.0: Input should be a valid dictionary"),
        ("notebook: small.ipynb\nvariants: [{name: ../up}]", "name: letters, digits"),
        ("notebook: small.ipynb\nvariants: [{name: .hidden}]", "name: letters, digits"),
        ("notebook: small.ipynb\nvariants: [{name: Summary.csv}]", "name: 'Summary.csv' is that of a summary"),
        ("notebook: small.ipynb\nvariants: [{name: a}, {name: A}]", "two variants are called 'A'"),
        ("notebook: small.ipynb\nvariants: [{seed: 1}]\ngrid: {seed: [1]}", "seed: it is in the grid and in a variant"),
        ("notebook: small.ipynb\ngrid: {out: [x]}", "out: it is set for every variant"),
        ("notebook: small.ipynb\ngrids: {seed: [1]}", "grids: unknown key; did you mean 'grid'"),
        ("notebook: 02_cost\ngrid: {seed: [1]}", "there is no '02_cost'; did you mean '02_cost_surfaces'"),
        ("notebook: class.yaml\ngrid: {seed: [1]}", "there is no 'class.yaml'"),
        ("grid: {seed: [1]}", "notebook: Field required"),
        ("notebook: small.ipynb\ngrid: {seed: [" + "1," * 40 + "], gamma: [" + "1," * 40 + "]}", "1,600 variants"),
        ("- 1", "expected keys and values, got list"),
        ("notebook: [", "is not YAML"),
        ("", "expected keys and values, got NoneType"),
    ],
)
def test_mistakes_are_found_before_anything_runs(folder, kernels, text, says, monkeypatch, capsys):
    (folder / "class.yaml").write_text(text)
    monkeypatch.setattr("sys.argv", ["mcal", "reproduce", "--parameters", "class.yaml"])
    with pytest.raises(SystemExit) as end:
        main()
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert says in message
    assert message.startswith("mcal: class.yaml")
    assert message.count("\n") == 1
    assert not kernels
    assert not (folder / "class").exists()


def test_yaml_that_is_torn_ends_in_a_line(folder):
    text = "notebook: small.ipynb\nparameters: {gamma: 0.3}\nvariants:\n  - {name: ada, seed: 1}\n  - {seed: 2}\n"
    pieces = [b"", b"\xff", b"{", b"- ", b": ", b"\t", b"&a", b"*a", b"!!python/name:os"]
    messages = []
    rng, path = random.Random(0), folder / "class.yaml"
    for _ in range(300):
        content = bytearray(text.encode())
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(content))
            content[at : at + rng.randint(0, 3)] = rng.choice(pieces)
        path.write_bytes(content)
        try:
            variants.read(path)
        except McalError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith(str(path)) and "\n" not in message for message in messages)


def test_what_is_there_is_not_made_again(folder, kernels):
    plan = ask(folder, grid={"seed": [1, 2]})
    assert {one.state for one in make(plan, folder / "x").values()} == {"made"}
    again = make(plan, folder / "x")
    assert {one.state for one in again.values()} == {"up to date"}
    assert again["seed-1"].result == "seed 1"
    assert len(kernels) == 2
    more = make(ask(folder, parameters={"gamma": 0.5}, grid={"seed": [1, 2]}), folder / "x")
    assert {one.state for one in more.values()} == {"made"}
    (folder / "x" / "seed-1" / variants.RECORD).write_text("{torn")
    assert make(ask(folder, parameters={"gamma": 0.5}, grid={"seed": [1, 2]}), folder / "x")["seed-1"].state == "made"
    assert {one.state for one in make(plan, folder / "x", again=True).values()} == {"made"}


def test_one_that_fails_leaves_the_others_and_nothing_half_written(folder, kernels):
    plan = ask(folder, variants=[{"seed": 1}, {"seed": 2, "gamma": 13}])
    results = make(plan, folder / "x")
    assert results["gamma-13_seed-2"].state == "failed"
    assert results["gamma-13_seed-2"].message == "ValueError: unlucky"
    assert [path.name for path in (folder / "x").iterdir()] == ["seed-1"]
    for path in variant_table.write(plan, list(results.values()), folder / "x"):
        assert "unlucky" in path.read_text()
    with (folder / "x" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"], row["gamma"], row["state"]) for row in rows] == [
        ("seed-1", "1", "", "made"),
        ("gamma-13_seed-2", "2", "13", "failed"),
    ]


def test_a_folder_of_the_user_is_not_replaced(folder, kernels):
    (folder / "x" / "seed-1").mkdir(parents=True)
    with pytest.raises(McalError, match="seed-1 is there and was not made by this command"):
        make(ask(folder, grid={"seed": [1, 2]}), folder / "x")
    assert not kernels


def test_what_goes_with_figures_does_not_go_with_variants(folder, monkeypatch, capsys):
    ask(folder, grid={"seed": [1]})
    for words in (["fig01", "--parameters", "class.yaml"], ["--out", "x"], ["--parameters", "class.yaml", "--rerun"]):
        monkeypatch.setattr("sys.argv", ["mcal", "reproduce", *words])
        with pytest.raises(SystemExit):
            main()
        assert capsys.readouterr().err.startswith(("mcal: parameters", "mcal: out"))


@pytest.mark.slow
def test_variants_are_executed_notebooks_with_a_summary(folder, monkeypatch, capsys):
    ask(folder, grid={"seed": [7]})
    monkeypatch.setattr("sys.argv", ["mcal", "reproduce", "--parameters", "class.yaml", "--out", "x"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)
    assert "seed-7" in capsys.readouterr().out
    record = json.loads((folder / "x" / "seed-7" / variants.RECORD).read_text())
    assert (record["result"], record["parameters"]) == ("7", {"seed": 7})
    assert "<a href=" in (folder / "x" / "summary.html").read_text()
