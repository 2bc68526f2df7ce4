"""The tables in docs/ that come from results/ and notebooks/, written between their markers, such as <!-- claims -->.

python bench/docs_tables.py
"""

import itertools
import re
from pathlib import Path

import papermill
import tables_of_benches as benches
import tables_of_runs as runs

ROOT = Path(__file__).parent.parent


def notebook_parameters() -> str:
    """Every parameter of every notebook with its default and its meaning, as Markdown."""
    lines = ["| notebook | parameter | default | meaning |", "|---|---|---|---|"]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        name = f"`{path.stem}`"
        for one in papermill.inspect_notebook(str(path)).values():
            cells = [name, f"`{one['name']}`", f"`{one['default']}`", one["help"]]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
            name = ""
    return "\n".join(lines)


def write_between(page: Path, marker: str, text: str) -> None:
    """Replace what stands between <!-- marker --> and <!-- /marker -->."""
    whole = page.read_text(encoding="utf-8")
    pattern = rf"(<!-- {marker} -->\n).*?(\n<!-- /{marker} -->)"
    changed, count = re.subn(pattern, lambda ends: ends[1] + text + ends[2], whole, flags=re.DOTALL)
    assert count == 1, f"{page} has {count} places for {marker}"
    page.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    write_between(ROOT / "docs/reproduction.md", "claims", runs.claims())
    write_between(ROOT / "docs/reproduction.md", "causes", runs.causes())
    write_between(ROOT / "docs/notebooks.md", "parameters", notebook_parameters())
    write_between(ROOT / "docs/algorithm.md", "aged", runs.aged())
    write_between(ROOT / "docs/algorithm.md", "bias", benches.bias())
    write_between(ROOT / "docs/choosing.md", "self-training", benches.self_training())
    write_between(ROOT / "docs/choosing.md", "self-training-runs", runs.self_training_runs())
    write_between(ROOT / "docs/features.md", "features", benches.features())
    write_between(ROOT / "docs/performance.md", "speed", benches.speed())
    write_between(ROOT / "docs/performance.md", "streamed", benches.streamed())
    write_between(ROOT / "docs/performance.md", "kernels", benches.kernels())
    write_between(ROOT / "docs/guarantees.md", "junk", benches.junk())
    write_between(ROOT / "docs/guarantees.md", "certificates", benches.certificates())
    write_between(ROOT / "docs/guarantees.md", "services", benches.services())
    write_between(ROOT / "docs/guarantees.md", "certified-images", runs.certified_images())
    for case, service in itertools.product(("shipped", "simulated"), ("amazon", "satyam")):
        write_between(ROOT / "docs/peers.md", f"peers-{case}-{service}", benches.peers(case, service))
    write_between(ROOT / "docs/peers.md", "peers-pac-data", benches.pac_data())
    write_between(ROOT / "docs/certify.md", "certificates-tables", benches.certificates_tables())
    write_between(ROOT / "docs/label-your-own.md", "annotator-quality", benches.annotator_quality())
    write_between(ROOT / "docs/label-your-own.md", "annotators-load", benches.annotators_load())
    write_between(ROOT / "docs/label-your-own.md", "doors", benches.doors())
