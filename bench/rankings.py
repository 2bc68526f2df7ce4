"""Rankings L(.) on equal classifiers: the largest S that keeps the error of X at 5 %, and what it leaves to pay.

    python bench/rankings.py --data cifar10 --seed 0 --sizes 600 1200 2400 4800 9600 14400 --keep /tmp/logits
    python bench/rankings.py --data fashion_mnist --recipe brief --seed 0 --sizes 700 1400 2800 --keep /tmp/logits

A chain of trainings as a run makes them: T is 5 % of X, B begins at random and grows by the margin of the last
classifier. After each training the logits of all of X, under every view, go to --keep, and are read from there again.
Every ranking then orders U by the same logits; the cut is made by the true labels, so this compares rankings, not
estimates. "learned" is a logistic regression on what the images of T show, for each half of T the other half's.
Cost: US dollars at Amazon's price, with T, B, R and all trainings so far at the paper's price.
"""

import argparse
import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcal_jax import data
from mcal_jax.algorithm.acquisition import lowest
from mcal_jax.algorithm.costs import PAPER_PRICES, SERVICES
from mcal_jax.training.cache import enable_compilation_cache
from mcal_jax.training.pool import look_up
from mcal_jax.training.programs import key_of
from mcal_jax.training.scoring import stream
from mcal_jax.training.trainer import Trainer

EPSILON = 0.05
MOVES = {"plain": (0, 0), "mirror": (0, 0), "up": (1, 0), "down": (-1, 0), "left": (0, 1), "right": (0, -1)}
"""Views of an image, and by how many pixels each moves it."""
COLUMNS = ("data", "seed", "size", "ranking", "share", "machine", "cost")
Ranked = tuple[np.ndarray, np.ndarray]
"""Labels [n] and how confident each is [n]."""


@partial(jax.jit, static_argnames=("net", "view"))
def logits_of(net: Any, params: Any, stats: Any, pool: Any, index: jax.Array, view: str) -> tuple[jax.Array]:
    """Logits [b, classes] of the images at ``index`` under one view."""
    images = look_up(pool, index)
    _, height, width, _ = images.shape
    down, right = MOVES[view]
    rows = jnp.clip(jnp.arange(height) + down, 0, height - 1)
    columns = jnp.clip(jnp.arange(width) + right, 0, width - 1)
    moved = images[:, rows][:, :, columns]
    return (net.merge(params, stats)(moved[:, :, ::-1] if view == "mirror" else moved, train=False)[0],)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    return np.asarray(jax.nn.softmax(jnp.asarray(logits, jnp.float32) / temperature))


def margin(p: np.ndarray) -> np.ndarray:
    second, first = np.partition(p, -2, axis=1)[:, -2:].T
    return first - second


def chain(args: argparse.Namespace, labels: np.ndarray, images: np.ndarray, classes: int) -> Iterator[dict]:
    """After each training T, B and the logits [n, classes] of every view; those in ``args.keep`` are read."""
    n, trainer, p = len(labels), None, np.empty(0)
    order = np.random.default_rng(args.seed + 1000).permutation(n)
    T, rest = np.sort(order[: n // 20]), order[n // 20 :]
    B = np.sort(rest[: args.sizes[0]])
    for step, size in enumerate(args.sizes):
        path = args.keep / f"{args.data}_{args.seed}_{step}.npz"
        U = np.setdiff1d(np.arange(n), np.union1d(T, B))
        if size > len(B):
            B = np.union1d(B, U[lowest(margin(p)[U], size - len(B))])
        if not path.exists():
            trainer = trainer or Trainer(images, classes, width=args.width, recipe=args.recipe)
            model = trainer.fit(B, labels[B], jax.random.fold_in(key_of(args.seed), step))
            settings = (trainer.net, model.params, model.stats, trainer.pool)
            score = {view: partial(logits_of, *settings, view=view) for view in MOVES}
            found = {view: stream(one, np.arange(n), trainer.score_batch)[0] for view, one in score.items()}
            np.savez(path, T=T, B=B, **{view: logits.astype(np.float16) for view, logits in found.items()})
        kept = dict(np.load(path))
        p = softmax(kept["plain"])
        yield kept


def rankings(kept: dict, before: list[np.ndarray], truth: np.ndarray) -> dict[str, Ranked]:
    """Every ranking by name; ``before`` are the means over mirror images of the classifiers before, latest first."""
    p = softmax(kept["plain"])
    q = softmax(kept["mirror"])
    mirror = (p + q) / 2
    views = sum(softmax(kept[view]) for view in MOVES) / len(MOVES)
    found = {
        "margin": (p, margin(p)),
        "probability": (p, p.max(1)),
        "entropy": (p, (p * np.log(np.maximum(p, 1e-12))).sum(1)),
        "mirror, margin": (mirror, margin(mirror)),
        "mirror": (mirror, mirror.max(1)),
        "mirror and four shifts": (views, views.max(1)),
        "mirror, agreeing first": (mirror, mirror.max(1) + (p.argmax(1) == q.argmax(1))),
    }
    for temperature in (0.5, 2.0):
        mean = (softmax(kept["plain"], temperature) + softmax(kept["mirror"], temperature)) / 2
        found[f"mirror, temperature {temperature}"] = mean, mean.max(1)
    for weight in (0.2, 0.3, 0.4, 0.5) if before else ():
        mean = (1 - weight) * mirror + weight * before[0]
        found[f"mirror, previous {weight}"] = mean, mean.max(1)
    if before:
        mean = 0.7 * mirror + 0.3 * before[0]
        found["mirror, previous 0.3, margin"] = mean, margin(mean)
        found["mirror, previous 0.3, learned"] = mean, learned(mean, [p, q, before[0]], kept["T"], truth)
    if len(before) > 1:
        mean = 0.6 * mirror + 0.25 * before[0] + 0.15 * before[1]
        found["mirror, previous 0.25 and 0.15"] = mean, mean.max(1)
    return {name: (mean.argmax(1), confidence) for name, (mean, confidence) in found.items()}


def learned(mean: np.ndarray, members: list[np.ndarray], T: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The chance [n] that each label is right: the mean of two regressions, each on half of T."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    label, at = mean.argmax(1), np.arange(len(mean))
    logs = [np.log(np.maximum(values, 1e-6)) for values in (mean.max(1), 1 - mean.max(1), margin(mean))]
    logs += [np.log(np.maximum(member[at, label], 1e-6)) for member in members]
    agree = [member.argmax(1) == label for member in members]
    x = np.concatenate([np.stack([*logs, *agree], 1), np.eye(mean.shape[1])[label]], 1)
    chances = []
    for half in np.array_split(np.random.default_rng(0).permutation(T), 2):
        fit = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(x[half], label[half] == truth[half])
        chances.append(fit.predict_proba(x)[:, 1])
    return np.mean(chances, axis=0)


def largest(ranked: Ranked, U: np.ndarray, truth: np.ndarray) -> int:
    """|S|: most images of U, the most confident first, whose mistakes are at most EPSILON of X."""
    label, confidence = ranked
    order = U[np.argsort(-confidence[U], kind="stable")]
    within = np.flatnonzero(np.cumsum(label[order] != truth[order]) <= EPSILON * len(truth))
    return int(within[-1]) + 1 if len(within) else 0


def rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    dataset = data.load(args.data, downsample=args.downsample)
    images, truth = dataset.images, dataset.labels
    assert truth is not None
    price = 200 * PAPER_PRICES["grey" if images.shape[3] == 1 else "colour"]["resnet18"]
    before, training = [], 0.0
    for kept in chain(args, truth, images, len(dataset.classes)):
        U = np.setdiff1d(np.arange(len(truth)), np.union1d(kept["T"], kept["B"]))
        training += price * len(kept["B"])
        for name, ranked in rankings(kept, before, truth).items():
            machine = largest(ranked, U, truth)
            cost = SERVICES["amazon"] * (len(truth) - machine) + training
            yield {
                "data": args.data, "seed": args.seed, "size": len(kept["B"]), "ranking": name,
                "share": f"{machine / len(U):.4f}", "machine": machine, "cost": f"{cost:.2f}",
            }  # fmt: skip
        before = [(softmax(kept["plain"]) + softmax(kept["mirror"])) / 2, *before]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--downsample", type=int, default=2)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--recipe", default="short")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--keep", type=Path, required=True, help="folder of the logits")
    parser.add_argument("--out", type=Path, default=Path("results/bench/rankings.csv"))
    args = parser.parse_args()
    enable_compilation_cache()
    args.keep.mkdir(parents=True, exist_ok=True)
    there = []
    if args.out.exists():
        with args.out.open(newline="", encoding="utf-8") as file:
            there = [row for row in csv.DictReader(file) if (row["data"], row["seed"]) != (args.data, str(args.seed))]
    made = list(rows(args))
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows([*there, *made])
    for row in made:
        print(f"|B| {row['size']:6,}  {row['ranking']:32} {row['share']}  ${row['cost']}")


if __name__ == "__main__":
    main()
