"""Rungs: who is among the best, and who may go on."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho.errors import ConfigurationError
from shadho.fidelity.rungs import Rung, check_option, ladder

LOSSES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf]) | st.floats(-5, 5), max_size=40)


@given(LOSSES, st.integers(2, 4))
def test_one_in_eta_is_among_the_best_whatever_the_order(losses: list[float], eta: int) -> None:
    rung = Rung(eta)
    for trial, loss in enumerate(losses):
        rung.add((loss, trial))
    entries = sorted((loss, trial) for trial, loss in enumerate(losses))
    assert len(rung) == len(losses)
    assert [entry for entry in entries if rung.admits(entry)] == entries[: len(entries) // eta]


def test_the_first_trials_have_to_wait_for_rivals() -> None:
    rung = Rung(3)
    rung.add((0.1, 0))
    rung.add((0.2, 1))
    assert not rung.admits((0.1, 0))
    rung.add((0.3, 2))
    assert rung.admits((0.1, 0))
    assert not rung.admits((0.2, 1))


@given(LOSSES, st.sets(st.integers(0, 39)))
def test_paused_trials_that_are_among_the_best_are_promotable_the_best_first(
    losses: list[float], resumed: set[int]
) -> None:
    rung = Rung(2)
    for trial, loss in enumerate(losses):
        rung.add((loss, trial))
        rung.pause((loss, trial))
    for trial in resumed & set(range(len(losses))):
        rung.resume(trial)
    best = sorted((loss, trial) for trial, loss in enumerate(losses))[: len(losses) // 2]
    expected = [trial for _, trial in best if trial not in resumed]
    assert list(rung.promotable()) == expected
    assert list(rung.promotable()) == expected
    assert next(rung.promotable(), None) == (expected or [None])[0]
    assert list(rung.promotable()) == expected


@pytest.mark.parametrize(
    ('first', 'last', 'eta', 'steps'),
    [(1, 81, 3, [1, 3, 9, 27, 81]), (1, 1, 3, [1]), (2, 100, 3, [4, 11, 33, 100]), (1, 10, 4, [2, 10]), (7, 7, 2, [7])],
)
def test_the_steps_of_rungs_grow_by_a_factor(first: int, last: int, eta: int, steps: list[int]) -> None:
    assert ladder(first, last, eta) == [max(step, 1) for step in steps]


@given(st.integers(1, 1000), st.integers(0, 10**6), st.integers(2, 10))
def test_steps_of_rungs_end_at_the_last_step_and_begin_at_no_fewer_than_the_first(
    first: int, more: int, eta: int
) -> None:
    last = first + more
    steps = ladder(first, last, eta)
    assert steps == sorted(set(steps))
    assert steps[-1] == last
    assert first <= steps[0] <= max(last, 1)
    assert steps[0] < first * eta + 1  # one rung more would begin too early
    for lower, upper in itertools.pairwise(steps):
        assert abs(upper - eta * lower) <= eta / 2 + 0.5


def test_an_option_that_cannot_be_is_refused_with_what_would_do() -> None:
    with pytest.raises(ConfigurationError, match="fidelity='asha': eta must be an integer of 2 or more; got 1"):
        check_option('asha', 'eta', 1, 2)
    with pytest.raises(ConfigurationError, match="min_steps must be an integer from 1 to 81; got 'one'"):
        check_option('asha', 'min_steps', 'one', 1, 81)
