"""Training and scoring by PyTorch, as a user would write it who knows how to make it fast.

The pool stays on the device as uint8, channels last; mini-batches are gathered, shifted and mirrored there by
tensor operations, so no data loader is in the way; bfloat16 autocast on an accelerator, float32 on a CPU.
"""

import math
import time
from functools import partial
from typing import NamedTuple

import numpy as np
import peers
import torch
from torch import nn
from torch.nn import functional as F

from mcal_jax.algorithm.acquisition import Scores

UNTIMED = 6
"""Steps of a compiled net that trace and record it."""


class ConvNorm(nn.Sequential):
    def __init__(self, c: peers.Conv):
        # oneDNN's gradient of a 1x1 convolution of stride 2 from fewer than 8 channels corrupts the heap (PyTorch
        # 2.13, 6x6 pixels, 4 -> 8): there a CPU takes the pixels first, and the stride is 1: the same product.
        sliced = c.kernel == 1 and c.inputs < 8 and not torch.cuda.is_available()
        every = c.stride if sliced else 1
        conv = nn.Conv2d(c.inputs, c.features, c.kernel, c.stride // every, padding=c.kernel // 2, bias=False)
        nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
        super().__init__(conv, nn.BatchNorm2d(c.features))
        self.every = every

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x[:, :, :: self.every, :: self.every] if self.every > 1 else x)


class Block(nn.Module):
    def __init__(self, block: peers.Block):
        super().__init__()
        self.convs = nn.ModuleList(map(ConvNorm, block.convs))
        self.project = ConvNorm(block.project) if block.project else nn.Identity()
        self.skip = block.skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convs[0](x)
        for conv in self.convs[1:]:
            y = conv(F.relu(y))
        return F.relu(y + self.project(x) if self.skip else y)


class Net(nn.Module):
    def __init__(self, layers: peers.Net, classes: int):
        super().__init__()
        self.stem = ConvNorm(layers.stem)
        self.blocks = nn.Sequential(*map(Block, layers.blocks))
        self.head = nn.Linear(layers.features, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))


def efficientnet_b0(images: tuple[int, int, int], width: int, classes: int) -> nn.Module:
    """torchvision's EfficientNetB0 at ``width``, with the steps left out that ours leaves out for small images."""
    from torchvision.models import efficientnet

    from mcal_jax.training.efficientnet import DROPOUT, STANDARD_WIDTH, kept_strides  # imports JAX

    stages, last = efficientnet._efficientnet_conf("efficientnet_b0", width_mult=width / STANDARD_WIDTH, depth_mult=1.0)
    net = efficientnet.EfficientNet(stages, dropout=DROPOUT, num_classes=classes, last_channel=last)
    steps = [net.features[0][0], *(c for c in net.features[1:].modules() if isinstance(c, nn.Conv2d) and c.groups > 1)]
    strides = kept_strides([conv.stride[0] for conv in steps], min(images[:2]))
    for conv, stride in zip(steps, strides, strict=True):
        conv.stride = (stride, stride)
    if images[2] != 3:
        stem = net.features[0][0]
        net.features[0][0] = nn.Conv2d(images[2], stem.out_channels, 3, stem.stride, padding=1, bias=False)
    return net


class Model(NamedTuple):
    """A trained net, the training images of its timed steps, and their seconds."""

    net: nn.Module
    images: int
    seconds: float


class Trainer:
    """The interface of ``mcal_jax.training.trainer.Trainer``. ``compiled``: a mode of torch.compile, or None for eager.

    A compiled net records its kernels anew for the weights of each training: its first steps are not timed.
    """

    def __init__(
        self,
        images: np.ndarray,
        classes: int,
        *,
        architecture: str = "resnet18",
        width: int = 64,
        recipe: peers.Recipe | None = None,
        compiled: str | None = None,
    ):
        self.recipe, self.compiled = recipe or peers.Recipe(), compiled
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.score_batch = 1024 if self.cuda else 256
        torch.backends.cudnn.benchmark = True
        shape = images.shape[1:4]
        if architecture == "efficientnet_b0":
            self.build = partial(efficientnet_b0, shape, width, classes)
        else:
            self.build = partial(Net, peers.net(architecture, shape[2], width), classes)
        self.pool = torch.from_numpy(images).to(self.device)
        mean, std = images.mean((0, 1, 2)), np.maximum(images.std((0, 1, 2)), 1.0)
        self.mean, self.std = (torch.tensor(a, dtype=torch.float32, device=self.device) for a in (mean, std))
        self.rows, self.columns = (torch.arange(n, device=self.device) for n in images.shape[1:3])

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.build().parameters())

    def choose_threads(self, steps: int = 4) -> int:
        """On a CPU, go on with one thread or with one a core, whichever trains faster, and tell how many.

        Small nets are often faster on one: two threads wait for each other after every operation. To be called
        before anything is compiled. Times the net uncompiled.
        """
        settings = self.compiled, self.recipe
        self.compiled, self.recipe = None, self.recipe._replace(epochs=1, power=0)
        found = {}
        for threads in () if self.cuda else (1, torch.get_num_threads()):
            torch.set_num_threads(threads)
            n = np.arange(min(steps * self.recipe.batch, len(self.pool)))
            found[threads] = min(self.fit(n, np.zeros(len(n), int), 0).seconds for _ in range(2))
        self.compiled, self.recipe = settings
        if found:
            torch.set_num_threads(min(found, key=lambda threads: found[threads]))
        return torch.get_num_threads()

    def fit(self, indices: np.ndarray, labels: np.ndarray, seed: int) -> Model:
        """A net trained from scratch on the images at ``indices`` [m], labelled ``labels`` [m]."""
        torch.manual_seed(seed)
        recipe, steps = self.recipe, self.recipe.steps(len(indices))
        net = self.build().to(self.device, memory_format=torch.channels_last)
        matrices = [p for p in net.parameters() if p.ndim > 1]
        vectors = [p for p in net.parameters() if p.ndim < 2]
        optimizer = torch.optim.SGD(
            [{"params": matrices, "weight_decay": recipe.decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: recipe.factor(i / steps))
        if self.compiled:
            net = torch.compile(net, mode=self.compiled)
        orders = [torch.randperm(len(indices)) for _ in range(math.ceil(steps * recipe.batch / len(indices)))]
        order = torch.cat(orders)[: steps * recipe.batch].view(steps, recipe.batch)
        picks = torch.from_numpy(np.asarray(indices, np.int64))[order].to(self.device)
        targets = torch.from_numpy(np.asarray(labels, np.int64))[order].to(self.device)
        net.train()
        untimed = min(UNTIMED, steps - 1) if self.compiled else 0
        began = self.now()
        for i, (pick, target) in enumerate(zip(picks, targets, strict=True)):
            if i == untimed:
                began = self.now()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
                logits = net(self.augmented(pick))
                loss = F.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        return Model(net, (steps - untimed) * recipe.batch, self.now() - began)

    def augmented(self, pick: torch.Tensor) -> torch.Tensor:
        """The images at ``pick`` [b], each shifted (edge pixels repeated) and mirrored at random, normalised."""
        places = []
        for axis in (self.rows, self.columns):
            reach = self.recipe.reach(len(axis))
            shift = torch.randint(-reach, reach + 1, (len(pick), 1), device=self.device)
            places.append((axis + shift).clamp(0, len(axis) - 1))
        rows, columns = places
        if self.recipe.flip:
            mirrored = torch.rand(len(pick), 1, device=self.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        return self.normalised(self.pool[pick[:, None, None], rows[:, :, None], columns[:, None, :]])

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [b, h, w, c] -> float32 [b, c, h, w], channels last in memory."""
        return ((images.float() - self.mean) / self.std).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def score(self, model: Model, indices: np.ndarray) -> Scores:
        """Scores of the images at ``indices`` [m], in that order."""
        model.net.eval()
        parts = []
        for pick in torch.from_numpy(np.asarray(indices, np.int64)).to(self.device).split(self.score_batch):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
                logits = model.net(self.normalised(self.pool[pick]))
            logs = F.log_softmax(logits.float(), 1)
            p = logs.exp()
            (first, second), label = p.topk(2, 1).values.unbind(1), p.argmax(1)
            parts.append((label.int(), first - second, -(p * logs).sum(1), first))
        return Scores(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))

    def now(self) -> float:
        """Seconds on a clock, when all is done that was asked of the device."""
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()
