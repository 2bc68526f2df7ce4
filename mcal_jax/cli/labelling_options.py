"""The options of ``mcal label`` and ``mcal certify``: what is to be labelled, by whom, and how they are reached."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mcal_jax.cli.app import WHOLE
from mcal_jax.errors import McalError

PAGE = ("opinions", "aggregation", "mistake_cost", "prices", "gold", "lease", "host", "port", "hosts")
"""Options of the page in the browser."""


def names(listed: str | None) -> list[str] | None:
    """The names in a list with commas."""
    return None if listed is None else [name.strip() for name in listed.split(",")]


def prices_of(listed: str) -> dict[str, float]:
    """US dollars by name.

    >>> prices_of("ada=0.02, bob=0.05")
    {'ada': 0.02, 'bob': 0.05}

    Raises McalError.
    """
    prices = {}
    for pair in listed.split(","):
        name, _, dollars = pair.rpartition("=")
        try:
            prices[name.strip()] = float(dollars)
        except ValueError:
            raise McalError(f"--prices: ada=0.02,bob=0.05 is meant, got {pair.strip()!r}") from None
    if "" in prices:
        raise McalError(f"--prices: a price without a name in {listed!r}")
    return prices


@Parameter(name="*")
@dataclass(frozen=True)
class DoorOptions:
    """How images reach humans; what is None stays as the job began."""

    door: Annotated[
        str | None,
        Parameter(
            help="csv: tables to fill in; folder: links to pictures, to be moved into class folders; copies: the same "
            "with copies; browser: a page; label-studio: a server of it; label-studio-files: its tasks as JSON; "
            "default: as before, or csv"
        ),
    ] = None
    browser: Annotated[bool, Parameter(help="the same as --door browser", negative=())] = False
    annotator: Annotated[str, Parameter(help="who labels, where the answers do not say")] = ""
    url: Annotated[str | None, Parameter(help="of Label Studio: http://127.0.0.1:8080")] = None
    api_key: Annotated[
        str | None, Parameter(help="an access token of Label Studio; default: that in LABEL_STUDIO_API_KEY")
    ] = None
    opinions: Annotated[
        int | None, Parameter(help="page: how many annotators label each picture; default: as before, or 1"), WHOLE
    ] = None
    aggregation: Annotated[
        str | None, Parameter(help="page: how opinions make a label: majority, dawid_skene or mace; default: majority")
    ] = None
    mistake_cost: Annotated[
        float | None, Parameter(help="page: US dollars of a wrong label: ask for a second opinion only where it pays")
    ] = None
    prices: Annotated[str | None, Parameter(help="page: US dollars for an answer by annotator: ada=0.02,bob=0.05")] = (
        None
    )
    gold: Annotated[
        float | None, Parameter(help="page: share of pictures whose label is known, to learn who is good")
    ] = None
    lease: Annotated[
        float | None, Parameter(help="page: seconds for which a picture is kept for somebody who is silent")
    ] = None
    host: Annotated[str | None, Parameter(help="page: address to listen on; default: this machine alone")] = None
    port: Annotated[int | None, Parameter(help="page: port to listen on; default: a free one"), WHOLE] = None
    hosts: Annotated[str | None, Parameter(help="page: further names of this machine that browsers may use")] = None

    def given(self) -> dict[str, Any]:
        """The arguments of ``work_on`` and ``certify_table``. Raises McalError."""
        if self.browser and self.door not in (None, "browser"):
            raise McalError(f"--browser and --door {self.door}: give one of them")
        page = {name: value for name, value in asdict(self).items() if name in PAGE and value is not None}
        if self.prices is not None:
            page["prices"] = prices_of(self.prices)
        if self.hosts is not None:
            page["hosts"] = names(self.hosts)
        door = "browser" if self.browser else self.door
        return dict(door=door, annotator=self.annotator, url=self.url, api_key=self.api_key, page=page)


@Parameter(name="*")
@dataclass(frozen=True)
class LabelOptions:
    """What a labelling job is; what is None stays as the job began."""

    classes: Annotated[str | None, Parameter(help="names of the classes: cat,dog")] = None
    price: Annotated[float | None, Parameter(help="US dollars per label; default: 0.04")] = None
    epsilon: Annotated[float | None, Parameter(help="bound on the error of the labels; default: 0.05")] = None
    certify: Annotated[float | None, Parameter(help="confidence level of the bound; default: 0.95")] = None
    budget: Annotated[float | None, Parameter(help="US dollars: seek the least error within it instead")] = None
    class_epsilon: Annotated[
        float | None, Parameter(help="bound on the wrong labels among what the classifier calls each class")
    ] = None
    machine_epsilon: Annotated[
        float | None, Parameter(help="bound on the share of the machine's labels that are wrong; default: 0.5")
    ] = None
    repeat: Annotated[float | None, Parameter(help="share of T that humans label twice, to bound their mistakes")] = (
        None
    )
    out: Annotated[Path | None, Parameter(help="folder of the job; default: SOURCE.mcal")] = None
    size: Annotated[int | None, Parameter(help="pixels a side to which pictures are scaled"), WHOLE] = None
    architecture: Annotated[str | None, Parameter(help="cnn18, resnet18, resnet50, or my_net.py:MyNet")] = None
    width: Annotated[int | None, Parameter(help="filters of the first stage"), WHOLE] = None
    recipe: Annotated[str | None, Parameter(help="of training: paper, fast, short or brief")] = None
    acquisition: Annotated[
        str | None, Parameter(help="margin, entropy, least_confidence, kcenter, random, or my_file.py:my_scores")
    ] = None
    stop_rules: Annotated[
        str | None, Parameter(help="stop rules besides those of MCAL, such as my_rules.py:patient")
    ] = None
    objective: Annotated[str | None, Parameter(help="what plans minimise; default: the cost")] = None
    seed: Annotated[int | None, Parameter(help="of all that is random"), WHOLE] = None
    known_at_random: Annotated[
        bool,
        Parameter(
            help="the pictures whose labels are known are a random sample of all: T is made of them", negative=()
        ),
    ] = False

    def given(self) -> dict[str, Any]:
        """The arguments of ``work_on``."""
        config = ("epsilon", "certify", "budget", "class_epsilon", "machine_epsilon", "repeat")
        settings = {"label_price": self.price, **{name: getattr(self, name) for name in config}}
        of_session = ("out", "size", "architecture", "width", "recipe", "acquisition", "objective", "seed")
        given: dict[str, Any] = {name: getattr(self, name) for name in of_session}
        given["known_at_random"] = self.known_at_random or None
        lists = {"classes": names(self.classes), "stop_rules": names(self.stop_rules)}
        return {**given, **lists, "settings": _not_none(settings)}


@Parameter(name="*")
@dataclass(frozen=True)
class CertifyOptions:
    """What is to be certified; what is None stays as the job began."""

    classes: Annotated[str | None, Parameter(help="names of the classes: cat,dog; default: all that occur")] = None
    price: Annotated[float | None, Parameter(help="US dollars per label; default: 0.04, or the column cost")] = None
    epsilon: Annotated[float | None, Parameter(help="bound on the error of the labels; default: 0.05")] = None
    confidence: Annotated[
        float | None, Parameter(help="confidence level of the bound, --certify of mcal label; default: 0.95")
    ] = None
    class_epsilon: Annotated[
        float | None, Parameter(help="bound on the wrong labels among what the classifier calls each class")
    ] = None
    sample: Annotated[
        int | None, Parameter(help="how many labels the bound is taken from; default: by the scores"), WHOLE
    ] = None
    out: Annotated[Path | None, Parameter(help="folder of the job; default: TABLE.mcal")] = None
    seed: Annotated[int | None, Parameter(help="of the random sample"), WHOLE] = None

    def given(self) -> dict[str, Any]:
        """The arguments of ``certify_table``."""
        settings = dict(
            label_price=self.price, epsilon=self.epsilon, certify=self.confidence, class_epsilon=self.class_epsilon
        )
        given = {name: getattr(self, name) for name in ("out", "sample", "seed")}
        return {**given, "classes": names(self.classes), "settings": _not_none(settings)}


def _not_none(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


NO_DOOR, NO_LABEL, NO_CERTIFY = DoorOptions(), LabelOptions(), CertifyOptions()
