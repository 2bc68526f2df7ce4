"""Seconds between the last answer to a batch and the first image of the next one, and what of that is training.

A desk over the 10,000 Fashion-MNIST images that come with the package; their true labels stand for people, who take no
time. The first batch of B is handed out together with T, so nobody waits between these two.

    python bench/time_to_next_image.py --width 8 --recipe fast
"""

import argparse
import tempfile
import time
from pathlib import Path

from mcal_jax import Config, Session, load
from mcal_jax.labelling.desk import Desk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--width", type=int)
    parser.add_argument("--recipe")
    parser.add_argument("--epsilon", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pool = load("fashion_mnist_10k", first=args.images)
    config = Config(epsilon=args.epsilon)
    with tempfile.TemporaryDirectory() as folder:
        settings = dict(width=args.width, recipe=args.recipe, seed=args.seed, config=config)
        session = Session(pool, log=Path(folder, "run.jsonl"), **settings)
        desk, answered, last = Desk(session), 0, None
        while not desk.wait(0):
            images = desk.take("person", 12)
            if images and last is not None and (waited := time.perf_counter() - last) > 0.1:
                print(f"{answered:,} labels: next image after {waited:.2f} s ({desk.purpose(images[0])})", flush=True)
            for image in images:
                desk.answer("person", image, int(pool.labels[image]))
                answered, last = answered + 1, time.perf_counter()
            if not images:
                time.sleep(0.005)
        seconds = [fit.seconds for fit in session.result().outcome.history]
        print(f"{answered:,} labels in all; trainings took {', '.join(f'{s:.2f}' for s in seconds)} s")


if __name__ == "__main__":
    main()
