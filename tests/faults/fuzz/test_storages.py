"""Files of searches, damaged or made up: what reads one gives a valid answer, or one clear line."""

from __future__ import annotations

import contextlib
import json
import math
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import strategies as st

from shadho import Shadho, ShadhoError, load_result, spaces
from shadho.cli import cli
from shadho.report.recorded import open_recorded
from shadho.result import SearchResult

SPACE = {
    'exclusive': True,
    'rbf': {
        'C': spaces.log10_uniform(-3, 3),
        'kind': ['a', ('b', 1), None],
        'layers': spaces.repeat({'w': spaces.randint(1, 9)}, 2),
    },
    'linear': {'C': spaces.log10_uniform(-3, 3)},
}
TRIALS = 25


def objective(params: Any) -> dict[str, Any]:
    [(name, own)] = params.items()
    if name == 'linear' and own['C'] > 50:
        raise ValueError('too large')
    return {'loss': abs(math.log(own['C'])), 'name': name, 'nested': {'deep': (1, math.inf)}}


def search(path: Path, trials: int, method: str = 'tpe') -> Shadho:
    return Shadho(
        'fuzz', objective, SPACE, method, max_tasks=trials, seed=0, backend='inline', storage=path, display=False
    )


@attrs.frozen
class Recorded:
    """The bytes of recorded searches, in both formats, by methods that leave notes with their trials and others."""

    files: dict[tuple[str, str], bytes]


@pytest.fixture(scope='module')
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded({
        (suffix, method): record(tmp_path_factory.mktemp('recorded') / f'fuzz{suffix}', method)
        for suffix in ('.db', '.jsonl')
        for method in ('tpe', 'pso', 'random')
    })  # fmt: skip


def record(path: Path, method: str) -> bytes:
    search(path, TRIALS, method).run()
    return path.read_bytes()


COMMANDS: list[list[str]] = [
    ['status', '{}'],
    ['status', '{}', '--json'],
    ['best', '{}'],
    ['best', '{}', '--json'],
    ['trials', '{}', '--limit', '0'],
    ['trials', '{}', '--sort', 'loss', '--json'],
    ['trials', '{}', '3', '0'],
    ['export', '{}', 'out.csv'],
    ['export', '{}', 'out.json'],
    ['report', '{}', '--output', 'out.html'],
    ['plan', '{}', '16-core=20,inline=3'],
    ['plan', '{}', '16-core=20,inline=3', '--json'],
]


def read_by_all(path: Path, number: int, method: str) -> None:
    """Let one command, the library and a driver read a file; each is to be right, or to say what is wrong."""
    arguments = [part.format(path) for part in COMMANDS[number % len(COMMANDS)]]
    answer = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    check_answer(answer, '--json' in arguments)
    answer = CliRunner().invoke(cli, ['resume', str(path)], input='n\n', catch_exceptions=False)
    check_answer(answer, False)
    trials, is_new = loaded(path), is_empty(path)
    with contextlib.suppress(ShadhoError):
        result = search(path, TRIALS + 2, method).run()
        assert trials is not None or is_new, 'what cannot be read was gone on with'
        assert len(result) >= TRIALS + 2
        check_result(load_result(path))


def check_answer(answer: Any, is_json: bool) -> None:
    assert answer.exit_code in (0, 1, 2), answer.output
    if answer.exit_code:
        last = answer.stderr.strip().splitlines()[-1]
        assert last.startswith(('Error: ', 'Aborted!')) or 'Error: ' in answer.stderr
        assert len(answer.stderr) < 5000
    elif is_json:
        json.loads(answer.stdout)


def loaded(path: Path) -> int | None:
    """Return how many trials were read; None when the file was refused."""
    try:
        result = load_result(path)
    except ShadhoError as error:
        assert len(str(error)) > 20
        # What a run notes of its cluster is for others to look at, and the next one notes its own.
        return 0 if 'notes about the cluster' in str(error) else None
    check_result(result)
    return len(result)


def is_empty(path: Path) -> bool:
    """Whether nothing has been recorded in a file, so that a search may begin there."""
    try:
        return next(open_recorded(path).read(), None) is None
    except ShadhoError:
        return False


def check_result(result: SearchResult) -> None:
    """What was accepted makes sense: each trial is there once, with a loss or an error, and the best is the best."""
    trials = list(result)
    assert len(trials) == len(result) == len({trial.id for trial in trials})
    for trial in trials:
        assert (trial.loss is None) == (trial.state == 'failed')
        assert trial.loss is None or not math.isnan(trial.loss)
        assert len(trial.point) == len(result.forest.tree(trial.tree))
        assert trial.loss is None or all(0 <= u <= 1 for u in trial.point)
    losses = [trial.loss for trial in trials if trial.loss is not None]
    assert losses == [] or (
        result.best is not None
        and result.best.loss == min(losses, key=lambda loss: loss * (1 if result.direction == 'minimize' else -1))
    )
    result.summary()


def reset(path: Path, data: bytes) -> None:
    for own in path.parent.glob(f'{path.name}*'):
        own.unlink()
    path.write_bytes(data)


# --- bytes -----------------------------------------------------------------------------------------


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Something that may befall the bytes of a file."""
    kind = draw(st.sampled_from(['bits', 'cut', 'block', 'zeros', 'twice', 'swap', 'longer']))
    seed = draw(st.integers(0, 2**32))

    def damage(data: bytes) -> bytes:
        rng = random.Random(seed)
        own, place = bytearray(data), rng.randrange(len(data))
        length = rng.choice([1, 7, 100, 1024, 4096])
        if kind == 'bits':
            for _ in range(rng.choice([1, 2, 5, 50])):
                own[rng.randrange(len(own))] ^= 1 << rng.randrange(8)
        elif kind == 'cut':
            del own[place:]
        elif kind == 'block':
            own[place : place + length] = rng.randbytes(length)
        elif kind == 'zeros':
            own[place : place + length] = bytes(length)
        elif kind == 'twice':
            own[place:place] = own[rng.randrange(len(own)) :][:length]
        elif kind == 'swap':
            other = rng.randrange(len(own))
            own[place : place + length], own[other : other + length] = (
                own[other : other + length],
                own[place : place + length],
            )
        else:
            own += rng.randbytes(length)
        return bytes(own)

    damage.__name__ = f'{kind}-{seed}'
    return damage


@pytest.mark.parametrize('suffix', ['.db', '.jsonl'])
def test_a_file_of_damaged_bytes_is_read_right_or_refused(
    fuzz: Any, recorded: Recorded, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f'fuzz{suffix}'

    def tried(damage: Callable[[bytes], bytes], number: int) -> None:
        reset(path, damage(recorded.files[suffix, 'random']))
        read_by_all(path, number, 'random')

    fuzz(tried, 80, damage=damages(), number=st.integers(0, 11))


# --- values ----------------------------------------------------------------------------------------

VALUES: list[Any] = [
    None, 0, 1, -1, 7, 2**31, 2**62, -(2**62), 0.5, -0.5, 1e308, math.inf, -math.inf, math.nan, '', 'done', 'failed', 'lost',
    'running', 'cancelled', 'x', 'NaN', '[]', '{}', '[0.5]', '[NaN]', '[2, 3]', '[-1]', '[1e999]', '["x"]', '{"a": 1}', '{"$tuple": 5}', '{"$float": "x"}',
    '{"$float": "nan"}', '{"$array": {"dtype": "O", "shape": [1], "data": [1]}}', '{"$dict": [[[], 1]]}', '{"$bytes": "zz"}',
    '{"$complex": [1]}', '[' * 3000, '{"kind": "x", "message": 5, "traceback": ""}', '{"kind": "x"}', '{oops', '9' * 400, '\x1b[2J',
    b'\xff\xfe', b'', True, '{"particle": 0}', '{"particle": [], "velocity": "x", "new": 1}', '1' * 5000, '{"$float": ' + '9' * 400 + '}',
]  # fmt: skip
TABLES = {
    'trials': [
        'position',
        'trial',
        'tree',
        'point',
        'params',
        'compute_class',
        'resources',
        'meta',
        'started',
    ],
    'results': [
        'position',
        'trial',
        'state',
        'loss',
        'results',
        'error',
        'started',
        'finished',
        'seconds',
        'host',
        'output',
    ],
    'attempts': ['position', 'trial', 'attempt', 'compute_class', 'resources', 'started'],
    'reports': ['position', 'trial', 'attempt', 'step', 'results', 'time'],
    'notes': ['position', 'kind', 'trial', 'time', '"values"'],
    'metadata': ['key', 'value'],
}
METADATA = [
    'exp_key', 'objective', 'method', 'grid_points', 'direction', 'loss_key', 'space', 'outline', 'fingerprint', 'seed', 'version',
    'uses', 'command', 'folder', 'classes', 'workers', 'running', 'clock', 'new',
]  # fmt: skip
PLAIN: list[Any] = [
    None, True, 0, 1, -1, 2**70, 0.5, 1e308, '', 'x', '\0', [], {}, [[]], [1, 2], ['x', 'y'], {'inline': []}, {'inline': [1, 2, 3]},
    {'inline': [1, 2]}, {'inline': ['x', {}]}, {'inline': 5}, {'a': [1, 2]}, [{}], [{'name': 'inline'}], [{'name': 'inline', 'slots': 'x'}],
    [{'name': 'inline', 'slots': 1, 'hardware': {'cores': 0}}], [{'name': 'a', 'slots': 10**30, 'hardware': {}, 'resources': {}}],
    {'began': 0, 'time': 1e308, 'seconds': -1}, {'began': 'x', 'time': 0, 'seconds': 0}, {'time': None}, {'$float': 'nan'}, {'$tuple': [1]},
    'minimize', 'maximize', '{"type": "scope", "parts": {}}', '{"type": "choice", "args": [[]]}', '[' * 2000, 'NaN',
    '{"type": "repeat", "part": {"type": "repeat", "part": {"type": "choice", "args": [[1, 2]]}, "n": 99999, "split": true}, "n": 99999, "split": true}',
    '{"type": "scope", "parts": {"a": {"type": "randint", "args": [0, 1e999]}}}', '{"type": "uniform", "args": [0, {"$float": "nan"}]}',
    ['python', 'x.py'], ['/bin/true', 'x'], ['/bin/tr\0ue', 'x'], [5, 6], '/', 'a' * 5000, '\x1b[2J',
]  # fmt: skip


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, ...]:
    """Changes to the rows of a file: (table, column, row, value), or what else may be done to a row."""
    table = draw(st.sampled_from(['trials', 'results', 'results', 'attempts', 'notes', 'metadata']))
    what = draw(st.sampled_from(['value', 'value', 'value', 'gone', 'twice', 'moved']))
    row = draw(st.integers(0, TRIALS - 1))
    if table == 'metadata':
        return (table, what, draw(st.sampled_from(METADATA)), draw(st.sampled_from(PLAIN)))
    return (table, what, draw(st.sampled_from(TABLES[table][1:])), draw(st.sampled_from(VALUES)), row)


def edit_rows(path: Path, changes: list[Any]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, what, column, value, *rows in changes:
            its = f'position IN (SELECT position FROM {table} ORDER BY position LIMIT 1 OFFSET ?)'
            with contextlib.suppress(sqlite3.Error, UnicodeError):  # some cannot be done
                if table == 'metadata' and what == 'gone':
                    connection.execute('DELETE FROM metadata WHERE key = ?', (column,))
                elif table == 'metadata':
                    connection.execute(
                        'INSERT OR REPLACE INTO metadata VALUES (?, ?)',
                        (column, json.dumps(value) if what != 'moved' else str(value)),
                    )
                elif what == 'value':
                    connection.execute(f'UPDATE {table} SET {column} = ? WHERE {its}', (value, rows[0]))
                elif what == 'gone':
                    connection.execute(f'DELETE FROM {table} WHERE {its}', (rows[0],))
                elif what == 'moved':
                    connection.execute(f'UPDATE {table} SET position = position + 1000 WHERE {its}', (rows[0],))
                else:
                    rest = ', '.join(TABLES[table][1:])
                    connection.execute(
                        f'INSERT INTO {table} ({rest}) SELECT {rest} FROM {table} WHERE {its}', (rows[0],)
                    )


def edit_lines(data: bytes, changes: list[Any]) -> bytes:
    lines = [json.loads(line) for line in data.splitlines()]
    for table, what, column, value, *rows in changes:
        if isinstance(value, bytes):
            continue
        if table == 'metadata':
            lines.insert(
                random.Random(str(column)).randrange(len(lines)) if what == 'moved' else len(lines),
                {'record': 'metadata', 'values': {column: value} if what != 'gone' else value},
            )
            continue
        places = [place for place, line in enumerate(lines) if line['record'] == table[:-1]]
        column = column.strip('"')
        for place in places[rows[0] : rows[0] + 1]:
            if what == 'value':
                with contextlib.suppress(ValueError, RecursionError):
                    lines[place] = {
                        **lines[place],
                        column: json.loads(value) if isinstance(value, str) and value[:1] in ('{', '[') else value,
                    }
            elif what == 'gone':
                del lines[place]
            elif what == 'moved':
                lines.append(lines.pop(place))
            else:
                lines.append(lines[place])
    return b''.join(json.dumps(line).encode() + b'\n' for line in lines)


@pytest.mark.parametrize('suffix', ['.db', '.jsonl'])
def test_a_file_of_edited_rows_is_read_right_or_refused(
    fuzz: Any, recorded: Recorded, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f'fuzz{suffix}'

    def tried(changes: list[Any], method: str, number: int) -> None:
        data = recorded.files[suffix, method]
        reset(path, data if suffix == '.db' else edit_lines(data, changes))
        if suffix == '.db':
            edit_rows(path, changes)
        read_by_all(path, number, method)

    fuzz(
        tried,
        150,
        changes=st.lists(edits(), min_size=1, max_size=3),
        method=st.sampled_from(['tpe', 'pso', 'random']),
        number=st.integers(0, 11),
    )


SCHEMAS = [
    'DROP TABLE results', 'DROP TABLE metadata', 'ALTER TABLE trials RENAME COLUMN point TO place', 'ALTER TABLE trials DROP COLUMN meta',
    'ALTER TABLE results ADD COLUMN more TEXT', 'DROP TABLE trials; CREATE VIEW trials AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS position FROM n',
    'DROP TABLE trials; CREATE TABLE trials (position TEXT, trial, tree, point, params, compute_class, resources, meta, started); INSERT INTO trials SELECT * FROM (SELECT NULL, 1, 2, 3, 4, 5, 6, 7, 8)',
    'DROP TABLE trials; CREATE TABLE trials (a, b)', 'DROP TABLE metadata; CREATE TABLE metadata (a, b, c)', 'PRAGMA user_version = 7', 'PRAGMA application_id = 7',
    'DELETE FROM metadata', 'DELETE FROM trials', 'DELETE FROM results', 'DELETE FROM trials; DELETE FROM results',
    'CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM results; END', 'CREATE TRIGGER t BEFORE INSERT ON results BEGIN SELECT RAISE(ABORT, "no"); END',
    'UPDATE results SET trial = 3', 'UPDATE trials SET trial = -trial', 'UPDATE trials SET position = position + 1', 'UPDATE results SET position = 10000 - position',
    'CREATE TABLE users (name TEXT)', 'CREATE VIEW more AS SELECT 1', 'UPDATE results SET loss = "abc"', 'UPDATE results SET loss = 9e999', 'UPDATE trials SET tree = 10',
]  # fmt: skip


def test_a_file_of_another_shape_is_read_right_or_refused(fuzz: Any, recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / 'fuzz.db'

    def tried(statements: list[str], number: int) -> None:
        reset(path, recorded.files['.db', 'random'])
        with closing(sqlite3.connect(path)) as connection, contextlib.suppress(sqlite3.Error):
            for statement in statements:
                connection.executescript(statement)
        read_by_all(path, number, 'random')

    fuzz(tried, 60, statements=st.lists(st.sampled_from(SCHEMAS), min_size=1, max_size=2), number=st.integers(0, 11))
