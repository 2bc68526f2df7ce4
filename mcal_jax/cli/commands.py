"""The commands that label: run, resume, plan, check, and those about data sets."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mcal_jax.cli.app import DataDir, LabelsFile, app, data_app, emit
from mcal_jax.cli.options import NOTHING_GIVEN, RunOptions
from mcal_jax.errors import McalError, shown


@app.command
def run(
    config: Annotated[Path | None, Parameter(help="YAML file of a run; the options below go on top of it")] = None,
    *,
    options: RunOptions = NOTHING_GIVEN,
    profile: Annotated[
        str | None,
        Parameter(
            help="scale of images and nets: smoke, laptop or paper; default: smoke, and for a file what suits it"
        ),
    ] = None,
    log: Annotated[Path | None, Parameter(help="the run log; default: results/runs/PROFILE/")] = None,
    labels: LabelsFile = None,
    data_dir: DataDir = None,
    deterministic: Annotated[bool, Parameter(help="on a GPU, the same weights each time; slower")] = False,
) -> None:
    """Label a data set: humans label T and B, a classifier is trained, and the cheaper of both labels the rest.

    Unless another preset is given, a certificate bounds the error with 95 %
    confidence.

    Every decision is logged as it is made. Stopped by Ctrl-C, a crash or a power
    cut, the same command (or mcal resume LOG) goes on where it was; a finished run
    is only shown again.

    For example:

    - mcal run --seed 1
    - mcal run --data fashion_mnist --profile laptop --service satyam
    - mcal run --architectures cnn18,resnet18,resnet50
    - mcal run --budget 60
    - mcal run --class-epsilon 0.15
    - mcal run --noise 0.02 --repeat 0.5
    - mcal run --preset recommended
    - mcal run my_run.yaml --log my_run.jsonl
    """
    from mcal_jax.runs import execution

    scale = "smoke" if profile is None else profile
    result = execution.execute(
        _run(config, options, profile), log, profile=scale, data_dir=data_dir, labels=labels,
        inputs={"CONFIG": config} if config else None, deterministic=deterministic, emit=emit,
    )  # fmt: skip
    _show(result, labels)


def _run(config: Path | None, options: RunOptions, profile: str | None):
    """The run that the command line describes."""
    from mcal_jax import data
    from mcal_jax.algorithm.job import certified_by_default
    from mcal_jax.runs import images, settings

    changes = options.changes()
    if config:
        return settings.from_file(config, options.data, emit=emit, **changes)
    run = settings.describe(
        "fashion_mnist_10k" if options.data is None else options.data,
        profile="smoke" if profile is None else profile,
        **certified_by_default(changes),
    )
    if profile is None and data.is_own(run.data.name):
        return images.with_suitable_scale(run, given=changes, emit=emit)
    return run


@app.command
def resume(
    log: Path,
    *,
    labels: LabelsFile = None,
    data_dir: DataDir = None,
) -> None:
    """Go on with an interrupted run from its log; no label or training is paid twice."""
    from mcal_jax.runs import execution

    _show(execution.resume(log, data_dir=data_dir, labels=labels, emit=emit), labels)


@app.command
def plan(log: Path) -> None:
    """Show the contents of a run log: the laws, the cost of each |B|, and what would be bought next.

    Nothing is bought. Works on finished and unfinished logs, without the images
    and without JAX.
    """
    from mcal_jax.runs.recorded import RecordedRun
    from mcal_jax.runs.report import plan_report

    with _not_importable("pandas", "matplotlib"):
        import lmfit  # noqa: F401 - it would load both, which takes longer than all the rest of this command
    emit(plan_report(RecordedRun(log)))


@contextlib.contextmanager
def _not_importable(*names: str) -> Iterator[None]:
    """Packages that are not imported yet can't be meanwhile: whoever can do without them does so."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


@app.command
def check(*logs: Path) -> None:
    """Check run logs: whether each is whole, and whether today's rules decide as it did.

    A log of other decisions is still read, drawn, priced and resumed: what it
    says stands. Exit code 1 if one differs or is damaged.
    """
    from mcal_jax.runs import report

    if not logs:
        raise McalError("logs: name at least one")
    states = [report.check_line(log) for log in logs]
    for state, _ in states:
        emit(state)
    if not all(agrees for _, agrees in states):
        raise SystemExit(1)


@data_app.command(name="list")
def data_list(*, data_dir: DataDir = None) -> None:
    """Show the data sets that are ready on this machine."""
    from mcal_jax import data

    for d in data.available(data_dir=data_dir):
        shape = "x".join("?" if side is None else str(side) for side in d.shape)
        use = (
            f"{d.images:>9,} images {shape:12} {d.classes:>6,} classes"
            if d.problem is None
            else f"unusable: {d.problem}"
        )
        emit(f"{d.name:24} {use}  {d.where}")


@data_app.command(name="prepare")
def data_prepare(name: str, *, data_dir: DataDir = None) -> None:
    """Download and prepare a TFDS data set, once; needs TensorFlow: pip install 'mcal-jax[prepare]'."""
    from mcal_jax import data

    emit(f"{name}: ready in {data.prepare(name, data_dir=data_dir)}")


def _show(result, labels: Path | None) -> None:
    path = labels or result.path.with_suffix(".csv")
    result.write_labels(path)
    emit(f"\n{result.summary()}\nlog {shown(str(result.path))}\nlabels {shown(str(path))}")
