"""How long the runs of a profile take on an accelerator, before any of them is made: by sweep and by experiment.

A run's training images follow from its settings: the |B| at which it trains, times its recipe's epochs. A trajectory
trains at every batch up to ``max_train_fraction``; that is the most, as it ends where the classifier may label all the
rest. A run that plans is taken to train where the same run did at laptop scale, as shares of |X|, and where there is
none, at 1, 2, 4, ... to 30 % of X. Seconds are these images over a measured rate of ResNet18; the other nets' rates are
to it as the paper's training prices are, which are proportional to time.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.protocol import TrainResult
from mcal_jax.errors import McalError
from mcal_jax.paper import experiments
from mcal_jax.paper.published import IMAGES, OTHER_IMAGES
from mcal_jax.runs import sweeps
from mcal_jax.runs.codec import answer_from_json
from mcal_jax.runs.execution import log_path
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import Run
from mcal_jax.runs.sweeps import Planned
from mcal_jax.training.recipes import RECIPES

RATE = 74_000.0
"""Images per second that ResNet18 of width 64 trains on, 32x32x3, on one NVIDIA H200 (results/bench/throughput.csv)."""
START = 35.0
"""Seconds of a run that are no training: loading, compiling, and scoring the pool."""
LIKE = "laptop"
"""The profile whose recorded runs say at which |B| runs that plan train."""
USUAL = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3)
"""Shares of X at which a run that plans trains, where nothing is recorded of its like."""


class Forecast(NamedTuple):
    """Runs in all and those there are, and the accelerator's seconds: of all, and of those still to make."""

    name: str
    runs: int
    there: int
    seconds: float
    left: float


class Forecaster:
    """Foretells the runs of a ``profile`` at ``rate``, images per second that ResNet18 of width 64 trains on."""

    def __init__(self, profile: str, rate: float = RATE):
        self.profile, self.rate = profile, rate
        self._alike = {_kind(one): one.run for name in sweeps.sweeps(LIKE) for one in _finished(name, LIKE)}

    def by_sweep(self, names: Sequence[str] = ()) -> list[Forecast]:
        """A line for each sweep, or for those named; sweeps share runs, so lines do not add up."""
        names = names or sweeps.sweeps(self.profile)
        return [self._forecast(name, sweeps.planned(name, self.profile)) for name in names]

    def by_experiment(self) -> list[Forecast]:
        """A line for each figure and table that is drawn from recorded runs, and one for all; they share runs too."""
        names = experiments.experiments(self.profile, recorded=True)
        lines = [self._forecast(name, experiments.needed([name], self.profile)) for name in names]
        every = self._forecast("all of them", experiments.needed(names, self.profile))
        return [*(line for line in lines if line.runs), every]

    def seconds(self, planned: Planned) -> float:
        """Seconds of one run. Raises McalError for a data set whose size is not known."""
        run, n = planned.run, _images(planned)
        prices, trained = costs.PAPER_PRICES["grey"], 0.0
        sizes = [max(round(share * n), 1) for share in self.shares(planned)]
        for architecture in run.architectures:
            net, own_recipe = costs.split_recipe(architecture)
            recipe, passes = RECIPES[own_recipe or run.recipe], costs.unlabelled_passes(architecture)
            images = sum(recipe.steps(size) * recipe.batch + passes * (n - size) for size in sizes)
            trained += images * prices.get(net, prices["resnet50"]) / prices["resnet18"]
        return START + trained * (run.width / 64) ** 2 / self.rate

    def shares(self, planned: Planned) -> Sequence[float]:
        """The |B| / |X| at which a run trains: as recorded, else as the module says."""
        run = planned.run
        if sweeps.is_finished(run, self.profile):
            return _recorded(run, self.profile)
        if run.algorithm == "trajectory":
            assert run.delta is not None
            assert run.max_train_fraction is not None
            return [run.delta * step for step in range(1, round(run.max_train_fraction / run.delta) + 1)]
        alike = self._alike.get(_kind(planned))
        return _recorded(alike, LIKE) if alike else USUAL

    def _forecast(self, name: str, runs: Iterable[Planned]) -> Forecast:
        each = {one.run.id: (self.seconds(one), sweeps.is_finished(one.run, self.profile)) for one in runs}
        there = [took for took, finished in each.values() if finished]
        everything = sum(took for took, _ in each.values())
        return Forecast(name, len(each), len(there), everything, everything - sum(there))


def _finished(sweep: str, profile: str) -> list[Planned]:
    return [one for one in sweeps.planned(sweep, profile) if sweeps.is_finished(one.run, profile)]


def _kind(planned: Planned) -> str:
    """What a run has in common with those that differ in scale and seed alone."""
    own = ("algorithm", "architectures", "service", "preset", "config", "training_price")
    return repr((planned.data_set, planned.run.data.per_class, [getattr(planned.run, key) for key in own]))


def _recorded(run: Run, profile: str) -> Sequence[float]:
    log = RunLog.read(log_path(run, profile))
    answers = (answer_from_json(entry.answer) for entry in log.entries)
    return [answer.size / log.job.n for answer in answers if isinstance(answer, TrainResult)]


def _images(planned: Planned) -> int:
    """|X| of a run. Raises McalError for a data set whose size is not known."""
    data, known = planned.run.data, (IMAGES | OTHER_IMAGES).get(planned.data_set)
    if data.per_class is not None:
        return data.per_class * (100 if planned.data_set == "cifar100" else 10)
    if data.first is None and known is None:
        raise McalError(f"{planned.data_set}: its number of images is not known, so its time can't be foretold")
    return min(size for size in (data.first, known) if size is not None)
