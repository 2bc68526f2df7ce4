"""Experiments: notebooks executed with parameters, after the runs they need; what is up to date is left alone."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple

from mcal_jax import sweeps
from mcal_jax.records import NoRuns
from mcal_jax.report import write_atomically
from mcal_jax.runs import log_path, provenance
from mcal_jax.settings import PACKAGE, Experiment, digest, home, load_settings, named, results
from mcal_jax.sweeps import Planned
from mcal_jax.types import McalError


class Made(NamedTuple):
    """How an experiment went: ``state`` is made, up to date, failed, or no runs where none of those it draws is there;
    ``message`` says why it wasn't made."""

    name: str
    state: Literal["made", "up to date", "failed", "no runs"]
    seconds: float
    folder: Path
    message: str = ""


def experiments(profile: str, *, recorded: bool = False) -> list[str]:
    """The names of all experiments at a profile, in order; ``recorded``: of those that no training makes."""
    found = {path.stem: load_settings(path, Experiment) for path in sorted((home() / "experiments").glob("*.yaml"))}
    return [name for name, one in found.items() if profile in one.profiles and not (recorded and one.live)]


def workers(count: int) -> Executor:
    """Processes that make experiments."""
    return ProcessPoolExecutor(count, initializer=sweeps.die_with_parent)


def needed(names: Iterable[str], profile: str) -> list[Planned]:
    """The runs that experiments need, each once, the first seeds first: an interrupted night has whole figures."""
    found = {one.run.id: one for name in names for one in _runs(_load(name, profile), profile)}
    return sorted(found.values(), key=lambda one: one.run.seed)


def reproduce(
    names: Iterable[str],
    profile: str,
    *,
    again: bool = False,
    jobs: int | None = None,
    executor: Executor | None = None,
) -> Iterator[Made]:
    """Make experiments, ``jobs`` at once, by ``executor`` if one is given; what is up to date is left alone unless
    ``again``.

    Results go to results/<profile>/<name>/: the executed notebook, pictures, tables, provenance.json. One that
    fails, be it for want of a run (``needed``), leaves its folder as it was, and the others go on.
    """
    chosen = [(name, _load(name, profile)) for name in names]
    for _, experiment in chosen:
        _check_parameters(experiment)
    own = executor or workers(jobs or max(1, (os.cpu_count() or 2) // 2))
    try:
        futures = [own.submit(_make, name, experiment, profile, again) for name, experiment in chosen]
        for future in as_completed(futures):
            yield future.result()
    finally:
        if executor is None:
            own.shutdown(cancel_futures=True)


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
    import papermill

    known = papermill.inspect_notebook(str(_notebook(experiment)))
    for key in experiment.parameters:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise McalError(f"notebook {experiment.notebook!r} has no parameter {key!r}{hint}")


def _make(name: str, experiment: Experiment, profile: str, again: bool) -> Made:
    import papermill

    began = time.perf_counter()
    folder = results() / profile / name
    state = _state(experiment, profile)
    if not again and _up_to_date(folder, state):
        return Made(name, "up to date", 0.0, folder)
    needed = _runs(experiment, profile)
    try:
        drawn = [one.run.id for one in needed if sweeps.finished(one.run, profile)]
    except McalError as error:
        return Made(name, "failed", time.perf_counter() - began, folder, str(error))
    if needed and not drawn:
        message = f"none of the {len(needed)} runs is finished; mcal reproduce {name} --profile {profile} makes them"
        return Made(name, "no runs", time.perf_counter() - began, folder, message)
    work = folder.with_name(f".{name}.{os.getpid()}")
    _sweep_up(folder)
    parameters = dict(experiment.parameters)
    known = papermill.inspect_notebook(str(_notebook(experiment)))
    parameters |= {k: v for k, v in {"profile": profile, "out": str(work)}.items() if k in known}
    try:
        work.mkdir(parents=True)
        papermill.execute_notebook(
            str(_notebook(experiment)),
            str(work / "notebook.ipynb"),
            parameters,
            progress_bar=False,
            kernel_name="python3",
            cwd=str(home()),
            # It warns of its own TCP port, on this machine alone, and calls its end an error; real ones raise here.
            extra_arguments=["--IPKernelApp.log_level=50"],
            stdout_file=sys.stdout,  # what the notebook tells while it works is its progress
        )
        seconds = time.perf_counter() - began
        files = sorted(p.name for p in work.iterdir() if p.suffix != ".ipynb")  # it names paths of this machine
        made = {**provenance(), **state, "title": experiment.title, "profile": profile, "files": files}
        made["command"] = f"mcal reproduce {name} --profile {profile}"
        made["runs"] = drawn
        text = json.dumps({**made, "seconds": round(seconds, 1)}, indent=1)
        write_atomically(work / "provenance.json", text + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(work, folder)
        return Made(name, "made", seconds, folder)
    except OSError as error:
        message = f"can't write {error.filename}: {error.strerror}"
    except papermill.PapermillExecutionError as error:
        message = f"{error.ename}: {error.evalue}"
        if error.ename == NoRuns.__name__:
            return Made(name, "no runs", time.perf_counter() - began, folder, error.evalue)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Made(name, "failed", time.perf_counter() - began, folder, " ".join(message.split()))


def _sweep_up(folder: Path) -> None:
    """Remove what processes that were killed left of this experiment."""
    for stale in folder.parent.glob(f".{folder.name}.*"):
        try:
            os.kill(int(stale.suffix[1:]), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(stale, ignore_errors=True)
        except PermissionError:
            pass  # alive, and of another user


def _state(experiment: Experiment, profile: str) -> dict[str, str]:
    """Hashes of all that a result depends on."""
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
        made = json.loads((folder / "provenance.json").read_text())
    except (OSError, ValueError):
        return False
    return all(made.get(k) == v for k, v in state.items()) and all((folder / f).exists() for f in made["files"])
