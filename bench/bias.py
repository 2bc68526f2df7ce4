"""How the error that T predicts for the pool compares with the true one, on all of T and on what ageing leaves of it.

    python bench/bias.py --out results/bench/bias.csv
    python bench/bias.py --worlds simulated

For each acquisition function and |B|: the error of the classifier on T and on the images of T that the acquisition
would not have chosen, over its error on U, all by true labels. 1 is unbiased; above 1 fewer images are left to the
machine than epsilon allows. The table has means over seeds, and the standard error where there is more than one seed.

``simulated`` is a DifficultyWorld, where every acquisition function with a score chooses the same images; ``shipped``
trains on the 10,000 images that ship with the package, at a small width. T is a fifth of X, so that its own luck
matters little; B grows by a factor of three.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tables import publish

from mcal_jax import data
from mcal_jax.algorithm.acquisition import ACQUISITIONS
from mcal_jax.algorithm.protocol import Label, Labels, Measure, Measurement, Train, World, remove
from mcal_jax.annotators.ground_truth import GroundTruth
from mcal_jax.worlds.difficulty import DifficultyWorld
from mcal_jax.worlds.simulated import Analytic
from mcal_jax.worlds.trained import TrainedWorld

SIZES = (0.01, 0.03, 0.09, 0.27)
"""|B| as shares of X; the first is random."""
TEST = 0.2


def errors(world: World, model: int, indices: np.ndarray) -> float:
    """Share of ``indices`` that the classifier ``model`` mislabels, by the truth."""
    if isinstance(world, DifficultyWorld):
        return float(world.view(model)[1][indices].mean())
    measured = world.answer(Measure(indices, model), 0)
    assert isinstance(measured, Measurement)
    return float(measured.errors["margin"][-1]) / len(indices)


def trajectory(world: World, n: int, by: str) -> list[dict[str, Any]]:
    """The errors at each size of B but the first."""

    def bought(number: int, *request: Any) -> Labels:
        answer = world.answer(Label(*request), number)
        assert isinstance(answer, Labels)
        return answer

    T = bought(0, np.arange(n), round(TEST * n), "random", "test").indices
    U, E = remove(np.arange(n), T), T
    B = bought(1, U, round(SIZES[0] * n), "random", "train").indices
    U, model, rows = remove(U, B), 2, []
    world.answer(Train(B, T, "resnet18"), model)
    for share in SIZES[1:]:
        batch = bought(model + 1, U, round(share * n) - len(B), by, "train", model, None, E)
        B, U, E = np.union1d(B, batch.indices), remove(U, batch.indices), remove(E, batch.retired)
        model += 2
        world.answer(Train(B, T, "resnet18"), model)
        truth = errors(world, model, U)
        rows.append({
            "acquisition": by, "B": len(B), "left_of_T": len(E) / len(T), "error_of_U": truth,
            "plain": errors(world, model, T) / truth, "aged": errors(world, model, E) / truth,
        })  # fmt: skip
    return rows


def simulated(seed: int, by: str) -> list[dict[str, Any]]:
    n = 10_000
    return trajectory(DifficultyWorld(n, Analytic(alpha=3, gamma=0.4, quality=2), seed=seed), n, by)


def shipped(seed: int, by: str, width: int, recipe: str) -> list[dict[str, Any]]:
    images = data.load("fashion_mnist_10k")
    world = TrainedWorld(images, GroundTruth(images), width=width, recipe=recipe, seed=seed)
    return trajectory(world, len(images.images), by)


def averaged(world: str, rows: Sequence[dict[str, Any]], seeds: int) -> list[dict[str, Any]]:
    """Means over seeds for each acquisition function and |B|, and the standard errors of the two ratios."""
    lines = []
    for (by, size), own in pd.DataFrame(rows).groupby(["acquisition", "B"], sort=False):
        means = own.drop(columns=["acquisition", "B"]).mean().to_dict()
        spread = {
            f"{name}_se": float(own[name].std() / np.sqrt(seeds)) if seeds > 1 else "" for name in ("plain", "aged")
        }
        lines.append({"world": world, "acquisition": by, "B": size, "seeds": seeds, **means, **spread})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="*", default=["simulated", "shipped"], choices=["simulated", "shipped"])
    parser.add_argument("--acquisitions", nargs="*", default=list(ACQUISITIONS))
    parser.add_argument("--seeds", type=int, default=1, help="of shipped; simulated has sixty times as many")
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--recipe", default="brief")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = []
    if "simulated" in args.worlds:
        for by in ("margin", "random"):
            rows = [row for seed in range(60 * args.seeds) for row in simulated(seed, by)]
            lines += averaged("simulated", rows, 60 * args.seeds)
    if "shipped" in args.worlds:
        for by in args.acquisitions:
            rows = [row for seed in range(args.seeds) for row in shipped(seed, by, args.width, args.recipe)]
            lines += averaged("shipped", rows, args.seeds)
            print(*lines[-len(SIZES) + 1 :], sep="\n", flush=True)
    publish(lines, args.out)


if __name__ == "__main__":
    main()
