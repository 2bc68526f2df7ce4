"""Sweeps on Dask: the runs of the local processes, whatever worker is lost, and wherever the logs are written."""

import concurrent.futures
import contextlib
import logging
import os
import signal
import sys
import threading
import time

import pytest

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.cli import reproduction
from mcal_jax.cli.clusters import ClusterOptions
from mcal_jax.errors import McalError
from mcal_jax.files import Lock
from mcal_jax.runs import clusters, execution, places, sweeps
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

RUNS = [Run(algorithm="humans_only", data={"first": 60}, seed=seed) for seed in range(3)]
"""Runs that train nothing."""


def local_cluster(**options):
    loopback = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "protocol": "tcp"}
    return distributed.LocalCluster(threads_per_worker=1, silence_logs=logging.CRITICAL, **loopback, **options)


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two workers, threads of this process."""
    with local_cluster(n_workers=2, processes=False) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "results", lambda: tmp_path / "results")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "results"


def make(address, runs=RUNS, **options):
    return list(sweeps.make(runs, "smoke", executor=lambda _: clusters.connect(address), **options))


def logs(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_runs_on_dask_are_those_made_here(scheduler, results, tmp_path, monkeypatch, capsys):
    told = make(scheduler)
    assert [(p.done, p.of, p.error) for p in told] == [(1, 3, ""), (2, 3, ""), (3, 3, "")]
    assert told[-1].left == 0
    assert f"{scheduler}: 2 workers, 2 runs at once" in capsys.readouterr().out
    ends = [RunLog.read(execution.log_path(run, "smoke")).end for run in RUNS]
    there = logs(results)
    assert make(scheduler) == []
    monkeypatch.setattr(execution, "results", lambda: tmp_path / "here")
    assert [execution.execute(run, emit=str).record.log.end for run in RUNS] == ends
    assert logs(tmp_path / "here") == there


def test_a_failing_run_is_told_in_a_line_and_the_others_are_made(scheduler, results):
    absent = Run(algorithm="humans_only", data={"name": "absent.npz"})
    told = {p.run.id: p.error for p in make(scheduler, [absent, *RUNS[:1]])}
    assert "absent.npz" in told[absent.id]
    assert told[RUNS[0].id] == ""


@pytest.fixture
def apart(monkeypatch):
    """Workers that don't see the folder of the logs."""

    @contextlib.contextmanager
    def unseen(folder):
        yield folder / "of another machine"

    monkeypatch.setattr(sweeps, "probing", unseen)


def test_a_worker_that_does_not_see_the_logs_sends_them(scheduler, results, apart, tmp_path):
    assert [p.error for p in make(scheduler)] == ["", "", ""]
    sent = [execution.log_path(run, "smoke") for run in RUNS]
    assert all(RunLog.read(path).end for path in sent)
    assert {path.read_bytes() for path in sent} == {path.read_bytes() for path in (tmp_path / "cache").rglob("*.jsonl")}


def test_a_rerun_is_made_anew_by_a_worker_with_logs_of_its_own(scheduler, results, apart):
    path = execution.log_path(RUNS[0], "smoke")
    make(scheduler, RUNS[:1])
    versions = [path.read_bytes()]
    for _ in range(2):
        assert [p.error for p in make(scheduler, RUNS[:1], again=True)] == [""]
        versions.append(path.read_bytes())
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.old", f"{path.name}.old1"]
    assert path.with_name(f"{path.name}.old").read_bytes() == versions[0]
    assert path.with_name(f"{path.name}.old1").read_bytes() == versions[1]


def test_what_is_there_of_a_log_is_sent_to_a_worker_that_does_not_see_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    log, unseen = tmp_path / "run.jsonl", tmp_path / "unseen"
    log.write_bytes(b"begun")
    own = places.place(log, unseen, again=False).here()
    assert (own.parent.parent.name, own.read_bytes()) == ("mcal_jax", b"begun")
    own.write_bytes(b"begun and went on")
    assert places.place(log, unseen, again=False).here().read_bytes() == b"begun and went on"
    unseen.touch()
    assert places.place(log, unseen, again=False).here() == log


def test_a_probe_is_seen_while_it_is_held_and_a_dead_one_is_cleared_away(tmp_path):
    (tmp_path / ".probe-dead.lock").touch()
    with places.probing(tmp_path) as outer, places.probing(tmp_path) as probe:
        assert {outer, probe} == set(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_log_that_another_worker_writes_is_waited_for(tmp_path, monkeypatch):
    """A worker that was given up may be at work: two must not write, and neither need a run be made twice."""
    monkeypatch.setattr(places, "POLL", 0.01)
    path, calls = tmp_path / "run.jsonl", []
    lock = Lock(path)
    waiting = threading.Thread(target=places.when_free, args=(path, lambda: calls.append(path.read_text())))
    waiting.start()
    time.sleep(0.1)
    assert not calls
    path.write_text("whole")
    lock.release()
    waiting.join(10)
    assert calls == ["whole"]


def simulate(path, lines=0):
    """A simulated run in a worker, whose process is killed once the log has so many lines, if it was begun here."""
    job = Job(n=400, architectures=("a",), config=Config(theta_step=0.5))
    begun = path.exists()
    log = RunLog.resume(path) if begun else RunLog.create(path, job, {})
    world = SimulatedWorld(400, {"a": Analytic()})

    class Killed:
        def __getattr__(self, name):
            return getattr(world, name)

        def answer(self, *request):
            if not begun and lines and path.read_bytes().count(b"\n") >= lines:
                os.kill(os.getpid(), signal.SIGKILL)
            return world.answer(*request)

    drive(job, Killed(), log)
    log.close()
    return os.getpid()


@pytest.fixture(scope="module")
def processes():
    """The address of a scheduler with one worker, a process, where Dask would soon give up a worker that was lost."""
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "10 ms"}), clusters.local(1) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_a_killed_worker_s_run_goes_on_from_its_log_and_ends_alike(processes, tmp_path):
    simulate(tmp_path / "whole.jsonl")
    log = tmp_path / "killed.jsonl"
    with clusters.connect(processes) as cluster:
        assert cluster.submit(simulate, log, lines=4).result(120) != os.getpid()
    assert log.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def die():
    """Not at once: Dask may hang if it is just fetching what the worker computed before."""
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_run_that_kills_every_worker_fails_in_a_line_and_those_behind_it_are_made(processes):
    with clusters.connect(processes) as cluster:
        killer, *waiting = cluster.submit(die), cluster.submit(os.getpid), cluster.submit(os.getpid)
        assert "4 workers that had it were lost" in str(killer.exception(300))
        assert os.getpid() not in [task.result(300) for task in waiting]


def test_a_run_counts_as_failed_only_after_it_began_on_the_workers_that_were_lost():
    sent, begins = [], []

    class Client:
        def get_executor(self, **options):
            return self

        def run_on_scheduler(self, function):
            return "scheduler"

        def subscribe_topic(self, topic, handler):
            begins.append(handler)

        def submit(self, *call):
            sent.append(concurrent.futures.Future())
            return sent[-1]

    def lose(begun):
        for _ in range(begun):
            begins[0]((0.0, 0))
        sent[-1].set_exception(distributed.scheduler.KilledWorker("task", None, 3))

    with clusters.Cluster(Client(), gpus=False) as cluster:
        outcome = cluster.submit(os.getpid)
        for begun in (0, 1, 2):  # of four workers that were lost each time
            lose(begun)
            assert not outcome.done()
        lose(1)
        assert "4 workers that had it were lost" in str(outcome.exception(1))
    assert len(sent) == 4


def elsewhere():
    """Whether this is the thread of a worker or the scheduler, at a task or at what a client runs there."""
    return threading.current_thread() is not threading.main_thread()


@pytest.mark.parametrize(("package", "machine"), [("jax", r"worker tcp://\S+"), ("mcal_jax", "the scheduler")])
def test_another_version_is_refused_before_anything_starts(scheduler, results, monkeypatch, package, machine):
    here = clusters.versions()
    monkeypatch.setattr(clusters, "versions", lambda: {**here, package: "0.0"} if elsewhere() else here)
    with pytest.raises(McalError, match=rf"{machine} has {package} 0\.0, this machine {here[package]}"):
        make(scheduler)
    assert not logs(results)


def test_a_worker_that_came_later_is_looked_at_too(scheduler, results, monkeypatch):
    here = clusters.versions()
    monkeypatch.setattr(clusters, "_check_machines", lambda client: None)
    monkeypatch.setattr(clusters, "versions", lambda: {**here, "jax": "0.0"} if elsewhere() else here)
    with pytest.raises(McalError, match=r"worker tcp://\S+ has jax 0\.0, this machine"):
        make(scheduler)


def test_what_a_vanished_client_left_at_work_is_waited_for_and_not_made_again(scheduler, results, monkeypatch):
    (run,), trained, go_on = RUNS[:1], [], threading.Event()
    path = execution.log_path(run, "smoke")

    def execute(run, log, **options):
        if not log.exists():
            lock = Lock(log)
            trained.append(run.seed)
            go_on.wait(30)
            log.write_text("whole")
            lock.release()

    monkeypatch.setattr(sweeps, "execute", execute)
    monkeypatch.setattr(places, "POLL", 0.01)
    with clusters.connect(scheduler) as cluster, places.probing(path.parent) as probe:
        left = cluster.submit(sweeps._work, run.model_dump(), places.place(path, probe, again=False), None)
        while not trained:
            time.sleep(0.01)
    assert isinstance(left.exception(10), clusters.ClusterError)
    threading.Timer(0.3, go_on.set).start()
    assert [p.error for p in make(scheduler, [run])] == [""]
    assert trained == [0]


def test_a_lost_scheduler_ends_the_sweep_in_a_line(results, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(sweeps, "execute", lambda *given, **options: go_on.wait(30))
    monkeypatch.setattr(clusters, "PULSE", 0.1)
    quick = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with quick, local_cluster(n_workers=1, processes=False) as cluster:
        threading.Timer(0.5, cluster.sync, args=(cluster.scheduler.close,)).start()
        with pytest.raises(McalError, match="the scheduler is gone; the same command goes on from here"):
            make(cluster.scheduler_address)
        go_on.set()


def test_gpus_are_a_resource_one_run_each(results):
    with local_cluster(n_workers=1, processes=False, resources={"GPU": 1}) as cluster:
        lines = []
        with clusters.connect(cluster.scheduler_address, emit=lines.append) as workers:
            tasks = [workers.submit(held_gpus) for _ in range(2)]
            assert [task.result(30) for task in tasks] == [{"GPU": 1}, {"GPU": 1}]
    assert "1 workers, 1 GPUs" in lines[0]


def held_gpus():
    worker = distributed.get_worker()
    return worker.state.tasks[distributed.worker.thread_state.key].resource_restrictions


def test_without_a_scheduler_the_sweep_says_so(results):
    quick = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with quick, pytest.raises(McalError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9: "):
        make("tcp://127.0.0.1:9")


def test_a_missing_package_is_a_line(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(McalError, match=r"a cluster needs distributed: pip install 'mcal-jax\[cluster\]'"):
        make("tcp://127.0.0.1:9")


def test_the_script_of_a_slurm_job_asks_for_a_gpu_and_declares_it(monkeypatch):
    monkeypatch.setattr(dask.config, "collect", lambda: {"jobqueue": {"slurm": {"memory": "8GB", "job-cpu": 2}}})
    with dask.config.set({"jobqueue.slurm.memory": "8GB", "jobqueue.slurm.job-cpu": 2}):
        script = clusters.job_script()
    assert {"#SBATCH --gres=gpu:1", "#SBATCH --cpus-per-task=2", "#SBATCH --mem=8G"} <= set(script.splitlines())
    assert "--nthreads 1 " in script
    assert script.rstrip().endswith("--resources GPU=1")


def test_a_dry_sweep_on_slurm_prints_its_script_and_submits_nothing(results, monkeypatch, capsys):
    monkeypatch.setattr(clusters, "connect", None)
    reproduction.sweep("mcal", dry=True, on=ClusterOptions(cluster="slurm"))
    out = capsys.readouterr().out
    assert "to make" in out
    assert "#SBATCH --gres=gpu:1" in out


def test_a_job_that_slurm_refuses_is_told_and_none_is_waited_for(results, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(McalError, match="there is no sbatch on this machine"), clusters.connect(cluster="slurm"):
        pass
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho invalid account >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o700)
    with (
        pytest.raises(McalError, match=r"sbatch refuses the job \(invalid account\)"),
        clusters.connect(cluster="slurm"),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "jobs", "told"),
    [
        ({"scheduler": "tcp://a:1", "cluster": "local"}, None, "scheduler and cluster: "),
        ({"scheduler": "tcp://a:1"}, 2, "scheduler and jobs: "),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, jobs, told):
    with pytest.raises(McalError, match=told):
        ClusterOptions(**options).executor(jobs)
