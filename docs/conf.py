"""Configuration of the documentation site: built offline, from this folder and the teaching notebooks."""

import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

import mcal_jax
from mcal_jax.algorithm import certificate, outcome, plan, protocol
from mcal_jax.paper import collection, gallery_pages

DOCS = Path(__file__).parent
NOTEBOOKS = (
    "00_read_me_first",
    "01_power_laws",
    "02_cost_surfaces",
    "03_what_to_label",
    "04_label_your_own",
    "05_write_it_yourself",
)

project = "mcal_jax"
author = copyright = "The mcal_jax authors"
version = release = mcal_jax.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_dmath_allow_digits = False  # $120 to $138 is no formula
myst_heading_anchors = 3
nb_execution_mode = "auto"
nb_render_markdown_format = "gfm"
# Widgets would load scripts from elsewhere; without them their picture is shown.
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_execution_timeout = 600  # seconds a cell
nb_execution_raise_on_error = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "mcal_jax"
TEMPLATES = Path(gallery_pages.__file__).parent / "templates"
html_static_path = ["_static", *(str(TEMPLATES / name) for name in ("exhibit.css", "exhibit.js"))]
html_extra_path = ["_build/files"]  # pictures and data of the gallery
html_css_files = ["exhibit.css", "style.css"]
html_js_files = [(name, {"defer": "defer"}) for name in ("exhibit.js", "site.js")]
html_show_sourcelink = False
html_math_renderer = "mathml"


def copy_notebooks() -> None:
    """Copies the teaching notebooks beside the pages, because Sphinx reads documents of its own folder only.

    The site shows what the folded solutions of the exercises print.
    """
    folder = DOCS / "notebooks"
    folder.mkdir(exist_ok=True)
    for name in NOTEBOOKS:
        text = (DOCS.parent / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
        text = text.replace("solutions = False", "solutions = True")
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")


def write_gallery() -> None:
    """Writes a page for every exhibit, beside the others, and its pictures and data to where the site takes them."""
    collections = [collection.gather(profile) for profile in ("laptop", "paper")]
    gallery_pages.write(collections, DOCS / "gallery", DOCS / "_build" / "files" / "gallery")


def plain_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escapes the characters of reStructuredText that docstrings use as symbols, such as the bars of |B|."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``[^`]+``)", line)
        for k in range(0, len(parts), 2):  # the others are literals
            parts[k] = re.sub(r"([|*])", r"\\\1", parts[k])
            if k and parts[k][:1].isalpha():  # the plural of a literal
                parts[k] = "\\ " + parts[k]
        lines[i] = "".join(parts)


def hide_undocumented_fields() -> None:
    """Removes Python's own description of the fields of named tuples, so that autodoc lists documented fields only."""
    for module in (certificate, outcome, plan, protocol):
        for kind in vars(module).values():
            for field in getattr(kind, "_fields", ()):
                getattr(kind, field).__doc__ = None


def name_levels(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Gives the captions of the navigation the level that a heading needs."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def mathml(node: nodes.Element, as_block: bool = False) -> str:
    """MathML of a formula. Bars are identifiers there, because browsers set space around operators."""
    return tex2mathml(node.astext(), as_block=as_block).replace('<mo stretchy="false">|</mo>', "<mi>|</mi>")


def inline_math(writer, node: nodes.math) -> None:
    writer.body.append(mathml(node))
    raise nodes.SkipNode


def block_math(writer, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math">{mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    copy_notebooks()
    write_gallery()
    hide_undocumented_fields()
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("html-page-context", name_levels, priority=900)  # after the theme
    # MathML is drawn by the browser itself, so the pages load no script from elsewhere.
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
