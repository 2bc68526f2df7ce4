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
from mcal_jax.paper.figures import WIDTH
from mcal_jax.paper.panel_rows import panel_rows
from mcal_jax.paper.prices import STOPS, Band, CheapestGrid
from mcal_jax.paper.published import SERVICES, data_set_name
from mcal_jax.plots import COLOURS, ink_on, percent
from mcal_jax.plots.architectures import Appearance, appearance

LINES = {"hindsight": "-", "met": "--"}
RATE = "US dollars per image\nand epoch, ResNet18"


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
    figure, rows = panel_rows(len(grids), (3.0, 2.6, 2.9))
    nets = _drawn(grids, "architectures")
    deltas = _drawn(grids, "deltas")
    net_colours = [appearance(net).colour for net in nets]
    delta_colours = plots.shades("plasma", len(deltas))
    for column, (data_set, grid) in enumerate(grids.items()):
        saved, net, delta = (axes[column] for _, axes in rows)
        pays = grid.savings > 0
        filled = saved.pcolormesh(
            rate, label_prices, np.where(pays, grid.savings, np.nan), vmin=0, vmax=1, cmap="viridis", rasterized=True
        )
        _categories(net, rate, label_prices, np.where(pays, _places(nets, grid.architectures), np.nan), net_colours)
        _categories(delta, rate, label_prices, np.where(pays, _places(deltas, grid.deltas), np.nan), delta_colours)
        saved.set_title(data_set_name(data_set))
        ratios = {stop: each[data_set] for stop, each in break_evens.items()}
        for ax in (saved, net, delta):
            _marks(ax, label_prices, rate, paper_rates[data_set], today, ratios)
            ax.set_yticklabels([]) if column else ax.set_ylabel("US dollars per label")
        for one in set(grid.architectures[pays]):
            _name_region(net, rate, label_prices, pays & (grid.architectures == one), appearance(one))
        delta.set_xlabel(RATE)
    names = [appearance(net).name for net in nets], list(map(percent, deltas))
    bar = rows[0][0].colorbar(filled, ax=list(rows[0][1]), location="bottom", format=plots.PERCENT, aspect=50)
    bar.set_label("saved, share of the cost of humans only")
    for (row, _), title_of, own, colours in zip(
        rows[1:], ("cheapest architecture", "cheapest δ"), names, (net_colours, delta_colours), strict=True
    ):
        handles = [Patch(color=colour, label=name) for name, colour in zip(own, colours, strict=True)]
        row.legend(handles=handles, title=title_of, loc="outside lower center", ncols=len(own))
    _legend_below(figure, rows[0][1][0], columns=1)
    plots.headline(figure, title, note)
    return figure


def _drawn(grids: Mapping[str, CheapestGrid], kind: str) -> list:
    """The architectures or deltas that are cheapest somewhere on a map, in order."""
    return sorted({one for grid in grids.values() for one in getattr(grid, kind)[grid.savings > 0]})


def _places(known: list, values: np.ndarray) -> np.ndarray:
    """The position of each value in ``known``; any position for one that is not."""
    return np.searchsorted(known, values)


def _name_region(ax: Axes, x: np.ndarray, y: np.ndarray, where: np.ndarray, net: Appearance) -> None:
    """The name of an architecture in the upper part of its region, or beside a small one with a line to it."""
    rows, columns = np.nonzero(where)
    middle = x[int(np.median(columns))], y[int(np.median(rows))]
    if where.mean() > 0.3:
        upper = middle[0], y[int(np.quantile(rows, 0.85))]
        ax.annotate(net.name, upper, ha="center", va="center", fontsize=9, color=ink_on(net.colour))
    else:
        ax.annotate(net.name, middle, (-52, 26), textcoords="offset points", ha="center", fontsize=9, color="black",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
                    arrowprops={"arrowstyle": "-", "color": "white", "linewidth": 1.5, "shrinkB": 0})  # fmt: skip


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
    figure, panels = plots.grid(len(break_evens), 1, (WIDTH, 0.8 + 2.9 * len(break_evens)))
    axes = panels[:, 0]
    finite = [ratio for ratios in break_evens.values() for ratio in ratios.values() if _is_finite(ratio)]
    lowest = min([*costs.SERVICES.values(), *(rate[0] / ratio for ratio in finite)])
    highest = max([*costs.SERVICES.values(), *(rate[-1] / ratio for ratio in finite)])
    for ax, (stop, ratios) in zip(axes, break_evens.items(), strict=True):
        ax.set(xscale="log", yscale="log", xlim=(rate[0], rate[-1]), ylim=(lowest / 2, highest * 2))
        ax.set(title=STOPS[stop], ylabel="least US dollars per label\nat which machine labelling pays")
        _today(ax, today)
        _break_even_lines(ax, ratios, rate, paper_rates)
        for service, price in costs.SERVICES.items():
            ax.axhline(price, color=COLOURS["humans only"], linestyle=":", linewidth=1.2)
            ax.annotate(f"{SERVICES[service]}, {plots.money(price)}", (1.3 * today[1], price), (0, 2), fontsize=8,
                        textcoords="offset points", annotation_clip=True)  # fmt: skip
    axes[-1].set_xlabel(RATE.replace("\n", " "))
    axes[-1].plot([], [], "X", color="white", markeredgecolor="black", markersize=8, label="the paper's training price")
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    plots.headline(figure, title, note)
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
