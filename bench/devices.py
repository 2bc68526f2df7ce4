"""Several devices beside one: decisions, weights, and what is sent for each mini-batch; and a plan for real machines.

    python bench/devices.py scaling --out results/bench/devices.csv
    python bench/devices.py plan --out results/bench/devices_plan.csv

``scaling`` simulates 1, 2, 4 and 8 devices on this CPU, each number in a process of its own. The pool are the first
images that ship with the package, scaled down. ``weights_error`` is the largest difference of a weight of a ResNet of
two blocks, after ``--steps`` mini-batches, to that of one device with the same operations, as a share of the largest of
its array; ``labels_differ`` counts the images that it labels otherwise. ``linear_equal`` and ``resnet_equal``: whether
a run of MCAL with a linear head or with that ResNet makes the same requests, decisions and labels. What is sent is read
off the compiled program: ``collectives`` a mini-batch, ``result_kb`` the bytes that they yield, ``sent_kb`` the bytes
that each device sends if it passes parts around a ring. Simulated devices share the cores of this machine: their
seconds say nothing.

``plan`` computes, for ResNet18 of width 64 on images of 32x32 and of 64x64, how long a mini-batch takes on 8 GPUs of a
machine and on 8 such machines, from stated assumptions: the speed of one GPU, as measured (``--images``, 32x32 pixels;
four times the pixels take four times as long), and bandwidths and latencies within a machine and between machines.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tables import publish

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.data import SHIPPED, Dataset, from_arrays, load
from mcal_jax.runs.driver import drive
from mcal_jax.runs.runlog import RunLog
from mcal_jax.training import devices
from mcal_jax.training.architectures import ARCHITECTURES
from mcal_jax.training.nets import ResNet, basic, build
from mcal_jax.training.outline import outline
from mcal_jax.training.programs import key_of, program_of, run_steps
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.trainer import Trainer
from mcal_jax.worlds.trained import TrainedWorld

COLLECTIVE = re.compile(r"= (\(.*?\)|\S+) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)\(")
ARRAY = re.compile(r"(\w+?)(\d+)\[([\d,]*)\]")
BATCH = 64


def collectives(trainer: Trainer) -> list[tuple[str, int]]:
    """Kind and bytes of the result of each exchange between devices for one mini-batch."""
    picks = np.zeros((trainer.chunk, trainer.recipe.batch), np.int32)
    state, _ = trainer._begin(key_of(0), 1)
    numbers = (np.int32(0), np.int32(1), np.int32(1), np.float32(1), key_of(0))
    recipe = program_of(trainer.recipe)
    lowered = run_steps.lower(trainer.net, recipe, state, trainer.pool, picks, picks, *numbers)
    found = []
    for result, kind in COLLECTIVE.findall(lowered.compile().as_text()):
        sizes = [
            int(bits) // 8 * int(np.prod([int(d) for d in dims.split(",") if d]))
            for _, bits, dims in ARRAY.findall(result)
        ]
        found.append((kind, sum(sizes)))
    return found


def sent(kind: str, size: int, count: int) -> float:
    """Bytes that each of ``count`` devices sends around a ring for a result of ``size`` bytes."""
    return size * (count - 1) / count * (2 if kind == "all-reduce" else 1)


def data_of(n: int) -> Dataset:
    return load(SHIPPED, first=n, downsample=4)


def run(dataset: Dataset, architecture: str, path: Path) -> list[Any]:
    """The requests and answers of a run of MCAL, seconds left out, and its outcome."""
    config = Config(test_fraction=0.1, seed_fraction=0.02, theta_step=0.1)
    job = Job(n=len(dataset.images), architectures=(architecture,), config=config)
    log = RunLog.create(path, job, {})
    drive(job, TrainedWorld(dataset, GroundTruth(dataset), width=4, recipe="brief"), log)
    log.close()
    lines: list[Any] = [
        [entry.request, entry.plan, {k: v for k, v in entry.answer.items() if k != "seconds"}] for entry in log.entries
    ]
    assert log.end
    return [*lines, {key: value for key, value in log.end.items() if key != "race"}]


def child(args: argparse.Namespace) -> dict[str, Any]:
    """What all devices of this process find."""
    devices.default = lambda: devices.SEVERAL_CPUS  # one device computes by the same operations
    ARCHITECTURES._entries["small_resnet"] = partial(ResNet, basic, (1, 1))
    dataset, recipe = data_of(args.n), RECIPES["fast"]._replace(batch=BATCH)
    recipe = recipe._replace(epochs=1, power=0, learning_rate=0.02)
    trainer = Trainer(dataset.images, 10, architecture="small_resnet", width=4, recipe=recipe)
    assert dataset.labels is not None
    some = np.arange(min(args.steps * BATCH, args.n))
    model = trainer.fit(some, dataset.labels[some], key_of(0))
    scores = trainer.score(model, np.arange(args.n))
    np.savez(args.weights, *map(np.asarray, jax.tree.leaves(model[:2])))
    features = from_arrays(dataset.images.reshape(args.n, -1).astype(np.float32), dataset.labels)
    with tempfile.TemporaryDirectory() as folder:
        pools = {"linear": features, "small_resnet": dataset}
        runs = {name.rpartition("_")[2]: run(pool, name, Path(folder) / name) for name, pool in pools.items()}
    return {"labels": scores.label.tolist(), "runs": runs, "collectives": collectives(trainer)}


def scaling(args: argparse.Namespace) -> list[dict[str, Any]]:
    found, rows = {}, []
    with tempfile.TemporaryDirectory() as folder:
        weights = {count: Path(folder) / f"{count}.npz" for count in args.devices}
        for count in args.devices:
            environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
            command = (
                sys.executable,
                __file__,
                "child",
                "--n",
                args.n,
                "--steps",
                args.steps,
                "--weights",
                weights[count],
            )
            done = subprocess.run(
                list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True, env=environment
            )
            found[count] = json.loads(done.stdout)
            print(f"{count} devices done", file=sys.stderr, flush=True)
        arrays = {count: list(np.load(path).values()) for count, path in weights.items()}
    one = args.devices[0]
    for count, here in found.items():
        pairs = zip(arrays[count], arrays[one], strict=True)
        errors = [float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)) for a, b in pairs]
        exchanges = here["collectives"]
        rows.append({
            "devices": count, "images_each": -(-BATCH // count), "steps": -(-min(args.steps * BATCH, args.n) // BATCH),
            "weights_error": max(errors),
            "labels_differ": sum(a != b for a, b in zip(here["labels"], found[one]["labels"], strict=True)),
            **{f"{name}_equal": here["runs"][name] == found[one]["runs"][name] for name in here["runs"]},
            "collectives": len(exchanges), "result_kb": sum(size for _, size in exchanges) / 1000,
            "sent_kb": sum(sent(kind, size, count) for kind, size in exchanges) / 1000,
        })  # fmt: skip
    return rows


def plan(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds a mini-batch: images through the net, gradients around two rings, and the exchanges' latency."""
    shape, recipe = (32, 32, 3), RECIPES["fast"]
    make = partial(build, "resnet18", classes=1000, channels=3, width=64, backend=devices.ACCELERATOR)
    gradient = 4 * outline(make, shape, recipe.optimizer).params
    rows = []
    for side, batch, machines in itertools.product((32, 64), (64, 256, 2048), (0, 1, 8)):
        count, inside = (8 * machines, 8) if machines else (1, 1)
        computing = batch / count / args.images * (side / 32) ** 2
        within = sent("all-reduce", gradient, inside)
        between = sent("all-reduce", gradient / inside, machines) if machines > 1 else 0.0
        wire = within / args.within / 1e9 + between / args.between / 1e9
        latency = (
            args.exchanges * (args.latency_between if machines > 1 else args.latency_within) * 1e-6 if machines else 0
        )
        total = computing + wire + latency
        rows.append({
            "side": side, "batch": batch, "gpus": count, "gradient_mb": gradient / 1e6, "within_mb": within / 1e6,
            "between_mb": between / 1e6, "computing_ms": 1e3 * computing, "wire_ms": 1e3 * wire,
            "latency_ms": 1e3 * latency, "images_s": batch / total, "efficiency": computing / total,
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    for name in ("scaling", "child"):
        mode = modes.add_parser(name)
        mode.add_argument("--n", type=int, default=1500)
        mode.add_argument("--steps", type=int, default=20)
        mode.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
        mode.add_argument("--weights", type=Path)
        mode.add_argument("--out", type=Path)
    mode = modes.add_parser("plan")
    mode.add_argument("--images", type=float, default=74_342, help="of 32x32 pixels a second that one GPU trains on")
    mode.add_argument("--within", type=float, default=300, help="GB/s that a GPU sends to others of its machine")
    mode.add_argument("--between", type=float, default=40, help="GB/s that a GPU sends to another machine")
    mode.add_argument("--latency-within", type=float, default=15, help="microseconds of an exchange")
    mode.add_argument("--latency-between", type=float, default=40)
    mode.add_argument("--exchanges", type=int, default=43, help="for a mini-batch: two for each batch norm, and 3")
    mode.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.mode == "child":
        print(json.dumps(child(args)))
    else:
        publish({"scaling": scaling, "plan": plan}[args.mode](args), args.out)


if __name__ == "__main__":
    main()
