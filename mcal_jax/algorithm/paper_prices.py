"""What training cost the authors, by architecture: derived from their tables, and one architecture beside them."""

PAPER_PRICES = {
    "grey": {"cnn18": 2.1e-6, "resnet18": 3.3e-6, "resnet50": 6.9e-6, "efficientnet_b0": 6.6e-6},
    "colour": {"cnn18": 3.3e-6, "resnet18": 5.2e-6, "resnet50": 9.8e-6, "efficientnet_b0": 1.0e-5},
}
"""US dollars per image and epoch that Table 2 implies, for 28x28x1 and 32x32x3. Where both services have one delta, two
equations give the labels bought and the training cost; that is divided by 200 epochs and the largest sum of |B| that
fits, with T among the labels (but for ResNet50 at 32x32x3, the highest value of its range). They are derived, the
paper does not print them; the experiment "audit" shows both ways of counting.

The paper has no price for EfficientNetB0 on such images: here it takes twice as long as ResNet18. At 224x224 pixels an
RTX 3090 trains 3,482 and 1,752 images/s of them (results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv of
huggingface/pytorch-image-models), a ratio of 1.99; from there to 32x32 the multiply-adds of both fall alike, to
31 % and 30 %. By multiply-adds it would be a fifth: depth-wise convolutions are bound by memory."""


def relative_price(architecture: str, channels: int = 3) -> float:
    """The cost of an image and epoch relative to ResNet18's, for an architecture of ``PAPER_PRICES``.

    >>> round(relative_price("resnet50"), 2)
    1.88
    """
    prices = PAPER_PRICES["grey" if channels == 1 else "colour"]
    return prices[architecture] / prices["resnet18"]
