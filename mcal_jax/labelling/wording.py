"""The sentences of a datasheet, for readers who are no statisticians: what was done and what is certified."""

from typing import Any

from mcal_jax.result import Result
from mcal_jax.runs.report import annotators_line, machine_lines

CLASSES = (
    "Labels of each class, by whom. The last columns count, among the images of V, mistakes of the classifier: of the "
    "images that it gave this label, and of the images that humans gave this label; with upper limits on the share."
)
CHANCES = (
    "The labels of the classifier with the smallest margins. The chance of a mistake is an estimate, not a bound: the "
    "images that humans labelled to test the classifier are ranked by margin and cut into groups, and the share of "
    "mistakes of a group is taken for images of the same rank."
)


def asked(result: Result) -> str:
    """Who labelled how much."""
    n, machine = len(result.labels), int(result.by_machine.sum())
    classes = f"The classes they chose from: {', '.join(result.classes)}."
    if owned := result.outcome.owned:
        classes = f"{owned:,} of their labels were known before and cost nothing. {classes}"
    if result.has_given_predictions:
        return (
            f"The data set has {n:,} items and a classifier's prediction of each. Humans labelled {n - machine:,} of "
            f"them, for ${result.bill.total:,.2f}; of the other {machine:,} the predictions were taken. {classes}"
        )
    return (
        f"The data set has {n:,} images. Humans labelled {n - machine:,} of them, at "
        f"${result.record.job.config.label_price:g} a label; a classifier, trained on a part of these labels, labelled "
        f"the other {machine:,}. {classes}"
    )


def annotators(people: Any) -> list[str]:
    """What the table of annotators means, where several of them answered the same; ``people`` are its rows."""
    if not people["compared"].any() and not people["gold"].any():
        return []
    return [
        "Agree: share of the answers to images that several annotators saw that are the label in the end. Accuracy: "
        "share of right answers, estimated by the model of Dawid and Skene. Gold right: share of right answers to "
        f"images whose label was known. The {int(people['answers'].sum() + people['gold'].sum()):,} answers cost "
        f"${people['cost'].sum():,.2f}; the bill below takes one label price for each label, whoever gave it."
    ]


def certificate(result: Result) -> list[str]:
    """What is certified: the statement, what it rests on, what confidence means, and what it does not say."""
    certified, outcome = result.certificate, result.outcome
    if certified is None:
        estimate = machine_lines(outcome, result.record.job.config)
        return [
            "Nothing is certified: no certificate was asked for.",
            *([f"Estimated from the test set: {estimate[0]}."] if estimate else []),
        ]
    n, confidence = outcome.n, f"{certified.confidence:.0%}"
    if not len(outcome.S):
        return [f"Humans labelled all {n:,} images, so the classifier made no mistake. {_humans(result)}"]
    most = int(certified.bound * n + 1e-9)
    failures = f"{1 - certified.confidence:.0%}"
    begins = "With all predictions fixed" if result.has_given_predictions else "After the last training"
    return [
        f"Statement. With a confidence of {confidence}, at most {most:,} of the {n:,} labels of this data set "
        f"({certified.bound:.2%}) were given by the classifier and differ from the label that the humans asked would "
        "have given.",
        f"Basis. {begins}, {certified.sample:,} images were drawn at random, each with the same chance, "
        f"from the {len(outcome.V) + len(outcome.S) + len(outcome.R):,} images that had no label by then, and humans "
        f"labelled them. {certified.trials:,} of these lie where the classifier labels, and {certified.mistakes:,} of "
        "them it would have labelled wrongly. The limit follows from these counts by an exact calculation "
        f"({certified.method}), which assumes nothing about the images or about the classifier.",
        "Confidence. If data sets were labelled again and again by this procedure, the statement would be wrong for "
        f"at most {failures} of them. It is no probability that this one data set exceeds the limit.",
        f"Limits. The statement is about these {n:,} images as a whole: not about a single image, nor about a class "
        f"(see the table of classes), nor about images collected later. {_humans(result)}",
    ]


def _humans(result: Result) -> str:
    """What is known of the mistakes of humans."""
    error = result.outcome.annotator_error
    if error is None:
        return (
            "The labels of humans are taken as right; how often humans err was not measured, and mistakes of theirs "
            "come on top."
        )
    return f"Mistakes of humans were measured: {annotators_line(error, result.certificate, result.record.job.config)}."
