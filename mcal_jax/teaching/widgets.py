"""Sliders for the teaching notebooks. Only this module needs ``ipywidgets``, and only when a widget is made."""

import base64
import io
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from mcal_jax import plots
from mcal_jax.algorithm import planner
from mcal_jax.algorithm.config import Config
from mcal_jax.errors import McalError
from mcal_jax.teaching import cost_surfaces
from mcal_jax.worlds.simulated import Curve

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
"""How a widget is displayed, by ipywidgets 8 as by 7, which Google Colab has."""


class CostExplorer:
    """Sliders over the label price, epsilon and |T|, and the cost surface of a known learning curve for them.

    Attributes: ``prices``, ``epsilons`` and ``tests`` are the sliders; ``config`` and ``plan`` belong to their present
    values. Without a kernel a notebook shows the picture of the last state. Raises McalError if ipywidgets is not
    installed.
    """

    def __init__(self, n: int, curve: Curve, config: Config) -> None:
        widgets = _ipywidgets()
        self.n, self.curve, self.config = n, curve, config
        self.prices = _slider(widgets, "US dollars per label", config.label_price, (-5, 0))
        self.epsilons = _slider(widgets, "ε", config.epsilon, (-3, -0.5))
        self.tests = _slider(widgets, "|T| / |X|", planner.n_test(n, config) / n, (-3, -0.5))
        self.verdict, self.picture = widgets.HTML(), widgets.Image(format="png")
        sliders = [self.prices, self.epsilons, self.tests]
        self.box = widgets.VBox([*sliders, self.verdict, self.picture])
        for slider in sliders:
            slider.observe(lambda change: self.update(), names="value")
        self.update()

    def update(self) -> None:
        """Plan again for the values of the sliders and show the new surface."""
        changes = {
            "label_price": self.prices.value,
            "epsilon": self.epsilons.value,
            "test_fraction": self.tests.value,
        }
        self.config = self.config.model_copy(update=changes)
        self.plan = cost_surfaces.known_plan(self.n, self.curve, self.config)
        self.verdict.value = plots.html(cost_surfaces.verdict(self.n, self.plan, self.config))
        self.picture.value = _png(cost_surfaces.surface_and_parts(self.plan, self.n, self.config))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The sliders, and the picture for viewers of a saved notebook that show no widgets."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        picture = base64.b64encode(self.picture.value).decode()
        return {"text/plain": "CostExplorer", WIDGET_VIEW: view, "image/png": picture}


def _slider(widgets: Any, description: str, value: float, exponents: tuple[float, float]) -> Any:
    """A logarithmic slider between two powers of 10."""
    return widgets.FloatLogSlider(
        value,
        min=exponents[0],
        max=exponents[1],
        step=0.05,
        readout_format=".2g",
        description=description,
        continuous_update=False,
        style={"description_width": "9em"},
        layout=widgets.Layout(width="36em"),
    )


def _png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    file = io.BytesIO()
    with plots.use_style():
        figure.savefig(file, format="png", dpi=90)
    return file.getvalue()


def _ipywidgets() -> ModuleType:
    try:
        import ipywidgets
    except ImportError as error:
        raise McalError("sliders need ipywidgets: pip install 'mcal-jax[notebooks]'") from error
    return ipywidgets
