"""How an answer of a learner is checked, whatever the exercise: what is printed, and which hint is given.

A check returns whether the answer is right. It prints "not yet" while the answer raises NotImplementedError, as an
untouched stub does, and raises AssertionError, which says what is wrong, for any other answer.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Answer = Callable[..., Any]
"""The function that a learner writes."""
Hint = tuple[Any, str]
"""A wrong value, and what it tells of the mistake behind it."""


def report(check: Callable[[Answer], str]) -> Callable[[Answer], bool]:
    """A check that prints what ``check`` says of a right answer, and returns whether the answer is right."""

    @functools.wraps(check)
    def reported(own: Answer) -> bool:
        try:
            print(f"right: {check(own)}")
        except NotImplementedError as missing:
            print(f"not yet: {missing}")
            return False
        return True

    return reported


def ask(own: Answer, *inputs: Any) -> Any:
    """What the learner's function returns. Raises AssertionError for None."""
    value = own(*inputs)
    assert value is not None, f"{own.__name__} returns nothing: does its last line begin with return?"
    return value


def ask_number(own: Answer, *inputs: Any) -> float:
    """The number that the learner's function returns. Raises AssertionError if it is no number."""
    value = ask(own, *inputs)
    assert np.shape(value) == (), f"{own.__name__} must return one number, not {value!r}"
    return float(value)


def is_equal(value: Any, expected: Any) -> bool:
    """Whether two numbers or arrays are equal, up to rounding."""
    return np.shape(value) == np.shape(expected) and bool(np.allclose(value, expected, rtol=1e-5, atol=1e-9))


def expect(value: Any, right: Any, told: str, hints: Sequence[Hint], usual: str) -> None:
    """Raises AssertionError unless ``value`` is ``right``: what is ``told``, and its hint or the ``usual`` one."""
    why = next((hint for wrong, hint in hints if is_equal(value, wrong)), usual)
    assert is_equal(value, right), f"{told}: {why}"
