"""Training and scoring by Keras 3 on TensorFlow, as a user would write it: tf.data, ``fit`` and ``predict``.

It measures speed alone: one model goes on from one ``fit`` to the next, because a new one would be traced and
compiled again, and L2 is the optimizer's weight decay, which is cheaper than one regularizer a layer.
"""

import os
import time
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import peers
import tensorflow as tf
from keras import layers as kl

from mcal_jax.algorithm.acquisition import Scores

AUTO = tf.data.AUTOTUNE


def conv_norm(x: Any, c: peers.Conv) -> Any:
    same = dict(padding="same", use_bias=False, kernel_initializer="he_uniform")
    return kl.BatchNormalization(momentum=0.9, epsilon=1e-5)(kl.Conv2D(c.features, c.kernel, c.stride, **same)(x))


def build(layers: peers.Net, images: np.ndarray, classes: int) -> keras.Model:
    """uint8 images -> logits."""
    mean, std = images.mean((0, 1, 2)), np.maximum(images.std((0, 1, 2)), 1.0)
    entry = keras.Input(images.shape[1:])
    x = kl.ReLU()(conv_norm(kl.Normalization(mean=mean, variance=std**2)(entry), layers.stem))
    for block in layers.blocks:
        y = conv_norm(x, block.convs[0])
        for conv in block.convs[1:]:
            y = conv_norm(kl.ReLU()(y), conv)
        if block.skip:
            y = kl.Add()([y, conv_norm(x, block.project) if block.project else x])
        x = kl.ReLU()(y)
    x = kl.GlobalAveragePooling2D()(x)
    return keras.Model(entry, kl.Dense(classes, kernel_initializer="zeros", dtype="float32")(x))


class Stopwatch(keras.callbacks.Callback):
    """Seconds from the first mini-batch to the end of the epoch: what ``fit`` does before is not training."""

    seconds = 0.0
    began: float | None = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.began is None:
            self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        assert self.began is not None
        self.seconds = time.perf_counter() - self.began


class Model(NamedTuple):
    """The model, the training images of the last ``fit``, and the seconds of its steps."""

    net: keras.Model
    images: int
    seconds: float


class Trainer:
    """The interface of ``mcal_jax.training.trainer.Trainer``. ``jit_compile``: as Keras chooses ("auto"), or False."""

    def __init__(
        self,
        images: np.ndarray,
        classes: int,
        *,
        architecture: str = "resnet18",
        width: int = 64,
        recipe: peers.Recipe | None = None,
        jit_compile: Any = "auto",
    ):
        self.images, self.classes, self.recipe = images, classes, recipe or peers.Recipe()
        gpu = tf.config.list_physical_devices("GPU")
        keras.mixed_precision.set_global_policy("mixed_bfloat16" if gpu else "float32")
        self.score_batch = 1024 if gpu else 256
        self.pool = tf.constant(images)
        self.net = build(peers.net(architecture, images.shape[3], width), images, classes)
        r, steps = self.recipe, 10_000
        rate = keras.optimizers.schedules.CosineDecay(
            r.start * r.learning_rate, round(steps * (1 - r.warmup)), 0.0, warmup_target=r.learning_rate,
            warmup_steps=round(steps * r.warmup),
        )  # fmt: skip
        optimizer = keras.optimizers.SGD(rate, r.momentum, nesterov=True, weight_decay=r.decay)
        optimizer.exclude_from_weight_decay(var_list=[v for v in self.net.trainable_variables if len(v.shape) < 2])
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=r.label_smoothing)
        self.net.compile(optimizer, loss, jit_compile=jit_compile)

    @property
    def parameters(self) -> int:
        return sum(int(np.prod(v.shape)) for v in self.net.trainable_variables)

    def fit(self, indices: np.ndarray, labels: np.ndarray, seed: int) -> Model:
        """The model after as many more mini-batches as the recipe gives the images at ``indices`` [m]."""
        rng = np.random.default_rng(seed)
        steps, batch = self.recipe.steps(len(indices)), self.recipe.batch
        order = np.concatenate([rng.permutation(len(indices)) for _ in range(-(-steps * batch // len(indices)))])
        order = order[: steps * batch].reshape(steps, batch)
        data = tf.data.Dataset.from_tensor_slices((indices[order], labels[order]))
        data = data.map(self.example, num_parallel_calls=AUTO).prefetch(AUTO)
        watch = Stopwatch()
        self.net.fit(data, epochs=1, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[watch])
        return Model(self.net, steps * batch, watch.seconds)

    def example(self, pick: Any, target: Any) -> tuple[Any, Any]:
        """A mini-batch: the images at ``pick`` [b], shifted and mirrored at random, and one-hot labels."""
        batch, (height, width) = self.recipe.batch, self.images.shape[1:3]
        places = []
        for n in (height, width):
            reach = self.recipe.reach(n)
            shift = tf.random.uniform((batch, 1), -reach, reach + 1, tf.int32)
            places.append(tf.clip_by_value(tf.range(n) + shift, 0, n - 1))
        rows, columns = places
        if self.recipe.flip:
            columns = tf.where(tf.random.uniform((batch, 1)) < 0.5, columns[:, ::-1], columns)
        images = tf.gather(tf.gather(self.pool, pick), rows, axis=1, batch_dims=1)
        return tf.gather(images, columns, axis=2, batch_dims=1), tf.one_hot(target, self.classes)

    def score(self, model: Model, indices: np.ndarray) -> Scores:
        """Scores of the images at ``indices`` [m], in that order."""
        logits = model.net.predict(self.images[indices], batch_size=self.score_batch, verbose=0)
        logs = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        logs -= logits.max(1, keepdims=True)
        p = np.exp(logs)
        second, first = np.partition(p, -2, axis=1)[:, -2:].T
        return Scores(p.argmax(1).astype(np.int32), first - second, -(p * logs).sum(1), first)
