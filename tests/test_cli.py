"""The command line as a user meets it: exit codes, one-line errors, nothing half-written."""

import ast
import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from cyclopts import Token

from mcal_jax.cli import main

TINY = ["--data", "tiny.npz"]
LAW = ["--alpha", "3", "--gamma", "0.4"]


def prepare(folder):
    """Writes 400 images of two kinds that a net tells apart easily, and a run on them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    images = rng.integers(0, 60, (400, 8, 8), dtype=np.uint8) + (labels * 120).astype(np.uint8)[:, None, None]
    np.savez(folder / "tiny.npz", images=images, labels=labels)
    np.savez(folder / "unlabelled.npz", images=images)
    (folder / "run.yaml").write_text(
        "data: {name: tiny.npz}\nwidth: 2\nconfig: {test_fraction: 0.1}\n", encoding="utf-8"
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, prepared."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in which the run has been made, and what it printed."""
    path = tmp_path_factory.mktemp("made")
    prepare(path)
    out = io.StringIO()
    with contextlib.chdir(path), pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["mcal", "run", "run.yaml", "--log", "a.jsonl"])
        with contextlib.suppress(SystemExit):
            main()
    return path, out.getvalue()


@pytest.fixture
def finished(folder, made):
    """The folder to work in, with the log and the labels of the run, and what that printed."""
    for name in ("a.jsonl", "a.csv"):
        shutil.copy(made[0] / name, folder)
    return folder, made[1]


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


def test_a_run_is_logged_shown_again_and_writes_every_label(finished, capsys):
    folder, out = finished
    assert "stopped by" in out
    assert "savings" in out
    rows = list(csv.DictReader((folder / "a.csv").open(encoding="utf-8")))
    assert [int(row["index"]) for row in rows] == list(range(400))
    assert {row["by"] for row in rows} == {"human", "machine"}
    before = (folder / "a.jsonl").read_bytes()
    code, again, _ = mcal(capsys, "run", "run.yaml", "--log", "a.jsonl")
    assert code == 0
    assert out.strip().endswith(again.strip())
    assert (folder / "a.jsonl").read_bytes() == before


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_training_is_one_line_and_the_same_command_goes_on(finished, capsys, sent, code):
    folder, _ = finished
    # A shell has its background jobs ignore SIGINT, and so would a test that is run by one.
    code_of_child = f"""
import signal
from mcal_jax.cli import main
from mcal_jax.training.trainer import Trainer

signal.signal(signal.SIGINT, signal.default_int_handler)
fit, begun = Trainer.fit, []

def interrupted(trainer, indices, labels, key, on_progress=None):
    begun.append(len(indices))
    stop = len(begun) == 3 and (lambda *at: signal.raise_signal({int(sent)}))
    return fit(trainer, indices, labels, key, stop or on_progress)

Trainer.fit = interrupted
main()
"""
    command = [sys.executable, "-c", code_of_child, "run", "run.yaml", "--log", "b.jsonl"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.stdout.count("plan:") == 2
    told = process.stderr
    assert process.returncode == code
    assert told.count("\n") == 1
    assert "goes on from here" in told
    assert not (folder / "b.csv").exists()
    assert mcal(capsys, "run", "run.yaml", "--log", "b.jsonl")[0] == 0
    ends = [
        json.loads((folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[-1])["end"]
        for name in ("a", "b")
    ]
    assert ends[0]["labels"] == ends[1]["labels"]
    assert ends[0]["dollars"] == ends[1]["dollars"]


def test_resume_and_plan_work_on_a_log_cut_short(finished, capsys):
    folder, _ = finished
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
        (["run", *TINY, "--width", "1.5"], "Invalid value for --width: a whole number is needed, got '1.5'"),
        (["run", *TINY, "--repeat", "0.5", "--preset", "paper"], "so it needs certify\n"),
        (["run", *TINY, "--objective", "least_error"], "objective least_error: it needs budget"),
        (["run", *TINY, "--objective", "least_cost"], "objective least_cost: it keeps no certify"),
        (["run", *TINY, "--objective", "certified_least_cost", "--budget", "9"], "it keeps no budget"),
        (["run", *TINY, "--objective", "certified_least_cost", "--preset", "paper"], "it needs certify"),
        (["run", *TINY, "--acquisition", "none.py:mine"], "none.py: No such file"),
        (["run", *TINY, "--noise", "2"], "noise: Input should be less than 1, got 2.0"),
        (["sweep", "dear_training"], "it is called expensive_training now"),
        (["run", "twice.yaml"], "safety is the old name of safety_z"),
        (["data", "prepare", "fashion_mnits", "--data-dir", "empty"], "fashion_mnist"),
        (["run", "--data", ""], "unknown data set ''"),
        (["run", "run.yaml", "--data", ""], "unknown data set ''"),
        (["run", *TINY, "--profile", ""], "unknown profile ''"),
        (["label", ""], "source: the name is empty"),
        (["check"], "logs: name at least one"),
        (["sweep", "--dry", "--profile", "x"], "unknown profile 'x'"),
        (["sweep", "--plan", "--profile", "x"], "unknown profile 'x'"),
        (["sweep", "trajectorie", "--plan"], "did you mean 'trajectories'"),
        (["sweep", "../runs/aged", "--dry"], "unknown sweep '../runs/aged'"),
        (["reproduce", "--profile", "x"], "unknown profile 'x'"),
        (["reproduce", "--parameters", "run.yaml", "--profile", "laptop"], "parameters: the file names the notebook"),
        (["reproduce", "runs/mcal"], "unknown experiment 'runs/mcal'"),
        (["estimate", "0", *LAW], "n: at least 1, got 0"),
        (["estimate", "500", *LAW, "--seed", "-1"], "seed: at least 0, got -1"),
        (["estimate", "500", *LAW, "--epsilon", "nan"], "epsilon: Input should be less than 1, got nan"),
        (["estimate", "500", *LAW, "--label-price", "0"], "label_price: "),
        (["estimate", "500", "--alpha", "inf", "--gamma", "0.4"], "law: two numbers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_ends_in_one_line_exit_code_2_and_nothing_written(folder, capsys, words, culprit):
    (folder / "corrupt.npz").write_bytes((folder / "tiny.npz").read_bytes()[:500])
    (folder / "wrong.yaml").write_text("epsilom: 0.1\n", encoding="utf-8")
    (folder / "twice.yaml").write_text("config: {safety: 0, safety_z: 1}\n", encoding="utf-8")
    (folder / "greedy.yaml").write_text(
        "data: {name: tiny.npz}\nwidth: 2\nconfig: {test_fraction: 0.9, seed_fraction: 0.5}\n", encoding="utf-8"
    )
    from mcal_jax.algorithm.job import Job
    from mcal_jax.runs.runlog import RunLog
    from mcal_jax.runs.settings import from_file

    other = from_file(folder / "run.yaml", seed=7)
    job = Job(n=400, config=other.resolve(channels=1))
    RunLog.create(folder / "of_another.jsonl", job, other.model_dump(mode="json")).close()
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


def test_help_loads_no_library_that_it_can_do_without(command):
    code = "import sys; from mcal_jax.cli import main; sys.argv = ['mcal', '--help']\n"
    code += "try: main()\nfinally: print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    assert "cyclopts" in loaded
    assert not loaded & {"jax", "scipy", "lmfit", "pandas", "matplotlib", "numpy", "pydantic", "yaml", "filelock"}


def test_no_whole_number_is_rounded():
    from mcal_jax.cli.app import app, whole

    commands = [app[name] for name in app if not name.startswith("-")]
    options = [one for own in commands if own.default_command for one in own.assemble_argument_collection()]
    numbers = [one for one in options if one.hint in (int, int | None)]
    assert len(numbers) > 14
    assert {one.parameter.converter for one in numbers} == {whole}
    read = [whole(int, [Token(value=text)]) for text in ("30", "30.0", "3e1", "-1", "12345678901234567890123")]
    assert read == [30, 30, 30, -1, 12345678901234567890123]


def test_options_are_fields_of_the_run_or_of_its_config():
    from dataclasses import fields

    from mcal_jax.algorithm.config import Config
    from mcal_jax.cli.options import RunOptions
    from mcal_jax.runs.settings import Run

    names = {field.name for field in fields(RunOptions)}
    assert len(names) > 15
    assert names <= Run.model_fields.keys() | Config.model_fields.keys()


def test_plan_loads_no_jax(finished):
    folder, _ = finished
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


@pytest.fixture
def command():
    """``mcal`` in a process of its own, as bytes."""

    def run(*words, **settings):
        code = "from mcal_jax.cli import main; main()"
        given = {"capture_output": True, "check": False, **settings}
        return subprocess.run([sys.executable, "-c", code, *words], **given)

    return run


def test_errors_of_libraries_end_in_one_line_and_debug_shows_where(folder, capsys, monkeypatch):
    from mcal_jax.runs import recorded

    def fails(error):
        def raises(path):
            raise error

        monkeypatch.setattr(recorded, "RecordedRun", raises)
        return mcal(capsys, "plan", "a.jsonl")

    for error, code, told in (
        (OSError(28, "No space left on device", "/tmp/x"), 2, "/tmp/x: No space left on device"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, "not UTF-8"),
        (MemoryError("Unable to allocate 9 GiB"), 2, "not enough memory: Unable to allocate 9 GiB"),
        (ModuleNotFoundError("No module named 'papermill'", name="papermill"), 2, "papermill is missing: pip install"),
        (RuntimeError("one\n\n  two"), 1, "unforeseen RuntimeError: one two; the same command with --debug"),
        (KeyError(), 1, "unforeseen KeyError: KeyError"),
    ):
        ended, out, err = fails(error)
        assert (ended, out, err.count("\n")) == (code, "", 1)
        assert told in err
    fails(RuntimeError("here it was"))
    with pytest.raises(RuntimeError, match="here it was"):
        mcal(capsys, "--debug", "plan", "a.jsonl")


def test_a_closed_pipe_ends_quietly(folder, command):
    mine, theirs = os.pipe()
    os.close(mine)
    done = command("check", "none.jsonl", stdout=theirs, stderr=subprocess.PIPE, capture_output=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_an_output_that_is_full_is_told_in_a_line(folder, command):
    with open("/dev/full", "wb") as full:
        done = command("check", "none.jsonl", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 2
    assert done.stderr == b"mcal: no space is left on the disk, or where the output goes\n"


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                                    {"PYTHONIOENCODING": "ascii"}])  # fmt: skip
def test_text_is_utf8_whatever_the_locale(folder, command, locale):
    (folder / "grüße.yaml").write_text("# größe\ndata: {name: ünlabelled.npz}\n", encoding="utf-8")
    (folder / "unlabelled.npz").rename(folder / "ünlabelled.npz")
    done = command("run", "grüße.yaml", env={**os.environ, **locale})
    assert done.returncode == 2
    assert done.stderr.startswith(b"mcal: ")
    assert "ünlabelled.npz" in done.stderr.decode("utf-8")


def test_check_says_whether_todays_rules_decide_the_same(folder, capsys):
    from test_runlog import rewrite

    (folder / "run.yaml").write_text("data: {name: tiny.npz}\nalgorithm: humans_only\n", encoding="utf-8")
    mcal(capsys, "run", "run.yaml", "--log", "a.jsonl")
    assert mcal(capsys, "check", "a.jsonl")[:2] == (
        0, "a.jsonl: whole, finished, decision rules 1; rules 1 decide the same\n",
    )  # fmt: skip
    rewrite(folder / "a.jsonl", -1, lambda line: line["end"]["dollars"].update(residual=1.0))
    code, out, _ = mcal(capsys, "check", "a.jsonl", "a.jsonl")
    assert code == 1
    assert out.count("decide otherwise: the outcome differs") == 2
    assert mcal(capsys, "plan", "a.jsonl")[0] == 0


def test_a_file_with_an_old_name_tells_the_new_one_in_a_line(folder, capsys):
    (folder / "run.yaml").write_text(
        "data: {name: tiny.npz}\nalgorithm: humans_only\nconfig: {safety: 0}\n", encoding="utf-8"
    )
    code, out, _ = mcal(capsys, "run", "run.yaml", "--log", "a.jsonl")
    assert code == 0
    assert out.splitlines()[0] == "run.yaml: safety is called safety_z now"


def test_own_data_gets_a_net_that_suits_it_and_says_so(folder, capsys):
    words = ["run", *TINY, "--algorithm", "humans_only", "--log"]
    code, out, _ = mcal(capsys, *words, "a.jsonl")
    assert code == 0
    assert "recipe fast; --width and --recipe choose others" in out
    described = json.loads((folder / "a.jsonl").read_text(encoding="utf-8").splitlines()[0])["run"]
    assert described["recipe"] == "fast"
    assert f"nets of width {described['width']}" in out
    code, out, _ = mcal(capsys, *words, "b.jsonl", "--width", "4", "--recipe", "brief")
    assert "choose others" not in out
    described = json.loads((folder / "b.jsonl").read_text(encoding="utf-8").splitlines()[0])["run"]
    assert (described["recipe"], described["width"]) == ("brief", 4)


def test_estimate_says_what_a_job_would_cost(capsys):
    code, out, _ = mcal(capsys, "estimate", "5000", "--alpha", "3", "--gamma", "0.4", "--runs", "2")
    assert code == 0
    assert "labels by humans" in out
    assert "medians of 2 simulated runs" in out
    code, _, error = mcal(capsys, "estimate", "5000", "--alpha", "3")
    assert (code, error) == (2, "mcal: law: give --like LOG, or --alpha and --gamma\n")


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_all_sweeps_of_a_profile_are_those_that_have_runs_for_it(capsys, profile):
    code, out, _ = mcal(capsys, "sweep", "--dry", "--profile", profile)
    assert code == 0
    assert len(out.splitlines()) > 30


def test_notebooks_are_copied_and_never_written_over(folder, capsys):
    from mcal_jax.runs.settings import home

    code, out, _ = mcal(capsys, "notebooks", "course/day 1")
    assert code == 0
    shipped = {path.name: path.read_bytes() for path in (home() / "notebooks").glob("*.ipynb")}
    assert {path.name: path.read_bytes() for path in (folder / "course/day 1").iterdir()} == shipped
    assert f"{len(shipped)} notebooks in course/day 1" in out
    changed = folder / "course/day 1/05_write_it_yourself.ipynb"
    for path in set((folder / "course/day 1").iterdir()) - {changed}:
        path.unlink()
    changed.write_text("mine", encoding="utf-8")
    code, _, err = mcal(capsys, "notebooks", "course/day 1")
    assert (code, err.count("\n")) == (2, 1)
    assert "course/day 1: 05_write_it_yourself.ipynb is there already" in err
    assert [path.read_text(encoding="utf-8") for path in (folder / "course/day 1").iterdir()] == ["mine"]
    code, out, _ = mcal(capsys, "notebooks", "a b/two\nlines")
    assert out.startswith(f"{len(shipped)} notebooks in 'a b/two\\nlines'; begin with: jupyter lab '")
    code, _, err = mcal(capsys, "notebooks", "run.yaml")
    assert (code, err.count("\n")) == (2, 1)
    assert "can't write" in err
