"""Numbers of suggestions, of which some were passed over."""

from __future__ import annotations

from shadho import Trial
from shadho.samplers.numbers import Numbers
from shadho.table import Table


def begun(*given: int) -> Numbers:
    """Return the numbers of a tree of which suggestions were begun in this order."""
    table = Table()
    numbers = Numbers(table)
    for count, number in enumerate(given):
        meta = {} if number == numbers.first(0) else {'number': number}
        table.ask(0)
        numbers.take(Trial(count, 0, (), {}, meta=meta))
    return numbers


def test_numbers_that_were_passed_over_are_free_before_new_ones() -> None:
    numbers = begun(0, 3, 5, 1)
    assert numbers.first(0) == 2
    assert numbers.free(0, 4) == [2, 4, 6, 7]
    assert not numbers.crowded


def test_there_are_new_numbers_however_many_were_passed_over() -> None:
    numbers = begun(100)
    assert numbers.free(0, 17) == [*range(15), 101, 102]
    assert numbers.crowded == {0}


def test_a_tree_is_crowded_until_enough_of_what_waited_was_begun() -> None:
    assert begun(16).crowded == {0}
    assert not begun(16, 0).crowded
    assert begun(16, 0).free(0, 16) == [*range(1, 16), 17]
