"""Recorded runs as numbers: read from their logs, and priced for any labelling service and training price.

Nothing is replayed and no JAX is loaded: a finished log is taken at its word. A trajectory (active learning in batches
of delta) knows no price, so one training serves every service, epsilon and price of computing.

A sweep need not be complete. What is read are ``Records``: those that are there, and which runs were wanted.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from mcal_jax.algorithm import baselines, costs, planner
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Ledger
from mcal_jax.algorithm.protocol import Measurement, TrainResult
from mcal_jax.errors import McalError, NoRuns
from mcal_jax.paper.published import DATA_SETS
from mcal_jax.runs.codec import answer_from_json
from mcal_jax.runs.execution import log_path
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run, check
from mcal_jax.runs.sweeps import Planned, planned

R = TypeVar("R")
SWEEPS = {
    "mcal": "MCAL", "trajectories": "active learning", "expensive_training": "expensive training",
}  # fmt: skip
"""Sweeps under the name by which a reader knows them."""


class Trajectory(NamedTuple):
    """Active learning in batches of ``delta`` |X|: what T said of each classifier, and what U really holds.

    ``measured`` is as long as ``fits``, but for a pool that was bought to the end.
    """

    data_set: str
    run: Run
    path: Path
    n: int
    config: Config
    fits: tuple[TrainResult, ...]
    measured: tuple[Measurement, ...]

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
    that a certificate gives.

    ``other``: dollars of the recorded total that no part of the ledger holds, for a log of a version with more parts.
    """

    data_set: str
    run: Run
    path: Path
    n: int
    config: Config
    fits: tuple[TrainResult, ...]
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
    other: float = 0.0

    @property
    def cost(self) -> float:
        """Dollars of the whole run."""
        return self.ledger.total + self.other

    @property
    def savings(self) -> float:
        """1 - cost / cost of humans only."""
        return 1 - self.cost / self.ledger.humans_only


class Wanted(NamedTuple):
    """A run of a sweep that was asked for, and whether it is finished, begun or missing."""

    sweep: str
    profile: str
    data_set: str
    run: Run
    state: str

    @property
    def architecture(self) -> str:
        return self.run.architectures[0]

    @property
    def config(self) -> Config:
        return self.run.resolve(channels=1)


class Records(list[R], Generic[R]):
    """Records of the finished runs, and all runs that were ``wanted``."""

    def __init__(self, found: Iterable[R] = (), wanted: Iterable[Wanted] = ()):
        super().__init__(found)
        self.wanted = tuple(wanted)

    @property
    def missing(self) -> int:
        """How many of the runs are not finished."""
        return sum(one.state != "finished" for one in self.wanted)


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


def trajectories(
    profile: str, sweep: str = "trajectories", *, optional: bool = False, **settings: Any
) -> Records[Trajectory]:
    """The trajectories of a sweep that are finished and match (see ``Planned.matches``), in the order of its file.

    Raises McalError for a damaged log, and NoRuns where none is finished, unless that is ``optional``.
    """
    return _records(_trajectory, sweep, profile, settings, optional)


def labellings(profile: str, sweep: str = "mcal", *, optional: bool = False, **settings: Any) -> Records[Labelling]:
    """The MCAL runs of a sweep that are finished and match, in the order of its file; raises as ``trajectories``."""
    return _records(_labelling, sweep, profile, settings, optional)


def together(*groups: Records[Any]) -> Records[Any]:
    """Several groups as one. Raises NoRuns where all are empty."""
    both: Records[Any] = Records(
        (one for group in groups for one in group), (one for group in groups for one in group.wanted)
    )
    _require(both)
    return both


def _records(
    record: Callable[[Planned, RunLog], R], sweep: str, profile: str, settings: dict[str, Any], optional: bool
) -> Records[R]:
    runs = planned(sweep, profile, **settings)
    if not runs:
        raise McalError(f"sweep {sweep} has no run at profile {profile} with {settings}")
    found, wanted = [], []
    for one in runs:
        path = log_path(one.run, profile)
        log = RunLog.read(path) if path.exists() else None
        state = "missing" if log is None else "begun" if log.end is None else "finished"
        wanted.append(Wanted(sweep, profile, one.data_set, one.run, state))
        if log is not None and log.end is not None:
            found.append(_trusted(record, one, log))
    records = Records(found, wanted)
    if not optional:
        _require(records)
    return records


def _require(records: Records[Any]) -> None:
    if not records:
        runs, begun = len(records.wanted), sum(one.state == "begun" for one in records.wanted)
        state = f"none of the {runs} runs is finished" + (f", {begun} begun" if begun else "")
        sweeps = " ".join(dict.fromkeys(one.sweep for one in records.wanted))
        profile = "".join({f" --profile {one.profile}" for one in records.wanted})
        raise NoRuns(f"{state}; make them with: mcal sweep {sweeps}{profile}")


def _trusted(record: Callable[[Planned, RunLog], R], one: Planned, log: RunLog) -> R:
    """The record of a finished log. Raises McalError naming a log of another run, or without what a record needs."""
    try:
        own = check(Run, {key: value for key, value in log.run.items() if value is not None})
        if own.id != one.run.id:
            raise McalError(f"it is the log of run {own.id}")
        return record(one, log)
    except McalError as error:
        raise McalError(f"{log.path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise McalError(f"{log.path}: not the log of a finished {one.run.algorithm} run ({error!r})") from None


def _trajectory(one: Planned, log: RunLog) -> Trajectory:
    answers = [answer_from_json(entry.answer) for entry in log.entries]
    fits = tuple(a for a in answers if isinstance(a, TrainResult))
    measured = tuple(a for a in answers if isinstance(a, Measurement))
    return Trajectory(one.data_set, one.run, log.path, log.job.n, log.job.config, fits, measured)


def _labelling(one: Planned, log: RunLog) -> Labelling:
    """Of a bill only known parts are read: another version of the package may have written others."""
    end: dict[str, Any] = log.end or {}
    answers = (answer_from_json(entry.answer) for entry in log.entries if entry.request["kind"] == "train")
    fits = tuple(a for a in answers if isinstance(a, TrainResult))
    dollars, certificate = end["dollars"], end.get("certificate") or {}
    ledger = Ledger(**{key: dollars[key] for key in Ledger._fields if key in dollars})
    other = float(dollars.get("total", ledger.total)) - ledger.total
    return Labelling(
        one.data_set, one.run, log.path, log.job.n, log.job.config, fits,
        **{key: end[key] for key in ("T", "B", "S", "R", "theta", "stop", "architecture")},
        ledger=ledger, true_error=end.get("true_error"), bound=certificate.get("bound"),
        other=other if abs(other) >= 0.005 else 0.0,  # less is the rounding of a sum
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# Prices


def priced(trajectory: Trajectory, *, best_stop: bool = False, **changes: Any) -> Priced:
    """What active learning along a trajectory costs with ``changes`` to its Config (label_price, epsilon, ...).

    It goes on until the classifier may label all the rest within epsilon, as its mistakes on T say, at the same
    safe distance that MCAL keeps (``safety_z``). ``best_stop`` is stronger: it stops where that is cheapest, known in
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
    spent = costs.total_training_cost(trajectory.fits[: i + 1], trajectory.architecture, config)
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


def grouped(records: Iterable[R], *keys: str | Callable[[Any], Any]) -> dict[Any, Records[R]]:
    """Records by one or several attributes (of the record or of its run), in order of appearance; each group has its
    part of the runs that were wanted. A group without any record is left out: see ``not_run``."""
    groups: dict[Any, Records[R]] = {}
    for record in records:
        groups.setdefault(_group(record, keys), Records()).append(record)
    for group, wanted in _wanted(records, keys).items():
        if group in groups:
            groups[group].wanted = wanted
    return groups


def not_run(records: Iterable[R], *keys: str | Callable[[Any], Any]) -> dict[Any, Records[R]]:
    """The groups that ``grouped`` leaves out: empty, with the runs that were wanted."""
    there = grouped(records, *keys)
    return {group: Records((), wanted) for group, wanted in _wanted(records, keys).items() if group not in there}


def _wanted(records: Iterable[Any], keys: Sequence[str | Callable[[Any], Any]]) -> dict[Any, tuple[Wanted, ...]]:
    groups: dict[Any, tuple[Wanted, ...]] = {}
    for one in records.wanted if isinstance(records, Records) else ():
        group = _group(one, keys)
        groups[group] = (*groups.get(group, ()), one)
    return groups


def _group(record: Any, keys: Sequence[str | Callable[[Any], Any]]) -> Any:
    group = tuple(
        key(record) if callable(key) else getattr(record, key) if hasattr(record, key) else getattr(record.run, key)
        for key in keys
    )
    return group if len(group) > 1 else group[0]


def seeds(records: Iterable[Any]) -> int | str:
    """Of how many seeds the records are; "1 of 3" where others were wanted too."""
    found = {one.run.seed for one in records}
    wanted = records.wanted if isinstance(records, Records) else ()
    lacking = {one.run.seed for one in wanted if one.state != "finished"} - found
    return f"{len(found)} of {len(found | lacking)}" if lacking else len(found)


def coverage(records: Iterable[Any]) -> str:
    """How many of the runs wanted are there: "9 of 27 runs", or "runs: MCAL 3 of 9, active learning 0 of 189" by those
    sweeps of several that lack some; "" if all are there."""
    sweeps = _wanted(records, ["sweep"])
    counts = {
        sweep: f"{sum(one.state == 'finished' for one in wanted)} of {len(wanted)}"
        for sweep, wanted in sweeps.items()
        if any(one.state != "finished" for one in wanted)
    }
    if len(sweeps) == 1:
        return "".join(f"{count} runs" for count in counts.values())
    named = ", ".join(f"{SWEEPS.get(sweep, sweep)} {count}" for sweep, count in counts.items())
    return named and f"runs: {named}"


def scale(records: Sequence[Trajectory | Labelling], profile: str) -> str:
    """What a figure must say of its runs: profile, images, width, recipe and seeds, and how many of the runs that it
    should have are missing, in a line."""
    parts = []
    for data_set, group in grouped(records, "data_set").items():
        images = {picture(one.run) for one in group}
        own = {f"width {one.run.width}, recipe {one.run.recipe}" for one in group}
        name = DATA_SETS.get(data_set, data_set)
        parts.append(f"{name}: {' and '.join(sorted(images))}, {' or '.join(sorted(own))}")
    there = coverage(records)
    return f"profile {profile}, {seeds_of(records)}{there and f', {there}'}; {'; '.join(parts)}"


def short_scale(records: Sequence[Trajectory | Labelling], profile: str) -> str:
    """The scale short enough for a title: a line, and one more where runs are missing."""
    runs = [one.run for one in records]
    widths = "/".join(sorted({str(run.width) for run in runs}))
    sides = "/".join(sorted({picture(run).split()[-1] for run in runs}))
    recipes = "/".join(sorted({run.recipe for run in runs}))
    others = {picture(one.run) for one in records if one.run.data.name != one.data_set}
    instead = ", stand-in images" if others else ""
    there = coverage(records)
    title = f"profile {profile}: {sides} pixels, width {widths}, recipe {recipes}, {seeds_of(records)}{instead}"
    return f"{title}\n{there}" if there else title


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
        counts = sorted(len(own) for own in each)
        different = f"{counts[0]} to {counts[-1]} seeds"
        return different if counts[0] < counts[-1] else f"{counts[0]} seed{'s' * (counts[0] > 1)} each"
    (own,) = map(list, each)
    if len(own) == 1:
        return f"seed {own[0]}"
    if own == list(range(own[0], own[-1] + 1)):
        return f"seeds {own[0]} to {own[-1]}"
    return f"seeds {', '.join(map(str, own))}"
