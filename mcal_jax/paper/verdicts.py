"""The verdicts on the paper's claims as they were recorded at each scale, for pages that show them."""

import csv
from typing import NamedTuple

from mcal_jax.paper.claims import CLAIMS
from mcal_jax.runs import settings

SCALES = ("smoke", "laptop", "paper")
"""Profiles, from small to large."""


class Judged(NamedTuple):
    """A claim with its verdict at a scale. ``margin`` is by how much its rule is met, with the interval over seeds, in
    words; numbers of seeds are the least of any case."""

    name: str
    says: str
    where: str
    rule: str
    measured: str
    margin: str
    seeds: str
    verdict: str
    why: str


def read(profile: str) -> dict[str, Judged]:
    """The verdicts of a profile by the name of the claim; empty where there are none, or none that can be read."""
    path = settings.results() / profile / "claims" / "data.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["claim"]: _judged(row) for row in csv.DictReader(file, strict=True)}
    except (OSError, ValueError, KeyError, csv.Error):
        return {}


def by_scale(profile: str) -> dict[str, dict[str, Judged]]:
    """The verdicts of each profile that has any, from the smallest scale to the largest; of smoke, whose numbers say
    nothing about the paper, only for its own page."""
    found = {name: read(name) for name in SCALES if name != "smoke" or profile == "smoke"}
    return {name: verdicts for name, verdicts in found.items() if verdicts}


def of_exhibit(exhibit: str, judged: dict[str, Judged]) -> list[Judged]:
    """The verdicts that a figure or table is evidence for, in the order of the claims."""
    return [judged[claim.name] for claim in CLAIMS if exhibit in claim.exhibits and claim.name in judged]


def _judged(row: dict[str, str]) -> Judged:
    low, high = row["ours_margin_low"], row["ours_margin_high"]
    margin = f"{_points(row['ours_margin'])} points" if row["ours_margin"] else ""
    if low and high:
        margin += f", 95 % interval {_points(low)} to {_points(high)}"
    elif margin:
        margin += ", no interval: a case has one seed"
    return Judged(
        row["claim"], row["paper_says"], row["paper_where"], row["rule"], row["ours_measured"], margin,
        row["ours_seeds"], row["ours_verdict"], row["ours_why"],
    )  # fmt: skip


def _points(share: str) -> str:
    return f"{100 * float(share):+.1f}".replace("-", "−")
