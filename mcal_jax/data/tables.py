"""Tables of the user as data frames: CSV, TSV, Parquet and JSON lines, by the ending of the name."""

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcal_jax.data.dataset import one_line_errors
from mcal_jax.errors import McalError, suggestion

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".parquet", ".jsonl")


def is_table(path: str | os.PathLike) -> bool:
    """Whether a file name is that of a table."""
    return os.fspath(path).lower().endswith(TABLES)


def read_text(path: Path) -> "pd.DataFrame":
    """The rows of a table, text as it is written: 007 stays 007, and NA.

    Raises McalError, also for a row that has more cells than there are columns.
    """
    import pandas as pd

    as_written: dict[str, Any] = dict(dtype=str, keep_default_na=False, index_col=False)
    readers = {
        ".csv": lambda: pd.read_csv(path, **as_written),
        ".tsv": lambda: pd.read_csv(path, sep="\t", **as_written),
        ".parquet": lambda: pd.read_parquet(path),
        ".jsonl": lambda: pd.read_json(path, lines=True, dtype=False),
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise McalError(f"'{path}' is no table: {suggestion(suffix, readers)}")
    if not path.is_file():
        raise McalError(f"no file '{path}'")
    with one_line_errors(f"'{path}' cannot be read as a table"), warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return readers[suffix]()


def as_text(column: "pd.Series") -> list[str]:
    """The values of a column as a person would write them: whole numbers without a point, "" for what is missing."""
    return ["" if isna else _as_text(value) for value, isna in zip(column, column.isna(), strict=True)]


def _as_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else str(value)


def parquet(frame: "pd.DataFrame") -> bytes:
    """The content of a Parquet file of a table. Raises McalError, also where pyarrow is missing."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise McalError("Parquet needs pyarrow: pip install 'mcal-jax[tables]'") from None
    file = io.BytesIO()
    with one_line_errors("this table can't be written as Parquet"):
        frame.to_parquet(file, index=False)
    return file.getvalue()
