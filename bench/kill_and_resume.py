"""kill -9 at random moments of a run, then resume: is the outcome that of the uninterrupted run?

    python bench/kill_and_resume.py --kills 10

Kills fall at random moments (nearly always in training), at the instant the log grows (between requests, or
while a line is being written), or leave a torn last line, as a power cut would. Every outcome must equal the
uninterrupted one label for label and cent for cent of the price per image and epoch.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

RUN = {
    "data": {"name": "fashion_mnist_10k", "first": 3000, "downsample": 2},
    "width": 4,
    "recipe": "short",
    "seed": 5,
}
MOMENTS = ("random", "log grows", "torn line")


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from mcal_jax.cli import main; main()", *map(str, words)]


def end_of(log: Path) -> dict:
    """The outcome recorded; measured seconds are not part of it."""
    return json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["end"]


def start_and_kill(config: Path, log: Path, moment: str, longest: float, rng: random.Random) -> str:
    """Start the run and kill it; says where it was. A run that is done before its time is left as it is."""
    process = subprocess.Popen(command("run", config, "--log", log), stdout=subprocess.DEVNULL)
    began, until = time.monotonic(), rng.uniform(0, longest)
    lines = rng.randint(2, 9)
    while process.poll() is None:
        written = log.read_bytes().count(b"\n") if log.exists() else 0
        grown = moment != "random" and written >= lines
        if grown or (moment == "random" and written and time.monotonic() - began >= until):
            process.kill()
            process.wait()
            if moment == "torn line":
                content = log.read_bytes()
                log.write_bytes(content[: -rng.randint(1, len(content.splitlines()[-1]))])
            return f"after {written} lines, {time.monotonic() - began:.1f} s"
        time.sleep(0.001)
    return "finished before the kill"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        config, whole = Path(folder, "run.yaml"), Path(folder, "whole.jsonl")
        config.write_text(yaml.safe_dump(RUN), encoding="utf-8")
        began = time.monotonic()
        subprocess.run(command("run", config, "--log", whole), check=True, stdout=subprocess.DEVNULL)
        longest, expected = time.monotonic() - began, end_of(whole)
        print(f"uninterrupted: {longest:.0f} s, ${expected['dollars']['total']:.2f}, labels {expected['labels']}")
        equal = 0
        for number in range(args.kills):
            log, moment = Path(folder, f"{number}.jsonl"), MOMENTS[number % len(MOMENTS)]
            where = start_and_kill(config, log, moment, longest, rng)
            subprocess.run(command("resume", log), check=True, stdout=subprocess.DEVNULL)
            same = end_of(log) == expected
            equal += same
            print(f"kill {number + 1:2} ({moment}) {where}: {'equal' if same else 'DIFFERENT'}", flush=True)
    print(f"{equal} of {args.kills} equal")
    raise SystemExit(equal < args.kills)


if __name__ == "__main__":
    main()
