"""The cheapest plan of a known world for many learning curves, annotators and prices, as frames that sliders choose."""

import itertools

from matplotlib.figure import Figure

from mcal_jax import plots
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Plan
from mcal_jax.teaching import cost_surfaces
from mcal_jax.teaching.player import Frame, Player, picture
from mcal_jax.worlds.simulated import Analytic

GAMMAS = (0.2, 0.3, 0.4, 0.6)
MISTAKES = (0.0, 0.01, 0.03)
PRICES = (0.003, 0.04, 0.4)


def explorer(n: int, curve: Analytic, config: Config) -> Player:
    """The cost of a job of ``n`` images by part against |B|, one frame for each gamma, share of mistakes of the
    annotators, and price of a label in US dollars; those of ``curve`` and ``config`` are shown first.

    Mistakes of annotators use up a part of epsilon; only the rest is left to the machine
    (``certificate.with_annotator_error``). That a classifier learns worse from wrong labels is left out.
    """
    gammas, prices = sorted({*GAMMAS, curve.gamma}), sorted({*PRICES, config.label_price})
    mistakes = [wrong for wrong in MISTAKES if wrong < config.epsilon]
    frames = []
    for gamma, wrong, price in itertools.product(gammas, mistakes, prices):
        changed = config.model_copy(update={"epsilon": config.epsilon - wrong, "label_price": price})
        plan = cost_surfaces.known_plan(n, curve.model_copy(update={"gamma": gamma}), changed)
        frames.append(Frame(picture(_figure(plan, n, changed), 72, 32), cost_surfaces.verdict(n, plan, changed)))
    sliders = {
        "γ, how fast it learns": [f"{gamma:g}" for gamma in gammas],
        "mistakes of annotators": [plots.percent(wrong) for wrong in mistakes],
        "price of a label": [plots.money(price) for price in prices],
    }
    at = [gammas.index(curve.gamma), 0, prices.index(config.label_price)]
    return Player("The cost of a job by learning curve, annotators and price", sliders, frames, at)


@plots.use_style()
def _figure(plan: Plan, n: int, config: Config) -> Figure:
    figure, ax = plots.axes(None, (7.5, 4.2))
    cost_surfaces.draw_parts(ax, plan, n, config)
    return figure
