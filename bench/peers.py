"""What the rivals of the benchmarks share: the nets layer by layer, the recipe, counts. Imports no framework.

The nets are written down here a second time, on purpose: a rival built from this page whose number of parameters
is not that of the net in ``mcal_jax.training.nets`` is an error, not a result.
"""

import importlib.util
import math
import os
from collections.abc import Iterator
from typing import NamedTuple

from mcal_jax.errors import McalError

Shape = tuple[int, int, int]
"""Height, width, channels of an image."""


class Conv(NamedTuple):
    """A convolution without bias, "SAME" padding, followed by batch norm."""

    inputs: int
    features: int
    kernel: int
    stride: int


class Block(NamedTuple):
    """Convolutions one after another; ``project`` on the skip connection; ``skip``: whether there is one."""

    convs: tuple[Conv, ...]
    project: Conv | None
    skip: bool


class Net(NamedTuple):
    """Stem, blocks, mean over the pixels, linear head from ``features``."""

    stem: Conv
    blocks: tuple[Block, ...]
    features: int


KINDS = {
    # bottleneck blocks or basic ones, blocks a stage, skip connections
    "cnn18": (False, (2, 2, 2, 2), False),
    "resnet18": (False, (2, 2, 2, 2), True),
    "resnet50": (True, (3, 4, 6, 3), True),
}
"""The nets of the paper, after He et al. (2016) for small images: a 3x3 stem without pooling."""


def net(architecture: str, channels: int, width: int) -> Net:
    """The layers of an architecture whose first stage has ``width`` filters."""
    bottleneck, stages, skip = KINDS[architecture]
    stem, inputs, blocks = Conv(channels, width, 3, 1), width, []
    for stage, n in enumerate(stages):
        for i in range(n):
            filters, stride = width * 2**stage, 2 if stage and not i else 1
            shapes = [(filters, 1, 1), (filters, 3, stride), (4 * filters, 1, 1)]
            before, convs = inputs, []
            for features, kernel, step in shapes if bottleneck else [(filters, 3, stride), (filters, 3, 1)]:
                convs.append(Conv(before, features, kernel, step))
                before = features
            changes = skip and (before != inputs or stride != 1)
            blocks.append(Block(tuple(convs), Conv(inputs, before, 1, stride) if changes else None, skip))
            inputs = before
    return Net(stem, tuple(blocks), inputs)


class Size(NamedTuple):
    """Trained parameters of a net, and the multiply-adds of one image once forward."""

    parameters: int
    multiply_adds: int


def size(architecture: str, shape: Shape, width: int, classes: int) -> Size:
    """The size of a net for images of ``shape``. That of EfficientNetB0, of which no second plan is here, is counted in
    ours by XLA, batch norms included (about 4 %); tests/test_efficientnet.py has the published one."""
    if architecture == "efficientnet_b0":
        return _efficientnet_size(shape, width, classes)
    layers = net(architecture, shape[2], width)
    return Size(parameters(layers, classes), multiply_adds(layers, shape, classes))


def _efficientnet_size(shape: Shape, width: int, classes: int) -> Size:
    import jax
    import numpy as np
    from flax import nnx

    from mcal_jax.training.devices import ACCELERATOR
    from mcal_jax.training.nets import build

    built = build("efficientnet_b0", classes=classes, channels=shape[2], width=width, backend=ACCELERATOR,
                  rng=np.random.default_rng(0))  # fmt: skip
    count = sum(p.size for p in jax.tree.leaves(nnx.state(built, nnx.Param)))
    cost = jax.jit(lambda x: built(x)[0]).lower(jax.ShapeDtypeStruct((8, *shape), np.float32)).cost_analysis()
    return Size(count, round(cost["flops"] / 2 / 8))


def parameters(layers: Net, classes: int) -> int:
    """Number of trained parameters: kernels, scale and bias of each batch norm, head and its bias."""
    kernels = sum(c.kernel**2 * c.inputs * c.features + 2 * c.features for c, _ in _convolutions(layers, 1, 1))
    return kernels + (layers.features + 1) * classes


def multiply_adds(layers: Net, shape: Shape, classes: int) -> int:
    """Multiply-adds of the convolutions and of the head, for one image once forward."""
    convs = sum(c.kernel**2 * c.inputs * c.features * pixels for c, pixels in _convolutions(layers, *shape[:2]))
    return convs + layers.features * classes


def _convolutions(layers: Net, height: int, width: int) -> Iterator[tuple[Conv, int]]:
    """Every convolution with the number of pixels that it puts out."""
    yield layers.stem, height * width
    for block in layers.blocks:
        entry = height, width
        for conv in block.convs:
            height, width = (math.ceil(n / conv.stride) for n in (height, width))
            yield conv, height * width
        if block.project:
            out = [math.ceil(n / block.project.stride) for n in entry]
            yield block.project, out[0] * out[1]


def training_flops(multiply_adds: int) -> int:
    """Model FLOPs of training on one image: two a multiply-add, and a backward pass is twice a forward one."""
    return 6 * multiply_adds


PEAK_FLOPS = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}
"""Dense bfloat16 FLOP/s of devices by how their names begin (data sheets; H100: the SXM model)."""


def peak_flops(device: str) -> float | None:
    return next((peak for name, peak in PEAK_FLOPS.items() if device.startswith(name)), None)


class Recipe(NamedTuple):
    """The numbers of recipe ``short`` (mcal_jax.training.recipes), for other frameworks: SGD with Nesterov momentum,
    L2 on matrices and convolutions, linear warm-up over a fifth of the steps, then a cosine to zero."""

    epochs: float = 24
    power: float = 1 / 3
    batch: int = 64
    learning_rate: float = 0.2
    momentum: float = 0.9
    decay: float = 5e-4
    label_smoothing: float = 0.1
    shift: float = 0.05
    flip: bool = True
    warmup: float = 0.2
    start: float = 0.1

    def steps(self, size: int) -> int:
        """Number of mini-batches for |B| = ``size``."""
        return max(1, round(self.epochs * (1000 / size) ** self.power)) * math.ceil(size / self.batch)

    def factor(self, done: float) -> float:
        """Factor on the learning rate when the fraction ``done`` of the training is done."""
        if done < self.warmup:
            return self.start + (1 - self.start) * done / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))

    def reach(self, n: int) -> int:
        """Most pixels of ``n`` that an image is shifted by."""
        return math.floor(self.shift * n + 0.5)


def check_installed(modules: list[str]) -> None:
    """Raises McalError for the first of ``modules`` that is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise McalError(f"{module} is not installed; all that is measured comes with: pip install -e '.[bench]'")


def load() -> float:
    """Load average of the last minute; says so if the machine is too busy for timings to mean anything."""
    found = os.getloadavg()[0]
    if found > 0.5:
        print(f"this machine is busy (load {found:.1f}): timings, and ratios too, are not to be trusted", flush=True)
    return found


def check_parameters(who: str, found: int, wanted: int) -> None:
    """Raises McalError if a rival's net is not of the same size as ours."""
    if found != wanted:
        raise McalError(f"the net of {who} has {found:,} parameters, not {wanted:,}")
