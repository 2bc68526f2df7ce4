"""What all settings share: their base, the names they had before, and the ranges of their fields."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mcal_jax.registry import Registry

OLD_NAMES = {
    "far": "max_train_fraction",
    "fine_theta": "interpolate_theta",
    "pooled": "share_slopes",
    "reach": "max_growth",
    "safety": "safety_z",
}
"""Settings by the names they had before version 0.2, which YAML files and run logs may still use."""


class Settings(BaseModel):
    """Base of everything that is read from YAML: immutable, and no unknown key passes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, given: Any) -> Any:
        """Settings under their names of today. Raises ValueError for yes or no where neither makes sense."""
        if not isinstance(given, dict):
            return given
        renamed = {old: new for old, new in OLD_NAMES.items() if old in given and new in cls.model_fields}
        for old, new in renamed.items():
            if new in given:
                raise ValueError(f"{old} is the old name of {new}: give one of them")
        given = {renamed.get(key, key): value for key, value in given.items()}
        for key, value in given.items():  # YAML reads "yes" and "on" as True, which would count as 1
            if (
                isinstance(value, bool)
                and key in cls.model_fields
                and bool not in _kinds(cls.model_fields[key].annotation)
            ):
                raise ValueError(f"{key}: a number or a name is wanted here, not {value}")
        return given


def _kinds(annotation: Any) -> set[Any]:
    """All types that the annotation of a field names."""
    return {annotation}.union(*map(_kinds, get_args(annotation)))


def with_old_names(plain: dict[str, Any]) -> dict[str, Any]:
    """Plain settings under the names they had first, in nested dictionaries too: what ids of runs are made of."""
    first = {new: old for old, new in OLD_NAMES.items()}
    return {
        first.get(key, key): with_old_names(value) if isinstance(value, dict) else value for key, value in plain.items()
    }


LOWEST_PRICE, HIGHEST_PRICE = (
    1e-9,
    1e6,
)  # dollars: no price of a label is lower or higher, so that no sum or ratio overflows
Dollars = Annotated[float, Field(ge=0, le=HIGHEST_PRICE)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


def named_in(registry: Registry, kind: type) -> BeforeValidator:
    """Makes a name of a strategy; a function or a ``kind`` is registered under its own name."""

    def name(given: Any) -> Any:
        if callable(given) or isinstance(given, kind):
            return registry.name_of(given)
        return registry.check(given) if isinstance(given, str) else given

    return BeforeValidator(name)
