"""Sliders for the teaching notebooks. ``ipywidgets`` is loaded here and nowhere else, when a widget is made."""

import base64
import io
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from mcal_jax.algorithm import planner, stopping
from mcal_jax.algorithm.config import Config
from mcal_jax.errors import McalError
from mcal_jax.plots import run as plots
from mcal_jax.teaching import lessons
from mcal_jax.worlds.simulated import Curve


def explore_costs(n: int, curve: Curve, config: Config) -> Any:
    """Sliders over the price of a label, epsilon and |T|, and the cost surface that goes with them -> a widget.

    The learning curve is taken as known (``teaching.known_plan``). The widget's ``prices``, ``epsilons`` and
    ``tests`` are the sliders, ``config`` and ``plan`` what they now stand for. Where no kernel runs, it shows as
    the picture of its last state. Raises McalError if ipywidgets is not installed.
    """
    widgets: Any = _ipywidgets()
    style = {"description_width": "9em"}
    layout = widgets.Layout(width="36em")

    class Explorer(widgets.VBox):
        def __init__(self) -> None:
            options = {"continuous_update": False, "style": style, "layout": layout}
            self.prices = widgets.FloatLogSlider(
                config.label_price,
                min=-5,
                max=0,
                step=0.1,
                readout_format=".2g",
                description="dollars a label",
                **options,
            )
            self.epsilons = widgets.FloatLogSlider(
                config.epsilon, min=-3, max=-0.5, step=0.05, readout_format=".2g", description="ε", **options
            )
            self.tests = widgets.FloatLogSlider(
                planner.n_test(n, config) / n,
                min=-3,
                max=-0.5,
                step=0.05,
                readout_format=".2g",
                description="|T| of |X|",
                **options,
            )
            self.told, self.picture = widgets.HTML(), widgets.Image(format="png")
            super().__init__([self.prices, self.epsilons, self.tests, self.told, self.picture])
            for slider in self.sliders:
                slider.observe(self.show, names="value")
            self.show()

        @property
        def sliders(self) -> tuple[Any, ...]:
            return self.prices, self.epsilons, self.tests

        def show(self, change: Any = None) -> None:
            prices, epsilons, tests = (slider.value for slider in self.sliders)
            changes = {"label_price": prices, "epsilon": epsilons, "test_fraction": tests}
            self.config = config.model_copy(update=changes)
            self.plan = lessons.known_plan(n, curve, self.config)
            self.told.value = plots.html(verdict(n, self.plan, self.config))
            self.picture.value = png(lessons.explored(self.plan, n, self.config))

        def _repr_mimebundle_(self, **kwargs: Any) -> Any:
            """With the picture, for viewers of a saved notebook that show no widgets."""
            bundle = super()._repr_mimebundle_(**kwargs)
            return {**bundle, "image/png": base64.b64encode(self.picture.value).decode()} if bundle else bundle

    return Explorer()


def verdict(n: int, plan: Any, config: Config) -> str:
    """What ``plan`` says to do, in a sentence."""
    humans = n * config.label_price
    if stopping.hopeless(n, plan, config):
        return f"People should label everything, for {plots.money(humans)}: no plan is cheaper."
    return (
        f"Train on |B| = {plan.B_opt:,} labels and let the machine label θ = {plots.percent(plan.theta)} of the rest: "
        f"{plots.money(plan.cost)} instead of {plots.money(humans)} ({plots.percent(1 - plan.cost / humans)} saved)."
    )


def png(figure: Figure) -> bytes:
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
