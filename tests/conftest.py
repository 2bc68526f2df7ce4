"""What several test files need: hand-made trainings, random configurations, runs in simulated worlds, and results."""

import contextlib
import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from mcal_jax.algorithm import baselines
from mcal_jax.algorithm.config import Config, PerHour, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.protocol import Measurement, TrainResult
from mcal_jax.data import from_arrays
from mcal_jax.paper.records import Trajectory
from mcal_jax.runs import settings as run_settings
from mcal_jax.runs.driver import drive
from mcal_jax.runs.settings import Run
from mcal_jax.testing.worlds import assert_partition, labelled_by_humans, same  # noqa: F401 - for the tests
from mcal_jax.training.architectures import ARCHITECTURES
from mcal_jax.training.cache import programs_folder
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

# A program is compiled once for all processes and clones on a machine: XLA takes seconds for each.
with contextlib.suppress(OSError):
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(programs_folder()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# The same examples on every machine: a failure seen once is seen again.
settings.register_profile("mcal", deadline=None, derandomize=True, database=None)
settings.load_profile("mcal")

EASY = Analytic(alpha=3.0, gamma=0.8)
MIDDLING = Analytic(alpha=3.0, gamma=0.4, quality=2.0)
HOPELESS = Analytic(alpha=5.0, gamma=0.01, quality=0.01)  # wrong nearly nine times in ten, however confident
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
PNG = b"\x89PNG\r\n\x1a\n, as far as this test goes"


def fitted(size, wrong, n_test=100, model=0, images=0, seconds=0.0):
    """An answer to Train with its mistakes at the positions ``wrong`` of T."""
    return TrainResult(model, size, n_test, np.asarray(wrong, int), images or 200 * size, seconds)


def spread(size, errors, n_test=1000):
    """An answer to Train with ``errors`` mistakes evenly over T: a margin that knows nothing."""
    return fitted(size, np.floor((np.arange(errors) + 0.5) * n_test / max(errors, 1)), n_test)


def history_of(curve, sizes, n_test):
    """Trainings whose mistakes follow ``curve`` as exactly as whole numbers can."""
    grid = np.arange(1, n_test + 1) / n_test
    counts = [np.round(curve.wrong_share(grid, size) * n_test).astype(int) for size in sizes]
    return [fitted(s, np.flatnonzero(np.diff(c, prepend=0) > 0), n_test) for s, c in zip(sizes, counts, strict=True)]


def simulate(config, curve=MIDDLING, n=2000, seed=0, observe=None, **job):
    """A whole run in a simulated world -> Delivery; ``curve`` may be a dictionary by architecture."""
    return drive(Job(n=n, config=config, **job), SimulatedWorld(n, curve, seed=seed), observe=observe)


def tell(run, curve=MIDDLING, n=2000, seed=0, change=lambda number, request, answer: answer):
    """Drive a bare generator in a simulated world -> (requests, outcome); ``change`` may alter each answer."""
    world = SimulatedWorld(n, curve, seed=seed)
    requests, request = [], next(run)
    while True:
        requests.append(request)
        number = len(requests) - 1
        try:
            request = run.send(change(number, request, world.answer(request, number)))
        except StopIteration as end:
            return requests, end.value


def trajectory(
    curve=MIDDLING,
    *,
    delta=0.1,
    max_train_fraction=0.5,
    n=2000,
    seed=0,
    data_set="cifar10",
    net="resnet18",
    config=None,
    compare=(),
):
    """Active learning in a simulated world, as a record of it."""
    config, answers = config or Config(), []

    def keep(number, request, answer):
        answers.append(answer)
        return answer

    tell(baselines.trajectory(n, config, net, delta, max_train_fraction, compare), curve, n, seed, keep)
    fits = tuple(a for a in answers if isinstance(a, TrainResult))
    measured = tuple(a for a in answers if isinstance(a, Measurement))
    run = Run(
        algorithm="trajectory", architectures=(net,), delta=delta, max_train_fraction=max_train_fraction, seed=seed
    )
    return Trajectory(data_set, run, Path(f"{data_set}.jsonl"), n, config, fits, measured)


training_prices = st.one_of(
    st.builds(
        PerImageEpoch,
        dollars=st.floats(0, 1e-4),
        epochs=st.one_of(st.integers(1, 300), st.just("recipe")),
    ),
    st.builds(PerHour, dollars=st.floats(0, 30)),
)

readings = st.sampled_from([Config, Config.paper, Config.authors_code])


@st.composite
def configs(draw, **fixed):
    """Any reading of the paper at any prices, with some of its switches turned."""
    changes = {
        "epsilon": draw(st.floats(0.005, 0.4)),
        "label_price": draw(st.floats(1e-3, 0.5)),
        "training_price": draw(training_prices),
        "test_fraction": draw(st.floats(0.02, 0.3)),
        "seed_fraction": draw(st.floats(0.02, 0.2)),
        "theta_step": draw(st.sampled_from([0.05, 0.1, 0.25, 0.5])),
    }
    for key, values in {
        "theta_of": st.sampled_from(["remaining", "all"]),
        "constraint": st.sampled_from(["on_X", "on_S"]),
        "safety_z": st.floats(0, 3),
        "estimate": st.sampled_from(["law", "test"]),
        "law": st.sampled_from(["truncated", "power", "pow3", "pow4"]),
        "interpolate_theta": st.booleans(),
        "share_slopes": st.booleans(),
        "stop_on_rise": st.booleans(),
        "bill_test_set": st.booleans(),
        "growth": st.one_of(st.none(), st.floats(1.1, 4)),
        "max_growth": st.one_of(st.none(), st.floats(1.1, 5)),
        "max_steps": st.integers(1, 10),
    }.items():
        if draw(st.booleans()):
            changes[key] = draw(values)
    return draw(readings)(**{**changes, **fixed})


curves = st.builds(
    Analytic,
    alpha=st.floats(0.1, 8),
    gamma=st.floats(0, 1),
    k=st.floats(100, 1e6),
    floor=st.floats(0, 0.8),
    quality=st.floats(0.1, 5),
)


def three_kinds(low, high):
    """500 images of three kinds, told apart by where they are bright; some are hard to tell.

    They are brighter there by ``low`` to ``high``.
    """
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 500)
    pixels = rng.normal(90, 30, (500, 8, 8))
    for k in range(3):
        pixels[labels == k, :, 2 * k : 2 * k + 3] += rng.uniform(low, high, ((labels == k).sum(), 1, 1))
    return from_arrays(pixels.clip(0, 255).astype(np.uint8), labels)


@pytest.fixture(scope="module")
def small_nets():
    """Nets of one block by the names "tiny", "resnet18" and "cnn18"."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tiny", "resnet18", "cnn18"):
            patch.setitem(ARCHITECTURES._entries, name, f"small_nets:{name}")
        yield


@pytest.fixture
def results(tmp_path, monkeypatch):
    """The folder of results, empty."""
    monkeypatch.setattr(run_settings, "results", lambda: tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def make(results):
    """Makes results/laptop/<name>/ as an experiment does, here and there changed."""

    def make(name, *, summary="A caption.\n\nA note.\n", pictures=("figure",), data=None, files=(), **provenance):
        folder = results / "laptop" / name
        folder.mkdir(parents=True)
        for picture in pictures:
            (folder / f"{picture}.svg").write_bytes(SVG)
            (folder / f"{picture}.png").write_bytes(PNG)
        (folder / "summary.txt").write_text(summary)
        with open(folder / "data.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(data or [["what", "value"], ["a", "1"]])
        default = {
            "title": f"Title of {name}", "command": f"mcal reproduce {name} --profile laptop", "commit": "abc1234",
            "versions": {"python": "3.11.7"}, "machine": "Linux, 2 cores", "seconds": 12.34, "runs": ["5eed"],
            "profile": "laptop", "experiment": "a hash", "files": [*(path.name for path in folder.iterdir()), *files],
        }  # fmt: skip
        (folder / "provenance.json").write_text(json.dumps({**default, **provenance}))
        return folder

    return make
