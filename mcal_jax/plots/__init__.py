"""Pictures of runs: one style, one palette by meaning, one function for each kind of figure.

Importing this package loads matplotlib, which ``import mcal_jax`` does not.
"""

from mcal_jax.plots.architectures import APPEARANCES, appearance, display_name
from mcal_jax.plots.export import save
from mcal_jax.plots.images import gallery, name_image, name_row, note_channels, show_image
from mcal_jax.plots.result import ResultPlots
from mcal_jax.plots.run import (
    PARTS,
    SETS,
    THETAS,
    cost_against_size,
    cost_surface,
    error_by_rank,
    fits,
    infeasible,
    ledger,
    plan_path,
    sets,
    training_cost,
)
from mcal_jax.plots.style import (
    COLOURS,
    COUNT,
    DOLLARS,
    PERCENT,
    SIZE_LABEL,
    axes,
    epsilon_line,
    finish,
    grid,
    humans_only_line,
    interval,
    log_sizes,
    shades,
    stack,
    use_style,
)
from mcal_jax.plots.tables import error_columns, plan_columns, set_columns, size_columns, surface_columns
from mcal_jax.plots.text import html, literal, markdown, money, percent, plain, table

__all__ = [
    "APPEARANCES",
    "COLOURS",
    "COUNT",
    "DOLLARS",
    "PARTS",
    "PERCENT",
    "SETS",
    "SIZE_LABEL",
    "THETAS",
    "ResultPlots",
    "appearance",
    "axes",
    "cost_against_size",
    "cost_surface",
    "display_name",
    "epsilon_line",
    "error_by_rank",
    "error_columns",
    "finish",
    "fits",
    "gallery",
    "grid",
    "html",
    "humans_only_line",
    "infeasible",
    "interval",
    "ledger",
    "literal",
    "log_sizes",
    "markdown",
    "money",
    "name_image",
    "name_row",
    "note_channels",
    "percent",
    "plain",
    "plan_columns",
    "plan_path",
    "save",
    "set_columns",
    "sets",
    "shades",
    "show_image",
    "size_columns",
    "stack",
    "surface_columns",
    "table",
    "training_cost",
    "use_style",
]
