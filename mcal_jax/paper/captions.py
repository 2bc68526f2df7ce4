"""What each figure and table of the paper shows there, in our words, by the name of the exhibit."""

import itertools

_COST = (
    "The total cost of active learning on {} against the batch size δ, by architecture, with labels by {}. A circle "
    "marks the best δ, dashed lines the cost of humans only and of MCAL. MCAL is below active learning even with its "
    "best δ{}."
)
_TRAINING = (
    "The part of the cost of active learning on {} that is training, against δ, by architecture: the choice of δ "
    "changes it about {} times."
)
_LAWS = (
    "Both laws fitted to more and more trainings of {} on {}, for θ = 50 %. The paper: more points predict better, and "
    "a few small ones suffice for a stable prediction."
)
_FITTED = itertools.product(("CIFAR-10", "CIFAR-100"), ("CNN18", "ResNet18", "ResNet50"))

CAPTIONS = {
    "fig01": "Active learning ends with a classifier of a given accuracy. MCAL ends with a labelled data set within a "
    "given error, and counts the cost of training.",
    "fig02": "Error against |B| with the power law and the truncated power law (Eqn 3), by θ. The truncated law "
    "predicts better, above all at large |B|.",
    "fig03": "The truncated power law fitted to 3, 5, 7 and 9 trainings: more points predict the fall of the error "
    "better.",
    "fig04": "Error of the machine's labels against δ at |B| = 16,000 on CIFAR-10 with ResNet18: δ changes it by less "
    "than 1 point, above all for small θ.",
    "fig05": "Accuracy of the images that are left to the machine, ranked by each acquisition function, on CIFAR-10 "
    "with ResNet18. What k-center chooses says little about accuracy.",
    "fig06": "Margin of the same images: what k-center chooses says little about the margin either.",
    "fig07": "The total cost with labels by Amazon: humans only, MCAL at ε = 5 %, and active learning that an oracle "
    "gives the best δ, for each architecture. MCAL saves 86 %, 67 % and 30 %.",
    "fig08": _COST.format("Fashion-MNIST", "Amazon", ""),
    "fig09": _COST.format("CIFAR-10", "Amazon", "; δ changes the cost up to 4 to 5 times on hard data sets"),
    "fig10": _COST.format("CIFAR-100", "Amazon", "; active learning does not help here at all"),
    "fig11": "MCAL's total cost on CIFAR-10 with ResNet18 by acquisition function: the uncertain ones cost 25 % less "
    "than k-center, with which the machine labels fewer images.",
    "fig12": "The share labelled by the machine in active learning against δ: from 1 % to 15 % of X it falls by 10 to "
    "15 points.",
    "fig13": "MCAL on 1,000 to 5,000 images per class of CIFAR-10: the machine labels 30 % of the smallest subset and "
    "65 % of the largest.",
    "fig14": "MCAL with and without active learning, labels by Amazon: it gains about 20 % on Fashion-MNIST and "
    "CIFAR-10, and little on CIFAR-100.",
    "fig15": "MCAL with and without active learning, labels by Satyam: it gains 25 to 31 % on Fashion-MNIST and "
    "CIFAR-10, because training is a larger part of the cost.",
    "fig16": _COST.format("Fashion-MNIST", "Satyam", ""),
    "fig17": _COST.format("CIFAR-10", "Satyam", ""),
    "fig18": _COST.format("CIFAR-100", "Satyam", ""),
    "fig19": _TRAINING.format("Fashion-MNIST", 2),
    "fig20": _TRAINING.format("CIFAR-10", 5),
    "fig21": _TRAINING.format("CIFAR-100", 5),
    **{f"fig{number}": _LAWS.format(net, name) for number, (name, net) in enumerate(_FITTED, 22)},
    "tab01": "MCAL at ε = 5 % by data set and labelling service: |B|, |S|, architecture, error, cost and savings.",
    "tab02": "Active learning with the δ that an oracle chose, by data set, service and architecture: δ, cost and "
    "savings. MCAL costs less than each of them.",
    "tab03": "MCAL at ε = 10 %, labels by Amazon: a looser bound saves more.",
}
