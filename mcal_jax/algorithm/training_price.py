"""How training is priced: by images and epochs, or by measured hours; either by the name of a card."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mcal_jax.algorithm import cards
from mcal_jax.algorithm.fields import Dollars, Settings
from mcal_jax.algorithm.paper_prices import PAPER_PRICES, relative_price


class TrainingPrice(Settings):
    """Base of the prices of training.

    ``card``, a name that ``cards.find`` knows, gives ``dollars`` if they are not given. A log holds both, so that what
    was billed does not follow the table."""

    card: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_card(cls, given: Any) -> Any:
        is_by_card = isinstance(given, dict) and given.get("card") and given.get("dollars") is None
        return {**given, "dollars": cls._dollars_of(given["card"])} if is_by_card else given

    @classmethod
    def _dollars_of(cls, card: str) -> Any:
        raise NotImplementedError

    @model_serializer(mode="wrap")
    def _without_none(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if value is not None}


class PerImageEpoch(TrainingPrice):
    """Training priced by work: dollars per image and epoch, by architecture.

    ``epochs`` is what one retraining is billed for: a number (the paper's recipe runs 200 whatever |B| is),
    or "recipe" for the images that the recipe really processed. With ``card`` it is that card's work, whatever machine
    trains: its price by its throughput of ResNet18, and the other architectures relative to that as in the paper.
    """

    kind: Literal["per_image_epoch"] = "per_image_epoch"
    dollars: Dollars | dict[str, Dollars] = 5.2e-6
    epochs: Annotated[int, Field(gt=0)] | Literal["recipe"] = 200

    @classmethod
    def _dollars_of(cls, card: str) -> dict[str, float]:
        rate = cards.image_price(card)
        return {name: rate * relative_price(name) for name in PAPER_PRICES["colour"]}


class PerHour(TrainingPrice):
    """Training priced by measured time: dollars per hour of the machine (the paper's cost 3.6), or those of a ``card``.

    Electricity is added if ``dollars_per_kwh`` is given, for the ``watts`` of the machine or of the card.
    """

    kind: Literal["per_hour"] = "per_hour"
    dollars: Dollars = 3.6
    watts: Annotated[float, Field(ge=0, le=1e9)] | None = None
    dollars_per_kwh: Dollars | None = None

    @classmethod
    def _dollars_of(cls, card: str) -> float:
        return cards.find(card).dollars_per_hour

    @model_validator(mode="before")
    @classmethod
    def _watts(cls, given: Any) -> Any:
        """With a price of energy, the watts of the card."""
        if not isinstance(given, dict) or given.get("dollars_per_kwh") is None or given.get("watts") is not None:
            return given
        if not given.get("card"):
            raise ValueError("dollars_per_kwh: energy needs watts, or a card that has them")
        return {**given, "watts": cards.watts(given["card"])}

    @property
    def with_energy(self) -> float:
        """US dollars per hour, electricity included.

        >>> PerHour(dollars=2.0, watts=500, dollars_per_kwh=0.5).with_energy
        2.25
        """
        return self.dollars + (self.watts or 0.0) / 1000 * (self.dollars_per_kwh or 0.0)


def by_card(given: Any) -> Any:
    """A price per hour of a card, if it is given by the name of one."""
    return {"kind": "per_hour", "card": given} if isinstance(given, str) else given


AnyTrainingPrice = Annotated[
    Annotated[PerImageEpoch | PerHour, Field(discriminator="kind")], BeforeValidator(by_card)
]  # fmt: skip
"""How training is priced; the name of a card is a price per hour of it."""
