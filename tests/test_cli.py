"""The command line as a user meets it: exit codes, one-line errors, nothing half-written."""

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from mcal_jax.cli import main

TINY = ["--data", "tiny.npz"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with 400 images of two kinds that a net tells apart easily."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    images = rng.integers(0, 60, (400, 8, 8), dtype=np.uint8) + (labels * 120).astype(np.uint8)[:, None, None]
    np.savez(tmp_path / "tiny.npz", images=images, labels=labels)
    np.savez(tmp_path / "unlabelled.npz", images=images)
    (tmp_path / "run.yaml").write_text(
        "data: {name: tiny.npz}\nwidth: 2\nconfig: {test_fraction: 0.1}\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mcal(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``mcal words``."""
    try:
        sys.argv = ["mcal", *words]
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_run_is_logged_shown_again_and_writes_every_label(folder, capsys):
    code, out, _ = mcal(capsys, "run", "run.yaml", "--log", "a.jsonl")
    assert code == 0
    assert "stopped by" in out
    assert "savings" in out
    rows = list(csv.DictReader((folder / "a.csv").open(encoding="utf-8")))
    assert [int(row["index"]) for row in rows] == list(range(400))
    assert {row["by"] for row in rows} == {"people", "machine"}
    before = (folder / "a.jsonl").read_bytes()
    code, again, _ = mcal(capsys, "run", "run.yaml", "--log", "a.jsonl")
    assert code == 0
    assert out.strip().endswith(again.strip())
    assert (folder / "a.jsonl").read_bytes() == before


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_training_is_one_line_and_the_same_command_goes_on(folder, capsys, sent, code):
    mcal(capsys, "run", "run.yaml", "--log", "whole.jsonl")
    command = [sys.executable, "-c", "from mcal_jax.cli import main; main()", "run", "run.yaml", "--log", "a.jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "plan:" not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        process.send_signal(sent)
        _, told = process.communicate()
    assert process.returncode == code
    assert told.count("\n") == 1
    assert "goes on from here" in told
    assert not (folder / "a.csv").exists()
    assert mcal(capsys, "run", "run.yaml", "--log", "a.jsonl")[0] == 0
    ends = [
        json.loads((folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[-1])["end"]
        for name in ("whole", "a")
    ]
    assert ends[0]["labels"] == ends[1]["labels"]
    assert ends[0]["dollars"] == ends[1]["dollars"]


def test_resume_and_plan_work_on_a_log_cut_short(folder, capsys):
    mcal(capsys, "run", "run.yaml", "--log", "a.jsonl")
    whole = (folder / "a.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "b.jsonl").write_text("".join(whole[:-4]) + whole[-4][:20], encoding="utf-8")
    code, out, _ = mcal(capsys, "plan", "b.jsonl")
    assert code == 0
    assert "next: " in out
    assert "B_opt" in out
    code, _, _ = mcal(capsys, "resume", "b.jsonl")
    assert code == 0
    assert (folder / "b.csv").read_text(encoding="utf-8") == (folder / "a.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["run", *TINY, "--epsilon", "0"], "epsilon"),
        (["run", *TINY, "--epsilon", "1"], "epsilon"),
        (["run", *TINY, "--service", "-0.04"], "-0.04"),
        (["run", *TINY, "--acquisition", "margn"], "did you mean 'margin'"),
        (["run", *TINY, "--budget", "0.5"], "budget: $0.50 does not pay for"),
        (["run", *TINY, "--algorithm", "naive_al"], "delta"),
        (["run", "--data", "cifar10", "--data-dir", "empty"], "mcal data prepare cifar10"),
        (["run", "--data", "corrupt.npz"], "corrupt.npz"),
        (["run", "--data", "unlabelled.npz"], "no labels"),
        (["run", "wrong.yaml"], "wrong.yaml: epsilom: unknown key"),
        (["run", "greedy.yaml"], "ask for 560 labels, the pool holds 400"),
        (["run", "run.yaml", "--log", "run.yaml/log.jsonl"], "can't write run.yaml/log.jsonl"),
        (["run", "run.yaml", "--log", "of_another.jsonl"], "is the log of another run: seed is 7 there, 0 here"),
        (["resume", "nothing.jsonl"], "can't read nothing.jsonl"),
        (["plan", "run.yaml"], "run.yaml: not a run log"),
        (["reproduce", "mcal_rum"], "unknown experiment 'mcal_rum'; did you mean 'mcal_run'"),
        (["run", "--epsilonn", "1"], "--epsilon"),
        (["data", "prepare", "fashion_mnits", "--data-dir", "empty"], "fashion_mnist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_ends_in_one_line_exit_code_2_and_nothing_written(folder, capsys, words, culprit):
    (folder / "corrupt.npz").write_bytes((folder / "tiny.npz").read_bytes()[:500])
    (folder / "wrong.yaml").write_text("epsilom: 0.1\n", encoding="utf-8")
    (folder / "greedy.yaml").write_text(
        "data: {name: tiny.npz}\nwidth: 2\nconfig: {test_fraction: 0.9, seed_fraction: 0.5}\n", encoding="utf-8"
    )
    from mcal_jax.runlog import RunLog
    from mcal_jax.settings import from_file
    from mcal_jax.types import Job

    described = from_file(folder / "run.yaml", seed=7).model_dump(mode="json")
    RunLog.create(folder / "of_another.jsonl", Job(n=400), described).close()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, _, err = mcal(capsys, *words)
    assert code == 2
    assert err.count("\n") == 1
    assert culprit in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_help_of_every_command_teaches(capsys):
    for words in (["--help"], ["run", "--help"], ["resume", "--help"], ["plan", "--help"], ["reproduce", "--help"]):
        code, out, _ = mcal(capsys, *words)
        assert code == 0
        assert len(out.split()) > 40


def test_plan_loads_no_jax(folder, capsys):
    mcal(capsys, "run", "run.yaml", "--log", "a.jsonl")
    code = "import sys; sys.modules['jax'] = None; sys.argv = ['mcal', 'plan', 'a.jsonl']; "
    code += "from mcal_jax.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "next: nothing" in done.stdout


def test_deterministic_comes_too_late_once_jax_has_started(folder, capsys):
    import jax

    jax.devices()
    code, _, err = mcal(capsys, "run", "run.yaml", "--log", "a.jsonl", "--deterministic")
    assert code == 2
    assert "JAX has already started" in err
    assert not (folder / "a.jsonl").exists()
