"""Finished labels as files: CSV, JSON lines, Parquet, Label Studio's JSON, and the datasheet."""

import json
from pathlib import Path
from typing import Any

from mcal_jax.data.tables import parquet
from mcal_jax.errors import McalError, suggestion
from mcal_jax.files import write_atomically, write_bytes_atomically
from mcal_jax.labelling import datasheet
from mcal_jax.labelling.answers import safe_name
from mcal_jax.labelling.label_studio.tasks import CHOICE, IMAGE
from mcal_jax.labelling.table import plain_rows, rows
from mcal_jax.result import Result
from mcal_jax.runs.labels import LABELS_BEGIN

BEGINS = {
    "csv": ("file,label,", LABELS_BEGIN),
    "parquet": ("PAR1",),
    "jsonl": ('{"file": ',),
    "label-studio": ('[\n {\n  "data": {',),
    "datasheet": ("<!DOCTYPE html>\n<!-- made by mcal: datasheet -->", "# Datasheet of "),
}
"""How files begin that may be written over by each format."""
ENDINGS = {"csv": ".csv", "parquet": ".parquet", "jsonl": ".jsonl", "label-studio": ".json", "datasheet": ".html"}
"""The formats, and how the names of their files end. A datasheet may also end in .md."""


def write(result: Result, form: str, path: str | Path) -> Path:
    """Write the labels in one of the formats ``ENDINGS``; returns the path. Raises McalError."""
    path = Path(path)
    if form == "datasheet":
        datasheet.write(result, path)
    elif form == "parquet":
        write_bytes_atomically(path, parquet(rows(result)))
    elif form == "csv":
        frame = rows(result)
        for column in ("file", "annotator"):  # annotators choose their names
            frame[column] = [safe_name(name) for name in frame[column]]
        write_atomically(path, frame.to_csv(index=False, lineterminator="\n"))
    elif form == "jsonl":
        write_atomically(path, "".join(f"{json.dumps(row)}\n" for row in plain_rows(result)))
    elif form == "label-studio":
        write_atomically(path, json.dumps(label_studio_tasks(result), indent=1) + "\n")
    else:
        raise McalError(f"unknown format {form!r}: {suggestion(form, ENDINGS)}")
    return path


def label_studio_tasks(result: Result) -> list[dict[str, Any]]:
    """Tasks of Label Studio, one an image: labels of humans as annotations, of the machine as predictions.

    They fit the interface that ``labelling_config`` of ``mcal_jax.labelling.label_studio.tasks`` makes. An image that
    nobody could tell has an annotation that is cancelled, as Label Studio keeps a skipped task.
    """
    tasks = []
    for row in plain_rows(result):
        label = {"choices": [row["label"]]}
        choice = {"from_name": CHOICE, "to_name": IMAGE, "type": "choices", "value": label}
        about = {name: row[name] for name in ("source", "set", "annotator", "time", "mistake_chance", "round")}
        task: dict[str, Any] = {"data": {IMAGE: row["file"], **about}}
        if row["source"] == "human":
            known = row["label"] != ""
            task["annotations"] = [{"result": [choice] if known else [], "was_cancelled": not known}]
        else:
            score = {} if row["mistake_chance"] is None else {"score": round(1 - row["mistake_chance"], 4)}
            task["predictions"] = [{"model_version": result.outcome.architecture, **score, "result": [choice]}]
        tasks.append(task)
    return tasks
