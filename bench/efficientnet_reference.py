"""EfficientNetB0 beside Keras's on equal weights: the largest difference of the logits, and Keras's logits.

python bench/efficientnet_reference.py

tests/test_efficientnet.py holds the logits that this prints.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from efficientnet_example import IMAGES, example

BATCH_NORM_EPSILON = 1e-3 - 1e-5
"""Keras's less ours, which is added to the variances here, so that both nets normalise by the same."""


def keras_logits(net) -> np.ndarray:
    """The logits of Keras's net with the weights of ``net``."""
    import keras

    model = keras.applications.EfficientNetB0(weights=None, input_shape=(*IMAGES.shape[1:3], 3), classes=10,
                                              classifier_activation=None)  # fmt: skip

    def conv(name, ours):
        model.get_layer(name).set_weights([np.asarray(ours.kernel[...])])

    def norm(name, ours):
        values = (ours.scale, ours.bias, ours.mean, ours.var)
        scale, bias, mean, var = (np.asarray(value[...]) for value in values)
        model.get_layer(name).set_weights([scale, bias, mean, var - BATCH_NORM_EPSILON])

    def dense(name, ours):
        kernel = np.asarray(ours.kernel[...]) / ours.kernel.shape[0] ** 0.5
        model.get_layer(name).set_weights([kernel[None, None], np.asarray(ours.bias[...])])

    conv("stem_conv", net.stem)
    norm("stem_bn", net.stem_norm)
    names = [layer.name.removesuffix("_dwconv") for layer in model.layers if layer.name.endswith("_dwconv")]
    for name, block in zip(names, net.blocks, strict=True):
        if block.expand:
            conv(f"{name}_expand_conv", block.expand[0])
            norm(f"{name}_expand_bn", block.expand[1])
        model.get_layer(f"{name}_dwconv").set_weights([np.asarray(block.filter.kernel[...])[..., None]])
        norm(f"{name}_bn", block.filter_norm)
        dense(f"{name}_se_reduce", block.gate.squeeze)
        dense(f"{name}_se_expand", block.gate.excite)
        conv(f"{name}_project_conv", block.project)
        norm(f"{name}_project_bn", block.norm)
    conv("top_conv", net.top)
    norm("top_bn", net.top_norm)
    model.get_layer("predictions").set_weights([np.asarray(net.head[...]), np.asarray(net.bias[...])])
    after_scaling = keras.Model(model.get_layer("stem_conv_pad").input, model.output)
    return np.asarray(after_scaling.predict(IMAGES, verbose=0))


if __name__ == "__main__":
    net = example()
    ours, theirs = np.asarray(jax.jit(net)(IMAGES)[0]), keras_logits(net)
    print(f"largest difference {np.abs(ours - theirs).max():.2e}, logits up to {np.abs(theirs).max():.2f}")
    print(np.array2string(theirs, precision=7, separator=", "))
