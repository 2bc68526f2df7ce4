"""Recorded runs: read from their logs, as data frames of one row a run.

Nothing is replayed and no JAX is loaded: the decisions and the cost in a finished log are taken as they are written.
A sweep need not be complete: a frame also has a row for each planned run that is not finished, so that whatever is
computed from it can state how many runs it lacks.

A frame has the ``COLUMNS``. ``state`` is finished, begun or missing, and ``record`` is the ``Trajectory`` or
``Labelling`` of a finished run. Frames of MCAL runs have the columns of ``OUTCOME`` too.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Ledger
from mcal_jax.algorithm.protocol import Measurement, TrainResult
from mcal_jax.errors import McalError, NoRuns
from mcal_jax.runs.codec import answer_from_json
from mcal_jax.runs.execution import log_path
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run, check
from mcal_jax.runs.sweeps import Planned, planned

R = TypeVar("R", "Trajectory", "Labelling")
COLUMNS = (
    "sweep", "profile", "data_set", "architecture", "delta", "seed", "acquisition", "per_class", "epsilon", "service",
    "certified", "state", "run", "record",
)  # fmt: skip
"""Settings of a run, of which ``architecture`` is the first that it was to train; then what became of it."""
OUTCOME = (
    "n", "trained_on", "machine", "theta", "stop", "chosen", "dollars", "savings", "training", "humans", "true_error",
    "bound",
)  # fmt: skip
"""Results of an MCAL run: |X|, |B|/|X|, |S|/|X|, theta, the stop rule, the architecture that labelled S, US dollars
(in all, of training, of labelling by humans only), and errors as shares of |X|."""


class Trajectory(NamedTuple):
    """Active learning in batches of ``delta`` |X|: the errors on T of each classifier, and those on the whole pool.

    ``measured`` is as long as ``fits``, or one shorter if the pool was labelled to the last image.
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
    """A finished run of MCAL: sizes of the sets, its cost, the error of the delivered labels, and the certified
    ``bound`` on that error.

    ``other``: US dollars of the recorded total that no part of the ledger holds, for a log of a version with more
    parts.
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
        """US dollars of the whole run."""
        return self.ledger.total + self.other

    @property
    def savings(self) -> float:
        """1 - cost / cost of humans only."""
        return 1 - self.cost / self.ledger.humans_only


def trajectories(profile: str, sweep: str = "trajectories", *, optional: bool = False, **settings: Any) -> pd.DataFrame:
    """The runs of a sweep of trajectories that match (see ``Planned.matches``): the finished ones in the order of
    its file, then the others.

    Raises McalError for a damaged log, and NoRuns where none is finished, unless that is ``optional``.
    """
    return _read(_trajectory, sweep, profile, settings, optional)


def labellings(profile: str, sweep: str = "mcal", *, optional: bool = False, **settings: Any) -> pd.DataFrame:
    """The MCAL runs of a sweep that match; order and errors are those of ``trajectories``."""
    return _read(_labelling, sweep, profile, settings, optional)


def frame(
    records: Iterable[R],
    unfinished: Iterable[tuple[Planned, str]] = (),
    *,
    sweep: str = "",
    profile: str = "",
) -> pd.DataFrame:
    """Records as a frame, followed by planned runs with their state, "begun" or "missing"."""
    rows = [
        {"sweep": sweep, "profile": profile, **_settings_of(one.data_set, one.run, one.config)}
        | {"state": "finished", "run": one.run, "record": one}
        | (_outcome_of(one) if isinstance(one, Labelling) else {"n": one.n})
        for one in records
    ]
    for plan, state in unfinished:
        settings = _settings_of(plan.data_set, plan.run, plan.run.resolve(channels=1))
        rows.append({"sweep": sweep, "profile": profile, **settings, "state": state, "run": plan.run, "record": None})
    numbers = dict.fromkeys(("delta", "epsilon", *OUTCOME), float) | {"stop": object, "chosen": object}
    return pd.DataFrame(rows, columns=[*COLUMNS, *OUTCOME]).astype(numbers)


def together(*frames: pd.DataFrame) -> pd.DataFrame:
    """Several frames as one. Raises NoRuns where no run is finished."""
    runs = pd.concat([one for one in frames if len(one)] or frames[:1], ignore_index=True)
    _require_runs(runs)
    return runs


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished runs of a frame."""
    return runs[runs["state"] == "finished"]


def service_of(config: Config) -> str:
    """The labelling service whose price a run pays, or that price."""
    names = {price: name for name, price in costs.SERVICES.items()}
    return names.get(config.label_price, f"{config.label_price:g}")


def _settings_of(data_set: str, run: Run, config: Config) -> dict[str, Any]:
    return {
        "data_set": data_set, "architecture": run.architectures[0], "delta": run.delta, "seed": run.seed,
        "acquisition": config.acquisition, "per_class": run.data.per_class, "epsilon": config.epsilon,
        "service": service_of(config), "certified": bool(config.certify),
    }  # fmt: skip


def _outcome_of(one: Labelling) -> dict[str, Any]:
    return {
        "n": one.n, "trained_on": one.B / one.n, "machine": one.S / one.n, "theta": one.theta, "stop": one.stop,
        "chosen": one.architecture, "dollars": one.cost, "savings": one.savings, "training": one.ledger.training,
        "humans": one.ledger.humans_only, "true_error": one.true_error, "bound": one.bound,
    }  # fmt: skip


def _read(
    record: Callable[[Planned, RunLog], R], sweep: str, profile: str, settings: dict[str, Any], optional: bool
) -> pd.DataFrame:
    plans = planned(sweep, profile, **settings)
    if not plans:
        raise McalError(f"sweep {sweep} has no run at profile {profile} with {settings}")
    records, unfinished = [], []
    for plan in plans:
        path = log_path(plan.run, profile)
        log = RunLog.read(path) if path.exists() else None
        if log is not None and log.end is not None:
            records.append(_checked(record, plan, log))
        else:
            unfinished.append((plan, "missing" if log is None else "begun"))
    runs = frame(records, unfinished, sweep=sweep, profile=profile)
    if not optional:
        _require_runs(runs)
    return runs


def _require_runs(runs: pd.DataFrame) -> None:
    if finished(runs).empty:
        begun = sum(runs["state"] == "begun")
        state = f"none of the {len(runs)} runs is finished" + (f", {begun} begun" if begun else "")
        sweeps = " ".join(runs["sweep"].unique())
        profiles = "".join(f" --profile {profile}" for profile in runs["profile"].unique())
        raise NoRuns(f"{state}; make them with: mcal sweep {sweeps}{profiles}")


def _checked(record: Callable[[Planned, RunLog], R], plan: Planned, log: RunLog) -> R:
    """The record of a finished log. Raises McalError naming a log of another run, or without what a record needs."""
    try:
        own = check(Run, {key: value for key, value in log.run.items() if value is not None})
        if own.id != plan.run.id:
            raise McalError(f"it is the log of run {own.id}")
        return record(plan, log)
    except McalError as error:
        raise McalError(f"{log.path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise McalError(f"{log.path}: not the log of a finished {plan.run.algorithm} run ({error!r})") from None


def _trajectory(plan: Planned, log: RunLog) -> Trajectory:
    answers = [answer_from_json(entry.answer) for entry in log.entries]
    fits = tuple(a for a in answers if isinstance(a, TrainResult))
    measured = tuple(a for a in answers if isinstance(a, Measurement))
    return Trajectory(plan.data_set, plan.run, log.path, log.job.n, log.job.config, fits, measured)


def _labelling(plan: Planned, log: RunLog) -> Labelling:
    """Reads the known parts of the bill only: another version of the package may have written others."""
    end: dict[str, Any] = log.end or {}
    answers = (answer_from_json(entry.answer) for entry in log.entries if entry.request["kind"] == "train")
    fits: tuple[TrainResult, ...] = tuple(a for a in answers if isinstance(a, TrainResult))
    dollars, certificate = end["dollars"], end.get("certificate") or {}
    ledger = Ledger(**{key: dollars[key] for key in Ledger._fields if key in dollars})
    other = float(dollars.get("total", ledger.total)) - ledger.total
    return Labelling(
        plan.data_set, plan.run, log.path, log.job.n, log.job.config, fits,
        **{key: end[key] for key in ("T", "B", "S", "R", "theta", "stop", "architecture")},
        ledger=ledger, true_error=end.get("true_error"), bound=certificate.get("bound"),
        other=other if abs(other) >= 0.005 else 0.0,  # a smaller difference is the rounding of a sum
    )  # fmt: skip
