"""Finished labels as tables, as tasks of Label Studio and as a datasheet."""

import json
import os
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import MIDDLING

from mcal_jax import Config, McalError, Result, Session, from_arrays
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import MachineLabel
from mcal_jax.cli.labelling import export as export_command
from mcal_jax.labelling import datasheet, export, table
from mcal_jax.labelling.mistakes import chance_at
from mcal_jax.worlds.simulated import SimulatedWorld

N = 400
CLASSES = ["cat", "<b>dog</b>", "a|b"]
FILES = ("=1+1.png", "two\nlines.png", "<script>.png", *(f"p{i}.png" for i in range(N - 3)))


class WithMargins(SimulatedWorld):
    """A simulated world whose classifier tells how sure it is."""

    def answer(self, request, number):
        answer = super().answer(request, number)
        if isinstance(request, MachineLabel):
            margins = np.linspace(0, 1, len(answer.labels), dtype=np.float32)
            answer = answer._replace(margins=margins)
        return answer


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Logs of a certified run and of one that is not, both with file names."""
    folder, images = tmp_path_factory.mktemp("logs"), np.zeros((N, 4, 4), np.uint8)
    pool = from_arrays(images, None, CLASSES, "my|photos")._replace(files=FILES)
    paths = {}
    for name, preset in {"certified": Config.certified, "plain": Config}.items():
        config = preset(epsilon=0.3, machine_epsilon=None)  # so that the machine labels some
        paths[name] = folder / f"{name}.jsonl"
        with Session.over(WithMargins(N, MIDDLING, seed=3), Job(n=N, config=config), pool, paths[name]) as session:
            while (batch := session.ask()) is not None:
                session.tell(batch, ["cat"] * len(batch), annotator="ada")
    return paths, pool


@pytest.fixture(params=["certified", "plain"])
def result(logs, request):
    paths, pool = logs
    return Result(paths[request.param], pool)


def test_a_name_that_is_no_text_or_a_formula_is_escaped(tmp_path):
    names = (os.fsdecode(b"caf\xe9.png"), *FILES[1:])
    pool = from_arrays(np.zeros((N, 4, 4), np.uint8), None, CLASSES)._replace(files=names)
    job = Job(n=N, config=Config(epsilon=0.3), algorithm="humans_only")
    with Session.over(SimulatedWorld(N, MIDDLING, seed=3), job, pool, tmp_path / "run.jsonl") as session:
        session.tell(session.ask(), ["cat"] * N, annotator="=1+1")
        result = session.result()
    assert result.to_frame()["file"].tolist() == ["caf\\xe9.png", *FILES[1:]]
    written = pd.read_csv(export.write(result, "csv", tmp_path / "labels.csv"))
    assert "caf\\xe9.png" in written["file"].tolist()
    assert set(written["annotator"]) == {"./=1+1"}


def test_a_row_for_each_image_says_all_that_is_known(result):
    rows = table.rows(result)
    assert rows["file"].tolist() == list(FILES)
    machine = rows["source"] == "machine"
    assert machine.any()
    assert rows["price"].sum() == pytest.approx(result.bill.total - result.bill.training)
    assert set(rows["annotator"][~machine]) == {"ada"}
    assert rows["time"][~machine].notna().all()
    assert (rows["set"][machine] == "S").all()
    assert rows["margin"].notna().equals(machine)
    assert rows["mistake_chance"].notna().equals(machine)
    least_sure_first = rows[machine].sort_values("margin")["mistake_chance"]
    assert least_sure_first.is_monotonic_decreasing
    assert rows["round"][rows["set"] == "T"].eq(0).all()
    assert rows["round"][machine].eq(len(result.outcome.history)).all()


def test_every_format_holds_the_same_labels(result, tmp_path):
    rows = table.rows(result)
    read = {
        "csv": lambda p: pd.read_csv(p),
        "jsonl": lambda p: pd.read_json(p, lines=True),
        "parquet": lambda p: pd.read_parquet(p),
    }
    for form, how in read.items():
        frame = how(export.write(result, form, tmp_path / f"labels{export.ENDINGS[form]}"))
        assert list(frame) == list(rows)
        assert frame["label"].tolist() == rows["label"].tolist()
        assert frame["mistake_chance"].to_numpy(float) == pytest.approx(rows["mistake_chance"].to_numpy(), nan_ok=True)
        assert pd.to_datetime(frame["time"], utc=True, format="ISO8601").equals(rows["time"])
        names = ["./=1+1.png", *FILES[1:]] if form == "csv" else list(FILES)  # no formula for a spreadsheet
        assert frame["file"].tolist() == names


def test_label_studio_gets_annotations_of_humans_and_predictions_of_the_machine(result, tmp_path):
    tasks = json.loads(export.write(result, "label-studio", tmp_path / "tasks.json").read_text())
    assert len(tasks) == N
    for task, by_machine in zip(tasks, result.by_machine, strict=True):
        (answer,) = task["predictions" if by_machine else "annotations"]
        assert ("annotations" in task) != by_machine
        assert answer["result"][0]["value"]["choices"][0] in CLASSES
    assert tasks[1]["data"]["image"] == "two\nlines.png"


def test_label_studio_gets_a_skipped_task_where_nobody_can_tell(tmp_path):
    pool = from_arrays(np.zeros((N, 4, 4), np.uint8), None, CLASSES)
    with Session.over(SimulatedWorld(N, MIDDLING, seed=3), Job(n=N, config=Config()), pool, tmp_path / "l") as session:
        first = session.ask().indices[0]
        session.tell_unknown([first])
        while (batch := session.ask()) is not None:
            session.tell(batch, ["cat"] * len(batch))
        tasks = export.label_studio_tasks(session.result())
    assert tasks[first]["annotations"] == [{"result": [], "was_cancelled": True}]
    assert sum(task.get("annotations", [{}])[0].get("was_cancelled", False) for task in tasks) == 1


def test_a_missing_pyarrow_and_a_wrong_format_are_said_in_a_line(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(McalError, match=r"pip install 'mcal-jax\[tables\]'"):
        export.write(result, "parquet", tmp_path / "labels.parquet")
    with pytest.raises(McalError, match=r"pip install 'mcal-jax\[tables\]'"):
        result.save(tmp_path / "labels.parquet")
    with pytest.raises(McalError, match="unknown format 'excel'"):
        export.write(result, "excel", tmp_path / "labels.xls")
    with pytest.raises(McalError, match=r"ends in \.html or \.md"):
        export.write(result, "datasheet", tmp_path / "datasheet.pdf")
    assert not list(tmp_path.iterdir())


def test_the_datasheet_says_what_is_certified_in_figures_of_the_run(result, tmp_path):
    page = datasheet.write(result, tmp_path / "datasheet.html").read_text(encoding="utf-8")
    text = datasheet.write(result, tmp_path / "datasheet.md").read_text(encoding="utf-8")
    certificate = result.certificate
    if certificate is None:
        assert "Nothing is certified" in page
        assert "Nothing is certified" in text
        return
    most = int(certificate.bound * N + 1e-9)
    statement = (
        f"With a confidence of 95%, at most {most:,} of the {N:,} labels of this data set ({certificate.bound:.2%})"
    )
    pool = len(result.outcome.V) + len(result.outcome.S) + len(result.outcome.R)
    basis = f"{certificate.sample:,} images were drawn at random, each with the same chance, from the {pool:,} images"
    for sheet in (page, text):
        assert statement in sheet
        assert basis in sheet
        assert f"{certificate.trials:,} of these lie where the classifier labels, and {certificate.mistakes:,}" in sheet
        assert "at most 5% of them" in sheet
        assert f"{result.bill.total:,.2f}" in sheet


def test_a_datasheet_runs_no_code_of_a_file_name_or_class(result, tmp_path):
    page = datasheet.write(result, tmp_path / "datasheet.html").read_text(encoding="utf-8")
    text = datasheet.write(result, tmp_path / "datasheet.md").read_text(encoding="utf-8")
    for sheet in (page, text):
        assert "<script>" not in sheet
        assert "<b>dog" not in sheet
    assert "a\\|b" in text
    assert page.count('src="data:image/png') == min(datasheet.LEAST_SURE, int(result.by_machine.sum()))


@pytest.mark.parametrize("seed", range(3))
def test_the_estimated_chance_is_near_the_true_one(seed):
    rng = np.random.default_rng(seed)
    sample, ranks = rng.random(1000), np.linspace(0, 1, 2000)
    wrong = rng.random(1000) < 0.5 * sample**3
    estimate, truth = chance_at(ranks, sample, wrong), 0.5 * ranks**3
    assert (np.diff(estimate) >= -1e-12).all()
    assert abs(estimate.mean() - truth.mean()) < 0.04  # three standard errors of the sample's share of mistakes
    assert np.abs(estimate - truth).mean() < 0.05
    assert (estimate > 0).all()


def test_the_command_exports_a_job_by_its_folder(logs, tmp_path, capsys):
    paths, _ = logs
    (tmp_path / "run.jsonl").write_bytes(paths["certified"].read_bytes())
    export_command(tmp_path, format="jsonl")
    assert capsys.readouterr().out.strip() == str(tmp_path / "run-labels.jsonl")
    export_command(tmp_path / "run.jsonl", format="datasheet", out=tmp_path / "sheet.md")
    assert (tmp_path / "sheet.md").read_text().startswith("# Datasheet of my\\|photos")
    with pytest.raises(McalError, match="that is the run log itself"):
        export_command(tmp_path, out=tmp_path / "run.jsonl")


@pytest.mark.parametrize("form", export.ENDINGS)
def test_an_export_is_written_over_one_of_its_kind_and_over_nothing_else(logs, tmp_path, form):
    target = tmp_path / f"mine{export.ENDINGS[form]}"
    export_command(logs[0]["certified"], format=form, out=target)
    export_command(logs[0]["certified"], format=form, out=target)
    target.write_text("item,prediction,score\n", encoding="utf-8")
    with pytest.raises(McalError, match="holds something else and would be lost"):
        export_command(logs[0]["certified"], format=form, out=target)
    assert target.read_text(encoding="utf-8") == "item,prediction,score\n"
