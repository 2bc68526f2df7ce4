"""A table of predictions in, certified labels out: what columns mean, what is refused, and a job that goes on."""

import csv
import json
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mcal_jax import McalError, certify
from mcal_jax.certification import certify_table
from mcal_jax.certification.predictions import from_table
from mcal_jax.cli import main
from mcal_jax.runs.report import check_line
from mcal_jax.runs.runlog import RunLog

N = 600
NAMES = np.array(["cat", "dog", "eel"])


def rows(error=0.1, seed=0):
    """Items with a classifier's labels and the chances that they are right, and the truth."""
    rng = np.random.default_rng(seed)
    truth, chance = rng.integers(0, 3, N), 3 * error * rng.random(N) ** 2
    predicted = np.where(rng.random(N) < chance, (truth + 1) % 3, truth)
    frame = pd.DataFrame({"item": [f"{i:04d}" for i in range(N)], "prediction": NAMES[predicted], "score": 1 - chance})
    return frame, NAMES[truth]


def answer(out, truth, which=slice(None)):
    """Fill in the tables of the open batch, all or part."""
    for path in out.glob("batch-*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            head, *lines = csv.reader(file)
        for line in lines[which]:
            line[1] = truth[int(line[0])]
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *lines])


def test_a_table_is_certified_by_files_and_goes_on_where_it_was(tmp_path):
    frame, truth = rows()
    table, out, said = tmp_path / "p.csv", tmp_path / "p.csv.mcal", []
    frame.to_csv(table, index=False)
    settings = {"label_price": 0.5, "epsilon": 0.06, "certify": 0.9}
    first = certify_table(table, settings=settings, emit=said.append)
    assert first.purpose == "certify"
    assert first.cost == pytest.approx(0.5 * len(first))
    answer(out, truth, slice(10))
    again = certify_table(table, emit=said.append)  # it knows its settings, and what was answered
    assert len(again) == len(first) - 10
    answer(out, truth)
    rest = certify_table(table, annotator="ada", emit=said.append)
    assert rest.purpose == "residual"
    answer(out, truth)
    result = certify_table(table, emit=said.append)
    assert np.mean(NAMES[result.labels] != truth) < 0.06
    assert result.certificate.confidence == pytest.approx(0.9)
    assert result.bill.total == pytest.approx(0.5 * (len(first) + len(rest)))
    labels = pd.read_csv(out / "labels.csv", dtype=str)
    assert labels["file"].tolist() == frame["item"].tolist()  # 0007 is not 7
    by_human = labels["source"] == "human"
    assert (labels["label"][by_human] == truth[by_human]).all()
    assert (labels["label"][~by_human] == frame["prediction"][~by_human]).all()
    sheet = (out / "datasheet.md").read_text(encoding="utf-8")
    assert "a classifier's prediction of each" in sheet
    assert "training" not in sheet
    assert check_line(out / "run.jsonl")[1]


def test_labels_known_in_part_are_kept_at_no_cost_and_certify_nothing(tmp_path):
    frame, truth = rows()
    known = np.arange(N) % 4 == 0
    frame = frame.assign(label=np.where(known, truth, None), cost=np.where(known, 5.0, 0.5))
    table, said, asked = tmp_path / "p.csv", [], []
    frame.to_csv(table, index=False)
    while hasattr(batch := certify_table(table, settings={"epsilon": 0.06}, emit=said.append), "purpose"):
        asked.append(batch)
        answer(tmp_path / "p.csv.mcal", truth)
    assert f"{known.sum()} labels are known; they are kept as they are, at no cost" in said
    assert not known[np.concatenate([batch.indices for batch in asked])].any()
    assert (NAMES[batch.labels[known]] == truth[known]).all()
    assert not batch.by_machine[known].any()
    assert batch.bill.total == pytest.approx(0.5 * sum(map(len, asked)))
    assert batch.bill.humans_only == pytest.approx(0.5 * (~known).sum())
    assert batch.certificate.sample == len(asked[0])
    assert np.mean(NAMES[batch.labels] != truth) < 0.06
    assert (
        "150 of their labels were known before and cost nothing"
        in (tmp_path / "p.csv.mcal" / "datasheet.md").read_text()
    )
    assert check_line(tmp_path / "p.csv.mcal" / "run.jsonl")[1]


class Killed(BaseException):
    """The process is no more."""


def test_a_job_goes_on_where_its_table_got_labels_since_then(tmp_path):
    frame, truth = rows()
    frame["label"] = ""
    table, log = tmp_path / "p.csv", tmp_path / "run.jsonl"
    frame.to_csv(table, index=False)
    with pytest.raises(McalError, match="items have no label yet"):
        certify(table, log=log)
    sample = certify_table(table, emit=lambda line: None)
    frame["label"] = [*truth[:-20], *[""] * 20]  # fewer than the sample are left
    frame.to_csv(table, index=False)
    with pytest.raises(McalError, match="items have no label yet"):
        certify(table, log=log)
    assert len(certify_table(table, emit=lambda line: None)) < len(sample)
    frame["label"] = truth
    frame.to_csv(table, index=False)
    results = certify(table, log=log), certify_table(table, emit=lambda line: None)
    for result in results:
        assert result.certificate.sample == len(sample)
        assert result.bill.total == pytest.approx(0.04 * (~result.by_machine).sum())


def test_killed_at_any_line_of_its_log_it_goes_on_to_the_same_labels(tmp_path, monkeypatch):
    frame, truth = rows()
    path = tmp_path / "p.csv"
    frame.assign(label=truth).to_csv(path, index=False)
    straight = certify_table(path, emit=lambda line: None)
    write, left = RunLog._write, 0

    def write_and_die(log, line):
        nonlocal left
        write(log, line)
        left -= 1
        if not left:
            raise Killed

    monkeypatch.setattr(RunLog, "_write", write_and_die)
    for lines in range(1, 20):
        left, out = lines, tmp_path / f"job-{lines}"
        try:
            certify_table(path, out=out, emit=lambda line: None)
        except Killed:
            left = 0
            result = certify_table(path, out=out, emit=lambda line: None)
            assert np.array_equal(result.labels, straight.labels)
            assert result.bill == straight.bill
        else:
            break
    assert lines > 5


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_of_all_kinds_hold_the_same_predictions(tmp_path, ending):
    frame, truth = rows()
    frame["label"] = np.where(np.arange(N) % 2, truth, None)
    path = tmp_path / f"p.{ending}"
    write = {
        "csv": lambda: frame.to_csv(path, index=False),
        "tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(path),
    }
    write[ending]()
    read = from_table(path)
    assert read.items == tuple(frame["item"])
    assert [read.classes[k] for k in read.labels] == frame["prediction"].tolist()
    assert np.allclose(read.scores, frame["score"], atol=1e-9)
    assert read.truth.tolist() == [list(NAMES).index(t) if i % 2 else -1 for i, t in enumerate(truth)]
    assert not read.is_known


def test_probabilities_stand_in_for_prediction_and_score(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("ID,p_no,p_yes\na,0.2,0.8\nb,0.9,0.1\n", encoding="utf-8")
    read = from_table(path)
    assert (read.items, read.classes, read.labels.tolist()) == (("a", "b"), ("no", "yes"), [1, 0])
    assert read.scores.tolist() == [0.8, 0.9]


def test_numbers_as_classes_are_sorted_as_numbers_and_names_stay_as_they_are_written(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("item,prediction,score\na,10,1\nb,2,1\nc,10,0\n", encoding="utf-8")
    assert from_table(path).classes == ("2", "10")
    path.write_text("item,prediction,score\nNA,NA,1\nnan,None,1\n", encoding="utf-8")
    assert from_table(path)[4:5] == (("NA", "nan"),)
    assert from_table(path).classes == ("NA", "None")


def test_a_table_with_all_labels_needs_nobody_and_tells_the_true_error(tmp_path):
    frame, truth = rows()
    path = tmp_path / "p.csv"
    frame.assign(label=truth).to_csv(path, index=False)
    result = certify(path)
    assert result.true_error == np.mean(NAMES[result.labels] != truth)
    assert certify_table(path, emit=lambda line: None).bill == result.bill
    frame.to_csv(path, index=False)
    with pytest.raises(McalError, match="say who labels them"):
        certify(path)


def test_costs_are_billed_by_item_and_what_saves_most_is_taken_first(tmp_path):
    frame, truth = rows(0.2)
    cost = np.where(np.arange(N) % 2, 0.01, 1.0)
    path = tmp_path / "p.csv"
    frame.assign(label=truth, cost=cost).to_csv(path, index=False)
    result = certify(path)
    human = ~result.by_machine
    assert result.bill.total == pytest.approx(cost[human].sum())
    assert result.bill.humans_only == pytest.approx(cost.sum())
    assert result.to_frame()["cost"].sum() == pytest.approx(cost[human].sum())
    assert cost[~human].mean() > 0.7  # the dear ones
    assert result.true_error < 0.05
    equal = certify(frame["prediction"], frame["score"], annotate=lambda at: truth[at], log=tmp_path / "run.jsonl")
    assert cost[human].sum() < 0.8 * cost[~equal.by_machine].sum()
    with pytest.raises(McalError, match="has a column of costs"):
        certify(path, label_price=0.04)


def test_pictures_go_through_the_folder_door(tmp_path):
    for i in range(40):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / f"{i}.png")
    frame = pd.DataFrame({"file": [f"{i}.png" for i in range(40)], "prediction": ["a", "b"] * 20, "score": 0.5})
    frame.to_csv(tmp_path / "p.csv", index=False)
    batch = certify_table(tmp_path / "p.csv", door="folder", emit=lambda line: None)
    unlabelled = tmp_path / "p.csv.mcal" / "batch-0000" / "unlabelled"
    assert len(list(unlabelled.iterdir())) == len(batch) > 0
    (tmp_path / "7.png").unlink()
    with pytest.raises(McalError, match=r"7.png is no picture in .*: use csv"):
        certify_table(tmp_path / "p.csv", emit=lambda line: None)


HEAD = "item,prediction,score\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read as a table"),
        (HEAD, "has no rows"),
        ("item,score\na,1\n", "has no column 'prediction'; its columns are item, score"),
        ("prediction,score\na,1\n", "has no column 'item'"),
        (HEAD + "a,x,1\nb,y,\n", "item 'b': score is ''"),
        (HEAD + "a,x,1\nb,y,nan\n", "item 'b': score is 'nan'"),
        (HEAD + "a,x,1\nb,y,high\n", "item 'b': score is 'high'"),
        (HEAD + "a,x,inf\nb,y,1\n", "item 'a': score is 'inf'"),
        (HEAD + "a,x,1\nb,,1\nc,y,1\n", "item 'b': no prediction"),
        (HEAD + "a,x,1\nb,y,1\na,x,1\n", "item 'a' is there more than once"),
        (HEAD + "a,x,1\n,y,1\n", "row 2 names no item"),
        (HEAD + "a,x,1\nb,y,1,z\n", "cannot be read as a table"),
        (HEAD + "a,x,1\nb,x,1\n", "has 1 class: give the names of at least 2"),
        ("item,prediction,score,cost\na,x,1,0\nb,y,1,1\n", "item 'a': cost is '0'"),
        ("item,p_x,p_y\na,0.5,0.5\nb,2,0\n", "item 'b': p_x is '2': a number from 0 to 1"),
    ],
)
def test_what_is_no_table_of_predictions_is_refused_in_a_line_and_nothing_is_written(tmp_path, text, says):
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    with pytest.raises(McalError, match=says) as refused:
        certify_table(tmp_path / "p.csv")
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]


def test_other_bytes_unknown_classes_and_other_tables_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(HEAD.encode() + "a,Käse,1\nb,y,1\n".encode("latin-1"))
    with pytest.raises(McalError, match="cannot be read as a table: 'utf-8' codec"):
        certify_table(path)
    path.write_text(HEAD + "a,cat,1\nb,dgo,1\n", encoding="utf-8")
    with pytest.raises(McalError, match="item 'b': prediction: unknown class 'dgo': did you mean 'dog'"):
        certify_table(path, classes=["cat", "dog"])
    with pytest.raises(McalError, match=r"no file '.*none.csv'"):
        certify_table(tmp_path / "none.csv")
    with pytest.raises(McalError, match=r"'.*p.txt' is no table"):
        certify_table(tmp_path / "p.txt")


def test_the_command_ends_in_a_line_and_exit_code_2_or_asks(tmp_path, capsys, monkeypatch):
    frame, _ = rows()
    monkeypatch.chdir(tmp_path)
    frame.to_csv("p.csv", index=False)
    monkeypatch.setattr(sys, "argv", ["mcal", "certify", "p.csv", "--price", "0.1", "--sample", "100", "--out", "job"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "wanted: 100 labels of a random sample (V), $10.00" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["mcal", "certify", "p.csv", "--door", "browser", "--out", "job"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "0000 is no picture in" in line


def test_a_job_begun_refuses_other_predictions_and_other_settings(tmp_path):
    frame, _ = rows()
    path = tmp_path / "p.csv"
    frame.to_csv(path, index=False)
    certify_table(path, emit=lambda line: None)
    before = (tmp_path / "p.csv.mcal" / "run.jsonl").read_bytes()
    with pytest.raises(McalError, match=r"label_price = 0.04, now 0.1"):
        certify_table(path, settings={"label_price": 0.1})
    frame.assign(score=frame["score"].to_numpy()[::-1]).to_csv(path, index=False)
    with pytest.raises(McalError, match="log of other predictions"):
        certify_table(path)
    assert (tmp_path / "p.csv.mcal" / "run.jsonl").read_bytes() == before
    assert json.loads((tmp_path / "p.csv.mcal" / "job.json").read_text(encoding="utf-8"))["door"] == "csv"
