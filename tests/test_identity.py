"""A run is what its settings and its images are, not what its file is called (checked when it is shown or resumed)."""

import csv
import json
import os
import shutil

import numpy as np
import pytest

from mcal_jax.errors import McalError
from mcal_jax.runs import execution, settings
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run

HUMANS = {"algorithm": "humans_only"}


def images(path, n=60, seed=0, classes=("cat", "dog"), side=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), n)
    pixels = (rng.integers(0, 60, (n, side, side)) + 120 * (labels % 2)[:, None, None]).astype(np.uint8)
    np.savez(path, images=pixels, labels=labels, classes=classes)
    return pixels, labels


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "results", lambda: tmp_path / "results")
    monkeypatch.setattr(execution, "results", lambda: tmp_path / "results")
    images("inbox.npz")
    return tmp_path


def execute(name="inbox.npz", log=None, **changes):
    told = []
    result = execution.execute(Run(data={"name": name}, **{**HUMANS, **changes}), log, emit=told.append)
    return result, told


def error_of(call, *arguments, **named):
    with pytest.raises(McalError) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cut(path, lines):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))


def test_another_content_under_the_same_name_is_another_run(folder):
    monday, _ = execute()
    images("inbox.npz", n=80, seed=1, classes=("ship", "plane"))
    tuesday, _ = execute()
    assert monday.path != tuesday.path
    assert len(tuesday.delivery.labels) == 80
    assert np.array_equal(tuesday.delivery.labels, np.load("inbox.npz")["labels"])
    tuesday.write_labels(folder / "labels.csv")
    rows = list(csv.DictReader((folder / "labels.csv").open(encoding="utf-8")))
    assert {row["class"] for row in rows} == {"ship", "plane"}


def test_the_same_content_under_another_name_or_path_is_the_same_run(folder):
    first, _ = execute()
    (folder / "elsewhere").mkdir()
    shutil.copy("inbox.npz", folder / "elsewhere" / "inbox.npz")
    os.symlink("inbox.npz", "link.npz")
    for name in ("./inbox.npz", str(folder / "inbox.npz"), "elsewhere/inbox.npz"):
        again, told = execute(name)
        assert again.path == first.path
        assert told == []
    assert execution.log_path(Run(data={"name": "link.npz"}, **HUMANS), "smoke").name.startswith("link-")


def test_two_folders_with_a_file_of_the_same_name_share_no_log(folder):
    for name, seed in (("a", 1), ("b", 2)):
        (folder / name).mkdir()
        images(folder / name / "inbox.npz", seed=seed)
    paths = {execute(f"{name}/inbox.npz")[0].path for name in ("a", "b")}
    assert len(paths) == 2


CHANGES = {
    "a pixel": (lambda x, y, names: (x ^ (np.arange(x.size).reshape(x.shape) == 5), y, names), "pixels"),
    "a label": (lambda x, y, names: (x, np.where(np.arange(len(y)) == 3, 1 - y, y), names), "labels"),
    "a name": (lambda x, y, names: (x, y, ("cat", "fox")), "classes"),
    "the order": (lambda x, y, names: (x[::-1], y[::-1], names), "pixels"),
    "the number": (lambda x, y, names: (x[:-1], y[:-1], names), "59"),
    "the sides": (lambda x, y, names: (x.reshape(-1, 2, 8), y, names), "shapes"),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("finished", [True, False])
def test_a_log_of_other_images_is_refused_by_what_changed(folder, what, finished):
    pixels, labels = images("inbox.npz")
    execute(log="run.jsonl")
    if not finished:
        cut(folder / "run.jsonl", 1)
    change, told = CHANGES[what]
    changed = change(pixels, labels, ("cat", "dog"))
    np.savez("inbox.npz", **dict(zip(("images", "labels", "classes"), changed, strict=True)))
    before = (folder / "run.jsonl").read_bytes()
    message = error_of(execute, log="run.jsonl")
    assert "run.jsonl is the log of other images" in message
    assert told in message
    assert (folder / "run.jsonl").read_bytes() == before
    if not finished:
        assert told in error_of(execution.resume, "run.jsonl", emit=lambda line: None)


def test_a_finished_log_is_shown_and_exported_without_its_images(folder):
    whole, _ = execute(log="run.jsonl")
    os.remove("inbox.npz")
    shown = execution.resume("run.jsonl", emit=lambda line: None)
    assert shown.summary() == whole.summary()
    shown.write_labels(folder / "labels.csv")
    assert len((folder / "labels.csv").read_text(encoding="utf-8").splitlines()) == 61


def test_a_run_resumes_from_any_folder(folder, monkeypatch):
    execute(log="run.jsonl")
    cut(folder / "run.jsonl", 1)
    (folder / "deep").mkdir()
    monkeypatch.chdir(folder / "deep")
    assert execution.resume("../run.jsonl", emit=lambda line: None).outcome.ledger.total == pytest.approx(2.4)


def test_an_early_log_without_content_is_known_by_its_number_of_images(folder):
    execute(log="run.jsonl")
    from test_runlog import rewrite

    rewrite(folder / "run.jsonl", 0, lambda head: head.pop("content"))
    assert execute(log="run.jsonl")[0].outcome.n == 60
    images("inbox.npz", n=61)
    assert "60 of them, and" in error_of(execute, log="run.jsonl")


def test_other_settings_are_refused_by_name(folder):
    execute(log="run.jsonl")
    assert "seed is 0 there, 1 here" in error_of(execute, log="run.jsonl", seed=1)


def test_a_file_that_is_replaced_while_a_process_runs_is_read_anew(folder):
    run = Run(data={"name": "inbox.npz"}, **HUMANS)
    assert len(execution.load_data(run).images) == 60
    images("new.npz", n=70)
    os.replace("new.npz", "inbox.npz")
    assert len(execution.load_data(run).images) == 70


def test_named_sets_keep_the_ids_of_recorded_logs():
    logs = sorted((settings.home() / "results/runs/laptop").glob("*.jsonl"))[:40]
    assert len(logs) == 40
    for path in logs:
        run = execution.run_of(RunLog.read(path))
        assert execution.log_path(run, "laptop").name == path.name


def test_the_head_says_what_the_images_are(folder):
    execute(log="run.jsonl")
    head = json.loads((folder / "run.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert head["content"]["shape"] == [60, 4, 4, 1]
    assert head["content"]["class_names"] == ["cat", "dog"]
    assert head["run"]["data"]["name"] == str(folder / "inbox.npz")


def test_outputs_never_take_the_place_of_an_input(folder):
    (folder / "run.yaml").write_text("data: {name: inbox.npz}\n", encoding="utf-8")
    os.symlink("inbox.npz", "link")
    os.link("inbox.npz", "hard")
    run = Run(data={"name": "inbox.npz"}, **HUMANS)
    before = {name: (folder / name).read_bytes() for name in ("inbox.npz", "run.yaml")}
    for log, labels in (("inbox.npz", None), ("link", None), ("a.jsonl", "link"), ("a.jsonl", "hard"), ("a.csv", None),
                        ("a.jsonl", "./a.jsonl"), ("run.yaml", None), ("a.jsonl", "run.yaml")):  # fmt: skip
        message = error_of(execution.execute, run, log, labels=labels, inputs={"CONFIG": "run.yaml"}, emit=print)
        assert "same file" in message or "would be lost" in message
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not (folder / "a.jsonl").exists()
