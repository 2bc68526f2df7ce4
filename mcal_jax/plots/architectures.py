"""How each architecture is named and drawn, in every picture and table."""

import zlib
from typing import NamedTuple

from mcal_jax.algorithm.costs import split_recipe
from mcal_jax.plots.style import ARCHITECTURE_COLOURS, OTHER_ARCHITECTURE_COLOURS
from mcal_jax.registry import short_name


class Appearance(NamedTuple):
    """The display name of an architecture, its colour, and its marker in line plots."""

    name: str
    colour: str
    marker: str


APPEARANCES = {
    "cnn18": Appearance("CNN18", ARCHITECTURE_COLOURS["cnn18"], "s"),
    "resnet18": Appearance("ResNet18", ARCHITECTURE_COLOURS["resnet18"], "o"),
    "resnet50": Appearance("ResNet50", ARCHITECTURE_COLOURS["resnet50"], "^"),
    "efficientnet_b0": Appearance("EfficientNetB0", ARCHITECTURE_COLOURS["efficientnet_b0"], "v"),
}


def appearance(architecture: str) -> Appearance:
    """The appearance of an architecture; one without an entry has its own name and a colour that depends on it alone.

    >>> appearance("resnet18").name
    'ResNet18'
    >>> appearance("my_nets.py:MyNet").name
    'MyNet'
    >>> appearance("resnet18@short").name
    'ResNet18, short'
    """
    net, recipe = split_recipe(architecture)
    name = APPEARANCES[net].name if net in APPEARANCES else short_name(net)
    colour = OTHER_ARCHITECTURE_COLOURS[zlib.crc32(architecture.encode()) % len(OTHER_ARCHITECTURE_COLOURS)]
    return APPEARANCES.get(architecture, Appearance(f"{name}, {recipe}" if recipe else name, colour, "D"))


def display_name(architecture: str) -> str:
    """The display name of an architecture."""
    return appearance(architecture).name
