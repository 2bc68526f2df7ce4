"""The run log as record, checkpoint and input of replay, and everything that can be wrong with one."""

import contextlib
import errno
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import MIDDLING, same
from hypothesis import given
from hypothesis import strategies as st

from mcal_jax.algorithm import stopping
from mcal_jax.algorithm.config import Config, PerHour, PerImageEpoch
from mcal_jax.algorithm.job import Job, algorithm
from mcal_jax.algorithm.protocol import Label, Labels, MachineLabel, Train, TrainResult
from mcal_jax.errors import LogClosed, McalError
from mcal_jax.runs import codec, runlog
from mcal_jax.runs.answers import check_answer
from mcal_jax.runs.driver import drive, end_json, replay
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.simulated import SimulatedWorld

QUICK = Config(theta_step=0.5, growth=3.0)
JOB = Job(n=400, config=QUICK)
RACE = Job(n=400, architectures=("good", "bad"), config=QUICK)


def live(path, job=JOB, run=None):
    """An uninterrupted run with a log at ``path`` -> Delivery."""
    log = RunLog.create(path, job, run or {"seed": 0})
    delivery = drive(job, SimulatedWorld(job.n, curves(job)), log)
    log.close()
    return delivery


def go_on(path, job=JOB):
    log = RunLog.resume(path)
    delivery = drive(job, SimulatedWorld(job.n, curves(job)), log)
    log.close()
    return delivery


def curves(job):
    return {name: MIDDLING.model_copy(update={"alpha": 3.0 + i}) for i, name in enumerate(job.architectures)}


def same_run(a, b):
    return same(tuple(a), tuple(b))


@pytest.fixture
def log(tmp_path):
    """The path of a finished log, and its Delivery."""
    path = tmp_path / "run.jsonl"
    return path, live(path)


def rewrite(path, line, change):
    """Change one line of a log, as JSON, and all checksums accordingly."""
    lines = [json.loads(one) for one in path.read_text(encoding="utf-8").splitlines()]
    change(lines[line])
    checksum, content = "", b""
    for one in lines:
        del one["checksum"]
        sealed, checksum = runlog.seal(one, checksum)
        content += sealed
    path.write_bytes(content)


def error_of(call, *arguments):
    with pytest.raises(McalError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------------------------------------------------
# Resume and replay


@pytest.mark.parametrize("job", [JOB, RACE], ids=["mcal", "race"])
def test_a_run_cut_anywhere_resumes_to_the_same_outcome_and_the_same_file(tmp_path, job):
    path, cut = tmp_path / "run.jsonl", tmp_path / "cut.jsonl"
    whole = live(path, job)
    data = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    assert len(ends) > 8
    for start, end in itertools.pairwise(ends):
        # After the newline, into the line, in its middle, and just before its own newline.
        for length in (start, start + 1, (start + end) // 2, end - 1) if job is JOB else ((start + end) // 2,):
            cut.write_bytes(data[:length])
            assert same_run(go_on(cut, job), whole), length
            assert cut.read_bytes() == data, length


def test_resuming_a_finished_run_changes_nothing(log):
    path, whole = log
    before = path.read_bytes()
    assert same_run(go_on(path), whole)
    assert path.read_bytes() == before


def test_resuming_asks_the_world_only_for_what_the_log_lacks(log):
    path, _ = log
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]))
    asked = []

    class Watched(SimulatedWorld):
        def answer(self, request, number):
            asked.append(number)
            return super().answer(request, number)

    resumed = RunLog.resume(path)
    drive(JOB, Watched(400, curves(JOB)), resumed)
    resumed.close()
    assert asked == list(range(4, len(lines) - 2))
    assert len(asked) > 2


def test_a_log_cut_inside_its_head_is_refused_and_left_as_it_is(log):
    path, _ = log
    head = path.read_bytes().splitlines()[0]
    for length in (0, 1, len(head)):
        path.write_bytes(head[:length])
        assert str(path) in error_of(RunLog.resume, path)
        assert path.read_bytes() == head[:length]


def test_a_torn_last_line_is_dropped_on_reading_and_cut_off_on_resuming(log):
    path, _ = log
    data = path.read_bytes()
    path.write_bytes(data + b'{"number": 99, "requ')
    assert RunLog.read(path).end is not None
    assert path.read_bytes() != data
    RunLog.resume(path).close()
    assert path.read_bytes() == data


@pytest.mark.parametrize("job", [JOB, RACE], ids=["mcal", "race"])
@pytest.mark.parametrize("price", [PerImageEpoch(epochs="recipe"), PerHour()], ids=["recipe", "per hour"])
def test_replay_equals_the_live_run(tmp_path, job, price):
    job = job.model_copy(update={"config": job.config.model_copy(update={"training_price": price})})
    whole = live(tmp_path / "run.jsonl", job)
    replayed = replay(tmp_path / "run.jsonl")
    assert same_run(replayed.delivery, whole)
    assert replayed.log.job == job
    assert replayed.pending is None
    if job is not RACE:
        assert [p.size for p in replayed.plans][-1] == len(whole.outcome.B)


def test_replay_tells_every_plan_once(log):
    path, whole = log
    plans = replay(path).plans
    assert len(plans) == len(whole.outcome.plans) > 2
    assert all(map(same, plans, whole.outcome.plans))


def test_replay_of_an_unfinished_run_stops_at_the_request_that_comes_next(log):
    path, whole = log
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) > 8
    for kept in range(1, len(lines) - 1):
        path.write_bytes(b"".join(lines[:kept]))
        half = replay(path)
        assert len(half.steps) == kept - 1
        assert half.delivery is None
        assert codec.request_json(half.pending) == json.loads(lines[kept])["request"]
        with pytest.raises(McalError, match="not finished"):
            _ = half.outcome
    path.write_bytes(b"".join(lines[:-1]))  # killed before the outcome was written
    assert same(replay(path).outcome, whole.outcome)


def test_what_the_log_says_was_bought_stands_where_todays_rules_would_buy_another_number(log):
    """As after a change of rules, or where another machine rounds otherwise: no label is asked for twice."""
    path, whole = log
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    bought = [i for i, line in enumerate(lines) if line.get("request", {}).get("purpose") == "train"]
    assert len(bought) > 2
    cut = bought[-1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: cut + 1]))
    label = Labels(codec.answer_from_json(lines[cut]["answer"]).indices[:-1], np.zeros(lines[cut]["request"]["n"] - 1))

    def one_less(line):
        line["request"]["n"] -= 1
        line["answer"] = codec.answer_json(label._replace(labels=label.labels.astype(np.int32)))

    rewrite(path, cut, one_less)
    message = error_of(replay, path)
    assert "decision rules (1, here" in message
    assert f"label has n = {len(label.indices)}, now {len(label.indices) + 1} is asked for" in message
    assert len(replay(path, strict=False).steps) == cut
    asked = []

    class Watched(SimulatedWorld):
        def answer(self, request, number):
            asked.append(request)
            return super().answer(request, number)

    resumed = RunLog.resume(path)
    delivery = drive(JOB, Watched(400, curves(JOB)), resumed)
    resumed.close()
    assert isinstance(asked[0], Train)
    assert len(asked[0].train) == len(whole.outcome.B) - 1
    assert delivery.outcome.ledger.train <= whole.outcome.ledger.train
    assert set(label.indices) <= set(delivery.outcome.B)


def test_training_goes_on_and_ends_where_the_log_shows_that_it_did(log, monkeypatch):
    path, whole = log
    lines = path.read_bytes().splitlines(keepends=True)
    trainings = len(whole.outcome.history)
    assert trainings > 2
    monkeypatch.setattr(stopping, "stop_with", lambda: lambda n, plans, config: "early" if len(plans) > 1 else None)
    path.write_bytes(b"".join(lines[:-2]))  # today's rules would have stopped earlier
    error_of(replay, path)
    delivery = go_on(path)
    assert len(delivery.outcome.history) == trainings
    assert same(delivery.outcome.B, whole.outcome.B)
    assert np.array_equal(delivery.labels, whole.labels)

    monkeypatch.setattr(stopping, "stop_with", lambda: lambda n, plans, config: None)
    path.write_bytes(b"".join(lines[:-2]))  # today's rules would train on
    delivery = go_on(path)
    assert delivery.outcome.stop == "as_recorded"
    assert same(delivery.outcome.B, whole.outcome.B)


def test_an_outcome_is_compared_to_the_cent(log):
    path, whole = log
    for change, ok in ((1e-9, True), (0.004, True), (0.02, False)):
        rewrite(
            path,
            -1,
            lambda line, change=change: line["end"]["dollars"].update(train=whole.outcome.ledger.train + change),
        )
        if ok:
            replay(path)
        else:
            assert "dollars.train" in error_of(replay, path)


def test_the_head_names_the_decision_rules_and_early_logs_are_of_rules_1(log):
    path, _ = log
    assert RunLog.read(path).rules == runlog.RULES
    rewrite(path, 0, lambda head: head.pop("rules"))
    assert RunLog.read(path).rules == 1


def test_a_setting_of_a_later_version_is_told_with_that_version(log):
    path, _ = log
    rewrite(path, 0, lambda head: head["job"]["config"].update(telepathy=0.5))
    rewrite(path, 0, lambda head: head["made"].update(versions={"mcal-jax": "9.1.0"}))
    message = error_of(RunLog.read, path)
    assert "no setting config.telepathy; the log was made by mcal-jax 9.1.0" in message


def test_replay_writes_nothing(log):
    path, _ = log
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    before = path.read_bytes()
    replay(path)
    assert path.read_bytes() == before


def test_the_observer_sees_what_is_recalled_and_what_is_new(log):
    path, _ = log
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    seen = []
    resumed = RunLog.resume(path)
    drive(JOB, SimulatedWorld(400, curves(JOB)), resumed, lambda number, request, answer: seen.append(number))
    resumed.close()
    assert seen == list(range(len(lines) - 2))
    assert len(seen) > 4


def test_the_head_keeps_the_job_and_what_describes_the_world(tmp_path):
    job = Job(n=400, config=Config.authors_code(epsilon=0.1, training_price=PerHour(dollars=1.5)), algorithm="mcal")
    live(tmp_path / "run.jsonl", job, {"dataset": "fashion_mnist", "seed": 3})
    log = RunLog.read(tmp_path / "run.jsonl")
    assert log.job == job
    assert log.run == {"dataset": "fashion_mnist", "seed": 3}


def test_the_last_line_is_the_outcome_in_figures(log):
    path, whole = log
    end = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["end"]
    outcome = whole.outcome
    assert end == json.loads(json.dumps(end_json(whole)))
    assert [end[k] for k in "XTBSR"] == [400, *(len(getattr(outcome, k)) for k in "TBSR")]
    assert end["dollars"]["total"] == outcome.ledger.total
    assert end["stop"] == outcome.stop
    assert end["true_error"] == whole.true_error


# ---------------------------------------------------------------------------------------------------------
# Logs that do not fit


def test_a_log_of_another_configuration_is_refused_by_the_name_of_what_differs(log):
    path, _ = log
    before = path.read_bytes()
    other = Job(n=400, config=QUICK.model_copy(update={"epsilon": 0.1}))
    # So early in the run both ask for the same, and only the head can tell.
    path.write_bytes(b"".join(before.splitlines(keepends=True)[:3]))
    resumed = RunLog.resume(path)
    message = error_of(drive, other, SimulatedWorld(400, MIDDLING), resumed)
    resumed.close()
    assert str(path) in message
    assert "config.epsilon = 0.05, now 0.1" in message
    assert "theta_step" not in message


def test_a_log_whose_requests_are_not_those_of_its_head_is_refused(log):
    path, _ = log
    rewrite(path, 0, lambda head: head["job"]["config"].update(seed_fraction=0.05))
    message = error_of(replay, path)
    assert "n = 4, now 20" in message


def test_an_outcome_other_than_the_recorded_one_is_refused(log):
    path, _ = log
    rewrite(path, -1, lambda line: line["end"].update(stop="whim"))
    assert "stop" in error_of(replay, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*lines[:3], b"\x00" * 40, *lines[4:]],
        lambda lines: [*lines[:3], lines[3][:-20], *lines[4:]],
        lambda lines: [*lines[:3], *lines[4:]],
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        lambda lines: [*lines[:3], b"[]", *lines[4:]],
        lambda lines: [*lines[:3], b"7", *lines[4:]],
        lambda lines: [*lines[:3], b"", *lines[4:]],
        lambda lines: [*lines[:3], b"\xff\xfe", *lines[4:]],
        lambda lines: [*lines[:3], b'{"number": 2}', *lines[4:]],
        lambda lines: [*lines[:3], b'{"number": 2, "request": {}, "answer": {}}', *lines[4:]],
    ],
    ids=["zeros", "cut", "missing", "swapped", "a list", "a number", "empty", "bytes", "no request", "empty parts"],
)
def test_a_damaged_middle_line_is_refused(log, damage):
    path, _ = log
    path.write_bytes(b"\n".join(damage(path.read_bytes().splitlines())) + b"\n")
    assert str(path) in error_of(replay, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer["labels"].update(base64="BBBB"),
        lambda answer: answer["labels"].update(base64="no packed array"),
        lambda answer: answer["labels"].update(n=1),
        lambda answer: answer.pop("labels"),
        lambda answer: answer.update(codec.answer_json(Labels(np.arange(3), np.zeros(3, np.int32)))),
        lambda answer: answer.update(codec.answer_json(Labels(np.arange(390, 410), np.zeros(20, np.int32)))),
    ],
    ids=["not compressed", "not base 64", "another length", "no labels", "too few", "out of X"],
)
def test_a_damaged_answer_is_refused(log, change):
    path, _ = log
    rewrite(path, 1, lambda line: change(line["answer"]))
    error_of(replay, path)
    error_of(go_on, path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"hello\n", b"[]\n", b"1\n", b"{}\n", b"\x89PNG\r\n\x1a\n", b'{"mcal_jax_log": 3}\n', b"null\n"],
)
def test_a_file_that_is_no_run_log_is_refused(tmp_path, content):
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    assert f"{path}: not a run log" in error_of(RunLog.read, path)
    error_of(RunLog.resume, path)
    assert path.read_bytes() == content


def test_a_log_of_another_format_is_refused_with_both_versions(log):
    path, _ = log
    rewrite(path, 0, lambda head: head.update(mcal_jax_log=99))
    assert "format 99, this version reads 3" in error_of(RunLog.read, path)


def test_a_missing_log_and_a_folder_are_refused_by_name(tmp_path):
    for call in (RunLog.read, RunLog.resume):
        assert "none.jsonl: No such file" in error_of(call, tmp_path / "none.jsonl")
        assert str(tmp_path) in error_of(call, tmp_path)


# ---------------------------------------------------------------------------------------------------------
# Writing


def test_an_existing_log_is_not_overwritten(log):
    path, _ = log
    before = path.read_bytes()
    assert "exists" in error_of(RunLog.create, path, JOB, {})
    assert path.read_bytes() == before


def test_a_log_that_cannot_be_created_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    for path in (tmp_path / "file" / "run.jsonl", tmp_path / ("a" * 300), tmp_path / "file" / "deeper" / "run.jsonl"):
        assert "can't write" in error_of(RunLog.create, path, JOB, {})
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_while_the_log_is_created_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "No space left" in error_of(RunLog.create, tmp_path / "run.jsonl", JOB, {})
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_for_a_new_log(tmp_path):
    live(tmp_path / "a" / "b" / "run.jsonl")
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["run.jsonl"]


def test_a_disk_that_fills_in_mid_run_is_one_line_and_the_run_resumes(tmp_path, monkeypatch):
    whole = live(tmp_path / "whole.jsonl")
    path = tmp_path / "run.jsonl"
    log = RunLog.create(path, JOB, {"seed": 0})
    calls, sync = [], os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    message = error_of(drive, JOB, SimulatedWorld(400, curves(JOB)), log)
    assert str(path) in message
    assert "No space left" in message
    log.close()
    assert same_run(go_on(path), whole)


@pytest.mark.skipif(os.name == "nt", reason="no limits of that kind")
def test_a_line_that_does_not_fit_leaves_nothing_and_can_be_written_again(tmp_path):
    import resource

    path = tmp_path / "run.jsonl"
    log = RunLog.create(path, JOB, {})
    log.append_parts({"number": 0, "vote": 1})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        message = error_of(log.append_parts, {"number": 0, "vote": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in message
    assert path.read_bytes() == before
    log.append_parts({"number": 0, "vote": 2})
    log.close()
    assert [part["vote"] for part in RunLog.read(path).parts] == [1, 2] == [part["vote"] for part in log.parts]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_lines_that_are_interrupted_leave_nothing_and_can_be_written_again(tmp_path, monkeypatch, error):
    path = tmp_path / "run.jsonl"
    log = RunLog.create(path, JOB, {})
    before = path.read_bytes()

    def broken(descriptor):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises((McalError, KeyboardInterrupt)):
            log.append_parts({"number": 0, "vote": 1}, {"number": 1, "vote": 2})
    assert path.read_bytes() == before
    log.append_parts({"number": 0, "vote": 1}, {"number": 1, "vote": 2})
    log.close()
    assert [part["vote"] for part in RunLog.read(path).parts] == [1, 2] == [part["vote"] for part in log.parts]


def test_nothing_is_written_behind_half_a_line(tmp_path):
    class Broken:
        """A file of a disk that goes away in the middle of a line."""

        def __init__(self, file):
            self.file = file

        def write(self, text):
            if self.file.tell() > size:
                raise OSError(errno.EIO, "Input/output error")
            return self.file.write(text[:10])

        def truncate(self, length):
            raise OSError(errno.EIO, "Input/output error")

        def __getattr__(self, name):
            return getattr(self.file, name)

    path = tmp_path / "run.jsonl"
    log = RunLog.create(path, JOB, {})
    log.append_parts({"number": 0, "vote": 1})
    size = path.stat().st_size
    log._file = Broken(log._file)
    assert "Input/output error" in error_of(log.append_parts, {"number": 0, "vote": 2})
    assert path.stat().st_size == size + 10
    assert "is closed; open it again" in error_of(log.append_parts, {"number": 0, "vote": 2})
    log.close()
    log = RunLog.resume(path)
    log.append_parts({"number": 0, "vote": 2})
    log.close()
    assert [part["vote"] for part in RunLog.read(path).parts] == [1, 2]


def test_several_threads_write_one_log(tmp_path):
    path, parts = tmp_path / "run.jsonl", 60
    log = RunLog.create(path, JOB, {})
    request, answer = Label(np.arange(400), 1, "random", "train"), Labels(np.array([5]), np.array([0]))

    def work(who):
        for i in range(parts):
            if who:
                with log.together() if who == 1 else contextlib.nullcontext():
                    log.append_parts({"number": i, "who": who})
            else:
                log.append(i, request, answer)

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, range(4)))
    finally:
        sys.setswitchinterval(switching)
        log.close()
    read = RunLog.read(path)
    assert read.parts == log.parts
    assert len(read.entries) == parts
    for who in (1, 2, 3):
        assert [part["number"] for part in read.parts if part["who"] == who] == list(range(parts))
    with pytest.raises(LogClosed, match="is closed; open it again"):
        log.append_parts({"number": 0})


def test_only_one_process_at_a_time_writes_a_log(tmp_path):
    path = tmp_path / "run.jsonl"
    log = RunLog.create(path, JOB, {})
    assert "is open in this process" in error_of(RunLog.resume, path)
    log.close()
    hold = (
        "import sys; from mcal_jax.runs.runlog import RunLog; log = RunLog.resume(sys.argv[1]); print(1, flush=True)\n"
        "input()"
    )
    (tmp_path / "link.jsonl").symlink_to("run.jsonl")
    command = [sys.executable, "-c", hold, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        for way in (path, tmp_path / "link.jsonl"):
            assert "is being written by another process" in error_of(RunLog.resume, way)
        other.kill()
    RunLog.resume(path).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.jsonl", "run.jsonl"]


def test_a_log_whose_folder_takes_no_lock_is_one_line_and_is_still_read(log, monkeypatch):
    """As on a read-only disk; root may write anywhere else."""
    path, whole = log

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    assert "Read-only file system" in error_of(RunLog.resume, path)
    assert same_run(replay(path).delivery, whole)


# ---------------------------------------------------------------------------------------------------------
# Answers, and their JSON


POOL = np.array([2, 3, 5, 7, 11])
ZEROS = np.zeros(2, np.int32)


@pytest.mark.parametrize("request_", [Label(POOL, 2, "margin", "train", 0), MachineLabel(POOL, 2, 0)])
def test_an_answer_that_does_not_fit_its_request_is_refused(request_):
    check_answer(request_, Labels(np.array([3, 11]), ZEROS))
    for indices, labels, why in [
        ([3], ZEROS[:1], "asked for 2 labels, got 1"),
        ([3, 5, 7], ZEROS[:2], "asked for 2 labels, got 3"),
        ([3, 5], ZEROS[:1], "2 images and 1 labels"),
        ([3, 3], ZEROS, "twice"),
        ([3, 4], ZEROS, "not asked for"),
    ]:
        with pytest.raises(McalError, match=why):
            check_answer(request_, Labels(np.array(indices), labels))
    with pytest.raises(McalError, match="TrainResult"):
        check_answer(request_, TrainResult(0, 2, 5, np.arange(0), 0, 0.0))


def test_a_training_answered_with_labels_is_refused():
    with pytest.raises(McalError, match="Train was answered by Labels"):
        check_answer(Train(POOL, POOL, "resnet18"), Labels(POOL[:2], ZEROS))


def test_a_bad_answer_is_not_written_to_the_log(tmp_path):
    class Miscounting(SimulatedWorld):
        def answer(self, request, number):
            answer = super().answer(request, number)
            return Labels(answer.indices[1:], answer.labels[1:]) if number == 1 else answer

    log = RunLog.create(tmp_path / "run.jsonl", JOB, {})
    assert "asked for 4 labels, got 3" in error_of(drive, JOB, Miscounting(400, MIDDLING), log)
    log.close()
    assert len(RunLog.read(tmp_path / "run.jsonl").entries) == 1


@given(st.sets(st.integers(0, 2**31 - 1)), st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_packed_arrays_come_back_as_they_were(indices, labels):
    indices, labels = np.array(sorted(indices), np.int64), np.array(labels, np.int32)
    for array, differences in ((indices, True), (labels, False)):
        packed = json.loads(json.dumps(codec.pack(array, differences)))
        assert same(codec.unpack(packed, array.dtype), array)


def test_arrays_of_early_logs_are_read_in_their_own_alphabet():
    early = {"n": 5, "differences": True, "type": "i1", "zlib": "bFphSlKgSd40024030=="}
    assert codec.unpack(early, np.int64).tolist() == [2, 3, 5, 7, 11]


@given(
    st.integers(0, 10**6),
    st.sets(st.integers(0, 9999)),
    st.floats(0, 1e6, allow_subnormal=False),
    st.integers(0, 10**12),
)
def test_answers_come_back_from_json_as_they_were(size, wrong, seconds, images):
    for answer in (
        TrainResult(3, size, 10000, np.array(sorted(wrong), np.int64), images, seconds),
        Labels(np.array(sorted(wrong), np.int64), np.zeros(len(wrong), np.int32)),
    ):
        data = json.loads(json.dumps(codec.answer_json(answer)))
        assert same(codec.answer_from_json(data), answer)


# ---------------------------------------------------------------------------------------------------------
# Jobs


def test_an_unknown_algorithm_and_a_missing_delta_are_told():
    assert "'magic'; known: mcal, naive_al" in error_of(algorithm, Job(n=100, algorithm="magic"))
    assert "delta" in error_of(algorithm, Job(n=100, algorithm="naive_al"))


def test_the_finished_run_knows_which_labels_the_machine_gave(log):
    _, delivery = log
    outcome = delivery.outcome
    assert len(outcome.S) > 40
    assert np.array_equal(np.flatnonzero(delivery.by_machine), outcome.S)
    assert delivery.true_error == np.mean(delivery.labels != 0)
    assert (delivery.labels[~delivery.by_machine] == 0).all()
    assert (delivery.labels >= 0).all()
