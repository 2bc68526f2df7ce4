"""What the commands share: the application, options that several of them have, and how lines are printed."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, Token

from mcal_jax import __version__

app = App(
    name="mcal",
    version=__version__,
    help_format="plaintext",  # markdown takes 0.1 seconds to load
    suppress_keyboard_interrupt=False,  # main() says what to do next
    help="""Label a whole data set at the least total cost, part by humans and part by a
classifier.

Start with: mcal run

It labels the 10,000 Fashion-MNIST images that come with the package, with
their true labels in the place of humans at $0.04 each, and says what it
decides and why.

An error is told in one line; --debug, anywhere in a command, shows where it
was raised.""",
)
data_app = App(name="data", help="The data sets on this machine.")
app.command(data_app)

DataDir = Annotated[Path | None, Parameter(help="TFDS's folder")]
LabelsFile = Annotated[Path | None, Parameter(help="where the labels go; default: the log's name, .csv")]
Profile = Annotated[str, Parameter(help="smoke, laptop or paper")]


def whole(kind: object, tokens: Sequence[Token]) -> int:
    """A whole number, such as 30, 30.0 or 3e4. Raises ValueError for any other; cyclopts would round it."""
    text = tokens[0].value
    for read in (int, float):
        with contextlib.suppress(ValueError, OverflowError):
            if (number := read(text)) == int(number):
                return int(number)
    raise ValueError(f"a whole number is needed, got {text!r}")


WHOLE = Parameter(converter=whole)
"""Of every option that is a whole number."""


def emit(text: str) -> None:
    """Print a line at once, also where the output is a file or a pipe."""
    print(text, flush=True)
