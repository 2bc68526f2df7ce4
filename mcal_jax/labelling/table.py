"""Finished labels as a table: one row an image, with all that is known about its label."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mcal_jax.algorithm.protocol import Labels, TrainResult
from mcal_jax.labelling.mistakes import mistake_chances
from mcal_jax.result import Result

if TYPE_CHECKING:
    import pandas as pd


def rows(result: Result) -> "pd.DataFrame":
    """One row an image: file, label, source, set, annotator, time, price, margin, mistake_chance, round.

    ``label`` is the name of a class; ``source`` human or machine; ``set`` T, B, V, R or S; ``time`` in UTC; ``price``
    in US dollars, 0 for a machine's label; ``margin`` the classifier's; ``mistake_chance`` an estimate, see
    ``mcal_jax.labelling.mistakes``; ``round`` how many classifiers had been trained when the label was asked for. What
    is not known is empty.
    """
    import pandas as pd

    frame = result.to_frame()
    n = len(frame)
    width = len(str(n - 1))
    nothing = np.full(n, np.nan)
    return pd.DataFrame(
        {
            "file": frame["file"] if "file" in frame else [f"{i:0{width}d}.png" for i in range(n)],
            "label": frame["class"],
            "source": frame["source"],
            "set": frame["set"],
            "annotator": frame.get("annotator", ""),
            "time": frame["time"] if "time" in frame else pd.Series(pd.NaT, index=frame.index),
            "price": frame["cost"],
            "margin": (frame["margin"] if "margin" in frame else pd.Series(nothing)).astype(float).round(4),
            "mistake_chance": mistake_chances(result.record).round(4),
            "round": _rounds(result),
        }
    )


def plain_rows(result: Result) -> list[dict[str, Any]]:
    """``rows`` as plain values for JSON, None for what is not known; times as ISO 8601."""
    frame = rows(result)
    frame["time"] = [None if time is None or time != time else time.isoformat() for time in frame["time"]]
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _rounds(result: Result) -> np.ndarray:
    """How many classifiers had been trained when each label was asked for, int [n]."""
    rounds, trained = np.zeros(len(result.labels), int), 0
    for _, answer in result.record.steps:
        if isinstance(answer, TrainResult):
            trained += 1
        elif isinstance(answer, Labels):
            rounds[answer.indices] = trained
    return rounds
