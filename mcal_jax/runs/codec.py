"""Requests, answers and outcomes as JSON, the content of a run log.

Sorted indices are stored as differences, and all arrays compressed: 55,000 machine labels take 30 kB. Keys that this
version does not know are ignored, so it reads logs of later versions as far as they say the same.
"""

import base64
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from mcal_jax.algorithm.outcome import (
    AnnotatorError,
    Certificate,
    ClassBound,
    ClassRecall,
    Contestant,
    Ledger,
    Outcome,
    Rejected,
)
from mcal_jax.algorithm.plan import Plan
from mcal_jax.algorithm.protocol import (
    Answer,
    Label,
    Labels,
    MachineLabel,
    Measure,
    Measurement,
    Relabel,
    Request,
    SecondLabels,
    Train,
    TrainResult,
    Verification,
    Verify,
)
from mcal_jax.errors import McalError

N = TypeVar("N", bound=tuple)

_URLSAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_FIRST = b"0123456789BCDFGHJKLMNPQRSTVWXZbcdfghjklmnpqrstvwxz-_,;:!#$%&()*+"
_FROM_FIRST = bytes.maketrans(_FIRST, _URLSAFE)
"""Logs begun before version 0.2 have an alphabet of their own, under the key "zlib" where later ones have "base64"."""


MARGINS = np.float32(10_000)
"""Margins are kept as whole numbers of this part."""


def pack(array: np.ndarray, differences: bool = False) -> dict[str, Any]:
    """A one-dimensional array of integers as JSON, compressed by zlib; ``differences`` suits sorted ones."""
    values = np.diff(array, prepend=0) if differences else array
    lowest, highest = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    kind = next(k for k in ("i1", "i2", "i4", "i8") if np.iinfo(k).min <= lowest and highest <= np.iinfo(k).max)
    packed = base64.urlsafe_b64encode(zlib.compress(values.astype(f"<{kind}").tobytes(), 9))
    return {"n": len(array), "differences": differences, "type": kind, "base64": packed.decode()}


def unpack(packed: dict[str, Any], dtype: type) -> np.ndarray:
    """The array that ``pack`` was given. Raises ValueError, KeyError, TypeError or zlib.error for anything else."""
    text = packed["base64"].encode() if "base64" in packed else packed["zlib"].encode().translate(_FROM_FIRST)
    compressed = base64.b64decode(text, altchars=b"-_", validate=True)
    if packed["type"] not in ("i1", "i2", "i4", "i8"):
        raise ValueError(f"array of type {packed['type']!r}")
    values = np.frombuffer(zlib.decompress(compressed), f"<{packed['type']}").astype(np.int64)
    if len(values) != packed["n"]:
        raise ValueError("array of the wrong length")
    return (values.cumsum() if packed["differences"] else values).astype(dtype)


def digest(array: np.ndarray) -> str:
    """16 hexadecimal digits that name an array of integers."""
    return hashlib.blake2b(array.astype("<i8").tobytes(), digest_size=8).hexdigest()


def known(kind: type[N], data: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` less what ``kind`` has no field for."""
    return {name: data[name] for name in kind._fields if name in data}  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------------------
# Requests and answers


def request_json(request: Request) -> dict[str, Any]:
    """A request as JSON: sizes and names, and digests of the sets that it is about."""
    match request:
        case Label(pool, n, by, purpose, model, _, test):
            of = {"of": len(pool), "pool": digest(pool), **({} if test is None else {"test": digest(test)})}
            return {"kind": "label", "purpose": purpose, "n": n, "by": by, **of, "model": model}
        case Train(train, test, architecture):
            sets = {"train": digest(train), "test": digest(test)}
            return {"kind": "train", "architecture": architecture, "size": len(train), **sets}
        case MachineLabel(pool, n, model, _, limits):
            of = {"of": len(pool), "pool": digest(pool), "model": model}
            return {"kind": "annotate", "n": n, **of, **({} if limits is None else {"limits": list(limits)})}
        case Verify(sample, pool, model):
            of = {"sample": digest(sample), "of": len(pool), "pool": digest(pool)}
            return {"kind": "verify", "n": len(sample), **of, "model": model}
        case Relabel(pool, n):
            return {"kind": "repeat", "n": n, "of": len(pool), "pool": digest(pool)}
        case Measure(pool, model, by):
            return {"kind": "measure", "of": len(pool), "pool": digest(pool), "model": model, "by": list(by)}


def answer_json(answer: Answer) -> dict[str, Any]:
    """An answer as JSON, whole."""
    if isinstance(answer, Labels):
        margins = {"margins": pack(np.round(answer.margins * MARGINS).astype(int))} if len(answer.margins) else {}
        retired = {"retired": pack(answer.retired, differences=True)} if len(answer.retired) else {}
        return {"indices": pack(answer.indices, differences=True), "labels": pack(answer.labels), **margins, **retired}
    if isinstance(answer, SecondLabels):
        return {"indices": pack(answer.indices, differences=True), "differ": pack(answer.differ)}
    if isinstance(answer, Verification):
        return {name: pack(column) for name, column in answer._asdict().items()}
    if isinstance(answer, Measurement):
        errors = {by: pack(counts, differences=True) for by, counts in answer.errors.items()}
        margins = {by: np.round(values, 4).tolist() for by, values in answer.margins.items()}
        return {"n": answer.n, "errors": errors, "margins": margins}
    trained = {**answer._asdict(), "wrong": pack(answer.wrong, differences=True)}
    if not answer.unlabelled:
        del trained["unlabelled"]
    return trained


def answer_from_json(data: dict[str, Any]) -> Answer:
    """The answer that ``answer_json`` was given. Raises McalError for anything else."""
    try:
        if "differ" in data:
            return SecondLabels(unpack(data["indices"], np.int64), unpack(data["differ"], np.bool_))
        if "indices" in data:
            margins = unpack(data["margins"], np.float32) / MARGINS if "margins" in data else np.empty(0, np.float32)
            retired = unpack(data["retired"], np.int64) if "retired" in data else np.empty(0, np.int64)
            return Labels(unpack(data["indices"], np.int64), unpack(data["labels"], np.int32), margins, retired)
        if "ahead" in data:
            kinds = {"wrong": np.bool_, "label": np.int32, "human": np.int32}
            columns = known(Verification, data)
            return Verification(**{name: unpack(columns[name], kinds.get(name, np.int64)) for name in columns})
        if "errors" in data:
            errors = {by: unpack(counts, np.int64) for by, counts in data["errors"].items()}
            return Measurement(data["n"], errors, {by: np.array(v) for by, v in data["margins"].items()})
        return TrainResult(**{**known(TrainResult, data), "wrong": unpack(data["wrong"], np.int64)})
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise McalError(f"damaged answer in the run log ({first_line(error)})") from None


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type where it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# ---------------------------------------------------------------------------------------------------------
# Plans and outcomes

PLAN_KEYS = ("size", "spent", "B_opt", "theta", "cost", "cost_now", "error", "delta", "stable", "form")


def plan_json(plan: Plan) -> dict[str, Any]:
    """The decision of a plan in figures; laws and cost surface follow from the answers before it."""
    return {key: getattr(plan, key) for key in PLAN_KEYS}


def outcome_json(outcome: Outcome, labels: np.ndarray, true_error: float | None) -> dict[str, Any]:
    """The outcome in figures: sizes, US dollars by part, and a digest of the ``labels`` delivered."""
    bill = outcome.ledger
    dollars = {**bill._asdict(), "total": bill.total}
    certificate = outcome.certificate
    certified: dict[str, Any] = {}
    if certificate is None:
        del dollars["certificate"]
    else:
        figures = {**certificate._asdict(), "by_class": [one._asdict() for one in certificate.by_class]}
        if (limits := figures.pop("limits")) is not None:
            figures["limits"] = list(limits)
        if recall := figures.pop("by_true_class"):
            figures["by_true_class"] = [one._asdict() for one in recall]
        certified = {"V": len(outcome.V), "certificate": figures}
    if outcome.annotator_error is None:
        del dollars["repeat"]
    else:
        certified["people"] = outcome.annotator_error._asdict()
    if outcome.rejected:
        certified["rejected"] = outcome.rejected._asdict()
    if outcome.owned:
        certified["owned"] = outcome.owned
    return {
        **{name: len(getattr(outcome, name)) for name in "TBSR"},
        **certified,
        "X": outcome.n,
        "theta": outcome.theta,
        "architecture": outcome.architecture,
        "stop": outcome.stop,
        "dollars": dollars,
        "savings": bill.savings,
        "race": [contestant._asdict() for contestant in outcome.race],
        "true_error": true_error,
        "labels": digest(labels),
    }


def ledger_from_json(end: dict[str, Any]) -> Ledger:
    """The bill of a recorded outcome."""
    return Ledger(**known(Ledger, end["dollars"]))


def certificate_from_json(end: dict[str, Any]) -> Certificate | None:
    """The certificate of a recorded outcome, if it has one."""
    if (data := end.get("certificate")) is None:
        return None
    by_class = tuple(ClassBound(**known(ClassBound, one)) for one in data["by_class"])
    limits = tuple(data["limits"]) if data.get("limits") is not None else None
    recall = tuple(ClassRecall(**known(ClassRecall, one)) for one in data.get("by_true_class", ()))
    return Certificate(**{**known(Certificate, data), "by_class": by_class, "limits": limits, "by_true_class": recall})


def outcome_from_json(
    end: dict[str, Any], sets: dict[str, Any], plans: tuple[Plan, ...], history: tuple[TrainResult, ...]
) -> Outcome:
    """The outcome that a log's end states, with its ``sets`` T, B, S, R and V.

    Raises McalError if a set is not as large as it says, or if a figure is missing.
    """
    try:
        for name in sets:
            if end.get(name, 0) != len(sets[name]):
                raise ValueError(f"{name} has {len(sets[name])} images, not {end.get(name, 0)}")
        race = tuple(Contestant(**known(Contestant, one)) for one in end["race"])
        annotators = AnnotatorError(**known(AnnotatorError, end["people"])) if "people" in end else None
        return Outcome(
            n=end["X"],
            **sets,
            theta=end["theta"],
            architecture=end["architecture"],
            stop=end["stop"],
            ledger=ledger_from_json(end),
            race=race,
            certificate=certificate_from_json(end),
            annotator_error=annotators,
            rejected=Rejected(**known(Rejected, end["rejected"])) if "rejected" in end else None,
            owned=end.get("owned", 0),
            plans=plans,
            history=history,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise McalError(f"damaged outcome in the run log ({first_line(error)})") from None


CENT = 0.01


def differences(recorded: Any, now: Any, name: str = "") -> list[str]:
    """Where two outcomes in figures differ, by name; dollars by a cent or more, other fractions beyond rounding.

    What only one of them has is no difference: versions add figures.
    """
    if isinstance(recorded, dict) and isinstance(now, dict):
        shared = [key for key in recorded if key in now]
        return [d for key in shared for d in differences(recorded[key], now[key], f"{name}.{key}".strip("."))]
    if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        return [d for i, pair in enumerate(zip(recorded, now, strict=True)) for d in differences(*pair, f"{name}.{i}")]
    if isinstance(recorded, float) and isinstance(now, int | float):
        money = name.startswith("dollars") or name.rpartition(".")[2] in ("spent", "cost")
        near = abs(recorded - now) < CENT if money else abs(recorded - now) <= 1e-6 * max(abs(recorded), 1e-3)
        return [] if near else [f"{name} ({recorded:.6g}, now {now:.6g})"]
    return [] if recorded == now else [name]
