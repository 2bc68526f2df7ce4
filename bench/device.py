"""What one accelerator does: a fast training, a whole MCAL run, several seeds side by side.

    python bench/device.py cifar10                     # 50,000 images to 94 % test accuracy: seconds, over seeds
    python bench/device.py run                         # MCAL on all 60,000 images at full size: seconds by part
    python bench/device.py vmap --width 16             # images/s of 1, 2, 4 and 8 nets trained as one program

Each writes results/bench/device_<name>.json as it goes, with the device and the versions. CIFAR-10 comes from TFDS:
``mcal data prepare cifar10``. The same commands rehearse on a CPU, with other images or fewer:

    python bench/device.py cifar10 --data fashion_mnist_10k --first 240 --downsample 4 --width 2 --epochs 1 --batch 32
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import speed_net

from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Answer, Request, TrainResult
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.data import Dataset, load
from mcal_jax.files import write_atomically
from mcal_jax.runs import execution
from mcal_jax.runs.driver import drive
from mcal_jax.runs.progress import Reporter
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import DataSettings, Run, results
from mcal_jax.training import devices
from mcal_jax.training.pool import Pool, look_up
from mcal_jax.training.programs import Graph, Model
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.trainer import Trainer
from mcal_jax.worlds.trained import TrainedWorld


class Record:
    """Rows of a benchmark, printed and written as they come; a killed one keeps what it has."""

    def __init__(self, args: argparse.Namespace):
        self.path = args.out or results() / "bench" / f"device_{args.name}.json"
        settings = {key: value for key, value in vars(args).items() if key != "out"}
        self.content = {"device": execution.device(), **execution.provenance(), "settings": settings, "rows": []}
        print(f"{self.content['device']}, JAX {jax.__version__}, {self.path}", flush=True)

    def add(self, **row: Any) -> None:
        self.content["rows"].append(row)
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
        self.write()

    def write(self, **more: Any) -> None:
        self.content.update(more)
        write_atomically(self.path, json.dumps(self.content, indent=1) + "\n")


def images_of(args: argparse.Namespace) -> Dataset:
    return load(args.data, first=args.first, downsample=args.downsample)


@partial(jax.jit, static_argnames="net")
def right(net: Graph, model: Model, pool: Pool, labels: jax.Array, index: jax.Array) -> jax.Array:
    """How many images at ``index`` get their label, alone and with the mean of the logits of the mirror image."""
    images = look_up(pool, index)
    one, mirrored = (net.merge(model.params, model.stats)(x, train=False)[0] for x in (images, images[:, :, ::-1]))
    return jnp.stack([(logits.argmax(1) == labels[index]).sum() for logits in (one, one + mirrored)])


def cifar10(args: argparse.Namespace) -> None:
    """Trains speed_net.py on the first five sixths, CIFAR-10's 50,000; the rest serves only to report the accuracy.

    With --validate it trains on nine tenths of those, and the accuracy is that on the other tenth.
    """
    record, data = Record(args), images_of(args)
    assert data.labels is not None
    cut = 5 * len(data.images) // 6
    learnt, end = (9 * cut // 10, cut) if args.validate else (cut, len(data.images))
    recipe = speed_net.RECIPE._replace(batch=args.batch or speed_net.RECIPE.batch)
    trainer = speed_net.SpeedTrainer(data.images[:cut], len(data.classes), width=args.width, recipe=recipe)
    test = trainer.pool._replace(images=jnp.asarray(data.images[learnt:end]))
    labels, n = jnp.asarray(data.labels[learnt:end]), end - learnt
    size = math.gcd(n, 2000)
    for seed in range(args.seeds):
        for epochs in args.epochs or [recipe.epochs]:
            trainer.recipe = recipe._replace(epochs=epochs)
            began = time.perf_counter()
            model = trainer.fit(np.arange(learnt), data.labels[:learnt], jax.random.key(seed))
            rest = time.perf_counter() - began - model.seconds
            batches = np.arange(n, dtype=np.int32).reshape(-1, size)
            counts = jax.device_get([right(trainer.net, model, test, labels, index) for index in batches])
            alone, flipped = (np.sum(counts, 0) / n).tolist()
            record.add(
                seed=seed, epochs=epochs, accuracy=flipped, accuracy_without_flip=alone, seconds=model.seconds,
                images_per_second=model.images / model.seconds, compilation_and_start=rest,
            )  # fmt: skip
    summary = summarised(record.content["rows"])
    print(*summary, sep="\n")
    record.write(summary=summary)


def summarised(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trainings of one length together."""
    found = []
    for epochs in sorted({row["epochs"] for row in rows}):
        accuracies, seconds = zip(*((r["accuracy"], r["seconds"]) for r in rows if r["epochs"] == epochs), strict=True)
        reached = sum(accuracy >= 0.94 for accuracy in accuracies)
        found.append(
            dict(epochs=epochs, mean_accuracy=float(np.mean(accuracies)), worst_accuracy=min(accuracies),
                 reached_94=reached, of=len(accuracies), median_seconds=float(np.median(seconds)))
        )  # fmt: skip
    return found


class Stopwatch:
    """Wall-clock seconds by part: what is inside another part is taken from that, and compilation from all."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.inside: list[float] = []  # of each open part, the seconds that are not its own
        self.compiled: list[tuple[float, float]] = []  # spans, the outermost only
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, duration: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            end = time.perf_counter()
            begin = end - duration
            counted = sum(b - a for a, b in self.compiled if a >= begin)
            self.compiled = [span for span in self.compiled if span[0] < begin] + [(begin, end)]
            self._count("compile", duration - counted, duration - counted)

    def _count(self, name: str, own: float, whole: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + own
        if self.inside:
            self.inside[-1] += whole

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        self.inside.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - began
            self._count(name, whole - self.inside.pop(), whole)


class TimedWorld(TrainedWorld):
    """A trained world that says where the time goes."""

    watch: Stopwatch

    def answer(self, request: Request, number: int) -> Answer:
        with self.watch.part("label"):
            return super().answer(request, number)

    def _trainer(self, number: int) -> Trainer:
        with self.watch.part("upload"):
            return super()._trainer(number)

    def _model(self, number: int) -> Model:
        with self.watch.part("train"):
            return super()._model(number)

    def _score(self, number: int, indices: np.ndarray) -> Any:
        with self.watch.part("score"):
            return super()._score(number, indices)

    def _order(self, *args: Any) -> np.ndarray:
        with self.watch.part("select"):
            return super()._order(*args)


def run(args: argparse.Namespace) -> None:
    """MCAL by its recommended reading; a row for each training, the seconds by part, and the run log beside them."""
    record, data, watch = Record(args), images_of(args), Stopwatch()
    began = time.perf_counter()
    settings = Run(
        data=DataSettings(name=args.data, first=args.first, downsample=args.downsample),
        architectures=(args.architecture,), width=args.width, recipe=args.recipe, seed=args.seed,
    )  # fmt: skip
    job = Job(n=len(data.images), architectures=(args.architecture,), config=settings.resolve(data.images.shape[3]))
    world = TimedWorld(data, GroundTruth(data), width=args.width, recipe=args.recipe, seed=args.seed)
    path = record.path.with_suffix(".jsonl")
    path.unlink(missing_ok=True)
    log = RunLog.create(
        path, job, settings.model_dump(mode="json"), {**execution.provenance(), "device": execution.device()}
    )
    world.watch, tell = watch, Reporter(lambda line: print(line, flush=True), job)

    def parts() -> dict[str, float]:
        whole = time.perf_counter() - began
        return {**watch.seconds, "plan": whole - sum(watch.seconds.values()), "whole": whole}

    def observe(number: int, request: Request, answer: Answer) -> None:
        tell(number, request, answer)
        if isinstance(answer, TrainResult):
            wrong = len(answer.wrong) / answer.n_test
            per_second = answer.images / answer.seconds
            record.add(size=answer.size, error=wrong, seconds=answer.seconds, images_per_second=per_second)
            record.write(seconds=parts())

    done = drive(job, world, log, observe)
    log.close()
    bill = done.outcome.ledger
    ended = dict(
        stop=done.outcome.stop, dollars=bill.total, savings=bill.savings, true_error=done.true_error,
        machine_labelled=len(done.outcome.S) / job.n,
    )  # fmt: skip
    record.write(seconds=parts(), outcome=ended)
    print(ended, *(f"{name:8} {seconds:8.2f} s" for name, seconds in record.content["seconds"].items()), sep="\n")


def side_by_side(args: argparse.Namespace) -> None:
    """Images/s of ``fit_many`` by the number of nets, in each layout, beside one net trained by ``fit``."""
    record, data = Record(args), images_of(args)
    assert data.labels is not None
    indices = np.arange(args.labels)
    labels = data.labels[indices]
    recipe = RECIPES["fast"]._replace(name="bench", epochs=args.epochs, power=0, batch=args.batch)
    for layout in args.layouts:
        backend = devices.default()._replace(layout=layout)
        trainer = Trainer(
            data.images, len(data.classes), architecture=args.architecture, width=args.width, recipe=recipe,
            backend=backend,
        )  # fmt: skip
        alone = None
        for seeds in (0, *args.seeds):
            rates = []
            for _ in range(args.repeats):
                keys = [jax.random.key(seed) for seed in range(max(1, seeds))]
                models = trainer.fit_many(indices, labels, keys) if seeds else [trainer.fit(indices, labels, keys[0])]
                rates.append(sum(m.images for m in models) / sum(m.seconds for m in models))
            alone = alone or max(rates)
            record.add(
                layout=layout, dtype=backend.dtype, program=f"fit_many of {seeds}" if seeds else "fit",
                images_per_second=max(rates), times_fit=max(rates) / alone, all_rates=rates,
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="name", required=True)
    speed = commands.add_parser("cifar10", help=cifar10.__doc__)
    whole = commands.add_parser("run", help=run.__doc__)
    vmap = commands.add_parser("vmap", help=side_by_side.__doc__)
    for command, function in ((speed, cifar10), (whole, run), (vmap, side_by_side)):
        command.set_defaults(function=function)
        command.add_argument("--data", default="cifar10")
        command.add_argument("--first", type=int, help="images to keep; default: all")
        command.add_argument("--downsample", type=int)
        command.add_argument("--width", type=int, default=64)
        command.add_argument("--deterministic", action="store_true", help="the same weights each time, on a GPU too")
        command.add_argument("--out", type=Path)
    for command in (whole, vmap):
        command.add_argument("--architecture", default="resnet18")
    speed.add_argument("--seeds", type=int, default=3)
    speed.add_argument("--epochs", type=float, nargs="+", help="default: the recipe's")
    speed.add_argument("--batch", type=int, help="default: the recipe's")
    speed.add_argument("--validate", action="store_true", help="keep off the test images")
    whole.add_argument("--recipe", default="fast", choices=list(RECIPES))
    whole.add_argument("--seed", type=int, default=0)
    vmap.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 4, 8])
    vmap.add_argument("--layouts", nargs="+", default=[devices.ACCELERATOR.layout, devices.CPU.layout])
    vmap.add_argument("--labels", type=int, default=10_000, help="|B|")
    vmap.add_argument("--epochs", type=int, default=4)
    vmap.add_argument("--batch", type=int, default=64)
    vmap.add_argument("--repeats", type=int, default=2, help="the best counts")
    args = parser.parse_args()
    if args.deterministic:
        devices.deterministic()
    function = args.function
    del args.function
    function(args)


if __name__ == "__main__":
    main()
