"""A run that is begun under one Python and goes on under others: is nothing asked or billed twice, and does it end?

    python bench/across_pythons.py PYTHON [PYTHON ...] --runs 3

Each PYTHON is an interpreter with mcal_jax installed, of any version, with any versions of its dependencies. A run on
images that ship with the package is begun under the first and killed when its log has grown by a few lines; the next
one goes on and is killed in turn, and so on around, the last time until the end. After each kill all that was recorded
before must stand unchanged, no image may have been labelled twice, and the bill of the part that was paid for must be
that of before, to the cent. In the end every reader of every Python must read the log to the same bill.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import yaml

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.protocol import Label, Labels
from mcal_jax.runs.recorded import RecordedRun

RUN = {"data": {"name": "fashion_mnist_10k", "first": 3000, "downsample": 2}, "width": 4, "recipe": "short"}
MCAL = "from mcal_jax.cli import main; main()"
BILL = "import sys; from mcal_jax.runs.recorded import RecordedRun as R; print(R(sys.argv[1]).end['dollars']['total'])"


def paid(log: Path) -> tuple[float, np.ndarray]:
    """Dollars of the labels and trainings in a log, and every image that humans labelled, as often as they did."""
    run = RecordedRun(log)
    labelled = [a.indices for r, a in run.steps if isinstance(r, Label) and isinstance(a, Labels)]
    images = np.concatenate(labelled) if labelled else np.empty(0, int)
    trained = sum(costs.training_cost(f, name, run.job.config) for name, fits in run.fits.items() for f in fits)
    return len(images) * run.job.config.label_price + trained, images


def go_on(python: str, config: Path, log: Path, lines: int | None) -> None:
    """Begin the run or go on with it; kill it when its log has grown by ``lines``."""
    words = ["resume", log] if log.exists() else ["run", config, "--log", log]
    process = subprocess.Popen([python, "-c", MCAL, *map(str, words)], stdout=subprocess.DEVNULL)
    before = log.read_bytes().count(b"\n") if log.exists() else 0
    while process.poll() is None:
        if lines is not None and log.exists() and log.read_bytes().count(b"\n") >= before + lines:
            process.kill()
        time.sleep(0.002)
    if process.returncode not in (0, -9):
        raise SystemExit(f"{python} ended with {process.returncode}")


def wrong(before: bytes, cost: float, log: Path) -> str:
    """What is wrong with a log that was ``before`` and had cost so much, or nothing."""
    now, images = paid(log)
    if not log.read_bytes().startswith(before[: before.rfind(b"\n") + 1]):
        return "what was recorded has changed"
    if len(np.unique(images)) < len(images):
        return "an image was labelled twice"
    copy = log.with_name("as_before.jsonl")
    copy.write_bytes(before)
    if abs(paid(copy)[0] - cost) >= 0.01 or now < cost - 0.01:
        return f"the part that was paid for cost ${cost:.2f} and now ${paid(copy)[0]:.2f}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    failed = 0
    for seed in range(args.seed, args.seed + args.runs):
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            config, log = Path(folder, "run.yaml"), Path(folder, "run.jsonl")
            config.write_text(yaml.safe_dump({**RUN, "seed": seed}), encoding="utf-8")
            legs, ends = 0, ""
            for python in cycle(args.pythons):
                before = log.read_bytes() if log.exists() else b""
                cost = paid(log)[0] if before else 0.0
                last = legs >= 2 * len(args.pythons)
                go_on(python, config, log, None if last else rng.randint(1, 3))
                legs += 1
                ends = ends or (wrong(before, cost, log) if before else "")
                if RecordedRun(log).is_finished:
                    break
            read = [
                subprocess.run([p, "-c", BILL, log], capture_output=True, text=True, check=True) for p in args.pythons
            ]
            bills = {f"{float(one.stdout):.2f}" for one in read}
            ends = ends or ("" if len(bills) == 1 else f"bills differ: {bills}")
            failed += bool(ends)
            steps = len(RecordedRun(log).steps)
            print(
                f"seed {seed}: {legs} legs, {steps} steps, ${bills.pop()}: {ends or 'nothing asked or billed twice'}",
                flush=True,
            )
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
