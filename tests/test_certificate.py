"""The certificate: exact where it says so, kept as often as it promises, and worth its labels."""

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from conftest import EASY, HOPELESS, MIDDLING, assert_partition, simulate
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, hypergeom

from mcal_jax.algorithm import certificate, sample_size
from mcal_jax.algorithm.acquisition import apply_class_limits, rank_within_class
from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.protocol import Verification
from mcal_jax.errors import McalError
from mcal_jax.runs.settings import Run, check

CONFIG = Config(certify=0.95)


def verified(ahead, wrong):
    return Verification(np.asarray(ahead, int), np.asarray(wrong, bool), np.zeros(len(ahead), np.int32))


def draw(rng, wrong, sample):
    """V out of a pool whose images are ``wrong`` or not, the most confident first -> (Verification, the rest)."""
    chosen = np.zeros(len(wrong), bool)
    chosen[rng.choice(len(wrong), sample, replace=False)] = True
    return verified(np.cumsum(~chosen)[chosen], wrong[chosen]), wrong[~chosen]


@given(st.integers(2, 60), st.data())
def test_as_many_mistakes_are_allowed_as_the_hypergeometric_law_says_and_no_more(pool, data):
    sample = data.draw(st.integers(1, pool))
    most = data.draw(st.integers(1, pool))
    risk = data.draw(st.sampled_from([0.01, 0.05, 0.2]))
    k = certificate.acceptance_number(pool, sample, most, risk)

    def chance_of_failure(k):
        """That of the first k + most mistakes the sample caught k or fewer; no such S without as many images."""
        return 0.0 if k + most > pool else hypergeom.cdf(k, pool, k + most, sample)

    assert -1 <= k <= sample
    assert k == -1 or chance_of_failure(k) <= risk
    assert k == sample or chance_of_failure(k + 1) > risk


@given(st.integers(2, 60), st.data())
def test_the_upper_limit_is_the_largest_number_that_the_sample_does_not_rule_out(pool, data):
    sample = data.draw(st.integers(1, pool))
    seen = data.draw(st.integers(0, sample))
    limit = certificate.upper_bound_on_mistakes(pool, sample, seen, 0.05)
    assert 0 <= limit <= pool - sample
    assert limit == 0 or hypergeom.cdf(seen, pool, seen + limit, sample) > 0.05
    assert limit == pool - sample or hypergeom.cdf(seen, pool, seen + limit + 1, sample) <= 0.05


def test_zero_mistakes_in_59_images_of_many_promise_less_than_5_percent():
    assert certificate.acceptance_number(10**6, 58, 0.05 * 10**6, 0.05) == -1
    assert certificate.acceptance_number(10**6, 59, 0.05 * 10**6, 0.05) == 0  # 0.95^59 = 0.0485


@given(st.integers(2, 60), st.data())
def test_a_trimmed_V_is_the_smallest_of_its_acceptance_number(pool, data):
    sample = data.draw(st.integers(1, pool))
    most = data.draw(st.integers(1, pool))
    risk = data.draw(st.sampled_from([0.01, 0.05, 0.2]))
    k = certificate.acceptance_number(pool, sample, most, risk)
    least = certificate.smallest_sample(pool, sample, most, risk)
    assert certificate.acceptance_number(pool, least, most, risk) == k
    if k == -1:
        assert least == sample
    else:
        fewer = [certificate.acceptance_number(pool, size, most, risk) for size in range(1, least)]
        assert k <= least <= sample
        assert all(one < k for one in fewer)
        assert fewer == sorted(fewer)


def test_every_V_of_tiny_pools_in_every_ranking_keeps_the_risk():
    """Exact: all V, and all 512 or 1,024 rankings, clusters and mistakes at the top among them."""
    for pool, sample, limit, risk in ((10, 4, 4, 0.5), (9, 6, 2, 0.2), (9, 3, 4, 0.3)):
        rankings = (np.arange(2**pool)[:, None] >> np.arange(pool) & 1).astype(bool)
        size = certificate.smallest_sample(pool, sample, limit, risk)
        draws = np.array([np.isin(np.arange(pool), V) for V in combinations(range(pool), size)])
        k = certificate.acceptance_number(pool, size, limit, risk)
        assert k >= 0
        broke = np.zeros(len(rankings))
        for V in draws:
            in_S = np.cumsum(rankings & V, axis=1) <= k
            broke += (rankings & ~V & in_S).sum(axis=1) >= limit
        worst = hypergeom.cdf(k, pool, k + limit, size)
        assert broke.max() / len(draws) == pytest.approx(worst)
        assert worst <= risk
        assert size == 1 or hypergeom.cdf(k, pool, k + limit, size - 1) > risk


def test_what_is_bought_for_a_certificate():
    """By hand: of 600 planned images 589 have the acceptance number 28; a budget and bounds by class keep the 600."""
    trim = Config(certify=0.95, certificate="trimmed")
    assert certificate.size_to_buy(10_000, 8247, 600, CONFIG) == 600
    assert certificate.size_to_buy(10_000, 8247, 600, trim) == 589
    assert certificate.size_to_buy(10_000, 8247, 600, trim.model_copy(update={"budget": 100.0})) == 600
    assert certificate.size_to_buy(10_000, 8247, 600, trim.model_copy(update={"class_epsilon": 0.2})) == 600
    assert certificate.size_to_buy(10_000, 8247, 40, trim) == 40  # too few for any S: nothing to trim


@pytest.mark.parametrize("shape", ["mistakes first", "clusters", "ties", "mistakes last", "tiny"])
def test_a_trimmed_V_keeps_the_risk_in_rankings_made_to_break_it(shape):
    """So does the planned V; the rankings hold just too many mistakes."""
    rng, draws = np.random.default_rng(11), 1500
    pool, limit, planned = (60, 8, 30) if shape == "tiny" else (2000, 150, 250)
    rank, bad = np.arange(pool), int(1.25 * limit)
    wrong = {
        "mistakes first": rank < bad,
        "clusters": rank // 10 % 9 == 0,
        "ties": rng.permutation(pool) < bad,
        "mistakes last": rank >= pool - bad,
        "tiny": rank % 5 == 0,
    }[shape]
    share = {}
    for size in (planned, certificate.smallest_sample(pool, planned, limit, 0.05)):
        broke = 0
        for _ in range(draws):
            seen, rest = draw(rng, wrong, size)
            machine, _ = certificate.largest_certified_prefix(len(rest), size, seen.ahead[seen.wrong], limit, 0.05)
            broke += rest[:machine].sum() >= limit
        share[size] = broke / draws
    assert max(share.values()) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


@pytest.mark.parametrize("shape", ["rising", "all at the end", "none", "scattered", "at the limit"])
def test_the_promise_is_kept_as_often_as_it_says(shape):
    """Over draws of V alone, for rankings that are good, bad and made to break it: the machine's mistakes reach
    epsilon |X| in no more than 5 % of draws, and the bound told is exceeded as rarely."""
    n, pool, sample, draws = 3000, 2000, 300, 800
    rng = np.random.default_rng(5)
    at = np.arange(pool) / pool
    wrong = {
        "rising": rng.random(pool) < 0.6 * at**2,
        "all at the end": at > 0.8,
        "none": at > 1,
        "scattered": rng.random(pool) < 0.1,
        "at the limit": rng.permutation(pool) < 150 + int(150 * sample / pool),
    }[shape]
    broke = over = 0
    for _ in range(draws):
        seen, rest = draw(rng, wrong, sample)
        certified = certificate.certificate(n, len(rest), 0, seen, CONFIG)
        mistakes = rest[: certified.machine].sum()
        broke += mistakes >= CONFIG.epsilon * n
        over += mistakes > round(certified.bound * n)
    assert broke / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    assert over / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    if shape == "at the limit":  # and the risk is used, not wasted
        assert broke / draws > 0.01


def test_a_classifier_without_mistakes_labels_everything():
    certified = certificate.certificate(1000, 800, 0, verified(np.arange(100) * 8, np.zeros(100)), CONFIG)
    assert (certified.machine, certified.mistakes, certified.trials, certified.sample) == (800, 0, 100, 100)
    assert certified.bound < 0.05


def test_a_classifier_that_is_always_wrong_labels_only_what_may_all_be_wrong():
    certified = certificate.certificate(1000, 800, 0, verified(np.arange(100) * 8, np.ones(100)), CONFIG)
    assert certified.machine == 49
    assert certified.bound < 0.05


def test_S_ends_before_the_first_mistake_that_is_too_many():
    ahead = np.arange(400) * 10
    wrong = ahead >= 2000
    k = certificate.acceptance_number(4400, 400, 0.05 * 5000, 0.05)
    certified = certificate.certificate(5000, 4000, 0, verified(ahead, wrong), CONFIG)
    assert certified.machine == 2000 + 10 * k
    assert (certified.mistakes, certified.trials) == (k, 200 + k)


def test_mistakes_side_by_side_at_the_end_of_S_count_in_its_bound():
    k = certificate.acceptance_number(4400, 400, 0.05 * 5000, 0.05)
    ahead = np.concatenate([np.arange(399 - k) * 5, np.full(k + 1, 3000)])
    certified = certificate.certificate(5000, 4000, 0, verified(ahead, ahead == 3000), CONFIG)
    assert (certified.machine, certified.mistakes) == (3000, 0)
    assert certified.bound == certificate.upper_bound_on_mistakes(4400, 400, k, 0.05) / 5000


def test_a_budget_fixes_S_and_the_certificate_tells_its_bound():
    seen = verified(np.arange(400) * 10, np.arange(400) >= 300)
    certified = certificate.certificate(5000, 4000, 3500, seen, Config(certify=0.9, budget=100))
    assert certified.machine == 3500
    assert certified.mistakes == 50
    assert certified.bound == certificate.upper_bound_on_mistakes(4400, 400, 50, 0.1) / 5000


def test_limits_by_class_are_clopper_and_pearsons():
    label = np.repeat([0, 1], 10).astype(np.int32)
    seen = Verification(np.arange(20), np.arange(20) == 15, label)
    zero, one = certificate.certificate_of_prefix(1000, 20, seen, 20, 0.1).by_class
    assert (zero.label, zero.trials, zero.mistakes) == (0, 10, 0)
    assert zero.bound == pytest.approx(1 - 0.05**0.1)  # two classes share the risk of 0.1
    assert (one.trials, one.mistakes) == (10, 1)
    assert one.bound == pytest.approx(0.3942, abs=1e-4)


# ---------------------------------------------------------------------------------------------------------
# Every class


BY_CLASS = Config(certify=0.9, class_epsilon=0.1)


def draw_of_classes(rng, label, wrong, sample):
    """V out of a pool with ``label``s, the most confident first -> (Verification, labels and mistakes of the rest)."""
    chosen = np.zeros(len(wrong), bool)
    chosen[rng.choice(len(wrong), sample, replace=False)] = True
    order = np.arange(len(wrong))
    ahead, in_class = (rank_within_class(order, ~chosen, of) for of in (np.zeros(len(wrong)), label))
    called = np.bincount(label[~chosen], minlength=label.max() + 1)
    seen = Verification(ahead[chosen], wrong[chosen], label[chosen], in_class[chosen], called)
    return seen, label[~chosen], wrong[~chosen]


def delivered(certified, label):
    """Which of the rest, the most confident first, the machine labels."""
    machine = np.zeros(len(label), bool)
    machine[apply_class_limits(certified.limits, np.arange(certified.machine), label)] = True
    return machine


@pytest.mark.parametrize("shape", ["one bad class", "at the limit", "a rare class"])
def test_every_class_and_all_labels_keep_their_promise_together(shape):
    """Over draws of V alone: that any class reaches class_epsilon or all labels epsilon is as rare as promised, and so
    is that a bound told is exceeded."""
    pool, sample, draws = 3000, 900, 600
    n = 20_000 if shape == "at the limit" else 5000  # there only the classes bind
    rng = np.random.default_rng(7)
    odds = [0.4, 0.3, 0.29, 0.01] if shape == "a rare class" else [0.4, 0.3, 0.3]
    label = rng.choice(len(odds), pool, p=odds).astype(np.int32)
    at = np.arange(pool) / pool
    chance = {
        "one bad class": np.where(label == 0, 0.4 * at, 0.05 * at),
        "at the limit": np.full(pool, 0.2),
        "a rare class": np.where(label == 3, 0.3, 0.05),
    }[shape]
    wrong = rng.random(pool) < chance
    broke = over = 0
    shares = []
    for _ in range(draws):
        seen, rest, mistaken = draw_of_classes(rng, label, wrong, sample)
        certified = certificate.certificate(n, len(rest), 0, seen, BY_CLASS)
        machine = delivered(certified, rest)
        total = np.bincount(label, minlength=len(odds))
        mistakes = np.bincount(rest[machine & mistaken], minlength=len(odds))
        broke += bool((mistakes >= 0.1 * total).any() or mistakes.sum() >= BY_CLASS.epsilon * n)
        bounds = np.array([one.bound for one in certified.by_class])
        over += bool((mistakes > np.round(bounds * total)).any() or mistakes.sum() > round(certified.bound * n))
        assert (bounds < 0.1 + 1e-12).all()
        shares.append([np.mean(machine[rest == c]) for c in range(len(odds))])
    allowed = 0.1 + 3 * np.sqrt(0.1 * 0.9 / draws)
    assert broke / draws <= allowed
    assert over / draws <= allowed
    if shape == "one bad class":  # it alone is left to humans in part
        bad, good, other = np.mean(shares, axis=0)
        assert bad < 0.8 < 0.99 < min(good, other)
    if shape == "at the limit":  # and the risk is used, not wasted
        assert broke / draws > 0.01


def test_a_class_without_a_sample_is_left_to_humans_but_for_what_may_all_be_wrong():
    """No image of V is called 1, so nothing vouches for it."""
    label = np.zeros(200, np.int32)
    seen = Verification(np.arange(200) * 5, np.zeros(200, bool), label, np.arange(200) * 4, np.array([800, 200]))
    certified = certificate.certificate(1200, 1000, 0, seen, BY_CLASS)
    assert certified.limits == (800, 19)
    assert (certified.trials, certified.mistakes) == (200, 0)
    assert [one.label for one in certified.by_class] == [0, 1]
    assert certified.by_class[1].bound == 19 / 200


def test_the_bound_on_all_gets_half_of_the_risk_where_classes_are_bounded():
    seen = Verification(
        np.arange(400) * 10, np.zeros(400, bool), np.zeros(400, np.int32), np.arange(400) * 10, np.array([4000])
    )
    certified = certificate.certificate(5000, 4000, 0, seen, BY_CLASS)
    assert certified.bound == certificate.upper_bound_on_mistakes(4400, 400, 0, 0.05) / 5000
    assert certified.confidence == pytest.approx(0.9)
    assert certified.by_class[0].bound == certificate.upper_bound_on_mistakes(4400, 400, 0, 0.05) / 4400


def test_a_run_with_a_bound_for_every_class_bills_what_it_leaves_to_humans():
    done = simulate(Config(certify=0.9, class_epsilon=0.05, epsilon=0.1), MIDDLING, 4000).outcome
    assert_partition(done)
    # A simulated classifier's label 1 is always wrong, so most of its class is left to humans.
    assert len(done.S) < done.certificate.machine
    assert done.ledger.residual == pytest.approx(0.04 * len(done.R))
    assert done.theta == pytest.approx(len(done.S) / (len(done.S) + len(done.R)))


def test_a_bound_for_every_class_needs_a_certificate_and_no_budget():
    for changes in ({}, {"certify": 0.95, "budget": 60}):
        with pytest.raises(McalError, match="class_epsilon"):
            check(Run, {"config": {"class_epsilon": 0.1, **changes}})


# ---------------------------------------------------------------------------------------------------------
# What is lost of a class


ELSEWHERE = np.array([40, 5, 0])


@pytest.mark.parametrize("risk", [0.06, 0.01, 1e-4])
def test_clopper_and_pearsons_limit_is_safe_for_a_sample_of_few_images_too(risk):
    """A class of any size, more of which is mislabelled than the limit says, shows so few mistakes that seldom."""
    tried = 0
    for size in [*range(1, 31), 60, 100]:
        for trials in range(1, size + 1):
            mistakes = np.arange(trials)
            limit = beta.ppf(1 - risk, mistakes + 1, trials - mistakes)
            too_many = (limit * size + 1e-9).astype(int) + 1
            possible = too_many <= size
            chance = hypergeom.cdf(mistakes, size, too_many, trials)[possible]
            assert (chance <= risk * (1 + 1e-9)).all()
            tried += len(chance)
    assert tried > 5000


def draw_of_truth(rng, human, label, sample):
    """V out of a pool that humans would label ``human`` and the classifier ``label``, the most confident first ->
    (Verification, which of the pool V holds)."""
    chosen = np.zeros(len(human), bool)
    chosen[rng.choice(len(human), sample, replace=False)] = True
    order = np.arange(len(human))
    ahead, in_class = (rank_within_class(order, ~chosen, of)[chosen] for of in (np.zeros(len(human)), label))
    called = np.bincount(label[~chosen], minlength=3)
    wrong = (human != label)[chosen]
    return Verification(ahead, wrong, label[chosen], in_class, called, human[chosen], ELSEWHERE), chosen


@pytest.fixture
def cached(monkeypatch):
    """The limits are functions of whole numbers, which thousands of draws repeat."""
    for name in ("upper_bound_on_mistakes", "acceptance_number", "clopper_pearson"):
        monkeypatch.setattr(certificate, name, cache(getattr(certificate, name)))


def three_classes(shape):
    """-> (labels by humans, labels by the classifier) of a pool, the most confident first."""
    rng, pool = np.random.default_rng(3), 2000
    human = rng.choice(3, pool, p=[0.67, 0.03, 0.3]).astype(np.int32)
    at = np.arange(pool) / pool
    right = {
        "a rare class is never predicted": human != 1,
        "a rare class is lost late": (human != 1) | (at < 0.7),
        "half of every class is lost, anywhere": rng.random(pool) < 0.5,
        "few are lost": rng.random(pool) > 0.1 * at,
    }[shape]
    return human, np.where(right, human, 2 * (human < 2)).astype(np.int32)


@pytest.mark.parametrize(
    "shape",
    [
        "a rare class is never predicted",
        "a rare class is lost late",
        "half of every class is lost, anywhere",
        "few are lost",
    ],
)
@pytest.mark.parametrize("class_epsilon", [None, 0.2])
def test_what_is_lost_of_every_class_is_within_its_limit_as_often_as_promised(shape, class_epsilon, cached):
    """Of 2,000 draws of V, for the S that each allows."""
    human, label = three_classes(shape)
    config, n, draws = Config(certify=0.9, epsilon=0.1, class_epsilon=class_epsilon), 2500, 2000
    total = np.bincount(human, minlength=3) + ELSEWHERE
    rng, broke, lost = np.random.default_rng(11), 0, []
    for _ in range(draws):
        seen, chosen = draw_of_truth(rng, human, label, 300)
        certified = certificate.certificate(n, int((~chosen).sum()), 0, seen, config)
        rest, called = human[~chosen], label[~chosen]
        machine = delivered(certified, called)
        shares = np.bincount(rest[machine & (rest != called)], minlength=3) / total
        broke += bool((shares > np.array([one.bound for one in certified.by_true_class]) + 1e-12).any())
        lost.append(shares[1])
    assert broke <= binom.isf(0.001, draws, 0.1)
    assert np.mean(lost) > (0.4 if shape == "a rare class is never predicted" else 0.01)  # there is something to bound


@pytest.mark.parametrize("shape", ["a rare class is never predicted", "half of every class is lost, anywhere"])
def test_the_limit_on_what_is_lost_holds_wherever_S_ends(shape, cached):
    """Were S to end where the limit of a class fails, if it does anywhere: that place exists in no more draws than
    promised, and in some."""
    human, label = three_classes(shape)
    total, draws, risk = np.bincount(human, minlength=3) + ELSEWHERE, 600, 0.3
    rng, broke = np.random.default_rng(12), 0
    for _ in range(draws):
        seen, chosen = draw_of_truth(rng, human, label, 100)
        rest, wrong = human[~chosen], (human != label)[~chosen]
        # Between two mistakes of V the limit stays as it is while losses mount.
        ends = np.unique([*seen.ahead[seen.wrong], len(rest)])
        fails = False
        for end in ends.tolist():
            shares = np.bincount(rest[:end][wrong[:end]], minlength=3) / total
            fails |= any(
                shares[one.label] > one.bound + 1e-12 for one in certificate.recall_bounds(len(rest), end, seen, risk)
            )
        broke += fails
    assert 0 < broke <= binom.isf(0.001, draws, risk)


def test_what_is_lost_of_a_class_by_hand():
    """People call 20 of 100 images of V tumours, of which the classifier misses 5 where S lies and 2 beyond it."""
    human = np.repeat([0, 1], [80, 20]).astype(np.int32)
    label, wrong = human.copy(), np.zeros(100, bool)
    wrong[80:87], label[80:87] = True, 0
    ahead = np.concatenate([np.arange(80), np.full(5, 10), np.full(15, 900)])
    called = np.array([960, 40])
    seen = Verification(ahead, wrong, label, ahead, called, human, np.array([50, 30]))
    zero, one = certificate.recall_bounds(1000, 500, seen, 0.1)
    assert one[:4] == (1, 20, 5, 40 + 13)
    left = certificate.upper_bound_on_mistakes(1100, 100, 20, 0.025)
    assert one.bound == pytest.approx((beta.ppf(1 - 0.025 / 42, 6, 15) * (left + 20) - 5) / (left + 20 + 30))
    assert (zero.trials, zero.mistakes) == (80, 0)
    assert 0 < zero.bound < 0.1 < 7 / 20 < one.bound < 1


def test_of_a_class_that_V_does_not_show_only_what_humans_labelled_elsewhere_is_known():
    human, never = np.zeros(100, np.int32), np.array([900, 0, 0])
    seen = Verification(np.arange(100) * 9, np.zeros(100, bool), human, np.arange(100) * 9, never, human, ELSEWHERE)
    _, one, two = certificate.recall_bounds(900, 900, seen, 0.1)
    left = certificate.upper_bound_on_mistakes(1000, 100, 0, 0.1 / 6)
    assert (one.trials, one.called, one.bound) == (0, 0, pytest.approx(left / (left + 5)))
    assert two.bound == 1
    assert all(
        found.bound == 0 for found in certificate.recall_bounds(900, 0, seen, 0.1)
    )  # where the machine labels nothing
    assert certificate.recall_bounds(900, 900, seen._replace(elsewhere=np.empty(0, int)), 0.1) == ()  # a log of old


# ---------------------------------------------------------------------------------------------------------
# Planning V


THETAS = np.arange(1, 201) / 200


def test_the_size_of_V_is_weighed_against_S():
    share = MIDDLING.wrong_share(THETAS, 2000)
    for n in (10_000, 100_000):
        pool = int(0.9 * n)
        chosen = sample_size.best_sample_size(n, pool, THETAS, share, 0.05, 0.05)
        humans = pool * (1 - chosen.theta)
        for sample in (chosen.sample // 4, 4 * chosen.sample):  # neither fewer nor more leave humans less to do
            reach = sample_size.expected_mistake_share(pool, np.array([sample]), 0.05 * n, 0.05)
            theta = np.interp(reach[0], share, THETAS)
            assert humans < pool - (pool - sample) * theta
    small, large = (sample_size.best_sample_size(n, int(0.9 * n), THETAS, share, 0.05, 0.05) for n in (10_000, 100_000))
    assert large.sample > small.sample
    assert large.sample / 100_000 < small.sample / 10_000
    assert large.theta > small.theta


def test_doubt_buys_a_larger_V_where_S_can_gain_no_more():
    """If all of U is nearly sure to be allowed, luck can only cost; where S ends early, it evens out."""
    pool, n = 18_000, 20_000
    nearly = 0.6 * 0.05 * n / pool * THETAS
    certain, uncertain = (sample_size.best_sample_size(n, pool, THETAS, nearly, 0.05, 0.05, sd) for sd in (0.0, 0.3))
    assert uncertain.sample > 1.2 * certain.sample
    assert uncertain.theta < certain.theta
    short = 0.4 * THETAS**2
    calm, shaken = (sample_size.best_sample_size(n, pool, THETAS, short, 0.05, 0.05, sd) for sd in (0.0, 0.3))
    assert shaken.theta == pytest.approx(calm.theta, rel=0.05)


def test_where_S_ends_is_foreseen():
    """The normal approximation of the planner against the exact law."""
    pool, most = 20_000, 1000
    for sample in (200, 1000, 4000):
        exact = (certificate.acceptance_number(pool, sample, most, 0.05) + 0.5) / sample
        assert sample_size.expected_mistake_share(pool, np.array([sample]), most, 0.05)[0] == pytest.approx(
            exact, abs=1.5 / sample
        )


@given(st.integers(0, 3000), st.floats(0.01, 0.3), st.floats(0, 1), st.floats(0, 1))
def test_any_V_fits_its_pool(pool, epsilon, level, theta):
    share = level * THETAS**2
    chosen = sample_size.best_sample_size(3000, pool, THETAS, share, epsilon, 0.05)
    assert 0 <= chosen.sample <= pool
    assert 0 <= chosen.theta <= 1
    sample, bound = sample_size.best_sample_size_in_budget(pool, theta, THETAS, share, 0.05)
    assert 0 <= bound <= theta
    assert 0 <= sample <= pool - int(theta * pool)


# ---------------------------------------------------------------------------------------------------------
# Whole runs


@pytest.mark.parametrize("curve", [EASY, MIDDLING, HOPELESS])
def test_a_certified_run_partitions_X_and_bills_V(curve):
    done = simulate(Config(certify=0.95, machine_epsilon=None), curve, 4000).outcome
    certified = done.certificate
    assert_partition(done)
    assert len(done.V) == certified.sample > 0
    assert len(done.S) == certified.machine
    assert done.ledger.certificate == pytest.approx(0.04 * len(done.V))
    parts = sum(0.04 * len(images) for images in (done.T, done.B, done.R, done.V))
    assert done.ledger.total == pytest.approx(parts + done.ledger.training)


@pytest.mark.parametrize("curve", [EASY, MIDDLING])
def test_a_trimmed_certificate_buys_no_more_labels_than_planned(curve):
    planned, trimmed = (
        simulate(Config(certify=0.95, certificate=name), curve, 4000).outcome for name in ("planned", "trimmed")
    )
    assert_partition(trimmed)
    U = trimmed.n - len(trimmed.T) - len(trimmed.B)
    assert len(planned.V) == planned.plans[-1].certificate_size == trimmed.plans[-1].certificate_size
    assert len(trimmed.V) == certificate.smallest_sample(U, len(planned.V), 0.05 * trimmed.n, 0.05) <= len(planned.V)
    assert trimmed.certificate.bound < 0.05


def test_certified_runs_break_the_bound_less_often_and_cost_more():
    seeds = range(12)
    plain = [simulate(Config(), MIDDLING, 4000, seed) for seed in seeds]
    certified = [simulate(Config(certify=0.95), MIDDLING, 4000, seed) for seed in seeds]
    assert sum(one.true_error >= 0.05 for one in certified) <= 3  # of 12 at 5 %: more has a chance of 0.2 %
    assert all(one.outcome.certificate.bound < 0.05 for one in certified)
    cost = [np.mean([one.outcome.ledger.total for one in runs]) for runs in (plain, certified)]
    assert cost[0] < cost[1] < 1.3 * cost[0]


def test_a_certificate_in_a_budget_tells_the_error_and_keeps_the_budget():
    for seed in range(5):
        done = simulate(Config(certify=0.95, budget=60), MIDDLING, 4000, seed)
        assert done.outcome.ledger.total <= 60
        assert len(done.outcome.V) > 0
        assert done.true_error <= done.outcome.certificate.bound + 0.01


def test_a_certificate_needs_eqn_2_and_theta_of_the_rest():
    for changes in ({"constraint": "on_S"}, {"theta_of": "all"}):
        with pytest.raises(McalError, match="certify"):
            check(Run, {"config": {"certify": 0.95, **changes}})
