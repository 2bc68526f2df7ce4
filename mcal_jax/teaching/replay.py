"""A run replayed: after each training its cost surface, its laws and its bill, side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from mcal_jax import plots
from mcal_jax.algorithm import planner
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import TrainResult
from mcal_jax.teaching.player import Frame, Player, picture


def replay(plans: Sequence[Plan], history: Sequence[TrainResult], n: int, config: Config) -> Player:
    """A run of ``n`` images as frames, one for each of ``plans``; ``history`` are its trainings."""
    lowest = frame(plans, history, n, config).axes[1].get_ylim()[0]  # all frames have the scale of the last one
    frames = []
    for count in range(1, len(plans) + 1):
        figure = frame(plans[:count], history[:count], n, config)
        figure.axes[1].set_ylim(lowest, 1)
        frames.append(Frame(picture(figure), in_words(plans[:count], n, config, count == len(plans))))
    steps = [f"{count} of {len(plans)}" for count in range(1, len(plans) + 1)]
    return Player("A run, training by training", {"training": steps}, frames, [len(plans) - 1])


def in_words(plans: Sequence[Plan], n: int, config: Config, ends: bool) -> str:
    """What is known and planned after the last of ``plans``, with which a run ``ends`` or goes on, in a sentence."""
    plan, humans = plans[-1], n * config.label_price
    state = "the plan is stable" if plan.stable else "the plan is not stable yet"
    then = "training stops here" if ends else f"{plan.delta:,} more labels are bought"
    return (
        f"After training {len(plans)} on {plan.size:,} images the best plan trains on {plan.B_opt:,} and lets the "
        f"machine label {plots.percent(round(plan.theta, 3))} of the rest, for {plots.money(plan.cost)} instead of "
        f"{plots.money(humans)}; {state}, and {then}."
    )


@plots.use_style()
def frame(plans: Sequence[Plan], history: Sequence[TrainResult], n: int, config: Config) -> Figure:
    """A figure of the last of ``plans``. From the left: the cost surface, the laws, and the bill that is predicted if
    the plan is followed, above what has been spent so far."""
    figure, ((left, middle, right),) = plots.grid(1, 3, (13, 5))
    left.get_gridspec().set_width_ratios([1.25, 1, 0.8])
    plots.cost_surface(plans, n, config, ax=left)
    plots.fits(history, plans[-1], config, ax=middle)
    middle.set_title("the laws of the error (Eqn 3)")
    for ax in (left, middle):
        ax.xaxis.set_major_locator(LogLocator(subs=(1,)))
    _bill(right, plans[-1], n, config)
    return figure


def _bill(ax: Axes, plan: Plan, n: int, config: Config) -> None:
    """Draw what was spent, what the job costs if the plan is followed, and humans only, by part."""
    price, test, humans = config.label_price, planner.n_test(n, config), n * config.label_price
    left = n - test - plan.B_opt
    machine = float(planner.machine_images(n, left, np.array(plan.theta), config))
    parts = {
        "test": [price * test] * 2,
        "train": [price * plan.size, price * plan.B_opt],
        "residual": [0.0, price * (left - machine)],
        "training": [plan.spent, plan.cost - price * (n - machine)],
    }
    for part, lengths in parts.items():
        key, label = plots.PARTS[part]
        plots.stack(ax, lengths, plots.COLOURS[key], label)
    ax.barh([2], [humans], 0.6, color=plots.COLOURS["humans only"])
    for y, cost in enumerate((sum(lengths[0] for lengths in parts.values()), plan.cost, humans)):
        ax.text(cost, y, f" {plots.money(round(cost))}", va="center", fontsize=9)
    ax.set(xlim=(0, 1.4 * max(humans, plan.cost)), title="the bill", ylim=(2.6, -0.6))
    ax.xaxis.set_major_locator(MaxNLocator(3))
    plots.finish(ax, plots.DOLLARS, xlabel="cost (US dollars)")
    ax.set_yticks([0, 1, 2], ["so far", "planned", "humans\nonly"])
