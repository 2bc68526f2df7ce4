"""Seconds between the last answer to a batch and the first image of the next one, and what of that is training.

A desk over the 10,000 Fashion-MNIST images that come with the package; their true labels stand for people, who take no
time. One person takes 12 images at a time. Batches of random images are handed out early, before the batch in front of
them is whole ("early"), or not ("in order"); both in turn, with the same seed.

    python bench/time_to_next_image.py --width 8 --recipe fast --out results/bench/next_image.csv
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tables import publish

from mcal_jax import Config, Session, load
from mcal_jax.data import Dataset
from mcal_jax.labelling.desk import Desk


class InOrder(Session):
    """A session that hands out nothing early."""

    def ask_ahead(self) -> None:
        """Nothing."""


def waits(session: Session, pool: Dataset) -> list[dict[str, Any]]:
    """A row for each batch: its purpose, the labels given before it, and the seconds that people waited for it."""
    assert pool.labels is not None
    desk, answered, last, rows, purpose = Desk(session), 0, None, [], ""
    while not desk.wait(0):
        images = desk.take("person", 12)
        if images and (now := desk.purpose(images[0])) != purpose:
            purpose = now
            waited = time.perf_counter() - last if last else 0.0
            rows.append({"purpose": now, "labels_before": answered, "waited": waited})
        elif images and last and (waited := time.perf_counter() - last) > 0.1:
            rows.append({"purpose": purpose, "labels_before": answered, "waited": waited})
        for image in images:
            desk.answer("person", image, int(pool.labels[image]))
            answered, last = answered + 1, time.perf_counter()
        if not images:
            time.sleep(0.005)
    trainings = [fit.seconds for fit in session.result().outcome.history]
    for row in rows:
        row["trainings"] = sum(trainings)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--width", type=int)
    parser.add_argument("--recipe")
    parser.add_argument("--epsilon", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    pool, rows = load("fashion_mnist_10k", first=args.images), []
    for how, kind in (("in order", InOrder), ("early", Session)):
        with tempfile.TemporaryDirectory() as folder:
            settings: dict[str, Any] = dict(width=args.width, recipe=args.recipe, seed=args.seed)
            session = kind(pool, log=Path(folder, "run.jsonl"), config=Config(epsilon=args.epsilon), **settings)
            for row in waits(session, pool):
                rows.append({"batches": how, "images": args.images, **row, "load_average": os.getloadavg()[0]})
                print(rows[-1], flush=True)
    publish(rows, args.out)


if __name__ == "__main__":
    main()
