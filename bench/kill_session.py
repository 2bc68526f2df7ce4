"""A session is killed again and again (SIGKILL): between ask and tell, within a tell, while a classifier trains.

Each process goes on from the log where the last one died, until all images have a label. Checked: no image is asked for
again once its label was taken, no label that was taken is lost, and the labels and the bill are those of a session that
nobody killed.

    python bench/kill_session.py --kills 10 --seed 0
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax.runs.codec import unpack
from mcal_jax.runs.runlog import RunLog

MOMENTS = ("asked", "telling", "took", "training")
"""What a child says: a batch was handed out; labels are being told; they were taken; a classifier trains."""

SAY = """
import json, sys
from pathlib import Path
import numpy as np
def say(moment, indices=()):
    print(json.dumps([moment, [int(i) for i in indices]]), flush=True)
"""
TRAINED = """
from mcal_jax import Config, Session, load
images = load("fashion_mnist_10k", first=600, downsample=2)
settings = dict(config=Config(epsilon=0.2, certify=0.9), width=2, recipe="brief", log=sys.argv[1])
session = Session(images, on_progress=lambda done, steps: say("training"), **settings)
label_of = lambda i: int(images.labels[i])
"""
"""The session of a child: one that trains."""
LABEL = """
while (batch := session.ask()) is not None:
    say("asked", batch.indices)
    for some in np.array_split(batch.indices, 3):
        say("telling", some)
        session.tell(some, [label_of(i) for i in some.tolist()])
        say("took", some)
result = session.result()
say("end " + json.dumps([result.labels.tolist(), round(result.bill.total, 6)]))
"""


def process(code: str, *words: str) -> subprocess.Popen:
    """A process of its own that runs Python code."""
    return subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)


def play(
    start: Callable[..., Any], session: str, log: Path, moment: str | None, after: int, taken: set[int]
) -> tuple[str, int]:
    """Run a child, whose code makes the ``session``, until its ``after``-th ``moment``, when it is killed.

    Without a moment it runs to its end. Returns what it said there, and how many images it asked for that were
    ``taken`` already; adds those that it took. ``start`` starts a process, as ``process`` does.
    """
    child = start(SAY + session + LABEL, str(log))
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
            child.kill()
            break
    for line in child.stdout:  # what it had said before it died
        said, indices = json.loads(line)
        taken |= set(indices) if said == "took" else set()
    child.wait()
    return end, asked_again


def measured(
    kills: int, seed: int, folder: Path, session: str = TRAINED, start: Callable[..., Any] = process
) -> dict[str, Any]:
    """A session killed so often, and whether it ended as one that nobody killed."""
    rng = random.Random(seed)
    undisturbed, _ = play(start, session, folder / "whole.jsonl", None, 0, set())
    log, taken, again, end, done = folder / "killed.jsonl", set[int](), 0, "", 0
    while not end:
        moment = MOMENTS[done % len(MOMENTS)] if done < kills else None
        end, asked_again = play(start, session, log, moment, rng.randint(1, 3), taken)
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
