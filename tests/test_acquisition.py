"""M(.) and L(.): what is selected, in which order, and what is refused."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax.algorithm.acquisition import ACQUISITIONS, Acquisition, PoolView, Scores, find, rank_confident
from mcal_jax.algorithm.acquisition import select as select_from
from mcal_jax.algorithm.config import Config
from mcal_jax.errors import McalError
from mcal_jax.training import kcenter
from mcal_jax.training.kcenter import k_center


def scores(margin, entropy=None, confidence=None):
    margin = np.asarray(margin, np.float32)
    other = [margin if a is None else np.asarray(a, np.float32) for a in (entropy, confidence)]
    return Scores(np.zeros(len(margin), np.int32), margin, *other)


def select(by, n, *, pool, **inputs):
    return select_from(by, n, PoolView(pool, k_center=k_center, **inputs))


def test_each_score_selects_by_its_own_measure():
    s = scores([0.1, 0.9, 0.5], entropy=[0.2, 0.3, 1.0], confidence=[0.7, 0.6, 0.95])
    assert select("margin", 2, pool=3, scores=s).tolist() == [0, 2]
    assert select("entropy", 2, pool=3, scores=s).tolist() == [2, 1]
    assert select("least_confidence", 2, pool=3, scores=s).tolist() == [1, 0]
    assert rank_confident(s).tolist() == [1, 2, 0]


def test_ties_go_to_the_lower_position():
    s = scores([0.5, 0.1, 0.5, 0.1])
    assert select("margin", 3, pool=4, scores=s).tolist() == [1, 3, 0]
    assert rank_confident(s).tolist() == [0, 2, 1, 3]


@given(st.data(), st.sampled_from(sorted(ACQUISITIONS)))
@settings(max_examples=40, deadline=None)
def test_selection_is_a_deterministic_subset_of_the_pool(data, by):
    pool = data.draw(st.sampled_from((1, 2, 7, 12)))  # k-center is compiled for each
    n = data.draw(st.integers(0, pool))
    values = data.draw(st.lists(st.integers(0, 3), min_size=pool, max_size=pool))
    inputs = {"scores": scores(values), "features": np.array(values, np.float32)[:, None]}

    def selected(n):
        return select(by, n, pool=pool, rng=np.random.default_rng(0), **inputs)

    positions = selected(n)
    assert positions.dtype == np.int64
    assert len(set(positions.tolist())) == n
    assert all(0 <= p < pool for p in positions)
    assert positions.tolist() == selected(n).tolist()
    if by != "random":  # one more image never changes those already chosen
        assert positions.tolist() == selected(pool)[:n].tolist()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.data())
def test_margin_selects_the_least_margins(values, data):
    n = data.draw(st.integers(0, len(values)))
    chosen = select("margin", n, pool=len(values), scores=scores(values))
    assert [values[i] for i in chosen] == sorted(values)[:n]


@given(
    st.lists(st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 0.25, 1.0, np.inf, np.nan]), max_size=30)
    | st.lists(st.floats(width=32), max_size=30),
    st.data(),
)
def test_the_first_n_are_those_of_a_stable_sort_of_the_whole_pool(values, data):
    n = data.draw(st.integers(0, len(values)))
    s = scores(values)
    sorted_whole = {
        "margin": np.argsort(s.margin, kind="stable"),
        "entropy": np.argsort(-s.entropy, kind="stable"),
        "least_confidence": np.argsort(s.confidence, kind="stable"),
    }
    for by, order in sorted_whole.items():
        assert np.array_equal(select(by, n, pool=len(values), scores=s), order[:n])
    confident = np.argsort(-s.margin, kind="stable")
    assert np.array_equal(rank_confident(s, n), confident[:n])
    assert np.array_equal(rank_confident(s), confident)


def brute_force_k_center(x, n, centres):
    centres, chosen = list(centres), []
    for _ in range(n):
        distance = [min([((a - c) ** 2).sum() for c in centres], default=np.inf) for a in x]
        for i in chosen:
            distance[i] = -1
        chosen.append(int(np.argmax(distance)))
        centres.append(x[chosen[-1]])
    return chosen


@pytest.mark.parametrize("labelled", [0, 1, 7, 300])
def test_k_center_is_the_greedy_of_the_definition(labelled):
    rng = np.random.default_rng(labelled)
    x, centres = (
        rng.integers(-9, 9, (40, 3)),
        rng.integers(-9, 9, (labelled, 3)),
    )  # integers: exact, with ties
    assert k_center(x, 40, centres).tolist() == brute_force_k_center(x, 40, centres)


def greedy_in_float64(x, n):
    """k-center greedy from the first image on; the choices, and the covering radius after each."""
    x = np.asarray(x, float)
    distance, chosen, radii = np.full(len(x), np.inf), [], []
    for _ in range(n):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(1))
        distance[chosen] = -1
        radii.append(np.sqrt(distance.max()))
    return chosen, np.array(radii)


COMPILED = (kcenter.round_of_candidates, kcenter.pass_by_pass, kcenter.update)


@pytest.fixture
def small_steps(monkeypatch):
    """Few candidates, narrow products and short passes, so that small pools go through all that large ones do."""
    for name, value in {"CANDIDATES": 5, "CENTRES": 2, "ROWS": 7, "SHORT": 2, "PASSES": (1, 3)}.items():
        monkeypatch.setattr(kcenter, name, value)
    for program in COMPILED:
        program.clear_cache()
    yield
    for program in COMPILED:
        program.clear_cache()


def test_k_center_chooses_the_same_however_the_work_is_cut(small_steps):
    for pool, labelled, levels in product((1, 6, 40), (0, 1, 5, 23), (1, 3, 30)):
        rng = np.random.default_rng([pool, labelled, levels])
        x, centres = rng.integers(0, levels, (pool, 3)), rng.integers(0, levels, (labelled, 3))
        assert k_center(x, pool, centres).tolist() == brute_force_k_center(x, pool, centres), (pool, labelled, levels)


@pytest.fixture(scope="module")
def whole_numbers():
    return np.random.default_rng(3).integers(-40, 40, (3000, 16))


def test_k_center_of_a_larger_pool_is_the_greedy_of_whole_numbers(whole_numbers):
    assert k_center(whole_numbers, 300).tolist() == greedy_in_float64(whole_numbers, 300)[0]


def test_k_center_is_compiled_once_for_all_n(whole_numbers):
    most = k_center(whole_numbers, 300)
    before = [program._cache_size() for program in COMPILED]
    for n in (1, 2, 17, 18, 150, 299):
        assert k_center(whole_numbers, n).tolist() == most[:n].tolist()
    assert [program._cache_size() for program in COMPILED] == before


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("spread", [0, 3, 100])
def test_k_center_covers_as_well_as_in_float64(offset, spread):
    """Clusters far apart, far from the origin: where |x|^2 - 2 x c + |c|^2 in float32 would leave no digits."""
    rng = np.random.default_rng(spread)
    clusters = rng.normal(size=(10, 32)) * spread
    x = (clusters[rng.integers(10, size=2000)] + rng.normal(size=(2000, 32)) + offset).astype(np.float32)
    n = 150
    _, radii = greedy_in_float64(x, n)
    away, chosen = np.full(len(x), np.inf), k_center(x, n)
    ours = []
    for i in chosen:
        away = np.minimum(away, ((x.astype(float) - x[i].astype(float)) ** 2).sum(1))
        ours.append(np.sqrt(away.max()))
    np.testing.assert_allclose(ours, radii, rtol=1e-4)


def test_k_center_refuses_what_has_no_distances():
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(McalError, match="finite features: there is NaN"):
        k_center(np.where(np.eye(4, 3), np.nan, x), 2)
    with pytest.raises(McalError, match="finite features of the labelled images"):
        k_center(x, 2, np.full((2, 3), np.inf))
    with pytest.raises(McalError, match="images of 3 features and centres of 2"):
        k_center(x, 2, x[:, :2])
    with pytest.raises(McalError, match=r"shape \[images, d\], not \[4\]"):
        k_center(x[:, 0], 2)
    with pytest.raises(McalError, match="choose 5 of 4"):
        k_center(x, 5)


def test_k_center_prefers_what_is_far_from_the_labelled():
    x = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert select("kcenter", 1, pool=4, features=x, labelled_features=x[:1]).tolist() == [3]


def test_what_is_refused():
    with pytest.raises(McalError, match=r"unknown acquisition function 'margn': did you mean 'margin'"):
        find("margn")
    with pytest.raises(McalError, match=r"5 images.*pool of 3"):
        select("margin", 5, pool=3, scores=scores([1, 2, 3]))
    with pytest.raises(McalError, match="needs features"):
        select("kcenter", 1, pool=3, scores=scores([1, 2, 3]))
    with pytest.raises(McalError, match="needs scores"):
        select("margin", 1, pool=3, rng=np.random.default_rng(0))
    with pytest.raises(McalError, match=r"'entropy' .* 3 images for a pool of 4"):
        select("entropy", 1, pool=4, scores=scores([1, 2, 3]))
    with pytest.raises(McalError, match=r"'kcenter' .* 3 images for a pool of 4"):
        select("kcenter", 1, pool=4, features=np.zeros((3, 2)))


def close_to_half(s):
    """How near the margin is to one half."""
    return -np.abs(s.margin - 0.5)


def test_a_score_function_of_ones_own_selects_by_name_by_file_and_as_it_is(tmp_path):
    s = scores([0.1, 0.45, 0.9, 0.55])
    path = tmp_path / "mine.py"
    path.write_text("def last(scores):\n    return list(range(len(scores.margin)))\n")
    by_file = Config(acquisition=f"{path}:last").acquisition
    assert select(by_file, 2, pool=4, scores=s).tolist() == [3, 2]
    by_function = Config(acquisition=close_to_half).acquisition
    assert by_function == "close_to_half" == Config(acquisition="close_to_half").acquisition
    assert select(by_function, 2, pool=4, scores=scores([0.1, 0.5, 0.9, 0.625])).tolist() == [1, 3]
    assert find(by_function).description == "How near the margin is to one half."


def test_an_acquisition_of_ones_own_looks_at_what_it_needs_alone():
    def every_other(pool, n):
        return np.arange(pool.size)[::2][:n]

    ACQUISITIONS.register("every_other", Acquisition("every other image", every_other))
    view = PoolView(5, scores=lambda: pytest.fail("scores were computed"))
    assert select_from("every_other", 2, view).tolist() == [0, 2]
    with pytest.raises(McalError, match=r"'every_other' was asked for 4 positions and returned int64 \[3\]"):
        select_from("every_other", 4, view)


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ("[1.0, 2.0]", r"returned shape \[2\], not \[3\]"),
        ("1.0", r"returned shape \[\], not \[3\]"),
        ("['a', 'b', 'c']", "returned <U1 values, not numbers"),
        ("[None, 1, 2]", "returned object values, not numbers"),
        ("[float('nan')] * 3", "returned NaN for every image"),
        ("scores.margins", "fails: AttributeError: .*'margins'"),
    ],
)
def test_a_score_function_that_is_wrong_is_named(tmp_path, returned, complaint):
    path = tmp_path / "mine.py"
    path.write_text(f"def bad(scores):\n    return {returned}\n")
    with pytest.raises(McalError, match=f"acquisition function '.*mine.py:bad' {complaint}"):
        select(f"{path}:bad", 1, pool=3, scores=scores([1, 2, 3]))


def test_a_function_is_not_blamed_for_a_classifier_that_diverged():
    assert select("entropy", 2, pool=3, scores=scores([np.nan] * 3)).tolist() == [0, 1]


@pytest.mark.parametrize("positions", [[0, 0], [0, 5], [-1, 0]])
def test_positions_outside_the_pool_or_twice_are_refused(monkeypatch, positions):
    monkeypatch.setitem(ACQUISITIONS._entries, "wrong", Acquisition("wrong", lambda pool, n: np.array(positions)))
    with pytest.raises(McalError, match="'wrong' selected images twice or outside the pool of 5"):
        select("wrong", 2, pool=5)


def test_import_loads_no_jax():
    code = "import sys, mcal_jax.algorithm.acquisition; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
