"""Three annotators, right in 60 % and 98 % of their answers and by chance: error, dollars and certificate.

    nice python bench/annotator_quality.py --seeds 3 --runs results/bench/annotator_quality_runs.csv --out ...

2,000 of the shipped images, 200 a class, are labelled by certified MCAL, epsilon 5 %, by a ridge regression on fixed
features of patches. Whoever is free labels: the order in which the three come to an image is random. An answer costs
0.04 US dollars; a training what the paper's ResNet18 costs; with "second opinion" a wrong label costs 0.40. "Gold" are
50 images that an expert has labelled before, at 0.12 each, of which every annotator gets one for each 20 images.

``human_error`` is the share of wrong labels among those that humans gave, ``error`` that of all labels, by the truth;
``broken`` in how many runs that is epsilon or more, although ``bound``, which takes humans at their word, is below;
it is 0 where humans label everything.
``opinions`` is the mean number a label; ``dollars`` all that was paid, of which ``gold_dollars`` for gold questions.
``skill_60``, ``skill_98``, ``skill_spammer``: share of right answers as the table of annotators estimates it.
"""

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from labelling_worlds import RidgeTrainer, kept_features, ridge_world
from peers_labelling import PRICE
from tables import publish

from mcal_jax import data
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.job import Job
from mcal_jax.annotators.panel import Panel
from mcal_jax.data import Dataset
from mcal_jax.runs.open_batches import GoldAnswer
from mcal_jax.session import Batch, Session

ANSWER, EXPERT = 0.04, 0.12
"""US dollars for an answer, and for the label of a gold question."""
MISTAKE = 0.40
GOLD, GOLD_IMAGES = 0.05, 50
SKILLS = {"60 %": 0.6, "98 %": 0.98, "spammer": 0.1}


class Policy(NamedTuple):
    """How annotators are asked, and what their answers make."""

    opinions: int = 3
    aggregation: str = "majority"
    mistake_cost: float | None = None
    gold: float = 0.0
    prices: dict[str, float] = {}


POLICIES = {
    "one opinion": Policy(opinions=1),
    "majority of three": Policy(),
    "Dawid-Skene of three": Policy(aggregation="dawid_skene"),
    "Dawid-Skene of three, gold": Policy(aggregation="dawid_skene", gold=GOLD),
    "second opinion by price": Policy(mistake_cost=MISTAKE),
    "second opinion by price, gold": Policy(mistake_cost=MISTAKE, gold=GOLD),
    "second opinion by price, gold, 98 % at 0.08": Policy(mistake_cost=MISTAKE, gold=GOLD, prices={"98 %": 0.08}),
    "MACE of three": Policy(aggregation="mace"),
}


class Crowd:
    """The three annotators, who answer what a session asks by a policy; ``paid`` in US dollars."""

    def __init__(self, session: Session, truth: np.ndarray, policy: Policy, seed: int):
        self.session, self.truth, self.policy = session, truth, policy
        self.classes = len(session.dataset.classes)
        rules: dict[str, Any] = dict(aggregation=policy.aggregation, mistake_cost=policy.mistake_cost)
        self.panel = Panel(self.classes, opinions=policy.opinions, price=ANSWER, prices=policy.prices, **rules)
        self.rng = np.random.default_rng([seed, 5])
        gold = np.random.default_rng(seed).choice(len(truth), GOLD_IMAGES, replace=False) if policy.gold else []
        self.gold = {name: iter(self.rng.permutation(gold).tolist()) for name in SKILLS}
        self.paid = 0.0
        self.gold_paid = EXPERT * len(gold)

    def label(self, batch: Batch) -> None:
        """Have a batch labelled."""
        images = batch.indices.tolist()
        with self.session.log.together():
            for image in images:
                self._ask(image, batch)
        labels = self.panel.labels(images)
        self.session.tell(images, [labels[image] for image in images], annotator="all")

    def _ask(self, image: int, batch: Batch) -> None:
        """Ask one annotator after another, as they come, as long as another opinion is wanted."""
        coming = self.rng.permutation(list(SKILLS)).tolist()
        while len(self.panel.votes.get(image, {})) < self.panel.needed(image, SKILLS, batch.stands_for):
            willing = [name for name in coming if self.panel.is_wanted(image, name, batch.stands_for)]
            if not (willing or coming):
                return  # a tie of all
            name = (willing or coming)[0]
            coming.remove(name)
            label = self._answer(name, image)
            self.session.vote(image, label, annotator=name)
            self.panel.add(image, name, label)
            self.paid += self.panel.price_of(name)
            if self.rng.random() < self.policy.gold and (known := next(self.gold[name], None)) is not None:
                said, truth = self._answer(name, known), int(self.truth[known])
                self.session.batches.gold(GoldAnswer(known, said, truth, name))
                self.panel.add_gold(known, name, said, truth)
                self.gold_paid += self.panel.price_of(name)

    def _answer(self, name: str, image: int) -> int:
        """What an annotator calls an image: if it is wrong, any other class."""
        right = self.rng.random() < SKILLS[name]
        return int(self.truth[image] + (0 if right else self.rng.integers(1, self.classes))) % self.classes


def measured(dataset: Dataset, features: np.ndarray, policy: Policy, seed: int, log: Path) -> dict[str, float]:
    """One run, in figures."""
    truth = dataset.labels
    assert truth is not None
    config = Config.certified(label_price=ANSWER * policy.opinions, training_price=PRICE)
    job = Job(n=len(truth), architectures=("ridge",), config=config)
    world = ridge_world(dataset, RidgeTrainer(features, len(dataset.classes)), seed)
    with Session.over(world, job, dataset._replace(labels=None), log) as session:
        crowd = Crowd(session, truth, policy, seed)
        while (batch := session.ask()) is not None:
            crowd.label(batch)
        result = session.result()
    human, table = ~result.by_machine, result.annotators().set_index("annotator")
    answers = int(table["answers"].sum())
    return {
        "opinions": float(answers / human.sum()), "human": float(human.mean()),
        "human_error": float(np.mean(result.labels[human] != truth[human])),
        "error": float(np.mean(result.labels != truth)),
        "bound": result.certificate.bound if result.certificate else 0.0,
        "dollars": crowd.paid + crowd.gold_paid + result.bill.training, "gold_dollars": crowd.gold_paid,
        **{f"skill_{name.removesuffix(' %')}": float(table["accuracy"].get(name, np.nan)) for name in SKILLS},
    }  # fmt: skip


def summary(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each policy, means over its seeds."""
    table = []
    for name in POLICIES:
        of = runs[runs["policy"] == name].drop(columns="policy")
        if len(of):
            means = of.drop(columns="seed").mean().to_dict()
            spread = {f"{key}_sd": float(of[key].std(ddof=0)) for key in ("error", "dollars")}
            broken = int((of["error"] >= Config().epsilon).sum())
            table.append({"policy": name, "seeds": len(of), **means, **spread, "broken": broken})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument(
        "--runs", type=Path, required=True, help="a file of the single runs, gone on with if it is there"
    )
    parser.add_argument("--features", type=Path, default=Path(tempfile.gettempdir()) / "mcal-features")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    dataset = data.load("fashion_mnist_10k", per_class=args.per_class)
    features = kept_features(dataset, args.features)
    runs = pd.read_csv(args.runs) if args.runs.exists() else pd.DataFrame(columns=["policy", "seed"])
    done = set(zip(runs["policy"], runs["seed"], strict=True))
    for seed, (name, policy) in itertools.product(range(args.seeds), POLICIES.items()):
        if (name, seed) in done:
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = {
                "policy": name,
                "seed": seed,
                **measured(dataset, features, policy, seed, Path(folder) / "run.jsonl"),
            }
        print(run, flush=True)
        runs = pd.concat([runs, pd.DataFrame([run])]) if len(runs) else pd.DataFrame([run])
        args.runs.parent.mkdir(parents=True, exist_ok=True)
        runs.to_csv(args.runs, index=False)
    publish(summary(runs), args.out)


if __name__ == "__main__":
    main()
