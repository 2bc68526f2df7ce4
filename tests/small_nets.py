"""Nets of one block, each compiled in seconds: for tests of what is done with a net, whichever it is."""

from functools import partial

from mcal_jax.training import nets

tiny = partial(nets.ResNet, nets.basic, (1, 1))
resnet18 = partial(nets.ResNet, nets.basic, (1,))
cnn18 = partial(nets.ResNet, nets.basic, (1,), skip=False)
