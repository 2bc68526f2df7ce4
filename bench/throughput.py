"""Images per second of the training core beside PyTorch and Keras: the same net, batch, precision and device.

    python bench/throughput.py --cases smoke laptop --out results/bench/throughput.csv
    python bench/throughput.py --cases cifar --batch 256 --nets resnet18 --against torch torch_compile torch_graphs

needs: pip install -e '.[bench]', and torchvision for efficientnet_b0, whose only rivals are PyTorch's. Training is
what the recipe ``short`` does: uint8 pool in the memory of the device, random shift and mirror image, SGD with Nesterov
momentum, label smoothing; scoring is all that M(.) and L(.) read (label, margin, entropy, confidence). float32 on a
CPU, bfloat16 on an accelerator, for all. Rivals:

    torch          PyTorch, eager, channels last; on a CPU one thread or one a core, whichever trains faster
    torch_compile  the same net through torch.compile
    torch_graphs   and with its mode reduce-overhead, which records CUDA graphs
    keras          Keras 3 on TensorFlow, jit_compile as Keras chooses (XLA)
    keras_graph    the same with jit_compile=False
    matmul         ours without the C++ code, as where there is no C++ compiler: convolutions as matrix products

Each framework has its own process, and only one works at a time. In every round all of them train for --seconds and
score for --seconds, in an order that rotates; a ratio is the median over the rounds of (ours / theirs) in one round,
so above 1 ours is faster. Ratios compare within one run: in the table, the row of mcal_jax may be of a later or a less
busy run than a rival's. Compilation is apart: the first training step and scoring less the same once more.
--seconds should hold five mini-batches or more: ResNet50 at width 64 on two cores wants 16.
A busy machine hurts frameworks unequally (threads that wait for each other lose most), so ratios from one mean
nothing: the load before is told and kept in the table.
MFU: 6 FLOPs for each multiply-add of convolutions and head, times images/s, over the dense bfloat16 peak of the
device. Rows of other cases, nets, batches and devices that --out holds already stay.
"""

import argparse
import csv
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peers

from mcal_jax.errors import McalError

CASES = {
    "smoke": [((14, 14, 1), 4), ((7, 7, 1), 4), ((4, 4, 1), 4)],
    "laptop": [((14, 14, 1), 8), ((16, 16, 3), 8)],
    "shipped": [((28, 28, 1), 8)],
    "cifar": [((32, 32, 3), 64)],
    "paper": [((28, 28, 1), 16), ((32, 32, 3), 16), ((28, 28, 1), 64), ((32, 32, 3), 64)],
}
"""Shapes of images and widths of nets: those of the profiles, and the paper's."""
RIVALS = {
    "torch": ["torch"],
    "torch_compile": ["torch"],
    "torch_graphs": ["torch"],
    "keras": ["keras", "tensorflow"],
    "keras_graph": ["keras", "tensorflow"],
    "matmul": [],
}
"""What each needs installed."""
OURS = "mcal_jax"
CLASSES = 10
POOL = 20_000
UNIT = 256
"""Images that are scored together at the least."""
KEY = ("case", "net", "width", "shape", "batch", "dtype", "framework", "device")
COLUMNS = (
    *KEY, "version", "rounds", "train_images_per_s", "train_least", "train_most", "score_images_per_s", "score_least",
    "score_most", "train_ours_over_theirs", "score_ours_over_theirs", "compile_seconds", "parameters",
    "multiply_adds", "train_mfu", "load_before",
)  # fmt: skip


class Task(NamedTuple):
    """What is measured."""

    case: str
    net: str
    shape: peers.Shape
    width: int
    batch: int

    def __str__(self) -> str:
        return f"{self.case} {self.net} {'x'.join(map(str, self.shape))} w{self.width}"


class Ready(NamedTuple):
    """What a worker says of itself when it has compiled."""

    version: str
    device: str
    dtype: str
    parameters: int
    compile_seconds: float


# ---------------------------------------------------------------------------------------------------------
# The worker: one process a framework


def ours(task: Task, images: np.ndarray) -> tuple[Any, Callable[[int], Any], str, str, str, int]:
    """Trainer, seed -> key, version, device, dtype, parameters."""
    import jax
    from flax import nnx

    from mcal_jax.training.nets import build
    from mcal_jax.training.recipes import RECIPES
    from mcal_jax.training.trainer import Trainer

    recipe = RECIPES["short"]._replace(name="bench", epochs=1, power=0, batch=task.batch)
    trainer = Trainer(images, CLASSES, architecture=task.net, width=task.width, recipe=recipe)
    rng = np.random.default_rng(0)
    net = build(task.net, classes=CLASSES, channels=task.shape[2], width=task.width, rng=rng)
    size = sum(p.size for p in jax.tree.leaves(nnx.state(net, nnx.Param)))
    cpu = jax.default_backend() == "cpu"
    device = "cpu" if cpu else jax.devices()[0].device_kind
    return trainer, jax.random.key, jax.__version__, device, "float32" if cpu else "bfloat16", size


def by_torch(
    task: Task, images: np.ndarray, compiled: str | None
) -> tuple[Any, Callable[[int], Any], str, str, str, int]:
    """The same of PyTorch."""
    import peer_torch
    import torch

    settings = dict(architecture=task.net, width=task.width, recipe=rival_recipe(task), compiled=compiled)
    trainer = peer_torch.Trainer(images, CLASSES, **settings)
    device = torch.cuda.get_device_name() if trainer.cuda else "cpu"
    dtype = "bfloat16" if trainer.cuda else "float32"
    threads = trainer.choose_threads()
    version = torch.__version__ + ("" if trainer.cuda else f", {threads} thread{'s' * (threads > 1)}")
    return trainer, int, version, device, dtype, trainer.parameters


def by_keras(task: Task, images: np.ndarray, jit_compile: Any) -> tuple[Any, Callable[[int], Any], str, str, str, int]:
    """The same of Keras."""
    import keras
    import peer_keras
    import tensorflow as tf

    settings = dict(architecture=task.net, width=task.width, recipe=rival_recipe(task), jit_compile=jit_compile)
    trainer = peer_keras.Trainer(images, CLASSES, **settings)
    gpus = tf.config.list_physical_devices("GPU")
    device = tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "cpu"
    version = f"{keras.__version__}, tensorflow {tf.__version__}"
    return trainer, int, version, device, "bfloat16" if gpus else "float32", trainer.parameters


def rival_recipe(task: Task) -> peers.Recipe:
    return peers.Recipe(epochs=1, power=0, batch=task.batch)


class Worker:
    """Trains and scores on request, for about as long as it is told."""

    def __init__(self, framework: str, task: Task):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (POOL, *task.shape), np.uint8)
        self.labels, self.batch = rng.integers(0, CLASSES, POOL), task.batch
        match framework:
            case "torch":
                made = by_torch(task, images, None)
            case "torch_compile":
                made = by_torch(task, images, "default")
            case "torch_graphs":
                made = by_torch(task, images, "reduce-overhead")
            case "keras":
                made = by_keras(task, images, "auto")
            case "keras_graph":
                made = by_keras(task, images, False)
            case "matmul":
                os.environ["MCAL_JAX_NATIVE"] = "0"  # before JAX is first asked
                made = ours(task, images)
            case _:
                made = ours(task, images)
        self.trainer, self.key, *told = made
        self.seed = 0
        taken = []
        for _ in range(2):
            began = time.perf_counter()
            self.fit(1)
            self.score(UNIT)
            taken.append(time.perf_counter() - began)
        self.ready = Ready(*told, max(taken[0] - taken[1], 0.0))
        self.speed = {"train": self.fit(2), "score": self.score(2 * UNIT)}
        self.speed = {what: images / seconds for what, (images, seconds) in self.speed.items()}

    def fit(self, steps: int) -> tuple[int, float]:
        """Images trained on and seconds of ``steps`` mini-batches."""
        self.seed += 1
        chosen = np.arange(steps * self.batch)
        self.model = self.trainer.fit(chosen, self.labels[chosen], self.key(self.seed))
        return self.model.images, self.model.seconds

    def score(self, n: int) -> tuple[int, float]:
        """Images scored and seconds, the answer in the memory of the host."""
        began = time.perf_counter()
        self.trainer.score(self.model, np.arange(n))
        return n, time.perf_counter() - began

    def run(self, what: str, seconds: float) -> float:
        """Images per second of training or scoring for about ``seconds``."""
        unit, do = (self.batch, lambda n: self.fit(n)) if what == "train" else (UNIT, lambda n: self.score(n * UNIT))
        images, spent = 0, 0.0
        while spent < 0.8 * seconds:
            wanted = round(self.speed[what] * (seconds - spent) / unit)
            done, taken = do(min(max(wanted, 1), POOL // unit))
            images, spent = images + done, spent + taken
        self.speed[what] = images / spent
        return self.speed[what]


def work(framework: str, pipe: Connection) -> None:
    """Answers (what, argument) from the pipe until it is closed; a failure is answered as its text."""
    worker: Worker | None = None
    while True:
        try:
            what, argument = pipe.recv()
        except EOFError:
            return
        try:
            if what == "prepare":
                worker = None  # frees the memory of the last task first
                worker = Worker(framework, argument)
                pipe.send((True, worker.ready))
            else:
                assert worker is not None
                pipe.send((True, worker.run(what, argument)))
        except Exception as error:  # whatever a framework raises is one line of the benchmark's output
            lines = str(error).strip().splitlines() or [""]
            pipe.send((False, f"{type(error).__name__}: {lines[0][:200]}"))


# ---------------------------------------------------------------------------------------------------------
# The parent


class Framework:
    """A worker process, started when it is first asked."""

    def __init__(self, name: str):
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(name, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, what: str, argument: Any) -> Any:
        """Raises McalError with what the worker says of its failure."""
        self.tell(what, argument)
        return self.answer()

    def tell(self, what: str, argument: Any) -> None:
        try:
            self.pipe.send((what, argument))
        except OSError:
            raise McalError(f"{self.name} died; see what it wrote above") from None

    def answer(self) -> Any:
        try:
            done, answer = self.pipe.recv()
        except (EOFError, OSError):
            raise McalError(f"{self.name} died; see what it wrote above") from None
        if not done:
            raise McalError(f"{self.name}: {answer}")
        return answer

    def close(self) -> None:
        self.pipe.close()
        self.process.join(10)


def measure(task: Task, frameworks: list[Framework], args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a framework. A rival that fails or runs on another device is left out, and that is told."""
    size = peers.size(task.net, task.shape, task.width, CLASSES)
    ready: dict[Framework, Ready] = {}
    for framework in frameworks if args.together else ():
        framework.tell("prepare", task)
    for framework in frameworks:
        tell(f"{task}: {framework.name} compiles")
        try:
            if not args.together:
                framework.tell("prepare", task)
            answer: Ready = framework.answer()
        except McalError as error:
            if framework.name == OURS:
                raise
            print(f"{task}: left out: {error}", flush=True)
            continue
        peers.check_parameters(framework.name, answer.parameters, size.parameters)
        first = next(iter(ready.values()), answer)
        if (answer.device, answer.dtype) != (first.device, first.dtype):
            where = f"{answer.dtype} on {answer.device}, not {first.dtype} on {first.device}"
            print(f"{task}: left out: {framework.name} computes in {where}", flush=True)
            continue
        ready[framework] = answer
    speeds: dict[str, dict[str, list[float]]] = {f.name: {"train": [], "score": []} for f in ready}
    order = list(ready)
    for number in range(args.rounds):
        for what in ("train", "score"):
            for framework in order[number % len(order) :] + order[: number % len(order)]:
                tell(f"{task}: round {number + 1} of {args.rounds}, {framework.name}, {what}")
                speeds[framework.name][what].append(framework.ask(what, args.seconds))
    tell("")
    return [row(task, size, framework.name, answer, args.rounds, speeds) for framework, answer in ready.items()]


def row(
    task: Task,
    size: peers.Size,
    name: str,
    ready: Ready,
    rounds: int,
    speeds: dict[str, dict[str, list[float]]],
) -> dict[str, Any]:
    device = f"cpu, {os.cpu_count()} cores" if ready.device == "cpu" else ready.device
    found: dict[str, Any] = dict(
        case=task.case, net=task.net, width=task.width, shape="x".join(map(str, task.shape)), batch=task.batch,
        dtype=ready.dtype, framework=name, device=device, version=ready.version, rounds=rounds,
        compile_seconds=f"{ready.compile_seconds:.1f}", parameters=ready.parameters,
        multiply_adds=size.multiply_adds,
    )  # fmt: skip
    for what, values in speeds[name].items():
        found[f"{what}_images_per_s"] = figures(statistics.median(values))
        found[f"{what}_least"], found[f"{what}_most"] = figures(min(values)), figures(max(values))
        if name != OURS:
            ratio = statistics.median(a / b for a, b in zip(speeds[OURS][what], values, strict=True))
            found[f"{what}_ours_over_theirs"] = f"{ratio:.2f}"
    if peak := peers.peak_flops(device):
        flops = peers.training_flops(size.multiply_adds)
        found["train_mfu"] = f"{statistics.median(speeds[name]['train']) * flops / peak:.4f}"
    return found


def figures(value: float, digits: int = 4) -> str:
    """A number with four significant digits and no exponent."""
    return f"{value:.{max(digits - 1 - math.floor(math.log10(value)), 0)}f}"


def tell(text: str) -> None:
    """Progress, on one line that is written over; nothing where there is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


SHOWN = {
    "framework": 14, "train_images_per_s": 12, "train_ours_over_theirs": 12, "score_images_per_s": 12,
    "score_ours_over_theirs": 12, "compile_seconds": 12, "train_mfu": 9,
}  # fmt: skip
HEADS = ("", "train im/s", "ours/theirs", "score im/s", "ours/theirs", "compile s", "MFU")


def show(task: Task, rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    print(f"\n{task}, batch {task.batch}, {first['dtype']}, {first['device']}: {first['parameters']:,} parameters")
    print("".join(f"{head:>{n}}" for head, n in zip(HEADS, SHOWN.values(), strict=True)))
    for found in rows:
        print("".join(f"{found.get(column, ''):>{n}}" for column, n in SHOWN.items()), flush=True)


def store(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put rows into the table at ``path`` in the place of those of the same key."""
    table: dict[tuple[str, ...], dict[str, Any]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            table = {tuple(old[k] for k in KEY): old for old in csv.DictReader(file)}
    table |= {tuple(str(new[k]) for k in KEY): new for new in rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    with fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table.values())
    fresh.replace(path)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["smoke", "laptop", "shipped"])
    parser.add_argument("--nets", nargs="+", choices=[*peers.KINDS, "efficientnet_b0"], default=list(peers.KINDS))
    parser.add_argument("--against", nargs="*", choices=list(RIVALS), default=["torch", "torch_compile", "keras"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of training, and of scoring, in each round")
    parser.add_argument("--batch", type=int, default=peers.Recipe().batch, help="mini-batch of the training")
    parser.add_argument("--together", action="store_true", help="compile all at once: sooner, but compile_seconds rise")
    parser.add_argument("--out", type=Path, help="table, CSV")
    return parser


def main() -> None:
    parser = arguments()
    args = parser.parse_args()
    try:
        peers.check_installed(sorted({module for name in args.against for module in RIVALS[name]}))
        load = peers.load()
        # Several frameworks share the memory of an accelerator: none may take it all.
        os.environ.update(XLA_PYTHON_CLIENT_PREALLOCATE="false", TF_FORCE_GPU_ALLOW_GROWTH="true")
        frameworks = [Framework(name) for name in [OURS, *args.against]]
        try:
            for case in args.cases:
                for net in args.nets:
                    for shape, width in CASES[case]:
                        task = Task(case, net, shape, width, args.batch)
                        rows = measure(task, frameworks, args)
                        rows = [{**found, "load_before": f"{load:.1f}"} for found in rows]
                        show(task, rows)
                        if args.out:
                            store(args.out, rows)
        finally:
            for framework in frameworks:
                framework.close()
    except McalError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
