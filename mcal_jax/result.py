"""What a finished run delivers: the labels, who gave them, what they cost, and how sure they are."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcal_jax.algorithm.outcome import Certificate, Ledger, Outcome
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import Label, Labels, MachineLabel
from mcal_jax.data import Dataset
from mcal_jax.data.tables import parquet
from mcal_jax.display import html_table
from mcal_jax.errors import McalError, as_text, suggestion
from mcal_jax.files import write_atomically, write_bytes_atomically
from mcal_jax.registry import short_name
from mcal_jax.runs import report
from mcal_jax.runs.annotator_table import annotators
from mcal_jax.runs.codec import unpack
from mcal_jax.runs.images import check_content
from mcal_jax.runs.labels import class_name
from mcal_jax.runs.recorded import RecordedRun, set_of
from mcal_jax.runs.session_setup import recorded, trained_world

if TYPE_CHECKING:
    import pandas as pd

    from mcal_jax.plots.result import ResultPlots
    from mcal_jax.training.classifier import Classifier


class Result:
    """The labels of a pool. Read from a run log: ``Result("run.jsonl")``, of a session or of the command line.

    Args:
      log: the log of a finished run.
      images: the pool, where the log alone is not enough: for pictures of images and for ``classifier``.

    Raises McalError if the run is not finished, the log is damaged or is about other images.
    """

    def __init__(self, log: str | Path, images: Dataset | None = None, world: Any = None, folder: Any = None):
        self.record = RecordedRun(log)
        self._world, self._folder = world, folder  # a temporary folder lives as long as the result
        self._images = images
        if images is not None:
            check_content(self.record.log, images, lambda line: None)
        self._delivery = self.record.delivery

    @property
    def labels(self) -> np.ndarray:
        """The labels, int32 [n], as numbers of ``classes``; -1 where no human could tell the class."""
        return self._delivery.labels

    @property
    def by_machine(self) -> np.ndarray:
        """Whether the classifier gave a label, bool [n]."""
        return self._delivery.by_machine

    @property
    def true_error(self) -> float | None:
        """Share of wrong labels; None where the truth is not known."""
        return self._delivery.true_error

    @property
    def outcome(self) -> Outcome:
        """How X was divided (T, B, S, R, V), and why the run ended."""
        return self._delivery.outcome

    @property
    def bill(self) -> Ledger:
        """US dollars by part; ``bill.total``, ``bill.savings``."""
        return self.outcome.ledger

    @property
    def certificate(self) -> Certificate | None:
        """The bound on the machine's mistakes, if one was asked for."""
        return self.outcome.certificate

    @property
    def has_given_predictions(self) -> bool:
        """Whether a classifier's predictions were given and certified (``certify``), and none was trained."""
        return self.record.job.algorithm == "certify_predictions"

    @property
    def plans(self) -> tuple[Plan, ...]:
        """What each iteration decided."""
        return self.outcome.plans

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; numbers where the log has no names."""
        names = self.record.log.content.get("class_names") or (self._images.classes if self._images else ())
        return tuple(names) or tuple(map(str, range(int(self.labels.max()) + 1)))

    @property
    def images(self) -> Dataset:
        """The pool. Raises McalError if this result was read from a log alone."""
        if self._images is None:
            raise McalError(f"{self.record.path} holds no images: give them, Result(log, images)")
        return self._images

    @cached_property
    def classifier(self) -> "Classifier":
        """The classifier that labelled S, to label new images with; trained again if this process did not train it.

        Raises McalError if no classifier labelled anything, or if the images are not at hand.
        """
        model = next((r.model for r, _ in reversed(self.record.steps) if isinstance(r, MachineLabel)), None)
        if model is None:
            raise McalError(f"{self.record.path}: humans labelled everything, there is no classifier")
        world = self._world
        if world is None:
            ranking = self.record.job.config.ranking
            world = trained_world(self.images, recorded(self.record.log), ranking, prepare=False)
            for number, (request, answer) in enumerate(self.record.steps):
                world.restore(request, number, answer)
        return world.classifier(model)

    @property
    def plot(self) -> "ResultPlots":
        """The pictures of the run: ``result.plot.cost_surface()``, ..."""
        from mcal_jax.plots.result import ResultPlots

        return ResultPlots(self.record)

    def to_frame(self) -> "pd.DataFrame":
        """One row an image: index, file, label, class, source (human or machine), set, margin, annotator, time, cost.

        ``set`` is T, B, S, R or V; ``margin`` the classifier's for its own labels; ``cost`` in US dollars, 0 for a
        machine's label and for one that was known beforehand; ``file``, ``margin``, ``annotator`` and ``time`` (UTC)
        only where they are known. Bytes of ``file`` that are not UTF-8 are escaped, as in ``\\xff.png``.
        ``attrs["machine_error"]`` bounds the share of the machine's labels that are wrong, see ``MachineError``.
        """
        import pandas as pd

        n = len(self.labels)
        job = self.record.job
        sets, margins = np.full(n, "", dtype=object), np.full(n, np.nan, np.float32)
        price = np.array(job.label_costs or [job.config.label_price] * n)
        for request, answer in self.record.steps:
            if isinstance(answer, Labels):
                sets[answer.indices] = set_of(request)
                if job.config.services is not None and isinstance(request, Label):
                    price[answer.indices] = job.config.services.of(request.purpose).price
                if len(answer.margins):
                    margins[answer.indices] = answer.margins
        files = self.record.log.content.get("files", ())
        price[job.known_images] = 0.0
        columns: dict[str, Any] = {
            "index": np.arange(n),
            **({"file": [as_text(name) for name in files]} if files else {}),
            "label": self.labels,
            "class": [class_name(label, self.classes) for label in self.labels],
            "source": np.where(self.by_machine, "machine", "human"),
            "set": sets,
            **({} if np.isnan(margins).all() else {"margin": margins}),
            **self._annotators(n),
            "cost": np.where(self.by_machine, 0.0, price),
        }
        frame = pd.DataFrame(columns)
        if error := self.outcome.machine_error:
            frame.attrs["machine_error"] = error._asdict()
        return frame

    def annotators(self) -> "pd.DataFrame":
        """How good each annotator was and what they cost, one row each: ``mcal_jax.runs.annotator_table``."""
        return annotators(self.record.log)

    def _annotators(self, n: int) -> dict[str, Any]:
        """Who labelled each image and when, as far as the log says."""
        import pandas as pd

        parts = [part for part in self.record.log.parts if "labels" in part]
        if not parts:
            return {}
        names, times = np.full(n, "", dtype=object), np.full(n, np.nan)
        for part in parts:
            indices = unpack(part["indices"], np.int64)
            names[indices], times[indices] = part["annotator"], part["time"]
        names[self.record.job.known_images] = str(self.record.log.run.get("data", {}).get("name", ""))
        named = {"annotator": names} if any(names) else {}
        return {**named, "time": pd.to_datetime(np.round(1000 * times), unit="ms", utc=True)}

    def save(self, path: str | Path) -> Path:
        """Write ``to_frame()`` as .csv, .parquet or .jsonl, by the ending; returns the path. Raises McalError."""
        path = Path(path)
        writers = {
            ".csv": lambda rows: rows.to_csv(index=False, lineterminator="\n"),
            ".jsonl": lambda rows: rows.to_json(orient="records", lines=True, date_format="iso"),
        }
        if path.suffix == ".parquet":
            write_bytes_atomically(path, parquet(self.to_frame()))
            return path
        if path.suffix not in writers:
            raise McalError(f"can't save labels as {path.name!r}: {suggestion(path.suffix, [*writers, '.parquet'])}")
        write_atomically(path, writers[path.suffix](self.to_frame()))
        return path

    def summary(self) -> str:
        """Sets, bill, savings, error and stop rule, a few lines."""
        return report.summary(self._delivery, self.record.job.config, self.classes)

    def facts(self) -> dict[str, object]:
        """The run in figures, as text by name."""
        outcome, bill = self.outcome, self.bill
        machine = int(self.by_machine.sum())
        owned = f", {outcome.owned:,} of them beforehand, at no cost" if outcome.owned else ""
        rows: dict[str, object] = {
            "images": f"{outcome.n:,}",
            "labelled by humans": f"{outcome.n - machine:,}{owned}",
            "labelled by the machine": f"{machine:,} ({machine / outcome.n:.1%})",
            "cost": f"${bill.total:,.2f} (humans only: ${bill.humans_only:,.2f})",
            "savings": f"{bill.savings:.1%}",
            "architecture": short_name(outcome.architecture),
            "stopped by": short_name(outcome.stop),
            "true error": "not known" if self.true_error is None else f"{self.true_error:.2%}",
        }
        if self.certificate:
            rows["certified"] = (
                f"error of all labels at most {self.certificate.bound:.2%} ({self.certificate.confidence:.0%})"
            )
        if self.outcome.why:
            rows["the machine's labels"] = self.outcome.why
        return rows

    def __repr__(self) -> str:
        error = "true error not known" if self.true_error is None else f"true error {self.true_error:.2%}"
        bound = f", certified at most {self.certificate.bound:.2%}" if self.certificate else ""
        why = f"; {self.outcome.why}" if self.outcome.why else ""
        return (
            f"Result({self.outcome.n:,} images, {self.by_machine.mean():.1%} labelled by the machine, "
            f"${self.bill.total:,.2f}, {self.bill.savings:.1%} saved, {error}{bound}{why})"
        )

    def _repr_html_(self) -> str:
        return html_table("Result", self.facts())
