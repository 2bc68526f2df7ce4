"""The settings that users write in YAML: runs, profiles and experiments, validated before anything is executed."""

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import (
    LATER,
    PRICES,
    Config,
)
from mcal_jax.algorithm.fields import OLD_NAMES, Fraction, Settings, with_old_names
from mcal_jax.algorithm.job import certified_by_default
from mcal_jax.algorithm.presets import Preset
from mcal_jax.algorithm.training_price import AnyTrainingPrice, PerImageEpoch
from mcal_jax.errors import McalError, suggestion
from mcal_jax.files import absolute, read_bytes
from mcal_jax.training.architectures import ARCHITECTURES
from mcal_jax.training.recipes import RECIPES

PACKAGE = Path(__file__).parent.parent
S = TypeVar("S", bound=Settings)
Architecture = Annotated[str, AfterValidator(ARCHITECTURES.check)]
Emit = Callable[[str], None]
"""Takes a line of text."""
OLD_SWEEPS = {"dear_training": "expensive_training"}
"""Sweeps by the names they had before version 0.2."""
FILE_STRATEGY = re.compile(r"(.+\.py):(\w+)")
"""The name of a strategy in a file of the user's own, such as ``my_rules.py:patient``."""


def clone() -> Path | None:
    """The clone that the package is part of, None for an installed package.

    A wheel carries experiments/ and notebooks/ inside the package, a clone never does. What lies beside an installed
    package, in site-packages, belongs to other packages.
    """
    return None if (PACKAGE / "_clone").is_dir() else PACKAGE.parent


def home() -> Path:
    """The folder that holds experiments/ and notebooks/: the clone, or inside the installed package."""
    return clone() or PACKAGE / "_clone"


def results() -> Path:
    """results/ of the clone, or of the present folder for an installed package; an absolute path."""
    return (clone() or Path.cwd()) / "results"


def digest(content: Any) -> str:
    """SHA-256 of plain values, the order of keys aside."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def price_or_name(given: Any) -> Any:
    """A number of US dollars that is given as text, as YAML reads 3e-3, or the name of who asks for it."""
    try:
        return float(given) if isinstance(given, str) else given
    except ValueError:
        return given


class DataSettings(Settings):
    """Which images: see ``mcal_jax.data.load``."""

    name: str = "fashion_mnist_10k"
    first: Annotated[int, Field(gt=0)] | None = None
    per_class: Annotated[int, Field(gt=0)] | None = None
    downsample: Annotated[int, Field(gt=1)] | None = None


class Run(Settings):
    """One run, whole: data, nets, prices, algorithm and seed. What YAML files for ``mcal run`` hold."""

    data: DataSettings = DataSettings()
    algorithm: Literal["mcal", "naive_al", "without_active_learning", "humans_only", "trajectory"] = "mcal"
    architectures: Annotated[tuple[Architecture, ...], Field(min_length=1)] = ("resnet18",)
    width: Annotated[int, Field(ge=1)] = Field(64, description="filters of the first stage; 64 is standard")
    recipe: Annotated[str, AfterValidator(RECIPES.check)] = "fast"
    service: Annotated[str | float, BeforeValidator(price_or_name)] = Field(
        "amazon", description="amazon, satyam, or US dollars per label"
    )
    training_price: Literal["paper"] | AnyTrainingPrice = Field(
        "paper", description="the paper's, a card by name (h100: its price per hour), or how it is priced"
    )
    preset: Preset = "recommended"
    config: dict[str, Any] = Field({}, description="what differs from the preset: the fields of Config")
    delta: Fraction | None = Field(None, description="naive_al, trajectory: the batch, a fraction of |X|")
    max_train_fraction: Fraction | None = Field(None, description="trajectory: |B| at which it ends, a fraction of |X|")
    compare: tuple[str, ...] = Field((), description="trajectory: M(.) by which its last classifier ranks U")
    stop_rules: tuple[str, ...] = Field((), description="names of stop rules besides those of MCAL")
    objective: str | None = Field(
        None, description="name of what plans minimise; none: the cost, or with a budget the error"
    )
    noise: Annotated[float, Field(ge=0, lt=1)] | tuple[tuple[float, ...], ...] | None = Field(
        None, description="simulated humans: the chance that a label is wrong, or a confusion matrix by true class"
    )
    votes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="simulated humans asked for each label, all paid; the most votes count"
    )
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _resolves(self) -> "Run":
        config = self.resolve(channels=1)
        for architecture in self.architectures if self.algorithm != "humans_only" else ():
            costs.expected_training_cost(1, architecture, config)  # raises where it has no price
        return self

    def resolve(self, channels: int, features: int = 1, classes: int = 2) -> Config:
        """The algorithm's configuration; numbers of channels, features and classes set the "paper" training price."""
        for key in ("label_price", "training_price"):
            if key in self.config:
                raise McalError(f"config.{key}: give it as {'service' if key == 'label_price' else key} of the run")
        price: Any = self.training_price
        if price == "paper":
            heads = costs.head_prices(features, classes)
            nets = costs.PAPER_PRICES["grey" if channels == 1 else "colour"]
            raced = {costs.split_recipe(name)[0] for name in self.architectures}
            price = PerImageEpoch(dollars=nets | {name: heads[name] for name in heads if name in raced})
        own = {"label_price": costs.label_price(self.service) * (self.votes or 1), "training_price": price}
        try:
            return Config.preset(self.preset, **own, **self.config)
        except ValidationError as error:
            raise McalError(f"config.{explain(error, Config)}") from None

    def canonical(self) -> dict[str, Any]:
        """Plain values that are equal for equal runs, whether a default was written out or not.

        What is not given is left out and renamed settings stand under their first names, so that a run keeps its id
        when a later version has more settings, or better names. Of a strategy in a file, the folder does not count.
        """
        config = self.resolve(channels=1).model_dump(mode="json", exclude=PRICES)
        config = {key: value for key, value in config.items() if key not in LATER or value != LATER[key]}
        service = costs.label_price(self.service)
        plain = {**self.model_dump(mode="json", exclude={"preset"}), "service": service, "config": config}
        del plain["data"]
        plain = map_file_strategies(plain, lambda file: file.name)
        return with_old_names(_given({"data": self.data.model_dump(mode="json"), **plain}))

    @property
    def id(self) -> str:
        """12 hexadecimal digits that name this run."""
        return digest(self.canonical())[:12]


class Experiment(Settings):
    """One figure, table or story: a notebook and its parameters."""

    title: str
    notebook: str
    parameters: dict[str, Any] = {}
    runs: dict[str, dict[str, Any]] = Field({}, description="sweeps it needs, and which of their runs")
    live: bool = Field(False, description="trains or shows images, so recorded runs alone can't make it")
    profiles: tuple[str, ...] = Field(("smoke", "laptop", "paper"), description="the scales it makes sense at")


class Profile(Settings):
    """A scale: what all its runs share, and what each data set changes."""

    description: str
    run: dict[str, Any] = {}
    data_sets: dict[str, dict[str, Any]] = {}
    stand_ins: dict[str, dict[str, Any]] = Field({}, description="data for experiments in the place of a data set")


def describe(data_set: str, *, profile: str = "smoke", stand_in: bool = False, **changes: Any) -> Run:
    """A run at the scale of a profile. ``changes`` are fields of Run, and of Config (epsilon, budget,
    acquisition, ...); what is None stays as the profile says. ``stand_in``: the profile may take other images in
    the place of the data set, as experiments do that must run anywhere.

    Raises McalError for an unknown profile or key, or a value that makes no sense.
    """
    scale = load_settings(named("profiles", profile), Profile)
    given = merge(scale.run, scale.data_sets.get(data_set, {}))
    if stand_in and data_set in scale.stand_ins:
        return check(Run, _changed(merge(given, scale.stand_ins[data_set]), None, **changes))
    return check(Run, _changed(given, data_set, **changes))


def _given(plain: dict[str, Any]) -> dict[str, Any]:
    """``plain`` without what is None or empty, in nested dictionaries too."""
    inner = {key: _given(value) if isinstance(value, dict) else value for key, value in plain.items()}
    return {key: value for key, value in inner.items() if value not in (None, [], {})}


def _changed(given: dict[str, Any], data_set: str | None, **changes: Any) -> dict[str, Any]:
    """``given`` with fields of Run and of Config on top, under their names of today or before."""
    present = {k: v for k, v in changes.items() if v is not None}
    inner = {
        k: v
        for k, v in present.items()
        if (name := OLD_NAMES.get(k, k)) in Config.model_fields and name not in Run.model_fields
    }
    top = {k: v for k, v in present.items() if k not in inner}
    named_data = {} if data_set is None else {"data": {"name": data_set}}
    return merge(merge(merge(given, named_data), top), {"config": inner} if inner else {})


def load_settings(path: Path, kind: type[S]) -> S:
    """A YAML file as settings. Raises McalError naming the file and the key."""
    return _checked(kind, read_yaml(path), path)


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises McalError naming the file."""
    try:
        content = copy.deepcopy(_parsed(read_bytes(absolute(path)).decode("utf-8-sig")))
    except UnicodeDecodeError:
        hint = f"; for images: --data {path}" if path.suffix.lower() == ".npz" else "; save it as UTF-8"
        raise McalError(f"{path} is not a text file in UTF-8{hint}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise McalError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise McalError(f"{path}: expected keys and values, got {type(content).__name__}")
    return content


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """The content of YAML, not to be changed: a sweep looks its profile up for each of its runs."""
    return yaml.safe_load(text)


def old_names(content: dict[str, Any]) -> Iterator[str]:
    """The settings of a run, or of its config, that stand under their old names."""
    for kind, keys in ((Run, content), (Config, content.get("config"))):
        yield from (key for key in keys or () if OLD_NAMES.get(key) in kind.model_fields)


def map_file_strategies(plain: Any, change: Callable[[Path], Any]) -> Any:
    """Plain values in which ``change`` is applied to the file of every strategy that stands in a file."""
    if isinstance(plain, dict):
        return {key: map_file_strategies(value, change) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [map_file_strategies(value, change) for value in plain]
    if isinstance(plain, str) and (match := FILE_STRATEGY.fullmatch(plain)):
        return f"{change(Path(match[1]))}:{match[2]}"
    return plain


def _checked(kind: type[S], content: dict[str, Any], path: Path) -> S:
    try:
        return check(kind, content)
    except McalError as error:
        raise McalError(f"{path}: {error}") from None


def check(kind: type[S], content: dict[str, Any]) -> S:
    """Settings from plain values. Raises McalError naming the first wrong key."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise McalError(explain(error, kind)) from None


def configured(preset: Preset, **given: Any) -> Config:
    """The algorithm's configuration: a preset, and what differs from it. Raises McalError naming the first wrong
    field."""
    try:
        return Config.preset(preset, **given)
    except ValidationError as error:
        raise McalError(explain(error, Config)) from None


def explain(error: ValidationError, kind: type[Settings]) -> str:
    """The first complaint of pydantic in one line, with the nearest key for an unknown one."""
    # An unknown key explains a missing one; of the branches of a union, the one that came farthest counts.
    first = max(error.errors(), key=lambda e: (e["type"] == "extra_forbidden", len(e["loc"])))
    kinds = ("[", "constrained-")  # parts of a place that are names of types
    where = ".".join(str(part) for part in first["loc"] if not any(kind in str(part) for kind in kinds))
    if first["type"] == "extra_forbidden":
        known: Any = kind
        for part in first["loc"][:-1]:
            known = (
                getattr(known.model_fields.get(part), "annotation", None) if hasattr(known, "model_fields") else None
            )
        fields = getattr(known, "model_fields", ())
        return f"{where}: unknown key" + (f"; {suggestion(str(first['loc'][-1]), fields)}" if fields else "")
    message = f"{where}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
    is_of_several = first["type"] == "value_error" and isinstance(first["input"], dict)
    return message if is_of_several else f"{message}, got {first['input']!r}"


def named(folder: str, name: str) -> Path:
    """The YAML file of a profile, a sweep or (``folder`` ".") an experiment. Raises McalError for an unknown name."""
    path = home() / "experiments" / folder / f"{name}.yaml"
    if "/" in name or not path.is_file():
        what = {"profiles": "profile", "runs": "sweep"}.get(folder, "experiment")
        if folder == "runs" and name in OLD_SWEEPS:
            raise McalError(f"unknown sweep {name!r}; it is called {OLD_SWEEPS[name]} now")
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise McalError(f"unknown {what} {name!r}; {suggestion(name, known)}")
    return path


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, nested dictionaries merged."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


def from_file(path: Path, data_set: str | None = None, emit: Emit | None = None, **changes: Any) -> Run:
    """A run described in YAML, with changes on top, by the certified preset unless another is given.

    ``emit`` gets a line for each setting that has another name now. Raises McalError naming the file and the key.
    """
    content = read_yaml(path)
    given = _checked(Run, certified_by_default(content), path).model_dump(mode="json", exclude_unset=True)
    given = {key: value for key, value in given.items() if key != "preset" or key in content}
    if emit:
        for old in old_names(content):
            emit(f"{path}: {old} is called {OLD_NAMES[old]} now")
    try:
        return check(Run, certified_by_default(_changed(given, data_set, **changes)))
    except McalError as error:
        raise McalError(f"{path}: {error}") from None
