"""One iteration of MCAL over pools of 10^5 to 10^7 embeddings: seconds and memory by part, and how they grow.

    python bench/scale.py --sizes 100000 1000000 10000000 --out results/bench/scale.csv

Embeddings are made on the fly: 64 float32 features, a mixture of 10 Gaussians, whose labels are known. The parts:

    train     three linear heads (ridge) on 0.25, 0.5 and 1 % of X, each tested on T, 5 % of X and ranked by L(.)
    score     label, margin, entropy and confidence of all of U, in batches
    select    the 1 % of U with the least margins
    sets      the answer checked, B and U brought up to date, as the loop does
    rank      the most confident half of U, in order
    plan      fits, cost surface, delta
    run       a whole run of MCAL in a simulated world of n images, its log written
    replay    the log read again and checked, decision by decision
    kcenter   ``--picks`` images of X by greedy k-center

Each size runs in a process of its own. ``peak_mb`` is the most memory held until the end of that part, beyond the
embeddings and beyond what the process held before they were made; kcenter's includes the device's own copy of the
embeddings, ``embeddings_mb`` more, where JAX can't share them. Compilation is left out of the seconds (score and
kcenter run once before), not of the memory. ``log_mb`` is the size of the log of run and replay. ``slope`` is of log
seconds against log n: 1 is linear.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tables import publish

from mcal_jax.algorithm import acquisition, planner
from mcal_jax.algorithm.acquisition import PoolView, Scores
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Label, Labels, TrainResult, remove
from mcal_jax.runs.answers import check_answer
from mcal_jax.runs.driver import drive, replay
from mcal_jax.runs.runlog import RunLog
from mcal_jax.training.kcenter import k_center
from mcal_jax.training.scoring import scores_of
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

FEATURES, CLASSES, BATCH = 64, 10, 20_000


def embeddings(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [n, 64] and labels int8 [n]."""
    centres = 0.35 * rng.standard_normal((CLASSES, FEATURES), np.float32)
    labels = rng.integers(0, CLASSES, n, np.int8)
    x = np.empty((n, FEATURES), np.float32)
    for part in np.array_split(np.arange(n), -(-n // BATCH)):
        rng.standard_normal(out=x[part[0] : part[-1] + 1], dtype=np.float32)
        x[part[0] : part[-1] + 1] += centres[labels[part[0] : part[-1] + 1]]
    return x, labels


def ridge(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A linear head [64, 10]: least squares on one-hot labels, sharpened into logits."""
    targets = np.eye(CLASSES, dtype=np.float32)[labels] - 1 / CLASSES
    return 10 * np.linalg.solve(x.T @ x + np.eye(FEATURES, dtype=np.float32), x.T @ targets)


@jax.jit
def score_batch(x: jax.Array, head: jax.Array) -> tuple[jax.Array, ...]:
    return scores_of(x @ head)


def score(x: np.ndarray, head: np.ndarray, indices: np.ndarray) -> Scores:
    """Scores of the embeddings at ``indices`` (at least one batch of them)."""
    n = len(indices)
    found = Scores(np.empty(n, np.int32), *(np.empty(n, np.float32) for _ in range(3)))
    batch = min(BATCH, n)
    for start in range(0, n, batch):
        part = slice(min(start, n - batch), min(start, n - batch) + batch)  # the last overlaps the one before
        for column, values in zip(found, score_batch(x[indices[part]], head), strict=True):
            column[part] = values
    return found


def peak() -> float:
    """The most memory this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def iteration(n: int, picks: int, seed: int) -> list[dict]:
    """The parts of one iteration over ``n`` embeddings, as lines of the table."""
    rng, config = np.random.default_rng(seed), Config()
    jax.block_until_ready(score_batch(np.zeros((1, FEATURES), np.float32), np.zeros((FEATURES, CLASSES), np.float32)))
    before = peak()
    x, labels = embeddings(n, rng)
    before += x.nbytes / 2**20
    rows: list[dict] = []

    def part(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - began
        rows.append({"part": name, "n": n, "seconds": seconds, "embeddings_mb": x.nbytes / 2**20,
                     "peak_mb": max(peak() - before, 0.0), "log_mb": 0.0})  # fmt: skip
        print(f"n = {n:,}: {name} {seconds:.2f} s", file=sys.stderr, flush=True)
        return result

    X = np.arange(n)
    T = np.sort(rng.choice(n, planner.n_test(n, config), replace=False))
    U = remove(X, T)
    B = np.sort(rng.choice(U, planner.n_seed(n, config), replace=False))
    U = remove(U, B)

    def train() -> tuple[np.ndarray, list[TrainResult]]:
        history = []
        for number, size in enumerate((len(B) // 4, len(B) // 2, len(B))):
            some = rng.permutation(B)[:size]
            head = ridge(x[some], labels[some])
            tested = score(x, head, T)
            order = acquisition.rank_confident(tested)
            wrong = np.flatnonzero(tested.label[order] != labels[T][order])
            history.append(TrainResult(number, size, len(T), wrong, 200 * size, 0.0))
        return head, history

    def sets() -> tuple[np.ndarray, np.ndarray]:
        b = np.sort(U[chosen])
        check_answer(Label(U, len(b), "margin", "train"), Labels(b, labels[b]))
        return np.union1d(B, b), remove(U, b)

    score(x, np.zeros((FEATURES, CLASSES), np.float32), U[: min(BATCH, len(U))])  # compiles
    score(x, np.zeros((FEATURES, CLASSES), np.float32), T[: min(BATCH, len(T))])
    head, history = part("train", train)
    scores = part("score", lambda: score(x, head, U))
    chosen = part("select", lambda: acquisition.select("margin", n // 100, PoolView(len(U), scores=scores)))
    part("sets", sets)
    part("rank", lambda: acquisition.rank_confident(scores, len(U) // 2))
    part("plan", lambda: planner.search(n, history, "resnet18", None, config))
    with tempfile.TemporaryDirectory() as folder:
        log = RunLog.create(Path(folder) / "run.jsonl", Job(n=n, config=config), {})
        part("run", lambda: drive(log.job, SimulatedWorld(n, Analytic(), seed=seed), log))
        log.close()
        part("replay", lambda: replay(log.path))
        rows[-2]["log_mb"] = rows[-1]["log_mb"] = log.path.stat().st_size / 2**20
    k_center(x, picks)  # compiles
    part("kcenter", lambda: k_center(x, picks))
    return rows


def slope(rows: list[dict]) -> float:
    """Least squares of log seconds against log n; nan for one size alone."""
    if len(rows) < 2:
        return float("nan")
    return float(np.polyfit(np.log([r["n"] for r in rows]), np.log([r["seconds"] for r in rows]), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--picks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)  # one size, as JSON
    args = parser.parse_args()
    if args.child:
        print(json.dumps(iteration(args.sizes[0], args.picks, args.seed)))
        return
    rows = []
    for n in args.sizes:
        command = [sys.executable, __file__, "--child", "--sizes", n, "--picks", args.picks, "--seed", args.seed]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        iterated = [row["seconds"] for row in found if row["part"] not in ("run", "replay")]
        rows += [*found, found[-1] | {"part": "all", "seconds": sum(iterated)}]
    parts = list(dict.fromkeys(row["part"] for row in rows))
    rows.sort(key=lambda row: (parts.index(row["part"]), row["n"]))
    publish([row | {"slope": slope([r for r in rows if r["part"] == row["part"]])} for row in rows], args.out)


if __name__ == "__main__":
    main()
