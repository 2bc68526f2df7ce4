"""Kills a worker, the scheduler or the client of a sweep on Dask at random moments, and starts the sweep again.

    python bench/dask_kills.py --kills 10

Works in a clone of its own, with four tiny runs and two workers. After each kill it checks that every log goes on from
what it held, and at the end that the runs are those of the local processes and that no half-written file is left. A
sweep must outlive its worker, and end in one line with its scheduler. What a killed client left to the workers goes on
while the next one starts.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from kill_reproduce import HOME, asked, logs, whole

SWEEP = """
title: tiny runs
run: {algorithm: trajectory, delta: 0.1, max_train_fraction: 0.5}
grids:
  smoke:
    - {seed: [0, 1, 2, 3], data_set: fashion_mnist_10k}
"""
PROFILE = """
description: tiny
run: {width: 2, recipe: brief}
data_sets: {fashion_mnist_10k: {data: {first: 1200, downsample: 7}}}
"""
LONGEST = 300  # seconds that a sweep may take before it counts as stuck


class Bench:
    """A clone, and the processes of a Dask cluster that make its runs."""

    def __init__(self, folder: Path):
        self.folder, self.clone, self.output = folder, folder / "clone", folder / "output.txt"
        subprocess.run(["git", "clone", "-q", HOME, self.clone], check=True)
        (self.clone / "experiments/runs/tiny.yaml").write_text(SWEEP, encoding="utf-8")
        (self.clone / "experiments/profiles/smoke.yaml").write_text(PROFILE, encoding="utf-8")
        self.scheduler: subprocess.Popen | None = None
        self.workers: list[subprocess.Popen] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"

    def start(self, *words: str, output: Path | None = None) -> subprocess.Popen:
        """A process of the clone's code."""
        environment = {**os.environ, "PYTHONPATH": str(self.clone), "JAX_PLATFORMS": "cpu"}
        with open(output or os.devnull, "w", encoding="utf-8") as out:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=self.clone,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def sweep(self, *words: str) -> subprocess.Popen:
        command = ("-c", "from mcal_jax.cli import main; main()", "sweep", "tiny")
        return self.start(*command, *(words or ("--scheduler", self.address)), output=self.output)

    def alone(self, *words: str) -> float:
        """The seconds that a sweep takes from nothing when it is left alone."""
        shutil.rmtree(self.clone / "results/runs/smoke", ignore_errors=True)
        began = time.perf_counter()
        assert self.sweep(*words).wait() == 0, self.output.read_text(encoding="utf-8")
        return time.perf_counter() - began

    def start_cluster(self) -> None:
        """A scheduler, where there is none, and two workers; what is left of older ones goes on until it notices."""
        here = ("--host", "127.0.0.1", "--no-dashboard")
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.scheduler = self.start("-m", "distributed.cli.dask_scheduler", "--port", str(self.port), *here)
            worker = ("-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1", *here)
            self.workers = [self.start(*worker, "--local-directory", str(self.folder / "dask")) for _ in range(2)]

    def kill(self, what: str, client: subprocess.Popen, rng: random.Random) -> None:
        """End a process as a lack of memory or a power cut would; of a worker the one that trains, not its nanny."""
        if what == "client":
            client.kill()
        elif what == "scheduler":
            assert self.scheduler
            self.scheduler.kill()
            self.scheduler.wait()
        else:
            nanny = psutil.Process(rng.choice(self.workers).pid)
            with contextlib.suppress(psutil.Error):
                max(nanny.children(), key=lambda child: child.memory_info().rss).kill()

    def close(self) -> None:
        for process in (self.scheduler, *self.workers):
            if process:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def round_of(bench: Bench, what: str, seconds: float, reference: dict[str, bytes], rng: random.Random) -> list[str]:
    """One sweep from nothing, killed once, and what is wrong with its end."""
    shutil.rmtree(bench.clone / "results/runs/smoke", ignore_errors=True)
    bench.start_cluster()
    client = bench.sweep()
    moment = rng.uniform(0.05, 0.95) * seconds
    with contextlib.suppress(subprocess.TimeoutExpired):
        client.wait(moment)
    ended = client.poll() is not None
    before = logs(bench.clone)
    bench.kill(what, client, rng)
    code, lines = client.wait(LONGEST), bench.output.read_text(encoding="utf-8").splitlines()
    finished = sum(b'{"end"' in log for log in before.values())
    when = "after the end" if ended else f"at {moment:.0f} s, {finished} of 4 runs finished"
    faults = []
    if what == "worker" and code:
        faults.append(f"the sweep ended with its worker: {lines[-1]}")
    if what == "scheduler" and not ended and (code != 2 or sum("mcal: " in line for line in lines) != 1):
        faults.append(f"exit code {code} without its scheduler: {lines[-1]}")
    bench.start_cluster()
    if again := bench.sweep().wait(LONGEST):
        faults.append(f"the second sweep ended with {again}: {bench.output.read_text(encoding='utf-8')}")
    after = logs(bench.clone)
    faults += [f"{name} did not go on" for name in before if not after.get(name, b"").startswith(whole(before[name]))]
    faults += [f"{name} differs" for name in reference if asked(reference[name]) != asked(after.get(name, b""))]
    faults += [f"{name} is one too many" for name in after if name not in reference]
    faults += [f"{path.name} is left" for path in (bench.clone / "results/runs").rglob(".*")]
    print(f"{what} killed {when}: {'; '.join(faults) or 'equal'}", flush=True)
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="of each of worker, scheduler and client")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder))
        try:
            bench.alone("--jobs", "2")
            reference = logs(bench.clone)
            bench.start_cluster()
            bench.alone()  # the workers load and compile
            seconds = bench.alone()
            print(f"left alone: {len(reference)} runs, {seconds:.0f} s on Dask", flush=True)
            kinds = [what for what in ("worker", "scheduler", "client") for _ in range(chosen.kills)]
            faults = [fault for what in kinds for fault in round_of(bench, what, seconds, reference, rng)]
        finally:
            bench.close()
    print("; ".join(faults) or f"{len(kinds)} kills: nothing lost, nothing trained twice, every run as if left alone")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
