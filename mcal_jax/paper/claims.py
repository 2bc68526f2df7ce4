"""The paper's claims: each with the rule by which recorded runs are judged, and the verdict.

A verdict is a rule fixed beforehand, stated in ``rule``; where the runs are missing, the claim is "not tested".
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from mcal_jax.paper import evidence, records
from mcal_jax.paper.evidence import Evidence, Measure

Verdict = Literal["holds", "does not hold", "not tested"]


class Claim(NamedTuple):
    """A claim of the paper. ``rule`` says when it counts as holding; ``share`` of the cases must agree."""

    name: str
    says: str
    where: str
    rule: str
    measure: Measure
    share: float = 1.0


def gather(profile: str) -> tuple[Evidence, pd.DataFrame]:
    """The evidence at a profile, as far as its runs are finished, and all of its runs.

    Raises NoRuns where none is finished.
    """
    curves = records.trajectories(profile, optional=True)
    sweeps = ("mcal", "acquisition", "subsets", "expensive_training")
    runs = [records.labellings(profile, sweep, optional=True) for sweep in sweeps]
    return Evidence(curves, *runs), records.together(curves, *runs)


def judge(runs: Evidence, reasons: dict[str, str] | None = None) -> pd.DataFrame:
    """Every claim with its verdict. ``reasons`` explain, by the name of the claim, why one fails."""
    rows = []
    for claim in CLAIMS:
        finding = claim.measure(runs)
        if finding and not finding.agrees:  # no case has all the runs that it needs
            finding = None
        verdict: Verdict = "not tested"
        if finding:
            verdict = "holds" if np.mean(finding.agrees) >= claim.share - 1e-9 else "does not hold"
        rows.append(
            {"claim": claim.name, "paper_says": claim.says, "paper_where": claim.where, "rule": claim.rule}
            | {"ours_measured": finding.measured if finding else "no finished runs"}
            | {"ours_seeds": finding.seeds if finding else 0, "ours_verdict": verdict}
            | {"ours_why": (reasons or {}).get(claim.name, "")}
        )
    return pd.DataFrame(rows)


CLAIMS = (
    Claim("mcal_beats_al", "MCAL costs less than active learning with its best batch", "section 5.1, tables 1 and 2",
          "mean over seeds, every data set and service", evidence.mcal_against_oracle),
    Claim("mcal_beats_hindsight", "(ours) MCAL costs less than AL that also stops and takes theta in hindsight", "",
          "mean over seeds, every data set and service", evidence.mcal_against_hindsight),
    Claim("harder_saves_less", "Savings fall from Fashion-MNIST (86 %) to CIFAR-10 (67 %) to CIFAR-100 (29 %)",
          "section 5.1, table 1", "each above the next, Amazon", evidence.harder_saves_less),
    Claim("uncertainty_beats_kcenter", "Uncertainty acquisition is about 25 % cheaper than k-center", "figure 11",
          "15 to 35 % cheaper", evidence.uncertainty_beats_kcenter),
    Claim("smaller_batch_more_machine", "Smaller batches let the machine label more (10 to 15 % of X)", "figure 12",
          "least above largest batch, in two thirds of the curves", evidence.machine_share, 2 / 3),
    Claim("resnet18_cheapest", "ResNet18 is the cheapest architecture", "section 5.1, table 2",
          "cheapest AL on every data set and service with all three architectures", evidence.resnet18_cheapest),
    Claim("al_gain_amazon", "Active learning saves about 20 % (Amazon; Fashion-MNIST, CIFAR-10)", "figure 14",
          "10 to 30 % on both", evidence.gain_of_active_learning("amazon", 0.1, 0.3)),
    Claim("al_gain_satyam", "Active learning saves 25 to 31 % (Satyam; Fashion-MNIST, CIFAR-10)", "figure 15",
          "20 to 36 % on both", evidence.gain_of_active_learning("satyam", 0.2, 0.36)),
    Claim("cheaper_labels_larger_b", "Cheaper labels mean a larger B", "section 5.3, table 1",
          "every data set", evidence.cheaper_labels_larger_b),
    Claim("more_a_class", "5,000 images per class are machine-labelled more (65 %) than 1,000 (30 %)", "figure 13",
          "largest above smallest subset", evidence.more_per_class),
    Claim("looser_saves_more", "Epsilon 10 % saves more than 5 %", "table 3", "every data set and service",
          evidence.looser_saves_more),
    Claim("truncated_better", "The truncated law predicts better at large |B|", "section 3.2, figure 2",
          "nearer at the largest |B| in more than half of the curves", evidence.truncated_better, 0.5),
    Claim("batch_hardly_matters", "At the same |B| the batch changes the error by less than 1 point for small theta",
          "figure 4", "range below 1 point for theta 25 and 50 %", evidence.batch_hardly_matters),
    Claim("hopeless_stops", "Where training can't pay, it stops within the exploration tax, 10 % of humans only",
          "footnote 5", "every such run, and no more than the tax above humans only", evidence.hopeless_stops),
    Claim("bound_is_kept", "The error of the labels delivered stays below epsilon", "tables 1 and 3",
          "every run", evidence.bound_holds),
    Claim("training_varies", "The batch changes the training cost 2 times (Fashion-MNIST), 5 times (CIFAR)",
          "figures 19 to 21", "at least two thirds of that", evidence.training_varies),
)  # fmt: skip
