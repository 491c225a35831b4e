"""What the operating system refuses, in words that help."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadho.errors import BackendError
from shadho.execution.limits import allow_open_files, explaining
from shadho.execution.objective import Command
from shadho.execution.sandbox import FILES


@pytest.fixture
def few_files() -> Iterator[int]:
    """Allow this process no more files than it may need for a moment; the limit can be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir('/dev/fd')) + 80
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_of_open_files_is_raised_as_far_as_slots_need(few_files: int) -> None:
    allow_open_files(2, FILES)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == few_files
    allow_open_files(100, FILES)
    assert few_files + 150 < resource.getrlimit(resource.RLIMIT_NOFILE)[0] < few_files + 400


def test_slots_beyond_the_hard_limit_of_open_files_are_refused_with_what_fits() -> None:
    code = (
        'import resource\n'
        'resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n'
        'from shadho.errors import BackendError\n'
        'from shadho.execution.limits import allow_open_files\n'
        'try:\n    allow_open_files(50, 3)\nexcept BackendError as error:\n    print(error)\n'
    )
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert said.startswith('50 slots need ')
    assert 'open files, and this process may have 128 (ulimit -n). Use at most ' in said
    most = int(said.partition('Use at most ')[2].split()[0])
    assert 10 < most <= (128 - 64) // 3


@pytest.mark.parametrize(
    ('number', 'place', 'words'),
    [
        (errno.EMFILE, None, r'may not open more than \d+ files.*ulimit -n'),
        (errno.ENFILE, None, 'machine has no more open files'),
        (errno.EAGAIN, None, 'no more processes.*fewer slots.*ulimit -u'),
        (errno.ENOMEM, None, 'no memory for another process.*fewer slots'),
        (errno.ENOSPC, '/scratch', 'no room is left in /scratch.*set TMPDIR'),
        (errno.ENOSPC, None, f'no room is left in {tempfile.gettempdir()}.*set TMPDIR'),
        (errno.EDQUOT, '/scratch', 'quota of /scratch is used up.*set TMPDIR'),
        (errno.ENOENT, '/scratch/shadho-1', '/scratch/shadho-1 does not exist; set TMPDIR'),
        (errno.EACCES, '/scratch/shadho-1', '/scratch/shadho-1 cannot be written; set TMPDIR'),
        (errno.EROFS, '/scratch/shadho-1', '/scratch/shadho-1 is read-only; set TMPDIR'),
        (errno.ENOENT, sys.executable, 'the Python of this search; was it removed'),
        (errno.EIO, '/scratch', r"Input/output error: '/scratch'"),
    ],
)
def test_an_error_of_the_system_says_where_and_what_helps(number: int, place: str | None, words: str) -> None:
    with pytest.raises(BackendError, match=f'^it failed: .*{words}'), explaining('it failed'):
        raise OSError(number, os.strerror(number), place)


def test_a_command_whose_folder_cannot_be_made_is_a_failed_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('tempfile.tempdir', str(Path('gone').absolute()))
    outcome = Command('true').evaluate({}, 0)
    assert outcome['state'] == 'failed'
    assert outcome['error']['message'].startswith(
        'the folder of the trial could not be made: No such file or directory: '
    )
    assert outcome['error']['message'].endswith('does not exist; set TMPDIR to a folder that does')


def test_a_command_that_no_process_is_left_for_is_a_failed_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, 'Popen', refuse)
    outcome = Command('true').evaluate({}, 0)
    assert outcome['error']['message'].startswith(
        'the command could not be started: Resource temporarily unavailable: '
    )


def test_output_files_that_cannot_be_brought_back_are_told_with_the_results_kept() -> None:
    Path('taken').write_text('a file where a folder is needed')
    outcome = Command('touch model; echo 0.5 > result.json', outputs=('model',), output_folder=Path('taken')).evaluate(
        {}, 3
    )
    assert (outcome['state'], outcome['results']) == ('failed', {'loss': 0.5})
    assert outcome['error']['kind'] == 'result'
    assert outcome['error']['message'].startswith('model could not be brought back: ')
