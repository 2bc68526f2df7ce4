"""mcal_jax: label a whole data set at the least total cost, by humans and by a classifier together."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from mcal_jax.algorithm.config import Config, PerHour, PerImageEpoch
    from mcal_jax.algorithm.services import Service, Services
    from mcal_jax.annotators.ground_truth import GroundTruth
    from mcal_jax.annotators.noisy import Noisy
    from mcal_jax.certification import certify
    from mcal_jax.data import Dataset, from_arrays, load
    from mcal_jax.errors import McalError
    from mcal_jax.estimates import choose_services, plan
    from mcal_jax.labelling.browser import serve, widget
    from mcal_jax.result import Result
    from mcal_jax.session import Batch, Session, label
    from mcal_jax.training.classifier import Classifier

_PUBLIC = {
    "Batch": "session",
    "Classifier": "training.classifier",
    "Config": "algorithm.config",
    "Dataset": "data",
    "GroundTruth": "annotators.ground_truth",
    "McalError": "errors",
    "Noisy": "annotators.noisy",
    "PerHour": "algorithm.config",
    "PerImageEpoch": "algorithm.config",
    "Result": "result",
    "Service": "algorithm.services",
    "Services": "algorithm.services",
    "Session": "session",
    "certify": "certification",
    "choose_services": "estimates",
    "from_arrays": "data",
    "label": "session",
    "load": "data",
    "plan": "estimates",
    "serve": "labelling.browser",
    "widget": "labelling.browser",
}
"""Where each public name is defined; it is imported when it is first used."""

__all__ = [  # noqa: RUF022 - in the order in which a reader meets them
    "__version__",
    "label",
    "Session",
    "serve",
    "widget",
    "certify",
    "Batch",
    "Result",
    "Classifier",
    "Config",
    "PerHour",
    "PerImageEpoch",
    "Service",
    "Services",
    "choose_services",
    "plan",
    "load",
    "from_arrays",
    "Dataset",
    "GroundTruth",
    "Noisy",
    "McalError",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
