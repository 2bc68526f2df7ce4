"""Whole runs of heads on features, beside the net on the images: savings, error, seconds and memory.

    python bench/features.py --data fashion_mnist_10k --seeds 0 1 2
    python bench/features.py --data cifar10 --features patches --heads linear mlp race --certify 0.95
    python bench/features.py --data cifar10 --first 20000 --downsample 2 --features net --heads linear mlp resnet18
    python bench/features.py --synthetic 100000 768 --heads linear

``--features``: ``pixels``, the images themselves; ``patches``, 768 features of random patches of the images after
Coates & Ng (2011), made from the pool without its labels; or ``net``, those of a ResNet18 of width 16 that was trained
on the first 20,000 images of CIFAR-100 and their labels, which this package may have for nothing. The column
``features_s`` has the seconds that they took, in ``net`` those of the training too, which happens once. ``--heads``:
``linear``, ``mlp``, ``race`` of both, or ``resnet18``, which trains on the images. ``--synthetic`` N D draws 10 normal
classes instead. Each run is a process of its own, so that ``peak_mb`` is its own; rows are appended to --out as soon as
they are there. ``load`` is that of the machine when the run began, by which ``seconds`` are to be judged; ``cpu_s`` are
those of the processors' time.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import mcal_jax as mcal
from mcal_jax import data
from mcal_jax.algorithm.config import Config
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.data import Dataset
from mcal_jax.training.trainer import Trainer

PATCH = 6
"""Rows and columns of a patch."""
FILTERS = 192
"""Patches that images are compared with, each in four quarters of the image."""


def patch_features(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features float32 [n, 4 * FILTERS]: how much each quarter of an image looks like random, whitened patches."""
    n, height, width, _ = images.shape
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, [n, height - PATCH + 1, width - PATCH + 1], (20_000, 3))
    patches = np.stack([images[i, r : r + PATCH, c : c + PATCH].reshape(-1) for i, r, c in corners]).astype(float)
    patches = (patches - patches.mean(1, keepdims=True)) / np.sqrt(patches.var(1, keepdims=True) + 10)
    mean = patches.mean(0)
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    whitening = vectors / np.sqrt(values + 0.1) @ vectors.T
    atoms = (patches[:FILTERS] - mean) @ whitening
    kernel = whitening @ (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).T
    arrays = jnp.asarray(kernel, jnp.float32), jnp.asarray(-mean @ kernel, jnp.float32)
    return np.concatenate([np.asarray(_encoded(images[i : i + 500], *arrays)) for i in range(0, n, 500)])


def net_features(images: np.ndarray, downsample: int | None, width: int = 16) -> np.ndarray:
    """Features float32 [n, 8 * width] of a ResNet18 that learned the classes of CIFAR-100."""
    other = data.load("cifar100", first=20_000, downsample=downsample)
    assert other.labels is not None
    both = np.concatenate([other.images, images])
    trainer = Trainer(both, len(other.classes), architecture="resnet18", width=width, recipe="short")
    model = trainer.fit(np.arange(len(other.images)), other.labels, jax.random.key(0))
    return trainer.features(model, np.arange(len(other.images), len(both)))


@jax.jit
def _encoded(images: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    x = images.astype(jnp.float32)
    convolve = partial(
        lax.conv_general_dilated, window_strides=(1, 1), padding="VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    window = (PATCH, PATCH, x.shape[3])
    means = jnp.full((*window, 1), 1 / kernel.shape[0])
    mean, square = convolve(x, means), convolve(x * x, means)
    product = convolve(x, kernel.reshape(*window, -1)) - mean * kernel.sum(0)
    y = jax.nn.relu(product / jnp.sqrt(jnp.maximum(square - mean**2, 0) + 10) + bias - 0.25)
    middle, centre = y.shape[1] // 2, y.shape[2] // 2
    quarters = [half[:, :, side] for half in (y[:, :middle], y[:, middle:]) for side in _sides(centre)]
    return jnp.concatenate([quarter.mean((1, 2)) for quarter in quarters], axis=1)


def _sides(centre: int) -> tuple[slice, slice]:
    return slice(None, centre), slice(centre, None)


def synthetic(n: int, d: int) -> Dataset:
    """10 normal classes, float32 [n, d]; their centres are as far apart as leaves a few per cent of error."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n)
    features = rng.standard_normal((n, d), np.float32)
    centres = rng.standard_normal((10, d), np.float32) * np.float32((20 / d) ** 0.5)
    for k, centre in enumerate(centres):
        features[labels == k] += centre
    return data.from_arrays(features, labels, name="synthetic")


def pool_of(given: dict[str, Any]) -> Dataset:
    """The images with their features, or the synthetic features."""
    if given["synthetic"]:
        return synthetic(*given["synthetic"])
    pool = data.load(given["data"], first=given["first"], downsample=given["downsample"])
    if given["head"] == "resnet18":
        return pool
    if given["features"] == "net":
        return pool._replace(features=np.load(given["net"]))
    if given["features"] == "pixels":
        return pool._replace(features=pool.images.reshape(len(pool.images), -1).astype(np.float32))
    return pool._replace(features=patch_features(pool.images))


def one(given: dict[str, Any]) -> dict[str, Any]:
    """A whole run, from the pool in memory to all labels."""
    began, load = time.perf_counter(), os.getloadavg()[0]
    pool = pool_of(given)
    made, cpu = time.perf_counter(), sum(os.times()[:2])
    config = Config(epsilon=given["epsilon"])
    if given["certify"]:
        config = Config.certified(epsilon=given["epsilon"], certify=given["certify"])
    head = ["linear", "mlp"] if given["head"] == "race" else given["head"]
    truth = GroundTruth(pool)
    with tempfile.TemporaryDirectory() as folder:
        result = mcal.label(
            pool, annotate=truth, config=config, architecture=head, seed=given["seed"], emit=None,
            log=Path(folder) / "run.jsonl",
        )  # fmt: skip
    ended, bill = time.perf_counter(), result.bill
    return {
        "data": pool.name,
        "n": len(pool.images),
        "d": 0 if pool.features is None else pool.features.shape[1],
        "features": "" if given["head"] == "resnet18" else "synthetic" if given["synthetic"] else given["features"],
        "head": given["head"],
        "certify": given["certify"] or "",
        "epsilon": given["epsilon"],
        "seed": given["seed"],
        "won": result.outcome.architecture,
        "trainings": len(result.outcome.history),
        "B": len(result.outcome.B),
        "savings": bill.savings,
        "cost": bill.total,
        "training_cost": bill.training + bill.race,
        "by_machine": float(result.by_machine.mean()),
        "error": float(np.mean(result.labels != truth.labels)),
        "seconds": ended - made,
        "features_s": made - began + (given["net_s"] if given["head"] != "resnet18" else 0),
        "cpu_s": sum(os.times()[:2]) - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "load": load,
    }


def append(row: dict[str, Any], out: Path) -> None:
    """Add ``row`` to the table, with where it was measured."""
    from tables import measured_on

    row = {key: f"{value:.5g}" if isinstance(value, float) else value for key, value in row.items()} | measured_on()
    is_new = not out.exists()
    with out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)
    print(", ".join(f"{key} {value}" for key, value in list(row.items())[:21]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion_mnist_10k")
    parser.add_argument("--first", type=int)
    parser.add_argument("--downsample", type=int)
    parser.add_argument("--synthetic", type=int, nargs=2)
    parser.add_argument("--features", choices=("pixels", "patches", "net"), default="pixels")
    parser.add_argument("--heads", nargs="+", default=["linear", "mlp", "race"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epsilon", type=float, default=0.05)
    parser.add_argument("--certify", type=float)
    parser.add_argument("--out", type=Path, default=Path("results/bench/features.csv"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return append(one(json.loads(args.one)), args.out)
    names = ("data", "first", "downsample", "synthetic", "features", "epsilon", "certify")
    shared = {key: getattr(args, key) for key in names} | {"net_s": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        if args.features == "net":
            began = time.perf_counter()
            pool = data.load(args.data, first=args.first, downsample=args.downsample)
            shared["net"] = str(Path(folder) / "features.npy")
            np.save(shared["net"], net_features(pool.images, args.downsample))
            shared["net_s"] = time.perf_counter() - began
        for seed in args.seeds:
            for head in args.heads:
                given = json.dumps(shared | {"head": head, "seed": seed})
                subprocess.run([sys.executable, __file__, "--out", str(args.out), "--one", given], check=True)


if __name__ == "__main__":
    main()
