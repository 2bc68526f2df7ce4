"""The datasheet of a labelled data set, as one HTML page or as Markdown: what was asked of whom, the bill, what is
certified, each class, and the labels that are least sure."""

import base64
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcal_jax import __version__
from mcal_jax.errors import McalError, shown
from mcal_jax.files import write_atomically
from mcal_jax.labelling import wording
from mcal_jax.labelling.pictures import png
from mcal_jax.labelling.table import rows
from mcal_jax.registry import short_name
from mcal_jax.result import Result
from mcal_jax.runs.report import STOPS
from mcal_jax.templates import environment

LEAST_SURE = 24
"""Labels of the machine in the gallery."""
SETS = {
    "T": "test set, drawn at random",
    "B": "training, chosen by the classifier's doubt after a random start",
    "V": "certificate, a random sample",
    "R": "left over by the classifier",
    "S": "labelled by the classifier",
}


class Table(NamedTuple):
    """Columns and rows of text; ``pictures`` has a PNG for each row as a data URL, or is empty."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    pictures: tuple[str, ...] = ()


class Section(NamedTuple):
    """A part of the datasheet: paragraphs, then a table if there is one."""

    title: str
    paragraphs: list[str]
    table: Table | None = None


def write(result: Result, path: str | Path) -> Path:
    """Write the datasheet as .html or .md, by the ending; returns the path. Raises McalError.

    The gallery has pictures where the result knows its images, and file names otherwise.
    """
    path = Path(path)
    if path.suffix not in (".html", ".md"):
        raise McalError(f"a datasheet ends in .html or .md, not {path.name!r}")
    templates = environment("mcal_jax.labelling", path.suffix == ".html")
    templates.filters["cell"] = _markdown_cell
    template = templates.get_template(f"datasheet{path.suffix}")
    name = result.record.log.run.get("data", {}).get("name", "images")
    write_atomically(path, template.render(name=shown(str(name)), sections=sections(result), version=__version__))
    return path


def sections(result: Result) -> list[Section]:
    """The content of the datasheet, in order."""
    frame = rows(result)
    return [
        Section("Summary", [], _pairs(result.facts())),
        Section("What was asked of whom", [wording.asked(result)], _asked(result, frame)),
        _humans(result, frame),
        Section("Bill", ["US dollars."], _bill(result)),
        Section("Certificate", wording.certificate(result)),
        Section("Classes", [wording.CLASSES], _classes(result, frame)),
        Section("The least sure labels of the classifier", [wording.CHANCES], _least_sure(result, frame)),
        Section("How it was made", [], _made(result)),
    ]


def _markdown_cell(text: str) -> str:
    """Text that is no Markdown and no HTML, in one line."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}" if character not in "<>" else f"&{'lg'[character == '>']}t;")
    return text


def _pairs(pairs: dict[str, Any]) -> Table:
    return Table(("", ""), [(name, str(value)) for name, value in pairs.items()])


def _asked(result: Result, frame: Any) -> Table:
    """Each set: who labelled it, how many images, when, and for how much."""
    table = []
    for name, purpose in SETS.items():
        of = frame[frame["set"] == name]
        if not len(of):
            continue
        times = of["time"].dropna()
        when = f"{times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}" if len(times) else ""
        who = "humans" if name != "S" else "classifier"
        table.append((name, purpose, who, f"{len(of):,}", when, f"${of['price'].sum():,.2f}"))
    if result.bill.repeat:
        again = result.outcome.annotator_error
        table.append(("T", "second opinion", "humans", f"{again.sample:,}" if again else "", "", ""))
    return Table(("set", "purpose", "who", "images", "when (UTC)", "labels"), table)


def _humans(result: Result, frame: Any) -> Section:
    """Each annotator: how much, how good, for how much."""
    people = result.annotators()
    if not len(people):
        count = int((frame["source"] == "human").sum())
        return Section("Humans", [], Table(("annotator", "answers"), [("not named", f"{count:,}")] if count else []))
    table = [
        (
            shown(one.annotator) or "not named", f"{one.answers:,}", _share(one.agreement), _share(one.accuracy),
            f"{_share(one.gold_right)} of {one.gold:,}" if one.gold else "", f"{one.cost:,.2f}",
            f"{one.first:%Y-%m-%d %H:%M}" if one.answers else "", f"{one.last:%Y-%m-%d %H:%M}" if one.answers else "",
        )
        for one in people.itertuples()
    ]  # fmt: skip
    columns = ("annotator", "answers", "agree", "accuracy", "gold right", "US dollars", "first (UTC)", "last (UTC)")
    return Section("Humans", wording.annotators(people), Table(columns, table))


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0%}"


def _bill(result: Result) -> Table:
    bill = result.bill
    parts = {"labels of T": bill.test, "labels of B": bill.train, "labels of R": bill.residual}
    parts |= {"labels of V": bill.certificate, "second labels": bill.repeat}
    parts |= {"training": bill.training, "training of architectures that lost": bill.race}
    table = [(name, f"{value:,.2f}") for name, value in parts.items() if value]
    table += [("total", f"{bill.total:,.2f}"), ("humans alone", f"{bill.humans_only:,.2f}")]
    return Table(("part", "US dollars"), table)


def _classes(result: Result, frame: Any) -> Table:
    certificate = result.certificate
    by_label = {one.label: one for one in certificate.by_class} if certificate else {}
    by_truth = {one.label: one for one in certificate.by_true_class} if certificate else {}
    table = []
    for k, name in enumerate(result.classes):
        of = result.labels == k
        machine = int((of & result.by_machine).sum())
        called, true = by_label.get(k), by_truth.get(k)
        table.append(
            (
                shown(name),
                f"{int(of.sum()):,}",
                f"{int(of.sum()) - machine:,}",
                f"{machine:,}",
                f"{called.mistakes:,} of {called.trials:,}; at most {called.bound:.1%}" if called else "",
                f"{true.mistakes:,} of {true.trials:,}; at most {true.bound:.1%}" if true else "",
            )
        )
    return Table(
        ("class", "labels", "by humans", "by classifier", "of these wrong, in V", "lost of the class, in V"), table
    )


def _least_sure(result: Result, frame: Any) -> Table:
    """The machine's labels with the smallest margins."""
    machine = frame[frame["source"] == "machine"].dropna(subset="margin").sort_values("margin", kind="stable")
    least = machine.head(LEAST_SURE)
    table = [
        (shown(file), shown(label), f"{margin:.4f}", "" if np.isnan(chance) else f"{chance:.1%}")
        for file, label, margin, chance in zip(
            least["file"], least["label"], least["margin"], least["mistake_chance"], strict=True
        )
    ]
    pictures: tuple[str, ...] = ()
    with contextlib.suppress(McalError):  # a result of a log alone has no images
        images = result.images.images
        pictures = tuple(_data_url(images[i]) for i in least.index) if images.ndim == 4 else ()
    return Table(("file", "label", "margin", "chance of a mistake"), table, pictures)


def _data_url(image: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"


def _classifier(result: Result) -> dict[str, str]:
    if result.has_given_predictions:
        return {"classifier": "given predictions"}
    outcome = result.outcome
    name = short_name(outcome.architecture)
    return {
        "classifier": f"{name}, {len(outcome.history)} trainings",
        "training ended": STOPS.get(outcome.stop, outcome.stop),
    }


def _made(result: Result) -> Table:
    log = result.record.log
    changed = {name: value for name, value in result.record.job.config.__repr_args__() if name}
    made = log.made.get("versions", {})
    content = log.content
    return _pairs(
        {
            **_classifier(result),
            "settings": ", ".join(f"{name} = {value}" for name, value in changed.items()) or "defaults",
            "versions": ", ".join(f"{name} {value}" for name, value in made.items()),
            "digest of the images": content.get("images", ""),
            "checksum of the run log": log.checksum,
        }
    )
