"""Filters of warnings, written in one process and set in another."""

from __future__ import annotations

import copy
import json
import pickle
import re
import warnings
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

from shadho.execution.filters import set_filters, written_filters


class Loud(UserWarning):
    pass


class Louder(Loud):
    pass


@pytest.fixture(autouse=True)
def no_filters() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        yield


def moved() -> None:
    """Set this process's filters as another one would."""
    written = written_filters()
    warnings.resetwarnings()
    set_filters(written)


def shown(text: str, category: type[Warning] = UserWarning) -> bool:
    with warnings.catch_warnings(record=True) as seen:
        warnings.warn_explicit(text, category, 'a.py', 7, module='package.a')
    return bool(seen)


def test_a_filter_goes_by_message_category_module_and_line() -> None:
    warnings.filterwarnings('ignore', 'message .*x')
    warnings.filterwarnings('ignore', category=RuntimeWarning, module='package')
    warnings.filterwarnings('ignore', category=FutureWarning, lineno=7)
    warnings.filterwarnings('ignore', category=DeprecationWarning, lineno=8)
    moved()
    assert not shown('Message is x')
    assert shown('the message is x')
    assert not shown('any', RuntimeWarning)
    assert not shown('any', FutureWarning)
    assert shown('any', DeprecationWarning)


def test_filters_keep_their_order() -> None:
    warnings.simplefilter('ignore')
    warnings.filterwarnings('error', 'bad')
    moved()
    assert not shown('good')
    with pytest.raises(UserWarning, match='bad'):
        warnings.warn('bad', stacklevel=1)


def test_a_category_is_known_by_its_name_and_so_are_its_subclasses() -> None:
    warnings.filterwarnings('ignore', category=Loud)
    moved()
    assert [shown('any', category) for category in (Loud, Louder, UserWarning)] == [False, False, True]


def test_the_module_of_a_category_is_not_imported() -> None:
    set_filters(json.dumps([['ignore', '', 'no.such.module', 'Odd.Warning', '', 0]]).encode())
    assert shown('any')
    (_, _, category, _, _), *_ = warnings.filters
    assert (category.__module__, category.__qualname__) == ('no.such.module', 'Odd.Warning')


@pytest.mark.parametrize('module', [pickle, cloudpickle], ids=['pickle', 'cloudpickle'])
def test_libraries_can_send_them_on(module: Any) -> None:
    warnings.filterwarnings('ignore', category=Loud)
    moved()
    assert module.loads(module.dumps(warnings.filters))[0][2].__qualname__ == 'Loud'


def test_setting_them_again_puts_them_before_others_and_doubles_none() -> None:
    warnings.filterwarnings('ignore', category=Loud)
    warnings.filterwarnings('ignore', 'message')
    written = written_filters()
    warnings.resetwarnings()
    set_filters(written)
    before = copy.copy(warnings.filters)
    warnings.filterwarnings('error')
    set_filters(written)
    assert [own[0] for own in warnings.filters] == ['ignore', 'ignore', 'error']
    assert warnings.filters[:2] == before


def test_filters_that_cannot_be_written_or_set_are_left_out() -> None:
    odd: Any = ('ignore', re.compile(b'bytes'), UserWarning, None, 0)
    warnings.filters.insert(0, odd)  # type: ignore[attr-defined]
    warnings.filterwarnings('ignore', 'message')
    assert len(json.loads(written_filters())) == 1
    set_filters(
        json.dumps(
            [['shout', '', 'builtins', 'UserWarning', '', 0], ['ignore', '(', 'builtins', 'UserWarning', '', 0]]
        ).encode()
    )
    assert len(warnings.filters) == 2


def test_a_text_in_the_place_of_a_pattern_has_to_be_equal() -> None:
    python: Any = ('ignore', None, UserWarning, 'package', 0)
    warnings.filters.insert(0, python)  # type: ignore[attr-defined]
    moved()
    assert shown('any')
