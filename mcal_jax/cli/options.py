"""The options of ``mcal run`` that describe a run: fields of ``Run`` and of ``Config``."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from mcal_jax.cli.app import WHOLE


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """What is None stays as the profile or the file of the run has it."""

    data: Annotated[
        str | None,
        Parameter(
            help="a TFDS name (name#feature picks one of several class labels), a .npz file, a folder of pictures "
            "(./pictures), a table of their paths, or fashion_mnist_10k"
        ),
    ] = None
    algorithm: Annotated[
        str | None, Parameter(help="mcal, naive_al (needs --delta), without_active_learning or humans_only")
    ] = None
    architectures: Annotated[
        str | None,
        Parameter(
            help="cnn18, resnet18, resnet50, efficientnet_b0 on images; linear, mlp on features; several (linear,mlp) "
            "race, and so do recipes (resnet18@brief,resnet18@fast)"
        ),
    ] = None
    width: Annotated[int | None, Parameter(help="filters of the first stage; 64 is the paper's"), WHOLE] = None
    recipe: Annotated[str | None, Parameter(help="of training: paper (200 epochs), fast, short or brief")] = None
    service: Annotated[
        str | None, Parameter(help="amazon ($0.04), satyam ($0.003), or a price in US dollars per label")
    ] = None
    epsilon: Annotated[float | None, Parameter(help="bound on the error of the labels delivered")] = None
    budget: Annotated[float | None, Parameter(help="US dollars: seek the least error within it instead")] = None
    certify: Annotated[float | None, Parameter(help="confidence level of the bound, such as 0.99")] = None
    machine_epsilon: Annotated[
        float | None, Parameter(help="bound on the share of the machine's labels that are wrong")
    ] = None
    class_epsilon: Annotated[
        float | None,
        Parameter(
            help="with a certificate: bound on the wrong labels among what the classifier calls each class; one that "
            "it never predicts is not protected, see the summary"
        ),
    ] = None
    repeat: Annotated[float | None, Parameter(help="with a certificate: share of T that humans label twice")] = None
    noise: Annotated[float | None, Parameter(help="simulated humans: chance that a label is wrong")] = None
    votes: Annotated[int | None, Parameter(help="simulated humans asked for each label, all paid"), WHOLE] = None
    acquisition: Annotated[str | None, Parameter(help="margin, entropy, least_confidence, kcenter or random")] = None
    ranking: Annotated[
        str | None,
        Parameter(
            help="how the classifier's labels are made and ranked: margin, mirror or averaged, or my_file.py:mine"
        ),
    ] = None
    age_test_set: Annotated[
        bool | None, Parameter(help="images of T that the acquisition would have chosen leave the estimate")
    ] = None
    stop_rules: Annotated[
        str | None, Parameter(help="stop rules besides those of MCAL, such as my_rules.py:patient")
    ] = None
    objective: Annotated[str | None, Parameter(help="what plans minimise; default: the cost")] = None
    training_price: Annotated[
        str | None,
        Parameter(
            help="US dollars per image and epoch, needed where the paper has no price for the architecture, or a card, "
            "whose price per hour is paid for the time that training takes (mcal cards)"
        ),
    ] = None
    preset: Annotated[
        str | None, Parameter(help="certified (default), recommended, paper (Algorithm 1) or authors_code")
    ] = None
    delta: Annotated[float | None, Parameter(help="naive_al: its batch, a fraction of |X|")] = None
    seed: Annotated[int | None, Parameter(help="of all that is random"), WHOLE] = None

    def changes(self) -> dict[str, Any]:
        """The fields of Run and of Config that are given, without ``data``."""
        given = {name: value for name, value in asdict(self).items() if value is not None and name != "data"}
        for name in ("architectures", "stop_rules"):
            if name in given:
                given[name] = given[name].split(",")
        if "training_price" in given:
            price = _price(given["training_price"])
            given["training_price"] = price if isinstance(price, str) else {"kind": "per_image_epoch", "dollars": price}
        if "service" in given:
            given["service"] = _price(given["service"])
        return given


NOTHING_GIVEN = RunOptions()


def _price(given: str) -> str | float:
    """A number of US dollars, or the name of who asks for it."""
    try:
        return float(given)
    except ValueError:
        return given
