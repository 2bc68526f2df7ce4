"""Kills over all doors while the machine's clock is moved: no answer is lost, asked for twice or billed twice.

Killed (SIGKILL) at random moments are a session that trains, the command ``mcal label`` between tables that a scripted
person fills in, the server of the page while 20 people label, and the browser of a person, headless Chromium. With
libfaketime each of these processes sees a clock that jumps by up to 30 days, forwards and backwards, every second.
Each job is then labelled to its end; labels and bill must be those of the same job that nobody disturbed.

    LIBFAKETIME=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1 python bench/kill_doors.py --kills 100 --out ...
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotators_load

LIBRARY = "LIBFAKETIME"
"""The environment variable with the path of libfaketime."""
COLUMNS = ("kills", "answers", "lost", "asked_again", "recorded_twice", "same_bill")
DAYS = 30
IMAGES = 5000
"""Images of the jobs that are labelled on the page."""


@contextlib.contextmanager
def moved_clock(folder: Path, rng: random.Random) -> Iterator[bool]:
    """Processes started within see a clock that jumps every second; whether there is libfaketime for that."""
    library = os.environ.get(LIBRARY)
    if not library:
        yield False
        return
    offset, over = folder / "clock", threading.Event()
    settings = dict(LD_PRELOAD=library, FAKETIME_TIMESTAMP_FILE=str(offset), FAKETIME_CACHE_DURATION="1")
    settings |= dict(FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1", NO_FAKE_STAT="1")

    def move() -> None:
        while not over.wait(1):
            draft = offset.with_name("draft")
            draft.write_text(f"{rng.randint(-DAYS, DAYS):+d}d\n")
            os.replace(draft, offset)

    offset.write_text("+1d\n")
    mover = threading.Thread(target=move, daemon=True)
    mover.start()
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield True
    finally:
        os.environ.clear()
        os.environ.update(before)
        over.set()
        mover.join()


def of_session(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """A session is killed while it hands out, takes and trains."""
    import kill_session

    return {key: kill_session.measured(kills, seed, folder)[key] for key in COLUMNS}


def of_files(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """The command is killed; a person fills in its tables."""
    import label_files  # imports JAX, which servers, that import this module, start without

    settings = argparse.Namespace(door="csv", images=400, kills=kills, epsilon=0.2, width=2, recipe="brief", seed=seed)
    return {key: label_files.measured(settings, folder)[key] for key in COLUMNS}


def of_server(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """The server is killed while 20 people label on it."""
    child = annotators_load.Child(folder / "run.jsonl", IMAGES)
    load = asyncio.run(annotators_load.run(child, 20, 1.0, kills, seed))
    child.kill()
    return {"kills": kills, **annotators_load.checked(child, load)}


def of_browser(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """The browser of a person is killed; she opens it again, until her images have labels."""
    rng, child = random.Random(seed), annotators_load.Child(folder / "run.jsonl", IMAGES)
    load = annotators_load.Load(None, 0.0)
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
    clock = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}  # Chromium does without
    browser = subprocess.Popen(
        [chromium, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=clock, start_new_session=True
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
        page.wait_for_function(
            "seen => document.querySelector('img.picture')?.alt !== seen", arg=picture.get_attribute("alt")
        )


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
    for door in args.doors:
        with tempfile.TemporaryDirectory() as folder, moved_clock(Path(folder), random.Random(args.seed)) as moved:
            began = time.monotonic()
            row = DOORS[door](-(-args.kills // len(args.doors)), args.seed, Path(folder))
        rows.append({"door": door, "clock_moved": moved, **row, "seconds": round(time.monotonic() - began)})
        print(rows[-1], flush=True)
    publish(rows, args.out)
    if any(row["lost"] or row["asked_again"] or row["recorded_twice"] or not row["same_bill"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
