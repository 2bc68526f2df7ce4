"""What a figure states about its runs: profile, images, width, recipe, seeds, and how many runs are missing."""

import pandas as pd

from mcal_jax.paper.published import DATA_SETS, data_set_name
from mcal_jax.paper.records import finished
from mcal_jax.plots.architectures import display_name
from mcal_jax.runs.settings import Run

SWEEPS = {
    "mcal": "MCAL",
    "trajectories": "active learning",
    "expensive_training": "expensive training",
    "imagenet": "EfficientNetB0",
}
"""Sweeps under the name by which a reader knows them."""
NAMES = {**DATA_SETS, "fashion_mnist_10k": "10,000 Fashion-MNIST"}
"""Data sets under the name by which a reader knows them."""
SIDES = {"fashion_mnist": 28, "fashion_mnist_10k": 28, "cifar10": 32, "cifar100": 32}
"""Height and width of images, in pixels."""


def coverage(runs: pd.DataFrame) -> str:
    """How many of the planned runs are finished: "9 of 27 runs", or "runs: MCAL 3 of 9, active learning 0 of 189" for
    the incomplete ones of several sweeps; "" if all are."""
    counts = {}
    for sweep, own in runs.groupby("sweep", sort=False):
        done = len(finished(own))
        if done < len(own):
            counts[sweep] = f"{done} of {len(own)}"
    if runs["sweep"].nunique() == 1:
        return "".join(f"{count} runs" for count in counts.values())
    parts = ", ".join(f"{SWEEPS.get(sweep, sweep)} {count}" for sweep, count in counts.items())
    return parts and f"runs: {parts}"


def scale(runs: pd.DataFrame, profile: str, planned: pd.DataFrame | None = None) -> str:
    """The scale of the finished runs in a line. Runs are missing of ``planned``, where ``runs`` are a choice of it."""
    parts = []
    for data_set, own in finished(runs).groupby("data_set", sort=False):
        images = {images_of(run) for run in own["run"]}
        training = {f"width {run.width}, recipe {run.recipe}" for run in own["run"]}
        named = "" if data_set == own["run"].iloc[0].data.name else f"{data_set_name(data_set)}: "
        parts.append(f"{named}{' and '.join(sorted(images))}, {' or '.join(sorted(training))}")
    missing = coverage(runs if planned is None else planned)
    return f"profile {profile}, {seeds_of(runs)}{missing and f', {missing}'}; {'; '.join(parts)}"


def short_scale(runs: pd.DataFrame, profile: str, planned: pd.DataFrame | None = None) -> str:
    """The scale short enough for a title: a line, and one more where runs are missing."""
    done = finished(runs)
    widths = "/".join(sorted({str(run.width) for run in done["run"]}))
    sides = "/".join(sorted({images_of(run).split()[-1] for run in done["run"]}))
    recipes = "/".join(sorted({run.recipe for run in done["run"]}))
    stand_ins = any(run.data.name != data_set for run, data_set in zip(done["run"], done["data_set"], strict=True))
    instead = ", stand-in images" if stand_ins else ""
    missing = coverage(runs if planned is None else planned)
    title = f"profile {profile}: {sides} pixels, width {widths}, recipe {recipes}, {seeds_of(runs)}{instead}"
    return f"{title}\n{missing}" if missing else title


def run_scale(run: Run, profile: str) -> str:
    """The data, architectures and scale of one run in a line, as "CIFAR-10 images 16x16, ResNet18; profile laptop:
    width 8, recipe short, seed 0"."""
    nets = ", ".join(map(display_name, run.architectures))
    return f"{images_of(run)}, {nets}; profile {profile}: width {run.width}, recipe {run.recipe}, seed {run.seed}"


def data_text(runs: pd.DataFrame) -> str:
    """The data sets and architectures of the finished runs, as "CIFAR-10, ResNet18"."""
    done = finished(runs)
    order = list(DATA_SETS)
    known = sorted(done["data_set"].unique(), key=lambda one: order.index(one) if one in order else len(order))
    names = [data_set_name(one) for one in known]
    return ", ".join([*names, *map(display_name, done["architecture"].unique())])


def images_of(run: Run) -> str:
    """The images of a run in words, as "CIFAR-10 images 32x32"."""
    side = SIDES.get(run.data.name, 0) // (run.data.downsample or 1)
    return f"{NAMES.get(run.data.name, run.data.name)} images {f'{side}x{side}' if side else ''}".strip()


def seeds_of(runs: pd.DataFrame) -> str:
    """Which seeds are finished; how many at least and at most, where data sets, architectures or acquisition functions
    have different ones."""
    done = finished(runs).assign(algorithm=lambda own: [run.algorithm for run in own["run"]])
    kinds = done.groupby(["data_set", "architecture", "algorithm", "acquisition"], sort=False)["seed"]
    each = {tuple(sorted(set(seeds))) for _, seeds in kinds}
    if len(each) > 1:
        counts = sorted(len(own) for own in each)
        different = f"{counts[0]} to {counts[-1]} seeds"
        return different if counts[0] < counts[-1] else f"{counts[0]} seed{'s' * (counts[0] > 1)} each"
    (own,) = map(list, each)
    if len(own) == 1:
        return f"seed {own[0]}"
    if own == list(range(own[0], own[-1] + 1)):
        return f"seeds {own[0]} to {own[-1]}"
    return f"seeds {', '.join(map(str, own))}"
