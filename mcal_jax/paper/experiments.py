"""Experiments: notebooks executed with parameters once their runs are finished, unless they are up to date."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mcal_jax.errors import McalError, NoRuns, suggestion
from mcal_jax.files import write_atomically
from mcal_jax.paper import folders, notebooks
from mcal_jax.runs import sweeps
from mcal_jax.runs.execution import log_path, provenance
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import PACKAGE, Experiment, Run, digest, home, load_settings, named, results
from mcal_jax.runs.sweeps import Planned
from mcal_jax.runs.workers import Workers, in_a_line


class ExperimentResult(NamedTuple):
    """How an experiment went: ``state`` is made, up to date, failed, or no runs where none of its runs is finished;
    ``message`` is the reason why it wasn't made."""

    name: str
    state: Literal["made", "up to date", "failed", "no runs"]
    seconds: float
    folder: Path
    message: str = ""


def experiments(profile: str, *, recorded: bool = False) -> list[str]:
    """The names of all experiments at a profile, in order; ``recorded``: only those that train nothing.

    Raises McalError for an unknown profile.
    """
    named("profiles", profile)
    every = {path.stem: load_settings(path, Experiment) for path in sorted((home() / "experiments").glob("*.yaml"))}
    return [name for name, one in every.items() if profile in one.profiles and not (recorded and one.live)]


def check(names: Iterable[str], profile: str) -> None:
    """Raises McalError if experiments can't be made whatever their runs are: for an unknown name or parameter, a
    missing program, or because results can't be written. It is called before anything is trained."""
    notebooks.check()
    for name in names:
        _check_parameters(_load(name, profile))
    folder = results() / profile
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise McalError(f"can't write {folder}: {error.strerror}") from None


def needed(names: Iterable[str], profile: str) -> list[Planned]:
    """The runs that experiments need, each once, the first seeds first, so that an interrupted sweep has all figures.

    Raises McalError as ``check``.
    """
    names = list(names)
    check(names, profile)
    runs = {one.run.id: one for name in names for one in _runs(_load(name, profile), profile)}
    return sorted(runs.values(), key=lambda one: one.run.seed)


def reproduce(
    names: Iterable[str],
    profile: str,
    *,
    again: bool = False,
    jobs: int | None = None,
    data_dir: Path | None = None,
    executor: Executor | None = None,
) -> Iterator[ExperimentResult]:
    """Makes experiments, ``jobs`` at once, by ``executor`` if one is given, and yields the result of each; those that
    are up to date are made only if ``again``. ``data_dir`` is TFDS's folder, for notebooks that load images.

    Results go to results/<profile>/<name>/: the executed notebook, pictures, tables, provenance.json. One that fails,
    for example because a run is missing, leaves its folder as it was, and the others go on. Raises McalError as
    ``check``.
    """
    names = list(names)
    check(names, profile)
    targets = [results() / profile / name for name in names]
    given = {"profile": profile, "data_dir": data_dir and str(data_dir)}
    count = jobs or max(1, (os.cpu_count() or 2) // 2)
    try:
        with contextlib.nullcontext(executor) if executor else Workers([None] * count) as own:
            futures = {own.submit(_make, _load(f.name, profile), f, given, again): f for f in targets}
            for future in as_completed(futures):
                yield _result(futures[future], future)
    finally:
        for folder in targets:
            folders.remove_stale(folder)


def _result(folder: Path, future: Future) -> ExperimentResult:
    if error := future.exception():
        return ExperimentResult(folder.name, "failed", 0.0, folder, in_a_line(error))
    state, seconds, message = future.result()
    return ExperimentResult(folder.name, state, seconds, folder, message)


def _load(name: str, profile: str) -> Experiment:
    experiment = load_settings(named(".", name), Experiment)
    named("profiles", profile)
    if profile not in experiment.profiles:
        raise McalError(f"{name} is for profile {' or '.join(experiment.profiles)}, not {profile}")
    return experiment


def _runs(experiment: Experiment, profile: str) -> list[Planned]:
    return [one for sweep, wanted in experiment.runs.items() for one in sweeps.planned(sweep, profile, **wanted)]


def _notebook(experiment: Experiment) -> Path:
    path = home() / "notebooks" / f"{experiment.notebook}.ipynb"
    if not path.is_file():
        raise McalError(f"{experiment.title}: there is no notebook {experiment.notebook!r}")
    return path


def _check_parameters(experiment: Experiment) -> None:
    known = notebooks.parameters(_notebook(experiment))
    for key in experiment.parameters:
        if key not in known:
            hint = suggestion(key, known)
            raise McalError(f"notebook {experiment.notebook!r} has no parameter {key!r}; {hint}")


def _make(experiment: Experiment, folder: Path, given: dict[str, Any], again: bool) -> tuple[str, float, str]:
    """Makes one experiment in a worker: its state, seconds, and the reason if there are no runs. Raises McalError."""
    began = time.perf_counter()
    state = _state(experiment, given["profile"])
    if not again and _up_to_date(folder, state):
        return "up to date", 0.0, ""
    needed = _runs(experiment, given["profile"])
    drawn = [one.run for one in needed if sweeps.is_finished(one.run, given["profile"])]
    if needed and not drawn:
        command = f"mcal reproduce {folder.name} --profile {given['profile']}"
        return "no runs", 0.0, f"none of the {len(needed)} runs is finished; {command} makes them"
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    folders.remove_stale(folder)
    known = notebooks.parameters(_notebook(experiment))
    own = {k: v for k, v in {**given, "out": str(work)}.items() if k in known}
    try:
        work.mkdir(parents=True)
        # Paths of the user are relative to the current folder, also inside the notebook.
        parameters = {**experiment.parameters, **own}
        notebooks.execute(_notebook(experiment), work / "notebook.ipynb", parameters, Path.cwd())
        seconds = time.perf_counter() - began
        _write_provenance(work, experiment, folder, {**state, "seconds": round(seconds, 1)}, given["profile"], drawn)
        folders.replace(folder, work)
    except NoRuns as error:
        return "no runs", time.perf_counter() - began, str(error)
    except OSError as error:
        raise McalError(f"can't write {error.filename or folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return "made", seconds, ""


def _write_provenance(
    work: Path, experiment: Experiment, folder: Path, state: dict[str, Any], profile: str, drawn: list[Run]
) -> None:
    made = {
        **provenance(),
        **state,
        "title": experiment.title,
        "profile": profile,
        "files": sorted(
            p.name for p in work.iterdir() if p.suffix != ".ipynb"
        ),  # notebooks contain paths of this machine
        "command": f"mcal reproduce {folder.name} --profile {profile}",
        "runs": [run.id for run in drawn],
        "rules": sorted({RunLog.read(log_path(run, profile)).rules for run in drawn}),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    write_atomically(work / "provenance.json", json.dumps(made, indent=1) + "\n")


def _state(experiment: Experiment, profile: str) -> dict[str, str]:
    """Hashes of everything that a result depends on."""
    code = sorted(PACKAGE.glob("**/*.py"))
    logs = sorted(log_path(one.run, profile) for one in _runs(experiment, profile))
    return {
        "experiment": digest(experiment.model_dump(mode="json")),
        "notebook_sha256": hashlib.sha256(_notebook(experiment).read_bytes()).hexdigest(),
        "profile_sha256": hashlib.sha256(named("profiles", profile).read_bytes()).hexdigest(),
        "runs_sha256": hashlib.sha256(b"".join(p.read_bytes() for p in logs if p.exists())).hexdigest(),
        "package_sha256": hashlib.sha256(b"".join(p.read_bytes() for p in code)).hexdigest(),
    }


def _up_to_date(folder: Path, state: dict[str, str]) -> bool:
    try:
        made = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(made.get(k) == v for k, v in state.items()) and all((folder / f).exists() for f in made["files"])
