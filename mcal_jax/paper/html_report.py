"""The report: one HTML page with all results of a profile, from the templates in ``templates/``.

The page is a single file that loads nothing, so it opens from a disk, a mail or a web server alike.
"""

import base64
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mcal_jax.files import write_atomically
from mcal_jax.paper.collection import Collection, Exhibit, Missing, Picture, Provenance, Table
from mcal_jax.plots.architectures import APPEARANCES
from mcal_jax.runs import settings
from mcal_jax.templates import environment

BEGINS = "<!DOCTYPE html>\n<!-- made by mcal report -->"
"""How the page begins; ``mcal report`` overwrites only files that begin so."""

PRINTED = "table.csv"
"""A table as the paper prints it; it is shown in place of the others of its exhibit, which are links."""

NAMES = {key: appearance.name for key, appearance in APPEARANCES.items()}

LARGEST = 15_000_000
"""Bytes that the page stays below if its tables allow."""


class Limits(NamedTuple):
    """Bytes above which the PNG is shown in place of an SVG, and above which a picture is left out."""

    svg: float
    picture: float


LIMITS = (
    Limits(400_000, math.inf),
    Limits(100_000, math.inf),
    Limits(0, math.inf),
    Limits(0, 100_000),
    Limits(0, 0),
)
"""Tried in order until the page stays below LARGEST."""


def write(collection: Collection, out: Path | None = None) -> Path:
    """The path of the written page, by default results/<profile>/report.html.

    The file appears whole or not at all. Raises McalError if it cannot be written.
    """
    path = Path(out) if out else settings.results() / collection.profile / "report.html"
    write_atomically(path, render(collection))
    return path


def render(collection: Collection) -> str:
    """The page in ASCII, with other characters as references, so that its bytes do not depend on the locale."""
    page = ""
    for limits in LIMITS:
        page = _render(collection, limits).encode("ascii", "xmlcharrefreplace").decode()
        if len(page) < LARGEST:
            break
    return page


def _render(collection: Collection, limits: Limits) -> str:
    sections = [
        (heading, [_article(exhibit, collection.profile, limits) for exhibit in exhibits])
        for heading, exhibits in collection.sections
    ]
    template = environment("mcal_jax.paper").get_template("report.html")
    return template.render(
        begins=BEGINS,
        profile=collection.profile,
        facts=_summary(collection),
        sections=sections,
        missing=[_missing(missing) for missing in collection.missing],
    )


# ---------------------------------------------------------------------------------------------------------
# What the templates are given


def _summary(collection: Collection) -> dict[str, str]:
    """The facts at the head of the page, by name."""
    provenances = [exhibit.provenance for exhibit in collection.exhibits]
    damaged = f", {len(collection.damaged)} of them damaged: {', '.join(collection.damaged)}"
    return {
        "Profile": f"{collection.profile}: {collection.description}",
        "Exhibits": f"{len(collection.exhibits)} shown{damaged if collection.damaged else ''}; "
        f"{len(collection.missing)} of the paper's missing",
        "Commit": _tally(provenance.commit for provenance in provenances),
        "Versions": _tally(_versions(provenance) for provenance in provenances),
        "Machine": _tally(provenance.machine for provenance in provenances),
    }


def _tally(values: Iterable[str]) -> str:
    """The value that all exhibits share, or each value with how often it occurs."""
    counts = Counter(filter(None, values)).most_common()
    return counts[0][0] if len(counts) == 1 else "; ".join(f"{value} (of {times})" for value, times in counts)


def _versions(provenance: Provenance) -> str:
    return ", ".join(f"{package} {version}" for package, version in provenance.versions.items())


def _article(exhibit: Exhibit, profile: str, limits: Limits) -> dict[str, Any]:
    """The variables of exhibit.html."""
    provenance = exhibit.provenance
    printed = [table for table in exhibit.tables if table.file == PRINTED]
    others = [table for table in exhibit.tables if table.file != PRINTED]
    return {
        "name": exhibit.name,
        "label": _label(exhibit.name),
        "title": provenance.title,
        "folder": f"results/{profile}/{exhibit.name}/",
        "command": provenance.command,
        "faults": exhibit.faults,
        "withheld": exhibit.withheld,
        "paragraphs": [(paragraph, _is_preformatted(paragraph)) for paragraph in exhibit.paragraphs],
        "pictures": [_picture(picture, limits) for picture in exhibit.pictures],
        "printed": [_table(table) for table in printed],
        "links": [_link(table) for table in others if printed],
        "tables": [_table(table) for table in others if not printed],
        "tables_are_open": exhibit.name.startswith(("tab", "claims")),
        "origin": _origin(provenance),
    }


def _label(name: str) -> str:
    """``fig08`` as "Figure 8"; other names with spaces."""
    if numbered := re.fullmatch(r"(fig|tab)0*(\d+)", name):
        return f"{'Figure' if numbered[1] == 'fig' else 'Table'} {numbered[2]}"
    return name.replace("_", " ")


def _is_preformatted(paragraph: str) -> bool:
    """Whether spaces align a paragraph in columns."""
    return re.search(r"^ | {3}", paragraph, re.MULTILINE) is not None


def _picture(picture: Picture, limits: Limits) -> dict[str, Any]:
    """The file of a picture that is shown and its data URI, which is None if the file is too large."""
    kind, content = "svg", picture.svg
    if not picture.svg or (len(picture.svg) > limits.svg and 0 < len(picture.png) < len(picture.svg)):
        kind, content = "png", picture.png
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    source = f"data:{mime};base64,{base64.b64encode(content).decode()}"
    return {"file": f"{picture.name}.{kind}", "source": source if len(content) <= limits.picture else None}


def _table(table: Table) -> dict[str, Any]:
    """A table with the CSS classes of each cell."""
    kinds = [next((kind for kind in ("paper", "ours") if name.startswith(kind)), "") for name in table.header]
    are_numeric = [any(map(_is_number, column)) for column in zip(*table.rows, strict=True)] or [False] * len(kinds)
    return {
        "file": table.file,
        "total": table.total,
        "omitted": table.total - len(table.rows),
        "header": _cells(table.header, kinds, are_numeric),
        "rows": [_cells(row, kinds, map(_is_number, row)) for row in table.rows],
        "kinds": kinds,
    }


def _link(table: Table) -> dict[str, Any]:
    """A table as a file to download, at most MAX_ROWS of its rows."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    source = f"data:text/csv;base64,{base64.b64encode(text.getvalue().encode()).decode()}"
    return {"file": table.file, "total": table.total, "source": source}


def _cells(values: Sequence[str], kinds: Sequence[str], are_numeric: Iterable[bool]) -> list[tuple[str, str]]:
    """Each value, architectures by their display names, with its CSS classes."""
    return [
        (NAMES.get(value, value), " ".join(filter(None, (kind, "n" if is_numeric else ""))))
        for value, kind, is_numeric in zip(values, kinds, are_numeric, strict=True)
    ]


def _is_number(value: str) -> bool:
    try:
        float(value.strip(" $%").replace(",", ""))
    except ValueError:
        return False
    return True


def _origin(provenance: Provenance) -> dict[str, str]:
    """The facts of how an exhibit was made, by name; empty if none is known."""
    facts = {
        "Commit": provenance.commit,
        "Versions": _versions(provenance),
        "Machine": provenance.machine,
        "Seconds": "" if provenance.seconds is None else f"{provenance.seconds:,.1f}",
        "Profile": provenance.profile,
        "Runs": ", ".join(provenance.runs),
    }
    return {name: value for name, value in facts.items() if value}


def _missing(missing: Missing) -> dict[str, str]:
    return {**missing._asdict(), "label": _label(missing.name)}
