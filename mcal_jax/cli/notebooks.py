"""The command that hands out the notebooks: notebooks."""

import shlex
from pathlib import Path

from mcal_jax.cli.app import app, emit
from mcal_jax.errors import shown


@app.command
def notebooks(folder: Path = Path("notebooks")) -> None:
    """Copy the notebooks to a folder, to read, change and execute them there.

    00 to 05 teach MCAL, and 05 leaves the algorithm to you; the others draw the
    figures and tables of the paper. A file that is there already is never
    written over.

    For example: mcal notebooks my_course
    """
    from mcal_jax.paper import notebooks

    copies = notebooks.copy(folder)
    emit(f"{len(copies)} notebooks in {shown(str(folder))}; begin with: jupyter lab {shlex.quote(str(copies[0]))}")
