"""A scripted person labels a folder of pictures with the command ``mcal label``, which is killed again and again.

The first images of Fashion-MNIST are written as PNGs without labels. The person fills in tables, moves pictures into
the folders of their classes, or labels them in Label Studio, a part at a time, and calls the command until it is done.
Commands are killed (SIGKILL) at random moments. With ``--door browser`` she presses keys on the page of the command,
with ``--door widget`` in a notebook in JupyterLab, both in Chromium, and nothing is killed. Checked: labels and bill
are those of ``mcal.label`` with the same seed, no label that was taken is asked for again, and there is a certificate.

    python bench/label_files.py --door csv --images 2000 --kills 20
    python bench/label_files.py --door browser --images 2000 --kills 0
    python bench/label_files.py --door widget --images 2000 --kills 0
    python bench/label_files.py --door folder --images 2000 --kills 20
    LABEL_STUDIO=/path/to/label-studio python bench/label_files.py --door label-studio --images 2000 --kills 20
"""

import argparse
import contextlib
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import label_studio_server
import numpy as np
from PIL import Image
from tables import publish

from mcal_jax import Config, label, load
from mcal_jax.result import Result
from mcal_jax.runs.codec import unpack
from mcal_jax.runs.runlog import RunLog

CLASSES = ["shirt", "trouser", "pullover", "dress", "coat", "sandal", "blouse", "sneaker", "bag", "boot"]
FINISHED = "All images have labels"
"""What the page says at the end."""
COMMAND = [sys.executable, "-c", "from mcal_jax.cli import main; main()"]


def write_pictures(folder: Path, n: int) -> dict[str, str]:
    """The pictures, and the class of each by its name."""
    pool = load("fashion_mnist_10k", first=n)
    folder.mkdir()
    truth = {}
    for i, (image, k) in enumerate(zip(pool.images[..., 0], pool.labels, strict=True)):
        truth[f"photo{i:05d}.png"] = CLASSES[k]
        Image.fromarray(image).save(folder / f"photo{i:05d}.png")
    return truth


def fill_table(path: Path, truth: dict[str, str], share: float, rng: random.Random) -> None:
    """Fill in a part of the empty labels of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for row in rows[1:]:
        if not row[1] and rng.random() < share:
            row[1] = truth[row[0]]
    draft = path.with_name("draft")
    with draft.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    os.replace(draft, path)


def sort_folder(folder: Path, truth: dict[str, str], share: float, rng: random.Random) -> None:
    """Move a part of the pictures into the folders of their classes."""
    for path in sorted((folder / "unlabelled").iterdir()):
        if not path.name.startswith(".") and rng.random() < share:
            os.replace(path, folder / truth[path.name] / path.name)


def fill_files(out: Path, truth: dict[str, str], share: float, rng: random.Random) -> None:
    """Answer a part of what lies in the folder of the job."""
    for path in sorted(out.glob("batch-*")):
        (sort_folder if path.is_dir() else fill_table)(path, truth, share, rng)


@contextlib.contextmanager
def at_work(door: str, out: Path, truth: dict[str, str]) -> Iterator[tuple[list[str], Callable[..., object]]]:
    """What the command needs besides, and a function that answers a share of what is open."""
    if door != "label-studio":
        yield [], lambda share, rng: fill_files(out, truth, share, rng)
        return
    if label_studio_server.command() is None:
        raise SystemExit("no label-studio: install it in an environment of its own, and set LABEL_STUDIO to its path")
    os.environ["LABEL_STUDIO_API_KEY"] = label_studio_server.TOKEN
    folder = out.with_name("label-studio")
    folder.mkdir()
    with label_studio_server.running(folder) as url:
        people = label_studio_server.Annotators(url, truth.__getitem__)
        yield ["--url", url], lambda share, rng: people.work(lambda: rng.random() < share)
        tasks = [(task.data["batch"], task.data["file"]) for task in people.tasks()]
        print(f"tasks: {len(tasks):,}, of them twice: {len(tasks) - len(set(tasks))}")


def play(command: list[str], kill_after: float | None) -> bool:
    """Run a command, killed after some seconds if it takes longer; returns whether it was killed."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = child.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        return True
    if child.returncode:
        raise SystemExit(f"the command failed: {said}")
    if "\nrefused: " in said:
        raise SystemExit(f"an answer was refused: {said}")
    return False


def label_by_door(args: argparse.Namespace, photos: Path, truth: dict[str, str]) -> tuple[Result, int, int, float]:
    """The result, the number of kills and of commands, and the seconds of all commands."""
    rng, out = random.Random(args.seed), photos.with_name("photos.mcal")
    command = command_of(args, photos)
    kills = commands = 0
    latest, began = 0.0, time.perf_counter()
    with at_work(args.door, out, truth) as (more, answer):
        while not (out / "datasheet.md").exists():
            started = time.perf_counter()
            to_kill = latest > 0 and kills < args.kills and rng.random() < 0.75
            killed = play([*command, *more], rng.uniform(0, 1.1) * latest if to_kill else None)
            kills, commands = kills + killed, commands + 1
            latest = latest if killed else time.perf_counter() - started
            answer(rng.choice([0.5, 1.0, 1.0]), rng)
        return Result(out / "run.jsonl"), kills, commands, time.perf_counter() - began


def measured(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A job done by a door whose command is killed, beside ``mcal.label`` in one go."""
    photos = folder / "photos"
    truth = write_pictures(photos, args.images)
    label_pictures = label_by_page if args.door in PAGES else label_by_door
    result, kills, commands, seconds = label_pictures(args, photos, truth)
    told = labels_of(result.record.path)
    of_pool = np.array([CLASSES.index(name) for name in truth.values()])
    straight = label(
        str(photos), annotate=lambda at: of_pool[at], classes=CLASSES, config=Config.certified(epsilon=args.epsilon),
        width=args.width, recipe=args.recipe, seed=args.seed, emit=None,
    )  # fmt: skip
    same = bool(np.array_equal(result.labels, straight.labels) and result.bill == straight.bill)
    return {
        "door": args.door, "images": args.images, "kills": kills, "commands": commands, "answers": len(set(told)),
        "lost": sum(of_pool[image] != label for (_, image), label in told),
        "asked_again": len(told) - len({key for key, _ in told}), "recorded_twice": len(told) - len(set(told)),
        "same_bill": same, "dollars": result.bill.total,
        "bound": result.certificate.bound if result.certificate else np.nan,
        "wrong": float(np.mean(result.labels != of_pool)), "by_machine": float(result.by_machine.mean()),
        "seconds": round(seconds),
    }  # fmt: skip


def command_of(args: argparse.Namespace, photos: Path) -> list[str]:
    """The command that labels the pictures."""
    command = [*COMMAND, "label", str(photos), "--door", args.door, "--seed", str(args.seed)]
    settings = ["--epsilon", str(args.epsilon), "--width", str(args.width), "--recipe", args.recipe]
    return [*command, "--classes", ",".join(CLASSES), *settings]


def label_by_page(args: argparse.Namespace, photos: Path, truth: dict[str, str]) -> tuple[Result, int, int, float]:
    """As ``label_by_door``, by keyboard in headless Chromium; nothing is killed."""
    from playwright.sync_api import sync_playwright

    began, log = time.perf_counter(), photos.with_name("photos.mcal") / "run.jsonl"
    with PAGES[args.door](args, photos, log) as show, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        show(page)
        page.wait_for_selector("#mcal-name")
        page.fill("#mcal-name", "Ada")
        page.keyboard.press("Enter")
        press_keys(page, truth)
        browser.close()
    return Result(log), 0, 1, time.perf_counter() - began


@contextlib.contextmanager
def served(args: argparse.Namespace, photos: Path, log: Path) -> Iterator[Callable[[Any], object]]:
    """The page of the command, which ends by itself when all have labels."""
    child = subprocess.Popen(command_of(args, photos), stdout=subprocess.PIPE, text=True)
    assert child.stdout
    url = next(line.split()[-1] for line in child.stdout if line.startswith("label the images at "))
    yield lambda page: page.goto(url)
    child.communicate()


CELL = """
from mcal_jax import Config, Session
config = Config.certified(epsilon={epsilon})
settings = dict(classes={classes}, config=config, width={width}, recipe={recipe!r}, seed={seed})
session = Session({photos!r}, log={log!r}, **settings)
session.widget()
"""


@contextlib.contextmanager
def in_notebook(args: argparse.Namespace, photos: Path, log: Path) -> Iterator[Callable[[Any], object]]:
    """The widget of a session in JupyterLab, with the settings of the command."""
    from docs_pictures import jupyter_lab, run_notebook, write_notebook

    log.parent.mkdir()
    home = photos.with_name("notebook")
    home.mkdir()
    write_notebook(home, CELL.format(classes=CLASSES, photos=str(photos), log=str(log), **vars(args)))
    with jupyter_lab(home, "light") as url:
        yield lambda page: run_notebook(page, url)


PAGES = {"browser": served, "widget": in_notebook}
"""The doors at which she presses keys."""


def press_keys(page: Any, truth: dict[str, str]) -> None:
    """Press the key of the class of each picture that the page shows, until all have labels."""
    picture, before = "img.picture:not(.loading)", ""
    while page.locator(f"text={FINISHED}").count() == 0:
        alt = page.locator(picture).get_attribute("alt", timeout=600_000) if page.locator(picture).count() else None
        if not alt or alt == before:
            page.wait_for_timeout(5)
            continue
        before = alt
        page.keyboard.press(str((CLASSES.index(truth[alt.rsplit(" ", 1)[-1]]) + 1) % 10))


def labels_of(log: Path) -> list[tuple[tuple[int, int], int]]:
    """Batch, image and label of each label that was taken."""
    told = []
    for part in RunLog.read(log).parts:
        if "labels" in part:
            images, labels = unpack(part["indices"], np.int64), unpack(part["labels"], np.int64)
            told += [((part["number"], int(i)), int(k)) for i, k in zip(images, labels, strict=True)]
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--door", choices=["csv", "folder", "copies", "label-studio", *PAGES], default="csv")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--recipe", default="brief")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = measured(args, Path(folder))
    publish([row], args.out)
    if row["asked_again"] or row["lost"] or not row["same_bill"] or args.kills > row["kills"] or np.isnan(row["bound"]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
