"""Cards by name: what an hour of each costs, how fast it trains, what it draws, with dates and sources.

``cards.yaml`` beside this file is the table of the package. A table of one's own has the same form: the card
``ours`` of the file ``my_cards.yaml`` is called ``my_cards.yaml:ours``.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mcal_jax.errors import McalError, suggestion
from mcal_jax.files import absolute, read_bytes

TABLE = Path(__file__).with_name("cards.yaml")
"""The table of the package."""
_IN_FILE = re.compile(r"(.+\.ya?ml):(\S+)")
Positive = Annotated[float, Field(gt=0, le=1e12)]


class Card(BaseModel):
    """A card, or a machine, and where its numbers are from.

    ``images_per_second`` is the training of a ResNet18 of width 64 on 32x32x3 images; None where it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    dollars_per_hour: Positive
    price_source: str
    price_date: str
    images_per_second: Positive | None = None
    throughput_source: str = ""
    throughput_date: str = ""
    watts: Positive | None = None
    watts_source: str = ""

    @property
    def dollars_per_image(self) -> float | None:
        """US dollars per image and epoch of ResNet18; None without ``images_per_second``.

        >>> f"{find('paper').dollars_per_image:.2g}"
        '5.3e-06'
        """
        return self.images_per_second and self.dollars_per_hour / 3600 / self.images_per_second


_ADAPTER = TypeAdapter(dict[str, Card])


@cache
def table(path: Path = TABLE) -> dict[str, Card]:
    """The cards of a file by name, in its order. Raises McalError naming the file and the key."""
    try:
        content = yaml.safe_load(read_bytes(absolute(path)).decode("utf-8-sig"))
        return _ADAPTER.validate_python(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise McalError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the table"
        raise McalError(f"{path}: {where}: {first['msg']}, got {first['input']!r}") from None


def find(name: str) -> Card:
    """The card of a name, such as "h100" or "my_cards.yaml:ours". Raises McalError for an unknown one."""
    match = _IN_FILE.fullmatch(name)
    cards, own = (table(Path(match[1])), match[2]) if match else (table(), name)
    if own not in cards:
        raise McalError(f"unknown card {own!r}; {suggestion(own, cards)}")
    return cards[own]


def image_price(name: str) -> float:
    """US dollars per image and epoch of ResNet18 on a card. Raises McalError where its throughput is not known."""
    card = find(name)
    if card.dollars_per_image is None:
        known = ", ".join(other for other, one in table().items() if one.images_per_second)
        raise McalError(f"card {name!r} has no images_per_second: price it per hour, or take one that has: {known}")
    return card.dollars_per_image


def watts(name: str) -> float:
    """What a card draws at most. Raises McalError where that is not known."""
    card = find(name)
    if card.watts is None:
        raise McalError(f"card {name!r} has no watts: give them beside dollars_per_kwh")
    return card.watts


def listing(path: Path = TABLE) -> str:
    """The cards of a file as a table in text, with their sources. Raises McalError as ``table``."""
    rows = [f"{'card':<10} {'$/hour':>7} {'images/s':>9} {'$/image/epoch':>14} {'watts':>6}  description, sources"]
    for name, card in table(path).items():
        speed = f"{card.images_per_second:,.0f}" if card.images_per_second else "-"
        rate = f"{card.dollars_per_image:.2g}" if card.dollars_per_image else "-"
        power = f"{card.watts:,.0f}" if card.watts else "-"
        rows.append(f"{name:<10} {card.dollars_per_hour:>7.2f} {speed:>9} {rate:>14} {power:>6}  {card.description}")
        sources = {"price": f"{card.price_source} ({card.price_date})", "watts": card.watts_source}
        if card.images_per_second:
            sources["images/s"] = f"{card.throughput_source} ({card.throughput_date})"
        rows += [f"{'':<12}{what}: {source}" for what, source in sources.items() if source]
    return "\n".join([*rows, "images/s, $/image/epoch: training of ResNet18, width 64, on 32x32x3 images"])
