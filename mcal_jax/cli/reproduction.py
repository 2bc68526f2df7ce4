"""The commands that reproduce the paper: sweep, reproduce and report."""

import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mcal_jax.cli.app import WHOLE, DataDir, Profile, app, emit
from mcal_jax.cli.clusters import NO_CLUSTER, ClusterOptions
from mcal_jax.errors import McalError, at_least
from mcal_jax.files import check_writable


@app.command
def sweep(
    *names: str,
    profile: Profile = "smoke",
    jobs: Annotated[
        int | None, Parameter(help="runs at once; default: one a core, one on an accelerator"), WHOLE
    ] = None,
    dry: Annotated[bool, Parameter(help="only say which runs are there and which are not")] = False,
    plan: Annotated[bool, Parameter(help="only say how long an accelerator takes, by sweep and figure")] = False,
    rate: Annotated[float | None, Parameter(help="with plan: images/s of a ResNet18; default: an H200's")] = None,
    data_dir: DataDir = None,
    on: ClusterOptions = NO_CLUSTER,
) -> None:
    """Execute the runs of experiments/runs/*.yaml, of all sweeps or of those named, several at once.

    Each is looked up by its settings, resumed or begun, so the command can be
    stopped and given again. The first seed of everything comes first.

    For example: mcal sweep trajectories --profile laptop
    """
    from mcal_jax.runs import clusters, sweeps

    at_least(1, jobs=jobs)
    if plan:
        return _foretell(names, profile, rate)
    if rate is not None:
        raise McalError("rate: it is for plan; leave it out")
    executor = on.executor(jobs)
    chosen = names or sweeps.sweeps(profile)
    planned = {one.run.id: one for name in chosen for one in sweeps.planned(name, profile)}
    if dry:
        for one in planned.values():
            emit(f"{sweeps.state(one.run, profile):8} {sweeps.description(one.run)}")
        if on.cluster == "slurm":
            emit(f"\n{clusters.job_script()}")
        return
    runs = sorted(planned.values(), key=lambda one: one.run.seed)
    if failed := _make(runs, profile, jobs, data_dir, executor):
        raise SystemExit(f"mcal: {failed} runs failed")


def _foretell(names: Sequence[str], profile: str, rate: float | None) -> None:
    """Print the seconds of an accelerator by sweep, of those named or of all, and then by experiment too."""
    from mcal_jax.paper import forecast

    if rate is not None and not 0 < rate < math.inf:
        raise McalError(f"rate: images per second, a number above 0, got {rate!r}")
    by = forecast.Forecaster(profile, rate or forecast.RATE)
    tables = [("sweep", by.by_sweep(names))] + ([] if names else [("figure or table", by.by_experiment())])
    for title, lines in tables:
        emit(f"{title:20} {'runs':>5} {'there':>5} {'seconds':>9} {'to make':>9}")
        for line in lines:
            emit(f"{line.name:20} {line.runs:5} {line.there:5} {line.seconds:9,.0f} {line.left:9,.0f}")
        emit("")


@app.command
def reproduce(
    *names: str,
    profile: Profile = "smoke",
    jobs: Annotated[int | None, Parameter(help="notebooks, and runs, at once; default: by the cores"), WHOLE] = None,
    again: Annotated[bool, Parameter(help="make also what is up to date")] = False,
    recorded: Annotated[bool, Parameter(help="train nothing: only what recorded runs show")] = False,
    rerun: Annotated[bool, Parameter(help="forget the recorded runs that are needed, and train them again")] = False,
    parameters: Annotated[
        Path | None, Parameter(help="YAML file with variants of one notebook, to be executed in place of figures")
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="with parameters: a folder for the variants; default: beside it")
    ] = None,
    data_dir: DataDir = None,
    on: ClusterOptions = NO_CLUSTER,
) -> None:
    """Redraw figures and tables: execute the notebooks with the parameters of experiments/*.yaml, all or some.

    Runs that they need and that are not recorded are trained first. What is up to
    date is left alone: results name the code, notebook, parameters, profile and
    runs that they came from.

    With --parameters a notebook is executed for each variant that a file asks for,
    such as those of a class, into a folder each, with a summary of all.

    For example:

    - mcal reproduce fig08 tab01 --profile laptop
    - mcal reproduce --parameters class.yaml
    """
    from mcal_jax.paper import experiments

    at_least(1, jobs=jobs)
    if parameters is not None:
        if names or recorded or rerun or profile != "smoke" or on != NO_CLUSTER:
            raise McalError(
                "parameters: the file names the notebook and all that it is given; leave figures, profile, recorded, "
                "rerun, scheduler and cluster out"
            )
        return _vary(parameters, out, jobs, again, data_dir)
    if out is not None:
        raise McalError("out: it is for parameters; figures go to results/")
    if recorded and rerun:
        raise McalError("recorded and rerun: one trains nothing, the other trains all again; choose")
    executor = on.executor(jobs)
    chosen = names or experiments.experiments(profile, recorded=recorded)
    needed = experiments.needed(chosen, profile)
    emit(f"{len(chosen)} experiments at profile {profile}: {', '.join(chosen)}")
    failed_runs = 0 if recorded else _make(needed, profile, jobs, data_dir, executor, again=rerun)
    results: list[experiments.ExperimentResult] = []
    for result in experiments.reproduce(chosen, profile, again=again or rerun, jobs=jobs, data_dir=data_dir):
        emit(f"{result.name:24} {result.state:10} {result.seconds:6.0f} s  {result.message or result.folder}")
        results.append(result)
    for result in sorted(results):
        summary = result.folder / "summary.txt"
        if result.state in ("made", "up to date") and summary.exists() and (names or summary.stat().st_size < 1000):
            emit(f"\n{result.name}, pictures in {result.folder}:\n\n{summary.read_text(encoding='utf-8')}")
    failed = [one.name for one in results if one.state == "failed" or (names and one.state == "no runs")]
    failed = [f"{failed_runs} runs", *failed] if failed_runs else failed
    if failed:
        print(f"mcal: failed: {', '.join(failed)}", file=sys.stderr)
        raise SystemExit(1)


def _vary(path: Path, out: Path | None, jobs: int | None, again: bool, data_dir: Path | None) -> None:
    """Execute the variants of a YAML file, and write their summary."""
    from mcal_jax.paper import variant_table, variants

    plan, folder = variants.read(path), out or path.with_suffix("")
    if folder == path:
        raise McalError(f"{path}: it has no ending to leave out; give --out")
    emit(f"{len(plan.variants)} variants of {plan.notebook.stem}: {folder}")
    results: list[variants.VariantResult] = []
    for result in variants.make(plan, folder, again=again, jobs=jobs, data_dir=data_dir):
        emit(f"{result.variant.name:40} {result.state:10} {result.seconds:6.0f} s  {result.message or result.result}")
        results.append(result)
    paths = variant_table.write(plan, results, folder)
    emit(f"summary: {', '.join(map(str, paths))}")
    if failed := [result.variant.name for result in results if result.state == "failed"]:
        raise SystemExit(f"mcal: failed: {', '.join(failed)}")


def _make(
    needed,
    profile: str,
    jobs: int | None,
    data_dir: Path | None,
    executor: Callable[[int], AbstractContextManager[Executor]] | None,
    again: bool = False,
) -> int:
    """How many runs failed of those that were not there and were executed now; each is a line."""
    from mcal_jax.runs import sweeps

    failed, runs = 0, [one.run for one in needed]
    for p in sweeps.make(runs, profile, jobs=jobs, data_dir=data_dir, again=again, executor=executor):
        failed += bool(p.error)
        rest = f"about {p.left / 60:.0f} min left" if p.done < p.of else "the last one"
        state = f"failed: {p.error}" if p.error else f"{p.seconds:.0f} s, {rest}"
        emit(f"run {p.done}/{p.of}  {sweeps.description(p.run)}  {state}")
    return failed


@app.command
def report(
    *,
    profile: Profile = "laptop",
    out: Annotated[Path | None, Parameter(help="the page; default: results/PROFILE/report.html")] = None,
) -> None:
    """Gather the results of a profile in one HTML page that needs no network: pictures, tables, captions, origins.

    It shows what mcal reproduce made, with what the paper printed beside what we
    measured, and which figures and tables of the paper are missing. Nothing is run
    or trained for it.

    For example: mcal report --profile laptop --out report.html
    """
    from mcal_jax.paper import collection, html_report

    if out is not None:
        check_writable(out, "--out", html_report.BEGINS)
    exhibits = collection.gather(profile)
    path = html_report.write(exhibits, out)
    emit(f"{path}: {len(exhibits.exhibits)} exhibits shown, {len(exhibits.missing)} missing")
    if exhibits.damaged:
        raise SystemExit(f"mcal: damaged: {', '.join(exhibits.damaged)}; the page says how")
