"""The commands for data of one's own: label, certify and export."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mcal_jax.cli.app import app, emit
from mcal_jax.cli.labelling_options import (
    NO_CERTIFY,
    NO_DOOR,
    NO_LABEL,
    CertifyOptions,
    DoorOptions,
    LabelOptions,
)
from mcal_jax.errors import McalError


@app.command
def label(
    source: Annotated[str, Parameter(help="a folder of pictures, a table of their paths, a .npz file or a TFDS name")],
    *,
    options: LabelOptions = NO_LABEL,
    doors: DoorOptions = NO_DOOR,
) -> None:
    """Label pictures of your own: take the labels that came back, and say what is wanted next.

    The first call writes a batch into SOURCE.mcal. Fill in its labels, or move its
    pictures, and call again, until every picture has a label. A job that was
    begun knows its settings.

    For example:

    - mcal label photos --classes cat,dog --price 0.04
    - mcal label photos
    - mcal label photos --classes cat,dog --door folder
    - mcal label photos --classes cat,dog --browser
    - mcal label photos --browser --opinions 3 --gold 0.05
    - mcal label photos --classes cat,dog --door label-studio --url http://127.0.0.1:8080
    """
    from mcal_jax.labelling import work_on

    work_on(source, emit=emit, **options.given(), **doors.given())


@app.command
def certify(
    table: Annotated[
        Path,
        Parameter(help="CSV, TSV, Parquet or JSON lines with columns item, prediction, score; label and cost if known"),
    ],
    *,
    options: CertifyOptions = NO_CERTIFY,
    doors: DoorOptions = NO_DOOR,
) -> None:
    """Certify predictions of any model: ask humans for a few labels, and deliver labels with a bound on their error.

    The first call writes a random sample into TABLE.mcal. Fill in its labels and
    call again: the predictions are taken as far as the sample certifies, in the
    order of their scores, and humans label the rest.

    For example:

    - mcal certify predictions.csv --price 0.04
    - mcal certify predictions.csv
    - mcal certify predictions.parquet --epsilon 0.02 --confidence 0.99
    """
    from mcal_jax.certification import certify_table

    certify_table(table, emit=emit, **options.given(), **doors.given())


@app.command
def export(
    log: Annotated[Path, Parameter(help="the log of a finished run, or the folder of a job of mcal label")],
    *,
    format: Annotated[str, Parameter(help="csv, parquet, jsonl, label-studio or datasheet")] = "csv",
    out: Annotated[
        Path | None, Parameter(help="the file; a datasheet ends in .html or .md; default: the log's name")
    ] = None,
) -> None:
    """Write finished labels in another form, or the datasheet of the data set.

    For example:

    - mcal export photos.mcal --format jsonl
    - mcal export photos.mcal --format datasheet --out datasheet.md
    """
    from mcal_jax.errors import suggestion
    from mcal_jax.files import check_writable
    from mcal_jax.labelling.export import BEGINS, ENDINGS, write
    from mcal_jax.result import Result

    path = log / "run.jsonl" if log.is_dir() else log
    if format not in ENDINGS:
        raise McalError(f"unknown format {format!r}: {suggestion(format, ENDINGS)}")
    target = out or path.with_name(f"{path.stem}-labels{ENDINGS[format]}")
    if target.resolve() == path.resolve():
        raise McalError("--out: that is the run log itself; give another name")
    if out is not None:
        check_writable(out, "--out", *BEGINS[format])
    emit(str(write(Result(path), format, target)))
