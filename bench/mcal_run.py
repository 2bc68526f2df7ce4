"""A whole MCAL run on the images that ship: with our training core, and with a plain PyTorch training loop.

    python bench/mcal_run.py --seeds 0 1 --out results/bench/mcal_run.csv
    python bench/mcal_run.py --first 600 --downsample 7                     # a rehearsal

needs: pip install -e '.[bench]'. For every seed, each in a process of its own, one after another:

    cold    what ``mcal run --seed S`` does, with an empty compilation cache
    torch   the same run over again with PyTorch (eager; one thread or one a core, whichever trains faster)
    warm    ``mcal run`` again, with the compilation cache that the first left

Decisions depend on how many of T are wrong, and that on random draws, so two live runs would buy different numbers
of labels. Therefore PyTorch follows: it answers each request of the cold run (the same B, T and pools), is timed,
and the algorithm goes on with the cold run's answer. So both train on the same sets and score the same pools.

``seconds`` is the wall clock of the run: from images in memory and libraries imported to labels delivered; imports
and reading the images are apart. Parts of it add up to it: compile (trace, lower, compile or load from the cache),
train, score, select, laws (fits of Eqn 3), plan (the rest of the search), other. ``mcal run`` replays its log at
the end, which is in laws and plan. ``torch_over_ours`` above 1: ours is faster.

Counted: training programs of the run; programs asked for and not found in the cache (``compiled``), and those of
them that took 0.1 s or more and so were kept (``compiled_kept``).
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import peers

from mcal_jax.algorithm import acquisition, planner, powerlaw
from mcal_jax.algorithm.protocol import Answer, Request, TrainResult
from mcal_jax.errors import McalError
from mcal_jax.runs import execution, images, settings
from mcal_jax.runs.driver import drive, recall
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run

PARTS = ("compile", "train", "score", "select", "laws", "plan", "other")
COLUMNS = (
    "seed", "images", "who", "seconds", *PARTS, "imports_and_images", "trainings", "images_trained",
    "training_programs", "compiled", "compiled_kept", "torch_over_ours", "train_score_torch_over_ours", "load_before",
)  # fmt: skip

Span = tuple[str, float, float]
"""Part, start and end."""


class Clock:
    """Which part of a run has which time. Of parts within parts the innermost counts."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def time(self, owner: Any, name: str, part: str) -> None:
        """From now on, calls of ``owner.name`` are time of ``part``."""
        function: Callable = getattr(owner, name)

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spans.append((part, began, time.perf_counter()))

        setattr(owner, name, timed)

    def parts(self, began: float, ended: float) -> dict[str, float]:
        """Seconds of each part between two moments; their sum is all of it."""
        return shares([("other", began, ended), *(span for span in self.spans if began <= span[1] <= ended)])


def shares(spans: list[Span]) -> dict[str, float]:
    """Seconds of each part: a moment belongs to the part of the span that covers it and started last."""
    spans = sorted(spans, key=lambda span: span[1])
    cuts = np.unique([moment for _, *ends in spans for moment in ends])
    owner = np.full(len(cuts) - 1, -1)
    for i, (_, start, end) in enumerate(spans):
        owner[np.searchsorted(cuts, start) : np.searchsorted(cuts, end)] = i
    found = dict.fromkeys(PARTS, 0.0)
    for i, length in zip(owner, np.diff(cuts), strict=True):
        if i >= 0:
            found[spans[i][0]] += float(length)
    return found


# ---------------------------------------------------------------------------------------------------------
# The children: one run each


def described(seed: int, first: int | None, downsample: int | None) -> Run:
    """What ``mcal run --seed S`` runs, on the first images and on smaller ones if so asked."""
    run = settings.describe("fashion_mnist_10k", seed=seed)
    return run.model_copy(update={"data": run.data.model_copy(update={"first": first, "downsample": downsample})})


def decisions(clock: Clock) -> None:
    clock.time(acquisition, "select", "select")
    clock.time(acquisition, "rank_confident", "select")
    clock.time(powerlaw, "fit_all", "laws")
    clock.time(planner, "search", "plan")


def run_ours(run: Run, log: Path) -> dict[str, Any]:
    import jax

    from mcal_jax.training import trainer

    clock, counts = Clock(), Counter[str]()
    jax.monitoring.register_event_listener(lambda event, **_: counts.update([event]))

    def compiled(event: str, seconds: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            now = time.perf_counter()
            clock.spans.append(("compile", now - seconds, now))

    jax.monitoring.register_event_duration_secs_listener(compiled)
    decisions(clock)
    clock.time(trainer.Trainer, "fit", "train")
    clock.time(trainer.Trainer, "score", "score")
    images.load_data(run)  # kept, and so not part of the run
    jax.devices()
    began = time.perf_counter()
    result = execution.execute(run, log, emit=lambda text: print(f"  {text}", file=sys.stderr, flush=True))
    ended = time.perf_counter()
    cache = {what: counts[f"/jax/compilation_cache/{what}"] for what in ("compile_requests_use_cache", "cache_hits")}
    return dict(
        clock.parts(began, ended), seconds=ended - began, trainings=len(result.outcome.history),
        images_trained=sum(fit.images for fit in result.outcome.history), training_programs=trainer.compilations(),
        compiled=cache["compile_requests_use_cache"] - cache["cache_hits"],
        compiled_kept=counts["/jax/compilation_cache/cache_misses"],
    )  # fmt: skip


class Following:
    """Lets another world answer each request of a recorded run, and gives the recorded answer."""

    def __init__(self, world: Any, log: RunLog):
        self.world, self.log, self.truth = world, log, world.truth
        self.fits: list[TrainResult] = []

    def answer(self, request: Request, number: int) -> Answer:
        recorded = recall(request, self.log.entries[number], self.log)
        answer = self.world.answer(request, number)
        if isinstance(answer, TrainResult):
            self.fits.append(answer)
            print(f"  |B| {answer.size:,}: {len(answer.wrong)} of {answer.n_test} of T wrong by PyTorch, "
                  f"{len(recorded.wrong)} by ours", file=sys.stderr, flush=True)  # fmt: skip
        return recorded

    def restore(self, request: Request, number: int, answer: Answer) -> None:
        raise NotImplementedError("a run that is followed is followed whole")


def run_torch(run: Run, log: Path) -> dict[str, Any]:
    import peer_torch
    import torch_mcal

    clock = Clock()
    dataset, recorded = images.load_data(run), RunLog.read(log)
    world = torch_mcal.TorchWorld(dataset, width=run.width, recipe=peers.Recipe(), seed=run.seed)
    peer_torch.Trainer(dataset.images, len(dataset.classes), width=run.width).choose_threads()
    decisions(clock)
    clock.time(peer_torch.Trainer, "fit", "train")
    clock.time(peer_torch.Trainer, "score", "score")
    follower = Following(world, recorded)
    began = time.perf_counter()
    drive(recorded.job, follower)
    ended = time.perf_counter()
    return dict(
        clock.parts(began, ended), seconds=ended - began, trainings=len(follower.fits),
        images_trained=sum(fit.images for fit in follower.fits),
    )  # fmt: skip


def child(args: argparse.Namespace) -> None:
    """Makes one run and prints what was measured as the last line, JSON."""
    run = described(args.seeds[0], args.first, args.downsample)
    print(json.dumps((run_torch if args.child == "torch" else run_ours)(run, args.log)))


# ---------------------------------------------------------------------------------------------------------
# The parent


def measured(who: str, seed: int, smaller: list[str], log: Path, cache: Path) -> dict[str, Any]:
    """The numbers of a child. Raises McalError if it fails."""
    print(f"seed {seed}: {who} ...", flush=True)
    command = [sys.executable, __file__, "--child", who, "--seeds", str(seed), "--log", str(log), *smaller]
    began = time.perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    whole = time.perf_counter() - began
    if done.returncode:
        raise McalError(f"the run {who} of seed {seed} failed; see above")
    found = json.loads(done.stdout.splitlines()[-1])
    return {"who": who, "seed": seed, **found, "imports_and_images": whole - found["seconds"]}


def compare(seed: int, smaller: list[str]) -> list[dict[str, Any]]:
    """The three runs of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        cache, logs = Path(folder) / "cache", [Path(folder) / name for name in ("cold.jsonl", "warm.jsonl")]
        cold = measured("cold", seed, smaller, logs[0], cache)
        torch = measured("torch", seed, smaller, logs[0], cache)
        warm = measured("warm", seed, smaller, logs[1], cache)
        images = RunLog.read(logs[0]).job.n
    work = {row["who"]: row["train"] + row["score"] for row in (cold, torch, warm)}
    for row in (cold, warm):
        row["torch_over_ours"] = torch["seconds"] / row["seconds"]
        row["train_score_torch_over_ours"] = work["torch"] / work[row["who"]]
    return [{"images": images, **row} for row in (cold, warm, torch)]


def show(row: dict[str, Any]) -> None:
    parts = ", ".join(f"{part} {row[part]:.1f}" for part in PARTS)
    print(f"{row['who']:6} {row['seconds']:7.1f} s: {parts}; imports and images {row['imports_and_images']:.1f}")
    if "torch_over_ours" in row:
        print(
            f"       PyTorch takes {row['torch_over_ours']:.2f} times as long (training and scoring alone "
            f"{row['train_score_torch_over_ours']:.2f}); {row['training_programs']} training programs, "
            f"{row['compiled']} compiled in all, {row['compiled_kept']} of them in 0.1 s or more"
        )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--first", type=int, help="use fewer images: a rehearsal")
    parser.add_argument("--downsample", type=int, help="use smaller images: a rehearsal")
    parser.add_argument("--out", type=Path, help="table, CSV")
    parser.add_argument("--child", choices=["cold", "torch", "warm"], help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    parser = arguments()
    args = parser.parse_args()
    try:
        if args.child:
            child(args)
            return
        peers.check_installed(["torch"])
        load, rows = peers.load(), []
        options = {"--first": args.first, "--downsample": args.downsample}
        smaller = [word for option, value in options.items() if value for word in (option, str(value))]
        for seed in args.seeds:
            for row in compare(seed, smaller):
                show(row)
                rows.append(row | {"load_before": load})
            if args.out:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                with args.out.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    writer.writeheader()
                    writer.writerows(
                        {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
                    )
    except McalError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
