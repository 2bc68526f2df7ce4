"""The gallery as pages of the documentation site: MyST Markdown with the articles, and the files beside them."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mcal_jax.files import write_atomically, write_bytes_atomically
from mcal_jax.paper import gallery, verdicts
from mcal_jax.paper.collection import Collection, Exhibit
from mcal_jax.templates import environment

THUMBNAIL = (480, 360)
"""Pixels that a thumbnail is at most wide and high."""


def write(collections: Sequence[Collection], pages: Path, files: Path) -> list[str]:
    """The names of the exhibits of ``collections``, each with a page in ``pages`` on which it is shown at every scale,
    and with its pictures and data in ``files``; index.md shows them all.

    The first collection is shown first and gives thumbnails and order. The site must serve ``files`` in the folder of
    the pages.
    """
    first, *others = collections
    for exhibit in first.exhibits:
        shown = [(first.profile, exhibit)]
        if exhibit.name != "claims":  # which has a table of all scales
            shown += [(other.profile, own) for other in others for own in other.exhibits if own.name == exhibit.name]
        write_atomically(pages / f"{exhibit.name}.md", _page(shown, files))
        if thumbnail := _thumbnail(exhibit):
            write_bytes_atomically(files / exhibit.name / "thumbnail.png", thumbnail)
    own = verdicts.read(first.profile)
    sections = [(heading, [_entry(exhibit, own) for exhibit in exhibits]) for heading, exhibits in first.sections]
    names = [exhibit.name for exhibit in first.exhibits]
    template = environment("mcal_jax.paper", html=False).get_template("gallery.md")
    write_atomically(pages / "index.md", template.render(sections=sections, names=names))
    return names


def _page(shown: Sequence[tuple[str, Exhibit]], files: Path) -> str:
    articles = [(profile, _article(exhibit, profile, files)) for profile, exhibit in shown]
    exhibit = shown[0][1]
    title = f"{gallery.label(exhibit.name)}: {exhibit.provenance.title}"
    template = environment("mcal_jax.paper", html=False).get_template("gallery_page.md")
    return template.render(title=title, articles=articles)


def _article(exhibit: Exhibit, profile: str, files: Path) -> str:
    folder = Path(exhibit.name) / profile

    def embed(file: str, content: bytes) -> str:
        write_bytes_atomically(files / folder / file, content)
        return (folder / file).as_posix()

    scales = verdicts.by_scale(profile)
    return gallery.article(exhibit, profile, scales, embed, heading=False, previews=False)


def _entry(exhibit: Exhibit, judged: dict[str, verdicts.Judged]) -> dict[str, object]:
    """What the overview shows of an exhibit."""
    return {
        "name": exhibit.name,
        "label": gallery.label(exhibit.name),
        "title": exhibit.finding or exhibit.provenance.title,
        "has_picture": bool(_first_png(exhibit)),
        "verdicts": list(dict.fromkeys(one.verdict for one in verdicts.of_exhibit(exhibit.name, judged))),
    }


def _first_png(exhibit: Exhibit) -> bytes:
    pictures = sorted(exhibit.pictures, key=lambda picture: picture.name != "figure")
    return next((picture.png for picture in pictures if picture.png), b"")


def _thumbnail(exhibit: Exhibit) -> bytes:
    if not (content := _first_png(exhibit)):
        return b""
    with Image.open(io.BytesIO(content)) as picture:
        small = picture.convert("RGB")
    small.thumbnail(THUMBNAIL)
    file = io.BytesIO()
    small.quantize(64, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
    return file.getvalue()
