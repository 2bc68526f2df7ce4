"""What a certificate costs in labels, by the way V is drawn and the bound that is taken.

    python bench/certificates.py --out results/bench/certificates.csv
    python bench/certificates.py --tables pac-labels/datasets --out results/bench/certificates_tables.csv

The classifier labels S, the start of a ranking, as far as V certifies, and humans label the rest. ``labels`` is the
mean share of the ranking that humans label, V included, and ``p90`` its 90th percentile. ``saved`` is how much less
that is than by the planned walk, ``se`` its standard error. ``broke`` is the share of draws that leave epsilon or more
of X wrong, between ``low`` and ``high`` (Clopper and Pearson, 95 %).

Methods: ``planned`` and ``trimmed`` are those of ``mcal_jax.algorithm.certificate``. ``strata`` is
``two_strata.TwoStrata``, exact; ``strata, betting`` bounds the same strata by Ville's inequality. They know where S may
end at best, which a run does not. ``Clopper-Pearson`` tests 100 thresholds in sequence. ``PAC, betting`` and ``PAC,
asymptotic`` follow Candes, Ilyas and Zrnic (2025) with the bound of Waudby-Smith and Ramdas (2024) or the normal one.
All but the trimmed walk and the strata draw as many labels as were planned.

Rankings: some are built to break a bound; ``world`` are those of simulated_worlds.py where the clairvoyant stops
training; ``real`` are the last classifiers of the recorded certified runs, as in redraw.py. With ``--tables``
they are instead those of a folder of CSV files with columns Y, Yhat and confidence, those of
github.com/tijana-zrnic/pac-labels for example.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from redraw import last_ranking
from scipy.special import ndtri
from scipy.stats import beta
from simulated_worlds import draw
from tables import publish
from two_strata import TwoStrata

from mcal_jax.algorithm import certificate
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.sample_size import best_sample_size
from mcal_jax.runs import sweeps
from mcal_jax.worlds.simulated import chance, clairvoyant

RISK = 0.05


class Ranking(NamedTuple):
    """Whether the classifier is ``wrong`` on each image, the most confident first; |V| as planned; and the least number
    of mistakes that is too many."""

    name: str
    wrong: np.ndarray
    planned: int
    limit: int


Method = Callable[[np.random.Generator], tuple[np.ndarray, int]]
"""One draw: which images are in V, and how many images of the ranking S and V hold before S ends."""


def walk(ranking: Ranking, sample: int) -> Method:
    pool = len(ranking.wrong)
    k = certificate.acceptance_number(pool, sample, ranking.limit, RISK)

    def once(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        drawn = at_random(rng, pool, sample)
        return drawn, ends_before(drawn & ranking.wrong, k)

    return once


def trimmed(ranking: Ranking) -> Method:
    size = certificate.smallest_sample(len(ranking.wrong), ranking.planned, ranking.limit, RISK)
    return walk(ranking, size)


def strata(ranking: Ranking, betting: bool) -> Method:
    """Sparse in the first half of what S may hold at best, which only this benchmark knows, and dense beyond it."""
    pool, share = len(ranking.wrong), ranking.planned / len(ranking.wrong)
    first = max(int(np.searchsorted(np.cumsum(ranking.wrong), ranking.limit)) // 2, 1)
    few, many = max(round(0.6 * share * first), 1), min(round(2 * share * (pool - first)), pool - first)
    design = TwoStrata.of(first, few, pool - first, many)
    threshold = design.betting_threshold(ranking.limit, RISK) if betting else design.threshold(ranking.limit, RISK)
    weight = design.betting_weights(ranking.limit, RISK) if betting else (design.weight, 1.0)
    weights = np.repeat(weight, [first, pool - first])

    rates = np.repeat([few / first, many / (pool - first)], [first, pool - first])

    def once(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        if betting:
            drawn = rng.random(pool) < rates
        else:
            drawn = np.concatenate([at_random(rng, first, few), at_random(rng, pool - first, many)])
        return drawn, ends_before(weights * (drawn & ranking.wrong), threshold)

    return once


def clopper_pearson(ranking: Ranking) -> Method:
    pool = len(ranking.wrong)
    ends = np.unique(np.linspace(0, pool, 101).astype(int))[1:]

    def once(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        drawn = at_random(rng, pool, ranking.planned)
        trials, mistakes = (np.cumsum(of)[ends - 1] for of in (drawn, drawn & ranking.wrong))
        rate = np.where(mistakes < trials, beta.ppf(1 - RISK, mistakes + 1, np.maximum(trials - mistakes, 1)), 1.0)
        passed = np.minimum(rate * ends - mistakes, ends - trials) < ranking.limit
        return drawn, int(ends[np.argmin(passed) - 1]) if not passed.all() and passed[0] else pool * int(passed.all())

    return once


def pac(ranking: Ranking, bound: Callable[[np.ndarray, float], bool]) -> Method:
    """V is drawn with replacement; the end of S is found by bisection, as if the bound rose with the threshold."""
    pool = len(ranking.wrong)
    level = ranking.limit / pool

    def once(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        at = rng.integers(pool, size=ranking.planned)
        drawn = np.zeros(pool, bool)
        drawn[at] = True
        low, high = 0, pool
        while low < high:
            middle = (low + high + 1) // 2
            is_below = bound((ranking.wrong[at] & (at < middle)).astype(float), level)
            low, high = (middle, high) if is_below else (low, middle - 1)
        return drawn, low

    return once


def betting_is_below(losses: np.ndarray, level: float) -> bool:
    """Whether the mean is below ``level``: the capital of bets on it has reached 1 / risk (section 4 of the paper)."""
    count = np.arange(1, len(losses) + 1)
    mean = (0.5 + np.cumsum(losses)) / (count + 1)
    variance = (0.25 + np.cumsum((losses - mean) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    stake = np.minimum(np.sqrt(2 * np.log(2 / RISK) / (len(losses) * before)), 0.75 / (1 - level))
    return bool(np.cumsum(np.log1p(-stake * (losses - level))).max() >= -np.log(RISK))


def normal_is_below(losses: np.ndarray, level: float) -> bool:
    return bool(losses.mean() - ndtri(RISK) * losses.std() / np.sqrt(len(losses)) <= level)


METHODS: dict[str, Callable[[Ranking], Method]] = {
    "planned": lambda ranking: walk(ranking, ranking.planned),
    "trimmed": trimmed,
    "strata": partial(strata, betting=False),
    "strata, betting": partial(strata, betting=True),
    "Clopper-Pearson": clopper_pearson,
    "PAC, betting": partial(pac, bound=betting_is_below),
    "PAC, asymptotic": partial(pac, bound=normal_is_below),
}


def at_random(rng: np.random.Generator, pool: int, sample: int) -> np.ndarray:
    """``sample`` of ``pool`` images, bool [pool]."""
    drawn = np.zeros(pool, bool)
    drawn[rng.choice(pool, sample, replace=False)] = True
    return drawn


def ends_before(weighted: np.ndarray, threshold: float) -> int:
    """How many images stand before the one at which the sum of ``weighted`` goes beyond ``threshold``."""
    return int(np.searchsorted(np.cumsum(weighted), threshold + 1e-9, side="right")) if threshold >= 0 else 0


def compare(ranking: Ranking, draws: int) -> list[dict[str, Any]]:
    """One row for each method."""
    rows, pool, base = [], len(ranking.wrong), np.zeros(draws)
    for name, method in METHODS.items():
        rng, once = np.random.default_rng([pool, *name.encode(), *ranking.name.encode()]), method(ranking)
        labels, broke = np.zeros(draws), np.zeros(draws, bool)
        for number in range(draws):
            drawn, end = once(rng)
            left = ~drawn[:end]
            labels[number], broke[number] = 1 - left.sum() / pool, (left & ranking.wrong[:end]).sum() >= ranking.limit
        base = labels if name == "planned" else base
        rows.append(row(ranking.name, name, pool, ranking.planned, labels, base, broke))
    return rows


def row(
    name: str, method: str, pool: int, planned: int, labels: np.ndarray, base: np.ndarray, broke: np.ndarray
) -> dict[str, Any]:
    """A line of the table; ``labels``, ``base`` and ``broke`` are [draws]."""
    count, draws = int(broke.sum()), len(broke)
    return {
        "ranking": name, "method": method, "images": pool, "planned_V": planned, "draws": draws,
        "labels": float(labels.mean()), "p90": float(np.quantile(labels, 0.9)),
        "saved": float(base.mean() - labels.mean()),
        "se": float(np.sqrt((labels.var() + base.var()) / draws)), "broke": count / draws,
        "low": float(beta.ppf(0.025, count, draws - count + 1)) if count else 0.0,
        "high": certificate.clopper_pearson(count, draws, 0.025),
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# Rankings


def adversarial() -> Iterator[Ranking]:
    """Rankings in which a bound fails, if it is not exact; their true number of mistakes is just too large."""
    pool, limit = 8000, 400
    rank = np.arange(pool)
    yield Ranking("mistakes at the top", rank < 1.2 * limit, 600, limit)
    yield Ranking("mistakes in clusters", rank // 20 % 15 == 0, 600, limit)
    yield Ranking("ties: ranked at random", np.random.default_rng(1).random(pool) < 1.2 * limit / pool, 600, limit)
    yield Ranking("all mistakes at the end", rank >= pool - 1.2 * limit, 600, limit)
    yield Ranking("a tiny pool", np.arange(60) % 6 == 0, 24, 8)


def worlds(count: int) -> Iterator[Ranking]:
    """Simulated worlds of up to 50,000 images in which there is something to certify."""
    config, found, number = Config.certified(), 0, 0
    while found < count:
        world = draw(["drawn", "logistic"][number % 2], 2027, number)
        number += 1
        if world.n > 50_000:
            continue
        size = clairvoyant(world.n, world.curve, config.model_copy(update={"label_price": world.label_price})).size
        if not size:
            continue
        pool, thetas = int(0.99 * world.n) - size, np.arange(1, 101) / 100
        u = (np.arange(pool) + 0.5) / pool
        wrong = np.random.default_rng([2027, number]).random(pool) < chance(world.curve, u, size)
        expected = world.curve.wrong_share(thetas, size)
        planned = best_sample_size(world.n, pool, thetas, expected, config.epsilon, RISK).sample
        limit = int(np.ceil(config.epsilon * world.n - 1e-9))
        if wrong.sum() > limit:
            found += 1
            yield Ranking(f"world {number - 1}", wrong, planned, limit)


def real(seeds: int) -> Iterator[Ranking]:
    found = sweeps.planned("certified", "laptop", data_set="fashion_mnist_10k", preset="certified")
    for one in found[:seeds]:
        result, label, truth = last_ranking(one)
        limit = int(np.ceil(result.job.config.epsilon * result.job.n - 1e-9))
        yield Ranking(f"real, seed {one.run.seed}", label != truth, len(result.outcome.V), limit)


def tables(folder: Path, epsilon: float = 0.05) -> Iterator[Ranking]:
    """The tables of which a mistake is a label that differs; |V| as PAC labels draws it, ties in random order."""
    for path in sorted(folder.glob("*.csv")):
        table = pd.read_csv(path)
        predicted = next(name for name in table if name.startswith("Yhat"))
        if table["Y"].dtype.kind == "f" or table[predicted].dtype.kind == "f":
            continue  # labels that are numbers, for which PAC labels takes another loss
        mixed = table.sample(frac=1, random_state=0).sort_values("confidence", ascending=False, kind="stable")
        wrong, n = (mixed["Y"] != mixed[predicted]).to_numpy(), len(table)
        planned = n // 10 if path.stem.startswith("imagenet") else 500
        yield Ranking(path.stem, wrong, planned, int(np.ceil(epsilon * n - 1e-9)))


def summary(rows: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    """Means over the rankings of a ``kind``; the standard error is over these."""
    table = pd.DataFrame(rows)
    table = table[table["ranking"].str.startswith(kind)]
    for method in METHODS if len(table) else ():
        of = table[table["method"] == method]
        yield {
            "method": method, "kind": kind, "rankings": len(of), "labels": of["labels"].mean(), "p90": of["p90"].mean(),
            "saved": of["saved"].mean(), "se": of["saved"].std() / np.sqrt(len(of)), "broke": of["broke"].mean(),
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=20, help="how many of the real classifiers")
    parser.add_argument("--tables", type=Path, help="a folder of CSV files, compared instead")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    rankings = tables(args.tables) if args.tables else chain(adversarial(), real(args.seeds), worlds(args.worlds))
    for ranking in rankings:
        rows += compare(ranking, args.draws)
        print(*rows[-len(METHODS) :], sep="\n", flush=True)
    publish(rows, args.out)
    for kind in ("real", "world"):
        if means := list(summary(rows, kind)):
            publish(means, None)


if __name__ == "__main__":
    main()
