"""The ``mcal`` command line."""

import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Parameter

from mcal_jax import __version__
from mcal_jax.errors import McalError
from mcal_jax.files import check_writable

app = App(
    name="mcal",
    version=__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,  # main() says what to do next
    help="""Label a whole data set at the least total cost, part by people and part by a classifier.

    Start with: mcal run

    It labels the 10,000 Fashion-MNIST images that come with the package, with their true labels in the place of
    people at $0.04 each, and tells what it decides and why.""",
)
data_app = App(name="data", help="The data sets on this machine.")
app.command(data_app)


@app.command
def run(
    config: Annotated[Path | None, Parameter(help="YAML file of a run; the options below go on top of it")] = None,
    *,
    data: Annotated[
        str | None,
        Parameter(
            help="a TFDS name (name#feature picks one of several class labels), a .npz file, or fashion_mnist_10k"
        ),
    ] = None,
    profile: Annotated[
        str | None,
        Parameter(
            help="scale of images and nets: smoke, laptop or paper; default: smoke, and for a file what suits it"
        ),
    ] = None,
    algorithm: Annotated[
        str | None, Parameter(help="mcal, naive_al (needs --delta), without_active_learning or humans_only")
    ] = None,
    architectures: Annotated[str | None, Parameter(help="cnn18,resnet18,resnet50: several race")] = None,
    width: Annotated[int | None, Parameter(help="filters of the first stage; 64 is the paper's")] = None,
    recipe: Annotated[str | None, Parameter(help="of training: paper (200 epochs), fast, short or brief")] = None,
    service: Annotated[str | None, Parameter(help="amazon ($0.04), satyam ($0.003), or dollars a label")] = None,
    epsilon: Annotated[float | None, Parameter(help="bound on the error of the labels delivered")] = None,
    budget: Annotated[float | None, Parameter(help="dollars: seek the least error within it instead")] = None,
    certify: Annotated[float | None, Parameter(help="confidence, such as 0.95, that the bound is kept")] = None,
    class_epsilon: Annotated[
        float | None,
        Parameter(
            help="with --certify: bound on the wrong labels among what the classifier calls each class; a class that "
            "it never predicts is not protected, see the summary"
        ),
    ] = None,
    repeat: Annotated[float | None, Parameter(help="with --certify: share of T that people label twice")] = None,
    noise: Annotated[float | None, Parameter(help="simulated people: chance that a label is wrong")] = None,
    votes: Annotated[int | None, Parameter(help="simulated people asked for each label, all paid")] = None,
    acquisition: Annotated[str | None, Parameter(help="margin, entropy, least_confidence, kcenter or random")] = None,
    preset: Annotated[str | None, Parameter(help="recommended, certified, paper (Algorithm 1) or authors_code")] = None,
    delta: Annotated[float | None, Parameter(help="naive_al: its batch, a fraction of |X|")] = None,
    seed: Annotated[int | None, Parameter(help="of all that is random")] = None,
    log: Annotated[Path | None, Parameter(help="the run log; default: results/runs/PROFILE/")] = None,
    labels: Annotated[Path | None, Parameter(help="where the labels go; default: the log's name, .csv")] = None,
    data_dir: Annotated[Path | None, Parameter(help="TFDS's folder")] = None,
    deterministic: Annotated[bool, Parameter(help="on a GPU, the same weights each time; slower")] = False,
) -> None:
    """Label a data set: people label T and B, a classifier is trained, and the cheaper of both labels the rest.

    Every decision is logged as it is made. Stopped by Ctrl-C, a crash or a power cut, the same command (or
    mcal resume LOG) goes on where it was; a finished run is only shown again.

    For example:

    - mcal run --seed 1
    - mcal run --data fashion_mnist --profile laptop --service satyam
    - mcal run --architectures cnn18,resnet18,resnet50
    - mcal run --budget 60
    - mcal run --certify 0.95
    - mcal run --certify 0.95 --class-epsilon 0.15
    - mcal run --certify 0.95 --noise 0.02 --repeat 0.5
    - mcal run my_run.yaml --log my_run.jsonl
    """
    from mcal_jax.runs import execution, images, settings

    changes: dict[str, Any] = dict(
        service=_price(service), architectures=architectures.split(",") if architectures else None, epsilon=epsilon,
        budget=budget, certify=certify, acquisition=acquisition, algorithm=algorithm, preset=preset, delta=delta,
        seed=seed, class_epsilon=class_epsilon, repeat=repeat, noise=noise, votes=votes, width=width, recipe=recipe,
    )  # fmt: skip
    if config:
        described = settings.from_file(config, data, **changes)
    else:
        described = settings.describe(data or "fashion_mnist_10k", profile=profile or "smoke", **changes)
        if profile is None and images.is_file(described.data.name):
            described = images.with_suitable_scale(described, given=changes, emit=_emit)
    result = execution.execute(
        described, log, profile=profile or "smoke", data_dir=data_dir, labels=labels,
        inputs={"CONFIG": config} if config else None, deterministic=deterministic, emit=_emit,
    )  # fmt: skip
    _show(result, labels)


@app.command
def resume(
    log: Path,
    *,
    labels: Annotated[Path | None, Parameter(help="where the labels go; default: the log's name, .csv")] = None,
    data_dir: Annotated[Path | None, Parameter(help="TFDS's folder")] = None,
) -> None:
    """Go on with an interrupted run from its log; no label is bought and no net is priced twice."""
    from mcal_jax.runs import execution

    _show(execution.resume(log, data_dir=data_dir, labels=labels, emit=_emit), labels)


@app.command
def plan(log: Path) -> None:
    """Show what a run log knows: the laws, the cost of each |B|, and what would be bought next, unspent.

    Works on finished and unfinished logs, without the images and without JAX.
    """
    from mcal_jax.runs.recorded import RecordedRun
    from mcal_jax.runs.report import plan_report

    _emit(plan_report(RecordedRun(log)))


@app.command
def check(*logs: Path) -> None:
    """Check run logs: whether each is whole, and whether today's decision rules decide as they did.

    A log of other decisions is still read, drawn, priced and resumed: what it says stands. Exit code 1 if one differs
    or is damaged.
    """
    from mcal_jax.runs import report

    states = [report.check_line(log) for log in logs]
    for state, _ in states:
        _emit(state)
    if not all(agrees for _, agrees in states):
        raise SystemExit(1)


@data_app.command(name="list")
def data_list(*, data_dir: Annotated[Path | None, Parameter(help="TFDS's folder")] = None) -> None:
    """Show the data sets that are ready on this machine."""
    from mcal_jax import data

    for d in data.available(data_dir=data_dir):
        shape = "x".join("?" if side is None else str(side) for side in d.shape)
        use = (
            f"{d.images:>9,} images {shape:12} {d.classes:>6,} classes"
            if d.problem is None
            else f"unusable: {d.problem}"
        )
        _emit(f"{d.name:24} {use}  {d.where}")


@data_app.command(name="prepare")
def data_prepare(name: str, *, data_dir: Annotated[Path | None, Parameter(help="TFDS's folder")] = None) -> None:
    """Download and prepare a TFDS data set, once; needs TensorFlow: pip install 'mcal-jax[prepare]'."""
    from mcal_jax import data

    _emit(f"{name}: ready in {data.prepare(name, data_dir=data_dir)}")


@app.command
def sweep(
    *names: str,
    profile: Annotated[str, Parameter(help="smoke, laptop or paper")] = "smoke",
    jobs: Annotated[int | None, Parameter(help="runs at once; default: one a core, one on an accelerator")] = None,
    dry: Annotated[bool, Parameter(help="only say which runs are there and which are not")] = False,
    data_dir: Annotated[Path | None, Parameter(help="TFDS's folder")] = None,
) -> None:
    """Make the runs of experiments/runs/*.yaml, all of them or those of the sweeps named, several at once.

    Each is found by the hash of its description, resumed or made, so the command can be stopped and given again.
    The first seed of everything comes first.

    For example: mcal sweep trajectories --profile laptop
    """
    from mcal_jax.runs import sweeps

    at_least_one("jobs", jobs)
    chosen = names or sweeps.sweeps()
    found = {one.run.id: one for name in chosen for one in sweeps.planned(name, profile)}
    if dry:
        for one in found.values():
            _emit(f"{sweeps.state(one.run, profile):8} {sweeps.described(one.run)}")
    elif failed := _make(sorted(found.values(), key=lambda one: one.run.seed), profile, jobs, data_dir):
        raise SystemExit(f"mcal: {failed} runs failed")


@app.command
def reproduce(
    *names: str,
    profile: Annotated[str, Parameter(help="smoke, laptop or paper")] = "smoke",
    jobs: Annotated[int | None, Parameter(help="notebooks, and runs, at once; default: by the cores")] = None,
    again: Annotated[bool, Parameter(help="make also what is up to date")] = False,
    recorded: Annotated[bool, Parameter(help="train nothing: only what recorded runs show")] = False,
    rerun: Annotated[bool, Parameter(help="forget the recorded runs that are needed, and train them again")] = False,
    data_dir: Annotated[Path | None, Parameter(help="TFDS's folder")] = None,
) -> None:
    """Redraw figures and tables: execute the notebooks with the parameters of experiments/*.yaml, all or some.

    Runs that they need and that are not recorded are trained first. What is up to date is left alone: results
    know the code, notebook, parameters, profile and runs they came from.

    For example: mcal reproduce fig08 tab01 --profile laptop
    """
    from mcal_jax.paper import experiments

    at_least_one("jobs", jobs)
    if recorded and rerun:
        raise McalError("recorded and rerun: one trains nothing, the other trains all again; choose")
    chosen = names or experiments.experiments(profile, recorded=recorded)
    needed = experiments.needed(chosen, profile)
    _emit(f"{len(chosen)} experiments at profile {profile}: {', '.join(chosen)}")
    unmade = 0 if recorded else _make(needed, profile, jobs, data_dir, again=rerun)
    done: list[experiments.ExperimentResult] = []
    for made in experiments.reproduce(chosen, profile, again=again or rerun, jobs=jobs, data_dir=data_dir):
        _emit(f"{made.name:24} {made.state:10} {made.seconds:6.0f} s  {made.message or made.folder}")
        done.append(made)
    for made in sorted(done):
        summary = made.folder / "summary.txt"
        if made.state in ("made", "up to date") and summary.exists() and (names or summary.stat().st_size < 1000):
            _emit(f"\n{made.name}, pictures in {made.folder}:\n\n{summary.read_text(encoding='utf-8')}")
    failed = [made.name for made in done if made.state == "failed" or (names and made.state == "no runs")]
    failed = [f"{unmade} runs", *failed] if unmade else failed
    if failed:
        print(f"mcal: failed: {', '.join(failed)}", file=sys.stderr)
        raise SystemExit(1)


def _make(needed, profile: str, jobs: int | None, data_dir: Path | None, again: bool = False) -> int:
    """Make the runs that are not there, telling how it goes; how many failed."""
    from mcal_jax.runs import sweeps

    failed = 0
    for p in sweeps.make([one.run for one in needed], profile, jobs=jobs, data_dir=data_dir, again=again):
        failed += bool(p.error)
        rest = f"about {p.left / 60:.0f} min left" if p.done < p.of else "the last one"
        state = f"failed: {p.error}" if p.error else f"{p.seconds:.0f} s, {rest}"
        _emit(f"run {p.done}/{p.of}  {sweeps.described(p.run)}  {state}")
    return failed


def at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise McalError(f"{name}: at least 1, got {value}")


@app.command
def report(
    *,
    profile: Annotated[str, Parameter(help="smoke, laptop or paper")] = "laptop",
    out: Annotated[Path | None, Parameter(help="the page; default: results/PROFILE/report.html")] = None,
) -> None:
    """Gather the results of a profile in one HTML page that needs no network: pictures, tables, captions, origins.

    It shows what mcal reproduce made, with what the paper printed beside what we measured, and which figures and
    tables of the paper are missing. Nothing is run or trained for it.

    For example: mcal report --profile laptop --out report.html
    """
    from mcal_jax.paper import html_report

    if out is not None:
        check_writable(out, "--out", html_report.BEGINS)
    found = html_report.gather(profile)
    _emit(f"{html_report.write(found, out)}: {len(found.exhibits)} exhibits shown, {len(found.missing)} missing")
    if found.damaged:
        raise SystemExit(f"mcal: damaged: {', '.join(found.damaged)}; the page says how")


def main() -> None:
    """Entry point: a user's mistake ends in one line and exit code 2, anything unforeseen in one line and 1, Ctrl-C in
    130, being terminated in 143, a closed pipe in 141 without a word. With --debug errors show their traceback."""
    words = sys.argv[1:]
    debug = "--debug" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be text, and the locale need not be UTF-8
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app([word for word in words if word != "--debug"], print_error=False, exit_on_error=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _end(130, "interrupted; the same command goes on from here")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        raise SystemExit(141) from None
    except Exception as error:
        if debug:
            raise
        _end(*exit_code_and_message(error))


def exit_code_and_message(error: Exception) -> tuple[int, str]:
    """Exit code and one line for an error, ours or a library's."""
    text = " ".join(str(error).split()) or type(error).__name__
    match error:
        case McalError() | CycloptsError():
            return 2, text
        case UnicodeError():
            return 2, f"text that is not UTF-8: {text}"
        case OSError() if error.filename is not None:
            return 2, f"{os.fsdecode(error.filename)}: {error.strerror or text}"
        case MemoryError():
            return 2, f"not enough memory: {text}"
        case ModuleNotFoundError():
            return 2, f"the package {error.name} is missing: pip install 'mcal-jax[notebooks]' brings all that is used"
    return 1, f"unforeseen {type(error).__name__}: {text[:300]}; the same command with --debug shows where"


def _end(code: int, text: str) -> NoReturn:
    with contextlib.suppress(BrokenPipeError):
        print(f"mcal: {text}", file=sys.stderr)
    raise SystemExit(code) from None


def _terminated(number: int, frame: object) -> None:
    """SIGTERM: end at once, workers too; logs are whole at any moment, and drafts are cleared away the next time."""
    print("mcal: terminated; the same command goes on from here", file=sys.stderr, flush=True)
    os._exit(128 + number)


def _emit(text: str) -> None:
    print(text, flush=True)


def _price(service: str | None) -> str | float | None:
    try:
        return float(service) if service is not None else None
    except ValueError:
        return service


def _show(result, labels: Path | None) -> None:
    path = labels or result.path.with_suffix(".csv")
    result.write_labels(path)
    _emit(f"\n{result.summary()}\nlog {result.path}\nlabels {path}")
