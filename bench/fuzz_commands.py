"""Random command lines: does every mistake end in one line, and is nothing of the user's lost?

    python bench/fuzz_commands.py --commands 1000

A folder holds what a user may have lying about: images, links to them (soft and hard, one to nowhere), configurations
in several encodings, a run log (finished, cut short, of another run), labels, other people's text, folders, names
that are no text. Each command takes its files from there at random, often the same one twice. It must end with exit
code 0, or in one line and 2; no file that was there may change, but a log, which may only grow, and labels, which may
be written anew; and no draft is left behind.

Every case is a function of --seed and its number; what fails is printed with both. Exit code 1 if anything does.
"""

import argparse
import importlib
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mcal_jax.cli import main as mcal

IMAGES = 60
LATIN = os.fsdecode(b"gr\xf6\xdfe")  # no text in UTF-8


def furnish(folder: Path) -> None:
    """Fill a folder with files of every kind."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, IMAGES)
    images = (rng.integers(0, 60, (IMAGES, 4, 4)) + 120 * labels[:, None, None]).astype(np.uint8)
    os.chdir(folder)
    np.savez("a.npz", images=images, labels=labels)
    np.savez("other.npz", images=images[::-1], labels=labels)
    np.savez("more images.npz", images=np.repeat(images, 2, 0), labels=np.repeat(labels, 2))
    shutil.copy("a.npz", "copy.npz")
    shutil.copy("a.npz", "~a.npz")
    shutil.copy("a.npz", f"{LATIN}.npz")
    Path("soft.npz").symlink_to("a.npz")
    Path("nowhere").symlink_to("not there.npz")
    Path("loop").symlink_to("loop")
    os.link("a.npz", "hard.npz")
    Path("torn.npz").write_bytes(Path("a.npz").read_bytes()[:300])
    Path("run.yaml").write_text("data: {name: a.npz}\nalgorithm: humans_only\n", encoding="utf-8")
    Path("wide.yaml").write_text("# größe\nalgorithm: humans_only\n", encoding="utf-16")
    Path("latin.yaml").write_text("# größe\nalgorithm: humans_only\n", encoding="latin-1")
    Path("notes.txt").write_text("what I must not lose\n", encoding="utf-8")
    Path("page.html").write_text("<p>mine</p>\n", encoding="utf-8")
    Path("empty").write_bytes(b"")
    Path("folder").mkdir()
    Path("folder/deep.npz").symlink_to("../a.npz")
    Path("to folder").symlink_to("folder")
    for log, words in (("whole.jsonl", ["--data", "a.npz"]), ("seed1.jsonl", ["--data", "other.npz", "--seed", "1"])):
        run(["run", *words, "--algorithm", "humans_only", "--log", log], quiet=True)
    content = Path("whole.jsonl").read_bytes()
    Path("cut.jsonl").write_bytes(content[: content.index(b"\n") + 9])
    Path("damaged.jsonl").write_bytes(content.replace(b"label", b"lapel", 1))
    Path("log link").symlink_to("whole.jsonl")


FILES = (
    "a.npz", "other.npz", "more images.npz", "copy.npz", "~a.npz", f"{LATIN}.npz", "soft.npz", "nowhere", "loop",
    "hard.npz", "torn.npz", "run.yaml", "wide.yaml", "latin.yaml", "notes.txt", "page.html", "empty", "folder",
    "folder/", "to folder", "folder/deep.npz", "whole.jsonl", "cut.jsonl", "damaged.jsonl", "seed1.jsonl",
    "log link", "whole.csv", "new.jsonl", "new.csv", "new folder/x/y.csv", "notes.txt/x.csv", "/dev/null", "/dev/full",
    "/proc/none/x", "/", ".", "..", "~", "~a", "~nobody/x", "", " ", "x" * 300, f"{LATIN}.csv", "a\nb.csv",
    "./a.npz", "folder/../a.npz", "-", "--", "é.csv",
)  # fmt: skip


def command(rng: random.Random) -> list[str]:
    """A command line with files that suit, half of the time, or any."""

    def file(*suited: str) -> str:
        return rng.choice(suited if rng.random() < 0.5 else FILES)

    logs, labels = ("whole.jsonl", "cut.jsonl", "new.jsonl", "seed1.jsonl"), ("new.csv", "whole.csv", "a.csv")
    match rng.choice(["run", "run", "run", "run", "resume", "resume", "plan", "check", "report", "data"]):
        case "run":
            words = ["run"] + ([file("run.yaml")] if rng.random() < 0.3 else [])
            if rng.random() < 0.9 or len(words) == 1:
                words += ["--data", file("a.npz", "copy.npz", "soft.npz", "other.npz")]
            words += ["--algorithm", "humans_only"]
            words += ["--log", file(*logs)] if rng.random() < 0.9 else []
            words += ["--labels", file(*labels)] if rng.random() < 0.6 else []
            words += rng.choice(
                [[], [], [], ["--seed", rng.choice(["1", "x", "-1", "1e0"])], ["--data-dir", file("folder")]]
            )
        case "resume":
            words = ["resume", file(*logs)] + (["--labels", file(*labels)] if rng.random() < 0.6 else [])
        case "plan":
            words = ["plan", file(*logs)]
        case "check":
            words = ["check", file(*logs), file(*logs)]
        case "report":
            words = ["report", "--profile", rng.choice(["laptop", "smoke", "x"]), "--out", rng.choice(FILES)]
        case _:
            words = ["data", "list", "--data-dir", file("folder")]
    if rng.random() < 0.1:
        words.insert(rng.randrange(1, len(words) + 1), rng.choice(["--debugg", "--labels", "%", "--", "-x", "ü"]))
    return words


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below a folder."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.readlink(path)
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def run(words: list[str], quiet: bool = False) -> tuple[int, str]:
    """Exit code and standard error of a command, in a process of its own; 70 for a traceback."""
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if not child:
            os.dup2(errors.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.argv = ["mcal", *words]
            try:
                mcal()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
            except BaseException:
                traceback.print_exc()
                code = 70
            sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        errors.seek(0)
        told = errors.read().decode("utf-8", "surrogateescape")
    assert not quiet or code == 0, told
    return code, told


def wrong(words: list[str], code: int, told: str, before: dict, after: dict) -> str:
    """What is wrong with how a command ended, or nothing."""
    if code not in (0, 2) and not (words[0] == "check" and code == 1):
        return f"exit {code}: {told[-300:]!r}"
    if code == 2 and (not told.startswith("mcal: ") or told.count("\n") != 1):
        return f"not one line: {told[-300:]!r}"
    for name, content in before.items():
        now = after.get(name)
        if now != content != b"":
            grew = name.endswith(".jsonl") and isinstance(now, bytes) and isinstance(content, bytes)
            if grew and now.startswith(content[: content.rfind(b"\n") + 1]):  # type: ignore[union-attr]
                continue
            if name.endswith(".csv") and isinstance(now, bytes) and now.startswith(b"index,label,class,by\n"):
                continue
            return f"{name} was changed or lost"
    if not all(Path(device).is_char_device() for device in ("/dev/null", "/dev/full")):
        return "a device is no longer one"
    if drafts := [name for name in after.keys() - before.keys() if Path(name).name.startswith(".")]:
        return f"left behind: {drafts}"
    return ""


def cases(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Each case's command and how it ended."""
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name, "whole")
        whole.mkdir()
        os.environ["HOME"] = str(whole)
        for module in (
            "tensorflow_datasets",
            "mcal_jax.paper.html_report",
            "mcal_jax.runs.execution",
            "mcal_jax.worlds.trained",
        ):
            importlib.import_module(module)  # once, not in every process
        furnish(whole)
        for number in range(count):
            rng = random.Random(f"{seed} command {number}")
            words = command(rng)
            folder = Path(name, "case")
            shutil.copytree(whole, folder, symlinks=True)
            (folder / "hard.npz").unlink()
            os.link(folder / "a.npz", folder / "hard.npz")
            os.chdir(folder)
            before = contents(folder)
            code, told = run(words)
            end = wrong(words, code, told, before, contents(folder))
            os.chdir(name)
            shutil.rmtree(folder)
            yield f"{seed} {number}: mcal {' '.join(map(repr, words))}", end or ("done" if code == 0 else "refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    ends: Counter[str] = Counter()
    for case, end in tqdm(cases(args.commands, args.seed), "commands", args.commands, disable=None):
        ends[end if end in ("done", "refused") else "FAILED"] += 1
        if end not in ("done", "refused"):
            print(f"{case}: {end}".encode("utf-8", "backslashreplace").decode())
    print(f"{args.commands} commands: " + ", ".join(f"{n} {end}" for end, n in sorted(ends.items())), flush=True)
    sys.exit("FAILED" in ends)


if __name__ == "__main__":
    main()
