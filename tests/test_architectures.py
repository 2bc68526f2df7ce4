"""An architecture from outside the package: checked, trained by its name, and priced; broken ones are told why."""

from pathlib import Path

import jax
import numpy as np
import outsider_net
import pytest

from mcal_jax.errors import McalError
from mcal_jax.runs.settings import Run
from mcal_jax.training.architectures import ARCHITECTURES
from mcal_jax.training.conformance import check_architecture
from mcal_jax.training.nets import build
from mcal_jax.training.outline import largest_activation
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.trainer import Trainer

NAME = f"{Path(outsider_net.__file__)}:OutsiderNet"


@pytest.mark.parametrize("architecture", [outsider_net.OutsiderNet, NAME])
def test_a_plain_flax_module_is_an_architecture(architecture):
    check_architecture(architecture, classes=(2, 10))


def test_the_papers_architectures_are_architectures():
    check_architecture("resnet18", classes=(3,))


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        (outsider_net.HalfPrecision, "must return logits in float32, not bfloat16"),
        (outsider_net.LogitsAlone, "must return a pair, logits and features"),
        (outsider_net.NineLogits, r"logits of shape \[16, 2\], not \[16, 9\]"),
        (outsider_net.FlatFeatures, r"features of shape \[16, d\], not \[16\]"),
        (outsider_net.BatchStatistics, "depend on the rest of its batch"),
        (outsider_net.FixedSeed, "another rng gave the same weights"),
        (outsider_net.GreyAlone, r"colour images: net\(images, train=False\) fails"),
    ],
)
def test_what_is_wrong_with_an_architecture_is_told(architecture, reason):
    with pytest.raises(AssertionError, match=f"^{architecture.__name__} for .*{reason}"):
        check_architecture(architecture, classes=(2,))


def test_a_loss_that_is_never_finite_and_wrong_arguments_are_told():
    with pytest.raises(AssertionError, match=r"^Exploding for 2 classes.*the loss is no longer finite"):
        check_architecture(outsider_net.Exploding, classes=(2,))
    with pytest.raises(McalError, match=r"'NoBackend' can't be built: .*'backend'.*width, backend and rng by name"):
        build(outsider_net.NoBackend, classes=2, channels=1, rng=np.random.default_rng(0))


def test_the_largest_activation_is_traced_where_a_net_does_not_say_it():
    net = build(outsider_net.OutsiderNet, classes=2, channels=3, width=5, rng=np.random.default_rng(0))
    assert largest_activation(net, (8, 6, 3)) == 8 * 6 * 5
    own = build("resnet18", classes=2, channels=3, width=4, rng=np.random.default_rng(0))
    assert largest_activation(own, (8, 6, 3)) == 8 * 6 * 4


def test_an_outsider_learns_by_its_name():
    images = np.random.default_rng(0).integers(0, 100, (120, 6, 6, 1), np.uint8)
    labels = np.arange(120) % 2
    images[labels == 1] += 100
    recipe = RECIPES["fast"]._replace(batch=16, epochs=20)
    trainer = Trainer(images, 2, architecture=NAME, width=4, recipe=recipe)
    model = trainer.fit(np.arange(60), labels[:60], jax.random.key(0))
    assert np.mean(trainer.score(model, np.arange(60, 120)).label == labels[60:]) > 0.9


def test_names_are_checked_without_loading_and_a_price_is_asked_for():
    with pytest.raises(McalError, match=r"unknown architecture 'resnet81': did you mean 'resnet18'"):
        Run(architectures=("resnet81",))
    with pytest.raises(McalError, match=r"unknown recipe 'fats': did you mean 'fast'"):
        Run(recipe="fats")
    with pytest.raises(McalError, match=r"no training price for 'a.py:Net'.*kind: per_hour, dollars"):
        Run(architectures=("a.py:Net",))
    for price in ({"kind": "per_hour", "dollars": 1.5}, {"kind": "per_image_epoch", "dollars": {"a.py:Net": 1e-6}}):
        assert Run(architectures=("a.py:Net",), training_price=price).architectures == ("a.py:Net",)


def test_a_registered_name_stands_for_its_class(monkeypatch):
    monkeypatch.setattr(ARCHITECTURES, "_entries", dict(ARCHITECTURES._entries))
    ARCHITECTURES.register("outsider", outsider_net.OutsiderNet)
    assert Run(architectures=("outsider",), training_price={"kind": "per_hour", "dollars": 1}).architectures[0]
    net = build("outsider", classes=2, channels=1, rng=np.random.default_rng(0))
    assert isinstance(net, outsider_net.OutsiderNet)
