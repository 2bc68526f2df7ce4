"""How objects show themselves in a notebook: a small table."""

from collections.abc import Mapping
from html import escape


def html_table(title: str, rows: Mapping[str, object]) -> str:
    """A table of names and values as HTML, for ``_repr_html_``; dollars are not taken for mathematics.

    >>> html_table("Bill", {"total": "$5"})
    '<table><caption>Bill</caption><tr><th>total</th><td><span>&#36;</span>5</td></tr></table>'
    """
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f"<table><caption>{_text(title)}</caption>{cells}</table>"


def _text(value: object) -> str:
    return escape(str(value)).replace("$", "<span>&#36;</span>")
