"""Recorded runs as numbers: read from their logs, and priced for any labelling service and training price.

Nothing is replayed and no JAX is loaded. A trajectory (active learning in batches of delta) knows no price, so
one training serves every service, epsilon and price of computing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcal_jax import baselines, costs, planner
from mcal_jax.paper import DATA_SETS
from mcal_jax.runlog import RunLog, answer_from_json
from mcal_jax.runs import log_path
from mcal_jax.settings import Run
from mcal_jax.sweeps import Planned, planned
from mcal_jax.types import Config, Fitted, Ledger, McalError, Measured


class Trajectory(NamedTuple):
    """Active learning in batches of ``delta`` |X|: what T said of each classifier, and what U really holds.

    ``measured`` is as long as ``fits``, but for a pool that was bought to the end.
    """

    data_set: str
    run: Run
    path: Path
    n: int
    config: Config
    fits: tuple[Fitted, ...]
    measured: tuple[Measured, ...]

    @property
    def architecture(self) -> str:
        return self.run.architectures[0]

    @property
    def delta(self) -> float:
        assert self.run.delta
        return self.run.delta

    @property
    def sizes(self) -> np.ndarray:
        """|B| of each training."""
        return np.array([fit.size for fit in self.fits])


class Labelling(NamedTuple):
    """A finished run of MCAL: sizes of the sets, dollars, the error of the labels delivered, and the ``bound`` on it
    that a certificate gives."""

    data_set: str
    run: Run
    path: Path
    n: int
    config: Config
    fits: tuple[Fitted, ...]
    T: int
    B: int
    S: int
    R: int
    theta: float
    stop: str
    architecture: str
    ledger: Ledger
    true_error: float | None
    bound: float | None = None


class Priced(NamedTuple):
    """What active learning costs by a price. ``true_error`` is that of all labels delivered, ``met`` whether the
    classifier was let label all the rest; where it never was, it labels as much as it may at the last |B|."""

    delta: float
    B: int
    S: int
    labels: float
    training: float
    savings: float
    true_error: float
    met: bool

    @property
    def dollars(self) -> float:
        return self.labels + self.training


def trajectories(profile: str, sweep: str = "trajectories", **wanted: Any) -> list[Trajectory]:
    """The trajectories of a sweep that match (see ``Planned.matches``), in the order of its file.

    Raises McalError for a run that is not there.
    """
    found = []
    for one, log in _logs(sweep, profile, wanted):
        answers = [answer_from_json(entry.answer) for entry in log.entries]
        fits = tuple(a for a in answers if isinstance(a, Fitted))
        measured = tuple(a for a in answers if isinstance(a, Measured))
        found.append(Trajectory(one.data_set, one.run, log.path, log.job.n, log.job.config, fits, measured))
    return found


def labellings(profile: str, sweep: str = "mcal", **wanted: Any) -> list[Labelling]:
    """The MCAL runs of a sweep that match, in the order of its file. Raises McalError for one that is not there."""
    found = []
    for one, log in _logs(sweep, profile, wanted):
        assert log.end
        answers = (answer_from_json(entry.answer) for entry in log.entries if entry.request["kind"] == "train")
        fits = tuple(a for a in answers if isinstance(a, Fitted))
        end = log.end
        dollars = {key: value for key, value in end["dollars"].items() if key != "total"}
        sets = {key: end[key] for key in ("T", "B", "S", "R", "theta", "stop", "architecture", "true_error")}
        base = one.data_set, one.run, log.path, log.job.n, log.job.config, fits
        bound = end.get("certificate", {}).get("bound")
        found.append(Labelling(*base, **sets, ledger=Ledger(**dollars), bound=bound))
    return found


def _logs(sweep: str, profile: str, wanted: dict[str, Any]) -> Iterable[tuple[Planned, RunLog]]:
    runs = planned(sweep, profile, **wanted)
    if not runs:
        raise McalError(f"sweep {sweep} has no run at profile {profile} with {wanted}")
    for one in runs:
        path = log_path(one.run, profile)
        log = RunLog.read(path) if path.exists() else None
        if log is None or log.end is None:
            state = "missing" if log is None else "not finished"
            raise McalError(f"run {path.name} is {state}; make it with: mcal sweep {sweep} --profile {profile}")
        yield one, log


# ---------------------------------------------------------------------------------------------------------
# Prices


def priced(trajectory: Trajectory, *, best_stop: bool = False, **changes: Any) -> Priced:
    """What active learning along a trajectory costs with ``changes`` to its Config (label_price, epsilon, ...).

    It goes on until the classifier may label all the rest within epsilon, as its mistakes on T say, at the same
    safe distance that MCAL keeps (``safety``). ``best_stop`` is stronger: it stops where that is cheapest, known in
    hindsight, and the machine labels the largest theta that is allowed.
    """
    config = trajectory.config.model_copy(update=changes)
    options = [stopped(trajectory, i, config) for i in range(len(trajectory.measured))]
    if best_stop:
        return min(options, key=lambda option: option.dollars)
    return next((option for option in options if option.met), options[-1])


def stopped(trajectory: Trajectory, i: int, config: Config) -> Priced:
    """The bill if active learning stops after its training number ``i``."""
    n, fit, measured = trajectory.n, trajectory.fits[i], trajectory.measured[i]
    tests, rest = fit.n_test, measured.n
    met = baselines.may_label_all(n, rest, fit, config)
    thetas = planner.FINE_THETAS
    eps = planner.eps_on_test(fit, thetas)
    seen = thetas * tests >= 1  # of a smaller share T holds no image
    allowed = planner.constrained_error(n, rest, thetas, eps, tests, config)
    theta = 1.0 if met else max((float(t) for t in thetas[seen & (allowed < config.epsilon)]), default=0.0)
    S = int(planner.machine_images(n, rest, np.array(theta), config))
    spent = costs.spent_dollars(trajectory.fits[: i + 1], trajectory.architecture, config)
    bill = costs.ledger(n, tests, fit.size, rest - S, spent, config)
    error = float(measured.eps(S / rest)) * S / n if S else 0.0
    people = bill.test + bill.train + bill.residual
    return Priced(trajectory.delta, fit.size, S, people, spent, bill.savings, error, met)


# ---------------------------------------------------------------------------------------------------------
# Groups and seeds


class Spread(NamedTuple):
    """A quantity over seeds: mean, least and greatest, and how many."""

    mean: float
    low: float
    high: float
    seeds: int


def spread(values: Iterable[float]) -> Spread:
    listed = list(values)
    low, high = float(min(listed)), float(max(listed))
    # The mean of equal values can lie outside of them by a rounding.
    return Spread(float(np.clip(np.mean(listed), low, high)), low, high, len(listed))


def grouped(records: Iterable[Any], *keys: str | Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Records by one or several attributes (of the record or of its run), in order of appearance."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    for record in records:
        group = tuple(
            key(record) if callable(key) else getattr(record, key) if hasattr(record, key) else getattr(record.run, key)
            for key in keys
        )
        groups[group if len(group) > 1 else group[0]].append(record)
    return dict(groups)


def scale(records: Sequence[Trajectory | Labelling], profile: str) -> str:
    """What a figure must say of its runs: profile, images, width, recipe and seeds, in a line."""
    parts = []
    for data_set, group in grouped(records, "data_set").items():
        images = {picture(one.run) for one in group}
        own = {f"width {one.run.width}, recipe {one.run.recipe}" for one in group}
        name = DATA_SETS.get(data_set, data_set)
        parts.append(f"{name}: {' and '.join(sorted(images))}, {' or '.join(sorted(own))}")
    return f"profile {profile}, {seeds_of(records)}; {'; '.join(parts)}"


def short_scale(records: Sequence[Trajectory | Labelling], profile: str) -> str:
    """The scale in a line short enough for a title."""
    runs = [one.run for one in records]
    seeds = seeds_of(records)
    widths = "/".join(sorted({str(run.width) for run in runs}))
    sides = "/".join(sorted({picture(run).split()[-1] for run in runs}))
    recipes = "/".join(sorted({run.recipe for run in runs}))
    others = {picture(one.run) for one in records if one.run.data.name != one.data_set}
    instead = ", stand-in images" if others else ""
    return f"profile {profile}: {sides} pixels, width {widths}, recipe {recipes}, {seeds}{instead}"


def picture(run: Run) -> str:
    """The images of a run in words."""
    sides = {"fashion_mnist": 28, "fashion_mnist_10k": 28, "cifar10": 32, "cifar100": 32}
    side = sides.get(run.data.name)
    shown = f"{side // (run.data.downsample or 1)}x{side // (run.data.downsample or 1)}" if side else ""
    names = {**DATA_SETS, "fashion_mnist_10k": "10,000 Fashion-MNIST"}
    return f"{names.get(run.data.name, run.data.name)} images {shown}".strip()


def seeds_of(records: Sequence[Trajectory | Labelling]) -> str:
    """Which seeds; where data sets, nets or kinds of runs have different ones, how many of them at least and most."""
    kinds = (lambda one: type(one).__name__, lambda one: one.config.acquisition)
    groups = grouped(records, "data_set", "architecture", *kinds).values()
    each = {tuple(sorted({one.run.seed for one in group})) for group in groups}
    if len(each) > 1:
        counts = sorted(len(seeds) for seeds in each)
        different = f"{counts[0]} to {counts[-1]} seeds"
        return different if counts[0] < counts[-1] else f"{counts[0]} seed{'s' * (counts[0] > 1)} each"
    (seeds,) = map(list, each)
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"
