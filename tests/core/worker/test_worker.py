"""shadho_worker: what a distributed script imports."""

from __future__ import annotations

import errno
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import shadho_worker
from shadho.jsontags import from_json, revive, to_json
from shadho.records import Result
from shadho_worker.package import place_package


@pytest.mark.parametrize(
    'returned', [1, 1.0, True, np.float32(1), np.int64(1), np.array(1.0), {'loss': 1}, {'loss': np.array(1)}]
)
def test_any_number_is_a_loss(returned: object) -> None:
    outcome = shadho_worker.outcome(returned)
    assert (outcome['state'], outcome['loss'], type(outcome['loss'])) == ('done', 1.0, float)


@pytest.mark.parametrize(
    ('returned', 'message'),
    [
        (
            None,
            "the objective returned None: it must return a number or a dict with the key 'loss' (is a return statement missing?)",
        ),
        ('0.5', "the objective returned '0.5' (str): it must return a number or a dict with the key 'loss'"),
        ({'accuracy': 1}, "the objective returned a dict without 'loss'; it has 'accuracy'"),
        ({}, "the objective returned a dict without 'loss'; it has no keys at all"),
        (
            {'loss': None},
            "the objective returned None under 'loss': it must return a number (is a return statement missing?)",
        ),
        (
            math.nan,
            'the objective returned nan: not a number cannot be compared; return inf for a setting that is as bad as can be',
        ),
        (
            np.ones(1),
            "the objective returned array([1.]) (ndarray): it must return a number or a dict with the key 'loss'",
        ),
        (1j, "the objective returned 1j (complex): it must return a number or a dict with the key 'loss'"),
        (
            np.complex64(1j),
            f"the objective returned {np.complex64(1j)!r} (complex64): it must return a number or a dict with the key 'loss'",
        ),
    ],
)
def test_anything_else_fails_with_what_came_back(returned: object, message: str) -> None:
    outcome = shadho_worker.outcome(returned)
    assert (outcome['state'], outcome['loss'], outcome['error']['kind']) == ('failed', None, 'result')
    assert outcome['error']['message'] == message


def test_infinity_is_a_legal_loss() -> None:
    assert shadho_worker.outcome(-math.inf)['loss'] == -math.inf


def test_another_key_can_hold_the_loss() -> None:
    outcome = shadho_worker.outcome({'error rate': 0.25, 'loss': 9}, 'error rate')
    assert (outcome['loss'], outcome['results']) == (0.25, {'error rate': 0.25, 'loss': 9})


@pytest.mark.parametrize(
    'value',
    [
        {'a': (1, [2.5, None]), 'b': True, '': 'empty'},
        {'inf': math.inf, 'minus': -math.inf},
        {1: 'odd key', (2, 3): 'odder', '$tuple': 'a trap'},
        {'$float': 'not a float'},
        2**80,
        b'\x00\xff',
        1 + 2j,
        'umlaut ä, emoji \U0001f600',
    ],
)
def test_what_json_lacks_survives_the_way_through_it(value: object) -> None:
    text = to_json(value)
    json.loads(text, parse_constant=pytest.fail)  # strict JSON, which other languages read
    assert from_json(text) == value


def test_arrays_keep_dtype_and_shape() -> None:
    for array in (
        np.arange(6, dtype=np.int8).reshape(2, 3),
        np.array([np.inf, np.nan]),
        np.array([True]),
        np.zeros((0, 3), np.float32),
    ):
        back = from_json(to_json({'array': array}))['array']
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(back, array)


MASKED = np.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (MASKED, MASKED),
        (np.ma.array(['a', 'bc'], mask=[0, 1]), np.ma.array(['a', 'bc'], mask=[0, 1])),
        (np.ma.array([1, 'x'], object, mask=[0, 1]), np.array([1, None], object)),
        (pd.Series([1, 2]).convert_dtypes(), np.array([1, 2])),
        (pd.Series([1.5, None], dtype='Float64'), np.ma.array([1.5, 0], mask=[0, 1])),
        (pd.Series([True, None], dtype='boolean'), np.ma.array([True, False], mask=[0, 1])),
        (pd.Series(pd.arrays.SparseArray([0, 1])), np.array([0, 1])),
        (pd.Series(['a', 'b'], dtype='category'), np.array(['a', 'b'], object)),
        (np.ones((2, 2), np.longdouble), np.ones((2, 2))),
        (np.array([[(1, 2)], [[3]], [None]], object), np.array([[(1, 2)], [[3]], [None]], object)),
        (np.array(['2020', 'NaT'], 'M8[ns]'), np.array(['2020', 'NaT'], 'M8[ns]')),
        (np.array([1, 2], 'm8[D]'), np.array([1, 2], 'm8[D]')),
    ],
)  # fmt: skip
def test_arrays_and_columns_of_any_kind_come_back(value: object, expected: np.ndarray) -> None:
    back = from_json(to_json({'value': value}))['value']
    assert (back.dtype, back.shape, np.ma.isMA(back)) == (expected.dtype, expected.shape, np.ma.isMA(expected))
    assert back.tolist() == expected.tolist()


def test_the_longest_numbers_become_those_of_python_unless_none_is_near() -> None:
    assert from_json(to_json([np.longdouble(1.5), np.clongdouble(1j), np.longdouble('inf')])) == [1.5, 1j, math.inf]
    assert re.search('longdouble|float128', from_json(to_json(np.longdouble('1e400'))))  # as NumPy calls it
    assert from_json(to_json(np.array(['1e400', '2'], np.longdouble)))[1] == 2.0


class Unreadable:
    @property
    def dtype(self) -> object:
        raise RuntimeError('it has been deleted')


@pytest.mark.parametrize(
    ('value', 'note'),
    [
        (Unreadable(), '(Unreadable: it cannot be written, because of RuntimeError)'),
        (np.datetime64('2020'), "2020"),
        (pd.NA, '<NA> (NAType)'),
        (pd.DataFrame({'a': [1]}), '(DataFrame)'),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_leaves_a_note_and_the_loss_is_kept(value: object, note: str) -> None:
    result = Result.of(0, shadho_worker.outcome({'loss': 0.25, 'value': value, 'inside': [{'value': value}]}))
    assert result.loss == 0.25
    assert note in result.results['value']
    assert note in result.results['inside'][0]['value']


def test_an_array_that_holds_itself_ends() -> None:
    array = np.empty(2, object)
    array[:] = [array, array]
    assert from_json(to_json(array)).tolist() == ['(nested too deeply, or in itself)'] * 2


def test_the_loss_is_kept_beside_too_many_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('shadho_worker.as_json._LARGEST', 2**16)
    result = Result.of(0, shadho_worker.outcome({'loss': 0.25, **{str(number): number for number in range(2**10)}}))
    assert (result.loss, result.results['loss']) == (0.25, 0.25)
    assert 'too large' in result.results['results']


def test_nan_survives() -> None:
    assert math.isnan(revive(shadho_worker.jsonable(math.nan)))


def test_lone_surrogates_and_objects_are_written_legibly() -> None:
    assert from_json(to_json('\ud800')) == '\\ud800'
    assert from_json(to_json(object)) == "<class 'object'> (type)"


def test_cyclic_and_deep_results_end() -> None:
    cyclic: list[object] = []
    cyclic.append(cyclic)
    assert 'nested too deeply, or in itself' in to_json(cyclic)
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {'inner': deep}
    assert 'nested too deeply' in to_json(deep)


def test_results_whose_parts_know_one_another_are_written_once() -> None:
    parent: dict[str, object] = {'name': 'parent'}
    parent['children'] = [{'name': str(number), 'parent': parent} for number in range(20)]
    assert len(to_json(parent)) < 2_000


def test_results_that_would_fill_the_memory_leave_a_note_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('shadho_worker.as_json._LARGEST', 2**16)
    laughs: list[object] = ['ha']
    for _ in range(64):
        laughs = [laughs, laughs]
    for value in (laughs, 'x' * 2**16 + 'y', b'x' * 2**16, np.zeros(2**13), [np.zeros(2**12)] * 2):
        assert 'left out, as the results are too large' in to_json({'loss': 1.0, 'value': value})[-200:]


def test_large_arrays_come_back_whole() -> None:
    array = np.arange(2**15, dtype=np.uint8).reshape(-1, 1, 1)
    np.testing.assert_array_equal(from_json(to_json([array] * 2))[1], array)


def test_tensors_are_written_as_the_lists_that_they_hold() -> None:
    class Tensor:
        shape = (2,)
        dtype = 'float32'

        def tolist(self) -> list[float]:
            return [1.0, math.inf]

    assert from_json(to_json(Tensor())) == [1.0, math.inf]


def test_integers_that_are_too_long_to_be_written_leave_their_length() -> None:
    assert from_json(to_json(10**5000)) == '(an integer of 16610 bits)'


def test_long_messages_and_tracebacks_keep_both_ends() -> None:
    error = shadho_worker.failure(ValueError('a' * 10**7 + 'z'))['error']
    assert error['message'].startswith('ValueError: aaa')
    assert '\n[9,998,013 characters left out]\n' in error['message']
    assert error['message'].endswith('aaz')
    assert len(error['message']) < 2_100
    assert len(error['traceback']) < 31_000


def test_an_exception_whose_text_ends_the_interpreter_is_told_nevertheless() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert (
        shadho_worker.failure(OddError())['error']['message'] == 'OddError: (its message cannot be shown: SystemExit)'
    )


def test_an_exception_is_an_outcome_with_its_traceback() -> None:
    def objective() -> None:
        raise ValueError('C must be positive')

    try:
        objective()
    except ValueError as error:
        outcome = shadho_worker.failure(error)
    assert outcome['error']['kind'] == 'exception'
    assert outcome['error']['message'] == 'ValueError: C must be positive'
    assert 'in objective' in outcome['error']['traceback']


def test_running_out_of_memory_has_a_kind_of_its_own() -> None:
    assert shadho_worker.failure(MemoryError('big'))['error']['kind'] == 'memory'


SCRIPT = """
import shadho_worker

def objective(params):
    if params['x'] < 0:
        raise ValueError('negative')
    return {'loss': params['x'] * 2, 'note': 'fine'}

if __name__ == '__main__':
    shadho_worker.run(objective)
"""


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """Return the command of a script beside a copy of the package, for a Python without SHADHO."""
    (tmp_path / 'objective.py').write_text(SCRIPT)
    place_package(tmp_path)
    return [sys.executable, '-S', 'objective.py']  # -S: no installed packages at all


def test_the_script_runs_by_hand_and_prints_its_result(script: list[str]) -> None:
    done = subprocess.run([*script, '{"x": 1.5}'], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {'loss': 3.0, 'note': 'fine'}
    assert not Path('result.json').exists()


def test_the_script_reads_its_parameters_and_writes_its_result(script: list[str]) -> None:
    Path('hyperparameters.json').write_text('{"x": 2}')
    subprocess.run(script, check=True)
    assert json.loads(Path('result.json').read_text())['loss'] == 4.0


def test_a_failing_script_leaves_the_reason_and_a_status(script: list[str]) -> None:
    Path('hyperparameters.json').write_text('{"x": -1}')
    failed = subprocess.run(script, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "raise ValueError('negative')" in failed.stderr
    assert json.loads(Path('result.json').read_text())['error']['message'] == 'ValueError: negative'


@pytest.mark.parametrize(
    ('arguments', 'message'), [([], 'no hyperparameters.json in'), (['x=1'], 'must be the parameters as JSON')]
)
def test_a_script_without_usable_parameters_says_how_to_give_them(
    script: list[str], arguments: list[str], message: str
) -> None:
    failed = subprocess.run([*script, *arguments], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert message in failed.stderr
    assert 'Traceback' not in failed.stderr


def test_arguments_of_the_script_are_its_own_where_the_parameters_are_in_the_file(script: list[str]) -> None:
    Path('hyperparameters.json').write_text('{"x": 2}')
    subprocess.run([*script, '--epochs', '5'], check=True)
    assert json.loads(Path('result.json').read_text())['loss'] == 4.0


def test_a_script_that_fails_by_hand_shows_its_traceback(script: list[str]) -> None:
    failed = subprocess.run([*script, '{"x": -1}'], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (1, '')
    assert failed.stderr.rstrip().endswith('ValueError: negative')


class TheirOutOfMemoryError(Exception):
    """As the frameworks for GPUs have them."""


class ResourceExhaustedError(Exception):
    """TensorFlow's."""


def caused_by(cause: BaseException) -> ValueError:
    error = ValueError('the fit failed')
    error.__context__ = cause
    cause.__cause__ = error  # as an objective may make a circle of them
    return error


@pytest.mark.parametrize(
    ('error', 'kind'),
    [
        (MemoryError(), 'memory'),
        (TheirOutOfMemoryError('8 GiB'), 'memory'),
        (ResourceExhaustedError('OOM when allocating'), 'memory'),
        (RuntimeError('CUDA out of memory. Tried to allocate 2 GiB'), 'memory'),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), 'memory'),
        (RuntimeError('std::bad_alloc'), 'memory'),
        (OSError(errno.ENOMEM, 'Cannot allocate memory'), 'memory'),
        (caused_by(MemoryError()), 'memory'),
        (caused_by(KeyError()), 'exception'),
        (OSError(errno.ENOENT, 'no such file'), 'exception'),
        (RuntimeError('shapes do not match'), 'exception'),
        (ValueError('out of memory'), 'exception'),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, kind):
    assert shadho_worker.failure(error)['error']['kind'] == kind
