"""The commands for data of one's own: label, certify and export."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mcal_jax.cli.app import app, emit
from mcal_jax.errors import McalError

ByBrowser = Annotated[bool, Parameter(help="the same as --door browser", negative=())]
Url = Annotated[str | None, Parameter(help="of Label Studio: http://127.0.0.1:8080")]
ApiKey = Annotated[str | None, Parameter(help="an access token of Label Studio; default: that in LABEL_STUDIO_API_KEY")]


@app.command
def label(
    source: Annotated[str, Parameter(help="a folder of pictures, a table of their paths, a .npz file or a TFDS name")],
    *,
    classes: Annotated[str | None, Parameter(help="names of the classes: cat,dog")] = None,
    price: Annotated[float | None, Parameter(help="US dollars per label; default: 0.04")] = None,
    epsilon: Annotated[float | None, Parameter(help="bound on the error of the labels; default: 0.05")] = None,
    certify: Annotated[float | None, Parameter(help="confidence level of the bound; default: 0.95")] = None,
    budget: Annotated[float | None, Parameter(help="US dollars: seek the least error within it instead")] = None,
    door: Annotated[
        str | None,
        Parameter(
            help="csv: tables to fill in; folder: links to pictures, to be moved into class folders; copies: the same "
            "with copies; browser: a page; label-studio: a server of it; label-studio-files: its tasks as JSON; "
            "default: as before, or csv"
        ),
    ] = None,
    browser: ByBrowser = False,
    url: Url = None,
    api_key: ApiKey = None,
    annotator: Annotated[str, Parameter(help="who labels, where the answers do not say")] = "",
    out: Annotated[Path | None, Parameter(help="folder of the job; default: SOURCE.mcal")] = None,
    size: Annotated[int | None, Parameter(help="pixels a side to which pictures are scaled")] = None,
    architecture: Annotated[str | None, Parameter(help="cnn18, resnet18, resnet50, or my_net.py:MyNet")] = None,
    width: Annotated[int | None, Parameter(help="filters of the first stage")] = None,
    recipe: Annotated[str | None, Parameter(help="of training: paper, fast, short or brief")] = None,
    seed: Annotated[int | None, Parameter(help="of all that is random")] = None,
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
    - mcal label photos --classes cat,dog --door label-studio --url http://127.0.0.1:8080
    """
    from mcal_jax.labelling import work_on

    settings: dict[str, Any] = dict(label_price=price, epsilon=epsilon, certify=certify, budget=budget)
    work_on(
        source, classes=_names(classes),
        settings={name: value for name, value in settings.items() if value is not None},
        door=_door(door, browser), annotator=annotator, out=out, size=size, emit=emit, url=url, api_key=api_key,
        architecture=architecture, width=width, recipe=recipe, seed=seed,
    )  # fmt: skip


@app.command
def certify(
    table: Annotated[
        Path,
        Parameter(help="CSV, TSV, Parquet or JSON lines with columns item, prediction, score; label and cost if known"),
    ],
    *,
    classes: Annotated[str | None, Parameter(help="names of the classes: cat,dog; default: all that occur")] = None,
    price: Annotated[float | None, Parameter(help="US dollars per label; default: 0.04, or the column cost")] = None,
    epsilon: Annotated[float | None, Parameter(help="bound on the error of the labels; default: 0.05")] = None,
    confidence: Annotated[float | None, Parameter(help="confidence level of the bound; default: 0.95")] = None,
    class_epsilon: Annotated[
        float | None, Parameter(help="bound on the wrong labels among what the classifier calls each class")
    ] = None,
    sample: Annotated[
        int | None, Parameter(help="how many labels the bound is taken from; default: by the scores")
    ] = None,
    door: Annotated[
        str | None, Parameter(help="csv, or, where the items are pictures, another one of mcal label; default: csv")
    ] = None,
    browser: ByBrowser = False,
    url: Url = None,
    api_key: ApiKey = None,
    annotator: Annotated[str, Parameter(help="who labels, where the answers do not say")] = "",
    out: Annotated[Path | None, Parameter(help="folder of the job; default: TABLE.mcal")] = None,
    seed: Annotated[int | None, Parameter(help="of the random sample")] = None,
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

    settings: dict[str, Any] = dict(label_price=price, epsilon=epsilon, certify=confidence, class_epsilon=class_epsilon)
    certify_table(
        table, classes=_names(classes),
        settings={name: value for name, value in settings.items() if value is not None},
        door=_door(door, browser), annotator=annotator, out=out, sample=sample, seed=seed, emit=emit, url=url,
        api_key=api_key,
    )  # fmt: skip


def _names(classes: str | None) -> list[str] | None:
    return None if classes is None else [name.strip() for name in classes.split(",")]


def _door(door: str | None, browser: bool) -> str | None:
    if browser and door not in (None, "browser"):
        raise McalError(f"--browser and --door {door}: give one of them")
    return "browser" if browser else door


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
    from mcal_jax.labelling.export import ENDINGS, write
    from mcal_jax.result import Result

    path = log / "run.jsonl" if log.is_dir() else log
    if format not in ENDINGS:
        raise McalError(f"unknown format {format!r}: {suggestion(format, ENDINGS)}")
    target = out or path.with_name(f"{path.stem}-labels{ENDINGS[format]}")
    if target.resolve() == path.resolve():
        raise McalError("--out: that is the run log itself; give another name")
    emit(str(write(Result(path), format, target)))
