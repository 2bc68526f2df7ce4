"""The pictures of ``prices``: savings and choices over both prices, and the least label price that pays."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mcal_jax import plots
from mcal_jax.algorithm import costs
from mcal_jax.paper.prices import STOPS, Band, CheapestGrid
from mcal_jax.paper.published import SERVICES, data_set_name
from mcal_jax.plots import COLOURS, percent
from mcal_jax.plots.architectures import appearance

LINES = {"hindsight": "-", "met": "--"}
RATE = "US dollars per image and epoch,\nResNet18"


@plots.use_style()
def maps(
    grids: Mapping[str, CheapestGrid],
    label_prices: np.ndarray,
    rate: np.ndarray,
    paper_rates: Mapping[str, float],
    today: Band,
    break_evens: Mapping[str, Mapping[str, float]],
    title: str = "",
    note: str = "",
) -> Figure:
    """For each data set over the two prices: savings, the cheapest architecture, the cheapest delta.

    Black lines: break-even with humans only, who are cheaper on their right, by way to stop (a key of STOPS).
    Hatched: today's price of training. Crosses: the paper's prices. ``note`` stands small below the title."""
    figure, axes = plots.grid(3, len(grids), (2.2 + 3.0 * len(grids), 9.6))
    plots.headline(figure, title, note)
    deltas = sorted({delta for grid in grids.values() for _, delta in grid.names})
    nets = sorted({net for grid in grids.values() for net, _ in grid.names})
    net_colours = {appearance(net).name: appearance(net).colour for net in nets}
    delta_colours = dict(zip(map(percent, deltas), plots.shades("plasma", len(deltas)), strict=True))
    for column, (data_set, grid) in enumerate(grids.items()):
        pays, choices = (
            grid.savings > 0,
            (np.searchsorted(nets, grid.architectures), np.searchsorted(deltas, grid.deltas)),
        )
        filled = axes[0, column].pcolormesh(
            rate, label_prices, np.where(pays, grid.savings, np.nan), vmin=0, vmax=1, cmap="viridis", rasterized=True
        )
        for ax, codes, colours in zip(axes[1:, column], choices, (net_colours, delta_colours), strict=True):
            _categories(ax, rate, label_prices, np.where(pays, codes, np.nan), list(colours.values()))
        axes[0, column].set_title(data_set_name(data_set))
        ratios = {stop: each[data_set] for stop, each in break_evens.items()}
        for ax in axes[:, column]:
            _marks(ax, label_prices, rate, paper_rates[data_set], today, ratios)
    bar = figure.colorbar(filled, cax=axes[0, -1].inset_axes((1.06, 0, 0.05, 1)), format=plots.PERCENT)
    bar.set_label("saved, share of\nthe cost of humans only")
    _legend_beside(axes[1, -1], "cheapest architecture", net_colours)
    _legend_beside(axes[2, -1], "cheapest δ", delta_colours)
    _legend_below(figure, axes[2, 0], columns=2 if len(grids) > 1 else 1)
    for ax in axes[:, 0]:
        ax.set_ylabel("US dollars per label")
    for ax in axes[-1]:
        ax.set_xlabel(RATE)
    return figure


def _categories(ax: Axes, x: np.ndarray, y: np.ndarray, codes: np.ndarray, colours: Sequence) -> None:
    norm = BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours))
    ax.pcolormesh(x, y, codes, cmap=ListedColormap(list(colours)), norm=norm, rasterized=True)


def _marks(ax: Axes, y: np.ndarray, x: np.ndarray, paper_rate: float, today: Band, ratios: Mapping) -> None:
    ax.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), facecolor="0.85")
    _today(ax, today)
    for stop, ratio in ratios.items():
        pays = _is_finite(ratio)
        ax.plot(x if pays else [], x / ratio if pays else [], LINES[stop], color="black", linewidth=2,
                label=f"break-even, {STOPS[stop]}")  # fmt: skip
    services = list(costs.SERVICES.values())
    ax.plot([paper_rate] * len(services), services, "X", color="white", markeredgecolor="black", markersize=9,
            label=f"the paper's prices: {' and '.join(SERVICES.values())}", linestyle="none")  # fmt: skip


def _today(ax: Axes, today: Band) -> None:
    ax.axvspan(*today, facecolor="none", edgecolor="black", hatch="//", linewidth=0.4, alpha=0.45,
               label="training today")  # fmt: skip


def _legend_below(figure: Figure, ax: Axes, columns: int) -> None:
    """A legend of the marks on ``ax``, and of the grey of humans only."""
    handles, labels = ax.get_legend_handles_labels()
    handles, labels = [*handles, Patch(facecolor="0.85")], [*labels, "humans only are cheaper"]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _is_finite(ratio: float) -> bool:
    """Whether there is a break-even: machine labelling pays at some ratios and not at others."""
    return 0 < ratio < float("inf")


def _legend_beside(ax: Axes, title: str, colours: Mapping[str, str]) -> None:
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    ax.legend(handles=handles, title=title, loc="upper left", bbox_to_anchor=(1.02, 1.0), alignment="left")


@plots.use_style()
def least_label_price(
    break_evens: Mapping[str, Mapping[str, float]],
    rate: np.ndarray,
    paper_rates: Mapping[str, float],
    today: Band,
    title: str = "",
    note: str = "",
) -> Figure:
    """The least US dollars per label at which machine labelling pays, against US dollars per image and epoch of
    ResNet18: a panel for each way to stop (a key of STOPS), a line of slope one for each data set where any saves at
    all. Dotted: the prices of services. Crosses: the paper's price of training. ``note`` stands small below the
    title."""
    figure, (axes,) = plots.grid(1, len(break_evens), (1.4 + 4.0 * len(break_evens), 4.4))
    plots.headline(figure, title, note)
    finite = [ratio for ratios in break_evens.values() for ratio in ratios.values() if _is_finite(ratio)]
    lowest = min([*costs.SERVICES.values(), *(rate[0] / ratio for ratio in finite)])
    highest = max([*costs.SERVICES.values(), *(rate[-1] / ratio for ratio in finite)])
    for ax, (stop, ratios) in zip(axes, break_evens.items(), strict=True):
        ax.set(xscale="log", yscale="log", xlim=(rate[0], rate[-1]), ylim=(lowest / 2, highest * 2))
        ax.set(title=STOPS[stop], xlabel=RATE)
        _today(ax, today)
        _break_even_lines(ax, ratios, rate, paper_rates)
        for service, price in costs.SERVICES.items():
            ax.axhline(price, color=COLOURS["humans only"], linestyle=":", linewidth=1.2)
            ax.annotate(f"{SERVICES[service]}, {plots.money(price)}", (1.3 * today[1], price), (0, 2), fontsize=8,
                        textcoords="offset points", annotation_clip=True)  # fmt: skip
    axes[0].set_ylabel("least US dollars per label\nat which machine labelling pays")
    axes[-1].plot([], [], "X", color="white", markeredgecolor="black", markersize=8, label="the paper's training price")
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    return figure


def _break_even_lines(
    ax: Axes, ratios: Mapping[str, float], rate: np.ndarray, paper_rates: Mapping[str, float]
) -> None:
    for (data_set, ratio), style in zip(ratios.items(), itertools.cycle(("-", "--", "-.")), strict=False):
        colour, name, pays = plots.DATA_SET_COLOURS.get(data_set, "black"), data_set_name(data_set), _is_finite(ratio)
        ax.plot(rate if pays else [], rate / ratio if pays else [], style, color=colour,
                label=name if ratio else f"{name}: never pays")  # fmt: skip
        if pays:
            ax.plot(paper_rates[data_set], paper_rates[data_set] / ratio, "X", color=colour,
                    markeredgecolor="black", markersize=8)  # fmt: skip
