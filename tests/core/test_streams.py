"""Standard streams that are replaced, closed, missing, or no files: a search runs, and leaves them as they were."""

from __future__ import annotations

import errno
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from shadho import Shadho, hookimpl, spaces
from shadho.cli import main
from shadho.live import make_display
from shadho.live.lines import PlainDisplay
from shadho.streams import Echo, is_terminal, usable_streams, write


class Writes:
    """The least that passes for a stream."""

    def __init__(self) -> None:
        self.text = ''

    def write(self, text: str) -> None:
        self.text += text

    def getvalue(self) -> str:
        return self.text


class Tee:
    """Copies what is printed, as many scripts do."""

    def __init__(self, *files: Any) -> None:
        self.files = files

    def write(self, text: str) -> None:
        for file in self.files:
            file.write(text)

    def flush(self) -> None:
        for file in self.files:
            file.flush()


class ProudTee(Tee):
    def isatty(self) -> bool:
        return True


class Raises:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def closed_file() -> Any:
    file = io.StringIO()
    file.close()
    return file


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, 'No space left on device')


STREAMS: dict[str, Callable[[], Any]] = {
    'none, as under pythonw': lambda: None,
    'closed': closed_file,
    'with write only': Writes,
    'a tee': lambda: Tee(io.StringIO(), Writes()),
    'a tee to a closed file': lambda: Tee(closed_file()),
    'a tee that calls itself a terminal': lambda: ProudTee(io.StringIO()),
    'all of whose methods raise': Raises,
    'in ASCII': lambda: io.TextIOWrapper(io.BytesIO(), encoding='ascii'),
    'of bytes': io.BytesIO,
    'text': io.StringIO,
    'on a full disk': FullDisk,
}


def replace(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """Replace the standard streams, in the test itself: pytest sets them when a test begins."""
    replaced = [STREAMS[name](), STREAMS[name](), None]
    for stream, place in zip(replaced, ('stdout', 'stderr', 'stdin'), strict=True):
        monkeypatch.setattr(sys, place, stream)
    monkeypatch.setattr(logging.getLogger(), 'handlers', [])  # those of pytest; a script has none
    return replaced


class Broken:
    """A plugin whose every failure is logged."""

    @hookimpl
    def shadho_trial_finished(self, trial: Any) -> None:
        raise ValueError('é')


def objective(params: dict[str, float]) -> float:
    logging.getLogger('of the user').warning('é')
    if params['x'] < 0.5:
        raise ValueError('é')
    return params['x']


@pytest.mark.parametrize('name', STREAMS)
def test_a_search_runs_whatever_the_standard_streams_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace(monkeypatch, name)
    result = Shadho(
        'streams', objective, {'x': spaces.grid([0.0, 1.0])}, backend='inline', storage=None, plugins=[Broken()]
    ).run()
    left = [sys.stdout, sys.stderr, sys.stdin]
    monkeypatch.undo()
    assert left == streams
    assert sorted(trial.error.message if trial.error else '' for trial in result) == ['', 'ValueError: é']


@pytest.mark.parametrize('name', ['none, as under pythonw', 'closed', 'with write only', 'in ASCII'])
def test_the_command_line_runs_whatever_the_standard_streams_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(monkeypatch, name)
    monkeypatch.setattr(sys, 'argv', ['shadho', 'status', 'none.db'])
    with pytest.raises(SystemExit) as ended:
        main()
    monkeypatch.undo()
    assert ended.value.code == 1


@pytest.mark.parametrize('name', ['with write only', 'a tee', 'in ASCII', 'text'])
def test_a_replaced_stream_gets_the_progress_and_the_summary(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, err, _ = replace(monkeypatch, name)
    Shadho('name é', lambda params: 0.0, {'x': spaces.grid([1, 2])}, backend='inline', storage=None).run()
    monkeypatch.undo()
    if isinstance(err, io.TextIOWrapper):
        text = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
    else:
        text = (err.files[0] if isinstance(err, Tee) else err).getvalue()
    assert '1 tree, method auto' in text
    assert '2 trials' in text


@pytest.mark.parametrize('name', STREAMS)
def test_what_no_terminal_shows_gets_plain_lines(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, stream, _ = replace(monkeypatch, name)
    assert not is_terminal(stream)
    assert type(make_display()) is PlainDisplay


def test_a_stream_without_an_encoding_for_a_letter_gets_its_number() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding='ascii', write_through=True)
    write(stream, 'é')
    assert stream.buffer.getvalue() == b'\\xe9'  # type: ignore[attr-defined]


def test_a_stream_that_was_replaced_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'stderr', None)
    other = io.StringIO()
    with usable_streams():
        sys.stderr = other
    assert sys.stderr is other


def test_a_replaced_stream_has_all_that_a_file_has(monkeypatch: pytest.MonkeyPatch) -> None:
    tee = Tee(io.StringIO())
    monkeypatch.setattr(sys, 'stdout', tee)
    with usable_streams():
        assert (sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.writable()) == (False, 'utf-8', True)
        assert sys.stdout.files is tee.files  # type: ignore[attr-defined]
        with pytest.raises(io.UnsupportedOperation):
            sys.stdout.fileno()
        click.echo('said', nl=False)
    assert tee.files[0].getvalue() == 'said'


def test_a_stream_that_fails_does_so_as_logging_and_warnings_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'stderr', Tee(closed_file()))
    with usable_streams(), pytest.raises(OSError, match='nothing can be written to Tee: I/O operation on closed file'):
        sys.stderr.write('lost')


CLOSED = """
import os, sys
from pathlib import Path
from shadho import Shadho, spaces
from shadho_local import Local

assert sys.stdout is sys.stderr is sys.stdin is None
def objective(params):
    os.write(1, b'one'); os.write(2, b'two')
    return params['x']
result = Shadho('closed', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=3, backend=Local(2)).run()
Path('numbers').write_text(' '.join(os.readlink(f'/proc/self/fd/{number}') for number in range(3)))
Path('outputs').write_text(' '.join(trial.output for trial in result))
"""


def test_file_numbers_of_streams_that_were_closed_by_the_shell_go_to_no_file_of_the_search() -> None:
    pytest.importorskip('shadho_local')
    Path('driver.py').write_text(CLOSED)
    done = subprocess.run(f'{sys.executable} driver.py <&- >&- 2>&-', shell=True, env={**os.environ})
    assert done.returncode == 0
    assert Path('numbers').read_text() == ' '.join([os.devnull] * 3)
    assert Path('outputs').read_text() == ' '.join(['onetwo'] * 3)


# --- what trials print -------------------------------------------------------------------------------


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_without_a_limit_all_that_trials_print_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    echo = Echo()
    echo.show('a\n\nb')
    echo.show('c\n' * 1000)
    assert capsys.readouterr().out == 'a\n\nb\n' + 'c\n' * 1000
    assert echo.left_out == 0


def test_of_more_lines_a_second_than_the_limit_the_last_of_a_trial_are_shown_and_the_others_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    echo = Echo(3, clock)
    echo.show('a\n')
    echo.show('b\nc\nd\n')
    echo.show('e\nf\n')
    assert capsys.readouterr().out == 'a\n[... 1 more]\nc\nd\n'
    clock.time = 1.0
    echo.show('g')
    assert capsys.readouterr().out == '[... 2 more]\ng\n'
    assert echo.left_out == 3


def test_a_bar_that_is_drawn_in_one_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Echo(1, Clock()).show('10%\r20%\r30%\n')
    assert capsys.readouterr().out.count('%') == 3
