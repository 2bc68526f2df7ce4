"""M(.) and L(.): what is selected, in which order, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcal_jax.acquisition import ACQUISITIONS, Scores, check, k_center, rank_confident, select
from mcal_jax.types import McalError


def scores(margin, entropy=None, confidence=None):
    margin = np.asarray(margin, np.float32)
    other = [margin if a is None else np.asarray(a, np.float32) for a in (entropy, confidence)]
    return Scores(np.zeros(len(margin), np.int32), margin, *other)


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
    pool = data.draw(st.integers(1, 12))
    n = data.draw(st.integers(0, pool))
    values = data.draw(st.lists(st.integers(0, 3), min_size=pool, max_size=pool))
    given = {"scores": scores(values), "features": np.array(values, np.float32)[:, None]}

    def selected(n):
        return select(by, n, pool=pool, rng=np.random.default_rng(0), **given)

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


def test_k_center_prefers_what_is_far_from_the_labelled():
    x = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert select("kcenter", 1, pool=4, features=x, labelled_features=x[:1]).tolist() == [3]


def test_what_is_refused():
    with pytest.raises(McalError, match=r"'margn'.*'margin'"):
        check("margn")
    with pytest.raises(McalError, match=r"5 images.*pool of 3"):
        select("margin", 5, pool=3, scores=scores([1, 2, 3]))
    with pytest.raises(McalError, match=r"'kcenter' needs features"):
        select("kcenter", 1, pool=3, scores=scores([1, 2, 3]))
    with pytest.raises(McalError, match=r"3 images for a pool of 4"):
        select("entropy", 1, pool=4, scores=scores([1, 2, 3]))


def test_import_loads_no_jax():
    code = "import sys, mcal_jax.acquisition; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
