"""The paper's claims: each with the rule by which recorded runs are judged, and the verdict.

A verdict is a rule fixed beforehand, stated in ``rule``, and an interval over seeds. Where the interval leaves it open,
or there is one seed, the verdict is "can't tell"; where the runs are missing, "not tested".
"""

from collections.abc import Collection
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from mcal_jax.paper import evidence, records
from mcal_jax.paper.bootstrap import DRAWS, Interval, interval, resample
from mcal_jax.paper.evidence import Evidence, Finding, Measure

Verdict = Literal["holds", "does not hold", "can't tell", "not tested"]


class Claim(NamedTuple):
    """A claim of the paper. ``rule`` says when it holds; a ``share`` of the cases must agree with it.

    ``exhibits`` are the figures and tables in which a reader meets it.

    A claim about ``every_run`` is refuted by a single one.
    """

    name: str
    says: str
    where: str
    rule: str
    measure: Measure
    exhibits: tuple[str, ...]
    share: float = 1.0
    every_run: bool = False


def gather(profile: str) -> tuple[Evidence, pd.DataFrame]:
    """The evidence at a profile, as far as its runs are finished, and all of its runs.

    Raises NoRuns where none is finished.
    """
    curves = records.trajectories(profile, optional=True)
    sweeps = ("mcal", "acquisition", "subsets", "expensive_training")
    runs = [records.labellings(profile, sweep, optional=True) for sweep in sweeps]
    return Evidence(curves, *runs), records.together(curves, *runs)


def judge(runs: Evidence, reasons: dict[str, str] | None = None, names: Collection[str] | None = None) -> pd.DataFrame:
    """Every claim, or those of these names, with its verdict. ``reasons`` explain, by name, why a claim fails.

    ``ours_margin`` is by how much the rule is met, a share, negative where it is not; ``_low`` and ``_high`` are its
    interval of 95 % over seeds.
    """
    judged = [claim for claim in CLAIMS if names is None or claim.name in names]
    findings = {claim.name: claim.measure(runs) for claim in judged}
    intervals = margin_intervals(runs, [claim for claim in judged if is_replicated(findings[claim.name])])
    rows = []
    for claim in judged:
        finding = findings[claim.name]
        if finding and not finding.margins:  # no case has all the runs that it needs
            finding = None
        margin = deciding_margin(claim, finding) if finding else np.nan
        span = intervals.get(claim.name, Interval(np.nan, np.nan))
        rows.append(
            {"claim": claim.name, "paper_says": claim.says, "paper_where": claim.where, "rule": claim.rule}
            | {"ours_measured": finding.measured if finding else "no finished runs"}
            | {"ours_margin": margin, "ours_margin_low": span.low, "ours_margin_high": span.high}
            | {"ours_seeds": finding.seeds if finding else 0, "ours_verdict": verdict_of(claim, finding, span)}
            | {"ours_why": (reasons or {}).get(claim.name, "")}
        )
    return pd.DataFrame(rows)


def is_replicated(finding: Finding | None) -> bool:
    """Whether every case has several seeds, so that chance can be told from effect."""
    return finding is not None and bool(finding.margins) and finding.seeds > 1


def deciding_margin(claim: Claim, finding: Finding) -> float:
    """The margin of the case on which the claim turns: where all must agree, the least.

    >>> claim = Claim("x", "", "", "two thirds of the curves", lambda e: None, (), 2 / 3)
    >>> deciding_margin(claim, Finding("", [-0.3, 0.2, 0.1], 3))
    0.1
    """
    ordered = sorted(finding.margins)
    return float(ordered[min(int((1 - claim.share) * len(ordered) + 1e-9), len(ordered) - 1)])


def margin_intervals(runs: Evidence, claims: "list[Claim]") -> dict[str, Interval]:
    """The interval over seeds of the deciding margin of each claim, by its name."""
    rng, margins = np.random.default_rng(0), {claim.name: list[float]() for claim in claims}
    for _ in range(DRAWS if claims else 0):
        sample = Evidence(*(resample(own, rng) for own in runs))
        for claim in claims:
            finding = claim.measure(sample)
            if finding and finding.margins:
                margins[claim.name].append(deciding_margin(claim, finding))
    return {name: interval(values) for name, values in margins.items()}


def verdict_of(claim: Claim, finding: Finding | None, span: Interval) -> Verdict:
    """A claim holds, or does not, where the whole interval of its margin is on one side of zero."""
    if finding is None:
        return "not tested"
    if claim.every_run and min(finding.margins) <= 0:
        return "does not hold"
    if not is_replicated(finding):
        return "can't tell"
    return "holds" if span.low > 0 else "does not hold" if span.high <= 0 else "can't tell"


COSTS = ("tab01", "tab02", "fig07", "fig08", "fig09", "fig10", "fig16", "fig17", "fig18")
LAWS = ("fig02", "fig03", *(f"fig{number}" for number in range(22, 28)))
"""Exhibits of the same claim."""
CLAIMS: tuple[Claim, ...] = (
    Claim("mcal_beats_al", "MCAL costs less than active learning with its best batch", "section 5.1, tables 1 and 2",
          "mean over seeds, every data set and service", evidence.mcal_against_oracle, COSTS),
    Claim("mcal_beats_hindsight", "(ours) MCAL costs less than AL that also stops and takes θ in hindsight", "",
          "mean over seeds, every data set and service", evidence.mcal_against_hindsight, ("prices_today",)),
    Claim("harder_saves_less", "Savings fall from Fashion-MNIST (86 %) to CIFAR-10 (67 %) to CIFAR-100 (29 %)",
          "section 5.1, table 1", "each above the next, Amazon", evidence.harder_saves_less, ("fig07", "tab01")),
    Claim("uncertainty_beats_kcenter", "Uncertainty acquisition is about 25 % cheaper than k-center", "figure 11",
          "15 to 35 % cheaper", evidence.uncertainty_beats_kcenter, ("fig11",)),
    Claim("smaller_batch_more_machine", "Smaller batches let the machine label more (10 to 15 % of X)", "figure 12",
          "least above largest batch, in two thirds of the curves", evidence.machine_share, ("fig12",), 2 / 3),
    Claim("resnet18_cheapest", "ResNet18 is the cheapest architecture", "section 5.1, table 2",
          "cheapest AL on every data set and service with all three architectures", evidence.resnet18_cheapest,
          ("fig07", "tab02")),
    Claim("al_gain_amazon", "Active learning saves about 20 % (Amazon; Fashion-MNIST, CIFAR-10)", "figure 14",
          "10 to 30 % on both", evidence.gain_of_active_learning("amazon", 0.1, 0.3), ("fig14",)),
    Claim("al_gain_satyam", "Active learning saves 25 to 31 % (Satyam; Fashion-MNIST, CIFAR-10)", "figure 15",
          "20 to 36 % on both", evidence.gain_of_active_learning("satyam", 0.2, 0.36), ("fig15",)),
    Claim("cheaper_labels_larger_b", "Cheaper labels mean a larger B", "section 5.3, table 1",
          "every data set", evidence.cheaper_labels_larger_b, ("tab01",)),
    Claim("more_a_class", "5,000 images per class are machine-labelled more (65 %) than 1,000 (30 %)", "figure 13",
          "largest above smallest subset", evidence.more_per_class, ("fig13",)),
    Claim("looser_saves_more", "ε = 10 % saves more than 5 %", "table 3", "every data set and service",
          evidence.looser_saves_more, ("tab03",)),
    Claim("truncated_better", "The truncated law predicts better at large |B|", "section 3.2, figure 2",
          "nearer at the largest |B| in more than half of the curves where the laws differ",
          evidence.truncated_better, LAWS, 0.5),
    Claim("batch_hardly_matters", "At the same |B| the batch changes the error by less than 1 point for small θ",
          "figure 4", "range below 1 point for θ of 25 and 50 %", evidence.batch_hardly_matters, ("fig04",)),
    Claim("hopeless_stops", "Where training can't pay, it stops within the exploration tax, 10 % of humans only",
          "footnote 5", "every such run, and no more than the tax above humans only", evidence.hopeless_stops,
          ("prices_today",), every_run=True),
    Claim("bound_is_kept", "The error of the labels delivered stays below ε", "tables 1 and 3",
          "every run", evidence.bound_holds, ("tab01", "tab03", "certificate"), every_run=True),
    Claim("training_varies", "The batch changes the training cost 2 times (Fashion-MNIST), 5 times (CIFAR)",
          "figures 19 to 21", "at least two thirds of that", evidence.training_varies, ("fig19", "fig20", "fig21")),
)  # fmt: skip
