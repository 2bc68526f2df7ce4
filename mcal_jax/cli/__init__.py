"""The ``mcal`` command line. Importing it loads no library that ``mcal --help`` can do without."""

from mcal_jax.cli.entry import main

__all__ = ["main"]
