"""An exhibit as the gallery shows it: what the templates in ``templates/`` are given.

The report and the documentation site draw the same articles; they differ in where files are.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mcal_jax.paper.captions import CAPTIONS
from mcal_jax.paper.collection import Exhibit, Picture, Provenance, Table
from mcal_jax.paper.comparison import compare
from mcal_jax.paper.descriptions import describe
from mcal_jax.paper.verdicts import Judged, of_exhibit
from mcal_jax.plots.architectures import APPEARANCES
from mcal_jax.templates import environment

Embed = Callable[[str, bytes], str | None]
"""The address of a file with this name and content on the page; None where it is left out."""

PRINTED = "table.csv"
"""A table as the paper prints it, which is shown."""
LARGEST_SVG = 400_000
"""Bytes above which the PNG of a picture is shown in place of its SVG, which would be slow to draw."""
NAMES = {key: appearance.name for key, appearance in APPEARANCES.items()}
LABELS = {
    "imagenet": "ImageNet",
    "mcal_run_cifar10": "A run on CIFAR-10",
    "mcal_run_fashion_mnist": "A run on Fashion-MNIST",
}
"""What exhibits are called whose names are not words."""
NOT_COMPARED = ("fig12", "fig19", "fig20", "fig21")
"""Figures whose rows hold numbers of the paper that are of another quantity than the one drawn."""


def label(name: str) -> str:
    """``fig08`` as "Figure 8", an exhibit of LABELS by its name there; others with spaces and a capital."""
    if numbered := re.fullmatch(r"(fig|tab)0*(\d+)", name):
        return f"{'Figure' if numbered[1] == 'fig' else 'Table'} {numbered[2]}"
    return LABELS.get(name) or (name[:1].upper() + name[1:]).replace("_", " ")


def article(
    exhibit: Exhibit,
    profile: str,
    scales: Mapping[str, Mapping[str, Judged]],
    embed: Embed,
    *,
    heading: bool = True,
    previews: bool = True,
    largest_svg: float = LARGEST_SVG,
) -> Markup:
    """An exhibit as HTML. ``scales`` are the verdicts by profile, ``embed`` says where its files are; with
    ``previews`` the first rows of its tables are shown, too."""
    template = environment("mcal_jax.paper").get_template("exhibit.html")
    given = _variables(exhibit, profile, scales)
    shown = {
        "place": given["label"] if heading else f"{given['label']}, {profile} scale",
        "id": exhibit.name if heading else f"{exhibit.name}-{profile}",
        "heading": heading,
        "pictures": [_picture(picture, exhibit, embed, largest_svg) for picture in exhibit.pictures],
        "links": [(table.file, table.total, embed(table.file, table.content)) for table in exhibit.tables],
        "tables": given["tables"] if previews else [],
    }
    return Markup(template.render(exhibit={**given, **shown}))


def _variables(exhibit: Exhibit, profile: str, scales: Mapping[str, Mapping[str, Judged]]) -> dict[str, Any]:
    """What an article says, wherever its files are."""
    provenance = exhibit.provenance
    finding = exhibit.finding
    paragraphs = [text for text in exhibit.paragraphs if text.rstrip(".") != finding]
    scale = next((text for text in paragraphs if re.search(r"\bprofile \w", text)), "")
    data = next((table for table in exhibit.tables if table.file == "data.csv"), None)
    printed = [table_cells(table) for table in exhibit.tables if table.file == PRINTED]
    return {
        "name": exhibit.name,
        "label": label(exhibit.name),
        "title": provenance.title,
        "folder": f"results/{profile}/{exhibit.name}/",
        "faults": exhibit.faults,
        "withheld": exhibit.withheld,
        "finding": finding,
        "paper": CAPTIONS.get(exhibit.name, ""),
        "claims": of_exhibit(exhibit.name, dict(scales.get(profile, {}))),
        "scales": scales if exhibit.name == "claims" else {},
        "numbers": compare(data) if data and not printed and exhibit.name not in NOT_COMPARED else None,
        "printed": printed,
        "paragraphs": [(text, is_preformatted(text)) for text in paragraphs if text != scale],
        "facts": _facts(provenance, scale),
        "tables": [] if printed else [table_cells(table) for table in exhibit.tables],
        "command": provenance.command,
        "origin": origin(provenance),
    }


def _facts(provenance: Provenance, scale: str) -> dict[str, str]:
    """How an exhibit was made, in few lines."""
    count = len(provenance.runs)
    rules = " and ".join(str(number) for number in provenance.rules)
    runs = f"{count} recorded run{'s' * (count != 1)}" + (f", decision rules {rules}" if rules else "")
    made = ", ".join(filter(None, [provenance.date, provenance.commit and f"commit {provenance.commit}"]))
    return {"Scale": scale, "Runs": runs if count else "", "Made": made}


def _picture(picture: Picture, exhibit: Exhibit, embed: Embed, largest_svg: float) -> dict[str, Any]:
    """The file of a picture that is shown, its address, and its text for those who don't see it."""
    file, content = picture.file(largest_svg)
    tables = {table.file: table for table in exhibit.tables}
    table = tables.get(f"{picture.name}.csv", tables.get("data.csv") if picture.name == "figure" else None)
    title = picture.title or f"{label(exhibit.name)}: {exhibit.provenance.title or picture.name}"
    return {"file": file, "source": embed(file, content), "alt": describe(title, table), "title": picture.title}


def table_cells(table: Table) -> dict[str, Any]:
    """A table with the CSS classes of each cell."""
    kinds = [next((kind for kind in ("paper", "ours") if name.startswith(kind)), "") for name in table.header]
    are_numeric = [any(map(is_number, column)) for column in zip(*table.rows, strict=True)] or [False] * len(kinds)
    return {
        "file": table.file,
        "total": table.total,
        "omitted": table.total - len(table.rows),
        "header": _cells(table.header, kinds, are_numeric),
        "rows": [_cells(row, kinds, map(is_number, row)) for row in table.rows],
        "kinds": kinds,
    }


def _cells(values: Sequence[str], kinds: Sequence[str], are_numeric: Iterable[bool]) -> list[tuple[str, str]]:
    """Each value, architectures by their display names, with its CSS classes."""
    return [
        (NAMES.get(value, value), " ".join(filter(None, (kind, "n" if is_numeric else ""))))
        for value, kind, is_numeric in zip(values, kinds, are_numeric, strict=True)
    ]


def is_number(value: str) -> bool:
    """Whether a cell is a number, with a unit or without."""
    try:
        float(value.strip(" $%").replace(",", "").replace("−", "-"))
    except ValueError:
        return False
    return True


def is_preformatted(paragraph: str) -> bool:
    """Whether spaces align a paragraph in columns."""
    return re.search(r"^ | {3}", paragraph, re.MULTILINE) is not None


def versions(provenance: Provenance) -> str:
    """The versions that an exhibit was made with, in a line."""
    return ", ".join(f"{package} {version}" for package, version in provenance.versions.items())


def origin(provenance: Provenance) -> dict[str, str]:
    """The facts of how an exhibit was made, by name; empty if none is known."""
    facts = {
        "Versions": versions(provenance),
        "Machine": provenance.machine,
        "Seconds": "" if provenance.seconds is None else f"{provenance.seconds:,.1f}",
        "Profile": provenance.profile,
        "Runs": ", ".join(provenance.runs),
    }
    return {name: value for name, value in facts.items() if value}
