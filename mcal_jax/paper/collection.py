"""What the report page shows of a profile: captions, pictures, tables and provenance, read from results/<profile>/."""

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

from mcal_jax.algorithm.fields import Settings
from mcal_jax.errors import McalError
from mcal_jax.paper.published import EXHIBITS
from mcal_jax.runs import settings

T = TypeVar("T")

MAX_ROWS = 200
"""Rows of a table that are shown, at most."""

SECTIONS = ("Claims", "Tables of the paper", "Figures of the paper", "Beyond the paper", "Single runs and stories")
"""Headings of the page, in order."""

FIRST_BEYOND = ("audit", "imagenet", "prices_today", "certificate")
"""The exhibits that come first under "Beyond the paper"; the others follow by name."""


class Provenance(Settings, extra="ignore"):
    """The parts of a provenance.json that the page shows; early files lack some of them."""

    title: str = ""
    command: str = ""
    commit: str = ""
    versions: dict[str, str] = {}
    machine: str = ""
    profile: str = ""
    date: str = ""
    rules: tuple[int, ...] = ()
    seconds: float | None = None
    runs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class Picture(NamedTuple):
    """The contents of ``name``.svg and ``name``.png; b"" for a file that does not exist."""

    name: str
    svg: bytes
    png: bytes

    @property
    def title(self) -> str:
        """What the picture states, by the title of its SVG; "" if it has none."""
        found = re.search(rb"<title>(.*?)</title>", self.svg[:5000], re.DOTALL)
        return html.unescape(found[1].decode(errors="replace")).strip() if found else ""

    def file(self, largest_svg: float) -> tuple[str, bytes]:
        """The name and content of the SVG, or of the PNG where there is no SVG, or it is larger than that and than the
        PNG."""
        if not self.svg or (len(self.svg) > largest_svg and 0 < len(self.png) < len(self.svg)):
            return f"{self.name}.png", self.png
        return f"{self.name}.svg", self.svg


class Table(NamedTuple):
    """A CSV file with ``total`` rows, of which ``rows`` holds the first MAX_ROWS; ``content`` are its bytes."""

    file: str
    header: list[str]
    rows: list[list[str]]
    total: int
    content: bytes


class Exhibit(NamedTuple):
    """The contents of a results folder.

    ``faults`` says which files could not be read and why; ``withheld`` names the files that must not be published.
    """

    name: str
    provenance: Provenance
    paragraphs: tuple[str, ...]
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]
    withheld: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def finding(self) -> str:
        """What the figure of the exhibit states; "" where it states nothing."""
        return next((picture.title for picture in self.pictures if picture.name == "figure"), "")


class Missing(NamedTuple):
    """A figure or table of the paper without results, and the command that makes it."""

    name: str
    title: str
    command: str
    remark: str


class Collection(NamedTuple):
    """All exhibits of a profile in the order of the page, and the figures and tables that are missing."""

    profile: str
    description: str
    exhibits: tuple[Exhibit, ...]
    missing: tuple[Missing, ...]

    @property
    def damaged(self) -> list[str]:
        """Names of the exhibits with a file that could not be read."""
        return [exhibit.name for exhibit in self.exhibits if exhibit.faults]

    @property
    def sections(self) -> list[tuple[str, list[Exhibit]]]:
        """Headings with their exhibits; headings without exhibits are left out."""
        groups = groupby(self.exhibits, key=lambda exhibit: _section(exhibit.name))
        return [(section, list(exhibits)) for section, exhibits in groups]


def gather(profile: str) -> Collection:
    """The exhibits of a profile: every folder under results/<profile>/ that has a provenance.json.

    Files that cannot be read are listed in ``Exhibit.faults``. Raises McalError if the profile is unknown or has no
    results.
    """
    description = settings.load_settings(settings.named("profiles", profile), settings.Profile).description
    folders = [path.parent for path in (settings.results() / profile).glob("*/provenance.json")]
    # A name that begins with a dot belongs to an experiment that is still writing its results.
    folders = [folder for folder in folders if not folder.name.startswith(".")]
    if not folders:
        raise McalError(f"profile {profile} has no results yet; run: mcal reproduce --profile {profile}")
    exhibits = [_exhibit(folder, profile) for folder in sorted(folders, key=lambda folder: _order(folder.name))]
    absent = set(EXHIBITS) - {folder.name for folder in folders}
    missing = [_missing(name, profile) for name in sorted(absent, key=_order)]
    return Collection(profile, description, tuple(exhibits), tuple(missing))


def _section(name: str) -> str:
    claims, tables, figures, beyond, runs = SECTIONS
    if name == "claims":
        return claims
    if kind := re.match(r"(tab|fig)\d", name):
        return tables if kind[1] == "tab" else figures
    return runs if name.startswith(("mcal_run", "read_me")) else beyond


def _order(name: str) -> tuple[int, int, str]:
    """The sort key of an exhibit."""
    rank = FIRST_BEYOND.index(name) if name in FIRST_BEYOND else len(FIRST_BEYOND)
    return SECTIONS.index(_section(name)), rank, name


def _missing(name: str, profile: str) -> Missing:
    try:
        experiment = settings.load_settings(settings.named(".", name), settings.Experiment)
    except McalError:
        return Missing(name, "", f"mcal reproduce {name} --profile {profile}", "no experiment makes it yet")
    if profile in experiment.profiles or not experiment.profiles:
        return Missing(name, experiment.title, f"mcal reproduce {name} --profile {profile}", "")
    remark = f"only at profile {' or '.join(experiment.profiles)}"
    return Missing(name, experiment.title, f"mcal reproduce {name} --profile {experiment.profiles[0]}", remark)


class _FileReader:
    """Reads files and collects what went wrong in ``faults`` instead of raising."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def read(self, parse: Callable[[Path], T], path: Path, default: T) -> T:
        """``parse(path)``, or ``default`` if that fails."""
        try:
            return parse(path)
        except OSError as error:
            self.faults.append(f"{path.name}: {error.strerror}")
        except (McalError, ValueError, csv.Error) as error:
            self.faults.append(f"{path.name}: {error}")
        return default


def _exhibit(folder: Path, profile: str) -> Exhibit:
    reader = _FileReader()
    provenance = reader.read(_provenance, folder / "provenance.json", Provenance())
    present: set[str] = reader.read(_file_names, folder, set())
    withheld = {file for file in present.union(provenance.files) if _is_unlicensed(folder.name, file)}
    reader.faults += [f"{file} is missing" for file in provenance.files if file not in present | withheld]
    files = [folder / file for file in sorted(present - withheld)]
    pictures = _pictures(reader, [file for file in files if file.suffix in (".svg", ".png")])
    tables = [reader.read(_table, file, None) for file in files if file.suffix == ".csv"]
    paragraphs: tuple[str, ...] = ()
    if "summary.txt" in present:
        paragraphs = reader.read(_paragraphs, folder / "summary.txt", paragraphs)
    command = provenance.command or f"mcal reproduce {folder.name} --profile {profile}"
    return Exhibit(
        folder.name,
        provenance.model_copy(update={"command": command}),
        paragraphs,
        tuple(pictures),
        tuple(table for table in tables if table),
        tuple(sorted(withheld)),
        tuple(reader.faults),
    )


def _is_unlicensed(name: str, file: str) -> bool:
    """Whether a file shows images of CIFAR, whose licence does not allow publishing them."""
    return "cifar" in name and file.startswith("gallery.")


def _file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def _provenance(path: Path) -> Provenance:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise McalError(f"expected keys and values, found {type(content).__name__}")
    return settings.check(Provenance, content)


def _pictures(reader: _FileReader, files: Iterable[Path]) -> list[Picture]:
    contents = {file.name: reader.read(_non_empty, file, b"") for file in files}
    stems = sorted({Path(file).stem for file in contents})
    pictures = [Picture(stem, contents.get(f"{stem}.svg", b""), contents.get(f"{stem}.png", b"")) for stem in stems]
    return [picture for picture in pictures if picture.svg or picture.png]


def _non_empty(path: Path) -> bytes:
    if not (content := path.read_bytes()):
        raise McalError("the file is empty")
    return content


def _table(path: Path) -> Table | None:
    content = path.read_bytes()
    reader = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
    header, rows, total = next(reader, []), [], 0
    if not header:
        raise McalError("the file has no header")
    for row in filter(None, reader):
        if len(row) != len(header):
            raise McalError(f"line {reader.line_num} has {len(row)} values, the header {len(header)}")
        total += 1
        if total <= MAX_ROWS:
            rows.append(row)
    return Table(path.name, header, rows, total, content)


def _paragraphs(path: Path) -> tuple[str, ...]:
    """The paragraphs of a text, with dollar signs that were escaped for matplotlib unescaped."""
    text = path.read_text(encoding="utf-8").replace(r"\$", "$")
    return tuple(part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip())
