"""What an architecture must be, as a test that authors of one run on their own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcal_jax.errors import McalError
from mcal_jax.training import devices
from mcal_jax.training.architectures import ARCHITECTURES, reads_features
from mcal_jax.training.nets import build, name_of
from mcal_jax.training.programs import Graph, Model, key_of, split
from mcal_jax.training.recipes import RECIPES
from mcal_jax.training.trainer import Trainer

N = 48
"""Images of the pool on which an architecture is tried, more than are trained in a batch."""


@devices.our_defaults()
def check_architecture(
    architecture: str | Callable[..., Any], *, size: int = 12, width: int = 4, classes: tuple[int, ...] = (2, 3, 10)
) -> None:
    """Checks that ``architecture`` is one, as ``mcal_jax.training.architectures`` says what that is.

    It is built for grey and for colour images of ``size`` by ``size`` pixels, or where it reads features for as many as
    these have numbers, and for each number of ``classes``, and is trained for a few steps. Raises AssertionError that
    says what is wrong, and McalError for an unknown name.
    """
    name = name_of(architecture)
    if isinstance(architecture, str):
        ARCHITECTURES[architecture]  # raises McalError for an unknown name
    for channels, count in [(1, classes[0]), (3, classes[-1]), *((3, count) for count in classes[1:-1])]:
        case = f"{name} for {count} classes and {'grey' if channels == 1 else 'colour'} images"
        try:
            _check_case(case, architecture, channels, count, size, width)
        except McalError as error:
            raise AssertionError(f"{case}: {error}") from error


def _check_case(
    case: str, architecture: str | Callable[..., Any], channels: int, classes: int, size: int, width: int
) -> None:
    images, labels = _pool(channels, classes, size)
    if reads_features(architecture):
        images = images.reshape(len(images), -1).astype(np.float32)
        channels = images.shape[1]

    def make(seed: int) -> tuple[Graph, Any, Any]:
        rng = np.random.default_rng(seed)
        return split(build(architecture, classes=classes, channels=channels, width=width, rng=rng))

    graph, params, stats = make(0)
    _check_weights(case, (params, stats), make(0)[1:], make(1)[1:])
    batch = jnp.asarray((images[:16].astype(np.float32) - 128) / 64)
    for train in (False, True):
        _check_outputs(case, graph, params, stats, batch, classes, train)
    recipe = RECIPES["short"]._replace(name="check", batch=16, epochs=2, power=0, learning_rate=0.01)
    trainer = Trainer(images, classes, architecture=architecture, width=width, recipe=recipe)
    model = trainer.fit(np.arange(32), labels[:32], key_of(0))
    assert model.learning_rate == recipe.learning_rate, f"{case}: the loss does not stay finite at a rate of 0.01"
    _check_trained(case, params, model)
    scores, features = trainer.score_with_features(model, np.arange(N))
    assert np.isfinite(features).all(), f"{case}: features are not finite after a few steps of training"
    assert np.isfinite(scores.margin).all(), f"{case}: margins are not finite after a few steps of training"
    _check_independence(case, trainer, model, batch)


def _pool(channels: int, classes: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, size, size, channels] whose brightness grows with their class, and labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(N) % classes
    images = rng.integers(0, 128, (N, size, size, channels)) + (127 * labels // classes)[:, None, None, None]
    return images.astype(np.uint8), labels


def _check_weights(case: str, weights: Any, same_seed: Any, other_seed: Any) -> None:
    """Weights are float32, those of one seed are equal, and those of another seed are not."""
    leaves = [jax.tree.leaves(tree) for tree in (weights, same_seed, other_seed)]
    assert jax.tree.leaves(weights[0]), f"{case}: there is no nnx.Param, so nothing can be trained"
    for leaf in jax.tree.leaves(weights[0]):
        assert leaf.dtype == jnp.float32, f"{case}: parameters must be float32, not {leaf.dtype}"

    def equal(a: list[Any], b: list[Any]) -> bool:
        pairs = ((jnp.asarray(x), jnp.asarray(y)) for x, y in zip(a, b, strict=True))
        return all(x.shape == y.shape and bool((x == y).all()) for x, y in pairs)

    assert equal(leaves[0], leaves[1]), f"{case}: the same rng gave other weights; draw all of them from rng"
    assert not equal(leaves[0], leaves[2]), f"{case}: another rng gave the same weights; draw them from rng"


def _check_outputs(
    case: str, graph: Graph, params: Any, stats: Any, images: jax.Array, classes: int, train: bool
) -> None:
    """Logits and features have the shapes and dtypes that are wanted."""

    def call(params: Any, stats: Any, images: jax.Array) -> Any:
        return graph.merge(params, stats)(images, train=train)

    call_text = f"{case}: net(images, train={train})"
    try:
        outputs = jax.eval_shape(call, params, stats, images)
    except Exception as error:  # whatever the author's code raises is the reason given
        raise AssertionError(f"{call_text} fails: {error}") from error
    is_pair = isinstance(outputs, tuple) and len(outputs) == 2
    assert is_pair, f"{call_text} must return a pair, logits and features, not {type(outputs).__name__}"
    logits, features = outputs
    n = len(images)
    for what, array, wanted in (("logits", logits, (n, classes)), ("features", features, (n, None))):
        shape = f"[{n}, {classes}]" if what == "logits" else f"[{n}, d]"
        fits = len(array.shape) == 2 and all(w in (None, s) for s, w in zip(array.shape, wanted, strict=True))
        assert fits, f"{call_text} must return {what} of shape {shape}, not {list(array.shape)}"
        assert array.dtype == jnp.float32, f"{call_text} must return {what} in float32, not {array.dtype}"


def _check_trained(case: str, params: Any, model: Model) -> None:
    """Training changed the parameters."""
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(model.params), strict=True)
    changed = any(bool((before != after).any()) for before, after in pairs)
    assert changed, f"{case}: training left all parameters as they were; logits must depend on them"


def _check_independence(case: str, trainer: Trainer, model: Model, images: jax.Array) -> None:
    """What an image's logits and features are does not depend on the batch that it is scored in."""

    def score(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return trainer.net.merge(model.params, model.stats)(images, train=False)

    whole = score(images)
    parts = [score(images[:4]), score(jnp.concatenate([images[4:], 3 + 5 * images[:4]]))]
    for what, together, first, second in zip(("logits", "features"), whole, *parts, strict=True):
        apart = jnp.concatenate([first, second[: len(images) - 4]])
        scale = float(jnp.abs(together).max()) + 1e-6
        gap = float(jnp.abs(together - apart).max()) / scale
        reason = "batch statistics must not be used where train=False"
        assert gap < 1e-2, f"{case}: the {what} of an image depend on the rest of its batch when scored; {reason}"
