"""What is set beforehand: the readings of Algorithm 1 and the prices.

Fractions are of |X| unless stated otherwise, money is US dollars.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from mcal_jax.algorithm.acquisition import ACQUISITIONS, Acquisition
from mcal_jax.algorithm.fields import HIGHEST_PRICE, LOWEST_PRICE, Fraction, Settings, named_in
from mcal_jax.algorithm.presets import Preset
from mcal_jax.algorithm.rankings import RANKINGS, Ranking
from mcal_jax.algorithm.services import Services
from mcal_jax.algorithm.training_price import AnyTrainingPrice, PerHour, PerImageEpoch  # noqa: F401 - prices of a Config
from mcal_jax.display import html_table

LATER = {
    "age_test_set": False,
    "machine_epsilon": None,
    "certificate": "planned",
    "ranking": "margin",
    "services": None,
}
"""Settings that the first versions did not have, and what they did in their place: logs without them are read so."""


FIRST = {**LATER, "safety_z": 1.0, "min_points": 3, "stability": 0.05}
"""Settings whose defaults are others since version 0.1, as they were then."""


PRICES = {"label_price", "training_price"}
"""The settings that say what things cost."""


BROKEN_IN_SIMULATIONS = 0.09
"""Share of simulated runs with the settings of ``Config()`` whose error was epsilon or more: 275 of 3,000, 95 %
interval 8.2 to 10.3 %; by family 6.5, 6.9 and 14.1 % (results/bench/world_runs.csv, by bench/simulated_worlds.py)."""


class Config(Settings):
    """What Algorithm 1 needs to know. ``Config()`` is the recommended reading, ``Config.paper()`` the paper's.

    Fractions are of |X| unless stated otherwise.
    """

    epsilon: Fraction = Field(0.05, description="bound on the error of the delivered labels (Eqn 2)")
    label_price: Annotated[float, Field(ge=LOWEST_PRICE, le=HIGHEST_PRICE)] = Field(
        0.04, description="US dollars that humans charge for a label, C_h of Eqn 1"
    )
    training_price: AnyTrainingPrice = PerImageEpoch()
    budget: Annotated[float, Field(gt=0, le=1e9 * HIGHEST_PRICE)] | None = Field(
        None,
        description="US dollars; if given, the least error within it is sought and epsilon is ignored; always kept "
        "if training is priced per image and epoch, a number of them",
    )
    certify: Annotated[float, Field(ge=0.5, le=0.999999)] | None = Field(
        None,
        description="confidence with which the error of the labels is below epsilon, by labels bought for that alone; "
        "in budget mode the bound is stated in the outcome",
    )
    certificate: Literal["planned", "trimmed"] = Field(
        "planned",
        description="|V|, with certify: as planned, or the fewest images of the same acceptance number, which uses all "
        "of the risk; a budget and class_epsilon keep the planned size",
    )
    class_epsilon: Fraction | None = Field(
        None,
        description="with certify: of the images left that the classifier calls one class, fewer than this share get a "
        "label that humans would not give, for every class; what can't be certified is left to humans. It does not "
        "bound what is lost of a class: a rare one that the classifier never predicts may be mislabelled whole; the "
        "certificate bounds that for every class",
    )
    services: Services | None = Field(
        None,
        description="with certify: who labels T and V, B, and R, each at its price and with its error; label_price is "
        "then what humans only would charge. The errors count against epsilon, so the certificate is about the truth",
    )
    repeat: Fraction | None = Field(
        None,
        description="share of T that humans label twice, to bound what they mislabel; epsilon and the certificate are "
        "then about the truth",
    )
    acquisition: Annotated[str, named_in(ACQUISITIONS, Acquisition)] = Field(
        "margin", description="M(.): which images humans label for training"
    )
    ranking: Annotated[str, named_in(RANKINGS, Ranking)] = Field(
        "averaged", description="L(.): how the labels of the classifier are made and ranked"
    )
    test_fraction: Fraction | Literal["planned"] = Field(
        0.05, description="|T|; planned, for certified runs: what cost least in simulations, about a hundredth"
    )
    seed_fraction: Fraction = Field(0.01, description="|B_0|, and the first delta")
    growth: Annotated[float, Field(gt=1, le=1e6)] | None = Field(
        2.0, description="until the plan is stable |B| grows by this factor; none: by the first delta"
    )
    theta_step: Annotated[float, Field(ge=0.001, le=0.5)] = Field(0.05, description="grid of theta")
    interpolate_theta: bool = Field(True, description="theta between the points of the grid, for the plan and for S")
    theta_of: Literal["remaining", "all"] = Field("remaining", description="theta is a fraction of U, or of X")
    constraint: Literal["on_X", "on_S"] = Field("on_X", description="Eqn 2, or eps(S) < epsilon alone")
    safety_z: Annotated[float, Field(ge=0, le=5)] = Field(
        1.3, description="standard errors of the estimate on T that are kept away from epsilon; 0: none"
    )
    estimate: Literal["law", "test"] = Field(
        "law",
        description="error of the last classifier: from the laws, which pool all trainings, or its own on T",
    )
    law: Literal["truncated", "power", "pow3", "pow4"] = Field(
        "truncated", description="Eqn 3, the plain power law, or one that ends at a floor"
    )
    share_slopes: bool = Field(True, description="the law of a theta leans on that of the next larger theta")
    stability: Fraction = Field(0.1, description="Delta of line 19: relative change of C* that is stable")
    min_points: Annotated[int, Field(ge=2)] = Field(2, description="trainings before a plan can be stable")
    max_growth: Annotated[float, Field(gt=1, le=1e6)] | None = Field(
        3.0, description="most that |B| grows in one step of a stable plan: laws do not reach further"
    )
    beta: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="line 20: how much more than C* smaller steps may cost"
    )
    max_steps: Annotated[int, Field(ge=1, le=1000)] = Field(4, description="line 20: most steps N towards B_opt")
    exploration_tax: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="footnote 5: fraction of the cost of humans only that training may take in vain"
    )
    stop_on_rise: bool = Field(False, description="section 4: stop when the cost of a step rose once stable")
    bill_test_set: bool = Field(True, description="bill T; the released code does not")
    age_test_set: bool = Field(
        True,
        description="images of T that M(.) would have chosen, had they been in the pool, leave the estimate; the "
        "others are a fair sample of what the acquisition leaves in the pool",
    )
    machine_epsilon: Fraction | None = Field(
        0.5,
        description="bound on the error within S, the share of the machine's labels that are wrong: Eqn 2 alone lets "
        "it label epsilon |X| images however badly. If no S keeps both bounds, humans label all the rest. None: Eqn 2 "
        "alone. In budget mode it is not kept",
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What differs from the defaults."""
        for name, field in type(self).model_fields.items():
            if (value := getattr(self, name)) != field.get_default():
                yield name, value

    def _repr_html_(self) -> str:
        changed = {name: value for name, value in self.__repr_args__() if name}
        return html_table("Config: what differs from the defaults", changed or {"all": "as the defaults"})

    @field_validator("theta_step")
    @classmethod
    def _divides_one(cls, step: float) -> float:
        if abs(1 / step - round(1 / step)) > 1e-9:
            raise ValueError("the grid must end at theta = 1, so 1 / theta_step must be a whole number")
        return step

    @model_validator(mode="after")
    def _certifiable(self) -> "Config":
        if self.certify and (self.constraint, self.theta_of) != ("on_X", "remaining"):
            raise ValueError(
                "certify: it bounds the error of X by theta of U: constraint on_X, theta_of remaining; or give another "
                "preset"
            )
        if self.test_fraction == "planned" and not self.certify:
            raise ValueError("test_fraction: planned is for certify, or T alone stands for the error")
        if self.class_epsilon and (not self.certify or self.budget is not None):
            raise ValueError("class_epsilon: it leaves images to humans by a certificate: certify, and no budget")
        if self.services and (not self.certify or self.budget is not None or self.class_epsilon or self.repeat):
            raise ValueError("services: their errors count in a certificate of all labels: certify, and no budget, no "
                             "class_epsilon, no repeat")  # fmt: skip
        if self.repeat and not self.certify:
            raise ValueError("repeat: it bounds the mistakes of humans for a certificate, so it needs certify")
        return self

    @classmethod
    def paper(cls, **changes) -> "Config":
        """Algorithm 1 as printed: one law per theta, theta on its grid, the estimate taken at its word, Eqn 2 alone."""
        reading = dict(
            growth=None,
            max_growth=None,
            stability=0.05,
            min_points=2,
            interpolate_theta=False,
            safety_z=0.0,
            estimate="test",
            share_slopes=False,
            beta=0.05,
            max_steps=20,
            stop_on_rise=True,
            machine_epsilon=None,
            age_test_set=False,
            ranking="margin",
        )
        return cls(**{**reading, **changes})

    @classmethod
    def certified(cls, **changes) -> "Config":
        """The recommended reading with a certificate of 95 %, which makes most of T superfluous; as the laws
        guarantee nothing, fewer trainings are spent on them."""
        reading = {"certify": 0.95, "test_fraction": "planned", "growth": 3.0, "certificate": "trimmed"}
        return cls(**{**reading, **changes})

    @classmethod
    def authors_code(cls, **changes) -> "Config":
        """The released code's choices (its estimate from the pool's own labels is not among them)."""
        reading = dict(
            seed_fraction=0.1, growth=2.0, stability=0.1, law="power", constraint="on_S", theta_of="all",
            max_steps=4, bill_test_set=False,
        )  # fmt: skip
        return cls.paper(**{**reading, **changes})

    @classmethod
    def preset(cls, name: Preset, **changes) -> "Config":
        """A reading by its name."""
        return (cls if name == "recommended" else getattr(cls, name))(**changes)

    @property
    def is_recommended(self) -> bool:
        """Whether all is as in ``Config()``, but for epsilon and the prices."""
        own = ("epsilon", "label_price", "training_price")
        return self == Config(**{name: getattr(self, name) for name in own})

    @property
    def thetas(self) -> np.ndarray:
        """The grid of theta, {step, 2 step, ..., 1}."""
        return np.arange(1, round(1 / self.theta_step) + 1) * self.theta_step
