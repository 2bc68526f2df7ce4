"""Kills over all doors while the machine's clock is moved: no answer is lost, asked for twice or billed twice.

Killed (SIGKILL) at random moments are a session, visits of the door csv between which a scripted person fills in
tables, the server of the page while 20 people label, and the browser of a person, headless Chromium. Classifiers are
simulated; kill_session.py and label_files.py kill sessions and commands that train. Each of
these processes, but the browser, sees a clock that jumps by up to 30 days, forwards and backwards, every second.
Each job is then labelled to its end; labels and bill must be those of the same job that nobody disturbed.

    python bench/kill_doors.py --kills 100 --out ...
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing.connection
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import annotators_load

COLUMNS = ("kills", "answers", "lost", "asked_again", "recorded_twice", "same_bill")
SESSION = """
import time
import annotators_load
from mcal_jax.algorithm.protocol import Train
annotators_load.JOB = annotators_load.JOB.model_copy(update={"delta": 0.025})  # many batches
session, label_of = annotators_load.opened(Path(sys.argv[1]), 600), annotators_load.label_of
answer = session._world.answer
def slowly(request, number):
    if isinstance(request, Train):
        say("training")
        time.sleep(0.3)
    return answer(request, number)
session._world.answer = slowly
"""
"""A session that takes its time to train, in a simulated world."""
VISIT = """
import sys
from pathlib import Path
import annotators_load
from mcal_jax.labelling.doors import DOORS, Visit
log, n, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
out.mkdir(exist_ok=True)
with annotators_load.opened(log, n) as session:
    batch = DOORS["csv"](Visit(session, None, out, "ada", print))
print("all have labels" if batch is None else batch)
"""
IMAGES = 5000
"""Images of the jobs that are labelled on the page."""


class Forked:
    """A process that runs Python code: a copy of one that has imported what servers need."""

    def __init__(self, code: str, *words: str):
        ours, theirs = os.pipe()
        with multiprocessing.connection.Connection(theirs, readable=False) as pipe:
            self.process = annotators_load.FORKS.Process(target=execute, args=(code, words, pipe))
            self.process.start()
        self.stdout = os.fdopen(ours, encoding="utf-8")

    def ends_within(self, seconds: float) -> bool:
        """Wait so long at most; whether it has ended."""
        self.process.join(seconds)
        return self.process.exitcode is not None

    def kill(self) -> None:
        """Kill it at once, whatever it does."""
        self.process.kill()
        self.process.join()

    def wait(self) -> None:
        """Wait for its end."""
        self.process.join()


def execute(code: str, words: tuple[str, ...], pipe: multiprocessing.connection.Connection) -> None:
    """Run code; what it prints goes into the pipe."""
    annotators_load.move_clock()
    sys.argv = ["-c", *words]
    sys.stdout = os.fdopen(os.dup(pipe.fileno()), "w", encoding="utf-8")
    exec(code, {"__name__": "child"})
    sys.stdout.flush()


def of_session(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """A session is killed while it hands out, takes and trains."""
    import kill_session

    row = kill_session.measured(kills, seed, folder, SESSION, Forked)
    return {key: row[key] for key in COLUMNS}


def of_files(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Visits of the door csv are killed; a person fills in the tables between them."""
    import label_files  # imports JAX, which servers, that import this module, start without

    rng, log, out, done, seconds = random.Random(seed), folder / "run.jsonl", folder / "job", 0, 1.0
    truth = {f"{i:04d}.png": str(annotators_load.label_of(i)) for i in range(IMAGES)}
    while True:
        visit, began = Forked(VISIT, str(log), str(IMAGES), str(out)), time.monotonic()
        if done < kills and not visit.ends_within(rng.uniform(0, 1.2) * seconds):
            visit.kill()
            done += 1
            continue
        said, seconds = visit.stdout.read(), time.monotonic() - began
        if said.endswith("all have labels\n"):
            break
        label_files.fill_files(out, truth, rng.choice([0.3, 0.6, 1.0]), rng)
    told = label_files.labels_of(log)
    lost = sum(annotators_load.label_of(image) != label for (_, image), label in told)
    again, twice = len(told) - len({key for key, _ in told}), len(told) - len(set(told))
    same = annotators_load.is_undisturbed(log, IMAGES)
    return dict(zip(COLUMNS, (done, len(set(told)), lost, again, twice, same), strict=True))


def of_server(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """The server is killed while 20 people label on it."""
    child = annotators_load.Child(folder / "run.jsonl", IMAGES, moved=True)
    load = asyncio.run(annotators_load.run(child, 20, 1.0, kills, seed))
    child.kill()
    return {"kills": kills, **annotators_load.checked(child, load)}


def of_browser(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """The browser of a person is killed; she opens it again, until her images have labels."""
    rng, child = random.Random(seed), annotators_load.Child(folder / "run.jsonl", IMAGES, moved=True)
    load = annotators_load.Load(0.0)
    for number in range(kills + 1):
        browse(f"http://127.0.0.1:{child.port}/#{annotators_load.TOKEN}", folder / f"profile-{number}", load, rng)
    child.kill()
    return {"kills": kills, **annotators_load.checked(child, load)}


def browse(url: str, profile: Path, load: annotators_load.Load, rng: random.Random) -> None:
    """Open a browser, label by keyboard for a moment, and kill it."""
    from playwright.sync_api import Error, sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium
    options = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    browser = subprocess.Popen(
        [chromium, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not (port := profile / "DevToolsActivePort").exists():
            time.sleep(0.05)
        time.sleep(0.2)
        with sync_playwright() as playwright, contextlib.suppress(Error):
            address = f"http://127.0.0.1:{port.read_text().split()[0]}"
            page = playwright.chromium.connect_over_cdp(address).new_page()
            killer = threading.Timer(rng.uniform(0, 3), os.killpg, (browser.pid, signal.SIGKILL))
            label_until_killed(page, url, load, killer)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


def label_until_killed(page: Any, url: str, load: annotators_load.Load, killer: threading.Timer) -> None:
    """Press the key of each image's class, as fast as the page shows them; the killer's time begins with the first."""

    def note(response: Any) -> None:
        if response.url.endswith("/api/answer") and response.ok:
            said = response.request.post_data_json
            load.accepted[said["image"]] = (said["annotator"], said["label"])

    page.on("response", note)
    page.goto(url)
    page.wait_for_selector("#mcal-name")
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    page.wait_for_selector("img.picture:not(.loading)")
    killer.start()
    while True:
        picture = page.wait_for_selector("img.picture:not(.loading)")
        image = int((picture.get_attribute("alt") or "0").rsplit(" ", 1)[-1])
        load.again += image in load.accepted
        page.keyboard.press(str((annotators_load.label_of(image) + 1) % 10))
        page.wait_for_selector(f"img.picture:not([alt={json.dumps(picture.get_attribute('alt'))}])")


DOORS = {"session": of_session, "files": of_files, "page: server": of_server, "page: browser": of_browser}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="over all doors")
    parser.add_argument("--doors", nargs="+", choices=DOORS, default=list(DOORS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from tables import publish

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, door in enumerate(args.doors):
            began, place = time.monotonic(), Path(folder, str(number))
            place.mkdir()
            row = DOORS[door](-(-args.kills // len(args.doors)), args.seed, place)
            rows.append({"door": door, **row, "seconds": round(time.monotonic() - began)})
            print(rows[-1], flush=True)
    publish(rows, args.out)
    if any(row["lost"] or row["asked_again"] or row["recorded_twice"] or not row["same_bill"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
