"""What is special about JSON Lines: readable by anything, torn tails, files that were edited."""

import json
import math

import pytest

from shadho.errors import StorageError
from shadho.records import Result, Trial, TrialState
from shadho.storage.jsonl import JSONLines


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'results.json'


def records(count):
    return [
        record
        for number in range(count)
        for record in (
            Trial(number, 0, (0.25,), {'x': (number, math.inf)}),
            Result(number, TrialState.DONE, math.inf, {'loss': math.inf}),
        )
    ]


def fill(path, count=3):
    with JSONLines(path) as storage:
        storage.update(seed=1)
        for record in records(count):
            storage.append(record)


def read(path):
    return [record for _, record in JSONLines(path).read()]


def refuse(constant):
    raise ValueError(f'{constant} is not JSON')


def test_every_line_is_strict_json(path):
    fill(path)
    lines = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert [line['record'] for line in lines] == ['metadata', *['trial', 'result'] * 3]
    assert lines[1]['params'] == {'x': {'$tuple': [0, {'$float': 'inf'}]}}
    assert lines[2]['loss'] == {'$float': 'inf'}


@pytest.mark.parametrize('kept', [1, 10, 30, -1])
def test_a_last_line_that_was_cut_off_is_ignored_and_overwritten(path, kept):
    fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b''.join(lines[:-1]) + lines[-1][:kept])
    assert read(path) == records(3)[:-1]
    with JSONLines(path) as storage:
        assert storage.metadata() == {'seed': 1}
        storage.append(records(3)[-1])
    assert path.read_bytes() == b''.join(lines)


def test_reading_leaves_a_line_alone_that_is_being_written(path):
    fill(path)
    torn = path.read_bytes() + b'{"record": "tri'
    path.write_bytes(torn)
    assert read(path) == records(3)
    assert path.read_bytes() == torn


@pytest.mark.parametrize(
    'line',
    [
        b'oops\n',
        b'\n',
        b'5\n',
        b'{}\n',
        b'{"record": "other"}\n',
        b'{"record": "metadata"}\n',
        b'{"record": "trial", "trial": 1\n',
        b'\xff\xfe\n',
    ],
)
def test_a_line_that_was_edited_is_an_error_that_says_which(path, line):
    fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = line
    path.write_bytes(b''.join(lines))
    for use in (read, lambda path: JSONLines(path).open(), lambda path: JSONLines(path).metadata()):
        with pytest.raises(StorageError, match=r'results\.json, line 3: this is not a record of a search'):
            use(path)
    assert path.read_bytes() == b''.join(lines)


@pytest.mark.parametrize('change', [('"trial": 1', '"other": 1'), ('"tree": "0"', '"tree": "x"'), ('[0.25]', '5')])
def test_a_value_that_was_edited_badly_is_an_error(path, change):
    fill(path)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(StorageError, match='corrupt'):
        assert read(path) == records(3)


@pytest.mark.parametrize('content', ['{"loss": 1}', '{"loss": 1}\n', '[\n 1\n]', 'x,y\n1,2\n', 'text', '{}'])
def test_the_file_of_something_else_is_refused_and_left_alone(path, content):
    path.write_text(content)
    for use in (read, lambda path: JSONLines(path).open()):
        with pytest.raises(StorageError, match='line 1: this is not a record'):
            use(path)
    assert path.read_text() == content


def test_a_search_that_was_cut_off_in_its_first_line_begins_anew(path):
    path.write_text('{"record')
    assert read(path) == []
    fill(path)
    assert read(path) == records(3)


def test_a_refused_file_stays_free_for_others(path):
    path.write_text('text\n')
    for _ in range(2):
        with pytest.raises(StorageError, match='not a record'):
            JSONLines(path).open()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(StorageError, match='cannot be written: No such file or directory'):
        JSONLines(tmp_path / 'none' / 'x.json').open()


def test_a_read_only_folder_is_refused(open_folder, as_anybody):
    open_folder.chmod(0o555)
    with as_anybody(), pytest.raises(StorageError, match='cannot be written: Permission denied'):
        JSONLines(open_folder / 'x.json').open()


def test_a_read_only_file_is_refused_and_can_be_read(open_folder, as_anybody):
    fill(open_folder / 'x.json')
    (open_folder / 'x.json').chmod(0o444)
    open_folder.chmod(0o777)
    with as_anybody():
        with pytest.raises(StorageError, match=r'x\.json cannot be written: Permission denied'):
            JSONLines(open_folder / 'x.json').open()
        assert read(open_folder / 'x.json') == records(3)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / 'x.json').mkdir()
    with pytest.raises(StorageError, match='Is a directory'):
        JSONLines(tmp_path / 'x.json').open()
