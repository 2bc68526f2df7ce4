"""The commands that say what things cost: estimate, cards."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mcal_jax.algorithm.presets import Preset
from mcal_jax.cli.app import WHOLE, app, emit
from mcal_jax.errors import McalError


@app.command
def cards(table: Annotated[Path | None, Parameter(help="a table of your own, YAML")] = None) -> None:
    """Show the cards by whose names training can be priced: price per hour, throughput, watts, with dates and sources.

    For example:

    - mcal run --training-price h100
    - mcal run --training-price my_cards.yaml:ours
    """
    from mcal_jax.algorithm import cards as priced

    emit(priced.listing(table or priced.TABLE))


@app.command
def estimate(
    n: Annotated[int, Parameter(help="how many images are to be labelled"), WHOLE],
    *,
    like: Annotated[Path | None, Parameter(help="the log of a run on similar images, whose errors are taken")] = None,
    alpha: Annotated[float | None, Parameter(help="without --like: error alpha |B|^-gamma after |B| labels")] = None,
    gamma: Annotated[float | None, Parameter(help="see alpha")] = None,
    epsilon: Annotated[float, Parameter(help="bound on the error of the labels delivered")] = 0.05,
    label_price: Annotated[float, Parameter(help="US dollars per label")] = 0.04,
    certify: Annotated[float | None, Parameter(help="confidence level of the bound, such as 0.95")] = None,
    preset: Annotated[Preset, Parameter(help="recommended, paper or authors_code: no certificate")] = "certified",
    runs: Annotated[int, Parameter(help="simulated runs, which differ in the luck of their test sets"), WHOLE] = 20,
    seed: Annotated[int, WHOLE] = 0,
) -> None:
    """What a labelling job would cost, with its uncertainty, before anything is spent.

    For example:

    - mcal estimate 50000 --alpha 3 --gamma 0.4
    - mcal estimate 50000 --like results/runs/smoke/my_pilot.jsonl --preset recommended
    """
    from mcal_jax.estimates import plan
    from mcal_jax.runs.settings import configured

    if (like is None) == (alpha is None or gamma is None):
        raise McalError("law: give --like LOG, or --alpha and --gamma")
    law = like if like is not None else (alpha, gamma)
    given = {"epsilon": epsilon, "label_price": label_price, **({} if certify is None else {"certify": certify})}
    emit(str(plan(n, configured(preset, **given), law=law, runs=runs, seed=seed)))  # type: ignore[arg-type]
