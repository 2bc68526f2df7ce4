"""One HTML page of all that is made at a profile: captions, pictures, data, and where they came from.

The page holds everything in itself, so it opens from a disk, a mail or a web server alike, and loads nothing.
"""

import base64
import csv
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from html import escape
from itertools import groupby, repeat
from pathlib import Path
from typing import Any, NamedTuple

from mcal_jax.algorithm.config import Settings
from mcal_jax.errors import McalError
from mcal_jax.files import write_atomically
from mcal_jax.paper.published import EXHIBITS
from mcal_jax.runs import settings

BEGINS = "<!DOCTYPE html>\n<!-- made by mcal report -->"
"""By which a page of ours is known from any other."""

ROWS = 200
"""Most rows of a table that are shown."""

LARGEST = 15_000_000
"""Bytes that the page stays below as long as its tables allow."""

LIMITS = ((400_000, math.inf), (100_000, math.inf), (0, math.inf), (0, 100_000), (0, 0))
"""(SVG, any): bytes above which the PNG takes an SVG's place, and above which a picture is left out altogether.
The first pair that keeps the page below LARGEST is taken."""

OURS = ("audit", "prices_today", "certificate")
"""What comes first of the results that the paper does not have."""

SECTIONS = ("Claims", "Tables of the paper", "Figures of the paper", "Beyond the paper", "Single runs and stories")


class Provenance(Settings, extra="ignore"):
    """What the page tells of a provenance.json; early ones lack some of it."""

    title: str = ""
    command: str = ""
    commit: str = ""
    versions: dict[str, str] = {}
    machine: str = ""
    profile: str = ""
    seconds: float | None = None
    runs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class Picture(NamedTuple):
    """A picture by its kinds, b"" for one that there is not."""

    name: str
    svg: bytes
    png: bytes


class Table(NamedTuple):
    """The first ROWS ``rows`` of a CSV file that has ``total``."""

    file: str
    header: list[str]
    rows: list[list[str]]
    total: int


class Exhibit(NamedTuple):
    """All that the page shows of a folder; ``faults`` says what could not be read, ``withheld`` what is not to be
    passed on."""

    name: str
    provenance: Provenance
    paragraphs: tuple[str, ...]
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]
    withheld: tuple[str, ...]
    faults: tuple[str, ...]


class Missing(NamedTuple):
    """A figure or table of the paper that is not made, and what would make it."""

    name: str
    title: str
    command: str
    remark: str


class Collection(NamedTuple):
    """What there is at a profile, in the order of the page."""

    profile: str
    description: str
    exhibits: tuple[Exhibit, ...]
    missing: tuple[Missing, ...]

    @property
    def damaged(self) -> list[str]:
        return [exhibit.name for exhibit in self.exhibits if exhibit.faults]


def build(profile: str, out: Path | None = None) -> Path:
    """Make the page of a profile; returns its path, by default results/<profile>/report.html.

    Raises McalError for an unknown profile, if nothing is made at it, or if the page can't be written. What can't
    be read of an exhibit is told on the page.
    """
    return write(gather(profile), out)


def write(found: Collection, out: Path | None = None) -> Path:
    """Write the page of what was gathered, whole or not at all."""
    path = Path(out) if out else settings.results() / found.profile / "report.html"
    write_atomically(path, render(found))
    return path


# ---------------------------------------------------------------------------------------------------------
# Reading


def gather(profile: str) -> Collection:
    """Read everything under results/<profile>/ that has a provenance.json."""
    scale = settings.load_settings(settings.named("profiles", profile), settings.Profile)
    found = (path.parent for path in (settings.results() / profile).glob("*/provenance.json"))
    # A folder whose name begins with a dot is being made at this moment.
    folders = sorted((f for f in found if not f.name.startswith(".")), key=lambda folder: _place(folder.name))
    if not folders:
        raise McalError(f"nothing is made at profile {profile} yet; run: mcal reproduce --profile {profile}")
    names = {folder.name for folder in folders}
    missing = [_missing(name, profile) for name in sorted(EXHIBITS, key=_place) if name not in names]
    return Collection(profile, scale.description, tuple(_exhibit(f, profile) for f in folders), tuple(missing))


def _section(name: str) -> str:
    claims, tables, figures, ours, runs = SECTIONS
    if name == "claims":
        return claims
    if kind := re.match(r"(tab|fig)\d", name):
        return tables if kind[1] == "tab" else figures
    return runs if name.startswith(("mcal_run", "read_me")) else ours


def _place(name: str) -> tuple[int, int, str]:
    return SECTIONS.index(_section(name)), OURS.index(name) if name in OURS else len(OURS), name


def _missing(name: str, profile: str) -> Missing:
    try:
        experiment = settings.load_settings(settings.named(".", name), settings.Experiment)
    except McalError:
        return Missing(name, "", f"mcal reproduce {name} --profile {profile}", "no experiment makes it yet")
    if profile in experiment.profiles or not experiment.profiles:
        return Missing(name, experiment.title, f"mcal reproduce {name} --profile {profile}", "")
    elsewhere = f"only at profile {' or '.join(experiment.profiles)}"
    return Missing(name, experiment.title, f"mcal reproduce {name} --profile {experiment.profiles[0]}", elsewhere)


def _exhibit(folder: Path, profile: str) -> Exhibit:
    faults: list[str] = []

    def tried(read: Callable[[Path], Any], path: Path, otherwise: Any) -> Any:
        try:
            return read(path)
        except OSError as error:
            faults.append(f"{path.name}: {error.strerror}")
        except (McalError, ValueError, csv.Error) as error:
            faults.append(f"{path.name}: {error}")
        return otherwise

    made: Provenance = tried(_provenance, folder / "provenance.json", Provenance())
    present: set[str] = tried(_names, folder, set())
    withheld = {file for file in (*present, *made.files) if _not_to_be_passed_on(folder.name, file)}
    faults += [f"{file} is missing" for file in made.files if file not in present | withheld]
    files = [folder / file for file in sorted(present - withheld)]
    bytes_of = {file.name: tried(_whole, file, b"") for file in files if file.suffix in (".svg", ".png")}
    pictures = [Picture(n, bytes_of.get(f"{n}.svg", b""), bytes_of.get(f"{n}.png", b"")) for n in _stems(bytes_of)]
    tables = [tried(_csv, file, None) for file in files if file.suffix == ".csv"]
    paragraphs = tried(_paragraphs, folder / "summary.txt", ()) if "summary.txt" in present else ()
    command = made.command or f"mcal reproduce {folder.name} --profile {profile}"
    return Exhibit(
        folder.name,
        made.model_copy(update={"command": command}),
        paragraphs,
        tuple(picture for picture in pictures if picture.svg or picture.png),
        tuple(table for table in tables if table),
        tuple(sorted(withheld)),
        tuple(faults),
    )


def _not_to_be_passed_on(name: str, file: str) -> bool:
    """CIFAR has no licence that lets its images be passed on, and a page like this is made for passing on."""
    return "cifar" in name and file.startswith("gallery.")


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def _stems(files: Iterable[str]) -> list[str]:
    return sorted({Path(file).stem for file in files})


def _provenance(path: Path) -> Provenance:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise McalError(f"expected keys and values, found {type(content).__name__}")
    return settings.check(Provenance, content)


def _whole(path: Path) -> bytes:
    if not (content := path.read_bytes()):
        raise McalError("the file is empty")
    return content


def _csv(path: Path) -> Table:
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        header, rows, total = next(reader, []), [], 0
        if not header:
            raise McalError("the file has no header")
        for row in filter(None, reader):
            if len(row) != len(header):
                raise McalError(f"line {reader.line_num} has {len(row)} values, the header {len(header)}")
            total += 1
            if total <= ROWS:
                rows.append(row)
    return Table(path.name, header, rows, total)


def _paragraphs(path: Path) -> tuple[str, ...]:
    """What empty lines part; dollars that were escaped for matplotlib are plain again."""
    text = path.read_text(encoding="utf-8").replace(r"\$", "$")
    return tuple(part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip())


# ---------------------------------------------------------------------------------------------------------
# Writing


def render(found: Collection) -> str:
    """The page as text: ASCII, so that it is the same bytes under any locale, and the same for the same results."""
    text = ""
    for limits in LIMITS:
        text = _document(found, *limits).encode("ascii", "xmlcharrefreplace").decode()
        if len(text) < LARGEST:
            break
    return text


def _document(found: Collection, most_svg: float, most: float) -> str:
    css, js = (
        (Path(__file__).parent / "templates" / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    sections = "".join(
        f'<section class="group">\n<h2>{section}</h2>\n'
        + "".join(_article(exhibit, found.profile, most_svg, most) for exhibit in exhibits)
        + "</section>\n"
        for section, exhibits in groupby(found.exhibits, key=lambda exhibit: _section(exhibit.name))
    )
    # The policy has the browser refuse whatever would have to be loaded from elsewhere.
    return f"""{BEGINS}
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mcal_jax: results at profile {escape(found.profile)}</title>
<style>
{css}</style>
</head>
<body>
{_navigation(found)}<main>
{_header(found)}{sections}<p class="none" hidden>No exhibit has all these words.</p>
{_absent(found.missing)}</main>
<script>
{js}</script>
</body>
</html>
"""


def _navigation(found: Collection) -> str:
    groups = "".join(
        f'<div class="group">\n<h2>{section}</h2>\n<ul>\n' + "".join(map(_entry, exhibits)) + "</ul>\n</div>\n"
        for section, exhibits in groupby(found.exhibits, key=lambda exhibit: _section(exhibit.name))
    )
    if found.missing:
        groups += f'<p><a href="#{escape(found.missing[0].name)}">Missing ({len(found.missing)})</a></p>\n'
    search = '<input type="search" placeholder="Filter by words" aria-label="Filter by words" hidden>'
    return f"<nav>\n{search}\n{groups}</nav>\n"


def _entry(exhibit: Exhibit) -> str:
    title = escape(exhibit.provenance.title or exhibit.name)
    return (
        f'<li{_class("damaged" if exhibit.faults else "")}><a href="#{escape(exhibit.name)}" title="{title}">'
        f"<b>{escape(_short(exhibit.name))}</b> {title}</a></li>\n"
    )


def _short(name: str) -> str:
    """fig08 as Figure 8; other names with spaces."""
    if numbered := re.fullmatch(r"(fig|tab)0*(\d+)", name):
        return f"{'Figure' if numbered[1] == 'fig' else 'Table'} {numbered[2]}"
    return name.replace("_", " ")


def _header(found: Collection) -> str:
    made = [exhibit.provenance for exhibit in found.exhibits]
    damaged = f", {len(found.damaged)} of them damaged: {', '.join(found.damaged)}" if found.damaged else ""
    facts = {
        "Profile": f"{found.profile}: {found.description}",
        "Exhibits": f"{len(found.exhibits)} shown{damaged}; {len(found.missing)} of the paper's missing",
        "Commit": _tally(one.commit for one in made),
        "Versions": _tally(_versions(one) for one in made),
        "Machine": _tally(one.machine for one in made),
    }
    return f"<header>\n<h1>mcal_jax: results at profile {escape(found.profile)}</h1>\n{_facts(facts)}</header>\n"


def _versions(made: Provenance) -> str:
    return ", ".join(f"{package} {version}" for package, version in made.versions.items())


def _tally(values: Iterable[str]) -> str:
    """The one value that all have, or each with how often it occurs."""
    counts = Counter(filter(None, values)).most_common()
    return counts[0][0] if len(counts) == 1 else "; ".join(f"{value} (of {times})" for value, times in counts)


def _facts(facts: dict[str, str]) -> str:
    lines = [f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>\n" for key, value in facts.items() if value]
    return "<dl>\n" + "".join(lines) + "</dl>\n"


def _article(exhibit: Exhibit, profile: str, most_svg: float, most: float) -> str:
    made, name = exhibit.provenance, escape(exhibit.name)
    where = f"results/{profile}/{exhibit.name}/"
    several = len(exhibit.pictures) > 1
    damaged = "".join(f'<p class="fault">Damaged: {escape(fault)}</p>\n' for fault in exhibit.faults)
    pictures = "".join(
        _picture(p, made.title or exhibit.name, where, several, most_svg, most) for p in exhibit.pictures
    )
    tables = "".join(_table(t, where, opened=exhibit.name.startswith(("tab", "claims"))) for t in exhibit.tables)
    return (
        f'<article id="{name}"{_class("damaged" if exhibit.faults else "")}>\n'
        f'<h3 class="words"><a href="#{name}">{escape(_short(exhibit.name))}</a> {escape(made.title)}</h3>\n'
        f"{damaged}{_text(exhibit.paragraphs)}{pictures}{_withheld(exhibit.withheld, where)}{tables}"
        f'{_origin(made)}<p class="make">Make it again: <code class="words">{escape(made.command)}</code></p>\n'
        "</article>\n"
    )


def _text(paragraphs: Iterable[str]) -> str:
    """The caption, then the notes; a paragraph that spaces set out in columns keeps them."""
    lines = []
    for number, paragraph in enumerate(paragraphs):
        tag = "pre" if re.search(r"^ | {3}", paragraph, re.MULTILINE) else "p"
        lines.append(f'<{tag} class="{"note" if number else "caption"} words">{escape(paragraph)}</{tag}>\n')
    return "".join(lines)


def _picture(picture: Picture, title: str, where: str, named: bool, most_svg: float, most: float) -> str:
    kind, content = "svg", picture.svg
    if not picture.svg or (len(picture.svg) > most_svg and 0 < len(picture.png) < len(picture.svg)):
        kind, content = "png", picture.png
    file = escape(f"{picture.name}.{kind}")
    if len(content) > most:
        return f'<p class="fault">Left out to keep this page small: {escape(where)}{file}</p>\n'
    source = f"data:image/{'svg+xml' if kind == 'svg' else 'png'};base64,{base64.b64encode(content).decode()}"
    caption = f"<figcaption>{file}</figcaption>" if named else ""
    return f'<figure><img alt="{escape(title)}: {file}" src="{source}">{caption}</figure>\n'


def _withheld(files: tuple[str, ...], where: str) -> str:
    if not files:
        return ""
    reason = "CIFAR has no licence that lets its images be passed on"
    return f'<p class="note">Not on this page: {escape(", ".join(files))} of {escape(where)}; {reason}.</p>\n'


def _table(table: Table, where: str, *, opened: bool) -> str:
    kinds = [next((kind for kind in ("paper", "ours") if name.startswith(kind)), "") for name in table.header]
    numeric = [any(_is_number(row[i]) for row in table.rows) for i in range(len(kinds))]
    head = "".join(map(_cell, repeat("th"), table.header, kinds, numeric))
    rows = ("".join(map(_cell, repeat("td"), row, kinds, map(_is_number, row))) for row in table.rows)
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    left_out = table.total - len(table.rows)
    note = f'<p class="note">{left_out:,} more rows are in {escape(where + table.file)}.</p>\n' if left_out else ""
    size = f"{table.total:,} rows, {len(table.header)} columns"
    return (
        f"<details{' open' if opened else ''}><summary>{escape(table.file)}: {size}</summary>\n{_legend(kinds)}"
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'
        f"{note}</details>\n"
    )


def _cell(tag: str, value: str, kind: str, numeric: bool) -> str:
    names = " ".join(filter(None, (kind, "n" if numeric else "")))
    return f"<{tag}{_class(names)}>{escape(value)}</{tag}>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""


def _legend(kinds: Iterable[str]) -> str:
    meanings = {"paper": "what the paper printed", "ours": "what we measured"}
    used = [f'<span class="{kind}">{meaning}</span>' for kind, meaning in meanings.items() if kind in kinds]
    return f'<p class="legend">{" ".join(used)}</p>\n' if used else ""


def _is_number(value: str) -> bool:
    try:
        float(value.strip(" $%").replace(",", ""))
    except ValueError:
        return False
    return True


def _origin(made: Provenance) -> str:
    facts = {
        "Commit": made.commit,
        "Versions": _versions(made),
        "Machine": made.machine,
        "Seconds": "" if made.seconds is None else f"{made.seconds:,.1f}",
        "Profile": made.profile,
        "Runs": ", ".join(made.runs),
    }
    if not any(facts.values()):
        return ""
    return f"<details><summary>Where it came from</summary>\n{_facts(facts)}</details>\n"


def _absent(missing: Iterable[Missing]) -> str:
    rows = "".join(
        f'<tr id="{escape(one.name)}"><td>{escape(_short(one.name))}</td><td>{escape(one.title)}</td>'
        f"<td><code>{escape(one.command)}</code></td><td>{escape(one.remark)}</td></tr>\n"
        for one in missing
    )
    if not rows:
        return ""
    head = "<thead><tr><th>of the paper</th><th>title</th><th>made by</th><th>remark</th></tr></thead>"
    table = f'<div class="scroll"><table>\n{head}\n<tbody>\n{rows}</tbody>\n</table></div>\n'
    return f'<section class="missing">\n<h2>Missing</h2>\n{table}</section>\n'
