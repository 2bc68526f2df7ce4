"""The search of line 18, the delta of line 20, and each stop rule, against plain arithmetic."""

import math
import re

import numpy as np
import pytest
from conftest import EASY, MIDDLING, configs, curves, history_of, spread
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcal_jax.algorithm import costs, objectives, planner, stopping
from mcal_jax.algorithm.config import Config, PerHour, PerImageEpoch
from mcal_jax.algorithm.objectives import OBJECTIVES, Objective
from mcal_jax.algorithm.plan import Plan, Progress, Surface
from mcal_jax.algorithm.protocol import trials
from mcal_jax.errors import McalError

N, TESTS = 4000, 200
SIZES = [40, 80, 160, 320]


def search(config, curve=MIDDLING, sizes=SIZES, n=N, tests=TESTS, previous=None):
    config = config.model_copy(update={"test_fraction": tests / n})
    return planner.search(n, history_of(curve, sizes, tests), "resnet18", previous, config)


def plan(**changes):
    """A plan to try one predicate on: 100 labels bought, B_opt ahead, cheaper than humans."""
    none = np.arange(0)
    base = Plan(
        size=100, spent=1.0, rate=(0.0, 0.001), laws=(), surface=Surface(*[none] * 6), B_opt=400, theta=0.6,
        cost=20.0, cost_now=30.0, theta_now=0.3, error=0.04, value=20.0, delta=100, stable=True, form="power",
    )  # fmt: skip
    return base._replace(**changes)


def progress(plan, tests=TESTS, n=N):
    """How far a run has come that made ``plan``."""
    return Progress(n, tests, plan.size, plan.spent, plan.rate, tests)


def next_delta(n, tests, plan, config):
    return planner.next_delta(progress(plan, tests, n), plan.B_opt, plan.cost, plan.stable, config)


# ---------------------------------------------------------------------------------------------------------
# Sizes


def test_sizes_of_T_and_of_the_seed_are_rounded_and_never_zero():
    assert planner.n_test(1000, Config()) == 50
    assert planner.n_seed(1000, Config()) == 10
    assert (planner.n_test(7, Config()), planner.n_seed(7, Config())) == (1, 1)


def test_a_planned_T_is_a_hundredth_of_X_and_more_of_a_small_one():
    sizes = {n: planner.n_test(n, Config.certified()) for n in (7, 1000, 10_000, 25_000, 100_000)}
    assert sizes == {7: 1, 1000: 50, 10_000: 250, 25_000: 250, 100_000: 1000}
    assert planner.n_test(10_000, Config.certified(test_fraction=0.1)) == 1000
    with pytest.raises(ValueError, match="test_fraction: planned is for certify"):
        Config(test_fraction="planned")


def test_a_pool_too_small_for_T_and_the_seed_is_refused_with_both_numbers():
    config = Config(test_fraction=0.6, seed_fraction=0.4)
    with pytest.raises(McalError, match="ask for 10 labels, the pool holds 10"):
        planner.check(10, "resnet18", config)
    planner.check(10, "resnet18", Config(test_fraction=0.5, seed_fraction=0.4))
    for n in (1, 2):
        with pytest.raises(McalError, match=f"ask for 2 labels, the pool holds {n}"):
            planner.check(n, "resnet18", Config())


def test_a_budget_that_does_not_pay_for_the_beginning_is_refused_with_both_sums():
    # T 50 and B_0 10 at $0.04 and one training of 10 images for 200 epochs at $0.0001: $2.40 + $0.20.
    price = PerImageEpoch(dollars=1e-4)
    planner.check(1000, "resnet18", Config(budget=2.6, training_price=price))
    with pytest.raises(McalError, match=re.escape("budget: $2.59 does not pay for T, B_0 and one training, $2.60")):
        planner.check(1000, "resnet18", Config(budget=2.59, training_price=price))
    planner.check(1000, "resnet18", Config(budget=0.61, training_price=price, bill_test_set=False))


def test_a_budget_that_pays_for_the_beginning_to_the_cent_will_do():
    config = Config(budget=0.6, training_price=PerImageEpoch(dollars=1e-4), bill_test_set=False)
    planner.check(1000, "resnet18", config)


# ---------------------------------------------------------------------------------------------------------
# Errors


def test_wilsons_upper_limit_has_its_known_values():
    assert planner.upper_limit(np.array(0.1), 100, 1.96) == pytest.approx(0.17437, abs=1e-5)
    assert planner.upper_limit(np.array(0.0), 100, 2.0) == pytest.approx(4 / 104)
    assert planner.upper_limit(np.array(1.0), 10, 1.0) == pytest.approx(1.0)
    assert planner.upper_limit(np.array(0.5), 50, 1.0) == pytest.approx((0.5 + 0.01 + np.sqrt(0.0051)) / 1.02)


@given(st.floats(0, 1), st.integers(1, 10**5), st.floats(0, 5), st.floats(0, 5))
def test_the_upper_limit_is_the_estimate_at_0_and_rises_with_z_within_0_and_1(p, n, z, more):
    share = np.array(p)
    assert planner.upper_limit(share, n, 0.0) == p
    low, high = planner.upper_limit(share, n, z), planner.upper_limit(share, n, z + more)
    assert p - 1e-12 <= low <= high + 1e-12
    assert high <= 1 + 1e-12


def test_theta_counts_the_remaining_images_or_all():
    thetas = np.array([0.25, 0.5, 1.0])
    assert planner.machine_images(1000, 600, thetas, Config()).tolist() == [150, 300, 600]
    assert planner.machine_images(1000, 600, thetas, Config(theta_of="all")).tolist() == [250, 500, 600]


def test_the_constraint_is_eqn_2_or_the_error_of_S_alone():
    theta, eps = np.array([0.5, 1.0]), np.array([0.02, 0.1])
    on_X = planner.constrained_error(1000, 600, theta, eps, 50, Config(safety_z=0))
    assert on_X == pytest.approx([300 / 1000 * 0.02, 600 / 1000 * 0.1])
    on_S = planner.constrained_error(1000, 600, theta, eps, 50, Config(safety_z=0, constraint="on_S"))
    assert on_S == pytest.approx([0.02, 0.1])
    of_all = planner.constrained_error(1000, 600, theta, eps, 50, Config(safety_z=0, theta_of="all"))
    assert of_all == pytest.approx([500 / 1000 * 0.02, 600 / 1000 * 0.1])


def test_safety_adds_standard_errors_of_what_T_can_tell():
    theta, eps = np.array([0.5, 1.0]), np.array([0.02, 0.1])
    on_X = planner.constrained_error(1000, 600, theta, eps, 50, Config(safety_z=1.5))
    assert on_X == pytest.approx(0.6 * planner.upper_limit(theta * eps, 50, 1.5))
    on_S = planner.constrained_error(1000, 600, theta, eps, 50, Config(safety_z=1.5, constraint="on_S"))
    assert on_S == pytest.approx(planner.upper_limit(eps, np.array([25, 50]), 1.5))


def test_the_error_that_is_expected_never_exceeds_the_share_that_the_machine_labels():
    theta = np.arange(1, 201) / 200
    for safety in (0.0, 1.0, 3.0):
        for eps in (0.0, 0.02, 0.9):
            expected = planner.constrained_error(1000, 600, theta, np.full(200, eps), 30, Config(safety_z=safety))
            assert (expected <= trials(theta, 600) / 1000 + 1e-12).all()


def test_the_error_on_T_is_the_count_among_the_top_theta():
    fit = spread(100, 4, n_test=40)  # positions 5, 15, 25, 35
    assert planner.eps_on_test(fit, np.array([0.1, 0.25, 0.5, 1.0])) == pytest.approx([0, 0.1, 0.1, 0.1])
    assert planner.eps_on_test(spread(100, 4, n_test=3), np.array([0.1])) == 0  # no image at all


@given(st.integers(1, 10**6), st.floats(0, 50000))
def test_the_theta_of_a_budget_leaves_humans_just_what_it_pays_for(rest, left):
    theta = objectives.theta_for_budget(rest, rest, left, Config())
    humans = rest - int(planner.machine_images(10**6, rest, np.array(theta), Config()))
    assert humans == min(math.floor(left / 0.04 + 1e-9), rest)


def test_a_budget_that_is_spent_leaves_humans_nothing():
    assert objectives.theta_for_budget(100, 100, -3.0, Config()) == 1.0
    assert objectives.theta_for_budget(100, 0, 10.0, Config()) == 0.0


# ---------------------------------------------------------------------------------------------------------
# The surface of line 18


@pytest.mark.parametrize("theta_of", ["remaining", "all"])
@pytest.mark.parametrize("constraint", ["on_X", "on_S"])
@pytest.mark.parametrize("price", [PerImageEpoch(dollars=2e-5), PerHour(dollars=1.0)])
def test_the_plan_is_what_a_loop_over_all_sizes_and_thetas_finds(theta_of, constraint, price):
    config = Config(
        theta_of=theta_of,
        constraint=constraint,
        training_price=price,
        safety_z=0.0,
        interpolate_theta=False,
        theta_step=0.1,
    )
    history = [f._replace(seconds=2.0 * f.size + 60) for f in history_of(MIDDLING, SIZES, TESTS)]
    found = planner.search(N, history, "resnet18", None, config)
    retraining = (lambda B: 1.0 * (2 * B + 60) / 3600) if isinstance(price, PerHour) else (lambda B: 2e-5 * 200 * B)
    spent = sum(retraining(B) for B in SIZES)
    assert found.spent == pytest.approx(spent)

    cheapest = (math.inf, 0, 0.0)
    for i, B in enumerate(found.surface.sizes.tolist()):
        rest, highest, best = N - TESTS - B, 0.0, (math.inf, 0.0)
        by_hand = 0.04 * (TESTS + B + rest) + spent + (retraining(B) if SIZES[-1] < B else 0)
        best = (by_hand, 0.0)
        for j, law in enumerate(found.laws):
            theta = round(0.1 * (j + 1), 1)
            eps = min(math.exp(law.a - law.gamma * math.log(B / law.B0) - law.kappa * B / law.B0), 1)
            highest = max(highest, eps)
            machine = math.floor(theta * rest + 1e-6) if theta_of == "remaining" else min(round(theta * N), rest)
            error = machine / N * highest if constraint == "on_X" else highest
            assert found.surface.error[i, j] == pytest.approx(error)
            assert found.surface.cost[i, j] == pytest.approx(by_hand - 0.04 * machine)
            if error < 0.05:
                best = (by_hand - 0.04 * machine, theta)
        assert (found.surface.least_cost[i], found.surface.best_theta[i]) == pytest.approx(best)
        if best[0] < cheapest[0] - 1e-9:
            cheapest = (best[0], B, best[1])
    assert (found.cost, found.B_opt, found.theta) == pytest.approx(cheapest)
    assert found.theta > 0.3
    assert (found.cost_now, found.theta_now) == (found.surface.least_cost[0], found.surface.best_theta[0])


def test_the_surface_reaches_from_the_present_size_to_the_whole_pool():
    sizes = search(Config()).surface.sizes
    assert (sizes[0], sizes[-1]) == (SIZES[-1], N - TESTS)
    assert (np.diff(sizes) > 0).all()
    last = search(Config(), sizes=[1000, N - TESTS])
    assert last.surface.sizes.tolist() == [N - TESTS]
    assert last.cost == pytest.approx(0.04 * N + last.spent)


def test_with_the_estimate_from_the_test_set_the_present_classifier_counts_its_own_mistakes():
    history = [*history_of(MIDDLING, SIZES[:-1], TESTS), spread(SIZES[-1], 100, TESTS)]
    config = Config.paper(safety_z=0.0)
    surface = planner.search(N, history, "resnet18", None, config).surface
    rest = N - TESTS - SIZES[-1]
    # Half of T is wrong, evenly over L(.).
    assert surface.error[0] == pytest.approx(config.thetas * rest / N * 0.5, abs=0.003)
    by_laws = planner.search(N, history, "resnet18", None, config.model_copy(update={"estimate": "law"})).surface
    assert by_laws.error[0, -1] < 0.9 * surface.error[0, -1]
    assert np.array_equal(by_laws.error[1:], surface.error[1:])


sorted_sizes = st.lists(st.integers(10, 1500), min_size=1, max_size=6, unique=True).map(sorted)


@given(configs(machine_epsilon=None), curves, sorted_sizes)
@settings(max_examples=30)
def test_any_plan_keeps_its_constraint_and_costs_no_more_than_humans_from_now_on(config, curve, sizes):
    found = search(config, curve, sizes)
    by_hand = costs.labelling_cost(TESTS, sizes[-1], config) + config.label_price * (N - TESTS - sizes[-1])
    assert found.cost <= (by_hand + found.spent) * (1 + 1e-12)
    assert found.cost <= found.cost_now <= (by_hand + found.spent) * (1 + 1e-12)
    assert found.cost == found.surface.least_cost.min()
    assert found.error < config.epsilon
    surface = found.surface
    for best, error in zip(surface.best_theta, surface.error, strict=True):
        allowed = surface.thetas[error < config.epsilon]
        assert best == pytest.approx(allowed[-1] if len(allowed) else 0, abs=1e-9)
    assert 0 <= found.delta <= N - TESTS - sizes[-1]


@given(configs(interpolate_theta=False), curves, sorted_sizes)
@settings(max_examples=20)
def test_theta_between_the_points_of_the_grid_never_costs_more(config, curve, sizes):
    fine = config.model_copy(update={"interpolate_theta": True})
    assert search(fine, curve, sizes).cost <= search(config, curve, sizes).cost * (1 + 1e-12)


@given(configs(), curves, sorted_sizes, st.floats(1, 2))
@settings(max_examples=20)
def test_a_looser_bound_never_costs_more_and_a_safer_one_never_less(config, curve, sizes, factor):
    cost = search(config, curve, sizes).cost
    looser = config.model_copy(update={"epsilon": config.epsilon * factor})
    assert search(looser, curve, sizes).cost <= cost * (1 + 1e-12)
    safer = config.model_copy(update={"safety_z": config.safety_z + factor - 1})
    assert search(safer, curve, sizes).cost >= cost * (1 - 1e-12)


@given(configs(), curves, sorted_sizes, st.floats(1, 3))
@settings(max_examples=20)
def test_more_expensive_labels_never_make_the_whole_job_cheaper(config, curve, sizes, factor):
    expensive = config.model_copy(update={"label_price": config.label_price * factor})
    before, after = search(config, curve, sizes), search(expensive, curve, sizes)
    assert after.cost >= before.cost * (1 - 1e-12)
    # Revealed preference: where labels cost more, the plan buys no more of them.
    humans = [(p.cost - p.spent - _training(p)) / c.label_price for p, c in ((before, config), (after, expensive))]
    assert humans[1] <= humans[0] + 1e-6 * N


def _training(found):
    return float(costs.retraining_cost(found.rate, found.size, np.array(found.B_opt), np.array(1)))


# ---------------------------------------------------------------------------------------------------------
# Budget


@given(configs(), curves, sorted_sizes, st.floats(0, 1.3))
@settings(max_examples=30)
def test_a_plan_within_a_budget_never_costs_more_than_it(config, curve, sizes, share):
    free = search(config, curve, sizes)
    least = costs.labelling_cost(TESTS, sizes[-1], config) + free.spent
    budget = least + share * config.label_price * N
    assume(budget > 0)
    found = search(config.model_copy(update={"budget": budget}), curve, sizes)
    assert found.cost <= budget * (1 + 1e-9)
    assert found.cost_now <= budget * (1 + 1e-9)
    assert found.value == found.error
    after = found.size + found.delta
    next_step = costs.labelling_cost(TESTS, after, config) + found.spent
    if found.delta:
        next_step += float(costs.retraining_cost(found.rate, found.size, np.array(after), np.array(1)))
    assert next_step <= budget * (1 + 1e-9)


@pytest.mark.parametrize("theta_of", ["remaining", "all"])
def test_a_budget_is_used_up_where_that_lowers_the_error(theta_of):
    found = search(Config(budget=100.0, theta_of=theta_of, interpolate_theta=False))
    assert 100 - 0.04 <= found.cost <= 100


def test_a_budget_that_pays_humans_for_everything_has_no_error():
    found = search(Config(budget=500.0))
    assert (found.theta, found.error, found.B_opt) == (0.0, 0.0, SIZES[-1])


def test_a_larger_budget_promises_no_larger_error():
    errors = [search(Config(budget=b)).error for b in (40, 60, 80, 100, 120, 140, 160)]
    assert (np.diff(errors) <= 1e-12).all()
    assert errors[0] > 5 * errors[4]


def test_what_a_budget_affords_is_the_largest_step_it_pays_for():
    config = Config(budget=10.0)  # 200 tests and 40 labels cost $9.60, of training $0.1
    now = plan(size=40, spent=0.1, rate=(0.05, 0.001))
    # $0.30 left, less $0.05 + 40 * $0.001 of the retraining: $0.21 for labels of $0.041.
    assert planner.affordable(progress(now, 200), config) == 5
    assert planner.affordable(progress(now._replace(spent=0.4), 200), config) == 0


# ---------------------------------------------------------------------------------------------------------
# Stability and delta (lines 19 to 22)


def test_a_plan_is_stable_once_its_cost_moved_by_less_than_Delta():
    config, old = Config(min_points=3, stability=0.05), plan(stable=False, value=20.0)
    assert planner.is_stable(20.9, old, 3, config)
    assert planner.is_stable(19.1, old, 3, config)
    assert not planner.is_stable(21.2, old, 3, config)
    assert not planner.is_stable(20.0, old, 2, config)
    assert not planner.is_stable(20.0, None, 9, config)
    assert planner.is_stable(90.0, plan(stable=True), 9, config)


@given(
    st.integers(10, 2000), st.integers(1, 1500), st.floats(0, 1), st.floats(0, 0.05), st.floats(0, 0.3),
    st.integers(1, 12),
)  # fmt: skip
def test_delta_is_the_smallest_that_costs_at_most_beta_more(size, to_go, c0, c1, beta, max_steps):
    config = Config(beta=beta, max_steps=max_steps, max_growth=None, seed_fraction=0.001)
    now = plan(size=size, B_opt=size + to_go, rate=(c0, c1), cost=50.0)

    def retraining(N):
        return sum(c0 + c1 * (size + to_go * (j + 1) / N) for j in range(N))

    # C* buys the last size in one step, so only what more steps add counts.
    allowed = [N for N in range(1, max_steps + 1) if retraining(N) - retraining(1) <= beta * 50.0 + 1e-9]
    nearly = [N for N in range(1, max_steps + 1) if retraining(N) - retraining(1) <= beta * 50.0 - 1e-9] or [1]
    seed = planner.n_seed(N, config)
    wanted = {max(math.ceil(to_go / steps), min(seed, to_go)) for steps in (allowed[-1], nearly[-1])}
    assert next_delta(N, TESTS, now, config) in {min(w, N - TESTS - size) for w in wanted}


def test_delta_is_no_less_than_the_first_one_and_no_more_than_the_pool():
    now = plan(size=100, B_opt=150, rate=(0.0, 0.0))
    assert next_delta(4000, 200, now, Config(max_steps=10)) == 40  # not 5
    assert next_delta(4000, 200, now._replace(B_opt=110), Config()) == 10
    assert next_delta(4000, 200, now._replace(size=3799, B_opt=3800), Config()) == 1
    assert next_delta(4000, 200, now._replace(size=3800, B_opt=3800), Config()) == 0


def test_no_step_of_a_stable_plan_goes_beyond_the_reach_of_its_laws():
    now = plan(size=100, B_opt=2000, rate=(0.0, 1.0))
    assert next_delta(4000, 200, now, Config(max_growth=3.0)) == 200
    assert next_delta(4000, 200, now, Config(max_growth=None)) == 1900


def test_until_the_plan_is_stable_B_grows_by_its_factor_or_by_the_first_delta():
    now = plan(size=100, B_opt=1000, stable=False)
    assert next_delta(4000, 200, now, Config(growth=2.5)) == 150
    assert next_delta(4000, 200, now, Config(growth=None)) == 40
    assert next_delta(4000, 200, now._replace(B_opt=160), Config(growth=2.5)) == 60
    assert next_delta(4000, 200, now._replace(B_opt=100), Config(growth=2.5)) == 40


# ---------------------------------------------------------------------------------------------------------
# Stop rules


def test_the_optimum_is_reached_when_a_stable_plan_or_two_running_buy_no_more():
    config = Config(min_points=3)
    here, ahead = plan(B_opt=100), plan(B_opt=400)
    assert stopping.reached_optimum(4000, [here], config)
    assert not stopping.reached_optimum(4000, [ahead], config)
    unstable = here._replace(stable=False)
    assert not stopping.reached_optimum(4000, [unstable, unstable], config)
    assert stopping.reached_optimum(4000, [ahead, unstable, unstable], config)
    assert not stopping.reached_optimum(4000, [here, ahead, unstable], config)


def test_a_plan_that_leaves_all_to_humans_waits_for_the_exploration_tax():
    # The tax is 10 % of 4,000 labels at $0.04: $16; the next training costs $0.2.
    by_hand = plan(B_opt=100, theta=0.0, cost=161.0, spent=15.7)
    assert not stopping.reached_optimum(4000, [by_hand], Config())
    assert not stopping.exploration_tax(4000, [by_hand], Config())
    spent = by_hand._replace(spent=15.9)
    assert stopping.exploration_tax(4000, [spent], Config())
    assert stopping.reached_optimum(4000, [spent], Config())


def test_the_exploration_tax_does_not_end_a_plan_that_beats_humans():
    promising = plan(theta=0.6, cost=100.0, spent=30.0)
    assert not stopping.exploration_tax(4000, [promising], Config())


def test_the_exploration_tax_is_due_where_a_few_labels_by_the_machine_do_not_pay_for_its_training():
    # Labelling 5 % of X at random meets Eqn 2 whatever the classifier, and is no reason to train on.
    hopeless = plan(theta=0.04, cost=165.0, spent=17.0)
    assert stopping.exploration_tax(4000, [hopeless], Config())


def test_a_budget_has_no_exploration_tax():
    assert not stopping.exploration_tax(4000, [plan(theta=0.0, spent=50.0)], Config(budget=100))


def test_a_cost_that_rose_stops_stable_plans_if_so_configured():
    cheap, expensive, before = plan(cost=20.0), plan(cost=20.1), plan(cost=25.0)
    config = Config(stop_on_rise=True)
    assert stopping.cost_rose(4000, [before, cheap, expensive], config)
    assert not stopping.cost_rose(4000, [before, expensive, cheap], config)
    assert not stopping.cost_rose(4000, [cheap, expensive], config)
    assert not stopping.cost_rose(4000, [before, cheap._replace(stable=False), expensive], config)
    assert not stopping.cost_rose(4000, [before, cheap, expensive], Config(stop_on_rise=False))


def test_a_budget_is_spent_when_it_affords_no_step():
    assert stopping.budget_spent(4000, [plan(delta=0)], Config(budget=10))
    assert not stopping.budget_spent(4000, [plan(delta=1)], Config(budget=10))
    assert not stopping.budget_spent(4000, [plan(delta=0)], Config())


def test_the_pool_is_exhausted_when_humans_have_labelled_all():
    assert stopping.pool_exhausted(4000, [plan(size=3800)], Config())
    assert not stopping.pool_exhausted(4000, [plan(size=3799)], Config())


def test_the_outcome_names_the_first_rule_that_fires():
    assert stopping.stop(4000, [plan(B_opt=100)], Config()) == "reached_optimum"
    assert stopping.stop(4000, [plan(size=3800, B_opt=3800)], Config()) == "pool_exhausted"
    assert stopping.stop(4000, [plan()], Config()) is None
    assert [rule.__name__ for rule in stopping.STOP_RULES.values()] == list(stopping.STOP_RULES)
    assert set(stopping.DEFAULT_RULES) <= set(stopping.STOP_RULES)


def two_plans(n, plans, config):
    return len(plans) == 2


def test_a_rule_of_ones_own_is_asked_after_the_default_ones(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def always(n, plans, config):\n    return True\n")
    stop = stopping.stop_with(two_plans, f"{path}:always")
    assert stop(4000, [plan(), plan()], Config()) == "two_plans"
    assert stop(4000, [plan()], Config()) == f"{path}:always"
    assert stop(4000, [plan(B_opt=100)], Config()) == "reached_optimum"
    assert stopping.stop(4000, [plan(), plan()], Config()) is None


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [("None", "returned None, not true or false"), ("plans[7].size", "fails: IndexError"), ("1", "returned 1")],
)
def test_a_stop_rule_that_is_wrong_is_named(tmp_path, returned, complaint):
    path = tmp_path / "mine.py"
    path.write_text(f"def bad(n, plans, config):\n    return {returned}\n")
    with pytest.raises(McalError, match=f"stop rule '.*mine.py:bad' {complaint}"):
        stopping.stop_with(f"{path}:bad")(4000, [plan()], Config())


def test_an_unknown_stop_rule_is_refused_with_the_nearest_name():
    with pytest.raises(McalError, match=r"unknown stop rule 'cost_rise': did you mean 'cost_rose'"):
        stopping.stop_with("cost_rise")


# ---------------------------------------------------------------------------------------------------------
# Objectives


def test_the_configuration_chooses_the_objective():
    for name, config in {
        "least_cost": Config(),
        "certified_least_cost": Config.certified(),
        "least_error": Config(budget=100.0),
        "certified_least_error": Config.certified(budget=100.0),
    }.items():
        assert objectives.objective_of(config) is OBJECTIVES[name]
    assert objectives.objective_of(Config(budget=1.0), "least_error") is OBJECTIVES["least_error"]


def test_an_objective_of_ones_own_trades_cost_for_error():
    """At $5,000 for an error of 1, the plan buys a lower error than the least that epsilon asks for."""
    weighted = Objective("cost and damage", OBJECTIVES["least_cost"].split, lambda cost, error: cost + 5000 * error)
    history = history_of(MIDDLING, SIZES, TESTS)
    usual, careful = (planner.search(N, history, "resnet18", None, Config(), o) for o in (None, weighted))
    values = careful.surface.least_cost + 5000 * np.array(
        [
            np.interp(t, [0, *careful.surface.thetas], [0, *row])
            for t, row in zip(careful.surface.best_theta, careful.surface.error, strict=True)
        ]
    )
    assert careful.value == pytest.approx(values.min())
    assert careful.value == pytest.approx(careful.cost + 5000 * careful.error)
    assert careful.cost > usual.cost
    assert careful.error < usual.error


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (lambda cost, error: cost[1:], "must each be of shape"),
        (lambda cost, error: cost * np.nan, "the value is NaN somewhere"),
        (lambda cost, error: cost + np.inf, "finite nowhere"),
        (lambda cost, error: cost.least, "fails: AttributeError"),
    ],
)
def test_an_objective_that_is_wrong_is_named(value, complaint):
    wrong = Objective("mine", OBJECTIVES["least_cost"].split, value)
    with pytest.raises(McalError, match=f"objective 'mine'.*{complaint}"):
        planner.search(N, history_of(MIDDLING, SIZES, TESTS), "resnet18", None, Config(), wrong)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"theta": 2.0}, "theta is a share, from 0 to 1"),
        ({"theta": -0.5}, "theta is a share, from 0 to 1"),
        ({"theta": np.nan}, "theta is a share, from 0 to 1"),
        ({"error": np.nan}, "the error is NaN somewhere"),
        ({"certificate_size": -5}, "certificate_size is a number of images"),
        ({"certificate_size": N}, "certificate_size is a number of images"),
        ({"certificate_size": 20.5}, "certificate_size is a number of images"),
    ],
)
def test_a_split_that_no_plan_can_follow_is_named(changes, complaint):
    def split(forecast, config):
        wrong = {k: v if k == "certificate_size" else [v] * len(forecast.sizes) for k, v in changes.items()}
        return OBJECTIVES["least_cost"].split(forecast, config)._replace(**wrong)

    with pytest.raises(McalError, match=f"objective 'mine': {complaint}"):
        planner.search(
            N,
            history_of(MIDDLING, SIZES, TESTS),
            "resnet18",
            None,
            Config(),
            Objective("mine", split, objectives.cost_alone),
        )


def test_an_objective_cannot_change_the_forecast():
    def split(forecast, config):
        forecast.error.fill(0)
        return OBJECTIVES["least_cost"].split(forecast, config)

    wrong = Objective("mine", split, objectives.cost_alone)
    with pytest.raises(McalError, match="objective 'mine' fails: ValueError: assignment destination is read-only"):
        planner.search(N, history_of(MIDDLING, SIZES, TESTS), "resnet18", None, Config(), wrong)


def test_what_is_no_objective_is_refused():
    with pytest.raises(McalError, match="unknown objective 'least_costs': did you mean 'least_cost'"):
        objectives.objective_of(Config(), "least_costs")
    with pytest.raises(McalError, match="is a function, not an Objective"):
        objectives.objective_of(Config(), two_plans)


def test_an_easy_law_is_planned_to_be_labelled_by_the_machine():
    found = search(Config(), EASY)
    assert found.theta == 1.0
    assert found.cost < 0.2 * 0.04 * N
