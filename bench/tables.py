"""What the benchmarks share: a table on the screen and as CSV, with where it was measured."""

import csv
from pathlib import Path

from mcal_jax.runs.provenance import device, provenance


def measured_on() -> dict[str, str]:
    """Commit, machine, device and versions, as columns of a table."""
    where = provenance()
    return {
        "commit": where["commit"],
        "machine": where["machine"],
        "device": device(),
        "versions": " ".join(f"{name} {version}" for name, version in where["versions"].items()),
    }


def publish(rows: list[dict], out: Path | None, **also: str) -> None:
    """Print ``rows`` as a table; write them to ``out`` with ``measured_on`` and ``also`` as further columns."""
    cells = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(rows[0], *cells, strict=True)]
    for line in [list(rows[0]), *cells]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        where = measured_on() | also
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([[*rows[0], *where], *([*line, *where.values()] for line in cells)])
        print(f"written to {out}")
