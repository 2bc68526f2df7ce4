"""Streamed pools of 64x64x3 images beside pools in memory: images/s of scoring and training, and peak memory.

    python bench/streamed_pool.py --sizes 100000 1280000 --folder /tmp --out results/bench/streamed_pool.csv

The images are made on the spot: crops of the 10,000 that ship with the package, enlarged and coloured; after 50,000
they repeat. They are written to ``--folder``, 12,288 bytes each, and deleted at the end. Two nets: ``cheap``, a linear
head on means of 8x8 blocks, which shows what streaming costs, and CNN18 of width 8, which shows what is left of that in
practice.

``memory_images_s`` is the rate of a pool in memory of ``--in-memory`` of the images, ``streamed_images_s`` that of a
streamed pool of all n; both in one process, medians of alternating rounds, each of which scores ``--in-memory`` images
or trains for ``--seconds``. ``ratio`` is of these rates, streamed over memory, and ``cpu_ratio`` of the images in a
second of processor time, which other work on the machine disturbs less; both are medians over the rounds. The images to
score are spread evenly over the pool; to train on, drawn at random from all of it. ``file`` says whether the system had
the file in its cache (``cached``, as far as it fits) or was told to forget it before each round (``cold``).

``peak_mb`` is the most memory of a process that streams alone: it normalises over all images, scores and trains;
``start_mb`` is what it held before it opened the pool, ``pool_mb`` the size of the images.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tables import publish

from mcal_jax.data import SHIPPED, load
from mcal_jax.training import devices
from mcal_jax.training.pool import pool_of
from mcal_jax.training.programs import Model, key_of
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.streaming import Streamed
from mcal_jax.training.trainer import Trainer

SIDE, CLASSES, AT_ONCE, DISTINCT = 64, 10, 2000, 50_000
STEPS = 32
"""Mini-batches of the trainings whose speed is measured, or a multiple."""


class Cheap(nnx.Module):
    """A linear head on the means of 8x8 blocks."""

    def __init__(self, *, classes: int, channels: int, width: int, backend: Any = None, rng: np.random.Generator):
        self.head = nnx.Param(jnp.asarray(rng.normal(0, 0.01, (channels * (SIDE // 8) ** 2, classes)), jnp.float32))

    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        n, channels, blocks = len(images), images.shape[3], SIDE // 8
        means = images.reshape(n, blocks, 8, blocks, 8, channels).mean((2, 4)).reshape(n, -1)
        return means @ self.head[...], means

    def largest_activation(self, height: int, width: int) -> int:
        return height * width * 3


NETS: dict[str, Any] = {"cheap": Cheap, "cnn18": "cnn18"}


def make_images(path: Path, n: int) -> None:
    """Write ``n`` images: 64x64 crops of the shipped ones, at three times their size and in colours of their own, the
    first DISTINCT of them again and again."""
    rng, real = np.random.default_rng(0), load(SHIPPED).images[..., 0]
    large = real.repeat(3, 1).repeat(3, 2)
    room = large.shape[1] - SIDE + 1
    with open(path, "wb") as file:
        for start in range(0, min(n, DISTINCT), AT_ONCE):
            count = min(AT_ONCE, n - start)
            out = np.empty((count, SIDE, SIDE, 3), np.uint8)
            colours = rng.integers(128, 256, (count, 3), np.uint16)
            for i, (row, column) in enumerate(rng.integers(0, room, (count, 2))):
                crop = large[(start + i) % len(large), row : row + SIDE, column : column + SIDE, None]
                out[i] = (crop * colours[i]) >> 8
            file.write(out.data)
    with open(path, "r+b") as file:
        while (left := n * SIDE * SIDE * 3 - file.seek(0, os.SEEK_END)) > 0:
            os.copy_file_range(file.fileno(), file.fileno(), min(left, DISTINCT * SIDE * SIDE * 3), 0)


def labels_of(n: int) -> np.ndarray:
    labels = load(SHIPPED).labels
    assert labels is not None
    return labels[np.arange(n) % len(labels)]


def open_images(path: Path) -> np.ndarray:
    n = path.stat().st_size // (SIDE * SIDE * 3)
    return np.memmap(path, np.uint8, "r", shape=(n, SIDE, SIDE, 3))


def forget(path: Path) -> None:
    """Have the system drop what it holds of the file."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak() -> float:
    """The most memory that this process has held so far, in MB."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 2**10


class Case:
    """A trainer of one net on one pool, and what is measured of it."""

    def __init__(self, net: str, pool: Any, labels: np.ndarray, wanted: int):
        recipe = RECIPES["fast"]._replace(name="bench", power=0, learning_rate=0.02)
        self.trainer = Trainer(pool, CLASSES, architecture=NETS[net], width=8, recipe=recipe)
        n = self.trainer.pool.n
        self.spread = np.unique(np.linspace(0, n - 1, wanted).astype(np.int64))
        self.drawn = np.random.default_rng(1).permutation(n)[: STEPS * recipe.batch]
        self.labels, self.model = labels[self.drawn], Model({}, {}, 0, 0.0, 0.0)

    def train(self) -> int:
        """Trains; the images processed."""
        self.model = self.trainer.fit(self.drawn, self.labels, key_of(0))
        return self.model.images

    def train_for(self, seconds: float) -> None:
        """Have ``train`` take about so many seconds."""
        self._epochs(1)
        self.train()
        self._epochs(int(max(2, min(seconds / self.model.seconds, 500))))

    def _epochs(self, count: int) -> None:
        self.trainer.recipe = self.trainer.recipe._replace(epochs=count)

    def score(self) -> int:
        """Scores; the number of images."""
        self.trainer.score(self.model, self.spread)
        return len(self.spread)


def speed(work: Callable[[Case], int], case: Case) -> tuple[float, float]:
    """Images in a second, and in a second of processor time."""
    began, used = time.perf_counter(), time.process_time()
    images = work(case)
    return images / (time.perf_counter() - began), images / (time.process_time() - used)


def rates(path: Path, net: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Both pools side by side: rows of the table without its memory."""
    images = open_images(path)
    labels, few = labels_of(len(images)), min(args.in_memory, len(images))
    pools: dict[str, Any] = {"memory": pool_of(np.array(images[:few])), "streamed": None}
    pools["streamed"] = Streamed(images, (pools["memory"].mean, pools["memory"].std))
    cases = {name: Case(net, pool, labels, few) for name, pool in pools.items()}
    for case in cases.values():
        case.train_for(args.seconds)
    works: dict[str, Callable[[Case], int]] = {"train": Case.train, "score": Case.score}
    rows = []
    for name, work in works.items():
        for case in cases.values():
            work(case)  # compiles, and brings the file into the cache
        for file in ("cached", "cold"):
            rounds = []
            for _ in range(args.rounds):
                if file == "cold":
                    forget(path)
                rounds.append([speed(work, case) for case in (cases["streamed"], cases["memory"])])
            streamed, memory = np.median(rounds, axis=0)[:, 0]
            ratio, cpu_ratio = np.median([np.divide(*one) for one in rounds], axis=0)
            rows.append({"net": net, "n": len(images), "work": name, "file": file, "memory_images_s": float(memory),
                         "streamed_images_s": float(streamed), "ratio": float(ratio),
                         "cpu_ratio": float(cpu_ratio)})  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def memory(path: Path, net: str, args: argparse.Namespace) -> dict[str, float]:
    """The peak of a process that only streams."""
    start = peak()
    images = open_images(path)
    began = time.perf_counter()
    pool = Streamed(images)
    seconds = time.perf_counter() - began
    case = Case(net, pool, labels_of(len(images)), min(args.in_memory, len(images)))
    case.train_for(args.seconds)
    case.train()
    case.score()
    return {"start_mb": start, "peak_mb": peak(), "pool_mb": images.nbytes / 2**20, "normalisation_s": seconds}


def child(what: str, path: Path, net: str, args: argparse.Namespace) -> Any:
    options = ("--in-memory", args.in_memory, "--rounds", args.rounds, "--seconds", args.seconds)
    command = map(str, (sys.executable, __file__, "--child", what, "--pool", path, "--nets", net, *options))
    done = subprocess.run(list(command), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_280_000])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--in-memory", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=("rates", "memory"), help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--pool", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps({"rates": rates, "memory": memory}[args.child](args.pool, args.nets[0], args)))
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "images.u8"
        for n in args.sizes:
            make_images(path, n)
            for net in args.nets:
                held = child("memory", path, net, args)
                rows += [row | held for row in child("rates", path, net, args)]
                publish(rows, args.out, backend=type(devices.default().ops).__name__)  # what is there, if it is killed


if __name__ == "__main__":
    main()
