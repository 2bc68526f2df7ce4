"""The pictures of a recorded run as methods: what ``result.plot`` gives."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.outcome import Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import TrainResult
from mcal_jax.data import Dataset
from mcal_jax.errors import McalError
from mcal_jax.plots import images, run
from mcal_jax.runs.recorded import RecordedRun


class ResultPlots:
    """The pictures of one finished run; each method returns a Figure.

    Most methods draw on ``ax`` if one is given. All raise McalError if the run is not finished. The pictures of plans
    and fits also raise it for algorithms that make no plans, such as the baselines.
    """

    def __init__(self, record: RecordedRun) -> None:
        self._record = record

    def cost_surface(self, training: int = -1, ax: Axes | None = None) -> Figure:
        """Total cost over |B| and theta (line 18), with the optimum; see ``plots.cost_surface``.

        ``training`` counts from 0 and picks the training after which the plan was made, by default the last. Raises
        McalError if there is none of that number.
        """
        plans = self._plans
        if not -len(plans) <= training < len(plans):
            raise McalError(f"training: from {-len(plans)} to {len(plans) - 1}, got {training}")
        return run.cost_surface(plans[: training % len(plans) + 1], self._outcome.n, self._config, ax)

    def cost_against_size(self, ax: Axes | None = None) -> Figure:
        """Predicted total cost against |B|, one curve for each plan; see ``plots.cost_against_size``."""
        return run.cost_against_size(self._plans, self._outcome.n, self._config, ax)

    def plan_path(self) -> Figure:
        """|B|, B_opt, delta and predicted costs over the iterations; see ``plots.plan_path``."""
        return run.plan_path(self._plans, self._outcome.n, self._config)

    def fits(self, thetas: Sequence[float] = run.THETAS, ax: Axes | None = None) -> Figure:
        """Errors on T and fitted laws against |B| (Eqn 3); see ``plots.fits``."""
        plan = self._plans[-1]
        return run.fits(self._history, plan, self._config, thetas, ax)

    def training_cost(self, ax: Axes | None = None) -> Figure:
        """The cost of each training against |B| (line 13); see ``plots.training_cost``."""
        plan = self._plans[-1]
        return run.training_cost(self._history, plan, self._outcome.architecture, self._config, ax)

    def error_by_rank(self, ax: Axes | None = None) -> Figure:
        """The last classifier's error among its most confident theta of T; see ``plots.error_by_rank``."""
        plan = self._plans[-1]
        return run.error_by_rank(self._history[-1], plan, self._outcome.n, self._config, ax)

    def sets(self, ax: Axes | None = None) -> Figure:
        """How X was divided into T, B, S, R and V (Eqn 1); see ``plots.sets``."""
        return run.sets(self._outcome, ax)

    def bill(self, others: Mapping[str, Outcome] | None = None, ax: Axes | None = None) -> Figure:
        """The cost by part beside that of humans only (Eqn 1); see ``plots.ledger``."""
        return run.ledger(self._outcome, others, ax)

    def gallery(self, dataset: Dataset, columns: int = 10, seed: int = 0) -> Figure:
        """Who labelled which images of ``dataset``; see ``plots.gallery``.

        Raises McalError if ``dataset`` has another number of images than the run, or features alone.
        """
        outcome = self._outcome
        if len(dataset.images) != outcome.n:
            raise McalError(f"{dataset.name}: {len(dataset.images):,} images, but the run labelled {outcome.n:,}")
        if not dataset.has_images:
            raise McalError(f"{dataset.name}: features alone, there are no images to show")
        return images.gallery(dataset, self._record.delivery, self._record.steps, columns, seed)

    @property
    def _outcome(self) -> Outcome:
        return self._record.outcome

    @property
    def _config(self) -> Config:
        return self._record.job.config

    @property
    def _history(self) -> Sequence[TrainResult]:
        return self._outcome.history

    @property
    def _plans(self) -> Sequence[Plan]:
        """The plans of the run. Raises McalError if there are none."""
        if plans := self._outcome.plans:
            return plans
        record = self._record
        raise McalError(f"{record.path}: the algorithm {record.job.algorithm} made no plans to draw")
