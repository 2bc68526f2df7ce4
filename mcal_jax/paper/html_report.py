"""The report: one HTML page with all results of a profile, from the templates in ``templates/``.

The page is a single file that loads nothing, so it opens from a disk, a mail or a web server alike.
"""

import base64
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mcal_jax.files import write_atomically
from mcal_jax.paper import gallery, verdicts
from mcal_jax.paper.collection import Collection, Exhibit, Missing
from mcal_jax.runs import settings
from mcal_jax.templates import environment

BEGINS = "<!DOCTYPE html>\n<!-- made by mcal report -->"
"""How the page begins; ``mcal report`` overwrites only files that begin so."""

MIME = {"svg": "image/svg+xml", "png": "image/png", "csv": "text/csv"}
LARGEST = 15_000_000
"""Bytes that the page stays below if its tables allow."""


class Limits(NamedTuple):
    """Bytes above which the PNG is shown in place of an SVG, and above which a picture is left out."""

    svg: float
    picture: float


LIMITS = (
    Limits(gallery.LARGEST_SVG, math.inf),
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
    scales = verdicts.by_scale(collection.profile)
    sections = [
        (heading, [_shown(exhibit, collection.profile, scales, limits) for exhibit in exhibits])
        for heading, exhibits in collection.sections
    ]
    template = environment("mcal_jax.paper").get_template("report.html")
    return template.render(
        begins=BEGINS,
        profile=collection.profile,
        facts=_summary(collection),
        counts=Counter(one.verdict for one in scales.get(collection.profile, {}).values()),
        sections=sections,
        missing=[_missing(missing) for missing in collection.missing],
    )


def _summary(collection: Collection) -> dict[str, str]:
    """The facts at the head of the page, by name."""
    provenances = [exhibit.provenance for exhibit in collection.exhibits]
    damaged = f", {len(collection.damaged)} of them damaged: {', '.join(collection.damaged)}"
    return {
        "Profile": f"{collection.profile}: {collection.description}",
        "Exhibits": f"{len(collection.exhibits)} shown{damaged if collection.damaged else ''}; "
        f"{len(collection.missing)} of the paper's missing",
        "Commit": _tally(provenance.commit for provenance in provenances),
        "Versions": _tally(gallery.versions(provenance) for provenance in provenances),
        "Machine": _tally(provenance.machine for provenance in provenances),
    }


def _tally(values: Iterable[str]) -> str:
    """The value that all exhibits share, or each value with how often it occurs."""
    counts = Counter(filter(None, values)).most_common()
    return counts[0][0] if len(counts) == 1 else "; ".join(f"{value} (of {times})" for value, times in counts)


def _shown(
    exhibit: Exhibit, profile: str, scales: Mapping[str, Mapping[str, verdicts.Judged]], limits: Limits
) -> dict[str, Any]:
    """An exhibit for the navigation, and its article, which holds its files."""

    def embed(file: str, content: bytes) -> str | None:
        ending = file.rpartition(".")[2]
        if ending != "csv" and len(content) > limits.picture:
            return None
        return f"data:{MIME[ending]};base64,{base64.b64encode(content).decode()}"

    article = gallery.article(exhibit, profile, scales, embed, largest_svg=limits.svg)
    name, title = gallery.label(exhibit.name), exhibit.provenance.title
    return {"name": exhibit.name, "label": name, "title": title, "faults": exhibit.faults, "article": article}


def _missing(missing: Missing) -> dict[str, str]:
    return {**missing._asdict(), "label": gallery.label(missing.name)}
