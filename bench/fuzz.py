"""Random configurations, damaged logs and kills: is every mistake told in one line, and is nothing lost?

    python bench/fuzz.py --configs 10000 --logs 1000 --kills 100

Configurations: a run's description with up to three random changes, among them keys that do not exist, values of
the wrong type and numbers at the edge. It ends in one McalError of one line, or the run, in a simulated world,
keeps the invariants: T, B, S, R and V partition X, every image has a label and S alone those of the machine, the
ledger adds up to the sets, no more labels are billed than X has images, a budget that can be kept is kept, and a
replay of the log gives the same end. numpy warns of nothing on the way.

Logs: bytes changed, cut out, put in, lines swapped or doubled. It is refused in one line, or it gives what the whole
log gives, or the beginning of that, where its end is gone.

Kills: SIGKILL at a random moment of a run in a simulated world, resumed until it ends: the same end as
uninterrupted.

Every case is a function of --seed and its number; what fails is printed with both. Exit code 1 if anything does.
"""

import argparse
import copy
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mcal_jax.algorithm.acquisition import ACQUISITIONS
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.job import Job, algorithm
from mcal_jax.algorithm.rankings import RANKINGS
from mcal_jax.errors import McalError
from mcal_jax.runs.driver import Delivery, drive, end_json, replay
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run, check
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

JUNK: tuple[Any, ...] = (
    None, "", "margin ", "µ", -1, 0, 1, 2, 10**30, -0.0, 1e-300, 1e308, float("nan"), float("inf"), True, [], [1], {},
    {"a": 1}, [[]], "1e3", "null", "../x", "a\nb",
)  # fmt: skip


def service(rng: random.Random) -> dict[str, Any]:
    """Somebody who labels."""
    return {"name": rng.choice(["crowd", "expert"]), "price": 10 ** rng.uniform(-3, 0), "error": rng.choice([0, 0.002])}


SENSIBLE: dict[str, Callable[[random.Random], Any]] = {
    "epsilon": lambda rng: 10 ** rng.uniform(-3, -0.3),
    "budget": lambda rng: 10 ** rng.uniform(0, 3),
    "certify": lambda rng: rng.choice([0.5, 0.9, 0.95, 0.999]),
    "class_epsilon": lambda rng: rng.uniform(0.01, 0.5),
    "repeat": lambda rng: rng.choice([0.05, 0.5, 0.999]),
    "acquisition": lambda rng: rng.choice(sorted(ACQUISITIONS)),
    "ranking": lambda rng: rng.choice(sorted(RANKINGS)),
    "test_fraction": lambda rng: rng.choice(["planned", rng.uniform(0.005, 0.6)]),
    "seed_fraction": lambda rng: rng.uniform(0.002, 0.6),
    "growth": lambda rng: rng.choice([None, rng.uniform(1.01, 6)]),
    "theta_step": lambda rng: 1 / rng.randint(2, 40),
    "interpolate_theta": lambda rng: rng.random() < 0.5,
    "theta_of": lambda rng: rng.choice(["remaining", "all"]),
    "constraint": lambda rng: rng.choice(["on_X", "on_S"]),
    "safety_z": lambda rng: rng.uniform(0, 5),
    "estimate": lambda rng: rng.choice(["law", "test"]),
    "law": lambda rng: rng.choice(["truncated", "power", "pow3", "pow4"]),
    "share_slopes": lambda rng: rng.random() < 0.5,
    "machine_epsilon": lambda rng: rng.choice([None, rng.uniform(0.05, 0.9)]),
    "certificate": lambda rng: rng.choice(["planned", "trimmed"]),
    "age_test_set": lambda rng: rng.random() < 0.5,
    "stability": lambda rng: rng.uniform(0.001, 0.9),
    "min_points": lambda rng: rng.randint(2, 12),
    "max_growth": lambda rng: rng.choice([None, rng.uniform(1.01, 9)]),
    "beta": lambda rng: rng.random(),
    "max_steps": lambda rng: rng.randint(1, 30),
    "exploration_tax": lambda rng: rng.random(),
    "stop_on_rise": lambda rng: rng.random() < 0.5,
    "bill_test_set": lambda rng: rng.random() < 0.5,
    "services": lambda rng: {set_: service(rng) for set_ in ("test", "train", "residual")},
}
assert set(SENSIBLE) == set(Config.model_fields) - {"label_price", "training_price"}, "a field is not fuzzed"


def described(rng: random.Random) -> dict[str, Any]:
    """A run that makes sense, as a user would write it."""
    nets = rng.choice([["resnet18"], ["cnn18"], ["cnn18", "resnet18", "resnet50"]])
    hour = {"kind": "per_hour", "dollars": rng.uniform(0, 20)}
    epoch = {"kind": "per_image_epoch", "dollars": rng.uniform(0, 1e-4)}
    keys = rng.sample(sorted(SENSIBLE), rng.randint(0, 6))
    if {"class_epsilon", "repeat", "services"} & set(keys) and rng.random() < 0.8:
        keys = sorted({"certify", *keys} - {"budget", "constraint", "theta_of"})
    return {
        "data": {"name": "cifar10"},
        "algorithm": rng.choice(["mcal"] * 6 + ["naive_al", "without_active_learning", "humans_only", "trajectory"]),
        "architectures": nets,
        "service": rng.choice(["amazon", "satyam", 10 ** rng.uniform(-4, 0)]),
        "training_price": rng.choice(["paper", hour, epoch]),
        "preset": rng.choice(["recommended"] * 4 + ["certified", "paper", "authors_code"]),
        "config": {key: SENSIBLE[key](rng) for key in keys},
        "delta": rng.choice([None, rng.uniform(0.02, 0.9)]),
        "max_train_fraction": rng.choice([None, rng.uniform(0.02, 0.99)]),
        "seed": rng.randint(0, 10**6),
    }


def disturb(given: dict[str, Any], rng: random.Random) -> None:
    """One change somewhere in a description."""
    inside = rng.choice([given, given, given["config"]]) if isinstance(given.get("config"), dict) else given
    key = rng.choice(sorted(inside)) if inside else "epsilon"
    match rng.randint(0, 3):
        case 0:
            inside[key] = rng.choice(JUNK)
        case 1:
            inside[key + rng.choice("sx_ ")] = inside.pop(key, 1)
        case 2:
            inside.pop(key, None)
        case 3:
            given["config"] = {rng.choice(sorted(SENSIBLE)): rng.choice(JUNK)}


def job_of(run: Run, n: int) -> Job:
    return Job(
        algorithm=run.algorithm, n=n, architectures=run.architectures, config=run.resolve(1), delta=run.delta,
        max_train_fraction=run.max_train_fraction, compare=run.compare,
    )  # fmt: skip


def world_of(job: Job, seed: int) -> SimulatedWorld:
    rng = random.Random(seed)
    curves = {
        name: Analytic(
            alpha=rng.uniform(0.1, 8), gamma=rng.uniform(0, 1), floor=rng.choice([0, 0, rng.uniform(0, 0.5)]),
            quality=rng.uniform(0.1, 4),
        )
        for name in job.architectures
    }  # fmt: skip
    return SimulatedWorld(job.n, curves, seed=seed, persistence=rng.choice([0.0, 0.5, 1.0]))


def broken(job: Job, delivery: Delivery, live: dict, path: Path) -> str:
    """The invariant that a finished run breaks, or nothing."""
    out, bill, config = delivery.outcome, delivery.outcome.ledger, job.config
    parts = np.sort(np.concatenate([out.T, out.B, out.S, out.R, out.V]))
    if not np.array_equal(parts, np.arange(job.n)):
        return "T, B, S, R and V do not partition X"
    if (delivery.labels < 0).any() or delivery.by_machine.sum() != len(out.S):
        return "an image has no label, or S was not labelled by the machine"
    people = len(out.B) + len(out.R) + len(out.V) + len(out.T) * config.bill_test_set
    people += out.annotator_error.sample if out.annotator_error else 0
    labels = bill.test + bill.train + bill.residual + bill.certificate + bill.repeat
    if not np.isclose(labels, people * config.label_price) or bill.training < 0 or bill.race < 0:
        return "the ledger does not add up to the sets"
    if not np.isclose(bill.humans_only, job.n * config.label_price):
        return "humans only is not n times the price"
    if labels - bill.repeat > bill.humans_only * (1 + 1e-9):
        return "more labels are billed than X has images"
    sure = isinstance(config.training_price, PerImageEpoch) and config.training_price.epochs != "recipe"
    if config.budget and sure and job.algorithm == "mcal" and len(out.S) and bill.total > config.budget + 1e-9:
        return "the budget is not kept"
    if end_json(replay(path).delivery) | {"true_error": 0} != live | {"true_error": 0}:
        return "a replay gives another end"
    return ""


def one_config(case: str, folder: Path) -> str:
    rng = random.Random(case)
    given = described(rng)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        disturb(given, rng)
    path = folder / "run.jsonl"
    path.unlink(missing_ok=True)
    n = rng.choice([1, 2, 7, 60, 300, 1000])
    try:
        run = check(Run, copy.deepcopy(given))
        job = job_of(run, n)
        algorithm(job).send(None)
    except McalError as error:
        return "refused" if str(error) and "\n" not in str(error) else f"not one line: {error!r}"
    log = RunLog.create(path, job, run.model_dump(mode="json"))
    try:
        delivery = drive(job, world_of(job, run.seed % 10**6), log)
    except McalError as error:
        return f"an error in the middle: {error}"
    finally:
        log.close()
    return broken(job, delivery, log.end or {}, path) or f"ran, {job.algorithm}"


def logs(folder: Path) -> list[Path]:
    """Whole logs of small runs of every kind."""
    kinds: list[dict[str, Any]] = [
        {}, {"architectures": ("cnn18", "resnet18")}, {"config": Config(certify=0.9)}, {"config": Config(budget=30)},
        {"config": Config(certify=0.9, class_epsilon=0.2)},
        {"algorithm": "trajectory", "delta": 0.1, "max_train_fraction": 0.4, "compare": ("random",)},
    ]  # fmt: skip
    paths = []
    for number, kind in enumerate(kinds):
        job = Job(**{"n": 1500, **kind})
        log = RunLog.create(folder / f"whole{number}.jsonl", job, {})
        drive(job, world_of(job, number), log)
        log.close()
        paths.append(log.path)
    return paths


def damage(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    at, length = rng.randrange(len(content)), rng.choice([1, 1, 2, 30, 4096])
    match rng.randint(0, 6):
        case 0:
            return content[:at] + bytes([content[at] ^ (1 << rng.randint(0, 7))]) + content[at + 1 :]
        case 1:
            return content[:at] + rng.randbytes(length) + content[at + length :]
        case 2:
            return content[:at] + content[at + length :]
        case 3:
            return content[:at] + rng.randbytes(length) + content[at:]
        case 4:
            rng.shuffle(lines)
            return b"".join(lines)
        case 5:
            number = rng.randrange(len(lines))
            return b"".join(lines[: number + 1] + lines[number:])
    digits = [i for i, byte in enumerate(content) if 48 <= byte < 58]
    at = rng.choice(digits)
    return content[:at] + str(rng.randint(0, 9)).encode() + content[at + 1 :]


def one_log(case: str, folder: Path) -> str:
    rng = random.Random(case)
    whole = rng.choice(sorted(folder.parent.glob("whole*.jsonl")))
    path = folder / "damaged.jsonl"
    path.write_bytes(damage(whole.read_bytes(), rng))
    try:
        got = replay(path)
    except McalError as error:
        return "refused" if "\n" not in str(error) and str(path) in str(error) else f"not one line: {error!r}"
    bodies = [[json.loads(line) for line in p.read_bytes().split(b"\n")[:-1]] for p in (path, whole)]
    if bodies[0] == bodies[1][: len(bodies[0])]:
        return "the whole" if got.delivery else "its beginning"
    return "accepted what was never written"


def go_on(path: Path, job: Job, number: int) -> None:
    """Begin the run, or go on with it, to its end."""
    log = RunLog.resume(path) if path.exists() else RunLog.create(path, job, {})
    drive(job, world_of(job, number), log)
    log.close()


def one_kill(case: str, folder: Path) -> str:
    rng = random.Random(case)
    whole = RunLog.read(rng.choice(sorted(folder.parent.glob("whole*.jsonl"))))
    number = int(whole.path.stem.removeprefix("whole"))
    path = folder / "killed.jsonl"
    path.unlink(missing_ok=True)
    for _ in range(4):
        child = os.fork()
        if not child:
            go_on(path, whole.job, number)
            os._exit(0)
        time.sleep(rng.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended not in (0, -signal.SIGKILL):
            return f"the run ended by itself, {ended}"
    go_on(path, whole.job, number)
    return "the same end" if RunLog.read(path).end == whole.end else "another end"


GOOD = ("refused", "ran, ", "the whole", "its beginning", "the same end")
KINDS: dict[str, Callable[[str, Path], str]] = {"configs": one_config, "logs": one_log, "kills": one_kill}


def one(what: str, seed: int, shared: Path, number: int) -> tuple[str, str]:
    """A case and how it ended, in a folder of this process."""
    case = f"{seed} {what} {number}"
    folder = shared / str(os.getpid())
    folder.mkdir(exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # of numpy: a number that is none
            return case, KINDS[what](case, folder)
    except Exception as error:  # what a user would see as a traceback
        where = traceback.extract_tb(error.__traceback__)[-1]
        return case, f"traceback: {error!r} in {Path(where.filename).name}:{where.lineno}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=300)
    parser.add_argument("--logs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(args.jobs) as pool:
        shared = Path(name)
        logs(shared)
        for what in KINDS:
            count = getattr(args, what)
            ends: Counter[str] = Counter()
            cases = pool.map(partial(one, what, args.seed, shared), range(count), chunksize=10)
            for case, end in tqdm(cases, what, count, disable=None):
                told = end if end.startswith(GOOD) else "FAILED"
                if told == "FAILED":
                    failed = True
                    print(f"case {case!r}: {end[:300]}")
                ends[told] += 1
            print(f"{count} {what}: " + ", ".join(f"{n} {end}" for end, n in sorted(ends.items())), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
