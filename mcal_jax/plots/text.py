"""Numbers, names and tables as text, for pictures, notebooks and files.

Dollar signs are escaped as ``\\$``, because matplotlib takes two of them for a formula: ``markdown`` shows them in a
notebook, ``plain`` removes the backslash for a file or a terminal.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown


def money(dollars: float) -> str:
    """An amount of US dollars as text, with cents below $100."""
    sign, size = "−" if dollars < 0 else "", abs(dollars)
    if 0 < size < 0.01:
        return f"{sign}\\${size:.3g}"
    return f"{sign}\\${size:,.2f}" if size < 100 and round(size, 2) % 1 else f"{sign}\\${size:,.0f}"


def percent(share: float, decimals: int | None = None) -> str:
    """A fraction as text in per cent: to three significant digits, or with ``decimals``.

    >>> percent(-0.06667), percent(0.28, 1)
    ('−6.67 %', '28.0 %')
    """
    number = format(100 * abs(share), ".3g" if decimals is None else f".{decimals}f")
    return f"{'−' if share < 0 and float(number) else ''}{number} %"


def tenths(share: float) -> str:
    """A fraction as text in per cent, to a tenth: how batch sizes are written.

    >>> tenths(0.06667), tenths(0.2)
    ('6.7 %', '20 %')
    """
    return percent(share, 1).replace(".0 %", " %")


def listed(texts: Iterable[str]) -> str:
    """Texts as a list in words.

    >>> listed(["3", "5", "7"]), listed([])
    ('3, 5 and 7', '')
    """
    *first, last = ["", *texts]
    return " and ".join(filter(None, [", ".join(filter(None, first)), last]))


def literal(name: str, max_length: int = 60) -> str:
    """A name in one line of at most ``max_length`` characters, with its dollar signs escaped."""
    line = " ".join(name.split())
    return (line if len(line) <= max_length else f"{line[: max_length - 1]}…").replace("$", "\\$")


def plain(text: str) -> str:
    """Text of ``money`` and ``literal`` for a file or a terminal: dollar signs without a backslash."""
    return text.replace("\\$", "$")


def html(text: str) -> str:
    """Text of ``money`` and ``literal`` for Markdown and HTML: each dollar sign in an element of its own.

    Jupyter passes ``\\$`` to MathJax without the backslash, and MathJax sets what stands between two dollar signs as a
    formula unless an element ends between them.
    """
    return text.replace("\\$", "<span>&#36;</span>")


def markdown(*paragraphs: str) -> "Markdown":
    """What a notebook displays for paragraphs and tables: ``\\$`` is a dollar sign and $...$ is mathematics."""
    from IPython.display import Markdown

    return Markdown(html("\n\n".join(paragraphs)))


def table(data: "pd.DataFrame | Mapping[str, Sequence[Any]]") -> str:
    """A frame, or columns of equal length, as a Markdown table, for ``markdown``: numbers to three digits, those from
    1,000 on as whole ones."""
    import pandas as pd

    frame = pd.DataFrame(data)
    rows = [list(frame), ["---:"] * frame.shape[1], *frame.itertuples(index=False)]
    cells = [[" ".join(_cell(cell).replace("|", "\\|").split("\n")) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if 1000 <= abs(value) < math.inf else f"{value:.3g}"
