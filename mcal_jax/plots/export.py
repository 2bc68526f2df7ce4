"""Figures and the data behind them as files."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from PIL import Image

from mcal_jax.errors import McalError
from mcal_jax.plots.style import use_style

if TYPE_CHECKING:
    import pandas as pd


def save(
    figure: Figure,
    folder: str | Path,
    name: str,
    data: "pd.DataFrame | Mapping[str, Sequence[Any]]",
    table: str | None = None,
) -> list[Path]:
    """The paths of the files written: the figure as ``name``.svg and .png, and ``data`` as .csv.

    ``data`` is a frame, or columns of equal length by name; its file has the name ``table``, by default that of the
    figure. The label of the figure becomes the title of the SVG.
    All three files appear, or none does. Raises McalError if the folder cannot be written.
    """
    folder = Path(folder)
    targets = {ending: folder / f"{name}.{ending}" for ending in ("svg", "png")}
    targets["csv"] = folder / f"{table or name}.csv"
    drafts = {ending: folder / f".{os.getpid()}.{name}.{ending}" for ending in targets}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_csv(drafts["csv"], data)
        with use_style():
            figure.savefig(drafts["svg"], metadata={"Date": None, "Title": str(figure.get_label())})
            _write_png(drafts["png"], figure)
        for ending, target in targets.items():
            os.replace(drafts[ending], target)
    except OSError as error:
        raise McalError(f"can't write {error.filename or folder}: {error.strerror}") from None
    finally:
        for draft in filter(Path.exists, drafts.values()):
            draft.unlink()
    return list(targets.values())


def _write_png(path: Path, figure: Figure) -> None:
    """With 256 colours, which a picture of ours does not need more of: a third of the size."""
    figure.savefig(path)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(path, format="PNG", optimize=True)


def _write_csv(path: Path, data: "pd.DataFrame | Mapping[str, Sequence[Any]]") -> None:
    """Numbers to eight digits; columns of objects, or whole numbers beside a missing one would become floats."""
    import pandas as pd

    columns = pd.DataFrame(data).items()
    rounded = pd.DataFrame({name: pd.Series(map(_rounded, column), dtype=object) for name, column in columns})
    rounded.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def _rounded(value: Any) -> Any:
    return format(value, ".8g") if isinstance(value, float) and not math.isnan(value) else value
