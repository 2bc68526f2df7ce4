"""Kills `mcal reproduce` at random moments, starts it again, and compares the end with one that was left alone.

    python bench/kill_reproduce.py --kills 5

Works in clones of its own, at profile smoke. Every second kill takes the whole process group, as a power cut would,
the others the parent alone. It checks that figures and runs come out the same, that no finished log was touched again,
that a log goes on from what it held, and that nothing half-written is left.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-c", "from mcal_jax.cli import main; main()", "reproduce", "fig08", "--profile", "smoke"]


def start(clone: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(clone), "JAX_PLATFORMS": "cpu"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(COMMAND, cwd=clone, env=environment, start_new_session=True, **quiet)


def logs(clone: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (clone / "results/runs/smoke").glob("*.jsonl")}


def whole(log: bytes) -> bytes:
    """A log less its torn last line."""
    return log[: log.rfind(b"\n") + 1]


def asked(log: bytes) -> list[dict]:
    """The requests of a log, which say what was trained, and on what, and its end; measured seconds are in the answers
    and so in the checksums."""
    lines = [json.loads(line) for line in log.splitlines()[1:]]
    return [{key: value for key, value in line.items() if key not in ("answer", "checksum")} for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        alone, killed = Path(folder, "alone"), Path(folder, "killed")
        for clone in (alone, killed):
            subprocess.run(["git", "clone", "-q", HOME, clone], check=True)
        began = time.perf_counter()
        assert start(alone).wait() == 0
        seconds = time.perf_counter() - began
        print(f"left alone: {seconds:.0f} s, {len(logs(alone))} runs", flush=True)
        for kill in range(chosen.kills):
            before = logs(killed)
            process = start(killed)
            time.sleep(rng.uniform(0.05, 0.95) * seconds / 2)
            ended = process.poll() is not None
            if not ended and kill % 2:
                os.killpg(process.pid, signal.SIGKILL)
            elif not ended:
                process.kill()
            process.wait()
            time.sleep(3)  # workers notice that their parent is gone
            after = logs(killed)
            faults += [f"{name} did not go on" for name in before if not after[name].startswith(whole(before[name]))]
            done = sum(b'{"end"' in log for log in after.values())
            print(f"kill {kill + 1}: {'after the end' if ended else 'in time'}, {done} runs finished", flush=True)
        assert start(killed).wait() == 0
        ends = logs(killed)
        faults += [f"{name} did not go on" for name in after if not ends[name].startswith(whole(after[name]))]
        reference = logs(alone)
        faults += [f"{name} differs" for name in reference if asked(reference[name]) != asked(ends.get(name, b""))]
        for name in ("data.csv", "figure.svg"):
            if (alone / "results/smoke/fig08" / name).read_bytes() != (
                killed / "results/smoke/fig08" / name
            ).read_bytes():
                faults.append(f"{name} differs")
        faults += [f"{path.name} is left" for path in (killed / "results").rglob(".*")]
    print("; ".join(faults) or f"{chosen.kills} kills: figure, data and every run as if left alone")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
