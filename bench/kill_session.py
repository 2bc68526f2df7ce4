"""A session is killed again and again (SIGKILL): between ask and tell, within a tell, while a classifier trains.

Each process goes on from the log where the last one died, until all images have a label. Checked: no image is asked for
again once its label was taken, no label that was taken is lost, and the labels and the bill are those of a session that
nobody killed.

    python bench/kill_session.py --kills 10 --seed 0
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.runs.codec import unpack
from mcal_jax.runs.runlog import RunLog

MOMENTS = ("asked", "telling", "took", "training")
"""What a child says: a batch was handed out; labels are being told; they were taken; a classifier trains."""

CHILD = """
import json, sys
import numpy as np
from mcal_jax import Config, Session, load
path = sys.argv[1]
def say(moment, indices=()):
    print(json.dumps([moment, [int(i) for i in indices]]), flush=True)
images = load("fashion_mnist_10k", first=600, downsample=2)
settings = dict(config=Config(epsilon=0.2, certify=0.9), width=2, recipe="brief", log=path)
session = Session(images, on_progress=lambda done, steps: say("training"), **settings)
while (batch := session.ask()) is not None:
    say("asked", batch.indices)
    for some in np.array_split(batch.indices, 3):
        say("telling", some)
        session.tell(some, images.labels[some])
        say("took", some)
result = session.result()
say("end " + json.dumps([result.labels.tolist(), round(result.bill.total, 6)]))
"""


def play(log: Path, moment: str | None, after: int, taken: set[int]) -> tuple[str, int]:
    """Run a child until its ``after``-th ``moment``, when it is killed, or to its end (no moment).

    Returns what it said at its end, if it got there, and how many images it asked for that were ``taken`` already; adds
    those that it took.
    """
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(log)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    count, asked_again, end = 0, 0, ""
    for line in child.stdout:
        said, indices = json.loads(line)
        if said == "asked":
            asked_again += len(taken & set(indices))
        if said == "took":
            taken |= set(indices)
        if said.startswith("end "):
            end = said[4:]
        count += said == moment
        if said == moment and count == after:
            os.kill(child.pid, signal.SIGKILL)
            break
    for line in child.stdout:  # what it had said before it died
        said, indices = json.loads(line)
        taken |= set(indices) if said == "took" else set()
    child.wait()
    return end, asked_again


def measured(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """A session killed so often, and whether it ended as one that nobody killed."""
    rng = random.Random(seed)
    undisturbed, _ = play(folder / "whole.jsonl", None, 0, set())
    log, taken, again, end, done = folder / "killed.jsonl", set[int](), 0, "", 0
    while not end:
        moment = MOMENTS[done % len(MOMENTS)] if done < kills else None
        end, asked_again = play(log, moment, rng.randint(1, 3), taken)
        again += asked_again
        done += moment is not None and not end
    told = [image for part in RunLog.read(log).parts if "labels" in part for image in told_in(part)]
    labels, cost = json.loads(end)
    return {
        "kills": done, "answers": len(taken), "lost": len(taken - {image for _, image in told}),
        "asked_again": again, "recorded_twice": len(told) - len(set(told)),
        "same_bill": [labels, cost] == json.loads(undisturbed), "cost": cost,
    }  # fmt: skip


def told_in(part: dict[str, Any]) -> list[tuple[int, int]]:
    """Batch and image of each label in a part of a log."""
    return [(part["number"], int(image)) for image in unpack(part["indices"], np.int64)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = measured(args.kills, args.seed, Path(folder))
    print(
        f"{row['kills']} kills; images asked for after their label was taken: {row['asked_again']}; lost: "
        f"{row['lost']}; labels and bill (${row['cost']:,.2f}) as without kills: {row['same_bill']}"
    )
    if row["asked_again"] or row["lost"] or not row["same_bill"] or row["kills"] < args.kills:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
