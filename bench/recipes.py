"""Accuracy against images processed of the recipes, at several sizes of B: is the short one as good as the long one?

    python bench/recipes.py --data fashion_mnist --downsample 2 --width 8 --seeds 0 1 2
    python bench/recipes.py --data cifar10 --width 64 --recipes paper fast        # accelerator

B is drawn at random from the official training images but the last 10,000, which are the validation images that
accuracy is measured on; the smaller B of a seed are part of the larger ones. The official test images are not
loaded. The data set must be prepared (mcal data prepare NAME). One row a training is appended to --out as soon as
it is done; what is there is not trained again, so the command can be stopped and given again. A training whose loss
is no longer finite is a row with no accuracy.
"""

import argparse
import csv
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mcal_jax import data
from mcal_jax.errors import McalError
from mcal_jax.training.architectures import ARCHITECTURES
from mcal_jax.training.cache import enable_compilation_cache
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.trainer import Trainer

TRAINING_IMAGES = {"fashion_mnist": 60_000, "mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000}
"""Official training images; they come first in the pool, test images after them."""
VALIDATION = 10_000
SIZES = (600, 2000, 6000, 20_000, 50_000)
KEY = ("data", "downsample", "net", "width", "recipe", "size", "seed")
COLUMNS = (*KEY, "shape", "images", "accuracy", "standard_error", "seconds", "device")


class Training(NamedTuple):
    """One row of the table."""

    data: str
    downsample: int
    net: str
    width: int
    recipe: str
    size: int
    seed: int

    @property
    def images(self) -> int:
        """Training images that the recipe processes."""
        return RECIPES[self.recipe].steps(self.size) * RECIPES[self.recipe].batch


def sizes_of(name: str, wanted: list[int]) -> list[int]:
    """The sizes of B, those beyond what the data set allows replaced by the largest that it does."""
    return sorted({min(size, TRAINING_IMAGES[name] - VALIDATION) for size in wanted})


def planned(args: argparse.Namespace) -> list[Training]:
    """All trainings, the first seed of everything first, and of a seed the shortest first."""
    trainings = [
        Training(args.data, args.downsample, args.net, args.width, recipe, size, seed)
        for seed in args.seeds
        for size in sizes_of(args.data, args.sizes)
        for recipe in args.recipes
    ]
    return sorted(trainings, key=lambda one: (one.seed, one.images))


def there(path: Path) -> set[tuple[str, ...]]:
    """Keys of the rows of the table."""
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {tuple(row[key] for key in KEY) for row in csv.DictReader(file)}


def measure(one: Training, trainer: Trainer, labels: np.ndarray) -> dict[str, Any]:
    """Train and validate."""
    available = len(labels) - VALIDATION
    chosen = np.random.default_rng(one.seed).permutation(available)[: one.size]
    validation = np.arange(available, len(labels))
    found: dict[str, Any] = one._asdict()
    try:
        model = trainer.fit(chosen, labels[chosen], jax.random.key(one.seed))
    except McalError as error:
        print(f"  {error}", flush=True)
        return found | {"images": one.images}
    accuracy = float(np.mean(trainer.score(model, validation).label == labels[validation]))
    error = (accuracy * (1 - accuracy) / VALIDATION) ** 0.5
    return found | {
        "images": model.images, "accuracy": f"{accuracy:.4f}", "standard_error": f"{error:.4f}",
        "seconds": f"{model.seconds:.1f}",
    }  # fmt: skip


def append(path: Path, row: dict[str, Any], columns: Sequence[str] = COLUMNS) -> None:
    """Add a row to a table, which begins with the names of its columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerow(row)


def run(args: argparse.Namespace) -> None:
    """Make the rows that are missing. Raises McalError."""
    done = there(args.out)
    missing = [one for one in planned(args) if tuple(map(str, one)) not in done]
    print(f"{len(missing)} trainings to make, {sum(one.images for one in missing):,} images to process", flush=True)
    if not missing:
        return
    enable_compilation_cache()
    dataset = data.load(
        args.data, first=TRAINING_IMAGES[args.data], downsample=args.downsample if args.downsample > 1 else None
    )
    cpu = jax.default_backend() == "cpu"
    told = dict(
        shape="x".join(map(str, dataset.images.shape[1:])),
        device=f"cpu, {len(os.sched_getaffinity(0))} cores" if cpu else jax.devices()[0].device_kind,
    )
    trainers = {
        name: Trainer(dataset.images, len(dataset.classes), architecture=args.net, width=args.width, recipe=name)
        for name in args.recipes
    }
    processed, spent = 0, 0.0
    for number, one in enumerate(missing):
        began = time.perf_counter()
        row = measure(one, trainers[one.recipe], dataset.labels)
        append(args.out, row | told)
        processed, spent = processed + one.images, spent + time.perf_counter() - began
        left = sum(later.images for later in missing[number + 1 :]) * spent / processed
        print(
            f"seed {one.seed} {one.recipe:6} |B| {one.size:6,}: {one.images:11,} images, accuracy "
            f"{row.get('accuracy', 'none')}, {row.get('seconds', '?')} s; {number + 1} of {len(missing)}, "
            f"about {left / 60:.0f} minutes left",
            flush=True,
        )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(TRAINING_IMAGES), required=True)
    parser.add_argument("--downsample", type=int, default=1)
    parser.add_argument("--net", default="resnet18", choices=list(ARCHITECTURES))
    parser.add_argument("--width", type=int, default=64)
    supervised = [name for name, recipe in RECIPES.items() if recipe.student is None]
    parser.add_argument("--recipes", nargs="+", choices=supervised, default=supervised)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/bench/recipes.csv"))
    return parser


def main() -> None:
    parser = arguments()
    try:
        run(parser.parse_args())
    except McalError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
