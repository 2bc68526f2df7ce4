"""Variants of one notebook, such as those of a class: executed with parameters of a YAML file, a folder for each.

The file names a notebook, and parameters as a list of ``variants``, as a ``grid`` of which every combination counts, or
as both. A variant that was made from the same notebook, parameters and package is not made again.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from mcal_jax.algorithm.config import Settings
from mcal_jax.errors import McalError, suggestion
from mcal_jax.files import absolute, write_atomically
from mcal_jax.paper import folders, notebooks
from mcal_jax.runs.settings import PACKAGE, digest, home, load_settings
from mcal_jax.runs.workers import Workers, in_a_line

MOST = 1000
"""Variants of one file, at most."""
OWN = ("out", "data_dir")
"""Parameters that are set for every variant and not by the file."""
RECORD = "variant.json"
SUMMARIES = ("summary.csv", "summary.md", "summary.html")
"""Beside the folders of the variants."""


class Request(Settings):
    """The YAML file: ``parameters`` are those of all variants; ``name`` in a variant names its folder."""

    notebook: str
    parameters: dict[str, Any] = {}
    variants: list[dict[str, Any]] = Field([], description="parameters of each, and its name")
    grid: dict[str, list[Any]] = Field({}, description="values of parameters, of which every combination is a variant")


class Variant(NamedTuple):
    """A variant: the name of its folder, all of its parameters, and those in which it differs from others."""

    name: str
    parameters: dict[str, Any]
    own: dict[str, Any]


class VariantResult(NamedTuple):
    """How a variant went. ``result`` is what it has to say, in a line; ``message`` why it failed."""

    variant: Variant
    state: Literal["made", "up to date", "failed"]
    seconds: float
    folder: Path
    result: str = ""
    message: str = ""


class Plan(NamedTuple):
    """A notebook and its variants."""

    notebook: Path
    variants: list[Variant]


def read(path: Path) -> Plan:
    """The notebook that a YAML file names, and its variants in order.

    Raises McalError naming the file and what is wrong: no YAML, an unknown key, notebook or parameter, a value that
    fits no parameter, two variants of one name, none at all or more than MOST.
    """
    request = load_settings(path, Request)
    try:
        notebook = _notebook(request.notebook, absolute(path).parent)
        variants = _variants(request)
        known = notebooks.defaults(notebook)
        for variant in variants:
            _check(variant, known, notebook)
    except McalError as error:
        raise McalError(f"{path}: {error}") from None
    return Plan(notebook, variants)


def _notebook(name: str, folder: Path) -> Path:
    """A notebook of the package by its name, or a file, relative to the folder of the YAML file."""
    own = {one.stem: one for one in sorted((home() / "notebooks").glob("*.ipynb"))}
    if (stem := name.removesuffix(".ipynb")) in own:
        return own[stem]
    path = folder / Path(name).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path
    raise McalError(f"notebook: there is no {name!r}; {suggestion(name, own)}")


def _variants(request: Request) -> list[Variant]:
    for key, values in request.grid.items():
        if not values:
            raise McalError(f"grid.{key}: the list is empty")
    count = math.prod(map(len, request.grid.values())) * max(len(request.variants), 1)
    if not request.variants and not request.grid:
        raise McalError("it has neither variants nor a grid, so there is nothing to vary")
    if count > MOST:
        raise McalError(f"{count:,} variants; at most {MOST:,} can be made of one file")
    variants = []
    for base in request.variants or [{}]:
        for chosen in itertools.product(*request.grid.values()):
            combination = dict(zip(request.grid, chosen, strict=True))
            if both := sorted(set(base) & set(combination)):
                raise McalError(f"{both[0]}: it is in the grid and in a variant; leave one out")
            own = {key: value for key, value in {**base, **combination}.items() if key != "name"}
            name = _name(base.get("name"), combination if "name" in base else own)
            variants.append(Variant(name, {**request.parameters, **own}, own))
    seen: set[str] = set()
    for variant in variants:
        if variant.name.lower() in SUMMARIES:
            raise McalError(f"name: {variant.name!r} is that of a summary; give another")
        if variant.name.lower() in seen:  # some file systems don't tell small letters from capitals
            raise McalError(f"two variants are called {variant.name!r}; give them a name each")
        seen.add(variant.name.lower())
    return variants


def _name(given: Any, values: dict[str, Any]) -> str:
    """The name of a folder: the given one, then what varies."""
    if given is not None and not (isinstance(given, str | int) and re.fullmatch(r"\w[\w .@-]{0,60}", str(given))):
        raise McalError(f"name: letters, digits, spaces, and . @ - in between, at most 61 of them; got {given!r}")
    parts = [] if given is None else [str(given).strip()]
    for key, value in values.items():
        text = re.sub(r"[^\w.+-]+", "-", str(value)).strip("-")
        parts.append(f"{key}-{text[:40]}")
    return "_".join(parts)[:120].rstrip(" .") or "all"


def _check(variant: Variant, known: dict[str, Any], notebook: Path) -> None:
    """Raises McalError for a parameter that the notebook does not have, or a value that can't be one."""
    for key, value in variant.parameters.items():
        if key in OWN:
            raise McalError(f"{key}: it is set for every variant; leave it out")
        if key not in known:
            hint = suggestion(str(key), [name for name in known if name not in OWN])
            raise McalError(f"notebook {notebook.stem!r} has no parameter {key!r}; {hint}")
        if not _is_plain(value):
            raise McalError(f"{key}: expected text, a number, true, false or a list of these, got {value!r}")
        if not _fits(value, known[key]):
            raise McalError(f"{key}: expected a number, like its default {known[key]!r}, got {value!r}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, str | int | float)


def _fits(value: Any, default: Any) -> bool:
    """Whether a value is a number where the default is one; notebooks read numbers that are written as text."""
    if isinstance(default, bool) or not isinstance(default, int | float):
        return True
    with contextlib.suppress(TypeError, ValueError):
        return not isinstance(value, bool) and math.isfinite(float(value))
    return False


def make(
    plan: Plan,
    folder: Path,
    *,
    again: bool = False,
    jobs: int | None = None,
    data_dir: Path | None = None,
    executor: Executor | None = None,
) -> Iterator[VariantResult]:
    """Executes variants, ``jobs`` at once, and yields the result of each; those that are up to date are executed only
    if ``again``. One that fails leaves its folder as it was, and the others go on.

    Raises McalError, before anything is executed, if a package is missing or the folder can't be written.
    """
    notebooks.check()
    folder = absolute(folder)
    targets = {folder / variant.name: variant for variant in plan.variants}
    _check_writable(folder, targets)
    given = {"data_dir": data_dir and str(data_dir)}
    count = jobs or max(1, (os.cpu_count() or 2) // 2)
    try:
        with contextlib.nullcontext(executor) if executor else Workers([None] * count) as own:
            futures = {
                own.submit(_make, plan.notebook, variant, target, given, again): target
                for target, variant in targets.items()
            }
            for future in as_completed(futures):
                target = futures[future]
                yield _result(targets[target], target, future)
    finally:
        for target in targets:
            folders.remove_stale(target)


def _check_writable(folder: Path, targets: "dict[Path, Variant]") -> None:
    """Raises McalError if the folder can't be written, or a folder is there that is none of ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise McalError(f"can't write {folder}: {error.strerror}") from None
    for target in targets:
        if os.path.lexists(target) and not (target / RECORD).is_file():
            raise McalError(f"{target} is there and was not made by this command; give another --out")


def _result(variant: Variant, folder: Path, future: Future) -> VariantResult:
    if error := future.exception():
        return VariantResult(variant, "failed", 0.0, folder, "", in_a_line(error))
    state, seconds, result = future.result()
    return VariantResult(variant, state, seconds, folder, result)


def _make(notebook: Path, variant: Variant, folder: Path, given: dict[str, Any], again: bool) -> tuple[str, float, str]:
    """Makes one variant in a worker: its state, seconds and result. Raises McalError."""
    began = time.perf_counter()
    state = _state(notebook, variant)
    record = _recorded(folder)
    if not again and record and all(record.get(key) == value for key, value in state.items()):
        return "up to date", 0.0, record["result"]
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    folders.remove_stale(folder)
    known = notebooks.parameters(notebook)
    own = {key: value for key, value in {**given, "out": str(work)}.items() if key in known}
    try:
        work.mkdir(parents=True)
        notebooks.execute(notebook, work / "notebook.ipynb", {**variant.parameters, **own}, Path.cwd())
        result, seconds = _said(work), time.perf_counter() - began
        made = {**state, "parameters": variant.parameters, "result": result, "seconds": round(seconds, 1)}
        write_atomically(work / RECORD, json.dumps(made, indent=1) + "\n")
        folders.replace(folder, work)
    except OSError as error:
        raise McalError(f"can't write {error.filename or folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return "made", seconds, result


def _state(notebook: Path, variant: Variant) -> dict[str, str]:
    """Hashes of everything that a variant depends on."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(PACKAGE.glob("**/*.py")))).hexdigest()
    return {
        "notebook_sha256": hashlib.sha256(notebook.read_bytes()).hexdigest(),
        "parameters_sha256": digest(variant.parameters),
        "package_sha256": code,
    }


def _recorded(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(record, dict) and isinstance(record.get("result"), str) and (folder / "notebook.ipynb").is_file()
    return record if whole else {}


def _said(folder: Path) -> str:
    """What an executed notebook has to say, in a line: the summary that it wrote, or else what it printed."""
    summary = folder / "summary.txt"
    if summary.is_file():
        text = summary.read_text(encoding="utf-8")
    else:
        text = "; ".join(notebooks.printed(folder / "notebook.ipynb"))
    line = " ".join(text.split("\n\n")[0].split())
    return line if len(line) <= 300 else f"{line[:299]}…"
