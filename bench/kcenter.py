"""Greedy k-center, ours against the implementation that active-learning code copies around, side by side.

    python bench/kcenter.py --pool 60000 --features 512 --picks 6000 --reference-picks 300 --out kcenter.csv

The reference calls scikit-learn's pairwise_distances of the pool to the centre once for each choice, then np.minimum
and argmax (Sener and Savarese's greedy, as in sampling_methods/kcenter_greedy.py). Both get the same float32 features
in one process, in turn, ``--repeats`` times, and the fastest of each counts; our compilation is told apart. With
``--reference-picks`` the reference makes so few choices, and ``reference_s`` is its time multiplied up, since each of
its choices costs the same; radii and choices are then compared up to there. Needs scikit-learn.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import pairwise_distances
from tables import publish

from mcal_jax.training.kcenter import k_center


def gaussian(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """All images alike: no structure, and distances that hardly differ."""
    return rng.standard_normal((n, d), np.float32)


def clustered(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """50 clusters of unequal size and width, each of 20 dimensions and a little noise, as embeddings are."""
    centres = 3 * rng.standard_normal((50, d), np.float32)
    bases = rng.standard_normal((50, 20, d), np.float32) * rng.uniform(0.3, 1, (50, 1, 1)).astype(np.float32)
    member = rng.choice(50, n, p=rng.dirichlet(np.full(50, 2.0)))
    x = 0.2 * rng.standard_normal((n, d), np.float32)
    for k in range(50):
        mine = np.flatnonzero(member == k)
        x[mine] += centres[k] + rng.standard_normal((len(mine), 20), np.float32) @ bases[k]
    return x


def reference(features: np.ndarray, n: int) -> np.ndarray:
    """The greedy that is copied around, the first image first."""
    chosen = [0]
    nearest = pairwise_distances(features, features[0].reshape(1, -1))
    while len(chosen) < n:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, pairwise_distances(features, features[chosen[-1]].reshape(1, -1)))
    return np.array(chosen)


def radius(features: np.ndarray, chosen: np.ndarray) -> float:
    """Distance of the farthest image from its nearest centre, in float64."""
    centres = features[chosen].astype(float)
    squares, farthest = (centres**2).sum(1), 0.0
    for start in range(0, len(features), 2000):
        x = features[start : start + 2000].astype(float)
        squared = (x**2).sum(1)[:, None] - 2 * x @ centres.T + squares
        farthest = max(farthest, squared.min(1).max())
    return float(np.sqrt(farthest))


def timed(function, *arguments) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - began, result


def compare(name: str, x: np.ndarray, args: argparse.Namespace) -> dict:
    """One line of the table."""
    few = min(args.reference_picks or args.picks, args.picks)
    first, _ = timed(k_center, x, args.picks)
    ours_s, theirs_s = [], []
    for number in range(args.repeats):
        seconds, theirs = timed(reference, x, few)
        theirs_s.append(seconds)
        seconds, ours = timed(k_center, x, args.picks)
        ours_s.append(seconds)
        print(f"{name}, repeat {number + 1}: reference {theirs_s[-1]:.1f} s for {few}, ours {ours_s[-1]:.1f} s for "
              f"{args.picks}", flush=True)  # fmt: skip
    whole = min(theirs_s) * args.picks / few
    same = np.flatnonzero(np.append(ours[:few] != theirs, True))[0]
    return {
        "features": name,
        "pool": len(x),
        "d": x.shape[1],
        "picks": args.picks,
        "ours_s": min(ours_s),
        "ours_compilation_s": max(first - min(ours_s), 0.0),
        "reference_s": whole,
        "reference_is": "measured" if few == args.picks else f"extrapolated from {few} picks",
        "ratio": whole / min(ours_s),
        "radii_compared_at": few,
        "radius_ours": radius(x, ours[:few]),
        "radius_relative_difference": radius(x, ours[:few]) / radius(x, theirs) - 1,
        "first_choices_the_same": int(same),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=int, default=60000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--picks", type=int, default=6000)
    parser.add_argument("--reference-picks", type=int, help="choices timed of the reference (default: all)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    makers = {"gaussian": gaussian, "clustered": clustered}
    rows = [compare(name, make(args.pool, args.features, rng), args) for name, make in makers.items()]
    publish(rows, args.out, scikit_learn=sklearn.__version__)


if __name__ == "__main__":
    main()
