"""Arguments of the command line, as nobody would give them: an answer or one line that says what is wrong."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import strategies as st

from shadho import Shadho, spaces
from shadho.cli import cli
from shadho.cli.common import reporting_errors
from shadho_workqueue.worker.command import worker

TEXTS = [
    '', ' ', 'x', '-', '--', '-1', '0', '1', '1e999', 'nan', 'inf', '99999999999999999999', '\udcff', 'é', '\x1b[2J', "'", 'a=b', 'a=1', 'a=1,a=1',
    '16-core=20', '=3', 'a=-1', 'a=٣', 'x.py:space', 'm:nothing', ':', '::', 'nowhere.py:x', 'os:name', 'os:sep', 'm.py:space', 'm.py:f', 'm.py:missing', 'x' * 5000, '*', '~', '$HOME',
]  # fmt: skip
PLACES = [
    'good.db', 'good.jsonl', 'empty.db', 'empty.jsonl', 'binary.db', 'folder', 'folder.db', 'missing.db', 'nowhere/a.db', '/dev/null', 'good', 'a.txt', '.', '..', '/', 'loop.db',
    'noread.db', 'm.py', 'é.db', '\udcff.db', 'unicode\u202e.db', 'out.csv', 'out.json', 'out.html', 'folder/out.csv', 'nowhere/out.json', 'out.parquet', 'out.xyz', 'good.db/x.csv', 'a\nb.csv',
]  # fmt: skip
COMMANDS: dict[str, list[str]] = {
    'status': ['--json'],
    'best': ['--json'],
    'trials': ['--json', '--state', '--tree', '--compute-class', '--better-than', '--sort', '--reverse', '--limit', 'done', 'loss', '3'],
    'folders': ['--json', '--copy', '--trial', '3'],
    'export': ['--json', '--name'],
    'report': ['--json', '--output', '--png'],
    'plan': ['--json', '--fairness', '0.5', 'inline=3'],
    'resume': ['--yes'],
    'run': [
        '--space', '--name', '--max-tasks', '--timeout', '--seed', '--method', '--policy', '--backend', '--storage', '--direction', '--loss-key', '--resource',
        '--trial-timeout', '--input', '--json', 'm.py:f', 'm.py:space', 'inline', 'true', '3',
    ],
    'plugins': ['--json'],
    'completion': ['bash'],
    'worker': ['workqueue'],
    'nothing': ['--help'],
}  # fmt: skip

# No system hands over zeros, or halves of characters but those that stand for bytes of no character.
letters = st.characters(exclude_categories=['Cs'], exclude_characters='\0') | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF
)
words = st.sampled_from(TEXTS) | st.sampled_from(PLACES) | st.text(letters, max_size=8)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command with some of its options, and whatever stands beside them."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    options = st.sampled_from(COMMANDS[name])
    first = draw(st.sampled_from(PLACES[:12]) | words)
    return [name, first, *draw(st.lists(options | options | words, max_size=5))]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A folder of all that a path may name."""
    for name in ('good.db', 'good.jsonl'):
        Shadho(
            'good',
            lambda params: params['x'],
            {'x': spaces.uniform(0, 1)},
            max_tasks=5,
            seed=0,
            backend='inline',
            storage=name,
            display=False,
        ).run()
    for name in ('empty.db', 'empty.jsonl', 'good', 'a.txt'):
        Path(name).touch()
    Path('binary.db').write_bytes(bytes(range(256)) * 40)
    Path('noread.db').touch(0)
    Path('folder').mkdir()
    Path('folder.db').mkdir()
    Path('loop.db').symlink_to('loop.db')
    Path('m.py').write_text(
        'from shadho import spaces\nspace = {"x": spaces.uniform(0, 1)}\ndef f(params): return params["x"]\n'
    )
    return tmp_path


def test_no_arguments_of_a_command_end_in_a_traceback(fuzz: Any, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(os, 'execv', lambda *command: started.append(command))  # which would be the end of the tests
    monkeypatch.setattr('shadho_workqueue.worker.command.become_worker', lambda *arguments: started.append(arguments))
    monkeypatch.setattr('shadho_workqueue.worker.command.run_pool', lambda *arguments: started.append(arguments))
    before = {path: path.read_bytes() for path in [filled / 'good.db', filled / 'good.jsonl']}

    def tried(line: list[str]) -> None:
        if line[0] == 'run':
            line = [*line, '--max-tasks', '2', '--backend', 'inline', '--timeout', '2']
        answer = CliRunner().invoke(cli, line, input='n\n', catch_exceptions=False)
        assert answer.exit_code in (0, 1, 2)
        if answer.exit_code:
            said = answer.stderr.strip()
            assert 'Error' in said or 'Usage' in said or 'Aborted' in said, answer.output
        for path, content in before.items():
            assert line[0] == 'run' or path.read_bytes() == content
            path.write_bytes(content)
        os.chdir(filled)

    fuzz(tried, 250, line=lines())


WORKER = ['-M', '--host', '--password-file', '--catalog', '--ssl', '--wait', '--idle-timeout', '--cores', '--memory', '--gpus', '--feature', '--name', '--batch', '--count', '--min', '--max', '--batch-options', 'local', 'slurm', 'a:1', 'secret']  # fmt: skip


def test_no_arguments_of_a_worker_end_in_a_traceback(fuzz: Any, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_STATE_HOME', str(filled))
    monkeypatch.setattr('shadho_workqueue.worker.command.worker_program', lambda: '/bin/true')
    monkeypatch.setattr('shadho_workqueue.worker.command.become_worker', lambda *arguments: None)
    monkeypatch.setattr('shadho_workqueue.worker.command.run_pool', lambda *arguments: None)
    monkeypatch.setattr('shadho_workqueue.worker.command.detect', lambda *arguments: None)
    (filled / 'secret').write_text('secret')

    def tried(options: list[str], host: bool) -> None:
        own = ['--host', 'node:1', '--password-file', 'secret'] if host else ['-M', 'fuzz', '--wait', '0']
        answer = CliRunner().invoke(worker, [*options, *own], catch_exceptions=False)
        assert answer.exit_code in (0, 1, 2)
        assert not answer.exit_code or 'Error' in answer.stderr

    fuzz(tried, 150, options=st.lists(st.sampled_from(WORKER) | words, max_size=5), host=st.booleans())


def test_errors_of_users_are_the_only_ones_that_are_caught() -> None:
    with pytest.raises(ZeroDivisionError), contextlib.ExitStack() as stack:
        stack.enter_context(reporting_errors())
        raise ZeroDivisionError
