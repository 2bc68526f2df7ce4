"""What flows between the algorithm and the world: requests, answers, configuration, outcome.

The algorithm (``loop.py``) yields requests and receives answers. It sees indices into X, counts and
seconds, never an image; labels pass through it unread. Sizes are numbers of images, money is US dollars.
"""

from collections.abc import Generator
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Indices = np.ndarray
"""Sorted, unique int64 positions in X."""


class McalError(Exception):
    """A mistake in what the user gave, told in one line that names the culprit (command line: exit code 2)."""


class NoRuns(McalError):
    """None of the runs that a figure or table needs is there."""


# ---------------------------------------------------------------------------------------------------------
# Requests: whatever costs money or time


class Label(NamedTuple):
    """People label ``n`` images of ``pool``, chosen by ``by`` (an acquisition function M(.), or "random")."""

    pool: Indices
    n: int
    by: str
    purpose: Literal["test", "train", "certify", "residual"]
    model: int | None = None
    plan: "Plan | None" = None


class Train(NamedTuple):
    """Train ``architecture`` from scratch on the labels of ``train`` and test it on ``test``."""

    train: Indices
    test: Indices
    architecture: str
    plan: "Plan | None" = None


class Annotate(NamedTuple):
    """The classifier labels the ``n`` images of ``pool`` that it is most confident of, by L(.).

    Of those that it calls class c, no more than the ``limits[c]`` surest, if limits are given: then fewer than ``n``.
    """

    pool: Indices
    n: int
    model: int
    plan: "Plan | None" = None
    limits: tuple[int, ...] | None = None


class Measure(NamedTuple):
    """An experiment asks how a classifier does on ``pool``, by the truth, ranked by each M(.) of ``by``.

    Nothing is bought. No algorithm that decides anything may ask this: the answer is only recorded.
    """

    pool: Indices
    model: int
    by: tuple[str, ...] = ("margin",)
    plan: "Plan | None" = None


class Verify(NamedTuple):
    """How the classifier does on ``sample``, which people have labelled, ranked among ``pool`` by L(.).

    Nothing is bought.
    """

    sample: Indices
    pool: Indices
    model: int
    plan: "Plan | None" = None


class Repeat(NamedTuple):
    """People label ``n`` images of ``pool``, chosen at random, once more, without knowing what was said before."""

    pool: Indices
    n: int
    plan: "Plan | None" = None


Request = Label | Train | Annotate | Measure | Verify | Repeat

# ---------------------------------------------------------------------------------------------------------
# Answers


class Labelled(NamedTuple):
    """Answer to Label and to Annotate: the images labelled (sorted) and their labels, int32, same length."""

    indices: Indices
    labels: np.ndarray


class Fitted(NamedTuple):
    """Answer to Train: how the classifier does on the test set T.

    ``wrong`` are the positions of its mistakes when T is sorted by L(.), most confident first, so the errors
    among the top fraction theta of T are the positions below ``theta * n_test``.
    """

    model: int
    size: int
    n_test: int
    wrong: np.ndarray
    images: int
    seconds: float

    def errors(self, theta: np.ndarray | float) -> np.ndarray:
        """Number of mistakes among the top fraction ``theta`` of T."""
        return np.searchsorted(self.wrong, trials(theta, self.n_test))


class Measured(NamedTuple):
    """Answer to Measure: the ``n`` images of the pool in the order of each M(.), the least wanted first.

    ``errors`` [MEASURES + 1] counts the classifier's mistakes among the first i / MEASURES of them; ``margins``
    [MEASURES] are mean margins between one count and the next (nan where there is no image).
    """

    n: int
    errors: dict[str, np.ndarray]
    margins: dict[str, np.ndarray]

    def eps(self, theta: np.ndarray | float) -> np.ndarray:
        """Share of mistakes among the top fraction ``theta`` by L(.), between counts linear in the mistakes."""
        at = np.asarray(theta, float)
        wrong = np.interp(at * MEASURES, np.arange(MEASURES + 1), self.errors["margin"])
        return wrong / np.maximum(at * self.n, 1e-9)


MEASURES = 200
"""Points at which a pool is measured."""


class Verified(NamedTuple):
    """Answer to Verify, for each image of the sample: how many of the pool the classifier is more confident of
    (``ahead``), whether it is ``wrong``, its ``label``, int32, and how many of the pool that it gives the same label
    it is more confident of (``ahead_in_class``); all [sample]. ``called`` [classes] counts the pool by label.

    ``human`` [sample] are the labels that people gave, int32; ``elsewhere`` [classes] counts by label what people
    labelled before, T and B. The first logs lack the last two or four.
    """

    ahead: np.ndarray
    wrong: np.ndarray
    label: np.ndarray
    ahead_in_class: np.ndarray = np.empty(0, np.int64)
    called: np.ndarray = np.empty(0, np.int64)
    human: np.ndarray = np.empty(0, np.int32)
    elsewhere: np.ndarray = np.empty(0, np.int64)


class Repeated(NamedTuple):
    """Answer to Repeat: the images labelled again (sorted), and whether the second label ``differ``s from the first,
    bool; same length."""

    indices: Indices
    differ: np.ndarray


Answer = Labelled | Fitted | Measured | Verified | Repeated


def trials(theta: np.ndarray | float, n: np.ndarray | int) -> np.ndarray:
    """floor(theta n), safe against 0.29 * 100 = 28.999...: how many images the top fraction ``theta`` holds."""
    return np.floor(np.asarray(theta) * n + 1e-9).astype(int)


# ---------------------------------------------------------------------------------------------------------
# Configuration


class Settings(BaseModel):
    """Base of everything that is read from YAML: immutable, and no unknown key passes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


CHEAPEST, DEAREST = 1e-9, 1e6  # dollars: no price of a label is lower or higher, so that no sum or ratio overflows
Dollars = Annotated[float, Field(ge=0, le=DEAREST)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class PerImageEpoch(Settings):
    """Training priced by work: dollars per image and epoch, by architecture.

    ``epochs`` is what one retraining is billed for: a number (the paper's recipe runs 200 whatever |B| is),
    or "recipe" for the images that the recipe really processed.
    """

    kind: Literal["per_image_epoch"] = "per_image_epoch"
    dollars: Dollars | dict[str, Dollars] = 5.2e-6
    epochs: Annotated[int, Field(gt=0)] | Literal["recipe"] = 200


class PerHour(Settings):
    """Training priced by measured time: dollars per hour of the machine (the paper's cost 3.6)."""

    kind: Literal["per_hour"] = "per_hour"
    dollars: Dollars = 3.6


class Config(Settings):
    """What Algorithm 1 needs to know. ``Config()`` is the recommended reading, ``Config.paper()`` the paper's.

    Fractions are of |X| unless said otherwise.
    """

    epsilon: Fraction = Field(0.05, description="bound on the error of the delivered labels (Eqn 2)")
    label_price: Annotated[float, Field(ge=CHEAPEST, le=DEAREST)] = Field(
        0.04, description="dollars that people charge for a label, C_h of Eqn 1"
    )
    training_price: PerImageEpoch | PerHour = Field(PerImageEpoch(), discriminator="kind")
    budget: Annotated[float, Field(gt=0, le=1e9 * DEAREST)] | None = Field(
        None,
        description="dollars; if given, the least error within it is sought and epsilon is ignored; sure to be kept "
        "if training is priced per image and epoch, a number of them",
    )
    certify: Annotated[float, Field(ge=0.5, le=0.999999)] | None = Field(
        None,
        description="confidence with which the error of the labels is below epsilon, by labels bought for that alone; "
        "in budget mode the bound is told",
    )
    class_epsilon: Fraction | None = Field(
        None,
        description="with certify: of the images left that the classifier calls one class, fewer than this share get a "
        "label that people would not give, for every class; what can't be vouched for is left to people. It does not "
        "bound what is lost of a class: a rare one that the classifier never predicts may be mislabelled whole; the "
        "certificate tells for every class how much of it may be",
    )
    repeat: Fraction | None = Field(
        None,
        description="share of T that people label twice, to bound what they mislabel; epsilon and the certificate are "
        "then about the truth",
    )
    acquisition: str = Field("margin", description="M(.): which images people label for training")
    test_fraction: Fraction | Literal["planned"] = Field(
        0.05, description="|T|; planned, for certified runs: what cost least in simulations, about a hundredth"
    )
    seed_fraction: Fraction = Field(0.01, description="|B_0|, and the first delta")
    growth: Annotated[float, Field(gt=1, le=1e6)] | None = Field(
        2.0, description="until the plan is stable |B| grows by this factor; none: by the first delta"
    )
    theta_step: Annotated[float, Field(ge=0.001, le=0.5)] = Field(0.05, description="grid of theta")
    fine_theta: bool = Field(True, description="theta between the points of the grid, for the plan and for S")
    theta_of: Literal["remaining", "all"] = Field("remaining", description="theta is a fraction of U, or of X")
    constraint: Literal["on_X", "on_S"] = Field("on_X", description="Eqn 2, or eps(S) < epsilon alone")
    safety: Annotated[float, Field(ge=0, le=5)] = Field(
        1.0, description="standard errors of the estimate on T that are kept away from epsilon; 0: none"
    )
    estimate: Literal["law", "test"] = Field(
        "law",
        description="error of the last classifier: from the laws, which pool all trainings, or its own on T",
    )
    law: Literal["truncated", "power", "pow3", "pow4"] = Field(
        "truncated", description="Eqn 3, the plain power law, or one that ends at a floor"
    )
    pooled: bool = Field(True, description="the law of a theta leans on that of the next larger theta")
    stability: Fraction = Field(0.05, description="Delta of line 19: relative change of C* that is stable")
    min_points: Annotated[int, Field(ge=2)] = Field(3, description="trainings before a plan can be stable")
    reach: Annotated[float, Field(gt=1, le=1e6)] | None = Field(
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

    @field_validator("theta_step")
    @classmethod
    def _divides_one(cls, step: float) -> float:
        if abs(1 / step - round(1 / step)) > 1e-9:
            raise ValueError("the grid must end at theta = 1, so 1 / theta_step must be a whole number")
        return step

    @model_validator(mode="after")
    def _certifiable(self) -> "Config":
        if self.certify and (self.constraint, self.theta_of) != ("on_X", "remaining"):
            raise ValueError("certify: it bounds the error of X by theta of U: constraint on_X, theta_of remaining")
        if self.test_fraction == "planned" and not self.certify:
            raise ValueError("test_fraction: planned is for certify, or T alone stands for the error")
        if self.class_epsilon and (not self.certify or self.budget is not None):
            raise ValueError("class_epsilon: it leaves images to people by a certificate: certify, and no budget")
        if self.repeat and not self.certify:
            raise ValueError("repeat: it bounds the mistakes of people for a certificate, so it needs certify")
        return self

    @field_validator("acquisition")
    @classmethod
    def _known_acquisition(cls, name: str) -> str:
        from mcal_jax.acquisition import check

        check(name)
        return name

    @classmethod
    def paper(cls, **changes) -> "Config":
        """Algorithm 1 as printed: one law per theta, theta on its grid, the estimate taken at its word."""
        reading = dict(
            growth=None,
            reach=None,
            min_points=2,
            fine_theta=False,
            safety=0.0,
            estimate="test",
            pooled=False,
            beta=0.05,
            max_steps=20,
            stop_on_rise=True,
        )
        return cls(**{**reading, **changes})

    @classmethod
    def certified(cls, **changes) -> "Config":
        """The recommended reading with a certificate of 95 %, which makes most of T superfluous; as the laws vouch for
        nothing, fewer trainings are spent on them."""
        return cls(**{"certify": 0.95, "test_fraction": "planned", "growth": 3.0, **changes})

    @classmethod
    def authors_code(cls, **changes) -> "Config":
        """The released code's choices (its estimate from the pool's own labels is not among them)."""
        reading = dict(
            seed_fraction=0.1, growth=2.0, stability=0.1, law="power", constraint="on_S", theta_of="all",
            max_steps=4, bill_test_set=False,
        )  # fmt: skip
        return cls.paper(**{**reading, **changes})

    @property
    def thetas(self) -> np.ndarray:
        """The grid of theta, {step, 2 step, ..., 1}."""
        return np.arange(1, round(1 / self.theta_step) + 1) * self.theta_step


# ---------------------------------------------------------------------------------------------------------
# Plan and outcome


class Law(NamedTuple):
    """log (eps(B) - floor) = a - gamma log(B / B0 + shift) - kappa B / B0: Eqn 3 with alpha = e^a B0^gamma and
    k = B0 / kappa where floor and shift are 0.

    ``covariance`` [5, 5] is of (a, gamma, kappa, floor, shift); ``form`` says what was fitted, "power" where there
    were too few points for more.
    """

    a: float
    gamma: float
    kappa: float
    B0: float
    covariance: np.ndarray
    form: str
    floor: float = 0.0
    shift: float = 0.0


class Surface(NamedTuple):
    """The cost surface of line 18. ``error`` and ``dollars`` are [sizes, thetas]; ``best`` is the largest theta
    that meets the constraint at each size (between grid points if so configured), ``cost`` its dollars."""

    sizes: np.ndarray
    thetas: np.ndarray
    error: np.ndarray
    dollars: np.ndarray
    best: np.ndarray
    cost: np.ndarray


class Plan(NamedTuple):
    """What one iteration decided (lines 13 to 23), and what it knew."""

    size: int  # |B| now
    spent: float  # dollars of training so far
    rate: tuple[float, float]  # dollars of a retraining: rate[0] + rate[1] |B|
    laws: tuple[Law, ...]  # one per theta of the grid
    surface: Surface
    B_opt: int
    theta: float  # at B_opt; 0: people label all the rest
    cost: float  # C*: dollars of the whole job if the plan is followed
    cost_now: float  # the same if training stops here
    theta_now: float
    error: float  # predicted at B_opt, as the constraint counts it
    value: float  # what the search minimises: the cost, or in budget mode the error
    delta: int  # images to buy next
    stable: bool
    form: str  # which law the fits used
    check: int = 0  # |V| if training stops here and the labels are to be certified


class ClassBound(NamedTuple):
    """Upper limit on the share of mistakes among the machine's labels of one class, which made ``mistakes`` of
    ``trials``; with ``class_epsilon`` a share of all that it calls so, whether it or people label them."""

    label: int
    trials: int
    mistakes: int
    bound: float


class ClassRecall(NamedTuple):
    """Upper limit on the share of X's images of one class, as people label them, that get another label.

    V holds ``trials`` such images; of these, ``mistakes`` lie where S does and the classifier gets them wrong. It calls
    ``called`` images of U so; if none, all that are in S are mislabelled. Without trials only T and B speak for a
    class: the bound is 1 if they hold none of it either.
    """

    label: int
    trials: int
    mistakes: int
    called: int
    bound: float


class Certificate(NamedTuple):
    """What V vouches for: with ``confidence``, at most ``bound`` of X is labelled wrongly by the machine.

    Of the ``sample`` images of V, ``trials`` lie where S does, and ``mistakes`` of those the classifier gets wrong. S
    are the ``machine`` surest images, of each class no more than ``limits``, if there are any. ``by_class`` holds for
    all classes at once: with that confidence alone, or with ``class_epsilon`` together with ``bound``. It is about what
    the classifier calls a class; ``by_true_class``, of what people call one, holds with that confidence alone.
    """

    confidence: float
    method: str
    sample: int
    trials: int
    mistakes: int
    machine: int
    bound: float
    by_class: tuple[ClassBound, ...] = ()
    limits: tuple[int, ...] | None = None
    by_true_class: tuple[ClassRecall, ...] = ()


class People(NamedTuple):
    """What labelling ``sample`` images of T twice says: ``differ`` of them got two different labels, so people mislabel
    at most ``bound`` of X. ``counted``: whether epsilon has room for that; if not, it is relative to people."""

    sample: int
    differ: int
    bound: float
    counted: bool


class Contestant(NamedTuple):
    """How an architecture did in the race: its trainings, dollars of training, and last predicted C*."""

    architecture: str
    trainings: int
    spent: float
    cost: float
    won: bool


class Ledger(NamedTuple):
    """Dollars by part. ``race`` is what the losing architectures' training cost, ``certificate`` the labels of V,
    ``repeat`` the second labels."""

    test: float
    train: float
    residual: float
    training: float
    race: float
    humans_only: float
    certificate: float = 0.0
    repeat: float = 0.0

    @property
    def total(self) -> float:
        return self.test + self.train + self.residual + self.training + self.race + self.certificate + self.repeat

    @property
    def savings(self) -> float:
        """1 - total / humans only."""
        return 1 - self.total / self.humans_only


class Outcome(NamedTuple):
    """How X was divided, what it cost, and why it ended. T, B, S, R and V partition X; V, by which the labels are
    certified, is empty if that was not asked for."""

    n: int
    T: Indices
    B: Indices
    S: Indices
    R: Indices
    theta: float
    architecture: str
    stop: str
    ledger: Ledger
    plans: tuple[Plan, ...]
    history: tuple[Fitted, ...]
    race: tuple[Contestant, ...] = ()
    V: Indices = np.empty(0, np.int64)
    certificate: Certificate | None = None
    people: People | None = None


class Job(Settings):
    """Everything that determines an algorithm's requests, given the answers: the head of a run log."""

    algorithm: str = "mcal"
    n: Annotated[int, Field(ge=1)]
    architectures: tuple[str, ...] = ("resnet18",)
    config: Config = Config()
    delta: Fraction | None = Field(None, description="fixed batch of active learning, fraction of |X|")
    far: Fraction | None = Field(None, description="|B| at which a trajectory ends, fraction of |X|")
    compare: tuple[str, ...] = Field((), description="M(.) by which a trajectory's last classifier ranks U")


Algorithm = Generator[Request, Any, Outcome]
"""Yields requests; is sent Labelled for Label and Annotate, Fitted for Train, Verified for Verify, Repeated for Repeat;
returns the Outcome."""


def remove(pool: Indices, taken: Indices) -> Indices:
    """pool \\ taken, sorted."""
    return np.setdiff1d(pool, taken, assume_unique=True)
