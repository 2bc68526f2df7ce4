"""Parameters of notebooks: as papermill's command line gives them, and as users write them."""

from pathlib import Path

import pytest

from mcal_jax.errors import McalError
from mcal_jax.paper import parameters
from mcal_jax.runs import settings


@pytest.mark.parametrize("given", [10_000, 1e4, "1e4", "10000", "10_000"])
def test_a_whole_number_however_it_is_written(given):
    n = parameters.whole(n=given)
    assert n == 10_000
    assert type(n) is int


@pytest.mark.parametrize("given", [0.5, "many", True, [1], float("nan"), float("inf"), "nan", ""])
def test_what_is_no_whole_number_is_named(given):
    with pytest.raises(McalError, match="seed: expected a whole number, got "):
        parameters.whole(n=1, seed=given)
    with pytest.raises(McalError, match="n: expected 0 or more, got '-5'"):
        parameters.whole(n="-5")


def test_several_whole_numbers_in_order_and_none_stays():
    assert parameters.whole(n="2e3", first=None, seed=0.0) == [2000, None, 0]
    assert parameters.whole(first=None) is None


@pytest.mark.parametrize("given", [["a", "b"], ("a", "b"), "[a, b]", "a,b", "a, b"])
def test_a_list_however_it_is_written(given):
    assert parameters.several(names=given) == ["a", "b"]


def test_lists_of_numbers_and_of_one_thing():
    assert parameters.several(thetas="[0.25, 1e0]", used=6, services="amazon") == [[0.25, 1.0], [6], ["amazon"]]
    with pytest.raises(McalError, match="used: expected a list, got"):
        parameters.several(used="[1, 2")


def test_a_price_is_a_name_or_dollars():
    assert [parameters.price(one) for one in ("amazon", "0.02", 0.02, "2e-2")] == ["amazon", 0.02, 0.02, 0.02]


def test_paths_are_absolute_and_know_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "results", lambda: tmp_path / "results")
    assert parameters.path("~/x", "smoke") == tmp_path / "home" / "x"
    assert parameters.path("here", "smoke") == tmp_path / "here"
    assert parameters.path(Path("/tmp/x")) == Path("/tmp/x")
    assert parameters.path(None, "smoke", "a") == tmp_path / "results" / "smoke" / "a"
