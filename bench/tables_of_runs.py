"""Tables for docs/ of recorded runs and of exhibits made from them, as Markdown; docs_tables.py writes them there."""

import csv
import itertools
from pathlib import Path

import numpy as np

from mcal_jax.algorithm import costs
from mcal_jax.paper import records
from mcal_jax.paper.published import DATA_SETS
from mcal_jax.paper.records import Labelling
from mcal_jax.runs import sweeps

ROOT = Path(__file__).parent.parent
NAMES = {**DATA_SETS, "fashion_mnist_10k": "Fashion-MNIST, 10,000"}
PROFILES = ["short", "brief"]
"""The recipes of the laptop profile."""


def claims() -> str:
    """The paper's claims with what was measured at laptop scale, as Markdown."""
    with (ROOT / "results/laptop/claims/data.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["| the paper says | measured | verdict |", "|---|---|---|"]
    for row in rows:
        verdict = ": ".join(filter(None, (row["ours_verdict"], row["ours_why"])))
        cells = [cell.replace("|", "\\|") for cell in (row["paper_says"], row["ours_measured"], verdict)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def certified_images() -> str:
    """Real runs with and without a certificate, as the notebook certificate counted them, as Markdown."""
    with (ROOT / "results/laptop/certificate/data.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["images"]]
    lines = [
        "| images | recipe | certified | seeds | exceeded epsilon | error, mean | largest | savings, mean | range |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        share = {key: f"{float(row[key]):.2%}" for key in ("error", "error_high")}
        saved = {key: f"{float(row[f'savings{key}']):.1%}" for key in ("", "_low", "_high")}
        counts = (row["images"], row["recipe"], {"True": "yes", "False": "no"}[row["certified"]], row["seeds"])
        cells = (*counts, row["broke"], *share.values(), saved[""], f"{saved['_low']} to {saved['_high']}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def aged() -> str:
    """MCAL with all of T and with a T that ages, on the same seeds at laptop scale, as Markdown."""
    lines = [
        "| images | T | seeds | savings, mean | range | true error, mean | largest |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds = {"all of it": ("mcal", {"service": "amazon", "epsilon": 0.05}), "ages": ("aged", {})}
    for data_set, name in DATA_SETS.items():
        for kind, (sweep, settings) in kinds.items():
            runs = records.finished(records.labellings("laptop", sweep, data_set=data_set, **settings))
            lines.append(f"| {' | '.join([name, kind, *_saved(list(runs['record']))])} |")
    return "\n".join(lines)


CAUSES = (
    ("recommended", "0.1", "mcal", {"service": "amazon"}),
    ("recommended", "0.1", "certified", {"data_set": "fashion_mnist_10k"}),
    ("recommended", "0.1, T ages", "aged", {}),
    ("recommended", "today, ranking margin", "by_margin", {"recipe": PROFILES}),
    ("recommended", "today", "today", {"recipe": PROFILES}),
    ("recommended", "today, recipe fast, ranking margin", "by_margin", {"recipe": "fast"}),
    ("recommended", "today, recipe fast", "today", {"recipe": "fast"}),
    ("certified", "0.1", "certified", {}),
    ("certified", "today, ranking margin", "by_margin", {"recipe": PROFILES}),
    ("certified", "today", "today", {"recipe": PROFILES}),
    ("certified", "today, recipe fast, ranking margin", "by_margin", {"recipe": "fast"}),
    ("certified", "today, recipe fast", "today", {"recipe": "fast"}),
)
"""The preset, the defaults that a run has, the sweep it stands in, and which of its runs."""


def causes() -> str:
    """What the defaults of today and a longer training save on the same seeds at laptop scale, as Markdown."""
    lines = [
        "| images | preset | defaults | seeds | savings, mean | range | true error, mean | largest | exploration |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (data_set, name), (preset, defaults, sweep, own) in itertools.product(NAMES.items(), CAUSES):
        settings = {"data_set": data_set, "preset": preset, "epsilon": 0.05, **own}
        if settings["data_set"] != data_set or not sweeps.planned(sweep, "laptop", **settings):
            continue
        if runs := list(records.finished(records.labellings("laptop", sweep, optional=True, **settings))["record"]):
            explored = np.mean([_explored(one) for one in runs])
            lines.append(f"| {' | '.join([name, preset, defaults, *_saved(runs), f'{explored:.1%}'])} |")
    return "\n".join(lines)


def _saved(runs: list[Labelling]) -> list[str]:
    """Seeds, savings and true errors."""
    savings, error = (np.array([getattr(one, key) for one in runs]) for key in ("savings", "true_error"))
    reach = f"{savings.min():.1%} to {savings.max():.1%}" if len(runs) > 1 else ""
    return [f"{len(runs)}", f"{savings.mean():.1%}", reach, f"{error.mean():.2%}", f"{error.max():.2%}"]


def _explored(run: Labelling) -> float:
    """The share of the bill that all trainings but the last took."""
    return costs.total_training_cost(run.fits[:-1], run.architecture, run.config) / run.cost


def self_training_runs() -> str:
    """Runs by a net that learns from images without labels too and by one that does not, at each price, as Markdown."""
    lines = [
        "| labels at | training of | net and recipe | labels of humans | training | cost | savings | true error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = list(records.finished(records.labellings("laptop", "self_training", optional=True))["record"])
    for run in sorted(
        found, key=lambda run: (-run.config.label_price, run.run.training_price != "paper", run.run.architectures)
    ):
        year = "2021" if run.run.training_price == "paper" else "today"
        humans = run.n - run.S
        training = costs.total_training_cost(run.fits, run.architecture, run.config)
        cells = [f"${run.config.label_price:g}", year, f"`{'`, `'.join(run.run.architectures)}`", f"{humans:,}"]
        cells += [f"${training:.2f}", f"${run.cost:.2f}", f"{run.savings:.1%}", f"{run.true_error:.2%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
