"""Files of commands, on their way between machines."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shadho import ComputeClass
from shadho.execution.objective import Command
from shadho.execution.sandbox import pickle_objective, pickle_params
from shadho_mpi import serve
from shadho_mpi.serve import Rank, pack, unpack


@pytest.fixture(params=[True, False] if hasattr(tarfile, 'data_filter') else [False], autouse=True)
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a Python whose tarfile can tell what is safe, and one before that."""
    monkeypatch.setattr(serve, '_HAS_FILTERS', request.param)


pytestmark = pytest.mark.filterwarnings('ignore:Python 3.14:DeprecationWarning')


def archive(**members: Any) -> bytes:
    """Return an archive of members with given attributes, as a rank that is not ours might make it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode='w') as tar:
        member = tarfile.TarInfo()
        for name, value in members.items():
            setattr(member, name, value)
        tar.addfile(member)
    return written.getvalue()


def test_files_and_folders_arrive() -> None:
    Path('data', 'inner').mkdir(parents=True)
    Path('data', 'inner', 'file').write_text('1')
    Path('program').write_text('2')
    Path('program').chmod(0o755)
    unpack(pack([Path('data'), Path('program')]), Path('there'))
    assert Path('there', 'data', 'inner', 'file').read_text() == '1'
    assert Path('there', 'program').read_text() == '2'
    assert Path('there', 'program').stat().st_mode & 0o777 == 0o755


def test_links_arrive_as_what_they_lead_to() -> None:
    Path('data').mkdir()
    Path('data', 'file').write_text('1')
    Path('link').symlink_to('data')
    unpack(pack([Path('link')]), Path('there'))
    assert not Path('there', 'link').is_symlink()
    assert Path('there', 'link', 'file').read_text() == '1'


@pytest.mark.parametrize(
    'member',
    [
        {'name': '../file'},
        {'name': 'folder/../../file'},
        {'name': 'link', 'type': tarfile.SYMTYPE, 'linkname': '/etc'},
        {'name': 'pipe', 'type': tarfile.FIFOTYPE},
    ],
)
def test_what_leads_out_of_the_folder_is_refused(member: dict[str, Any]) -> None:
    with pytest.raises(tarfile.TarError):
        unpack(archive(**member), Path('there', 'folder'))
    assert list(Path('there').rglob('*')) == [Path('there', 'folder')]


def test_output_files_that_cannot_be_packed_fail_their_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(paths: Any) -> bytes:
        raise PermissionError('not yours')

    command = Command('echo 1 > result.json; touch file', outputs=('file',))
    rank = Rank(1)
    rank.open(1, pickle_objective(command), ComputeClass(slots=1), pack([]), None)
    monkeypatch.setattr(serve, 'pack', refuse)
    try:
        rank.start(0, 2, pickle_params({'x': 1}))
        ended = wait_for(lambda: rank.poll(1.0))
    finally:
        rank.close()
    ((run, trial, attempt, _, text, files),) = ended
    outcome = json.loads(text)
    assert (run, trial, attempt) == (1, 0, 2)
    assert (outcome['state'], outcome['error']['kind'], files) == ('failed', 'result', None)
    assert outcome['error']['message'] == 'the output files could not be brought back: not yours'


def wait_for(function: Callable[[], list[Any]]) -> list[Any]:
    until = time.monotonic() + 30
    while not (ended := function()):
        assert time.monotonic() < until
    return ended
