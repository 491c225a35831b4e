"""What tests with generated input share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning


@pytest.fixture
def fuzz(rounds: Callable[[int, int], int]) -> Callable[..., None]:
    """Try something with generated inputs, the same ones in every run, and fifty times as many in a soak.

    ``fuzz(check, 100, name=strategy)`` calls ``check(name=...)`` a hundred times, and says so.
    """

    def run(check: Callable[..., None], few: int, **strategies: st.SearchStrategy[Any]) -> None:
        count = 0

        def tried(**inputs: Any) -> None:
            nonlocal count
            count += 1
            check(**inputs)

        often = settings(max_examples=rounds(few, 50 * few))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', HypothesisWarning)  # of long inputs, in the place of what they have shown
            often(given(**strategies)(tried))()
        print(f'{count:,} inputs tried, 0 lost: each was understood or refused')

    return run
