"""The names of the readings. In a module of its own, for the command line lists them without loading anything."""

from typing import Literal

Preset = Literal["recommended", "certified", "paper", "authors_code"]
