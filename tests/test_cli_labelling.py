"""What the command line says to the doors: options of the page, remembered by the job, and what is refused."""

import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mcal_jax.cli import main
from mcal_jax.labelling import browser
from mcal_jax.runs.runlog import RunLog


@pytest.fixture
def served(monkeypatch):
    """The settings that each page was served with."""
    calls = []

    def serve(session, **settings):
        calls.append({name: value for name, value in settings.items() if name not in ("folder", "emit")})

    monkeypatch.setattr(browser, "serve", serve)
    return calls


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(200):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / "photos" / f"{i:03d}.png")
    return tmp_path / "photos"


def run(capsys, monkeypatch, *words):
    """Exit code and text of a command."""
    monkeypatch.setattr(sys, "argv", ["mcal", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return end.value.code or 0, said.out + said.err


pytestmark = pytest.mark.usefixtures("small_nets")
BEGIN = ("--classes", "cat,dog", "--width", "2", "--recipe", "brief")


def test_a_job_remembers_how_annotators_are_asked_but_not_where_the_page_listens(photos, served, capsys, monkeypatch):
    page = ("--browser", "--opinions", "3", "--gold", "0.1", "--prices", "ada=0.02,bob=0.05", "--lease", "60")
    code, said = run(capsys, monkeypatch, "label", photos, *BEGIN, *page, "--host", "0.0.0.0", "--hosts", "a.b,c")
    assert code == 0, said
    asking = {"opinions": 3, "gold": 0.1, "prices": {"ada": 0.02, "bob": 0.05}, "lease": 60.0}
    assert served == [{**asking, "host": "0.0.0.0", "hosts": ["a.b", "c"]}]
    assert run(capsys, monkeypatch, "label", photos, "--opinions", "2", "--port", "8765")[0] == 0
    assert run(capsys, monkeypatch, "label", photos)[0] == 0
    assert served[1:] == [{**asking, "opinions": 2, "port": 8765}, {**asking, "opinions": 2}]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--opinions", "3"), "opinions: the door csv has no page"),
        (("--door", "folder", "--browser"), "--browser and --door folder"),
        (("--browser", "--opinions", "0"), "opinions: at least 1"),
        (("--browser", "--gold", "0.9"), "gold: a share of the images"),
        (("--browser", "--lease", "0"), "lease: more than 0 seconds"),
        (("--browser", "--mistake-cost", "1"), "mistake_cost: it decides on second opinions"),
        (("--browser", "--opinions", "2", "--prices", "ada:3"), "--prices: ada=0.02,bob=0.05 is meant, got 'ada:3'"),
        (("--browser", "--opinions", "2", "--prices", "=3"), "--prices: a price without a name"),
    ],
)
def test_settings_that_make_no_sense_begin_no_job(photos, served, capsys, monkeypatch, words, says):
    code, said = run(capsys, monkeypatch, "label", photos, *BEGIN, *words)
    assert code == 2
    assert says in said
    assert not served
    assert not photos.with_name("photos.mcal").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--seed", "-1"), "seed: at least 0, got -1"),
        (("--width", "0"), "width: at least 1, got 0"),
        (("--acquisition", "none.py:mine"), "none.py: No such file"),
        (("--objective", "least_error"), "objective least_error: it needs budget"),
    ],
)
def test_a_job_that_can_not_begin_leaves_nothing_to_go_on_with(photos, capsys, monkeypatch, words, says):
    begin = ("--classes", "cat,dog", "--door", "folder", "--recipe", "brief")
    code, said = run(capsys, monkeypatch, "label", photos, *begin, *words)
    assert code == 2
    assert says in said
    assert not [path.name for path in photos.with_name("photos.mcal").iterdir() if path.name != "cache"]


def test_known_labels_of_a_random_sample_are_the_test_set(photos, capsys, monkeypatch):
    """The table knows 20 labels: T of 1 in 20 images, is then bought from nobody."""
    table = photos.with_name("photos.csv")
    rows = {"file": [f"photos/{i:03d}.png" for i in range(200)], "label": ["cat", *["dog"] * 19, *[None] * 180]}
    pd.DataFrame(rows).to_csv(table, index=False)
    code, said = run(capsys, monkeypatch, "label", table, *BEGIN, "--known-at-random")
    assert code == 0, said
    job = RunLog.read(table.with_name("photos.csv.mcal") / "run.jsonl").job
    assert (len(job.owned_test), len(job.owned)) == (9, 11)  # 5 % of the 180 others
    assert "9 labels that are known already join T, at no cost" in said
    assert "labelled in earlier batches: 20 of 200" in said
    assert run(capsys, monkeypatch, "label", table)[0] == 0
    code, said = run(
        capsys, monkeypatch, "label", photos, *BEGIN, "--out", photos.with_name("other"), "--known-at-random"
    )
    assert code == 2
    assert "no label of 'photos' is known" in said
    assert not (photos.with_name("other") / "run.jsonl").exists()


def test_a_sample_has_no_negative_seed(capsys, monkeypatch, tmp_path):
    rows = {"item": [f"{i}" for i in range(40)], "prediction": ["a", "b"] * 20, "score": np.linspace(0, 1, 40)}
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    code, said = run(capsys, monkeypatch, "certify", tmp_path / "table.csv", "--seed", "-1")
    assert code == 2
    assert "seed: at least 0, got -1" in said
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_predictions_are_certified_in_the_browser_by_the_same_options(photos, served, capsys, monkeypatch):
    names = [path.name for path in sorted(photos.iterdir())]
    table = photos / "p.csv"
    pd.DataFrame({"file": names, "prediction": "cat", "score": 0.9}).to_csv(table, index=False)
    words = ("certify", table, "--classes", "cat,dog", "--browser", "--opinions", "3", "--sample", "50")
    code, said = run(capsys, monkeypatch, *words, "--out", photos.with_name("job"))
    assert code == 0, said
    assert served == [{"opinions": 3}]


def test_a_job_remembers_its_rules_and_bounds(photos, capsys, monkeypatch, tmp_path):
    (tmp_path / "rules.py").write_text("def late(n, plans, config):\n    return len(plans) > 9\n")
    own = (
        "--acquisition",
        "entropy",
        "--stop-rules",
        f"{tmp_path}/rules.py:late",
        "--objective",
        "certified_least_cost",
    )
    bounds = ("--machine-epsilon", "0.4", "--class-epsilon", "0.3", "--repeat", "0.5")
    assert run(capsys, monkeypatch, "label", photos, *BEGIN, *own, *bounds)[0] == 0
    code, said = run(capsys, monkeypatch, "label", photos)
    assert code == 0, said
    job = RunLog.read(photos.with_name("photos.mcal") / "run.jsonl").job
    assert (job.config.acquisition, job.objective) == ("entropy", "certified_least_cost")
    assert [rule.endswith("rules.py:late") for rule in job.stop_rules] == [True]
    assert (job.config.machine_epsilon, job.config.class_epsilon, job.config.repeat) == (0.4, 0.3, 0.5)
