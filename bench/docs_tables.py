"""The tables in docs/ that come from results/, written between their markers: <!-- claims -->.

python bench/docs_tables.py
"""

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def claims() -> str:
    """The paper's claims with what was measured at laptop scale, as Markdown."""
    with (ROOT / "results/laptop/claims/data.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["| the paper says | measured | verdict |", "|---|---|---|"]
    for row in rows:
        verdict = ": ".join(filter(None, (row["ours_verdict"], row["ours_why"])))
        cells = [cell.replace("|", "\\|") for cell in (row["paper_says"], row["ours_measured"], verdict)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_between(page: Path, marker: str, text: str) -> None:
    """Replace what stands between <!-- marker --> and <!-- /marker -->."""
    whole = page.read_text(encoding="utf-8")
    pattern = rf"(<!-- {marker} -->\n).*?(\n<!-- /{marker} -->)"
    changed, count = re.subn(pattern, lambda ends: ends[1] + text + ends[2], whole, flags=re.DOTALL)
    assert count == 1, f"{page} has {count} places for {marker}"
    page.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    write_between(ROOT / "docs/reproduction.md", "claims", claims())
