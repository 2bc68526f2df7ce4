"""Strategies of an outsider's, each in one file outside the package: by name, and as objects in Python."""

import contextlib
import sys

import numpy as np
import pytest

from mcal_jax import Classifier, Config, label, load, testing
from mcal_jax.cli.entry import app
from mcal_jax.runs.recorded import RecordedRun

pytestmark = pytest.mark.usefixtures("small_nets")
FILES = {
    "my_net.py": '''
import jax.numpy as jnp
from flax import nnx


class MyNet(nnx.Module):
    """Two convolutions and a linear layer."""

    def __init__(self, *, classes, channels, width, backend, rng):
        rngs = nnx.Rngs(int(rng.integers(2**31)))
        self.first = nnx.Conv(channels, width, (3, 3), strides=2, rngs=rngs)
        self.second = nnx.Conv(width, 2 * width, (3, 3), strides=2, rngs=rngs)
        self.head = nnx.Linear(2 * width, classes, rngs=rngs)

    def __call__(self, images, train=False):
        features = nnx.relu(self.second(nnx.relu(self.first(images)))).mean((1, 2))
        return self.head(features), features
''',
    "my_scores.py": '''
def my_scores(scores):
    """Images whose most probable class has a probability near one half."""
    return -abs(scores.confidence - 0.5)
''',
    "my_rule.py": '''
def one_training(n, plans, config):
    """Stop after the first training, when no other rule can know enough."""
    return len(plans) >= 1
''',
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own(folder, monkeypatch):
    """The three strategies as objects."""
    monkeypatch.syspath_prepend(folder)
    import my_net
    import my_rule
    import my_scores

    yield my_net.MyNet, my_scores.my_scores, my_rule.one_training
    for name in FILES:
        del sys.modules[name.removesuffix(".py")]


def test_they_pass_the_conformance_checks(own):
    net, scores, rule = own
    testing.check_architecture(net, classes=(2,))
    testing.check_acquisition(scores)
    testing.check_stop_rule(rule)


def run_command(folder, *words):
    command = "run --data fashion_mnist_10k --width 4 --recipe brief --epsilon 0.3 --log run.jsonl"
    with contextlib.suppress(SystemExit):  # of a command that succeeds
        app([*command.split(), *words], exit_on_error=False)
    return RecordedRun(folder / "run.jsonl")


def test_the_command_line_takes_them_by_the_names_of_their_files(folder, monkeypatch):
    words = (
        "--architectures",
        "my_net.py:MyNet",
        "--training-price",
        "1e-6",
        "--acquisition",
        "my_scores.py:my_scores",
    )
    run = run_command(folder, *words, "--stop-rules", "my_rule.py:one_training")
    assert run.is_finished
    assert run.end["stop"].endswith("my_rule.py:one_training")
    assert len(run.outcome.history) == 1
    monkeypatch.chdir(folder.parent)  # a finished log is shown from anywhere, without the files
    for name in FILES:
        (folder / name).unlink()
    assert RecordedRun(folder / "run.jsonl").outcome.stop == run.end["stop"]


def test_python_takes_them_as_objects_and_the_classifier_comes_along(own, folder):
    net, scores, rule = own
    images = load("fashion_mnist_10k", first=500, downsample=2)
    settings = dict(
        classes=images.classes,
        config=Config(epsilon=0.5, machine_epsilon=None),
        width=8,
        recipe="brief",
        log="run.jsonl",
    )
    strategies = dict(architecture=net, acquisition=scores, stop_rules=[rule])
    result = label(images.images, annotate=lambda at: images.labels[at], **strategies, **settings)
    assert (result.outcome.architecture, result.outcome.stop) == ("MyNet", "one_training")
    predicted = result.classifier.predict(images.images)
    machine = result.by_machine
    assert machine.any()
    assert np.array_equal(predicted.label[machine], result.labels[machine])
    result.classifier.save("net.npz")
    again = Classifier.load("net.npz").predict(images.images)
    assert np.array_equal(again.label, predicted.label)


def test_a_strategy_that_fails_is_named_in_one_line(folder, capsys):
    (folder / "my_scores.py").write_text("def my_scores(scores):\n    return scores.margin[:3]\n")
    from mcal_jax.errors import McalError

    with pytest.raises(McalError, match=r"acquisition function .*my_scores\.py:my_scores' returned shape \[3\]"):
        run_command(folder, "--acquisition", "my_scores.py:my_scores")
