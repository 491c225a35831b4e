"""``shadho doctor`` and ``shadho completion``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest

from shadho.backends.inline import Inline
from shadho.cli.doctor import examine
from shadho.errors import BackendError
from shadho.plugins import load


def by_name(found: Any) -> dict[str, Any]:
    return {own.what: own for own in found}


def test_what_works_here_is_told_with_versions(shadho: Any) -> None:
    answer = shadho('doctor', '--json')
    told = {own['what']: own for own in json.loads(answer.output)}
    assert sys.executable in told['Python']['detail']
    assert told['backend inline']['state'] == 'ok'
    assert 'core' in told['hardware']['detail']
    assert all(own['detail'] for own in told.values())
    assert answer.exit_code == ('broken' in {own['state'] for own in told.values()})


def test_every_backend_that_is_installed_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {f'backend {name}' for name in load().classes('backend')} <= set(by_name(examine()))


@pytest.mark.parametrize('error', [BackendError('there is no engine'), RuntimeError('there is no engine')])
def test_a_backend_that_does_not_work_is_told_of_and_the_status_says_so(
    shadho: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def check() -> str:
        raise error

    monkeypatch.setattr(Inline, 'check', check)
    found = by_name(examine())['backend inline']
    assert found.state == 'broken'
    assert 'there is no engine' in found.detail
    assert shadho('doctor').exit_code == 1


def missing(name: str) -> str:
    raise PackageNotFoundError(name)


def test_what_is_not_installed_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('importlib.metadata.version', missing)
    found = by_name(examine())['method hyperopt']
    assert (found.state, found.detail) == ('missing', 'pip install hyperopt')


def test_the_commands_install_what_the_extras_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('importlib.metadata.version', missing)
    commands = [own.detail for own in examine() if own.detail.startswith('pip install ') and 'backend' not in own.what]
    named = {name.lower() for command in commands for name in command.split()[2:]}
    of_extras = re.findall(r'^([\w.-]+).*extra ==', '\n'.join(requires('shadho-core') or ()), re.MULTILINE)
    assert named <= {name.lower() for name in of_extras}
    assert len(named) > 10


def complete(words: str) -> list[str]:
    """Return what a shell would offer for the last of some words."""
    environment = {
        **os.environ, '_SHADHO_COMPLETE': 'bash_complete', 'COMP_WORDS': words, 'COMP_CWORD': str(words.count(' ')),
    }  # fmt: skip
    command = str(Path(sys.executable).parent / 'shadho')
    done = subprocess.run([command], env=environment, capture_output=True, text=True, check=True)
    return [line.partition(',')[2] for line in done.stdout.splitlines()]


def test_a_shell_completes_commands_and_names_of_plugins() -> None:
    assert {'best', 'run', 'resume', 'trials'} <= set(complete('shadho '))
    assert complete('shadho run mine.py:bowl --method so') == ['sobol']
    assert complete('shadho run mine.py:bowl --policy m') == ['market']


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_the_script_for_a_shell_is_printed(shadho: Any, shell: str) -> None:
    answer = shadho('completion', shell)
    assert answer.exit_code == 0
    assert '_SHADHO_COMPLETE' in answer.output
