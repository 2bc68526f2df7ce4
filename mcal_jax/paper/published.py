"""The numbers that the paper prints in its tables and text (Qiu, Chintalapudi and Govindan, ICLR 2023).

The paper's figures print no numbers. Shares are of |X|, costs are US dollars.
"""

from typing import NamedTuple

DATA_SETS = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
NETS = ("cnn18", "resnet18", "resnet50")
"""The architectures that the paper compares."""
SERVICES = {"amazon": "Amazon", "satyam": "Satyam"}
IMAGES = {"fashion_mnist": 70_000, "cifar10": 60_000, "cifar100": 60_000}
"""|X|: train and test images, as the cost of labelling by humans only implies."""


def data_set_name(data_set: str) -> str:
    """The display name of a data set; one that the paper does not use has its own."""
    return DATA_SETS.get(data_set, data_set)


def service_name(service: str) -> str:
    """The display name of a labelling service, or its price as it is."""
    return SERVICES.get(service, service)


class Mcal(NamedTuple):
    """A row of Table 1 or 3: |B|/|X|, |S|/|X|, error of the delivered labels, US dollars, savings."""

    B: float
    S: float
    error: float
    humans: float | None
    dollars: float | None
    savings: float


TABLE_1 = {
    ("fashion_mnist", "amazon"): Mcal(0.061, 0.85, 0.040, 2800, 400, 0.86),
    ("fashion_mnist", "satyam"): Mcal(0.084, 0.85, 0.040, 210, 29, 0.86),
    ("cifar10", "amazon"): Mcal(0.222, 0.65, 0.024, 2400, 792, 0.67),
    ("cifar10", "satyam"): Mcal(0.270, 0.65, 0.024, 180, 63, 0.65),
    ("cifar100", "amazon"): Mcal(0.320, 0.10, 0.004, 2400, 1698, 0.29),
    ("cifar100", "satyam"): Mcal(0.576, 0.20, 0.010, 180, 139, 0.23),
}
"""MCAL at epsilon 5 %, by data set and service; ResNet18 was chosen everywhere."""

TABLE_3 = {
    "fashion_mnist": Mcal(0.044, 0.90, 1 - 0.919, None, None, 0.889),
    "cifar10": Mcal(0.259, 0.75, 1 - 0.947, None, None, 0.705),
    "cifar100": Mcal(0.640, 0.25, 1 - 0.984, None, None, 0.391),
}
"""MCAL at epsilon 10 %, Amazon; printed as labelling accuracy."""


class Oracle(NamedTuple):
    """A cell of Table 2: the best batch as a share of |X|, US dollars, savings."""

    delta: float
    dollars: float
    savings: float


TABLE_2 = {
    ("fashion_mnist", "amazon", "cnn18"): Oracle(0.017, 438.37, 0.843),
    ("fashion_mnist", "amazon", "resnet18"): Oracle(0.067, 429.27, 0.846),
    ("fashion_mnist", "amazon", "resnet50"): Oracle(0.033, 452.36, 0.838),
    ("fashion_mnist", "satyam", "cnn18"): Oracle(0.017, 49.87, 0.763),
    ("fashion_mnist", "satyam", "resnet18"): Oracle(0.067, 40.77, 0.753),
    ("fashion_mnist", "satyam", "resnet50"): Oracle(0.033, 63.86, 0.696),
    ("cifar10", "amazon", "cnn18"): Oracle(0.100, 1577.24, 0.343),
    ("cifar10", "amazon", "resnet18"): Oracle(0.067, 891.06, 0.629),
    ("cifar10", "amazon", "resnet50"): Oracle(0.100, 1128.65, 0.530),
    ("cifar10", "satyam", "cnn18"): Oracle(0.167, 235.81, -0.310),
    ("cifar10", "satyam", "resnet18"): Oracle(0.067, 129.60, 0.280),
    ("cifar10", "satyam", "resnet50"): Oracle(0.100, 149.63, 0.169),
    ("cifar100", "amazon", "cnn18"): Oracle(0.133, 2520.79, -0.05),
    ("cifar100", "amazon", "resnet18"): Oracle(0.167, 2184.60, 0.090),
    ("cifar100", "amazon", "resnet50"): Oracle(0.133, 2915.80, -0.215),
    ("cifar100", "satyam", "cnn18"): Oracle(0.167, 407.04, -1.261),
    ("cifar100", "satyam", "resnet18"): Oracle(0.167, 297.60, -0.653),
    ("cifar100", "satyam", "resnet50"): Oracle(0.167, 805.76, -3.476),
}
"""Active learning with the best batch known in hindsight."""

UNCERTAINTY_GAIN = 0.25
"""How much less uncertainty sampling costs than k-center (section 5.1, figure 11)."""
ACTIVE_LEARNING_GAINS = {
    ("fashion_mnist", "amazon"): (0.20, 0.20), ("cifar10", "amazon"): (0.20, 0.20),
    ("fashion_mnist", "satyam"): (0.25, 0.31), ("cifar10", "satyam"): (0.25, 0.31),
}  # fmt: skip
"""How much less active learning costs than random images, at least and at most (appendix B, figures 14 and 15)."""
LARGE_BATCH_LOSS = (0.10, 0.15)
"""How much less of X the machine labels with the largest batches than with the smallest (section 5.1, figure 12)."""
SAME_SIZE = 16_000 / 60_000
"""|B|/|X| at which batches of different delta are compared (figure 4)."""
SHARES_PER_CLASS = {1000: 0.30, 5000: 0.65}
"""|S|/|X| by images per class (section 5.1, figure 13)."""
TRAINING_COST_RATIOS = {"fashion_mnist": 2, "cifar10": 5, "cifar100": 5}
"""Largest by smallest training cost over batch sizes (appendix E, figures 19 to 21)."""


class Decision(NamedTuple):
    """A run that ended with everything labelled by humans: |X|, the last |B|, accuracy reached on it at least, the cost
    of training over ResNet18's from and to, and the share of the cost of humans only that training may take."""

    images: int
    trained_on: int
    accuracy: float
    ratios: tuple[int, int]
    tax: float

    @property
    def share(self) -> float:
        """|B| / |X|."""
        return self.trained_on / self.images


IMAGENET = Decision(1_281_167, 454_000, 0.8, (60, 200), 0.1)
"""EfficientNetB0 on ImageNet (section 5.1 and footnote 5). |X| is that of the training set; the paper says over
1.2 million."""
OTHER_IMAGES = {"imagenet_resized/64x64": 1_331_167, "fashion_mnist_10k": 10_000}
"""|X| of sets that the paper does not use: resized ImageNet's training and validation images; those that ship."""

EXHIBITS = (*(f"fig{i:02}" for i in range(1, 28)), *(f"tab{i:02}" for i in range(1, 4)))
"""Every figure and table of the paper; each has its file in experiments/."""
