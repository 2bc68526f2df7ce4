"""Many annotators at once on one server on loopback: answers a second, latency, and whether anything was lost.

Each annotator takes images and answers one after the other, without thinking, over a connection of their own. With
``--kills`` the server is first killed (SIGKILL) so often, each time within a second, and started again on the same log.
Checked: every accepted answer is in the log as it was given, none twice; no image is handed out after its answer was
accepted, and without kills none to two annotators (leases die with the server, answers do not).

    python bench/annotators_load.py --annotators 200 --seconds 60
    python bench/annotators_load.py --annotators 20 --seconds 5 --kills 20
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mcal_jax import Config, Session, from_arrays
from mcal_jax.algorithm.job import Job
from mcal_jax.labelling.browser.api import Api
from mcal_jax.labelling.browser.pictures import Pictures
from mcal_jax.labelling.browser.server import Server
from mcal_jax.labelling.desk import Desk
from mcal_jax.result import Result
from mcal_jax.runs.codec import unpack
from mcal_jax.runs.runlog import RunLog
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

TOKEN = "token"
FORKS = multiprocessing.get_context("forkserver")
"""Children begin as copies of a process that has imported what they need, so that many can be killed in a minute."""
FORKS.set_forkserver_preload(["__main__", "annotators_load", "mcal_jax.labelling.files"])
CLASSES = 10
JOB = Job(n=1, algorithm="naive_al", delta=0.05, config=Config(test_fraction=0.3))


def label_of(image: int) -> int:
    """The class that everybody calls an image."""
    return (image * 7 + 3) % CLASSES


def opened(log: Path, n: int) -> Session:
    """A session over a simulated world of ``n`` images; its algorithm plans nothing, which would take seconds."""
    images = from_arrays(np.zeros((n, 28, 28), np.uint8), None, [str(i) for i in range(CLASSES)])
    return Session.over(SimulatedWorld(n, Analytic()), JOB.model_copy(update={"n": n}), images, log)


def finished(log: Path, n: int) -> Result:
    """The result of a session that is labelled to its end."""
    with opened(log, n) as session:
        while (batch := session.ask()) is not None:
            session.tell(batch, [label_of(image) for image in batch.indices.tolist()])
        return session.result()


def move_clock() -> None:
    """From now on the clock of this process jumps every second, by up to 30 days, forwards and backwards."""
    clock = time.time

    def moved() -> float:
        now = clock()
        return now + 86_400 * random.Random(int(now)).uniform(-30, 30)

    time.time = moved


def serve(log: str, n: int, port: int, pipe: Any, moved: bool) -> None:
    """A server over a simulated world of ``n`` images; it tells its port, and ends when it is killed.

    ``moved``: its clock jumps.
    """
    if moved:
        move_clock()
    desk = Desk(session := opened(Path(log), n))
    pipe.send(Server(desk, Api(desk, Pictures(session.dataset)), port=port, token=TOKEN).port)
    desk.wait()


class Child:
    """The server, in a process of its own."""

    def __init__(self, log: Path, n: int, *, moved: bool = False):
        self.log, self.n, self.port, self.moved = log, n, 0, moved
        self.start()

    def start(self) -> None:
        """Start it, at the port that it had before."""
        ours, theirs = multiprocessing.Pipe()
        self.process = FORKS.Process(target=serve, args=(str(self.log), self.n, self.port, theirs, self.moved))
        self.process.start()
        self.port = ours.recv()

    def kill(self) -> None:
        """Kill it at once, whatever it does."""
        self.process.kill()
        self.process.join()


class Caller:
    """Calls of the API over one connection, opened anew after it broke; httpx takes longer than the server does."""

    def __init__(self, port: int):
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, name: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and reply. Raises OSError or EOFError where the server is gone."""
        content = json.dumps(body).encode()
        head = [f"POST /api/{name} HTTP/1.1", f"host: 127.0.0.1:{self.port}", f"authorization: Bearer {TOKEN}"]
        request = "\r\n".join([*head, f"content-length: {len(content)}", "", ""]).encode() + content
        try:
            async with asyncio.timeout(60):
                if self.streams is None:
                    self.streams = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self.streams
                writer.write(request)
                status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
                length = next(line.split()[1] for line in headers if line.startswith("content-length:"))
                return int(status.split()[1]), json.loads(await reader.readexactly(int(length)))
        except (OSError, EOFError):
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None


class Load:
    """What annotators did: answers that were ``accepted``, to whom images were ``handed``, ``latencies`` in seconds,
    and how many images were handed out ``again`` after their answer was accepted."""

    def __init__(self, seconds: float):
        self.began = time.monotonic()
        self.until = self.began + seconds
        self.accepted: dict[int, tuple[str, int]] = {}
        self.handed: dict[int, set[str]] = {}
        self.latencies: list[float] = []
        self.again = 0

    async def annotate(self, name: str, port: int) -> None:
        """One annotator: takes images and answers until the time is over."""
        caller, images = Caller(port), list[int]()
        while time.monotonic() < self.until:
            body: dict[str, Any] = {"annotator": name, "count": 8, "wait": not images}
            answer = {"image": images[0], "label": label_of(images[0])} if images else {}
            began = time.monotonic()
            try:
                status, reply = await caller.post("answer" if images else "take", {**body, **answer})
            except (OSError, EOFError):  # the server was killed
                await asyncio.sleep(0.1)
                continue
            images = self._taken(name, answer, status, reply, time.monotonic() - began)
        caller.close()

    def _taken(self, name: str, answer: dict[str, int], status: int, reply: Any, seconds: float) -> list[int]:
        """Note a reply; returns the images that the annotator holds now."""
        if status == 409:  # the server lost this lease when it was killed
            return []
        assert status == 200, (status, reply)
        if answer:
            self.latencies.append(seconds)
            self.accepted[answer["image"]] = (name, answer["label"])
        images = [image["image"] for image in reply["images"]]
        for image in images:
            self.again += image in self.accepted
            self.handed.setdefault(image, set()).add(name)
        return images


async def run(child: Child, annotators: int, seconds: float, kills: int, seed: int = 0) -> Load:
    """All annotators at once, and ``kills`` of the server while they work."""
    load = Load(math.inf if kills else seconds)

    async def kill() -> None:
        rng = random.Random(seed)
        for _ in range(kills):
            await asyncio.sleep(rng.uniform(0, 1))
            child.kill()
            await asyncio.to_thread(child.start)
        load.until = min(load.until, time.monotonic() + seconds)

    await asyncio.gather(kill(), *(load.annotate(f"annotator {i}", child.port) for i in range(annotators)))
    return load


def recorded(log: Path) -> list[tuple[int, tuple[str, int]]]:
    """Images, annotators and labels as the log has them."""
    rows = []
    for part in RunLog.read(log).parts:
        if "labels" in part:
            images, labels = unpack(part["indices"], np.int64), unpack(part["labels"], np.int32)
            rows += [(int(i), (part["annotator"], int(label))) for i, label in zip(images, labels, strict=True)]
    return rows


def counted(child: Child, load: Load) -> dict[str, Any]:
    """What the log of a killed server says of the answers."""
    rows = recorded(child.log)
    kept = dict(rows)
    return {
        "answers": len(load.accepted),
        "lost": sum(kept.get(image) != answer for image, answer in load.accepted.items()),
        "asked_again": load.again, "recorded_twice": len(rows) - len(kept),
    }  # fmt: skip


def checked(child: Child, load: Load) -> dict[str, Any]:
    """The same, and whether labels and bill end as if nobody was killed."""
    return {**counted(child, load), "same_bill": is_undisturbed(child.log, child.n)}


def is_undisturbed(log: Path, n: int) -> bool:
    """Whether a log, labelled to its end, has the labels and the bill of one that nobody disturbed."""
    ended, whole = finished(log, n), finished(log.with_name("whole.jsonl"), n)
    return bool(np.array_equal(ended.labels, whole.labels) and ended.bill == whole.bill)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        child = Child(Path(folder, "run.jsonl"), args.images)
        load = asyncio.run(run(child, args.annotators, args.seconds, args.kills))
        child.kill()  # nothing may be lost by that
        found = checked(child, load) if args.kills else counted(child, load)
    shared = 0 if args.kills else sum(len(names) > 1 for names in load.handed.values())
    seconds, (median, p99) = load.until - load.began, 1e3 * np.quantile(load.latencies, [0.5, 0.99])
    row = {
        "annotators": args.annotators, "seconds": round(seconds), "kills": args.kills, **found, "handed_to_two": shared,
        "answers_a_second": len(load.accepted) / seconds, "median_ms": median, "p99_ms": p99,
        "load_average": os.getloadavg()[1],
    }  # fmt: skip
    from tables import publish  # imports JAX, which the server starts without

    publish([row], args.out)
    if found["lost"] or found["recorded_twice"] or shared or load.again or not found.get("same_bill", True):
        sys.exit(1)


if __name__ == "__main__":
    main()
