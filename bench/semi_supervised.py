"""Self-training against the same training without it: accuracy, and what both cost, at several sizes of B.

    python bench/semi_supervised.py --data cifar10 --downsample 2 --width 8 --seeds 0 1

B is drawn at random from the official training images but the last 10,000, on which accuracy is measured; the other
training images have no label. The official test images are not loaded. "bias" is the accuracy on those images without
labels, beside which a net was trained, less that on the images that it has never met. The rows of a size and a seed are
appended to --out as soon as both are there, and are not made again.
"""

import argparse
import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from recipes import TRAINING_IMAGES, VALIDATION, append

from mcal_jax import data
from mcal_jax.errors import McalError
from mcal_jax.training import self_training
from mcal_jax.training.cache import enable_compilation_cache
from mcal_jax.training.programs import Model, key_of
from mcal_jax.training.trainer import Trainer

RECIPES = ("fast", "self_training")
SIZES = (250, 1000, 4000)
KEY = ("data", "downsample", "width", "recipe", "size", "seed")
COLUMNS = (*KEY, "images", "unlabelled", "accuracy", "standard_error", "bias", "seconds")


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def compare(args: argparse.Namespace) -> None:
    """Make the trainings that are missing. The first net of self-training is the one without it."""
    settings = (args.data, args.downsample, args.width)
    done = {tuple(row[key] for key in KEY) for row in rows_of(args.out)}
    enable_compilation_cache()
    downsample = args.downsample if args.downsample > 1 else None
    dataset = data.load(args.data, first=TRAINING_IMAGES[args.data], downsample=downsample)
    trainer = Trainer(dataset.images, len(dataset.classes), width=args.width, recipe=RECIPES[1])
    for seed, size in itertools.product(args.seeds, args.sizes):
        keys = [(*settings, recipe, size, seed) for recipe in RECIPES]
        if all(tuple(map(str, key)) in done for key in keys):
            continue
        labels, available = dataset.labels, len(dataset.labels) - VALIDATION
        order = np.random.default_rng(seed).permutation(available)
        B, U = np.sort(order[:size]), np.sort(order[size:])
        first = trainer.fit(B, labels[B], key_of(seed))
        second = self_training.teach(trainer, first, B, labels[B], U, key_of(seed))
        for key, model in zip(keys, (first, second), strict=True):
            row = dict(zip(KEY, key, strict=True)) | measured(trainer, model, labels, U)
            append(args.out, row, COLUMNS)
            print(row, flush=True)


def measured(trainer: Trainer, model: Model, labels: np.ndarray, U: np.ndarray) -> dict[str, Any]:
    """What a training took and how well it does."""
    validation = np.arange(len(labels) - VALIDATION, len(labels))
    accuracy, on_U = (float(np.mean(trainer.score(model, at).label == labels[at])) for at in (validation, U))
    return {
        "images": model.images,
        "unlabelled": model.unlabelled,
        "accuracy": f"{accuracy:.4f}",
        "standard_error": f"{(accuracy * (1 - accuracy) / VALIDATION) ** 0.5:.4f}",
        "bias": f"{on_U - accuracy:.4f}",
        "seconds": f"{model.seconds:.1f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(TRAINING_IMAGES), default="cifar10")
    parser.add_argument("--downsample", type=int, default=2)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("results/bench/semi_supervised.csv"))
    try:
        compare(parser.parse_args())
    except McalError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
