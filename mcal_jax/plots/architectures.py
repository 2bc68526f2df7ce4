"""How each architecture is named and drawn, in every picture and table."""

import zlib
from typing import NamedTuple

from mcal_jax.registry import short_name


class Appearance(NamedTuple):
    """The display name of an architecture, its colour, and its marker in line plots."""

    name: str
    colour: str
    marker: str


APPEARANCES = {
    "cnn18": Appearance("CNN18", "#882255", "s"),
    "resnet18": Appearance("ResNet18", "#332288", "o"),
    "resnet50": Appearance("ResNet50", "#117733", "^"),
    "efficientnet_b0": Appearance("EfficientNetB0", "#AA4499", "v"),
}
OTHER_COLOURS = ("#999933", "#661100", "#44AA99", "#6699CC")


def appearance(architecture: str) -> Appearance:
    """The appearance of an architecture; one without an entry has its own name and a colour that depends on it alone.

    >>> appearance("resnet18").name
    'ResNet18'
    >>> appearance("my_nets.py:MyNet").name
    'MyNet'
    """
    colour = OTHER_COLOURS[zlib.crc32(architecture.encode()) % len(OTHER_COLOURS)]
    return APPEARANCES.get(architecture, Appearance(short_name(architecture), colour, "D"))


def display_name(architecture: str) -> str:
    """The display name of an architecture."""
    return appearance(architecture).name
