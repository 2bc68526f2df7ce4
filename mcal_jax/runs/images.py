"""The images of a run: how they are loaded, how a log knows them again, and the nets that suit them.

A named data set stands for its content; a file of one's own is known by the digests of what it holds, never by its
path.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from mcal_jax import data
from mcal_jax.data import Dataset, is_own
from mcal_jax.errors import McalError
from mcal_jax.files import absolute
from mcal_jax.runs.runlog import RunLog
from mcal_jax.runs.settings import DataSettings, Emit, Run


def load_data(run: Run, data_dir: str | Path | None = None) -> Dataset:
    """The images of a run, kept in memory while their files stay as they are."""
    return _load(run.data, data_dir, _stamp(run.data.name) if is_own(run.data.name) else None)


def _stamp(name: str) -> Any:
    """What changes when a file, or anything in a folder, does; None where it can't be read: load says what is wrong."""
    try:
        path = absolute(name)
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        stats = [(str(file), file.stat()) for file in files]
    except (OSError, ValueError, McalError):
        return None
    return hash(tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)))


@lru_cache(2)  # a sweep asks for the same images again and again, and decoding them takes seconds
def _load(d: DataSettings, data_dir: str | Path | None, stamp: Any) -> Dataset:
    return data.load(d.name, data_dir=data_dir, first=d.first, per_class=d.per_class, downsample=d.downsample)


def content(dataset: Dataset) -> dict[str, Any]:
    """What a log says of the images it is about."""
    named = {"version": dataset.version} if dataset.version else {}
    files = {"files": list(dataset.files)} if dataset.files else {}
    return {**data.fingerprint(dataset), **named, "class_names": list(dataset.classes), **files}


CONTENT = {
    "shape": "shapes",
    "images": "pixels",
    "features": "features",
    "labels": "labels",
    "version": "version",
    "files": "file names",
}
"""What the keys of ``content`` are called in messages; all others are about the classes."""


def check_content(log: RunLog, dataset: Dataset, emit: Emit = print) -> None:
    """Raises McalError if a log is about other images, labels or classes than those of ``dataset``, as far as it says.

    Early logs say only how many images they are about. Name and version of a TFDS set stand for its pixels, which
    another decoder may read otherwise: ``emit`` gets a line about that.
    """
    if log.job.n != len(dataset.images):
        raise McalError(
            f"{log.path} is the log of other images: {log.job.n:,} of them, and {dataset.name} holds "
            f"{len(dataset.images):,}; give another log"
        )
    here = content(dataset)
    changed = [key for key, there in log.content.items() if key in here and here[key] != there]
    if changed == ["images"] and "version" in here:
        emit(f"{dataset.name}: the pixels are not quite those that {log.path} began with: another decoder?")
    elif changed:
        key = changed[0]
        values = f" ({log.content[key]}, here {here[key]})" if key in ("shape", "version") else ""
        raise McalError(
            f"{log.path} is the log of other images: the {CONTENT.get(key, 'classes')} of {dataset.name} are not those "
            f"it is about{values}; give another log"
        )


# ---------------------------------------------------------------------------------------------------------
# A scale for a file of one's own

WIDTHS = (8, 16, 32, 64)
PATIENCE = 0.25
"""Seconds of training on a fifth of the images that a CPU may take, by a rough estimate, before nets get narrower."""


def with_suitable_scale(run: Run, given: dict[str, Any], emit: Emit) -> Run:
    """``run`` with the recipe ``fast`` and a width that suits its images and this machine, unless they are ``given``.

    The width is the full one on an accelerator, and on a CPU the widest that trains within ``PATIENCE``."""
    dataset, chosen = load_data(run), dict[str, Any]()
    if given.get("recipe") is None:
        chosen["recipe"] = "fast"
    if given.get("width") is None:
        chosen["width"] = suitable_width(dataset)
    if not dataset.has_images and given.get("architectures") is None:
        chosen["architectures"] = default_architectures(dataset)
        emit(f"features, no images: architecture {', '.join(chosen['architectures'])}; --architectures chooses others")
    run = run.model_copy(update=chosen)
    if chosen and dataset.has_images:
        emit(f"nets of width {run.width}, trained by recipe {run.recipe}; --width and --recipe choose others")
    return run


def default_architectures(dataset: Dataset) -> tuple[str, ...]:
    """What is trained where no architecture is given: ``resnet18``, or on features alone ``linear``."""
    return ("resnet18",) if dataset.has_images else ("linear",)


def suitable_width(dataset: Dataset) -> int:
    """Filters of the first stage of nets that train fast enough on these images on this machine."""
    if not dataset.has_images:
        return WIDTHS[-1]  # no head has a width
    from mcal_jax.training import devices
    from mcal_jax.training.trainer import RECIPES

    if devices.default().layout == "NHWC":
        return WIDTHS[-1]
    n, height, columns, _ = dataset.images.shape
    processed = RECIPES["fast"].steps(max(n // 5, 1)) * RECIPES["fast"].batch
    # ResNet18 of width 8 trains on about 3,700 images of 28x28 pixels a second on two cores.
    seconds = [processed * height * columns / 3e6 * (width / WIDTHS[0]) ** 1.8 for width in WIDTHS]
    return max((w for w, s in zip(WIDTHS, seconds, strict=True) if s <= PATIENCE), default=WIDTHS[0])
