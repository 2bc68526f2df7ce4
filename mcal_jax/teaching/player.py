"""Pictures that sliders choose, as HTML with a few lines of JavaScript: in a notebook, on a page, without a kernel."""

import base64
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mcal_jax import plots
from mcal_jax.templates import environment


class Frame(NamedTuple):
    """A picture as a PNG file, and what it shows in words, of which numbers may be written by ``plots.money``."""

    picture: bytes
    text: str


class Player:
    """Frames that sliders choose, for a notebook to display.

    ``sliders`` are the values of each slider by its label, as text or by ``plots.money``; ``frames`` are one for every
    combination, the last slider fastest, and ``at`` the place of the value of each that is shown first. A player of one
    slider can run by itself. Where no script runs, the first picture is shown alone.
    """

    def __init__(
        self, name: str, sliders: Mapping[str, Sequence[str]], frames: Sequence[Frame], at: Sequence[int]
    ) -> None:
        assert len(frames) == math.prod(map(len, sliders.values()))
        self.name, self.sliders, self.frames, self.at = name, sliders, frames, at

    @property
    def first(self) -> Frame:
        """The frame that is shown first."""
        number = 0
        for values, at in zip(self.sliders.values(), self.at, strict=True):
            number = number * len(values) + at
        return self.frames[number]

    def _repr_html_(self) -> str:
        data = {
            "frames": [[base64.b64encode(one.picture).decode(), plots.plain(one.text)] for one in self.frames],
            "values": [[plots.plain(value) for value in values] for values in self.sliders.values()],
        }
        # Neither the end of an element nor a dollar, which Jupyter would take for mathematics.
        text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/").replace("$", "\\u0024")
        template = environment("mcal_jax.teaching").get_template("player.html")
        return template.render(
            name=self.name,
            place=f"player-{hashlib.sha256(text.encode()).hexdigest()[:12]}",
            data=Markup(text),
            picture=base64.b64encode(self.first.picture).decode(),
            words=_safe(self.first.text),
            alt=Markup(escape(plots.plain(self.first.text)).replace("$", "&#36;")),
            sliders=[
                (label, len(values) - 1, at, _safe(values[at]))
                for (label, values), at in zip(self.sliders.items(), self.at, strict=True)
            ],
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """The HTML, and the first picture for viewers that show none."""
        return {"text/html": self._repr_html_(), "image/png": base64.b64encode(self.first.picture).decode()}


def picture(figure: Figure, dpi: float = 80, colours: int = 128) -> bytes:
    """A figure as a small PNG file."""
    canvas, file = FigureCanvasAgg(figure), io.BytesIO()
    figure.set_dpi(dpi)
    with plots.use_style():
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(colours, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _safe(text: str) -> Markup:
    """Text with amounts of ``plots.money`` for HTML."""
    return Markup(plots.html(str(escape(text))))
