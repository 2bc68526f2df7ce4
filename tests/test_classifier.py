"""A saved classifier predicts the same in another process, without the pool; what can't be loaded is told."""

import subprocess
import sys

import jax
import numpy as np
import outsider_net
import pytest

from mcal_jax.errors import McalError
from mcal_jax.training.classifier import Classifier
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.trainer import Trainer

NAMES = ("dark", "grey", "bright")
FILE = f"{outsider_net.__file__}:OutsiderNet"


def images_of(n, channels=1):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    return (rng.integers(0, 90, (n, 6, 5, channels)) + 80 * labels[:, None, None, None]).astype(np.uint8), labels


def trained(architecture, channels=1):
    images, labels = images_of(100, channels)
    recipe = RECIPES["fast"]._replace(batch=16, epochs=15)
    trainer = Trainer(images, 3, architecture=architecture, width=4, recipe=recipe)
    return trainer, trainer.fit(np.arange(60), labels[:60], jax.random.key(0)), images, labels


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    trainer, model, images, labels = trained(FILE)
    classifier = Classifier.from_trainer(trainer, model, NAMES)
    path = classifier.save(tmp_path_factory.mktemp("saved") / "classifier.npz")
    return path, classifier, trainer.score(model, np.arange(100)), images, labels


def test_predictions_are_the_scores_of_the_trainer(saved):
    _, classifier, scores, images, labels = saved
    found = classifier.predict(images)
    np.testing.assert_array_equal(found.label, scores.label)
    np.testing.assert_allclose(found.margin, scores.margin, atol=1e-6)
    assert (found.label.dtype, found.margin.dtype) == (np.int32, np.float32)
    assert list(found.class_name) == [NAMES[label] for label in found.label]
    assert np.mean(found.label[60:] == labels[60:]) > 0.9
    np.testing.assert_array_equal(classifier.predict(images[..., 0]).label, found.label)
    assert [len(part) for part in classifier.predict(images[:0])] == [0, 0, 0]


def test_another_process_predicts_the_same_without_pool_and_training_data(saved, tmp_path):
    path, classifier, _, images, _ = saved
    np.save(tmp_path / "images.npy", images)
    code = f"""
import numpy as np
from mcal_jax.training.classifier import Classifier
found = Classifier.load({str(path)!r}).predict(np.load({str(tmp_path / "images.npy")!r}))
np.savez({str(tmp_path / "found.npz")!r}, label=found.label, margin=found.margin, name=found.class_name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    expected = classifier.predict(images)
    with np.load(tmp_path / "found.npz") as found:
        for name, values in zip(("label", "margin", "name"), expected, strict=True):
            np.testing.assert_array_equal(found[name], values)


def test_the_papers_nets_are_saved_too(tmp_path):
    trainer, model, images, _ = trained("resnet18", channels=3)
    path = Classifier.from_trainer(trainer, model, NAMES).save(tmp_path / "net.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["net.npz"]
    again = Classifier.load(path)
    assert again.class_names == NAMES
    np.testing.assert_array_equal(again.predict(images).label, trainer.score(model, np.arange(100)).label)


def test_images_of_another_size_or_type_are_refused(saved):
    _, classifier, _, images, _ = saved
    for wrong in (images[:, :5], np.repeat(images, 3, 3), images.astype(float), images[0]):
        with pytest.raises(McalError, match=r"takes uint8 images of 6x5x1, \[n, h, w, c\]; it was given") as error:
            classifier.predict(wrong)
        assert "\n" not in str(error.value)


def test_files_that_are_no_classifier_are_told_in_one_line(saved, tmp_path):
    content = saved[0].read_bytes()
    middle = bytearray(content)
    middle[len(content) // 2] ^= 0xFF
    cases = {"half": content[: len(content) // 2], "empty": b"", "text": b"no archive", "flipped": bytes(middle)}
    for name, damaged in cases.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(McalError, match=f"{name} is not a classifier of mcal_jax, or is damaged") as error:
            Classifier.load(tmp_path / name)
        assert "\n" not in str(error.value)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(McalError, match="is not a classifier of mcal_jax"):
        Classifier.load(tmp_path / "other.npz")
    with pytest.raises(McalError, match="can't read"):
        Classifier.load(tmp_path / "missing.npz")


def test_an_architecture_that_is_unknown_or_another_is_told(saved, tmp_path):
    _, classifier, *_ = saved
    one = classifier._members[0]
    state = classifier.header, [np.asarray(leaf) for leaf in jax.tree.leaves((one.params, one.stats))]
    with pytest.raises(McalError, match="unknown architecture 'resnet81': did you mean 'resnet18'"):
        Classifier(state[0]._replace(architecture="resnet81"), state[1])
    with pytest.raises(McalError, match="the weights are not those of the architecture 'cnn18'"):
        Classifier(state[0]._replace(architecture="cnn18"), state[1])
    classifier.header, kept = state[0]._replace(architecture="resnet81"), classifier.header
    path = classifier.save(tmp_path / "renamed.npz")
    classifier.header = kept
    with pytest.raises(McalError, match=r"renamed.npz: unknown architecture 'resnet81'"):
        Classifier.load(path)


def test_as_many_names_as_classes_are_needed(saved):
    trainer, model, *_ = trained(FILE)
    with pytest.raises(McalError, match="3 classes was given 2 names"):
        Classifier.from_trainer(trainer, model, ("a", "b"))
