"""Features in the place of images, and beside them: checked, standardised, trained on, priced, logged and raced."""

import contextlib
from math import erf
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import outsider_head
import outsider_net
import pytest

import mcal_jax as mcal
from mcal_jax import Config, McalError, Session, from_arrays, label, load
from mcal_jax.algorithm.config import PerHour
from mcal_jax.algorithm.costs import PAPER_PRICES, RESNET18, head_prices
from mcal_jax.cli.app import app
from mcal_jax.data import fingerprint
from mcal_jax.runs.recorded import RecordedRun
from mcal_jax.runs.report import check_line
from mcal_jax.runs.settings import Run, home
from mcal_jax.testing import check_architecture
from mcal_jax.training.classifier import Classifier
from mcal_jax.training.heads import Linear
from mcal_jax.training.pool import look_up, pool_of
from mcal_jax.training.programs import key_of
from mcal_jax.training.trainer import Trainer
from mcal_jax.worlds.trained import TrainedWorld

NAMES = ["a", "b", "c"]
N, D = 600, 8
NET = f"{Path(outsider_net.__file__)}:OutsiderNet"
OWN = f"{Path(outsider_head.__file__)}:OutsiderHead"
CONFIG = Config(epsilon=0.1, label_price=0.1)


def blobs(n=N, d=D, distance=4.0, seed=0):
    """Features float32 [n, d] of three classes, normal about three corners, and labels [n]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.int32)
    centres = distance / 2**0.5 * np.eye(3, d)
    return (centres[labels] + rng.standard_normal((n, d))).astype(np.float32), labels


def pictures(labels, seed=0):
    """Images uint8 [n, 6, 6, 1] that say nothing of the labels."""
    return np.random.default_rng(seed).integers(0, 256, (len(labels), 6, 6, 1)).astype(np.uint8)


FEATURES, LABELS = blobs()


def ask(indices):
    return LABELS[indices]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((3, 2), int), "are int64; they must be floats: features.astype"),
        (np.zeros((3, 2, 2)), r"shape \(3, 2, 2\); .*reshape\(len\(features\), -1\)"),
        (np.zeros(3), r"shape \(3,\); it must be \[n, d\]"),
        (np.zeros((0, 2)), r"empty: their array has shape \(0, 2\)"),
        (np.array([[0, 1], [np.nan, 2]]), "feature 0 of row 1 is nan"),
        (np.array([[0, 1], [3, -1e39]]), r"feature 1 of row 1 is -1e\+39"),
        ([[1.0, 2.0], [3.0]], "differ in length"),
    ],
)
def test_what_is_wrong_with_features_is_told(features, message):
    with pytest.raises(McalError, match=rf"^features of 'mine' .*{message}"):
        from_arrays(name="mine", features=features)


def test_a_sparse_matrix_is_told_what_to_become():
    sparse = pytest.importorskip("scipy.sparse").eye(3, format="csr")
    with pytest.raises(McalError, match=r"sparse matrix: features\.toarray\(\)"):
        label(sparse, annotate=ask, classes=NAMES)


def test_rows_of_floats_are_features_and_keep_their_precision():
    for dtype, kept in ((np.float16, np.float16), (np.float32, np.float32), (np.float64, np.float32)):
        dataset = from_arrays(FEATURES.astype(dtype), LABELS)
        assert dataset.features.dtype == kept
        assert not dataset.has_images
        assert len(dataset.images) == N
    assert from_arrays(FEATURES).features is FEATURES  # nothing is copied
    with pytest.raises(McalError, match="600 images and features of 599"):
        from_arrays(pictures(LABELS), features=FEATURES[1:])


def test_a_file_of_features_is_loaded_in_part_and_by_class(tmp_path):
    file = tmp_path / "pool.npz"
    np.savez(file, features=FEATURES, images=pictures(LABELS), labels=LABELS)
    both = load(file, first=50)
    assert both.has_images
    assert np.array_equal(both.features, FEATURES[:50])
    np.savez(file, features=FEATURES, labels=LABELS)
    alone = load(file, per_class=20)
    assert np.array_equal(np.bincount(alone.labels), [20, 20, 20])
    assert np.array_equal(alone.features, alone.images)
    with pytest.raises(McalError, match="downsample is for images"):
        load(file, downsample=2)


def test_the_fingerprint_is_of_features_too():
    changed = FEATURES.copy()
    changed[3, 2] += 1
    images = pictures(LABELS)
    pools = [
        from_arrays(images),
        *(from_arrays(images, features=f) for f in (FEATURES, changed)),
        from_arrays(FEATURES),
    ]
    assert len({str(fingerprint(pool)) for pool in pools}) == 4
    assert "features" not in fingerprint(pools[0])
    assert fingerprint(pools[1])["images"] == fingerprint(pools[0])["images"]


def test_the_example_on_the_page_about_features_runs(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    page = (home() / "docs" / "features.md").read_text(encoding="utf-8")
    scope = {}
    monkeypatch.chdir(tmp_path)
    exec(page.split("# not run without scikit-learn\n")[1].split("```")[0], scope)
    assert scope["wrong"] < 0.05
    assert scope["result"].bill.savings > 0.3


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_features_are_seen_with_mean_0_and_variance_1_and_constant_ones_as_0(dtype):
    features = FEATURES.copy()
    features[:, 1], features[:, 2] = 1000.1, 0
    features[:, 3] = 500 + 20 * features[:, 3]
    seen = np.asarray(look_up(pool_of(features.astype(dtype)), jnp.arange(N)))
    varying = [0, *range(3, D)]
    assert np.abs(seen[:, [1, 2]]).max() < 1e-6
    assert np.allclose(seen[:, varying].mean(0), 0, atol=1e-3)
    assert np.allclose(seen[:, varying].std(0), 1, atol=1e-3)


@pytest.mark.parametrize("head", ["linear", "mlp", OWN])
def test_heads_are_architectures(head):
    check_architecture(head, classes=(2, 3))


def test_a_linear_head_comes_near_the_bayes_rate():
    """Two normal classes at distance r: no rule errs less than Phi(-r / 2)."""
    rng = np.random.default_rng(0)
    labels = np.arange(6000) % 2
    features = rng.standard_normal((6000, 20)).astype(np.float32)
    features[:, 0] += 3 * labels
    trainer = Trainer(features, 2, architecture="linear", recipe="linear")
    model = trainer.fit(np.arange(1000), labels[:1000], key_of(0))
    error = np.mean(trainer.score(model, np.arange(1000, 6000)).label != labels[1000:])
    bayes = (1 - erf(1.5 / 2**0.5)) / 2
    assert bayes - 0.012 < error < bayes + 0.02  # three standard errors below, and what 1,000 labels leave


def test_many_heads_train_side_by_side():
    trainer = Trainer(FEATURES, 3, architecture="linear", recipe="linear")
    keys = [key_of(seed) for seed in (0, 1)]
    for together, key in zip(trainer.fit_many(np.arange(100), LABELS[:100], keys), keys, strict=True):
        alone = trainer.fit(np.arange(100), LABELS[:100], key)
        scores = [trainer.score(model, np.arange(N)).confidence for model in (together, alone)]
        assert np.allclose(*scores, atol=1e-4)


@pytest.mark.parametrize("acquisition", ["margin", "kcenter"])
def test_features_are_labelled_within_the_bound(tmp_path, acquisition):
    result = label(
        FEATURES,
        annotate=ask,
        classes=NAMES,
        config=CONFIG,
        acquisition=acquisition,
        emit=None,
        log=tmp_path / "a.jsonl",
    )
    assert result.outcome.architecture == "linear"
    assert np.mean(result.labels != LABELS) < 0.1
    assert result.bill.savings > 0.4
    assert len(result.to_frame()) == N
    assert check_line(tmp_path / "a.jsonl")[1]
    with pytest.raises(McalError, match="features alone, there are no images to show"):
        result.plot.gallery(result.images)


def test_features_have_no_mirror_images_whatever_the_recipe_is():
    result = label(FEATURES, annotate=ask, classes=NAMES, config=CONFIG, architecture="linear@short", emit=None)
    assert result.record.job.config.ranking == "averaged"
    assert np.mean(result.labels != LABELS) < 0.1
    assert np.mean(result.classifier.predict(FEATURES).label != LABELS) < 0.2


def test_a_session_on_features_goes_on_and_knows_its_features(tmp_path):
    log, other = tmp_path / "run.jsonl", FEATURES.copy()
    other[0, 0] += 1
    settings = dict(classes=NAMES, config=CONFIG, architecture="mlp")
    whole = label(FEATURES, annotate=ask, emit=None, **settings)
    for _ in range(3):
        with Session(FEATURES, log=log, **settings) as session:
            batch = session.ask()
            session.tell(batch, LABELS[batch.indices])
    with pytest.raises(McalError, match="the features of arrays are not those"):
        Session(other, log=log, **settings)
    resumed = label(FEATURES, annotate=ask, emit=None, log=log, **settings)
    assert np.array_equal(resumed.labels, whole.labels)
    assert resumed.bill == whole.bill


def test_the_classifier_of_features_comes_along(tmp_path):
    result = label(FEATURES, annotate=ask, classes=NAMES, config=CONFIG, emit=None)
    path = result.classifier.save(tmp_path / "classifier.npz")
    new, truth = blobs(seed=1)
    found = Classifier.load(path).predict(new.astype(np.float64))
    assert np.array_equal(found.label, result.classifier.predict(new).label)
    assert np.mean(found.label == truth) > 0.85
    for wrong, message in ((new[:, 1:], r"takes floats \[n, 8\]"), (np.full((2, D), np.nan), "finite features")):
        with pytest.raises(McalError, match=message):
            result.classifier.predict(wrong)


def test_heads_race_nets_where_there_are_images_too():
    """The images say nothing, the features all."""
    images = pictures(LABELS)
    settings = dict(classes=NAMES, config=CONFIG, width=4, recipe="brief", emit=None)
    result = label(images, features=FEATURES, annotate=ask, architecture=["linear", NET], **settings)
    assert [(one.architecture, one.won) for one in result.outcome.race] == [("linear", True), (NET, False)]
    assert np.mean(result.labels != LABELS) < 0.1


def test_an_architecture_without_its_input_is_told_so():
    both = from_arrays(pictures(LABELS), LABELS, features=FEATURES)
    TrainedWorld(both, width=2).prepare(["linear", NET])
    for dataset, name, message in (
        (from_arrays(FEATURES, LABELS), NET, "OutsiderNet reads images, and 'arrays' has features alone"),
        (from_arrays(both.images, LABELS), "linear", "linear reads features, and 'arrays' has images alone"),
    ):
        with pytest.raises(McalError, match=message):
            TrainedWorld(dataset).prepare([name])
    with pytest.raises(McalError, match="has features already"):
        Session(FEATURES, features=FEATURES, classes=NAMES)


def test_heads_cost_their_work():
    """Weights of a head are its multiply-adds for one row."""
    prices, per_multiplication = head_prices(768, 10), PAPER_PRICES["colour"]["resnet18"] / RESNET18
    kernels = Linear(classes=10, channels=768, width=1, rng=np.random.default_rng(0)).head.kernel[...]
    assert prices["linear"] == pytest.approx(per_multiplication * kernels.size)
    assert prices["mlp"] == pytest.approx(per_multiplication * (768 * 256 + 256 * 10))
    run = Run(architectures=("resnet18", "mlp"))
    assert run.resolve(1, 768, 10).training_price.dollars["mlp"] == prices["mlp"]
    assert set(Run().resolve(1).training_price.dollars) == set(PAPER_PRICES["grey"])
    with Session(FEATURES, classes=NAMES) as session:
        assert session.log.job.config.training_price.dollars == {"linear": head_prices(D, 3)["linear"]}
    with Session(FEATURES, classes=NAMES, config=Config(training_price=PerHour())) as session:
        assert session.log.job.config.training_price == PerHour()


def execute(*words):
    """The command line, whose end is that of a process."""
    with contextlib.suppress(SystemExit):
        app(list(words), print_error=False, exit_on_error=False)


def test_the_command_line_runs_on_a_file_of_features(tmp_path, capsys):
    file, log = tmp_path / "pool.npz", tmp_path / "run.jsonl"
    np.savez(file, features=FEATURES, labels=LABELS, classes=NAMES)
    execute("run", "--data", str(file), "--log", str(log), "--epsilon", "0.1")
    assert "features, no images: architecture linear" in capsys.readouterr().out
    record = RecordedRun(log)
    assert record.delivery.true_error < 0.1
    assert record.job.config.training_price.dollars["linear"] == head_prices(D, 3)["linear"]
    execute("run", "--data", str(file), "--log", str(tmp_path / "two.jsonl"), "--architectures", "linear,mlp")
    assert len(RecordedRun(tmp_path / "two.jsonl").outcome.race) == 2
    assert mcal.Result(log).bill.savings > 0
