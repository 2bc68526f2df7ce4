"""The summary of variants: what varies, how each went, and what it says, as CSV, Markdown and a page."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mcal_jax.files import write_atomically
from mcal_jax.paper.variants import SUMMARIES, Plan, VariantResult
from mcal_jax.templates import environment


def write(plan: Plan, results: Sequence[VariantResult], folder: Path) -> list[Path]:
    """The paths of summary.csv, summary.md and summary.html in ``folder``, with the results in the order of the plan.

    Raises McalError if they can't be written.
    """
    by_name = {result.variant.name: result for result in results}
    ordered = [by_name[variant.name] for variant in plan.variants if variant.name in by_name]
    varied = list(dict.fromkeys(key for variant in plan.variants for key in variant.own))
    header = ["variant", *varied, "state", "seconds", "result"]
    rows = [_row(result, varied) for result in ordered]
    texts = [_csv(header, rows), _markdown(header, rows), _page(plan, header, rows, ordered)]
    paths = [folder / name for name in SUMMARIES]
    for path, text in zip(paths, texts, strict=True):
        write_atomically(path, text)
    return paths


def _row(result: VariantResult, varied: Sequence[str]) -> list[str]:
    given = result.variant.own
    values = [_written(given[key]) if key in given else "" for key in varied]
    text = result.message if result.state == "failed" else result.result
    return [result.variant.name, *values, result.state, f"{result.seconds:.0f}", text]


def _written(value: Any) -> str:
    """A value as it stands in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue()


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _page(plan: Plan, header: Sequence[str], rows: Sequence[Sequence[str]], results: Sequence[VariantResult]) -> str:
    files = [[] if result.state == "failed" else sorted(result.folder.iterdir()) for result in results]
    links = [{path.name: quote(f"{path.parent.name}/{path.name}") for path in own} for own in files]
    notebooks = [own.get("notebook.ipynb", "") for own in links]
    pictures = [{name: link for name, link in own.items() if name.endswith(".svg")} for own in links]
    template = environment("mcal_jax.paper").get_template("variants.html")
    lines = list(zip(rows, notebooks, pictures, strict=True))
    return template.render(title=f"Variants of {plan.notebook.stem}", header=header, lines=lines)
