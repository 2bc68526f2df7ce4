"""Choosing the architecture: one set of labels, one winner, and a tax that is stated."""

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING, assert_partition, labelled_by_humans, same, simulate, tell
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax.algorithm import costs
from mcal_jax.algorithm.config import Config, PerImageEpoch
from mcal_jax.algorithm.job import Job
from mcal_jax.algorithm.mcal import mcal
from mcal_jax.algorithm.protocol import Label, Train
from mcal_jax.algorithm.race import race
from mcal_jax.errors import McalError
from mcal_jax.worlds.simulated import Analytic

BETTER = MIDDLING.model_copy(update={"alpha": 2.0})
NETS = ("cnn18", "resnet18", "resnet50")
CURVES = {"cnn18": MIDDLING, "resnet18": BETTER, "resnet50": MIDDLING.model_copy(update={"alpha": 3.5})}


def raced(config, curves, n=3000, seed=0, architectures=None):
    """-> (outcome, steps)."""
    steps = []
    names = architectures or tuple(curves)
    finished = simulate(config, curves, n, seed, lambda _, *step: steps.append(step), architectures=names)
    return finished.outcome, steps


def trainings(steps):
    return [(request, answer) for request, answer in steps if isinstance(request, Train)]


def test_every_label_is_billed_once():
    outcome, steps = raced(Config(), CURVES)
    labelled = labelled_by_humans(steps)
    assert len(np.unique(labelled)) == len(labelled)
    assert_partition(outcome)
    bill = outcome.ledger
    assert bill.test + bill.train + bill.residual == pytest.approx(0.04 * len(labelled))


def test_all_contestants_train_on_the_same_B_until_one_has_won():
    outcome, steps = raced(Config(), CURVES)
    rounds = {}
    for request, _ in trainings(steps):
        rounds.setdefault(len(request.train), []).append(request)
    decided = False
    for _, requests in sorted(rounds.items()):
        names = [r.architecture for r in requests]
        assert len(set(names)) == len(names)
        decided |= names == [outcome.architecture]
        assert set(names) == ({outcome.architecture} if decided else set(NETS))
        assert all(np.array_equal(r.train, requests[0].train) for r in requests)
        assert all(np.array_equal(r.test, outcome.T) for r in requests)
    assert len(rounds) >= 3


@pytest.mark.parametrize("price", [1.5e-4, 0.04])
@pytest.mark.parametrize("seed", range(6))
def test_V_is_bought_for_the_winner_alone(price, seed):
    """Contestants that stop in one round each ask for a V of their own; only the best of them gets it."""
    outcome, steps = raced(Config.certified(label_price=price), CURVES, 300, seed)
    checks = [request for request, _ in steps if isinstance(request, Label) and request.purpose == "certify"]
    assert len(checks) == (len(outcome.V) > 0)
    assert_partition(outcome)
    assert outcome.ledger.certificate == pytest.approx(price * len(outcome.V))


def test_the_tax_of_the_race_is_what_the_losers_training_cost():
    price = PerImageEpoch(dollars={"cnn18": 3e-6, "resnet18": 5e-6, "resnet50": 1e-5})
    config = Config(training_price=price)
    outcome, steps = raced(config, CURVES)
    spent = dict.fromkeys(NETS, 0.0)
    for request, answer in trainings(steps):
        spent[request.architecture] += costs.training_cost(answer, request.architecture, config)
    winner = outcome.architecture
    assert outcome.ledger.training == pytest.approx(spent.pop(winner))
    assert outcome.ledger.race == pytest.approx(sum(spent.values()))
    assert outcome.ledger.race > 0
    for contestant in outcome.race:
        if not contestant.won:
            assert contestant.spent == pytest.approx(spent[contestant.architecture])
    assert [c.architecture for c in outcome.race] == list(NETS)
    assert [c.architecture for c in outcome.race if c.won] == [winner]
    assert {f.size for f in outcome.history} == {len(r.train) for r, _ in trainings(steps) if r.architecture == winner}


@pytest.mark.parametrize("seed", range(3))
def test_the_better_of_two_equally_expensive_nets_wins(seed):
    assert raced(Config(), {"cnn18": MIDDLING, "resnet18": EASY}, seed=seed)[0].architecture == "resnet18"
    assert raced(Config(), {"cnn18": EASY, "resnet18": MIDDLING}, seed=seed)[0].architecture == "cnn18"


def test_a_better_net_that_costs_more_than_it_saves_loses():
    price = PerImageEpoch(dollars={"cnn18": 1e-6, "resnet50": 1e-4})
    slightly = MIDDLING.model_copy(update={"alpha": 2.95})
    outcome, _ = raced(Config(training_price=price), {"cnn18": MIDDLING, "resnet50": slightly})
    assert outcome.architecture == "cnn18"


def test_recipes_race_by_what_they_process():
    """The better recipe wins where training is cheap; of two that are alike the shorter one, billed by its images."""
    epochs = {"resnet18@fast": 400, "resnet18@brief": 20}

    def worked(number, request, answer):
        trained = isinstance(request, Train)
        return answer._replace(images=answer.size * epochs[request.architecture]) if trained else answer

    def winner(dollars, fast, seed):
        curves = {"resnet18@fast": fast, "resnet18@brief": MIDDLING}
        config = Config(training_price=PerImageEpoch(dollars={"resnet18": dollars}, epochs="recipe"))
        return tell(race(20_000, config, tuple(epochs)), curves, 20_000, seed, change=worked)[1].architecture

    cheap, expensive = ([winner(*given, seed) for seed in range(4)] for given in ((1e-9, BETTER), (2e-5, MIDDLING)))
    assert cheap.count("resnet18@fast") >= 3
    assert expensive.count("resnet18@brief") >= 3


def test_of_equal_nets_the_first_wins():
    assert raced(Config.paper(), {"b": EASY, "a": EASY}, seed=1)[0].race[0].won


@given(
    st.sampled_from([Config(), Config.certified(), Config.paper(), Config.authors_code()]),
    st.lists(st.sampled_from([EASY, MIDDLING, HOPELESS, Analytic(floor=0.3)]), min_size=2, max_size=3),
    st.lists(st.floats(0, 3e-5), min_size=3, max_size=3),
    st.integers(0, 99),
)
@settings(max_examples=3)
def test_any_race_partitions_X_and_is_won_by_who_promises_the_least_still_to_pay(config, curves, prices, seed):
    price = PerImageEpoch(dollars=dict(zip(NETS, prices, strict=True)))
    config = config.model_copy(update={"training_price": price, "theta_step": 0.25})
    outcome, steps = raced(config, dict(zip(NETS, curves, strict=False)), 1500, seed)
    assert_partition(outcome)
    assert len(labelled_by_humans(steps)) == sum(len(getattr(outcome, name)) for name in "TBRV")
    promised = {c.architecture: c.cost - c.spent for c in outcome.race}
    assert promised[outcome.architecture] == pytest.approx(min(promised.values()))
    assert outcome.plans[-1].size == len(outcome.B)


def test_a_race_of_one_is_plain_mcal():
    asked, plain = tell(mcal(2000, Config(), "resnet18"), BETTER)
    raced_for, outcome = tell(race(2000, Config(), ["resnet18"]), BETTER)
    assert same(outcome, plain)
    assert same(tuple(raced_for), tuple(asked))
    assert outcome.race == ()


@pytest.mark.parametrize(("names", "complaint"), [((), "none"), (("cnn18", "cnn18"), "cnn18, cnn18")])
def test_no_or_repeated_architectures_are_refused(names, complaint):
    with pytest.raises(McalError, match=f"architectures: a race needs different ones, got {complaint}"):
        next(race(1000, Config(), names))


def test_a_race_within_a_budget_is_refused():
    with pytest.raises(McalError, match="budget: give one architecture"):
        next(race(1000, Config(budget=50.0), NETS))


def test_a_contestant_without_a_price_is_refused_before_anything_is_bought():
    for epochs in (200, "recipe"):
        price = PerImageEpoch(dollars={"cnn18": 1e-6}, epochs=epochs)
        with pytest.raises(McalError, match="no training price for 'resnet18'"):
            next(race(1000, Config(training_price=price), ("cnn18", "resnet18")))


def test_a_job_with_several_architectures_is_a_race():
    assert Job(n=10).architectures == ("resnet18",)
    assert len(raced(Config(), CURVES, 1000)[0].race) == 3
